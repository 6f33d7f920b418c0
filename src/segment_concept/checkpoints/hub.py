"""Files of the Hugging Face hub: which names can be one, and how a file is fetched."""

import re
from pathlib import Path

from huggingface_hub import (
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from segment_concept.types import CheckpointError

_HUB_NAME = re.compile(r"(\w[\w.-]*/\w[\w.-]*)(?:/(.+))?", re.ASCII)
_LONGEST_REPOSITORY = 96  # characters, a rule of the hub
_TIMEOUT = 5.0  # seconds in which the hub has to answer before a download begins


def parse_hub_name(name: str) -> tuple[str, str | None] | None:
    """The repository and the file in it (or None for no file); None for what is no hub name.

    A name whose first part is a folder of the current one is a path that was mistyped.
    """
    found = _HUB_NAME.fullmatch(name)
    if found is None:
        return None
    repository, file = found[1], found[2]
    owner, title = repository.split("/")
    usable = (
        len(repository) <= _LONGEST_REPOSITORY
        and not any(bad in repository for bad in ("--", ".."))
        and not any(part.endswith((".", "-")) for part in (owner, title))
        and not (file and set(file.split("/")) & {"", ".", ".."})
        and not (file and "\\" in file)
        and not Path(owner).is_dir()
    )
    return (repository, file) if usable else None


def fetch(repository: str, file: str) -> Path | None:
    """A file of a hub repository, from the cache where it is there; None if there is no such.

    Raises:
        CheckpointError: it cannot be fetched, or nothing of the repository may be read.
    """
    try:
        if not isinstance(try_to_load_from_cache(repository, file), str):
            # one question that is not repeated: a hub that cannot be reached is told at once
            get_hf_file_metadata(hf_hub_url(repository, file), timeout=_TIMEOUT)
        return Path(hf_hub_download(repository, file, etag_timeout=_TIMEOUT))
    except LocalEntryNotFoundError as error:
        raise _unreachable(repository, file) from error
    except EntryNotFoundError:
        return None
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"there is no file or folder {repository}, nor a hub repository of that name that "
            "you may read (a private or gated one needs `hf auth login`)"
        ) from error
    except HfHubHTTPError as error:
        raise CheckpointError(f"could not fetch {repository}/{file}: {error}") from error
    except Exception as error:  # of the HTTP library, which depends on the hub client's version
        raise _unreachable(repository, file) from error


def _unreachable(repository: str, file: str) -> CheckpointError:
    return CheckpointError(
        f"there is no file or folder {repository}/{file} here, it was not fetched from the hub "
        "before, and the hub cannot be reached: connect to the network, or fetch the file "
        "elsewhere and give its path"
    )

"""Download files from the Hugging Face hub, and recognize names of its repositories."""

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
_TIMEOUT = 5.0  # seconds to wait for the hub's answer before a download


def parse_hub_name(name: str) -> tuple[str, str | None] | None:
    """Split a name into repository and file (None for no file); None if it is not a hub name.

    A name whose first part is a folder in the current one is taken for a mistyped path.
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
    """Download a file of a repository, or take it from the cache; None if it does not exist.

    Raises:
        CheckpointError: the download fails, or the repository is not readable.
    """
    try:
        if not isinstance(try_to_load_from_cache(repository, file), str):
            # without retries, so that an unreachable hub is reported at once
            get_hf_file_metadata(hf_hub_url(repository, file), timeout=_TIMEOUT)
        return Path(hf_hub_download(repository, file, etag_timeout=_TIMEOUT))
    except LocalEntryNotFoundError as error:
        raise _unreachable(repository, file) from error
    except EntryNotFoundError:
        return None
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"there is no file or folder {repository}, and no readable repository of that name on "
            "the Hugging Face hub (private and gated ones need `hf auth login`)"
        ) from error
    except HfHubHTTPError as error:
        raise CheckpointError(f"could not download {repository}/{file}: {error}") from error
    except Exception as error:  # of the HTTP library, which depends on the hub client's version
        raise _unreachable(repository, file) from error


def _unreachable(repository: str, file: str) -> CheckpointError:
    return CheckpointError(
        f"there is no file or folder {repository}/{file}, it is not in the hub's cache, and the "
        "hub cannot be reached: connect to the network, or download the file elsewhere and give "
        "its path"
    )

"""Find videos, masks, images and name lists in the folders of a dataset."""

import os
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from segment_concept.datasets.findings import listed
from segment_concept.datasets.masks import SUFFIX, PngLayer
from segment_concept.runtime.json_files import read_json
from segment_concept.runtime.limits import read_text
from segment_concept.runtime.names import checked_name, is_number
from segment_concept.types import InputError

_LARGEST_LIST = 64 << 20  # bytes
_MOST_NUMBERS = 10_000_000  # longest number range whose gaps are listed
PICTURES = (".jpg", ".jpeg", ".png")
_SPLIT_FOLDERS = {"val": ("valid", "val"), "valid": ("valid", "val")}


def folders_in(folder: Path) -> list[str]:
    """Sorted names of the visible subfolders.

    Raises:
        InputError: the folder is missing or cannot be listed.
    """
    try:
        entries = list(folder.iterdir())
    except FileNotFoundError as error:
        raise InputError(f"{folder} does not exist") from error
    except NotADirectoryError as error:
        raise InputError(f"{folder} is a file, expected a folder") from error
    except OSError as error:
        raise InputError(f"{folder} cannot be listed: {error.strerror or error}") from error
    return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def has_masks(folder: Path) -> bool:
    """Whether the folder itself contains PNG files."""
    with os.scandir(folder) as entries:
        return any(entry.name.endswith(SUFFIX) for entry in entries)


def video_folders(folder: Path) -> list[str]:
    """Names of the subfolders with masks, as files or in one folder per object."""
    return [name for name in folders_in(folder) if _is_video(folder / name)]


def _is_video(folder: Path) -> bool:
    return has_masks(folder) or any(has_masks(folder / name) for name in folders_in(folder))


def masks_folder(root: Path, candidates: Sequence[str], truth: Path | None, what: str) -> Path:
    """The folder of annotations: `truth` if given, else the first candidate with videos.

    Raises:
        InputError: there is none; the message names the expected folders.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder: give the folder of {what}")
    choices = [truth] if truth is not None else [root / name for name in candidates]
    for choice in choices:
        if choice.is_dir() and video_folders(choice):
            return choice
    places = " or ".join(str(choice) for choice in choices)
    raise InputError(
        f"no masks of {what} found: expected {places} to contain a folder of PNG files per video"
    )


def split_folder(root: Path, split: str) -> Path:
    """The folder of a split (`val` may be named `valid`), or the root if it is the split itself."""
    for name in _SPLIT_FOLDERS.get(split, (split,)):
        if (root / name).is_dir():
            return root / name
    return root


def read_meta(path: Path) -> dict[str, dict[str, Any]]:
    """Return the `videos` of a metadata file, by name.

    Raises:
        InputError: the file is missing, not JSON, without videos, or has a video whose name is
            not a plain folder name or whose entry is not a JSON object.
    """
    content = read_json(path)
    videos = content.get("videos") if isinstance(content, dict) else None
    if not isinstance(videos, dict) or not videos:
        raise InputError(f'{path} has no "videos": expected {{"videos": {{NAME: ...}}}}')
    for name, entry in videos.items():
        checked_name(name, path)
        if not isinstance(entry, dict):
            raise InputError(f"{path}: the entry of video {name} is {_shortly(entry)}, no object")
    return videos


def read_names(path: Path) -> list[str]:
    """Return the names that a text file lists, one per line.

    Raises:
        InputError: the file is missing or not text, or a name is not plain.
    """
    return [checked_name(line, path) for line in read_lines(path)]


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty.

    Raises:
        InputError: the file is missing, too large or not text.
    """
    lines = read_text(path, "list of names", _LARGEST_LIST).splitlines()
    return [line.strip() for line in lines if line.strip()]


def _shortly(value: object) -> str:
    return repr(value)[:40]


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """The images of a video, sorted by name; empty without the folder."""
    if not folder.is_dir():
        return ()
    found = (p for p in folder.iterdir() if p.suffix.lower() in PICTURES and p.name[0] != ".")
    return tuple(sorted(found))


def layers_of(folder: Path) -> tuple[PngLayer, ...]:
    """The masks of a video: one label map per frame, or a folder per object."""
    if not folder.is_dir():
        return (PngLayer(folder),)
    objects = [name for name in folders_in(folder) if has_masks(folder / name)]
    if objects and not has_masks(folder):
        return tuple(PngLayer(folder / name, name) for name in objects)
    return (PngLayer(folder),)


def require(names: Sequence[str], folder: Path, source: Path) -> None:
    """Check that every listed video has a folder.

    Raises:
        InputError: some have none; the message names the first few.
    """
    missing = [name for name in names if not (folder / name).is_dir()]
    if missing:
        raise InputError(
            f"{source} lists {len(missing)} videos that are not in {folder}: {listed(missing)}; "
            "complete the dataset, or give another split"
        )


def missing_numbers(names: Sequence[str], step: int | None = None) -> list[str]:
    """Missing names in a sequence of numbers with the given (or else the most common) step.

    Empty if the names are not numbers.
    """
    if len(names) < 2 or not all(is_number(name) for name in names):
        return []
    numbers = sorted({int(name) for name in names})
    if numbers[-1] - numbers[0] > _MOST_NUMBERS:
        return []  # not a sequence: the numbers are too far apart
    usual = Counter(b - a for a, b in pairwise(numbers)).most_common(1)
    between = range(numbers[0], numbers[-1], step or (usual[0][0] if usual else 1))
    return [f"{number:0{len(names[0])}d}" for number in sorted(set(between) - set(numbers))]

"""Which images of a folder are the frames of a video.

Frames have names that differ in their last number alone: `shot_0001.png`, `shot_0002.png`. Images
with other names beside them (a mask, a contact sheet) are left out with a warning; two sequences
in one folder are refused.
"""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from segment_concept.types import InputError
from segment_concept.video.image_files import OTHERS, SUFFIXES, conversion

log = logging.getLogger(__name__)

_LAST_NUMBER = re.compile(r"(\d+)(\D*)$", re.ASCII)
_FEW = 6  # groups of names with the same numbers in them are sequences; more are dates and times


def frames_in(path: Path) -> list[Path]:
    """The images of a folder that make a video, in the order of the numbers in their names.

    Raises:
        InputError: it holds none, two of the same name, or two sequences.
    """
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    files = [entry for entry in entries if entry.suffix.lower() in SUFFIXES and entry.is_file()]
    if not files:
        raise InputError(_nothing_in(path, entries))
    twice = [stem for stem, count in Counter(f.stem for f in files).items() if count > 1]
    if twice:
        same = sorted(f.name for f in files if f.stem == twice[0])
        raise InputError(
            f"{path} holds {' and '.join(same)}: which of them is the frame? "
            "Put frames and masks into folders of their own"
        )
    return sorted(_sequence(path, files), key=lambda f: natural(f.name))


def natural(name: str) -> tuple[list[str | int], str]:
    """A sort key that puts `frame_9` before `frame_10`."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(p[-4000:]) if i % 2 else p for i, p in enumerate(parts)], name


def number_of(stem: str) -> int | None:
    """The last number in a name."""
    found = _LAST_NUMBER.search(stem)
    return int(found[1]) if found and len(found[1]) < 19 else None


def _sequence(path: Path, files: Sequence[Path]) -> Sequence[Path]:
    groups = _groups(files)
    long = {name: group for name, group in groups.items() if len(group) > 1 and "#" in name}
    if not long:
        return files
    if len(long) > 1:
        _check_one_sequence(path, long)
    strays = [f.name for name, group in groups.items() if name not in long for f in group]
    if strays:
        some = ", ".join(strays[:3]) + (", ..." if len(strays) > 3 else "")
        log.warning(
            "%s: %s left out, since the %d other images are numbered alike",
            *(path, f"{some} is" if len(strays) == 1 else f"{some} are"),
            len(files) - len(strays),
        )
    return [f for group in long.values() for f in group]


def _groups(files: Sequence[Path]) -> Mapping[str, list[Path]]:
    """Files by name, with # in place of the last number."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        groups[_LAST_NUMBER.sub(r"#\2", file.stem).casefold()].append(file)
    return groups


def _check_one_sequence(path: Path, groups: Mapping[str, list[Path]]) -> None:
    """Names may differ in several numbers (dates and times), but not in letters."""
    texts = {re.sub(r"\d+", "#", name) for name in groups}
    numbers = {frozenset(number_of(f.stem) for f in group) for group in groups.values()}
    if len(texts) > 1 or (len(numbers) == 1 and len(groups) <= _FEW):
        found = " and ".join(f"{name} ({len(group)} images)" for name, group in groups.items())
        raise InputError(
            f"{path} holds several sequences: {found}. Put each into a folder of its own"
        )


def _nothing_in(path: Path, entries: Sequence[Path]) -> str:
    for entry in entries:
        if entry.suffix.lower() in OTHERS:
            kind = entry.suffix[1:].upper()
            return f"{path} holds {kind} images, which are not read: {conversion(entry)}"
    return (
        f"{path} holds no image ({', '.join(s[1:] for s in SUFFIXES)}): give the folder "
        "that directly contains the frames"
    )

"""The masks of SA-V's training videos: one JSON file of run-length encoded masks per video."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from segment_concept.datasets.masks import Labels, Layer
from segment_concept.ops.rle import decode_rle, text_to_counts
from segment_concept.runtime.byte_cache import ByteCache
from segment_concept.runtime.json_files import read_json
from segment_concept.runtime.names import checked_name
from segment_concept.types import Bitmap, InputError

ROW_STEP = 4  # masks of every fourth frame: 6 a second in videos of 24 frames a second
NULL = -1  # the area of an entry that is null
_PARSED = 3  # bytes in memory per byte of a file, about
_cache: ByteCache["Masklets"] = ByteCache(64 << 20)


@dataclass(frozen=True, eq=False)
class Masklets:
    """The content of an annotation file. Row i is frame 4 i, a column is an object."""

    path: Path
    content: dict[str, Any]

    @property
    def rows(self) -> list[list[Any]]:
        """The masks of all objects, of every annotated frame; nothing is decoded."""
        rows: list[list[Any]] = self.content["masklet"]
        return rows

    @property
    def columns(self) -> int:
        """Number of objects."""
        return len(self.rows[0]) if self.rows else 0

    @property
    def frame_count(self) -> int | None:
        """Frames of the video, as the file says."""
        count = self.content.get("video_frame_count")
        return int(count) if isinstance(count, int | float) else None

    @cached_property
    def size(self) -> tuple[int, int]:
        """(H, W) of the masks.

        Raises:
            InputError: no mask says it, or they disagree.
        """
        try:
            sizes = {tuple(map(int, e["size"])) for row in self.rows for e in row if e is not None}
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self.path}: a mask has no size ({error})") from error
        if len(sizes) != 1 or len(next(iter(sizes))) != 2:
            found = ", ".join(map(str, sorted(sizes))) or "none"
            raise InputError(f"{self.path}: all masks have the same size (H, W), found {found}")
        height, width = next(iter(sizes))
        return height, width

    @cached_property
    def areas(self) -> NDArray[np.int64]:
        """(rows, columns) pixels of every mask, from the run lengths; -1 where one is null.

        Raises:
            InputError: the rows have different lengths, or a mask is damaged.
        """
        found = np.full((len(self.rows), self.columns), NULL, np.int64)
        for i, row in enumerate(self.rows):
            if len(row) != self.columns:
                raise InputError(
                    f"{self.path}: row {i} has {len(row)} masks and the first one {self.columns}"
                )
            for column, entry in enumerate(row):
                if entry is not None:
                    found[i, column] = self._read(i, column, lambda e: _area(str(e["counts"])))
        return found

    def mask(self, row: int, column: int) -> Bitmap:
        """(H, W).

        Raises:
            InputError: the mask is null, damaged or not there.
        """
        mask: Bitmap = self._read(row, column, _bitmap)
        return mask

    def _read(self, row: int, column: int, read: Callable[[Any], Any]) -> Any:
        try:
            return read(self.rows[row][column])
        except (IndexError, KeyError, TypeError, ValueError) as error:  # InputError among them
            raise InputError(
                f"{self.path}, frame {row * ROW_STEP:05d}, object {column}: no readable mask "
                f"({error})"
            ) from error


def _bitmap(entry: Any) -> Bitmap:
    height, width = (int(side) for side in entry["size"])
    return decode_rle(str(entry["counts"]), (height, width))


def _area(counts: str) -> int:
    """Pixels of a mask: the sum of every other run."""
    runs = text_to_counts(counts)
    if (runs < 0).any():
        raise InputError("a run is negative")
    return int(runs[1::2].sum())


def read_masklets(path: Path) -> Masklets:
    """An annotation file; the last ones are kept, at most 64 MiB of them.

    Raises:
        InputError: the file is missing or not an annotation file.
    """
    return _cache.of(path, lambda: _parsed(path))


def _parsed(path: Path) -> tuple[Masklets, int]:
    content = read_json(path)
    rows = content.get("masklet") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise InputError(f'{path} has no "masklet" list: expected an SA-V annotation file')
    if not isinstance(content.get("masklet_id") or [], list):
        raise InputError(f'{path}: "masklet_id" is not a list: expected an SA-V annotation file')
    return Masklets(path, content), _PARSED * path.stat().st_size


@dataclass(frozen=True)
class MaskletLayer:
    """An object of an SA-V training file: a mask for every fourth frame of a 24 fps video."""

    path: Path
    column: int  # index of the object in each row
    object_name: str

    @property
    def frames(self) -> tuple[str, ...]:
        """Frame numbers of the 24 fps video, as %05d, without those whose entry is null."""
        rows = read_masklets(self.path).rows
        return tuple(
            f"{i * ROW_STEP:05d}"
            for i, row in enumerate(rows)
            if self.column >= len(row) or row[self.column] is not None
        )

    def read(self, frame: str) -> Labels:
        """(H, W), 1 on the object."""
        try:
            entry = read_masklets(self.path).rows[int(frame) // ROW_STEP][self.column]
            return _bitmap(entry).view(np.uint8)
        except (IndexError, KeyError, TypeError, ValueError) as error:  # InputError among them
            raise InputError(f"{self.where(frame)}: no readable mask ({error})") from error

    def where(self, frame: str) -> str:
        """File, frame and object."""
        return f"{self.path}, frame {frame}, object {self.object_name}"


def masklet_layers(path: Path) -> tuple[MaskletLayer, ...]:
    """The objects of an SA-V annotation file, named `manual_0` or `auto_3`, as ids repeat in both.

    Raises:
        InputError: the file is missing or not an annotation file.
    """
    found = read_masklets(path)
    names = found.content.get("masklet_id") or range(found.columns)
    kind = path.stem.rpartition("_")[2]
    return tuple(
        MaskletLayer(path, column, checked_name(f"{kind}_{name}", path))
        for column, name in enumerate(names)
    )


class MaskletLayers(Sequence[Layer]):
    """The objects of some annotation files, which are opened when the first one is asked for."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = tuple(files)

    @cached_property
    def _layers(self) -> tuple[MaskletLayer, ...]:
        return tuple(layer for file in self._files for layer in masklet_layers(file))

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers)

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Layer]: ...
    def __getitem__(self, index: int | slice) -> Layer | Sequence[Layer]:
        return self._layers[index]

"""The masks of SA-V's training videos: one JSON file of run-length encoded masks per video."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from segment_concept.datasets.masks import Labels
from segment_concept.ops.rle import decode_rle
from segment_concept.runtime.json_files import read_json
from segment_concept.runtime.names import checked_name
from segment_concept.types import InputError


@lru_cache(maxsize=2)
def _content(path: Path) -> dict[str, Any]:
    content = read_json(path)
    rows = content.get("masklet") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise InputError(f'{path} has no "masklet" list: expected an SA-V annotation file')
    if not isinstance(content.get("masklet_id") or [], list):
        raise InputError(f'{path}: "masklet_id" is not a list: expected an SA-V annotation file')
    return cast("dict[str, Any]", content)


@dataclass(frozen=True)
class MaskletLayer:
    """An object of an SA-V training file: a mask for every fourth frame of a 24 fps video."""

    path: Path
    column: int  # index of the object in each row
    object_name: str
    step: int = 4

    @property
    def frames(self) -> tuple[str, ...]:
        """Frame numbers of the 24 fps video, as %05d."""
        return tuple(f"{i * self.step:05d}" for i in range(len(_content(self.path)["masklet"])))

    def read(self, frame: str) -> Labels:
        """(H, W), 1 on the object."""
        try:
            entry = _content(self.path)["masklet"][int(frame) // self.step][self.column]
            height, width = (int(side) for side in entry["size"])
            return decode_rle(str(entry["counts"]), (height, width)).view(np.uint8)
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
    content = _content(path)
    rows = content["masklet"]
    names = content.get("masklet_id") or range(len(rows[0]) if rows else 0)
    kind = path.stem.rpartition("_")[2]
    return tuple(
        MaskletLayer(path, column, checked_name(f"{kind}_{name}", path))
        for column, name in enumerate(names)
    )

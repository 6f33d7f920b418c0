"""How a stored picture is shown: turned, mirrored or both, by the file's display matrix.

The matrix (ISO 14496-12, 8.3.2; nine 16.16 and 2.30 numbers) maps a stored pixel (x, y) to
(a x + c y + tx, b x + d y + ty). Of it the nearest of the eight ways to lay a rectangle on its
sides is taken.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import numpy as np
from av.video.frame import VideoFrame

from segment_concept.types import Image


@dataclass(frozen=True, slots=True)
class Orientation:
    """First rows and columns are swapped, then columns reversed, then rows."""

    transposed: bool = False
    mirrored: bool = False  # left and right
    upside_down: bool = False

    @classmethod
    def of(cls, picture: VideoFrame) -> "Orientation":
        """That of a decoded picture."""
        matrix = picture.side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return cls()
        a, b, _, c, d = np.frombuffer(bytes(cast(Any, matrix)), np.int32, 5).tolist()
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    def upright(self, pixels: Image) -> Image:
        """(H, W, 3) pixels as they are shown."""
        shown = pixels.swapaxes(0, 1) if self.transposed else pixels
        shown = shown[:, ::-1] if self.mirrored else shown
        shown = shown[::-1] if self.upside_down else shown
        return np.ascontiguousarray(shown)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(H, W) of the rotated image."""
        return (width, height) if self.transposed else (height, width)

    def pixel_aspect(self, stored: Fraction) -> Fraction:
        """Width of a shown pixel over its height."""
        return 1 / stored if self.transposed else stored

"""Resize and pad frames and masks for a network, and map its scores back to the video."""

from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from segment_concept.types import InputError

STRIDE = 16  # stride of the memory of both networks: sides must be multiples of it
MOST_ELONGATED = 32  # maximum aspect ratio: a longer frame, scaled up, would fill the memory


class Resize(Protocol):
    """Decides the input size of a network."""

    def inner_size(self, height: int, width: int) -> tuple[int, int]:
        """(H, W) before padding."""
        ...


@dataclass(frozen=True, slots=True)
class AsItIs:
    """The size of the video."""

    def inner_size(self, height: int, width: int) -> tuple[int, int]:
        return height, width


@dataclass(frozen=True, slots=True)
class ShrinkTo:
    """Cutie: a shorter side above `side` pixels is resized to `side`; smaller videos are kept."""

    side: int = 480

    def __post_init__(self) -> None:
        _check_side(self.side)

    def inner_size(self, height: int, width: int) -> tuple[int, int]:
        if min(height, width) <= self.side:
            return height, width
        return _with_shorter_side(height, width, self.side)


@dataclass(frozen=True, slots=True)
class ScaleTo:
    """XMem: the shorter side is resized to `side` pixels, down or up."""

    side: int = 480

    def __post_init__(self) -> None:
        _check_side(self.side)

    def inner_size(self, height: int, width: int) -> tuple[int, int]:
        return _with_shorter_side(height, width, self.side)


def _check_side(side: int) -> None:
    if side < 1:
        raise InputError(f"the shorter side must have at least 1 pixel, got {side}")


def _with_shorter_side(height: int, width: int, side: int) -> tuple[int, int]:
    shorter = min(height, width)
    return height * side // shorter, width * side // shorter


@dataclass(frozen=True, slots=True)
class FrameTransform:
    """Size of a video, its resized size, and the padding to whole strides."""

    video: tuple[int, int]  # (H, W)
    inner: tuple[int, int]  # (H, W) after resizing
    padding: tuple[
        int, int, int, int
    ]  # left, right, top, bottom; centered, an odd pixel at the end

    @classmethod
    def of(cls, video: tuple[int, int], resize: Resize) -> "FrameTransform":
        """Raises InputError if the aspect ratio is too large."""
        if max(video) > MOST_ELONGATED * min(video):
            height, width = video
            raise InputError(
                f"frames of {width}x{height} are too elongated: at most 1 : {MOST_ELONGATED}"
            )
        inner = resize.inner_size(*video)
        (top, bottom), (left, right) = (_margins(side) for side in inner)
        return cls(video, inner, (left, right, top, bottom))

    def picture(self, rgb: Tensor) -> Tensor:
        """(H, W, 3) uint8 -> (1, 3, H', W') float32 in [0, 1], resized, not yet padded."""
        image = rgb.permute(2, 0, 1)[None].float() / 255
        if self.inner == self.video:
            return image
        return F.interpolate(
            image, self.inner, mode="bilinear", align_corners=False, antialias=True
        )

    def pad(self, image: Tensor) -> Tensor:
        """Pad (..., H', W') with zeros to multiples of 16."""
        return F.pad(image, self.padding)

    def mask(self, bitmap: Tensor) -> Tensor:
        """(H, W) bool mask of the video -> (H'', W'') float, resized and padded."""
        mask = bitmap[None, None].float()
        if self.inner != self.video:
            mask = F.interpolate(mask, self.inner, mode="nearest")
        return self.pad(mask)[0, 0]

    def scores(self, padded: Tensor) -> Tensor:
        """(R, H'', W'') scores -> (R, H, W) in the size of the video."""
        left, _, top, _ = self.padding
        height, width = self.inner
        inside = padded[:, top : top + height, left : left + width]
        if self.inner == self.video:
            return inside
        return F.interpolate(inside[None], self.video, mode="bilinear", align_corners=False)[0]


def _margins(side: int) -> tuple[int, int]:
    """Padding before and after that makes `side` a multiple of the stride."""
    missing = -side % STRIDE
    return missing // 2, missing - missing // 2

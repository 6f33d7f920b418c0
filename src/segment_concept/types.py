"""The nouns of the package. Everything that crosses a folder boundary is one of these.

Glossary, one word per idea:
    frame     one picture of a video           object    what is followed, named by an id
    prompt    how a person shows an object     mask      which pixels belong to it
    memory    one object on one past frame     recall    the memories a frame attends to
    keyframe  a frame with its mask, kept for the concept encoder
    concept   an embedding of what the object is, whatever the scene

Shape letters, used in names and comments everywhere:
    T frames   B images   O objects   M mask candidates   N memory tokens   C channels
    H W video pixels      h w the mask decoder's grid (a quarter of the network's input)

Pixels are (x, y), origin top left, in the original video; boxes are (x0, y0, x1, y1).
A *logit* is unbounded and 0 means "undecided"; a *score* is in [0, 1]; `seconds` are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

ObjectId: TypeAlias = int  # chosen by the caller, from 1; up to 255 they fit a palette PNG

Bitmap: TypeAlias = NDArray[np.bool_]
Image: TypeAlias = NDArray[np.uint8]


class SegmentConceptError(Exception):
    """Base of every error the package raises on purpose."""


class InputError(SegmentConceptError, ValueError):
    """What was given cannot be used; the message says what is wrong and what to do."""


class CheckpointError(SegmentConceptError, ValueError):
    """Weights are missing, damaged or belong to another network."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a video: `rgb` is (H, W, 3) uint8."""

    index: int  # 0-based position in the video
    rgb: Image
    seconds: float | None = None  # presentation time, where the source has one

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8:
            raise InputError(
                f"frame {self.index}: expected RGB pixels (H, W, 3) uint8, "
                f"got shape {self.rgb.shape} of {self.rgb.dtype}"
            )

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        height, width = self.rgb.shape[:2]
        return height, width


@dataclass(frozen=True, slots=True)
class Box:
    """A box around the object, in video pixels."""

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not (self.x1 > self.x0 and self.y1 > self.y0):
            raise InputError(
                f"empty box ({self.x0:g}, {self.y0:g}, {self.x1:g}, {self.y1:g}): "
                "expected x0,y0,x1,y1 with x0 < x1 and y0 < y1"
            )


@dataclass(frozen=True, slots=True)
class Points:
    """Clicks, in video pixels: on the object (foreground) or off it; a box may go with them."""

    xy: tuple[tuple[float, float], ...]
    foreground: tuple[bool, ...]
    box: Box | None = None

    def __post_init__(self) -> None:
        if len(self.xy) != len(self.foreground):
            raise InputError(f"{len(self.xy)} points but {len(self.foreground)} labels")
        if not self.xy and self.box is None:
            raise InputError("no point was given: expected at least one (x, y)")

    @classmethod
    def on(cls, *xy: tuple[float, float]) -> Points:
        """Clicks that are all on the object."""
        return cls(xy, (True,) * len(xy))


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """The object's pixels: `bitmap` is (H, W) bool, of the video's size."""

    bitmap: Bitmap

    def __post_init__(self) -> None:
        if self.bitmap.ndim != 2:
            raise InputError(f"a mask has two dimensions (H, W), got {self.bitmap.shape}")
        if self.bitmap.dtype != np.bool_:
            raise InputError(
                f"a mask is boolean, got {self.bitmap.dtype}: pass `array > 0` or `array == id`"
            )
        if not self.bitmap.any():
            raise InputError("the mask has no foreground pixel: nothing to follow")


Prompt: TypeAlias = Points | Box | Mask


def check_prompt(prompt: Prompt, frame: Frame) -> None:
    """Refuse a prompt that does not fit its frame.

    Raises:
        InputError: a mask of another size, a point or a box outside the image.
    """
    height, width = frame.size
    if isinstance(prompt, Mask):
        if prompt.bitmap.shape != frame.size:
            h, w = prompt.bitmap.shape
            raise InputError(
                f"the mask is {w}x{h} but frame {frame.index} is {width}x{height}: "
                "give a mask of the video's size"
            )
        return
    box = prompt if isinstance(prompt, Box) else prompt.box
    if box is not None and (box.x0 >= width or box.y0 >= height or box.x1 <= 0 or box.y1 <= 0):
        raise InputError(
            f"the box ({box.x0:g}, {box.y0:g}, {box.x1:g}, {box.y1:g}) lies outside "
            f"frame {frame.index}, which is {width}x{height}"
        )
    for x, y in prompt.xy if isinstance(prompt, Points) else ():
        if not (0 <= x < width and 0 <= y < height):
            raise InputError(
                f"the point ({x:g}, {y:g}) lies outside frame {frame.index}, "
                f"which is {width}x{height} (x from 0 to {width - 1}, y from 0 to {height - 1})"
            )


def check_prompts(frame: Frame, prompts: Mapping[ObjectId, Prompt]) -> None:
    """Refuse prompts that no session can take.

    Raises:
        InputError: there is none, an object's number is below 1, or a prompt does not fit the
            frame; the object is named.
    """
    if not prompts:
        raise InputError("no prompt was given: pass {object_id: Mask | Box | Points}")
    for object_id, prompt in prompts.items():
        if object_id < 1:
            raise InputError(
                f"object {object_id}: objects are numbered from 1, since 0 is the background of "
                "a label map"
            )
        try:
            check_prompt(prompt, frame)
        except InputError as error:
            raise InputError(f"object {object_id}: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """What the tracker believes about every object in one frame.

    Row i of every tensor belongs to `object_ids[i]`.
    """

    frame_index: int
    object_ids: tuple[ObjectId, ...]  # length O
    logits: Tensor  # (O, H, W) float32, video resolution; > 0 is object
    presence: Tensor  # (O,) score that the object is visible
    quality: Tensor  # (O,) predicted IoU of the mask, score
    concept_queried: bool = False  # was the concept encoder asked on this frame?
    scene_change: float | None = None  # the trigger's distance to the previous frame
    seconds: float | None = None
    # O rows: of which frames each object's keyframe bank consists now. Empty where there are none.
    keyframes: tuple[tuple[int, ...], ...] = ()
    # Does the trigger take this frame for the first of a shot? Played backwards: for its last.
    cut: bool = False

    def __post_init__(self) -> None:
        rows = (len(self.object_ids), len(self.logits), len(self.presence), len(self.quality))
        if self.keyframes and len(self.keyframes) != rows[0]:
            raise ValueError(f"keyframes of {len(self.keyframes)} objects, of {rows[0]} followed")
        if len(set(rows)) != 1:
            raise ValueError(f"object_ids, logits, presence, quality disagree on O: {rows}")

    def mask(self, object_id: int) -> Bitmap:
        """(H, W) bool. Raises KeyError for an object that is not followed."""
        if object_id not in self.object_ids:
            raise KeyError(f"object {object_id} is not followed; there are {self.object_ids}")
        row = self.object_ids.index(ObjectId(object_id))
        bitmap: Bitmap = (self.logits[row] > 0).cpu().numpy()
        return bitmap

    def label_map(self) -> NDArray[np.int32]:
        """(H, W) object ids, 0 = background; where objects meet, the higher logit wins."""
        if not self.object_ids:
            return np.zeros(tuple(self.logits.shape[1:]), np.int32)
        best_HW, row_HW = self.logits.max(dim=0)
        ids = np.asarray(self.object_ids, np.int32)
        labels: NDArray[np.int32] = np.where(
            (best_HW > 0).cpu().numpy(), ids[row_HW.cpu().numpy()], 0
        ).astype(np.int32)
        return labels

"""Basic types of the package: frames, prompts, masks, results and errors.

Glossary:
    frame     one image of a video             object    a tracked object, named by its id
    prompt    a mask, box or points of it      mask      the pixels of an object
    memory    an object on a past frame        recall    the memories that a frame attends to
    keyframe  a frame with its mask, kept for the concept encoder
    concept   an embedding of the object that does not depend on the scene

Shape letters in names and comments:
    T frames   B images   O objects   M mask candidates   N memory tokens   C channels
    H W video pixels      h w the mask decoder's grid (a quarter of the network's input)

Pixels are (x, y), origin top left, in the original video; boxes are (x0, y0, x1, y1).
A *logit* is unbounded and 0 means "undecided"; a *score* is in [0, 1]; `seconds` are seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

ObjectId: TypeAlias = int  # chosen by the caller, from 1; ids up to 255 fit a palette PNG

Bitmap: TypeAlias = NDArray[np.bool_]
Image: TypeAlias = NDArray[np.uint8]


class SegmentConceptError(Exception):
    """Base class of all errors that the package raises on purpose."""


class InputError(SegmentConceptError, ValueError):
    """The input cannot be used; the message says what is wrong and what to do."""


class DeviceMemoryError(InputError):
    """A device has too little memory; the message says what would need less."""


class OutputError(SegmentConceptError):
    """Results cannot be written; the message says why and what to do."""


class CheckpointError(SegmentConceptError, ValueError):
    """Weights are missing, damaged or belong to another network."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """An image of a video: `rgb` is (H, W, 3) uint8."""

    index: int  # 0-based position in the video
    rgb: Image
    seconds: float | None = None  # presentation time, if the source has one

    def __post_init__(self) -> None:
        if not isinstance(self.rgb, np.ndarray):
            raise InputError(
                f"frame {self.index}: expected a numpy array (H, W, 3) uint8 of RGB pixels, got "
                f"{type(self.rgb).__name__}"
            )
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
    """A box around the object, in video pixels: x0 < x1 and y0 < y1.

    Any numbers are accepted and stored as floats.

    Raises:
        InputError: the box is empty, or a coordinate is not a finite number.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        for name in ("x0", "y0", "x1", "y1"):
            object.__setattr__(self, name, _coordinate(getattr(self, name), f"a box's {name}"))
        if self.x1 > self.x0 and self.y1 > self.y0:
            return
        remedy = "expected x0,y0,x1,y1 with x0 < x1 and y0 < y1"
        if self.x1 > 0 and self.y1 > 0:
            end = f"{self.x0 + self.x1:g},{self.y0 + self.y1:g}"
            remedy += f"; or are these x,y,width,height? Then give {self.x0:g},{self.y0:g},{end}"
        raise InputError(f"empty box ({self}): {remedy}")

    def __str__(self) -> str:
        return f"{self.x0:g}, {self.y0:g}, {self.x1:g}, {self.y1:g}"

    @classmethod
    def of(cls, box: object) -> Box:
        """A box from a `Box` or any four numbers x0, y0, x1, y1.

        Raises:
            InputError: these are not four numbers, or as the constructor.
        """
        if isinstance(box, Box):
            return box
        return cls(*_row(box, 4, "a box is four numbers x0, y0, x1, y1"))


@dataclass(frozen=True, slots=True)
class Points:
    """Foreground and background points in video pixels, optionally with a box.

    Any sequence or array is accepted: `xy` (N, 2) numbers, `foreground` (N,) booleans, or 1 for
    foreground and 0 for background. `box` may be four numbers.

    Raises:
        InputError: a label is missing or unknown, a coordinate is not a finite number, or there
            is neither a point nor a box.
    """

    xy: tuple[tuple[float, float], ...]
    foreground: tuple[bool, ...]
    box: Box | None = None

    def __post_init__(self) -> None:
        form = "points are pairs such as ((x, y), (x, y))"
        points = [_row(point, 2, form) for point in _items(self.xy, form)]
        labels = [_label(v) for v in _items(self.foreground, "points need a label each")]
        object.__setattr__(self, "xy", tuple((x, y) for x, y in points))
        object.__setattr__(self, "foreground", tuple(labels))
        object.__setattr__(self, "box", None if self.box is None else Box.of(self.box))
        if len(self.xy) != len(self.foreground):
            raise InputError(f"{len(self.xy)} points but {len(self.foreground)} labels")
        if not self.xy and self.box is None:
            raise InputError("no point was given: expected at least one (x, y)")

    @classmethod
    def on(cls, *xy: tuple[float, float]) -> Points:
        """Foreground points."""
        return cls(xy, (True,) * len(xy))


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """The object's pixels: `bitmap` is (H, W) bool in the size of the video.

    Arrays and tensors of 0 and 1, or 0 and 255, are accepted as well, and so are (1, H, W)
    and (H, W, 1).

    Raises:
        InputError: it has another shape or other values, or no foreground pixel.
    """

    bitmap: Bitmap

    def __post_init__(self) -> None:
        object.__setattr__(self, "bitmap", _bitmap(self.bitmap))
        if not self.bitmap.any():
            raise InputError("the mask has no foreground pixel: nothing to track")


Prompt: TypeAlias = Points | Box | Mask

_FARTHEST = 1e6  # pixels from the origin; no video is so large, and float32 is exact up to there


def _coordinate(value: object, what: str) -> float:
    """A finite number. Raises InputError."""
    if isinstance(value, (bool, np.bool_)) or not (
        isinstance(value, (Real, str, np.number)) or getattr(value, "ndim", None) == 0
    ):
        raise InputError(f"{what} is {_shown(value)}: expected a number of pixels")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        raise InputError(f"{what} is {_shown(value)}: expected a number of pixels") from None
    if not abs(number) <= _FARTHEST:
        raise InputError(
            f"{what} is {_shown(value)}: expected a finite number of pixels, at most "
            f"{_FARTHEST:.0f}"
        )
    return number


def _shown(value: object) -> str:
    """A value in a message, shortened."""
    try:
        text = "nothing (null)" if value is None else repr(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= 40 else f"{text[:37]}..."


def _items(values: object, form: str) -> list[object]:
    """What a sequence, an array or a tensor holds. Raises InputError that shows the form."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise InputError(f"{form}, got {_shown(values)}")
    try:
        return list(values)
    except TypeError:  # an array without dimensions
        raise InputError(f"{form}, got {_shown(values)}") from None


def _row(values: object, count: int, form: str) -> list[float]:
    """`count` coordinates. Raises InputError that shows the form."""
    items = _items(values, form)
    if len(items) != count:
        raise InputError(f"{form}, got {len(items)}: {_shown(values)}")
    return [_coordinate(item, "a coordinate") for item in items]


def _label(value: object) -> bool:
    """On the object (1, True) or off it (0, False). Raises InputError."""
    remedy = "expected 1 (True) on the object or 0 (False) off it"
    if isinstance(value, (Real, np.bool_, np.number)) or getattr(value, "ndim", None) == 0:
        for label in (True, False):
            if value == label:
                return label
        if value in (2, 3):
            remedy += "; a box's corners are given as Points(xy, labels, box=(x0, y0, x1, y1))"
    raise InputError(f"a point has the label {_shown(value)}: {remedy}")


def _bitmap(values: object) -> Bitmap:
    """(H, W) bool from what may stand for it. Raises InputError."""
    if hasattr(values, "detach"):  # a tensor, wherever it is
        values = values.detach().cpu()
    array = np.asarray(values)
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim != 2:
        raise InputError(f"a mask has two dimensions (H, W), got {array.shape}")
    if array.dtype == np.bool_:
        return np.asarray(array, np.bool_)
    if array.dtype.kind not in "iuf":
        raise InputError(f"a mask is boolean, got {array.dtype}: pass `array > 0`")
    found = array != 0
    kinds = np.unique(array[found])
    if len(kinds) > 1 or (len(kinds) == 1 and kinds[0] not in (1, 255)):
        some = ", ".join(f"{v:g}" for v in kinds[:4].tolist())
        raise InputError(
            f"a mask is boolean, got {array.dtype} with the values {some}: pass `array == id` of a "
            "map of ids, or `array > threshold` of scores"
        )
    return np.asarray(found, np.bool_)


def check_prompt(prompt: Prompt, frame: Frame) -> None:
    """Check that a prompt fits its frame.

    Raises:
        InputError: no prompt at all, a mask of another size, a point or a box outside the image,
            a box that covers no pixel.
    """
    if isinstance(prompt, Mask):
        _check_mask(prompt, frame)
    elif isinstance(prompt, Box):
        _check_box(prompt, frame)
    elif isinstance(prompt, Points):
        if prompt.box is not None:
            _check_box(prompt.box, frame)
        _check_points(prompt, frame)
    else:
        raise InputError(
            f"a prompt of the type {type(prompt).__name__}: pass Box(x0, y0, x1, y1), "
            "Points(((x, y),), (True,)) or Mask(array)"
        )


def _check_mask(mask: Mask, frame: Frame) -> None:
    height, width = frame.size
    if mask.bitmap.shape != frame.size:
        h, w = mask.bitmap.shape
        raise InputError(
            f"the mask is {w}x{h} but frame {frame.index} is {width}x{height}: "
            "give a mask of the video's size"
        )


def _check_box(box: Box, frame: Frame) -> None:
    height, width = frame.size
    if box.x0 >= width or box.y0 >= height or box.x1 <= 0 or box.y1 <= 0:
        raise InputError(
            f"the box ({box}) lies outside frame {frame.index}, which is {width}x{height}"
        )
    across = min(box.x1, width) - max(box.x0, 0)
    down = min(box.y1, height) - max(box.y0, 0)
    if across >= 1 and down >= 1:
        return
    remedy = "give x0,y0,x1,y1 in pixels"
    if _are_shares((box.x0, box.y0, box.x1, box.y1)):
        in_pixels = f"{box.x0 * width:.0f},{box.y0 * height:.0f}"
        in_pixels += f",{box.x1 * width:.0f},{box.y1 * height:.0f}"
        remedy = f"are these relative to the image size? In pixels they would be {in_pixels}"
    raise InputError(
        f"the box ({box}) covers less than a pixel of frame {frame.index}, which is "
        f"{width}x{height}: {remedy}"
    )


def _check_points(points: Points, frame: Frame) -> None:
    height, width = frame.size
    for x, y in points.xy:
        if not (0 <= x < width and 0 <= y < height):
            raise InputError(
                f"the point ({x:g}, {y:g}) lies outside frame {frame.index}, "
                f"which is {width}x{height} (x from 0 to {width - 1}, y from 0 to {height - 1})"
            )
    values = [v for xy in points.xy for v in xy]
    if _are_shares(values):
        x, y = points.xy[0]
        raise InputError(
            f"the point ({x:g}, {y:g}) lies in the first pixel of frame {frame.index}: are these "
            f"relative to the image size? In pixels it would be ({x * width:.0f}, {y * height:.0f})"
        )


def _are_shares(values: Sequence[float]) -> bool:
    """Whether numbers that should be pixels look like fractions of the image size."""
    within = all(0 <= v <= 1 for v in values)
    return within and any(v not in (0.0, 0.5, 1.0) for v in values)


def check_prompts(frame: Frame, prompts: Mapping[ObjectId, Prompt]) -> None:
    """Check prompts for a session.

    Raises:
        InputError: there is none, an object's number is below 1, or a prompt does not fit the
            frame; the object is named.
    """
    if not isinstance(prompts, Mapping) or not prompts:
        raise InputError("no prompt was given: pass {object_id: Mask | Box | Points}")
    for object_id, prompt in prompts.items():
        if not isinstance(object_id, Integral) or object_id < 1:
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
    """Result of a tracker for all objects of a frame.

    Row i of every tensor belongs to `object_ids[i]`.
    """

    frame_index: int
    object_ids: tuple[ObjectId, ...]  # length O
    logits: Tensor  # (O, H, W) float32, video resolution, on the network's device; > 0 is object
    presence: Tensor  # (O,) score: the object is visible
    quality: Tensor  # (O,) score: predicted IoU of the mask
    concept_queried: bool = False  # whether the concept encoder was queried on this frame
    scene_change: float | None = None  # difference to the previous frame, by the trigger
    seconds: float | None = None
    # Frames in the keyframe bank of each object (O rows); empty without keyframe banks.
    keyframes: tuple[tuple[int, ...], ...] = ()
    # Whether the trigger detects a cut here: the first frame of a shot, backwards the last one.
    cut: bool = False
    carried: bool = False  # whether masks were carried from both sides, see `Tracker.every`
    _host: _HostMasks = field(default_factory=lambda: _HostMasks(), repr=False)

    def __post_init__(self) -> None:
        rows = (len(self.object_ids), len(self.logits), len(self.presence), len(self.quality))
        if self.keyframes and len(self.keyframes) != rows[0]:
            raise ValueError(
                f"keyframes of {len(self.keyframes)} objects for {rows[0]} tracked objects"
            )
        if len(set(rows)) != 1:
            raise ValueError(f"object_ids, logits, presence, quality disagree on O: {rows}")

    def mask(self, object_id: int) -> Bitmap:
        """(H, W) bool. Raises KeyError for an object that is not tracked."""
        if object_id not in self.object_ids:
            raise KeyError(f"object {object_id} is not tracked; tracked objects: {self.object_ids}")
        row = self.object_ids.index(ObjectId(object_id))
        if self.logits.device.type == "cpu":
            bitmap: Bitmap = (self.logits[row] > 0).numpy()
            return bitmap
        fetched: Bitmap = self._host.of(self.logits)[row].copy()
        return fetched

    def label_map(self) -> NDArray[np.int32]:
        """(H, W) object ids, 0 = background; the highest logit wins where objects overlap."""
        if not self.object_ids:
            return np.zeros(tuple(self.logits.shape[1:]), np.int32)
        best_HW, row_HW = self.logits.max(dim=0)
        ids = np.asarray((0, *self.object_ids), np.int32)
        numbers = ((row_HW + 1) * (best_HW > 0)).cpu().numpy()
        labels: NDArray[np.int32] = ids[numbers]
        return labels


class _HostMasks:
    """The masks of a result in host memory. They leave a device once, for all objects together."""

    __slots__ = ("_fetched",)

    def __init__(self) -> None:
        self._fetched: tuple[Tensor, NDArray[np.bool_]] | None = None

    def of(self, logits: Tensor) -> NDArray[np.bool_]:
        """(O, H, W) bool, where the logits are above 0."""
        fetched = self._fetched  # another thread may set it meanwhile
        if fetched is None or fetched[0] is not logits:
            fetched = logits, masks_of(logits)
            self._fetched = fetched
        return fetched[1]


def masks_of(logits: Tensor) -> NDArray[np.bool_]:
    """(O, H, W) bool in host memory of logits (O, H, W), which may be on a device.

    Eight pixels leave the device as one byte: a 32nd of the logits.
    """
    above = logits > 0
    if above.device.type == "cpu":
        masks: NDArray[np.bool_] = above.numpy()
        return masks
    return unpack_bits(pack_bits(above).cpu().numpy(), tuple(above.shape))


def pack_bits(above: Tensor) -> Tensor:
    """(N,) uint8 of a bool tensor: eight elements a byte, as `numpy.packbits`, zeros at the end."""
    import torch

    flat = above.flatten()
    missing = -flat.numel() % 8
    if missing:
        flat = torch.cat((flat, flat.new_zeros(missing)))
    places = torch.arange(7, -1, -1, dtype=torch.uint8, device=flat.device)
    return (flat.view(-1, 8).to(torch.uint8) << places).sum(dim=1, dtype=torch.uint8)


def unpack_bits(packed: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The bool array of this shape that `pack_bits` packed."""
    count = math.prod(shape)
    return np.unpackbits(packed, count=count).view(np.bool_).reshape(shape)

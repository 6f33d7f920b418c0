"""Collect keyframe thumbnails and color changes while the frames are in memory."""

from contextlib import suppress
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.ops.color import hue_saturation_distance, hue_saturation_histogram
from segment_concept.runtime.files import write_atomic
from segment_concept.types import Bitmap, Frame, FrameResult, Image
from segment_concept.video.draw import overlay

SIDE = 256  # side in pixels of the frames whose colors are compared, as in `fast_hsv`
_STATE_FILE = "explain-look.npz"
_WIDTH = 192  # of a keyframe's thumbnail, in pixels
_QUALITY = 82


@dataclass(frozen=True, slots=True, eq=False)
class _FrameColors:
    """Histogram of a frame, and the direction in which the video was played."""

    frame: int
    histogram: NDArray[np.float32]
    backwards: bool

    def precedes(self, frame: int, *, backwards: bool) -> bool:
        """Whether it was played before that frame, in the same direction."""
        is_before = self.frame > frame if backwards else self.frame < frame
        return is_before and self.backwards == backwards


class ThumbnailRecorder:
    """Saves thumbnails of keyframes, and measures color changes if the trigger does not.

    Everything is kept in the folder of the run's state, so that a resumed run can continue.
    """

    def __init__(self, state: Path) -> None:
        """Continue after the last recorded frame, if there is one."""
        self._state = state
        self._last: _FrameColors | None = None
        self._backwards = False
        # Without it, or if it is damaged, one color change is not known.
        damage = suppress(OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile)
        with damage, np.load(state / _STATE_FILE) as kept:
            histogram, backwards = kept["histogram"], bool(kept["backwards"])
            self._last = _FrameColors(int(kept["frame"]), histogram, backwards)

    def begin(self, *, backwards: bool) -> None:
        """Set the direction of the frames that follow."""
        self._backwards = backwards

    def watch(self, frame: Frame, result: FrameResult) -> float | None:
        """Record a frame; returns its color change if the result has no scene change."""
        for object_id, keyframes in zip(result.object_ids, result.keyframes, strict=False):
            if frame.index in keyframes:
                picture = thumbnail(frame.rgb, object_id, result.mask(object_id))
                write_atomic(thumbnail_path(self._state, object_id, frame.index), picture)
        if result.scene_change is not None:
            return None
        before = self._last
        now = _FrameColors(frame.index, hue_saturation_histogram(frame.rgb, SIDE), self._backwards)
        self._last = now
        if before is None or not before.precedes(frame.index, backwards=self._backwards):
            return None
        return hue_saturation_distance(before.histogram, now.histogram)

    def keep(self) -> None:
        """Save the state for a resumed run."""
        if self._last is not None:
            values = {f.name: getattr(self._last, f.name) for f in fields(self._last)}
            buffer = BytesIO()
            np.savez(buffer, **values)
            write_atomic(self._state / _STATE_FILE, buffer.getvalue(), durable=True)


def thumbnail_path(state: Path, object_id: int, frame: int) -> Path:
    """File of a keyframe's thumbnail during the run."""
    return state / f"keyframe-{object_id:03d}-{frame:06d}.jpg"


def thumbnail(rgb: Image, object_id: int, mask: Bitmap) -> bytes:
    """A small JPEG of a (H, W, 3) frame with the object tinted and outlined."""
    height = max(1, round(rgb.shape[0] * _WIDTH / rgb.shape[1]))
    small = np.asarray(cv2.resize(rgb, (_WIDTH, height), interpolation=cv2.INTER_AREA), np.uint8)
    shrunk = cv2.resize(mask.view(np.uint8), (_WIDTH, height), interpolation=cv2.INTER_NEAREST)
    picture = overlay(small, [(object_id, np.asarray(shrunk > 0, np.bool_))])
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return jpeg.tobytes()

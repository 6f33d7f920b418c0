"""Where a video cuts from one shot to the next, to count scenes.

The rule is that of an adaptive content detector (as in PySceneDetect): a cut changes the picture
far more than the frames around it change, and by enough to see.
"""

from array import array
from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from segment_concept.types import Frame, Image

WIDTH = 160  # frames are compared at this width
_NEIGHBOURS = 2  # frames on each side whose change a cut is compared with
_TIMES_NEIGHBOURS = 3.0
_LEAST_CHANGE = 15.0  # mean change of hue, saturation and value, of 255


def find_cuts(frames: Iterable[Image]) -> list[int]:
    """Indices of the frames that begin a new shot; `frames` are (H, W, 3) uint8 RGB."""
    change = _changes(frames)
    cuts = []
    for i in range(1, len(change)):
        around = change[max(i - _NEIGHBOURS, 1) : i + _NEIGHBOURS + 1]
        usual = (sum(around) - change[i]) / max(len(around) - 1, 1)
        if change[i] >= _LEAST_CHANGE and change[i] >= _TIMES_NEIGHBOURS * usual:
            cuts.append(i)
    return cuts


def first_frames(frames: Iterable[Frame]) -> list[int]:
    """The same for frames of a video, of which damaged ones may be missing: their own indices."""
    played = array("q")

    def pictures() -> Iterator[Image]:
        for frame in frames:
            played.append(frame.index)
            yield frame.rgb

    return [played[cut] for cut in find_cuts(pictures())]


def _changes(frames: Iterable[Image]) -> list[float]:
    """How much each frame differs from the one before; 0 for the first."""
    changes: list[float] = []
    before: NDArray[np.int16] | None = None
    for rgb in frames:
        height = max(1, round(rgb.shape[0] * WIDTH / rgb.shape[1]))
        small = cv2.resize(rgb, (WIDTH, height), interpolation=cv2.INTER_AREA)
        now = cv2.cvtColor(small, cv2.COLOR_RGB2HSV).astype(np.int16)
        # A picture of another size is another picture; hue is an angle, 180 of them a turn.
        if before is None or before.shape != now.shape:
            changes.append(0.0 if before is None else 255.0)
        else:
            difference = np.abs(now - before)
            difference[..., 0] = np.minimum(difference[..., 0], 180 - difference[..., 0])
            changes.append(float(difference.mean()))
        before = now
    return changes

"""Offline mode, as decisions: which frames of a whole video say what an object is, and whom to
believe where the video was played in both directions.

Pure functions over small records; `video.offline` plays the video and keeps the records.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from segment_concept.ops.color import appearance_distance
from segment_concept.tracking.api import VideoTracker
from segment_concept.tracking.session import Tracker
from segment_concept.tracking.triggers.base import AnyOf, AtFrames, Never

KEYFRAME_PRESENCE = 1 / (1 + math.exp(-1))  # score: the logit of 1 that SeC asks of a keyframe
REMEMBERED_QUALITY = 0.3  # predicted IoU that SeC asks of what is remembered
LEAST_AREA = 0.25  # of the usual area: half as wide and half as high
SAME_OBJECT = 0.5  # IoU from which two masks are usually said to be of one object


@dataclass(frozen=True, slots=True)
class Offline:
    """How a video is tracked in two passes.

    Attributes:
        keyframes: from which an object is recognised in the second pass, the frames on which it
            was shown included (SeC's `mllm_memory_size`, 7 as published).
        min_presence: score that the object is visible, above which a frame may become one.
        min_quality: the same for the predicted IoU of its mask.
        min_backtrack_iou: IoU with the prompted mask that tracking from the keyframe alone must
            reach on the prompted frame.
    """

    keyframes: int = 7
    min_presence: float = KEYFRAME_PRESENCE
    min_quality: float = REMEMBERED_QUALITY
    min_backtrack_iou: float = SAME_OBJECT

    def __post_init__(self) -> None:
        if self.keyframes < 1:
            raise ValueError(f"there is at least 1 keyframe, got {self.keyframes}")
        for name in ("min_presence", "min_quality", "min_backtrack_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a score in [0, 1], got {getattr(self, name)}")


def confidence(presence: float, quality: float) -> float:
    """How far a mask is to be believed: that there is something, times how well it is outlined."""
    return presence * quality


@dataclass(frozen=True, slots=True)
class Shots:
    """A video of `length` frames, cut into shots that begin on the frames `starts`."""

    starts: tuple[int, ...]  # ascending, the first is 0
    length: int

    @classmethod
    def of(cls, first_frames: Sequence[int], length: int) -> "Shots":
        """From the frames that a shot detector or a cut list names, in any order."""
        inside = {index for index in first_frames if 0 < index < length}
        return cls((0, *sorted(inside)), length)

    def on(self, frame_index: int) -> int:
        """The number of the shot that a frame belongs to."""
        return bisect_right(self.starts, frame_index) - 1

    def stretch(self, frame_index: int, parts: int) -> tuple[int, int]:
        """The shot of a frame and the part of it, of so many equally long ones."""
        shot = self.on(frame_index)
        begin, end = self.starts[shot], (*self.starts, self.length)[shot + 1]
        return shot, (frame_index - begin) * parts // (end - begin)


@dataclass(frozen=True, slots=True, eq=False)
class KeyframeCandidate:
    """An object on a frame, as one compares it with others: small, without pixels."""

    frame_index: int
    shot: int
    score: float  # confidence
    looks: NDArray[np.float32]  # what `ops.color.appearance` made of it


def choose_keyframes(
    candidates: Sequence[KeyframeCandidate],
    shown: Sequence[KeyframeCandidate],
    at_most: int,
    confirmed: Callable[[KeyframeCandidate], bool],
) -> list[KeyframeCandidate]:
    """The views to add to those that were shown, `at_most` of both, the most telling first.

    Farthest first: the next is the one that looks least like any before it, by colors of the
    object and of its surroundings, times its confidence (what is tracked wrongly looks unlike,
    too). A shot gets a second view only when all have one, and only one that looks new at all;
    the first is where the shot is entered from, however it looks. What is `confirmed` last, since
    that costs something, is whether the view shows the object at all.
    """
    added: list[KeyframeCandidate] = []
    left = [(min((_gain(v, one) for one in shown), default=v.score), v) for v in candidates]
    with_one = {view.shot for view in shown}
    while len(shown) + len(added) < at_most:
        fresh = [(gain, v) for gain, v in left if v.shot not in with_one]
        gain, best = max(fresh or left, key=lambda each: each[0], default=(0.0, None))
        if best is None or not (gain or fresh):
            break
        left = [each for each in left if each[1] is not best]
        if not confirmed(best):
            continue
        added.append(best)
        with_one.add(best.shot)
        left = [(min(gain, _gain(v, best)), v) for gain, v in left]
    return added


def _gain(view: KeyframeCandidate, known: KeyframeCandidate) -> float:
    return view.score * appearance_distance(view.looks, known.looks)


def with_queries_at(tracker: VideoTracker, starts: frozenset[int]) -> VideoTracker:
    """The tracker that asks its concept encoder where shots begin too; others stay as they are.

    Played backwards, a shot is entered by its last frame, and asked about there.
    """
    if not isinstance(tracker, Tracker) or tracker.concept is None:
        return tracker
    at = AtFrames(starts)
    own = tracker.trigger
    return replace(tracker, trigger=at if isinstance(own, Never) else AnyOf((own, at)))


def with_fixed_keyframes(tracker: VideoTracker) -> VideoTracker:
    """The tracker whose concept comes of the keyframes that it is shown, and of no others.

    Nothing that is found on the way pushes them out. As they never change, what the encoder made
    of them is computed once for the whole video.
    """
    if not isinstance(tracker, Tracker) or tracker.concept is None:
        return tracker
    return replace(tracker, keyframe_presence=math.inf)

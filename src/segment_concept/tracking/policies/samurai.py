"""SAMURAI: select and remember masks with a motion model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from segment_concept.ops.boxes import Corners, box_iou, boxes_around
from segment_concept.ops.kalman import KalmanState, initiate, predict, update
from segment_concept.tracking.memory import (
    Memory,
    MemoryBank,
    Motion,
    PlaybackPosition,
    Recall,
    RecalledMap,
    Track,
)
from segment_concept.tracking.policies.base import (
    PROMPTED_RECALLED,
    Candidate,
    best_iou,
    keep_walked,
    walk_back,
)
from segment_concept.tracking.policies.sam2 import RecentMemory

INPUT_PIXELS = 4  # input pixels per side of a pixel of the mask decoder's grid


@dataclass(frozen=True, slots=True)
class MotionMemory:
    """SAMURAI (arXiv:2411.11922): SAM 2 with a Kalman filter over the object's box.

    The mask is selected by predicted IoU until `stable_frames_threshold` consecutive frames had
    reliable masks; after that, IoU with the predicted box counts as well. Maps of frames with a
    bad mask or a failed prediction are not recalled; pointers are those of SAM 2. The filter
    starts on the first frame after a prompt or a change of direction.

    The defaults are SAMURAI's for Hiera-large; for the smaller ones `motion_weight` is 0.25. As
    published, the first frame after the prompt is recalled only while it is the previous one.
    On prompted frames, visibility is decided as in SAM 2.

    Args:
        slots, pointers, video_length, prompted: as in `RecentMemory`.
        motion_weight: weight in [0, 1] of the motion IoU against the predicted IoU
            (`kf_score_weight`).
        stable_frames_threshold: see above, in frames (the same name in the release).
        stable_iou_threshold: minimum predicted IoU of a reliable mask, which updates the filter
            (`stable_ious_threshold`).
        min_iou: predicted IoU above which a frame is recalled (`memory_bank_iou_threshold`).
        min_motion_iou: IoU with the predicted box above which a frame is recalled.
        presence_threshold: presence logit above which the object is visible
            (`min_obj_score_logits`).
    """

    slots: int = 7
    pointers: int = 16
    video_length: int | None = None
    prompted: int | None = PROMPTED_RECALLED
    motion_weight: float = 0.15
    stable_frames_threshold: int = 15
    stable_iou_threshold: float = 0.3
    min_iou: float = 0.5
    min_motion_iou: float = 0.0
    presence_threshold: float = -1.0

    def __post_init__(self) -> None:
        self._recent()
        for name in ("motion_weight", "stable_iou_threshold", "min_iou", "min_motion_iou"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f"{name} is a score in [0, 1], got {value}")
        if self.stable_frames_threshold < 1:
            raise ValueError(
                f"stable_frames_threshold is at least 1 frame, got {self.stable_frames_threshold}"
            )

    def recall(self, bank: MemoryBank, position: PlaybackPosition) -> Recall:
        recent = self._recent().recall(bank, position)
        recalled = self._walk(bank, position)[: self.slots - 1]
        return replace(
            recent,
            maps=(
                *(m for m in recent.maps if m.prompted),
                *(RecalledMap(rank, m) for rank, m in reversed(list(enumerate(recalled)))),
            ),
            presence_threshold=self.presence_threshold,
            alternatives=True,
        )

    def choose(
        self, tracks: Sequence[Track], candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        motion = tracks[0].motion
        if motion is None or motion.stable_frames == 0:
            best = best_iou(candidates)
            return [replace(best, motion=Motion(initiate(*_boxes([best])), 1))]
        predicted = predict(motion.kalman)
        if motion.stable_frames < self.stable_frames_threshold:
            best = best_iou(candidates)
            stable_frames = motion.stable_frames + 1 if best.iou > self.stable_iou_threshold else 0
        else:
            best = self._best_by_motion(candidates, predicted)
            stable_frames = motion.stable_frames if best.iou >= self.stable_iou_threshold else 0
        kalman = update(predicted, *_boxes([best])) if stable_frames else predicted
        return [replace(best, motion=Motion(kalman, stable_frames))]

    def forget(self, bank: MemoryBank, position: PlaybackPosition) -> MemoryBank:
        walked = keep_walked(bank, position, self._walk).tracked
        recent = self._recent().forget(bank, position)
        needed = {id(m) for m in (*walked, *recent.tracked)}
        return replace(recent, tracked=tuple(m for m in bank.tracked if id(m) in needed))

    def _recent(self) -> RecentMemory:
        return RecentMemory(self.slots, self.pointers, self.video_length, self.prompted)

    def _best_by_motion(self, candidates: Sequence[Candidate], predicted: KalmanState) -> Candidate:
        """The candidate with the highest weighted score; the first of equals."""
        overlaps = [box_iou(predicted.corners, box) for box in _boxes(candidates)]
        scores = [
            self.motion_weight * share + (1 - self.motion_weight) * candidate.iou
            for share, candidate in zip(overlaps, candidates, strict=True)
        ]
        best = scores.index(max(scores))
        return replace(candidates[best], motion_iou=overlaps[best])

    def _walk(self, bank: MemoryBank, position: PlaybackPosition) -> list[Memory]:
        return walk_back(bank, position, self._is_good, self.slots - 1, untested=1)

    def _is_good(self, m: Memory) -> bool:
        as_predicted = m.motion is None or m.motion > self.min_motion_iou
        return m.iou > self.min_iou and m.presence > 0 and as_predicted


def _boxes(candidates: Sequence[Candidate]) -> list[Corners]:
    """Boxes around the masks upsampled to the network's input, as published."""
    pixels = [c.logits for c in candidates if c.logits is not None]
    large = F.interpolate(
        torch.stack(pixels)[:, None].float(), scale_factor=INPUT_PIXELS, mode="bilinear"
    )
    return boxes_around(large[:, 0] > 0)

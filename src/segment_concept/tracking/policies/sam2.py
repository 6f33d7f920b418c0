"""SAM 2's memory: the prompted frames and the most recent frames."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from segment_concept.tracking.memory import (
    MemoryBank,
    PlaybackPosition,
    Recall,
    RecalledMap,
    RecalledPointer,
    Track,
)
from segment_concept.tracking.policies.base import (
    PROMPTED_RECALLED,
    Candidate,
    best_iou,
    check_slots,
    drop_far_prompts,
    nearest_prompted,
    pointer_horizon,
    pointer_reach,
    prompted_maps,
    prompted_pointers,
)


@dataclass(frozen=True, slots=True)
class RecentMemory:
    """SAM 2: the prompted frames and the most recent ones, whatever their quality.

    Attributes:
        slots: number of memory maps, including one for prompted frames (`num_maskmem`).
        pointers: number of object pointers (`max_obj_ptrs_in_encoder`).
        video_length: number of frames of the video, if known. It reproduces the official
            normalization of pointer distances in videos shorter than `pointers` frames.
        prompted: number of prompted memories a frame attends to, the nearest ones
            (`max_cond_frames_in_attn`); None, SAM 2's default, recalls and keeps all of them.
    """

    slots: int = 7
    pointers: int = 16
    video_length: int | None = None
    prompted: int | None = PROMPTED_RECALLED

    def __post_init__(self) -> None:
        check_slots(self.slots, self.pointers, self.prompted)

    def recall(self, bank: MemoryBank, position: PlaybackPosition) -> Recall:
        past = [(position.frames_since(m.frame_index), m) for m in bank.tracked]
        ahead_of = sorted((p for p in past if p[0] > 0), key=lambda p: p[0])
        reach = pointer_reach(self.pointers, self.video_length)
        recent = [(age, m) for age, m in ahead_of if age < self.slots]
        prompted = nearest_prompted(bank, position, self.prompted)
        return Recall(
            maps=(
                *prompted_maps(prompted, self.slots),
                *(RecalledMap(age - 1, m) for age, m in reversed(recent)),
            ),
            pointers=(
                *prompted_pointers(prompted, position),
                *(RecalledPointer(age, m) for age, m in ahead_of if age < reach),
            ),
            horizon=pointer_horizon(reach),
        )

    def choose(
        self, tracks: Sequence[Track], candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        return [best_iou(candidates)]

    def forget(self, bank: MemoryBank, position: PlaybackPosition) -> MemoryBank:
        reach = max(self.slots, self.pointers)
        now = position.frame_index
        anchors = [now, *(m.frame_index for m in bank.prompted)]
        # Always keep the previous frame: a correction of the current one recalls it.
        kept = (
            m for m in bank.tracked if m.age(now) <= 1 or any(m.age(a) < reach for a in anchors)
        )
        return drop_far_prompts(replace(bank, tracked=tuple(kept)), position, self.prompted)

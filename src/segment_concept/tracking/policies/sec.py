"""SeC's memory: the newest frames with a good mask."""

from collections.abc import Sequence
from dataclasses import dataclass

from segment_concept.tracking.memory import (
    Memory,
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
    keep_walked,
    nearest_prompted,
    pointer_horizon,
    pointer_reach,
    prompted_maps,
    prompted_pointers,
    walk_back,
)


@dataclass(frozen=True, slots=True)
class ReliableMemory:
    """SeC: the newest frames with a good mask, and always the previous frame.

    Slots and pointer distances count rank among these frames, not age. For cases in which SeC's
    release fails (backward playback, a second prompted frame, several objects), the frames are
    defined as those played between the farthest earlier prompt and now, without prompted ones.

    Attributes:
        slots: number of memory maps, including one for prompted frames (`num_maskmem`).
        ranks: ranks of the tracked frames that are recalled as maps, 0 for the newest, all below
            `slots - 1`; None recalls all of these. Fewer that are spaced cost less time.
        min_iou: predicted IoU above which a mask is good, if the object is also visible.
        pointers, video_length, prompted: as in `RecentMemory`.
    """

    slots: int = 22
    min_iou: float = 0.3
    pointers: int = 16
    video_length: int | None = None
    prompted: int | None = PROMPTED_RECALLED
    ranks: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check_slots(self.slots, self.pointers, self.prompted)
        if self.ranks is not None and not all(0 <= rank < self.slots - 1 for rank in self.ranks):
            raise ValueError(f"ranks are from 0 to slots - 2, got {self.ranks}")
        if not 0 <= self.min_iou <= 1:
            raise ValueError(f"min_iou is a score in [0, 1], got {self.min_iou}")

    def recall(self, bank: MemoryBank, position: PlaybackPosition) -> Recall:
        kept = self._walk(bank, position)
        reach = pointer_reach(self.pointers, self.video_length)
        ranked = list(enumerate(kept[: self.slots - 1]))
        recalled = [(rank, m) for rank, m in ranked if self.ranks is None or rank in self.ranks]
        prompted = nearest_prompted(bank, position, self.prompted)
        return Recall(
            maps=(
                *prompted_maps(prompted, self.slots),
                *(RecalledMap(rank, m) for rank, m in reversed(recalled)),
            ),
            # As published: the distance is the rank, and the oldest kept frame has no pointer.
            pointers=(
                *prompted_pointers(prompted, position),
                *(
                    RecalledPointer(rank, m)
                    for rank, m in enumerate(kept[:-1], start=1)
                    if rank < reach
                ),
            ),
            horizon=pointer_horizon(reach),
        )

    def choose(
        self, tracks: Sequence[Track], candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        return [best_iou(candidates)]

    def forget(self, bank: MemoryBank, position: PlaybackPosition) -> MemoryBank:
        return drop_far_prompts(keep_walked(bank, position, self._walk), position, self.prompted)

    def _walk(self, bank: MemoryBank, position: PlaybackPosition) -> list[Memory]:
        return walk_back(bank, position, self._is_good, self._walk_length())

    def _walk_length(self) -> int:
        longest = max(self.pointers, self.slots)
        return min(self.video_length or longest, longest) - 1

    def _is_good(self, m: Memory) -> bool:
        return m.iou > self.min_iou and m.presence > 0

"""SAM2Long: a tree of hypotheses about an object."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from segment_concept.tracking.memory import Memory, MemoryBank, PlaybackPosition, Recall, Track
from segment_concept.tracking.policies.base import (
    PROMPTED_RECALLED,
    Candidate,
    MemoryPolicy,
    best_iou,
    extended_score,
)
from segment_concept.tracking.policies.sec import ReliableMemory

PROMPTED_SCORE = 10.0  # presence logit assumed for prompted memories
FAINTEST, STRONGEST = 0.95, 1.05  # key scales of the least and the most certain memory


@dataclass(frozen=True, slots=True)
class TreeMemory:
    """SAM2Long (arXiv:2410.16268): keep the `paths` hypotheses of highest cumulative score.

    Each hypothesis has its own memory, like SeC's with fewer slots; the keys of memories with a
    higher presence score are scaled up slightly. On each frame every hypothesis proposes three
    masks. If any proposal is certain whether the object is present, the best of all proposals are
    kept; otherwise the best ones that differ in predicted IoU, so that hypotheses stay diverse.

    The first frame after a prompt or a change of direction is a single step shared by all
    hypotheses. A session shows the first hypothesis, the best so far (the streaming form). In the
    published form the best hypothesis at the end decides all frames; see `tracking.best_path`.

    Args:
        slots, pointers, video_length, prompted: as in `RecentMemory`.
        min_iou: predicted IoU above which a frame is recalled, as in all commands of the release
            (the default of its command line is 0.3, with `certain_above` 1).
        paths: number of hypotheses.
        certain_above: absolute presence logit above which presence or absence is certain.
    """

    slots: int = 7
    pointers: int = 16
    video_length: int | None = None
    prompted: int | None = PROMPTED_RECALLED
    min_iou: float = 0.1
    paths: int = 3
    certain_above: float = 2.0

    def __post_init__(self) -> None:
        self._own()
        if self.paths < 1:
            raise ValueError(f"paths must be at least 1, got {self.paths}")

    def recall(self, bank: MemoryBank, position: PlaybackPosition) -> Recall:
        single = replace(self._own().recall(bank, position), alternatives=True)
        if len(single.maps) < 2:
            return single
        prompted = {id(m) for m in bank.prompted}
        maps = _key_scales([m.memory for m in single.maps], prompted)
        pointers = _key_scales([p.memory for p in single.pointers], prompted)
        return replace(
            single,
            maps=tuple(replace(m, key_scale=s) for m, s in zip(single.maps, maps, strict=True)),
            pointers=tuple(
                replace(p, key_scale=s) for p, s in zip(single.pointers, pointers, strict=True)
            ),
        )

    def choose(
        self, tracks: Sequence[Track], candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        if len(tracks) == 1:
            return [best_iou(candidates)] * self.paths
        ranked = sorted(candidates, key=lambda c: extended_score(tracks[c.track], c), reverse=True)
        if max(abs(c.presence) for c in candidates) > self.certain_above:
            return ranked[: self.paths]
        return self._diverse(ranked)

    def forget(self, bank: MemoryBank, position: PlaybackPosition) -> MemoryBank:
        return self._own().forget(bank, position)

    def _own(self) -> MemoryPolicy:
        """The memory policy of a single hypothesis."""
        return ReliableMemory(
            self.slots, self.min_iou, self.pointers, self.video_length, self.prompted
        )

    def _diverse(self, ranked: Sequence[Candidate]) -> list[Candidate]:
        """The best candidates that differ in IoU, filled up with the best of other hypotheses."""
        distinct: dict[float, Candidate] = {}
        for c in ranked:
            distinct.setdefault(round(c.iou if c.presence > 0 else -c.iou, 2), c)
        chosen = list(distinct.values())[: self.paths]
        continued = {c.track for c in chosen}
        first: dict[int, Candidate] = {}
        for c in ranked:
            first.setdefault(c.track, c)
        others = [first[track] for track in sorted(first) if track not in continued]
        return [*chosen, *others][: self.paths]


def _key_scales(memories: Sequence[Memory], prompted: set[int]) -> list[float]:
    """Evenly spaced key scales by rank of presence; ties keep the order of attention."""
    presence = [PROMPTED_SCORE if id(m) in prompted else m.presence for m in memories]
    ranked = sorted(range(len(memories)), key=presence.__getitem__)
    step = (STRONGEST - FAINTEST) / max(1, len(memories) - 1)
    scales = [FAINTEST] * len(memories)
    for rank, n in enumerate(ranked):
        scales[n] += rank * step
    return scales

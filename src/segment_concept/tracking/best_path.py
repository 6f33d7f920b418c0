"""The published form of SAM2Long: the hypothesis that wins in the end decides about every frame."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from segment_concept.tracking.memory import Track
from segment_concept.tracking.results import upsample_logits
from segment_concept.tracking.session import Session
from segment_concept.types import Frame, FrameResult, ObjectId


def track_in_hindsight(
    session: Session, frames: Iterable[Frame], *, backwards: bool | None = None
) -> Iterator[FrameResult]:
    """`session.track`, with what is known in the end: results come late, but in order.

    A frame is yielded as soon as it cannot change any more, because all hypotheses that are left
    agree on it; what is still open after the last frame is decided by the best of them. Small
    masks of open frames are all that is held. A policy with one hypothesis has no open frames.

    Show the objects before: until it ends, the session is this generator's alone.
    """
    open_frames: deque[_PendingFrame] = deque()
    for frame in frames:
        before = dict(session.tracks)
        result = session.step(frame, backwards=backwards)
        grown = {i: now for i, now in session.tracks.items() if now is not before[i]}
        for one in open_frames:
            one.grow(grown)
        open_frames.append(_opened(result, frame.size, session.tracks))
        while open_frames and open_frames[0].settled:
            yield open_frames.popleft().closed(non_overlapping=session.tracker.non_overlapping)
    while open_frames:
        yield open_frames.popleft().closed(non_overlapping=session.tracker.non_overlapping)


@dataclass(frozen=True, slots=True, eq=False)
class _Hypothesis:
    """What a hypothesis believed about an object on a frame."""

    logits: Tensor  # (h, w)
    iou: float
    presence: float  # logit


@dataclass(slots=True, eq=False)
class _PendingFrame:
    """A frame about which hypotheses may differ."""

    blank: FrameResult  # without pixels
    size: tuple[int, int]  # (H, W)
    beliefs: dict[ObjectId, tuple[_Hypothesis, ...]]  # of the hypotheses that are left, best first

    @property
    def settled(self) -> bool:
        return all(len(set(map(id, each))) == 1 for each in self.beliefs.values())

    def grow(self, grown: Mapping[ObjectId, tuple[Track, ...]]) -> None:
        """A frame later: some hypotheses have gone, others have several heirs."""
        for i in self.beliefs.keys() & grown.keys():
            self.beliefs[i] = tuple(self.beliefs[i][track.parent] for track in grown[i])

    def closed(self, *, non_overlapping: bool) -> FrameResult:
        best = [each[0] for each in self.beliefs.values()]
        return replace(
            self.blank,
            logits=upsample_logits(
                [b.logits for b in best], self.size, non_overlapping=non_overlapping
            ),
            presence=torch.tensor([b.presence for b in best]).sigmoid(),
            quality=torch.tensor([b.iou for b in best]),
        )


def _opened(
    result: FrameResult, size: tuple[int, int], tracks: Mapping[ObjectId, tuple[Track, ...]]
) -> _PendingFrame:
    beliefs = {}
    for i in result.object_ids:
        memories = [m for track in tracks[i] if (m := track.bank.on(result.frame_index))]
        distinct = {id(m): _Hypothesis(m.logits, m.iou, m.presence) for m in memories}
        beliefs[i] = tuple(distinct[id(m)] for m in memories)
    return _PendingFrame(
        replace(result, logits=result.logits.new_empty((len(beliefs), 0, 0))), size, beliefs
    )

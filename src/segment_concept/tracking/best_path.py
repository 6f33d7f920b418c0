"""SAM2Long as published: the best hypothesis at the end of the video decides all frames."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from segment_concept.tracking.memory import Track
from segment_concept.tracking.results import upsample_logits
from segment_concept.tracking.session import Session
from segment_concept.types import Frame, FrameResult, ObjectId


def track_best_path(
    session: Session, frames: Iterable[Frame], *, backwards: bool | None = None
) -> Iterator[FrameResult]:
    """`session.track` with the masks of the hypothesis that is best at the end of the video.

    Results are delayed, but in order: a frame is yielded as soon as all remaining hypotheses have
    the same mask on it, and at the end of the video at the latest. Until then its masks are kept,
    in the size of the mask decoder. With a policy of one hypothesis nothing is delayed. Contours
    are not guided by the picture, which would have to be kept as well.

    Args:
        session: with its objects already prompted. Do not use it until the iterator ends.
        frames: the video, or a part of it.
        backwards: as for `Session.step`.
    """
    open_frames: deque[_PendingFrame] = deque()
    for frame in frames:
        earlier = dict(session.tracks)
        result = session.step(frame, backwards=backwards)
        continued = {i: tracks for i, tracks in session.tracks.items() if tracks is not earlier[i]}
        for pending in open_frames:
            pending.follow(continued)
        open_frames.append(_pending_frame(result, frame.size, session.tracks))
        while open_frames and open_frames[0].settled:
            yield open_frames.popleft().final_result(
                non_overlapping=session.tracker.non_overlapping
            )
    while open_frames:
        yield open_frames.popleft().final_result(non_overlapping=session.tracker.non_overlapping)


@dataclass(frozen=True, slots=True, eq=False)
class _Hypothesis:
    """The mask of one object on one frame in one or more hypotheses."""

    logits: Tensor  # (h, w)
    iou: float
    presence: float  # logit


@dataclass(slots=True, eq=False)
class _PendingFrame:
    """A frame on which the masks of hypotheses may differ."""

    result: FrameResult  # without logits
    size: tuple[int, int]  # (H, W)
    hypotheses: dict[ObjectId, tuple[_Hypothesis, ...]]  # of the remaining ones, best first

    @property
    def settled(self) -> bool:
        return all(len(set(map(id, each))) == 1 for each in self.hypotheses.values())

    def follow(self, continued: Mapping[ObjectId, tuple[Track, ...]]) -> None:
        """Follow the hypotheses by one frame: some have ended, others were continued twice."""
        for i in self.hypotheses.keys() & continued.keys():
            self.hypotheses[i] = tuple(self.hypotheses[i][track.parent] for track in continued[i])

    def final_result(self, *, non_overlapping: bool) -> FrameResult:
        best = [each[0] for each in self.hypotheses.values()]
        return replace(
            self.result,
            logits=upsample_logits(
                [h.logits for h in best], self.size, non_overlapping=non_overlapping
            ),
            presence=torch.tensor([h.presence for h in best]).sigmoid(),
            quality=torch.tensor([h.iou for h in best]),
        )


def _pending_frame(
    result: FrameResult, size: tuple[int, int], tracks: Mapping[ObjectId, tuple[Track, ...]]
) -> _PendingFrame:
    hypotheses = {}
    for i in result.object_ids:
        memories = [m for track in tracks[i] if (m := track.bank.on(result.frame_index))]
        distinct = {id(m): _Hypothesis(m.logits, m.iou, m.presence) for m in memories}
        hypotheses[i] = tuple(distinct[id(m)] for m in memories)
    return _PendingFrame(
        replace(result, logits=result.logits.new_empty((len(hypotheses), 0, 0))), size, hypotheses
    )

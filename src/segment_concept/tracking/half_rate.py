"""Track every other frame where a film is calm; those between are carried by optical flow.

The frame after the next is tracked first. If all is certain there, the next one gets its masks
from both neighbors (see `between`); else both are tracked in their order, as if nothing had been
tried. So a result comes when the frame after it was read.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from segment_concept.ops.flow import (
    SMALLEST,
    Floats,
    Flow,
    FlowEstimator,
    floats,
    resized,
    small_gray,
    small_size,
)
from segment_concept.tracking.api import Prompts
from segment_concept.tracking.between import (
    Limits,
    agreement,
    move_to,
    moved_logits,
)
from segment_concept.tracking.frame_queue import FrameQueue, QueuedFrame
from segment_concept.tracking.snapshot import is_in_state, restore_state, state_of
from segment_concept.tracking.step import ObjectState
from segment_concept.tracking.triggers.base import TriggerDecision
from segment_concept.types import Frame, FrameResult, ObjectId, SegmentConceptError

if TYPE_CHECKING:  # which imports this module
    from segment_concept.tracking.session import Session

# Frames that are tracked in any case after two neighbors did not agree: an attempt in vain costs
# half of a frame. Twice as many if they did not agree the time before either, twice at most.
HELD, DOUBLINGS = 4, 2
RESTLESS = 3  # the same where the picture moved too much: flow costs a twentieth of a frame
LARGEST_EXPONENT = 700.0  # of a 64-bit float

LIMITS = Limits()

States: TypeAlias = Mapping[ObjectId, ObjectState]


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """A carried frame, and the one after it, which was tracked before."""

    carried: FrameResult
    after: FrameResult
    passed: dict[str, Any]  # the session's state between the two
    reached: dict[str, Any]  # and after both


@dataclass(frozen=True, slots=True, eq=False)
class _Attempt:
    """A frame that was passed over, before it is known whether it can be carried."""

    frame: Frame
    after: QueuedFrame
    flow: Flow  # to the frame after
    states: States  # of the frame before
    moved: list[Floats]  # its masks, in this order, moved to the frame
    decision: TriggerDecision


class HalfRate:
    """Tracks a video with a session and carries frames where that is safe.

    Whenever a result is given, the session's state is that between the frame and the next one. It
    can be stored there, and what is changed in it there counts for the frames that follow.

    Args:
        session: the session.
        queue: the frames.
        prompts: by frame index.
        backwards: as for `Session.step`.
        limits: when a frame may be carried.
    """

    def __init__(
        self,
        session: "Session",
        queue: FrameQueue,
        prompts: Prompts,
        backwards: bool | None,
        limits: Limits = LIMITS,
    ) -> None:
        self._session, self._queue, self._prompts = session, queue, prompts
        self._backwards, self._limits = backwards, limits
        self._estimator = FlowEstimator()
        self._last: QueuedFrame | None = None  # the frame that was tracked last
        self._calm = True  # whether frames will probably be carried

    def results(self) -> Iterator[FrameResult]:
        """The result of every frame, in order. Raises InputError as `Session.step`."""
        while (now := self._queue.pop()) is not None:
            pair = self._carry(now)
            if pair is None:
                self._encode_from(0)
                yield self._track(now)
                continue
            yield pair.carried
            after = self._queue.pop()
            assert after is not None, "the frame after was looked at"
            if is_in_state(self._session, pair.passed):
                restore_state(self._session, pair.reached)
                yield pair.after
            else:
                yield self._track(after)

    def _track(self, queued: QueuedFrame) -> FrameResult:
        session = self._session
        result = session.step(
            queued.frame,
            self._prompts.get(queued.frame.index, {}),
            features=queued.features,
            backwards=self._backwards,
            descriptor=queued.descriptor,
        )
        session.held = max(0, session.held - 1)
        self._last = queued
        return result

    def _encode_from(self, place: int) -> None:
        """Begin to encode the frames, from a place in the queue, that will probably be tracked."""
        places: list[int] = []
        held = max(0, self._session.held - 1)  # one is tracked before these
        while len(places) < self._queue.prefetch:
            skips = held == 0 and self._calm
            place += skips
            places.append(place)
            place, held = place + 1, max(0, held - 1)
        self._queue.encode(places)

    def _carry(self, now: QueuedFrame) -> _Pair | None:
        """The frame and the next one, if it can be carried; else nothing but `held` changes."""
        session, last, start = self._session, self._last, state_of(self._session)
        attempt = self._attempt(now)
        if session.previous is not None:
            self._calm = attempt is not None
        if attempt is None:
            return None
        passed = state_of(session)
        self._encode_from(1)
        try:
            after = self._track(attempt.after)
            carried = self._between(attempt, after)
        except SegmentConceptError:  # raised again when it is the frame's turn
            carried = None
        except BaseException:
            restore_state(session, start)
            raise
        if carried is None:
            restore_state(session, start)
            session.held = HELD << session.failed
            session.failed = min(session.failed + 1, DOUBLINGS)
            self._last = last
            return None
        session.failed = 0
        reached = state_of(session)
        restore_state(session, passed)
        return _Pair(session.with_keyframes(carried), after, passed, reached)

    def _attempt(self, now: QueuedFrame) -> _Attempt | None:
        """Pass the frame over if nothing is against it that is known before the next one."""
        session, after = self._session, self._queue.peek(0)
        previous = session.previous
        if previous is None or after is None or not self._lies_between(now.frame, after.frame):
            return None
        states, start = previous.states, state_of(session)
        known = self._last is not None and self._last.frame is previous.frame
        gray = self._last.gray if self._last and known else small_gray(previous.frame.rgb)
        moves = [move_to(self._estimator, now.gray, gray)]
        moved = moved_logits(_logits(states, states), moves[0].flow)
        masks = [each > 0 for each in moved]
        if moves[0].misfit(masks) <= self._limits.misfit:
            moves.append(move_to(self._estimator, now.gray, after.gray))
        if moves[-1].misfit(masks) > self._limits.misfit:
            session.held = RESTLESS
            return None
        decision = session.pass_over(now.frame, self._backwards, now.descriptor)
        following = session.decision_on(after.frame, self._backwards, after.descriptor)
        if decision.query or decision.cut or following.query or following.cut:
            restore_state(session, start)
            return None
        return _Attempt(now.frame, after, moves[-1].flow, states, moved, decision)

    def _lies_between(self, frame: Frame, after: Frame) -> bool:
        """Whether the last frame, this one and another follow each other, without prompts.

        All objects must be certain on the last one.
        """
        session = self._session
        previous = session.previous
        if previous is None or session.passed is not None or session.held:
            return False
        steps = frame.index - previous.frame.index, after.index - frame.index
        banks = [tracks[0].bank for tracks in session.tracks.values()]
        prompted = {m.frame_index for bank in banks for m in bank.prompted} | set(self._prompts)
        states = previous.states.values()
        return (
            steps in ((1, 1), (-1, -1))
            and previous.frame.size == frame.size == after.size
            and min(small_size(frame.size)) >= SMALLEST
            and prompted.isdisjoint((frame.index, after.index))
            and bool(states)
            and all(self._is_certain(state) for state in states)
        )

    def _is_certain(self, state: ObjectState) -> bool:
        """Whether an object is certainly there, with a good mask, or certainly not."""
        score = _score(state)
        if score < self._limits.absence:
            return True
        return min(score, state.iou) > self._limits.confidence

    def _between(self, attempt: _Attempt, after: FrameResult) -> FrameResult | None:
        """The result of the frame passed over; None if its neighbors do not agree on it."""
        previous = self._session.previous
        assert previous is not None, "the frame after was tracked"
        ids, before, states = after.object_ids, attempt.states, previous.states
        if after.concept_queried or set(before) != set(ids):
            return None
        if not all(self._agree(before[i], states[i]) for i in ids):
            return None
        moved = moved_logits(_logits(states, before), attempt.flow)
        if agreement(attempt.moved, moved) < self._limits.agreement:
            return None
        pairs = zip(before, attempt.moved, moved, strict=True)
        mean = {i: _tensor(floats((a + b) / 2), states[i].logits) for i, a, b in pairs}
        scores = {i: (_score(before[i]) + _score(states[i])) / 2 for i in ids}
        return FrameResult(
            frame_index=attempt.frame.index,
            object_ids=ids,
            logits=self._session.tracker.enlarge([mean[i] for i in ids], attempt.frame),
            presence=torch.tensor([scores[i] for i in ids]),
            quality=torch.tensor([(before[i].iou + states[i].iou) / 2 for i in ids]),
            scene_change=attempt.decision.distance,
            seconds=attempt.frame.seconds,
            carried=True,
        )

    def _agree(self, before: ObjectState, after: ObjectState) -> bool:
        is_absent = [_score(each) < self._limits.absence for each in (before, after)]
        return self._is_certain(after) and is_absent[0] == is_absent[1]


def _logits(states: States, order: Iterable[ObjectId]) -> list[Floats]:
    return [np.asarray(states[i].logits.float().cpu().numpy()) for i in order]


def _tensor(logits: Floats, like: Tensor) -> Tensor:
    """Logits as those of a tracked frame: of their size and on their device."""
    return torch.from_numpy(resized(logits, (like.shape[0], like.shape[1]))).to(like.device)


def _score(state: ObjectState) -> float:
    return 1 / (1 + exp(min(-state.presence, LARGEST_EXPONENT)))

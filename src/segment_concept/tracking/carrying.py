"""Track some frames where a film is calm; those between are carried by optical flow.

Up to three frames are passed over and the one after them is tracked. If all is certain there, those
passed over get their masks from both sides (see `between`); else fewer are tried, or none, as if
nothing had been tried. So a result comes when some of the frames after it were read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from segment_concept.ops.flow import (
    SMALLEST,
    Floats,
    FlowEstimator,
    small_gray,
    small_size,
)
from segment_concept.tracking.api import Prompts
from segment_concept.tracking.between import (
    Limits,
    View,
    Way,
    agreement,
    mixed,
    most_apart,
    views_after,
    ways_to,
)
from segment_concept.tracking.carry_state import CarryState, PassedFrame
from segment_concept.tracking.frame_queue import FrameQueue, QueuedFrame
from segment_concept.tracking.snapshot import is_in_state, restore_state, state_of
from segment_concept.tracking.step import ObjectState
from segment_concept.tracking.triggers.base import TriggerDecision
from segment_concept.types import Frame, FrameResult, ObjectId, SegmentConceptError

if TYPE_CHECKING:  # which imports this module
    from segment_concept.tracking.session import Session

LIMITS = Limits()

State: TypeAlias = dict[str, Any]  # of the session, see `state_of`
States: TypeAlias = Mapping[ObjectId, ObjectState]


@dataclass(frozen=True, slots=True, eq=False)
class _Played:
    """A result, and the session's state between its frame and the next one."""

    result: FrameResult
    state: State


@dataclass(frozen=True, slots=True, eq=False)
class _Passed:
    """A frame that was passed over, before it is known whether it can be carried."""

    frame: Frame
    way: Way
    decision: TriggerDecision
    state: State  # of the session after it


@dataclass(frozen=True, slots=True, eq=False)
class _Tracked:
    """One of the two tracked frames."""

    index: int
    states: States


class CarriedTracking:
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
        self._calm = True  # whether frames will probably be carried

    def results(self) -> Iterator[FrameResult]:
        """The result of every frame, in order. Raises InputError as `Session.step`."""
        session = self._session
        while (now := self._queue.pop()) is not None:
            played = self._carry(now)
            if not played:
                self._encode_from(0, session.carry.reach)
                yield self._track(now)
            for number, each in enumerate(played):
                if number:
                    self._queue.pop()
                restore_state(session, each.state)
                yield each.result
                if not is_in_state(session, each.state):
                    break  # the frames after it are played again

    def _track(self, queued: QueuedFrame) -> FrameResult:
        return self._session.step(
            queued.frame,
            self._prompts.get(queued.frame.index, {}),
            features=queued.features,
            backwards=self._backwards,
            descriptor=queued.descriptor,
        )

    def _encode_from(self, place: int, reach: int) -> None:
        """Begin to encode the frames, from a place in the queue, that will probably be tracked.

        Args:
            place: of the first frame that may be tracked.
            reach: how many frames in a row will be tried.
        """
        places: list[int] = []
        held = max(0, self._session.carry.held - 1)  # one is tracked before these
        while len(places) < self._queue.prefetch:
            if self._calm and not held:
                places.append(place + reach)
                break  # how many are skipped after it is not certain
            places.append(place)
            place, held = place + 1, max(0, held - 1)
        self._queue.encode(places)

    def _carry(self, now: QueuedFrame) -> list[_Played]:
        """The frame, others after it and the first tracked one, if the frame can be carried.

        Else there are none, and nothing but `Session.carry` changes.
        """
        session, start = self._session, state_of(self._session)
        frames = list(self._following(now))
        ways = self._ways(frames) if len(frames) > 1 else []
        passed = self._pass_over(frames, ways) if ways else []
        if session.previous is not None:
            self._calm = bool(passed)
        if not passed:
            return []
        self._encode_from(len(passed), session.carry.next_reach)
        try:
            played = self._played(passed, frames[len(passed)])
        except BaseException:
            restore_state(session, start)
            raise
        if played:
            return played
        restore_state(session, start)
        session.carry = session.carry.disagreed(len(passed))
        return self._carry(now) if session.carry.allowed else []

    def _following(self, now: QueuedFrame) -> Iterator[QueuedFrame]:
        """The frame and those that follow it, as far as all may be carried but the last.

        All objects must be certain on the last tracked frame.
        """
        session, carry = self._session, self._session.carry
        previous = session.previous
        if previous is None or not previous.states or not carry.allowed:
            return
        if not all(self._limits.is_certain(state) for state in previous.states.values()):
            return
        last = carry.passed[-1].index if carry.passed else previous.frame.index
        step, size = now.frame.index - last, previous.frame.size
        if step not in (1, -1) or min(small_size(size)) < SMALLEST:
            return
        banks = [tracks[0].bank for tracks in session.tracks.values()]
        prompted = {m.frame_index for bank in banks for m in bank.prompted} | set(self._prompts)
        for place in range(carry.allowed + 1):
            queued = self._queue.peek(place - 1) if place else now
            index = now.frame.index + step * place
            if queued is None or queued.frame.index != index or queued.frame.size != size:
                return
            if index in prompted:
                return
            yield queued

    def _ways(self, frames: Sequence[QueuedFrame]) -> list[Way]:
        """The ways of all frames but the last to their neighbors, as far as the picture is calm."""
        session = self._session
        assert session.previous is not None, "frames follow a tracked one"
        before = session.previous
        behind = [small_gray(before.frame.rgb), *(each.gray for each in session.carry.passed)]
        grays = [each.gray for each in frames]
        logits = _logits(before.states, before.states)
        ways = ways_to(self._estimator, behind, grays, logits, self._limits.misfit)
        if not ways:
            session.carry = session.carry.restless()
        return ways

    def _pass_over(self, frames: Sequence[QueuedFrame], ways: Sequence[Way]) -> list[_Passed]:
        """Play the frames that have ways without tracking them; only the trigger learns of it.

        A frame on which it fires is tracked, and so is the one before it.
        """
        session, backwards = self._session, self._backwards
        start, passed = state_of(session), list[_Passed]()
        for number, queued in enumerate(frames[: len(ways) + 1]):
            frame = PassedFrame(queued.frame.index, queued.descriptor, queued.gray)
            decision = session.decision_on(frame, backwards)
            if decision.query or decision.cut:
                passed = passed[:-1]
                break
            if number < len(ways):
                session.pass_over(frame, decision)
                passed.append(_Passed(queued.frame, ways[number], decision, state_of(session)))
        restore_state(session, passed[-1].state if passed else start)
        return passed

    def _played(self, passed: Sequence[_Passed], after: QueuedFrame) -> list[_Played]:
        """The results of frames passed over and of the next one; none if they are in doubt."""
        session, limits = self._session, self._limits
        carry, previous = session.carry, session.previous
        assert previous is not None, "frames are passed over after a tracked one"
        try:
            last = self._track(after)
        except SegmentConceptError:  # raised again when it is the frame's turn
            return []
        assert session.previous is not None, "it was tracked"
        after.known = session.previous.features
        first = _Tracked(previous.frame.index, previous.states)
        second = _Tracked(last.frame_index, session.previous.states)
        if last.concept_queried or not limits.agree(first.states, second.states):
            return []
        ways = [each.way for each in passed]
        views = views_after(ways, after.gray, _logits(second.states, first.states))
        both = [(way.before, view) for way, view in zip(ways, views, strict=True)]
        agreed = min(agreement(*each) for each in both)
        apart = max(most_apart(*each) for each in both)
        if agreed < limits.agreement or apart > limits.apart:
            return []
        pairs = zip(passed, views, strict=True)
        results = [self._result(each, first, second, view) for each, view in pairs]
        # of frames after others that were given it was known before these that they are carried
        resumed = len(carry.passed) > len(passed)
        clearly = None if resumed else agreed >= limits.clear_agreement
        states = [*(each.state for each in passed), state_of(session)]
        return [
            _Played(result, _agreed(state, len(passed), number, clearly))
            for number, (result, state) in enumerate(zip([*results, last], states, strict=True), 1)
        ]

    def _result(
        self, passed: _Passed, first: _Tracked, second: _Tracked, view: View
    ) -> FrameResult:
        """Of a frame between two tracked ones; the nearer one has more weight.

        Args:
            passed: the frame.
            first: the tracked frame before it.
            second: the tracked frame after it.
            view: what the second one says of the frame.
        """
        frame, before, after = passed.frame, first.states, second.states
        share = (frame.index - first.index) / (second.index - first.index)
        ids = [i for i in self._session.object_ids if i in after]
        logits = dict(zip(before, mixed(passed.way.before, view, share), strict=True))
        small = [torch.from_numpy(logits[i]).to(after[i].logits.device) for i in ids]
        scores = [(1 - share) * before[i].score + share * after[i].score for i in ids]
        quality = [(1 - share) * before[i].iou + share * after[i].iou for i in ids]
        result = FrameResult(
            frame_index=frame.index,
            object_ids=tuple(ids),
            logits=self._session.tracker.enlarge(small, frame),
            presence=torch.tensor(scores),
            quality=torch.tensor(quality),
            scene_change=passed.decision.distance,
            seconds=frame.seconds,
            carried=True,
        )
        return self._session.with_keyframes(result)


def _agreed(state: State, count: int, number: int, clearly: bool | None) -> State:
    """The state after one of `count` carried frames, or the tracked one, once that is known."""
    carry: CarryState = state["carry"]
    if clearly is not None:
        carry = carry.agreed(count, clearly=clearly)
    return {**state, "carry": carry.leaving(max(0, count - number))}


def _logits(states: States, order: Iterable[ObjectId]) -> list[Floats]:
    return [np.asarray(states[i].logits.float().cpu().numpy()) for i in order]

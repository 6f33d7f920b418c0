"""One video being tracked: prompts, and one step per frame.

A step encodes the frame, queries the concept encoder if the trigger fires, and then, for all
objects together: recall -> propose -> choose -> remember (see `step`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from segment_concept.ops.moving import moved
from segment_concept.tracking.api import (
    NO_FRAME_PROMPTS,
    NO_PROMPTS,
    Every,
    FramePrompts,
    Prompts,
)
from segment_concept.tracking.carry_state import CarryState, PassedFrame
from segment_concept.tracking.concept import Keyframe, KeyframeBank
from segment_concept.tracking.feature_cache import FeatureCache
from segment_concept.tracking.finding import Found, FrameFinder
from segment_concept.tracking.memory import PlaybackPosition, Track
from segment_concept.tracking.out_of_memory import unchanged_without_memory
from segment_concept.tracking.results import merge_results
from segment_concept.tracking.segmenter import Features
from segment_concept.tracking.step import (
    FrameStep,
    ObjectState,
    prompt_objects,
)
from segment_concept.tracking.streaming import track_frames
from segment_concept.tracking.tracker import Tracker
from segment_concept.tracking.triggers.base import (
    FrameDescriptor,
    TriggerContext,
    TriggerDecision,
    TriggerState,
)
from segment_concept.types import (
    Frame,
    FrameResult,
    InputError,
    Mask,
    ObjectId,
    check_prompts,
)


@dataclass(frozen=True, slots=True, eq=False)
class _Previous:
    """The last frame. Its features are reused if it is prompted or played again."""

    frame: Frame
    features: Features[Any]
    descriptor: FrameDescriptor
    states: Mapping[ObjectId, ObjectState]  # the results on it
    place: tuple[str, str] = ("", "")  # device and number type of the network that made them


@dataclass(slots=True, eq=False)
class Session:
    """One video being tracked. All state is in these fields, and its size is bounded.

    Per object it keeps the memories that its policy can still recall and at most
    `Tracker.keyframes` keyframes; besides, the last frame.

    Attributes:
        tracker: the method; may be shared by sessions.
        tracks: the hypotheses about each object, best first.
        banks: the keyframes of each object.
        previous: the last frame, or None.
        frames_since_query: frames since the concept encoder was last queried, or since the start.
        queried_before: whether it has been queried.
        trigger_state: the state that the trigger returned with its last decision.
        backwards: the direction of the last step.
        finalized: objects whose keyframe banks do not change.
        missing: objects that were absent when the concept encoder was last queried (see
            `Tracker.concept_margin`).
        features: a cache of image features, or None to keep those of the last frame only.
        carry: which frames were passed over after the last one, and which may be next.
    """

    tracker: Tracker
    tracks: dict[ObjectId, tuple[Track, ...]] = field(default_factory=dict)
    banks: dict[ObjectId, KeyframeBank] = field(default_factory=dict)
    previous: _Previous | None = None
    frames_since_query: int = 0
    queried_before: bool = False
    trigger_state: TriggerState = ()
    backwards: bool = False
    finalized: frozenset[ObjectId] = frozenset()
    missing: frozenset[ObjectId] = frozenset()
    features: FeatureCache | None = None
    carry: CarryState = field(default_factory=CarryState)

    @property
    def object_ids(self) -> tuple[ObjectId, ...]:
        """The tracked objects, in the order in which they were prompted."""
        return tuple(self.tracks)

    def step(
        self,
        frame: Frame,
        prompts: FramePrompts = NO_FRAME_PROMPTS,
        *,
        features: Features[Any] | None = None,
        backwards: bool | None = None,
        descriptor: FrameDescriptor | None = None,
    ) -> FrameResult:
        """Segment the tracked objects in the next frame.

        On a frame on which an object was prompted, its prompted mask is returned. Before the first
        such frame, in playing order, an object has no result (see `Tracker.track_before_prompt`).

        Args:
            frame: the next frame.
            prompts: new objects on this frame, or corrections of tracked ones. Tracked objects
                are segmented first, then the prompts are applied.
            features: of the frame, if they are known (see `encode_ahead`).
            backwards: the playing direction. By default it follows from the last frame.
            descriptor: what the tracker's trigger describes the frame by, if it is known.

        Returns:
            The tracked objects, followed by the prompted ones.

        Raises:
            InputError: there is no object yet and no prompt, the frame is of another size than
                those before it, or a prompt does not fit the frame.
        """
        return self._step(frame, prompts, features, backwards, descriptor)

    @torch.inference_mode()
    def prompt(self, frame: Frame, prompts: FramePrompts) -> FrameResult:
        """Add objects on this frame. Objects that were tracked or prompted on it are corrected.

        A mask is taken as it is; a box or points are segmented.

        Returns:
            The prompted objects only.

        Raises:
            InputError: there is no prompt, one does not fit the frame, or an object id is below 1.
        """
        with unchanged_without_memory(self, frame.index):
            self._follow_tracker()
            self._check_size(frame)
            check_prompts(frame, prompts)
            return self._prompt(frame, prompts, self._known_or_encoded(frame, None))

    @torch.inference_mode()
    def preview(self, frame: Frame, prompts: FramePrompts, *, refine: bool = False) -> FrameResult:
        """What `prompt` would return, without any change to the session.

        While a person still moves a click or a box, one decoder pass is enough and much faster,
        above all if the session has a feature cache that knows the frame.

        Args:
            frame: any frame of the video.
            prompts: as for `prompt`.
            refine: with the tracker's refiner, as `prompt`; else in one decoder pass.

        Returns:
            The prompted objects only, without keyframes.

        Raises:
            InputError: as `prompt`.
        """
        with unchanged_without_memory(self, frame.index):
            self._follow_tracker()
            self._check_size(frame)
            check_prompts(frame, prompts)
            step = self._segment(frame, prompts, self._known_or_encoded(frame, None), refine=refine)
            return self._result(frame, tuple(prompts), step.states, TriggerDecision(False))

    def track(
        self,
        frames: Iterable[Frame],
        prompts: Prompts = NO_PROMPTS,
        *,
        prefetch: int | None = None,
        backwards: bool | None = None,
        every: Every | None = None,
    ) -> Iterator[FrameResult]:
        """`step` for every frame, in order.

        Args:
            frames: the video, or a part of it.
            prompts: by frame index, as for `step`.
            prefetch: how many frames may be read and encoded in another thread before they are
                tracked. Two frames give the full speed. Do not use it for live sources, and do not
                read `frames` elsewhere meanwhile. Until the iterator ends, torch may use half of
                its threads (`Tracker.share_cores`). By default two frames on an NVIDIA GPU, which
                would else wait for the reader, and none elsewhere. Results depend on it only if
                it decides about `every`.
            backwards: as for `step`.
            every: 1 tracks every frame; `auto` carries some by optical flow, see `Tracker.every`.
                By default the tracker's where frames are prefetched, and else 1.

        Raises:
            InputError: as `step`.
        """
        yield from track_frames(
            self, frames, prompts, prefetch=prefetch, backwards=backwards, every=every
        )

    def pass_over(self, frame: PassedFrame, decision: TriggerDecision) -> None:
        """Play the next frame without tracking it; only the trigger learns of it.

        Args:
            frame: the next frame.
            decision: the trigger's on it, see `decision_on`; it has no other effect.
        """
        self.trigger_state = decision.state
        self.frames_since_query += 1
        self.carry = self.carry.over(frame)

    def decision_on(self, frame: PassedFrame, backwards: bool | None) -> TriggerDecision:
        """The trigger's decision on the next frame; nothing is changed."""
        if backwards is None:
            backwards = self._backwards(frame.index)
        return self._decide(PlaybackPosition(frame.index, backwards), frame.descriptor)

    def encode(self, frame: Frame) -> Features[Any]:
        """The features of a frame, from the session's cache if it has one."""
        if self.features is not None:
            return self.features.features(frame)
        return self.tracker.segmenter.encode([frame])

    def second_pass(self) -> "Session":
        """A new session for the same video that starts with the keyframe banks of this one.

        The banks stay as they are: no keyframe is added or replaced (SeC's offline mode).
        """
        return Session(
            self.tracker,
            banks=dict(self.banks),
            finalized=frozenset(self.banks),
            features=self.features,
        )

    def remove(self, object_id: ObjectId) -> None:
        """Stop tracking an object. Raises KeyError if it is not tracked."""
        if object_id not in self.tracks:
            raise KeyError(f"object {object_id} is not tracked; there are {self.object_ids}")
        del self.tracks[object_id], self.banks[object_id]
        self.missing -= {object_id}
        if self.previous is not None:
            others = {i: s for i, s in self.previous.states.items() if i != object_id}
            self.previous = replace(self.previous, states=others)

    @torch.inference_mode()
    def _step(
        self,
        frame: Frame,
        prompts: FramePrompts,
        features: Features[Any] | None,
        backwards: bool | None,
        descriptor: FrameDescriptor | None,
    ) -> FrameResult:
        with unchanged_without_memory(self, frame.index):
            self._follow_tracker()
            if not self.tracks and not prompts:
                raise InputError("nothing to track: prompt an object first")
            self._check_size(frame)
            if prompts:
                check_prompts(frame, prompts)  # before anything changes
            features = self._known_or_encoded(frame, features)
            if not self.tracks:
                return self._prompt(frame, prompts, features)
            result = self._advance(frame, features, backwards, descriptor)
            if not prompts:
                return result
            return merge_results(result, self._prompt(frame, prompts, features))

    def _prompt(self, frame: Frame, prompts: FramePrompts, features: Features[Any]) -> FrameResult:
        ids, descriptor = tuple(prompts), self._describe(frame)
        step = self._segment(frame, prompts, features, refine=True)
        states = dict(zip(ids, step.states, strict=True))
        self.tracks |= {i: s.tracks for i, s in states.items()}
        self.missing -= frozenset(ids)
        result = self._result(frame, ids, step.states, TriggerDecision(False))
        for object_id, prompt in prompts.items():
            # As published: a given mask is kept as it is, not as the network returns it.
            mask = prompt.bitmap if isinstance(prompt, Mask) else result.mask(object_id)
            self._add_keyframe(object_id, Keyframe(frame, mask))
        if self.previous is not None and self._is_previous(frame):
            states = {**self.previous.states, **states}
        self.previous = _Previous(frame, features, descriptor, states, self._place())
        self.carry = self.carry.corrected()
        return self.with_keyframes(result)

    def _segment(
        self, frame: Frame, prompts: FramePrompts, features: Features[Any], *, refine: bool
    ) -> FrameStep:
        """Segment prompted objects; nothing is changed."""
        position = PlaybackPosition(frame.index, self._backwards(frame.index))
        tracks = [self.tracks.get(i, ()) for i in prompts]
        refiner = self.tracker.refiner if refine else None
        passes = partial(refiner.refine, self.tracker.segmenter, frame) if refiner else None
        images = [0] * len(prompts)
        return prompt_objects(
            self.tracker, features, position, list(prompts.values()), tracks, images, passes
        )

    def _advance(
        self,
        frame: Frame,
        features: Features[Any],
        backwards: bool | None,
        descriptor: FrameDescriptor | None,
    ) -> FrameResult:
        if backwards is None:
            backwards = self._backwards(frame.index)
        position = PlaybackPosition(frame.index, backwards)
        if descriptor is None:
            descriptor = self._describe(frame)
        decision = self._decide(position, descriptor)
        finder = FrameFinder(self.tracker, self.tracks, self.banks, frame, features, position)
        found = finder.find(decision, self.missing)
        self._keep_found(found)
        states, queried = found.states, found.queried
        ids = tuple(i for i in self.tracks if i in states)
        result = self._result(
            frame, ids, [states[i] for i in ids], replace(decision, query=bool(queried))
        )
        self._keep_keyframes(queried, states, frame, result)
        self.frames_since_query = 0 if queried else self.frames_since_query + 1
        self.queried_before |= bool(queried)
        self.trigger_state = decision.state
        self.backwards = backwards
        self.previous = _Previous(frame, features, descriptor, states, self._place())
        self.carry = self.carry.tracked()
        return self.with_keyframes(result)

    def _keep_found(self, found: Found) -> None:
        self.tracks |= {i: state.tracks for i, state in found.states.items()}
        if self.tracker.concept_margin is not None:
            self.missing = (self.missing - frozenset(found.queried)) | found.absent

    def _place(self) -> tuple[str, str]:
        return str(self.tracker.device), str(self.tracker.dtype)

    def _follow_tracker(self) -> None:
        """Move the state to where the tracker's weights are now.

        Raises:
            InputError: the tracker was closed.
        """
        self.tracker.check_open()
        previous, place, device = self.previous, self._place(), self.tracker.device
        if previous is None:
            return
        # a session that was stored is on the CPU, wherever it was
        here = all(s.logits.device == device for s in previous.states.values())
        if previous.place == place and here:
            return
        together = moved((self.tracks, previous.states, self.trigger_state), device)
        self.tracks, states, self.trigger_state = together
        # encoded anew: features of another number type do not fit the weights
        features = self.tracker.segmenter.encode([previous.frame])
        self.previous = replace(previous, features=features, states=states, place=place)

    def _known_or_encoded(self, frame: Frame, features: Features[Any] | None) -> Features[Any]:
        """The frame's features: those of the last frame if it is the same, else as given."""
        if self.previous is not None and self.previous.frame is frame:
            return self.previous.features
        return self.encode(frame) if features is None else features

    def _describe(self, frame: Frame) -> FrameDescriptor:
        if self.previous is not None and self.previous.frame is frame:
            return self.previous.descriptor
        return self.tracker.trigger.describe(frame)

    def _is_previous(self, frame: Frame) -> bool:
        return self.previous is not None and self.previous.frame.index == frame.index

    def _backwards(self, index: int) -> bool:
        """Playing the current frame again does not change the direction."""
        if self.previous is None or self.previous.frame.index == index:
            return self.backwards
        return index < self.previous.frame.index

    def _check_size(self, frame: Frame) -> None:
        if self.previous is not None and self.previous.frame.size != frame.size:
            (h, w), (h0, w0) = frame.size, self.previous.frame.size
            raise InputError(
                f"frame {frame.index} is {w}x{h} but the video began with {w0}x{h0}: "
                "resize it, or start a new session"
            )

    def _decide(self, position: PlaybackPosition, descriptor: FrameDescriptor) -> TriggerDecision:
        if self.previous is None:
            return TriggerDecision(False)
        before, index = self.previous.descriptor, self.previous.frame.index
        if self.carry.passed:
            last = self.carry.passed[-1]
            before, index = last.descriptor, last.index
        context = TriggerContext(
            frame_index=position.frame_index,
            before=before,
            now=descriptor,
            frames_since_query=self.frames_since_query + 1,
            previous_index=index,
            backwards=position.backwards,
            queried_before=self.queried_before,
            states=self.previous.states,
            state=self.trigger_state,
        )
        return self.tracker.trigger.decide(context)

    def _keep_keyframes(
        self,
        ids: Sequence[ObjectId],
        states: Mapping[ObjectId, ObjectState],
        frame: Frame,
        result: FrameResult,
    ) -> None:
        for object_id in ids:
            mask = result.mask(object_id)
            if mask.any() and states[object_id].presence > self.tracker.keyframe_presence:
                self._add_keyframe(object_id, Keyframe(frame, mask))

    def _add_keyframe(self, object_id: ObjectId, keyframe: Keyframe) -> None:
        if object_id in self.finalized:
            return
        bank = self.banks.get(object_id, KeyframeBank(at_most=self.tracker.keyframes))
        self.banks[object_id] = bank.add(keyframe)

    def with_keyframes(self, result: FrameResult) -> FrameResult:
        """The result with the keyframe banks as they are now."""
        banks = (self.banks[i].keyframes for i in result.object_ids)
        return replace(result, keyframes=tuple(tuple(k.frame.index for k in b) for b in banks))

    def _result(
        self,
        frame: Frame,
        ids: tuple[ObjectId, ...],
        states: Sequence[ObjectState],
        decision: TriggerDecision,
    ) -> FrameResult:
        return FrameResult(
            frame_index=frame.index,
            object_ids=ids,
            logits=self.tracker.enlarge([s.logits for s in states], frame),
            presence=torch.tensor([s.presence for s in states]).sigmoid(),
            quality=torch.tensor([s.iou for s in states]),
            concept_queried=decision.query,
            scene_change=decision.distance,
            cut=decision.cut,
            seconds=frame.seconds,
        )

"""The main path: show an object, then step through frames.

encode the frame -> ask the concept encoder, if the trigger fires
then for all objects together: recall -> propose -> choose -> remember
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.tracking.concept import ConceptEncoder, ConceptRequest, Keyframe, KeyframeBank
from segment_concept.tracking.memory import PlaybackPosition, Track
from segment_concept.tracking.policies.base import MemoryPolicy
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.refinement import PromptRefiner
from segment_concept.tracking.segmenter import Concept, Features, Segmenter
from segment_concept.tracking.step import ObjectState, prompt_objects, track_objects
from segment_concept.tracking.triggers.base import (
    FrameDescriptor,
    Never,
    Trigger,
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
    Prompt,
    check_prompts,
)

SUPPRESSED_LOGIT = -10.0  # SAM 2 clamps a pixel that another object claims to at most this


@dataclass(frozen=True, slots=True)
class Tracker:
    """How to track: network, policy, trigger, concept. Holds no video; share it between sessions.

    `keyframes` is the size of an object's keyframe bank (SeC's `mllm_memory_size`); a frame joins
    it when the concept was asked, the mask is not empty and the presence logit exceeds
    `keyframe_presence`. On a frame that the trigger takes for the first of a shot, presence logits
    of objects with a concept are reduced by `concept_margin`: after a cut the object is often
    absent, and a false positive would be reinforced on the following frames. With
    `non_overlapping` no two objects claim the same pixel in the output.
    With `track_before_prompt` an object is also looked for on frames that are played before the
    first one on which it was prompted, as SAM 2 does; else it has no mask there.
    """

    segmenter: Segmenter
    policy: MemoryPolicy = field(default_factory=RecentMemory)
    trigger: Trigger = field(default_factory=Never)
    concept: ConceptEncoder | None = None
    refiner: PromptRefiner | None = None
    keyframes: int = 7
    keyframe_presence: float = 1.0
    concept_margin: float = 0.0
    non_overlapping: bool = False
    track_before_prompt: bool = False

    def __post_init__(self) -> None:
        if self.concept is None and not isinstance(self.trigger, Never):
            raise ValueError(f"{self.trigger} can never be answered: no concept encoder was given")
        if self.keyframes < 1:
            raise ValueError(f"a keyframe bank holds at least 1 keyframe, got {self.keyframes}")

    def session(self) -> "Session":
        """A new video."""
        return Session(self)


@dataclass(frozen=True, slots=True, eq=False)
class _Previous:
    """The frame processed last: its encoding is reused where it is prompted or asked again."""

    frame: Frame
    features: Features[Any]
    descriptor: FrameDescriptor
    seen: Mapping[ObjectId, ObjectState]  # what was believed on it


@dataclass(slots=True, eq=False)
class Session:
    """One video being tracked. All state of the run is in these fields.

    What it holds is bounded: per object the memories its policy can still recall, at most
    `keyframes` keyframes, and the last frame.
    """

    tracker: Tracker
    tracks: dict[ObjectId, tuple[Track, ...]] = field(default_factory=dict)  # best first
    banks: dict[ObjectId, KeyframeBank] = field(default_factory=dict)
    previous: _Previous | None = None
    frames_since_query: int = 0
    queried_before: bool = False
    trigger_state: TriggerState = ()  # returned with the last decision
    backwards: bool = False  # which way it was played last

    @property
    def object_ids(self) -> tuple[ObjectId, ...]:
        """The objects that are followed, in the order in which they were shown."""
        return tuple(self.tracks)

    @torch.inference_mode()
    def prompt(self, frame: Frame, prompts: Mapping[ObjectId, Prompt]) -> FrameResult:
        """Show the session an object. On a frame that was tracked or prompted it is corrected.

        Returns the prompted objects. A mask is taken as it is; a box or points are segmented.

        Raises:
            InputError: no prompt, one that does not fit the frame, or an object below 1.
        """
        self._check_size(frame)
        check_prompts(frame, prompts)
        ids = tuple(prompts)
        features, descriptor = self._encode(frame), self._describe(frame)
        moment = PlaybackPosition(frame.index, self._backwards(frame))
        known = [self.tracks.get(i, ()) for i in ids]
        refiner, shown = self.tracker.refiner, [prompts[i] for i in ids]
        refine = partial(refiner.refine, self.tracker.segmenter, frame) if refiner else None
        step = prompt_objects(self.tracker, features, moment, shown, known, [0] * len(ids), refine)
        seen = dict(zip(ids, step.seen, strict=True))
        self.tracks |= {i: s.tracks for i, s in seen.items()}
        result = self._result(frame, ids, step.seen, TriggerDecision(False))
        for object_id, prompt in prompts.items():
            # As published: a given mask is kept as it is, not as the network returns it.
            mask = prompt.bitmap if isinstance(prompt, Mask) else result.mask(object_id)
            self._add_keyframe(object_id, Keyframe(frame, mask))
        if self.previous is not None and self._is_previous(frame):
            seen = {**self.previous.seen, **seen}
        self.previous = _Previous(frame, features, descriptor, seen)
        return self._with_keyframes(result)

    @torch.inference_mode()
    def step(self, frame: Frame, *, backwards: bool | None = None) -> FrameResult:
        """Segment in the next frame every object that was shown on a frame played before.

        `backwards` says which way the video is played; left out, it follows from the frame
        processed last. On a frame on which an object was prompted, the prompted mask is returned.

        Raises:
            InputError: no object was shown, or the frame's size is not the video's.
        """
        if not self.tracks:
            raise InputError("nothing to track: call prompt() before step()")
        self._check_size(frame)
        if backwards is None:
            backwards = self._backwards(frame)
        moment = PlaybackPosition(frame.index, backwards)
        features, descriptor = self._encode(frame), self._describe(frame)
        decision = self._decide(moment, descriptor)
        held = {i: s for i in self.tracks if (s := self._prompted_on(i, frame.index)) is not None}
        moving = [i for i in self.tracks if i not in held and self._was_shown(i, moment)]
        queried = [i for i in moving if decision.queries(i)]
        known = self._concepts(queried, frame, features) if queried else {}
        concepts = [known.get(i) for i in moving]
        seen = dict(held)
        if moving:
            tracks = [self.tracks[i] for i in moving]
            margin = self.tracker.concept_margin if decision.cut else 0.0
            step = track_objects(
                self.tracker, features, moment, tracks, concepts, [0] * len(moving), margin
            )
            seen |= dict(zip(moving, step.seen, strict=True))
            self.tracks |= {i: s.tracks for i, s in zip(moving, step.seen, strict=True)}
        ids = tuple(i for i in self.tracks if i in seen)
        result = self._result(
            frame, ids, [seen[i] for i in ids], replace(decision, query=bool(queried))
        )
        self._keep_keyframes(queried, seen, frame, result)
        self.frames_since_query = 0 if queried else self.frames_since_query + 1
        self.queried_before |= bool(queried)
        self.trigger_state = decision.state
        self.backwards = backwards
        self.previous = _Previous(frame, features, descriptor, seen)
        return self._with_keyframes(result)

    def track(
        self, frames: Iterable[Frame], *, backwards: bool | None = None
    ) -> Iterator[FrameResult]:
        """`step` over frames as they come."""
        for frame in frames:
            yield self.step(frame, backwards=backwards)

    def rewind(self, *, backwards: bool) -> None:
        """What is known stays; the video is played from elsewhere, which way is said here.

        The next frame is compared with none before it.
        """
        self.previous, self.backwards = None, backwards

    def remove(self, object_id: ObjectId) -> None:
        """Forget an object. Raises KeyError if it is not followed."""
        if object_id not in self.tracks:
            raise KeyError(f"object {object_id} is not followed; there are {self.object_ids}")
        del self.tracks[object_id], self.banks[object_id]
        if self.previous is not None:
            seen = {i: s for i, s in self.previous.seen.items() if i != object_id}
            self.previous = replace(self.previous, seen=seen)

    def _encode(self, frame: Frame) -> Features[Any]:
        if self.previous is not None and self.previous.frame is frame:
            return self.previous.features
        return self.tracker.segmenter.encode([frame])

    def _describe(self, frame: Frame) -> FrameDescriptor:
        if self.previous is not None and self.previous.frame is frame:
            return self.previous.descriptor
        return self.tracker.trigger.describe(frame)

    def _is_previous(self, frame: Frame) -> bool:
        return self.previous is not None and self.previous.frame.index == frame.index

    def _backwards(self, frame: Frame) -> bool:
        """A frame that was just prompted, or is played once more, turns nothing."""
        if self.previous is None or self._is_previous(frame):
            return self.backwards
        return frame.index < self.previous.frame.index

    def _check_size(self, frame: Frame) -> None:
        if self.previous is not None and self.previous.frame.size != frame.size:
            (h, w), (h0, w0) = frame.size, self.previous.frame.size
            raise InputError(
                f"frame {frame.index} is {w}x{h} but the video began with {w0}x{h0}: "
                "resize it, or start a new session"
            )

    def _was_shown(self, object_id: ObjectId, moment: PlaybackPosition) -> bool:
        prompted = self.tracks[object_id][0].bank.prompted
        return self.tracker.track_before_prompt or any(
            moment.since(m.frame_index) > 0 for m in prompted
        )

    def _prompted_on(self, object_id: ObjectId, frame_index: int) -> ObjectState | None:
        tracks = self.tracks[object_id]
        on = [m for m in tracks[0].bank.prompted if m.frame_index == frame_index]
        return ObjectState(tracks, on[0].logits, on[0].iou, on[0].presence) if on else None

    def _decide(self, moment: PlaybackPosition, descriptor: FrameDescriptor) -> TriggerDecision:
        if self.previous is None:
            return TriggerDecision(False)
        context = TriggerContext(
            frame_index=moment.frame_index,
            before=self.previous.descriptor,
            now=descriptor,
            frames_since_query=self.frames_since_query + 1,
            previous_index=self.previous.frame.index,
            backwards=moment.backwards,
            queried_before=self.queried_before,
            seen=self.previous.seen,
            state=self.trigger_state,
        )
        return self.tracker.trigger.decide(context)

    def _concepts(
        self, ids: Sequence[ObjectId], frame: Frame, features: Features[Any]
    ) -> Mapping[ObjectId, Concept | None]:
        encoder = self.tracker.concept
        assert encoder is not None, "Tracker refuses a trigger without a concept encoder"
        requests = [ConceptRequest(self.banks[i].keyframes) for i in ids]
        return dict(zip(ids, encoder.encode(requests, frame, features), strict=True))

    def _keep_keyframes(
        self,
        ids: Sequence[ObjectId],
        seen: Mapping[ObjectId, ObjectState],
        frame: Frame,
        result: FrameResult,
    ) -> None:
        for object_id in ids:
            mask = result.mask(object_id)
            if mask.any() and seen[object_id].presence > self.tracker.keyframe_presence:
                self._add_keyframe(object_id, Keyframe(frame, mask))

    def _add_keyframe(self, object_id: ObjectId, keyframe: Keyframe) -> None:
        bank = self.banks.get(object_id, KeyframeBank(at_most=self.tracker.keyframes))
        self.banks[object_id] = bank.add(keyframe)

    def _with_keyframes(self, result: FrameResult) -> FrameResult:
        """The same, with the banks as the frame left them."""
        banks = (self.banks[i].keyframes for i in result.object_ids)
        return replace(result, keyframes=tuple(tuple(k.frame.index for k in b) for b in banks))

    def _result(
        self,
        frame: Frame,
        ids: tuple[ObjectId, ...],
        seen: Sequence[ObjectState],
        decision: TriggerDecision,
    ) -> FrameResult:
        return FrameResult(
            frame_index=frame.index,
            object_ids=ids,
            logits=upsample_logits(
                [s.logits for s in seen], frame.size, non_overlapping=self.tracker.non_overlapping
            ),
            presence=torch.tensor([s.presence for s in seen]).sigmoid(),
            quality=torch.tensor([s.iou for s in seen]),
            concept_queried=decision.query,
            scene_change=decision.distance,
            cut=decision.cut,
            seconds=frame.seconds,
        )


def upsample_logits(
    small: Sequence[Tensor], size: tuple[int, int], *, non_overlapping: bool
) -> Tensor:
    """Logits (h, w) of O objects in the size of the video: (O, H, W) float32."""
    if not small:
        return torch.zeros((0, *size))
    stacked = torch.stack(list(small)).float()
    logits = F.interpolate(stacked[:, None], size, mode="bilinear")[:, 0]
    return suppress_overlap(logits) if non_overlapping else logits


def suppress_overlap(logits_OHW: Tensor) -> Tensor:
    """The highest logit keeps a pixel, the others are clamped to at most -10, as in SAM 2."""
    if len(logits_OHW) < 2:
        return logits_OHW
    winner_HW = logits_OHW.argmax(dim=0)
    rows = torch.arange(len(logits_OHW), device=logits_OHW.device)[:, None, None]
    return torch.where(rows == winner_HW, logits_OHW, logits_OHW.clamp(max=SUPPRESSED_LOGIT))

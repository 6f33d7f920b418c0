"""Streaming tracking with a mask-propagation network: `TrackingSession` for Cutie and XMem."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from segment_concept.baselines.cutie.network import CutieNetwork
from segment_concept.baselines.propagation import (
    BetweenMemories,
    ImageFeatures,
    Propagation,
    PropagationNetwork,
    Settings,
    Staggered,
    State,
)
from segment_concept.baselines.resize import FrameTransform, ScaleTo, ShrinkTo
from segment_concept.baselines.retention import (
    AboveLeastUsed,
    KeepEverything,
    LongTerm,
    MostUsed,
    NewestFrames,
)
from segment_concept.baselines.xmem.network import XMemNetwork
from segment_concept.ops.moving import moved
from segment_concept.runtime.background import read_ahead
from segment_concept.tracking.api import NO_FRAME_PROMPTS, NO_PROMPTS, FramePrompts, Prompts
from segment_concept.tracking.out_of_memory import general_advice, unchanged_without_memory
from segment_concept.tracking.placement import MovableTracker
from segment_concept.tracking.results import merge_results
from segment_concept.types import (
    Frame,
    FrameResult,
    InputError,
    Mask,
    ObjectId,
    Prompt,
    check_prompts,
)

SCORE_FLOOR = 1e-12  # keeps logarithms of scores finite


@dataclass(frozen=True, slots=True)
class PropagationTracker(MovableTracker):
    """A network with its settings. Has no state of a video and can be shared by sessions."""

    name: str  # for messages
    network: PropagationNetwork
    settings: Settings

    def memory_advice(self) -> str:
        """What to do when a device ran out of memory."""
        return general_advice()

    def networks(self) -> Sequence[object]:
        """The network."""
        return (self.network,)

    def session(self) -> "PropagationSession":
        """A session for a new video."""
        return PropagationSession(self)


@dataclass(frozen=True, slots=True, eq=False)
class _Current:
    """The last frame, with everything needed to process it again with more prompts."""

    index: int
    encoded: ImageFeatures
    before: State | None  # state before the frame
    given: Mapping[ObjectId, Tensor]  # masks (H, W), padded
    probabilities: Tensor  # (O + 1, H, W) padded, background first


@dataclass(slots=True, eq=False)
class PropagationSession:
    """Tracks one video. All state is in these fields.

    Frames may come forwards or backwards. A prompt on the last frame processes that frame again, so
    prompts may come in one call or in several, before or after `step`; `step` on that frame
    returns the result of all objects.
    """

    tracker: PropagationTracker
    state: State | None = None
    fit: FrameTransform | None = None  # set by the first frame
    current: _Current | None = field(default=None, repr=False)

    @property
    def object_ids(self) -> tuple[ObjectId, ...]:
        """The tracked objects, in the order in which they were prompted."""
        return () if self.state is None else self.state.object_ids

    @torch.inference_mode()
    def prompt(self, frame: Frame, prompts: Mapping[ObjectId, Prompt]) -> FrameResult:
        """Add or correct objects with masks. The result has the prompted objects.

        Objects do not overlap: a pixel in several masks belongs to the last one. A frame with a
        prompt is memorized, and that of an object's first prompt is never forgotten.

        Raises:
            InputError: no prompt, a prompt that is not a mask or does not fit the frame, an object
                id below 1, or several objects with single-object weights.
        """
        with unchanged_without_memory(self, frame.index):
            return self._prompt(frame, prompts)

    def _prompt(self, frame: Frame, prompts: Mapping[ObjectId, Prompt]) -> FrameResult:
        self._follow_tracker()
        masks = self._masks(frame, prompts)
        self._check_object_count(masks)
        fit = self._fit(frame)
        current = self.current
        if current is not None and current.index == frame.index:
            encoded, before, earlier = current.encoded, current.before, current.given
        else:
            encoded, before, earlier = self._encode(frame, fit), self.state, {}
        given = {i: mask for i, mask in earlier.items() if i not in masks}
        for object_id, mask in masks.items():
            bitmap = torch.from_numpy(np.ascontiguousarray(mask.bitmap))
            newest = fit.mask(bitmap.to(self.tracker.network.device))
            given = {i: m * (1 - newest) for i, m in given.items()} | {object_id: newest}
        self._advance(frame, encoded, before, given)
        return self._result(frame, tuple(masks))

    @torch.inference_mode()
    def step(self, frame: Frame, prompts: FramePrompts = NO_FRAME_PROMPTS) -> FrameResult:
        """Segment every object in the next frame, then apply prompts.

        Returns:
            The tracked objects, followed by the prompted ones.

        Raises:
            InputError: there is no object yet and no prompt, the frame is of another size than
                those before it, or as `prompt`.
        """
        with unchanged_without_memory(self, frame.index):
            return self._step(frame, prompts)

    def _step(self, frame: Frame, prompts: FramePrompts) -> FrameResult:
        self._follow_tracker()
        if prompts:
            self._check_object_count(self._masks(frame, prompts))  # before anything changes
        if self.state is None:
            if not prompts:
                raise InputError("nothing to track: prompt an object first")
            return self.prompt(frame, prompts)
        fit = self._fit(frame)
        if self.current is None or self.current.index != frame.index:
            self._advance(frame, self._encode(frame, fit), self.state, {})
        tracked = self._result(frame, self.object_ids)
        return merge_results(tracked, self.prompt(frame, prompts)) if prompts else tracked

    def track(
        self, frames: Iterable[Frame], prompts: Prompts = NO_PROMPTS, *, prefetch: int = 0
    ) -> Iterator[FrameResult]:
        """`step` for every frame, in order. With `prefetch` frames are read in another thread."""
        with ExitStack() as stack:
            if prefetch:
                frames = stack.enter_context(closing(read_ahead(frames, prefetch)))
            for frame in frames:
                yield self.step(frame, prompts.get(frame.index, {}))

    def remove(self, object_id: ObjectId) -> None:
        """Stop tracking an object. Raises KeyError if it is not tracked."""
        if self.state is None or object_id not in self.state.object_ids:
            raise KeyError(f"object {object_id} is not tracked; there are {self.object_ids}")
        current = self.current
        assert current is not None, "an object needs a frame"
        rows = [0] + [r for r, i in enumerate(self.object_ids, start=1) if i != object_id]
        before = current.before
        if before is not None and object_id in before.object_ids:
            before = before.without(object_id)
        self.current = replace(
            current,
            before=before,
            given={i: m for i, m in current.given.items() if i != object_id},
            probabilities=current.probabilities[rows],
        )
        self.state = self.state.without(object_id)

    def _follow_tracker(self) -> None:
        """Move the state to where the tracker's weights are now.

        Raises:
            InputError: the tracker was closed.
        """
        self.tracker.check_open()
        current, device = self.current, self.tracker.device
        if current is not None and current.probabilities.device != device:
            self.state, self.current = moved((self.state, current), device)

    def _masks(self, frame: Frame, prompts: Mapping[ObjectId, Prompt]) -> dict[ObjectId, Mask]:
        check_prompts(frame, prompts)
        masks = {}
        for object_id, prompt in prompts.items():
            if not isinstance(prompt, Mask):
                raise InputError(
                    f"{self.tracker.name} needs masks, and the prompt of object {object_id} is a "
                    f"{type(prompt).__name__}: use a Mask, for example one from a SAM 2 tracker"
                )
            masks[object_id] = prompt
        return masks

    def _check_object_count(self, prompted: Iterable[ObjectId]) -> None:
        """Single-object weights would silently drop one of two objects."""
        objects = {*self.object_ids, *prompted}
        if len(objects) > 1 and not self.tracker.network.sees_others:
            raise InputError(
                f"these weights of {self.tracker.name} are for a single object, and there are "
                f"{len(objects)}: track each object in its own session (`evaluate "
                "--objects-alone`), or use the weights for several objects"
            )

    def _fit(self, frame: Frame) -> FrameTransform:
        if self.fit is None:
            self.fit = FrameTransform.of(frame.size, self.tracker.settings.resize)
        if self.fit.video != frame.size:
            (h, w), (h0, w0) = frame.size, self.fit.video
            raise InputError(
                f"frame {frame.index} is {w}x{h} but the video began with {w0}x{h0}: "
                "resize it, or start a new session"
            )
        return self.fit

    def _encode(self, frame: Frame, fit: FrameTransform) -> ImageFeatures:
        network = self.tracker.network
        rgb = torch.tensor(np.ascontiguousarray(frame.rgb), device=network.device)
        return network.encode_image(network.prepare(fit.picture(rgb), fit))

    def _advance(
        self,
        frame: Frame,
        encoded: ImageFeatures,
        before: State | None,
        given: Mapping[ObjectId, Tensor],
    ) -> None:
        propagation = Propagation(self.tracker.network, self.tracker.settings)
        self.state, probabilities = propagation.advance(before, encoded, given)
        self.current = _Current(frame.index, encoded, before, given, probabilities)

    def _result(self, frame: Frame, ids: tuple[ObjectId, ...]) -> FrameResult:
        assert self.current is not None
        assert self.fit is not None
        scores = self.fit.scores(self.current.probabilities.float())
        rows = [self.object_ids.index(i) for i in ids]
        logits = margins(scores)[rows]
        own = scores[1:][rows]
        return FrameResult(
            frame_index=frame.index,
            object_ids=ids,
            logits=logits,
            presence=own.amax(dim=(1, 2)),
            quality=expected_overlap(own, logits > 0),
            seconds=frame.seconds,
        )


def margins(scores: Tensor) -> Tensor:
    """Competing scores (O + 1, H, W), background first, to object logits (O, H, W).

    A logit is the log of an object's score divided by the highest other score, so that it is above
    0 exactly where the object has the highest score.
    """
    first, second = scores.topk(2, dim=0).values
    own = scores[1:]
    rival = torch.where(own == first, second, first)
    return own.clamp(min=SCORE_FLOOR).log() - rival.clamp(min=SCORE_FLOOR).log()


def expected_overlap(scores: Tensor, masks: Tensor) -> Tensor:
    """(O,) expected IoU of masks (O, H, W) under the scores (O, H, W); 0 for an empty mask.

    These networks do not predict the quality of a mask. Expected intersection over expected union
    is 1 if every pixel is certain, and lower with uncertain pixels.
    """
    inside = (scores * masks).sum(dim=(1, 2))
    union = torch.where(masks, 1.0, scores).sum(dim=(1, 2))
    return inside / union.clamp(min=SCORE_FLOOR)


def cutie_settings() -> Settings:
    """Cutie's default: 480 px, the newest five memorized frames (DAVIS, YouTubeVOS, MOSE)."""
    return Settings(retention=NewestFrames(5), schedule=Staggered(5), resize=ShrinkTo(480))


def cutie_long_video_settings() -> Settings:
    """Cutie with long-term memory, as published for LVOS and BURST."""
    return Settings(retention=LongTerm(MostUsed()), schedule=Staggered(5), resize=ShrinkTo(480))


def cutie_plus_settings() -> Settings:
    """Cutie's larger setting ("plus"): 720 px, ten frames, one in three memorized."""
    return Settings(
        retention=NewestFrames(10), schedule=Staggered(5), resize=ShrinkTo(720), memory_every=3
    )


def xmem_settings() -> Settings:
    """XMem's default: 480 px with long-term memory."""
    return Settings(
        retention=LongTerm(AboveLeastUsed()), schedule=BetweenMemories(), resize=ScaleTo(480)
    )


def xmem_short_video_settings() -> Settings:
    """XMem without long-term memory; its memory grows with the video."""
    return Settings(retention=KeepEverything(), schedule=BetweenMemories(), resize=ScaleTo(480))


def cutie_tracker(network: CutieNetwork, settings: Settings | None = None) -> PropagationTracker:
    """Cutie; the default settings are the published ones."""
    return PropagationTracker("Cutie", network, settings or cutie_settings())


def xmem_tracker(network: XMemNetwork, settings: Settings | None = None) -> PropagationTracker:
    """XMem; the default settings are the published ones."""
    return PropagationTracker("XMem", network, settings or xmem_settings())

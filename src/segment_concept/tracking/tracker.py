"""A tracking method: a network with the policies that use it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from segment_concept.tracking.api import Every
from segment_concept.tracking.concept import ConceptEncoder
from segment_concept.tracking.feature_cache import FeatureCache
from segment_concept.tracking.out_of_memory import general_advice
from segment_concept.tracking.placement import MovableTracker
from segment_concept.tracking.policies.base import MemoryPolicy
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.refinement import PromptRefiner
from segment_concept.tracking.results import upsample_logits
from segment_concept.tracking.segmenter import Segmenter
from segment_concept.tracking.triggers.base import Never, Trigger
from segment_concept.types import Frame, InputError

if TYPE_CHECKING:
    from segment_concept.tracking.session import Session


@dataclass(frozen=True, slots=True)
class Tracker(MovableTracker):
    """A tracking method with its weights. It has no state: several sessions can share it.

    `to`, `unload` and `close` move and free the weights, see `MovableTracker`.

    Attributes:
        segmenter: the network.
        policy: which memories a frame attends to, and which proposed mask is taken.
        trigger: when the concept encoder is queried.
        concept: the concept encoder, or None.
        refiner: further decoder passes for clicks and boxes; None for one pass.
        keyframes: size of an object's keyframe bank (SeC's `mllm_memory_size`).
        keyframe_presence: a frame joins the bank if the concept encoder was queried on it, the
            mask is not empty, and the presence logit is above this.
        concept_margin: where the concept encoder is queried, presence logits are reduced by this;
            above 0 fewer absences are missed, and more visible objects. An object that was absent
            there returns only if the concept encoder, queried when memory finds it, confirms it.
            None: no margin and no such queries, as published.
        non_overlapping: no two objects claim the same pixel in the output.
        guided_contours: contours follow the edges of the picture when masks are enlarged to the
            size of the video (`guided_upsample`). Memory is not affected.
        track_before_prompt: an object is also looked for on frames that are played before the first
            one on which it was prompted, as SAM 2 does; else it has no mask there.
        share_cores: `Session.track` with prefetching gives each operator half of torch's threads,
            and runs independent parts of a step at the same time. Faster for small networks on a
            CPU.
        every: which frames `Session.track` tracks where it prefetches: 1 for every frame; with
            `auto` one in two to four where a film is calm. The others get their masks from the
            tracked ones on both sides, by optical flow, and are marked in their results
            (`FrameResult.carried`).
        memory_advice: what to do when a device ran out of memory, for the message.

    Raises:
        InputError: there is a trigger but no concept encoder.
    """

    segmenter: Segmenter
    policy: MemoryPolicy = field(default_factory=RecentMemory)
    trigger: Trigger = field(default_factory=Never)
    concept: ConceptEncoder | None = None
    refiner: PromptRefiner | None = None
    keyframes: int = 7
    keyframe_presence: float = 1.0
    concept_margin: float | None = None
    non_overlapping: bool = False
    guided_contours: bool = False
    track_before_prompt: bool = False
    share_cores: bool = False
    every: Every = 1
    memory_advice: Callable[[], str] = general_advice

    def __post_init__(self) -> None:
        if self.concept is None and not isinstance(self.trigger, Never):
            raise InputError(
                f"there is no concept encoder that {self.trigger} could query: use the trigger "
                "Never(), or weights that include a concept encoder"
            )
        if self.keyframes < 1:
            raise ValueError(f"a keyframe bank holds at least 1 keyframe, got {self.keyframes}")

    def networks(self) -> Sequence[object]:
        """The segmenter, and the concept encoder if there is one."""
        return (self.segmenter,) if self.concept is None else (self.segmenter, self.concept)

    def enlarge(self, small: Sequence[Tensor], frame: Frame) -> Tensor:
        """Logits (h, w) of O objects on a frame in its size: (O, H, W) float32."""
        return upsample_logits(
            small,
            frame.size,
            non_overlapping=self.non_overlapping,
            picture=frame.rgb if self.guided_contours else None,
        )

    def session(self, features: FeatureCache | None = None) -> "Session":
        """Start a new video.

        Args:
            features: a cache of the video's image features, shared with other sessions of it.

        Raises:
            InputError: the cache belongs to another network.
        """
        from segment_concept.tracking.session import Session  # which holds its tracker

        if features is not None and features.segmenter is not self.segmenter:
            raise InputError(
                "the feature cache belongs to another network: make one with "
                "FeatureCache(tracker.segmenter)"
            )
        return Session(self, features=features)

"""Find tracked objects in a frame: by memory, and by their concept where that is queried."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segment_concept.tracking.concept import ConceptRequest, KeyframeBank
from segment_concept.tracking.memory import PlaybackPosition, Track
from segment_concept.tracking.segmenter import Concept, Features
from segment_concept.tracking.step import ObjectState, track_objects
from segment_concept.tracking.triggers.base import TriggerDecision
from segment_concept.types import Frame, ObjectId

if TYPE_CHECKING:
    from segment_concept.tracking.tracker import Tracker


@dataclass(frozen=True, slots=True)
class Found:
    """The objects of one frame.

    Attributes:
        states: of every object that is looked for.
        queried: objects for which the concept encoder was queried.
    """

    states: dict[ObjectId, ObjectState]
    queried: tuple[ObjectId, ...]

    @property
    def absent(self) -> frozenset[ObjectId]:
        """The objects that were not found though the concept encoder was queried."""
        return frozenset(i for i in self.queried if self.states[i].presence <= 0)


@dataclass(frozen=True, slots=True)
class FrameFinder:
    """Finds objects in one frame.

    Attributes:
        tracker: the method.
        tracks: the hypotheses about each object, best first.
        banks: the keyframes of each object.
        frame: where to look.
        features: of the frame.
        position: of the frame.
    """

    tracker: "Tracker"
    tracks: Mapping[ObjectId, tuple[Track, ...]]
    banks: Mapping[ObjectId, KeyframeBank]
    frame: Frame
    features: Features[Any]
    position: PlaybackPosition

    def find(self, decision: TriggerDecision, missing: frozenset[ObjectId]) -> Found:
        """Look for the objects. Those that are prompted on the frame are as they were prompted.

        Args:
            decision: for which objects the concept encoder is queried.
            missing: objects for which it is queried too if memory finds them.
        """
        prompted = {i: s for i in self.tracks if (s := self._prompted(i)) is not None}
        objects = [i for i in self.tracks if i not in prompted and self._is_looked_for(i)]
        queried = [i for i in objects if decision.queries(i)]
        states = self._states(objects, queried)
        returned = [
            i for i in objects if i in missing and i not in queried and states[i].presence > 0
        ]
        states |= self._states(returned, returned)
        return Found(states | prompted, (*queried, *returned))

    def _prompted(self, object_id: ObjectId) -> ObjectState | None:
        tracks, index = self.tracks[object_id], self.position.frame_index
        on = [m for m in tracks[0].bank.prompted if m.frame_index == index]
        return ObjectState(tracks, on[0].logits, on[0].iou, on[0].presence) if on else None

    def _is_looked_for(self, object_id: ObjectId) -> bool:
        prompted = self.tracks[object_id][0].bank.prompted
        return self.tracker.track_before_prompt or any(
            self.position.frames_since(m.frame_index) > 0 for m in prompted
        )

    def _states(
        self, objects: Sequence[ObjectId], queried: Sequence[ObjectId]
    ) -> dict[ObjectId, ObjectState]:
        if not objects:
            return {}
        concepts = self._concepts(queried) if queried else {}
        step = track_objects(
            self.tracker,
            self.features,
            self.position,
            [self.tracks[i] for i in objects],
            [concepts.get(i) for i in objects],
            [0] * len(objects),
            self.tracker.concept_margin or 0.0,
        )
        return dict(zip(objects, step.states, strict=True))

    def _concepts(self, objects: Sequence[ObjectId]) -> Mapping[ObjectId, Concept | None]:
        encoder = self.tracker.concept
        assert encoder is not None, "Tracker refuses a trigger without a concept encoder"
        requests = [ConceptRequest(self.banks[i].keyframes) for i in objects]
        found = encoder.encode(requests, self.frame, self.features)
        return dict(zip(objects, found, strict=True))

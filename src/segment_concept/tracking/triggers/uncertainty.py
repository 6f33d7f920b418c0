"""A trigger that fires when the tracker is uncertain.

It uses the results of the previous frame, so it fires one frame late.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from segment_concept.ops.color import Colors, color_distance, object_colors
from segment_concept.shots.content import hsv_of
from segment_concept.tracking.step import ObjectState
from segment_concept.tracking.triggers.base import (
    Cooldown,
    FrameDescriptor,
    Trigger,
    TriggerContext,
    TriggerDecision,
    min_confidence,
)
from segment_concept.types import Frame, Image, ObjectId

AREAS = 10  # mask areas that are kept; DAM4SAM compares with the median of as many
PACE = 0.1  # weight of a new frame in the moving average of colors
UNCERTAIN_RESTS = 12  # cooldown in frames; see `uncertain`


@dataclass(frozen=True, slots=True)
class AppearanceModel:
    """Areas and colors of an object on recent frames with a confident mask."""

    areas: tuple[float, ...] = ()  # mask areas as fractions of the frame, newest last
    colors: Colors | None = None

    def with_another(self, area: float, colors: Colors | None) -> "AppearanceModel":
        """The model updated with one more frame."""
        if colors is None or self.colors is None:
            mixed = self.colors if colors is None else colors
        else:
            mixed = (1 - PACE) * self.colors + PACE * colors
        return AppearanceModel((*self.areas, area)[-AREAS:], mixed)


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Fires for an object with a low score, or an abrupt change of area or colors, one frame ago.

    It fires on every frame while the condition lasts: wrap it in `Cooldown`. `below` is
    `LowQuality`'s. With the true masks of synthetic shots, 2 % of the frames exceed one of the
    other two thresholds, and 90 % of the first frames after a cut
    (`benchmarks/calibrate_doubt.py`).

    Attributes:
        below: threshold on min(object score, predicted IoU).
        area_times: maximum ratio between the area and the median of the last ten areas.
        colors_above: maximum distance to the average colors, in [0, 1].
    """

    below: float = 0.5
    area_times: float = 2.0
    colors_above: float = 0.5

    def __post_init__(self) -> None:
        if not self.area_times > 1:
            raise ValueError(f"area_times must be more than 1, got {self.area_times}")

    def describe(self, frame: Frame) -> FrameDescriptor:
        return (hsv_of(frame),)

    def decide(self, context: TriggerContext) -> TriggerDecision:
        models: Mapping[ObjectId, AppearanceModel] = context.state[0] if context.state else {}
        updated, uncertain_ids = {}, set()
        for object_id, state in context.states.items():
            model = models.get(object_id, AppearanceModel())
            is_uncertain, updated[object_id] = self._of(state, model, context.before[0])
            if is_uncertain:
                uncertain_ids.add(object_id)
        return TriggerDecision(
            bool(uncertain_ids), state=(updated,), object_ids=frozenset(uncertain_ids)
        )

    def _of(
        self, state: ObjectState, model: AppearanceModel, hsv: Image
    ) -> tuple[bool, AppearanceModel]:
        """Whether the object is uncertain, and its updated appearance model."""
        if min_confidence(state) < self.below:
            return True, model
        mask = (state.logits > 0).cpu().numpy()
        area, colors = float(mask.mean()), object_colors(hsv, mask)
        changed = self._is_other_size(area, model) or self._is_other_color(colors, model)
        # Update in any case, so that a lasting change (a zoom) is accepted after some frames.
        return changed, model.with_another(area, colors)

    def _is_other_size(self, area: float, model: AppearanceModel) -> bool:
        usual = median(model.areas) if model.areas else area
        return area * self.area_times < usual or area > usual * self.area_times

    def _is_other_color(self, colors: Colors | None, model: AppearanceModel) -> bool:
        if colors is None or model.colors is None:
            return False
        return color_distance(colors, model.colors) > self.colors_above


def uncertain() -> Trigger:
    """Fires when the tracker is uncertain, at most on every 13th frame.

    That is 7.7 % of the frames; the published trigger fires on 7.4 % of the frames of SeCVOS.
    """
    return Cooldown(Uncertain(), UNCERTAIN_RESTS)

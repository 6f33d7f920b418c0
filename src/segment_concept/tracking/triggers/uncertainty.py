"""A trigger for when the tracker itself is in doubt.

It judges by what was believed on the frame before, so it speaks one frame after the doubt.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from segment_concept.ops.color import Colors, color_distance, object_colors
from segment_concept.shots.content import small_hsv
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

AREAS = 10  # that are remembered, as in DAM4SAM, which compares with their median too
PACE = 0.1  # share of a new frame in the remembered colors
UNCERTAIN_RESTS = 12  # frames: in lasting doubt SeC's encoder is asked as often as it is on film


@dataclass(frozen=True, slots=True)
class AppearanceModel:
    """How an object looked on the last frames on which it was segmented well."""

    areas: tuple[float, ...] = ()  # shares of the picture, newest last
    colors: Colors | None = None

    def with_another(self, area: float, colors: Colors | None) -> "AppearanceModel":
        """With one frame more."""
        if colors is None or self.colors is None:
            mixed = self.colors if colors is None else colors
        else:
            mixed = (1 - PACE) * self.colors + PACE * colors
        return AppearanceModel((*self.areas, area)[-AREAS:], mixed)


@dataclass(frozen=True, slots=True)
class Uncertain:
    """After a frame on which an object was badly seen, or suddenly not what it had been; about it.

    It speaks on every frame while that lasts: put it into `Cooldown`. The first threshold is that
    of `LowQuality`; of the frames of synthetic shots 2 % are beyond either of the others with the
    true masks, and of first frames after a cut nine tenths (`benchmarks/calibrate_doubt.py`).

    Attributes:
        below: object score, or predicted IoU, whichever is lower.
        area_times: how many times larger or smaller than the median of the last ten areas.
        colors_above: distance of its colors to the remembered ones, 0 to 1.
    """

    below: float = 0.5
    area_times: float = 2.0
    colors_above: float = 0.5

    def __post_init__(self) -> None:
        if not self.area_times > 1:
            raise ValueError(f"area_times must be more than 1, got {self.area_times}")

    def describe(self, frame: Frame) -> FrameDescriptor:
        return (small_hsv(frame.rgb),)

    def decide(self, context: TriggerContext) -> TriggerDecision:
        known: Mapping[ObjectId, AppearanceModel] = context.state[0] if context.state else {}
        after, doubted = {}, set()
        for object_id, seen in context.seen.items():
            before = known.get(object_id, AppearanceModel())
            doubtful, after[object_id] = self._of(seen, before, context.before[0])
            if doubtful:
                doubted.add(object_id)
        return TriggerDecision(bool(doubted), state=(after,), object_ids=frozenset(doubted))

    def _of(
        self, seen: ObjectState, known: AppearanceModel, hsv: Image
    ) -> tuple[bool, AppearanceModel]:
        """Is there doubt about this object, and how will it be remembered?"""
        if min_confidence(seen) < self.below:
            return True, known
        mask = (seen.logits > 0).cpu().numpy()
        area, colors = float(mask.mean()), object_colors(hsv, mask)
        sudden = self._is_other_size(area, known) or self._is_other_color(colors, known)
        # What lasts is believed in the end, or a zoom would be in doubt for ever.
        return sudden, known.with_another(area, colors)

    def _is_other_size(self, area: float, known: AppearanceModel) -> bool:
        usual = median(known.areas) if known.areas else area
        return area * self.area_times < usual or area > usual * self.area_times

    def _is_other_color(self, colors: Colors | None, known: AppearanceModel) -> bool:
        if colors is None or known.colors is None:
            return False
        return color_distance(colors, known.colors) > self.colors_above


def uncertain() -> Trigger:
    """Asks when the tracker is in doubt, and in lasting doubt on one of thirteen frames.

    That is 7.7 %; the published trigger asks on 7.4 % of the frames of SeCVOS.
    """
    return Cooldown(Uncertain(), UNCERTAIN_RESTS)

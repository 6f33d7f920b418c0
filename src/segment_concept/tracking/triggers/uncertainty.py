"""A trigger for when the tracker itself is in doubt.

It judges by what was believed on the frame before, so it speaks one frame after the doubt.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from segment_concept.ops.color import Colours, colour_distance, object_colours
from segment_concept.shots.content import small_hsv
from segment_concept.tracking.step import Seen
from segment_concept.tracking.triggers.base import (
    Glance,
    Look,
    Refractory,
    Trigger,
    Verdict,
    least_score,
)
from segment_concept.types import Frame, Image, ObjectId

AREAS = 10  # that are remembered, as in DAM4SAM, which compares with their median too
PACE = 0.1  # share of a new frame in the remembered colours
UNCERTAIN_RESTS = 12  # frames: in lasting doubt SeC's encoder is asked as often as it is on film


@dataclass(frozen=True, slots=True)
class Impression:
    """How an object looked on the last frames on which it was segmented well."""

    areas: tuple[float, ...] = ()  # shares of the picture, newest last
    colours: Colours | None = None

    def with_another(self, area: float, colours: Colours | None) -> "Impression":
        """With one frame more."""
        if colours is None or self.colours is None:
            mixed = self.colours if colours is None else colours
        else:
            mixed = (1 - PACE) * self.colours + PACE * colours
        return Impression((*self.areas, area)[-AREAS:], mixed)


@dataclass(frozen=True, slots=True)
class Uncertain:
    """After a frame on which an object was badly seen, or suddenly not what it had been; about it.

    It speaks on every frame while that lasts: put it into `Refractory`. The first threshold is that
    of `LowQuality`; of the frames of synthetic shots 2 % are beyond either of the others with the
    true masks, and of first frames after a cut nine tenths (`benchmarks/calibrate_doubt.py`).

    Attributes:
        below: object score, or predicted IoU, whichever is lower.
        area_times: how many times larger or smaller than the median of the last ten areas.
        colours_above: distance of its colours to the remembered ones, 0 to 1.
    """

    below: float = 0.5
    area_times: float = 2.0
    colours_above: float = 0.5

    def __post_init__(self) -> None:
        if not self.area_times > 1:
            raise ValueError(f"area_times must be more than 1, got {self.area_times}")

    def look(self, frame: Frame) -> Look:
        return (small_hsv(frame.rgb),)

    def judge(self, glance: Glance) -> Verdict:
        known: Mapping[ObjectId, Impression] = glance.notes[0] if glance.notes else {}
        after, doubted = {}, set()
        for object_id, seen in glance.seen.items():
            before = known.get(object_id, Impression())
            doubtful, after[object_id] = self._of(seen, before, glance.before[0])
            if doubtful:
                doubted.add(object_id)
        return Verdict(bool(doubted), notes=(after,), whom=frozenset(doubted))

    def _of(self, seen: Seen, known: Impression, hsv: Image) -> tuple[bool, Impression]:
        """Is there doubt about this object, and how will it be remembered?"""
        if least_score(seen) < self.below:
            return True, known
        mask = (seen.logits > 0).cpu().numpy()
        area, colours = float(mask.mean()), object_colours(hsv, mask)
        sudden = self._is_other_size(area, known) or self._is_other_colour(colours, known)
        # What lasts is believed in the end, or a zoom would be in doubt for ever.
        return sudden, known.with_another(area, colours)

    def _is_other_size(self, area: float, known: Impression) -> bool:
        usual = median(known.areas) if known.areas else area
        return area * self.area_times < usual or area > usual * self.area_times

    def _is_other_colour(self, colours: Colours | None, known: Impression) -> bool:
        if colours is None or known.colours is None:
            return False
        return colour_distance(colours, known.colours) > self.colours_above


def uncertain() -> Trigger:
    """Asks when the tracker is in doubt, and in lasting doubt on one of thirteen frames.

    That is 7.7 %; the published trigger asks on 7.4 % of the frames of SeCVOS.
    """
    return Refractory(Uncertain(), UNCERTAIN_RESTS)

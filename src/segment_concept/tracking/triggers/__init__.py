"""The triggers: when the concept encoder is queried."""

from segment_concept.tracking.triggers.base import (
    AnyOf,
    AtFrames,
    Cooldown,
    Every,
    LowQuality,
    Never,
    Trigger,
)
from segment_concept.tracking.triggers.scene_change import (
    AdaptiveContent,
    HistogramShift,
    fast_hsv,
    published_hsv,
)
from segment_concept.tracking.triggers.uncertainty import Uncertain, uncertain

__all__ = [
    "AdaptiveContent",
    "AnyOf",
    "AtFrames",
    "Cooldown",
    "Every",
    "HistogramShift",
    "LowQuality",
    "Never",
    "Trigger",
    "Uncertain",
    "fast_hsv",
    "published_hsv",
    "uncertain",
]

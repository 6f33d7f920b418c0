"""Segment Concept: track objects through edited video from a mask, a box or a click."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Box": "types",
    "Frame": "types",
    "FrameResult": "types",
    "InputError": "types",
    "Mask": "types",
    "ObjectId": "types",
    "Points": "types",
    "SegmentConceptError": "types",
    "Candidate": "tracking.policies.base",
    "Memory": "tracking.memory",
    "MemoryBank": "tracking.memory",
    "MemoryPolicy": "tracking.policies.base",
    "PlaybackPosition": "tracking.memory",
    "Recall": "tracking.memory",
    "RecalledMap": "tracking.memory",
    "RecalledPointer": "tracking.memory",
    "Session": "tracking.session",
    "Track": "tracking.memory",
    "Tracker": "tracking.tracker",
    "Trigger": "tracking.triggers.base",
    "TriggerContext": "tracking.triggers.base",
    "TriggerDecision": "tracking.triggers.base",
    "Recipe": "recipes",
    "find_recipe": "recipes",
    "load": "checkpoints.load",
    "open_video": "video.open",
    "track_offline": "pipeline.offline",
}
_NAMESPACES = {"policies": "tracking.policies", "triggers": "tracking.triggers"}

__all__ = [
    "Box",
    "Candidate",
    "Frame",
    "FrameResult",
    "InputError",
    "Mask",
    "Memory",
    "MemoryBank",
    "MemoryPolicy",
    "ObjectId",
    "PlaybackPosition",
    "Points",
    "Recall",
    "RecalledMap",
    "RecalledPointer",
    "Recipe",
    "SegmentConceptError",
    "Session",
    "Track",
    "Tracker",
    "Trigger",
    "TriggerContext",
    "TriggerDecision",
    "__version__",
    "find_recipe",
    "load",
    "open_video",
    "policies",
    "track_offline",
    "triggers",
]

if TYPE_CHECKING:
    from segment_concept.checkpoints.load import load
    from segment_concept.pipeline.offline import track_offline
    from segment_concept.recipes import Recipe, find_recipe
    from segment_concept.tracking import policies, triggers
    from segment_concept.tracking.memory import (
        Memory,
        MemoryBank,
        PlaybackPosition,
        Recall,
        RecalledMap,
        RecalledPointer,
        Track,
    )
    from segment_concept.tracking.policies.base import Candidate, MemoryPolicy
    from segment_concept.tracking.session import Session
    from segment_concept.tracking.tracker import Tracker
    from segment_concept.tracking.triggers.base import Trigger, TriggerContext, TriggerDecision
    from segment_concept.types import (
        Box,
        Frame,
        FrameResult,
        InputError,
        Mask,
        ObjectId,
        Points,
        SegmentConceptError,
    )
    from segment_concept.video.open import open_video


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that `import segment_concept` is instant."""
    if name in _NAMESPACES:
        return import_module(f"{__name__}.{_NAMESPACES[name]}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Public names, whether they were imported or not."""
    return __all__

"""Segment Concept: show an object once, get its mask in every frame of an edited video."""

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
    "Session": "tracking.session",
    "Tracker": "tracking.session",
    "load": "checkpoints.load",
    "open_video": "video.open",
    "track_offline": "pipeline.offline",
}

__all__ = [
    "Box",
    "Frame",
    "FrameResult",
    "InputError",
    "Mask",
    "ObjectId",
    "Points",
    "SegmentConceptError",
    "Session",
    "Tracker",
    "__version__",
    "load",
    "open_video",
    "track_offline",
]

if TYPE_CHECKING:
    from segment_concept.checkpoints.load import load
    from segment_concept.pipeline.offline import track_offline
    from segment_concept.tracking.session import Session, Tracker
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
    from segment_concept.video import open_video


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that `import segment_concept` is instant."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

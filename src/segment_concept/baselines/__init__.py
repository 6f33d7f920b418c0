"""Mask-propagation trackers: Cutie and XMem.

Each pixel of a frame reads from a memory of the pixels of past frames.
"""

from segment_concept.baselines.checkpoints import (
    PUBLISHED,
    PublishedCheckpoint,
    check_published,
    convert_once,
    load_cutie,
    load_xmem,
)
from segment_concept.baselines.propagation import Settings
from segment_concept.baselines.session import (
    PropagationSession,
    PropagationTracker,
    cutie_long_video_settings,
    cutie_plus_settings,
    cutie_settings,
    cutie_tracker,
    xmem_settings,
    xmem_short_video_settings,
    xmem_tracker,
)

__all__ = [
    "PUBLISHED",
    "PropagationSession",
    "PropagationTracker",
    "PublishedCheckpoint",
    "Settings",
    "check_published",
    "convert_once",
    "cutie_long_video_settings",
    "cutie_plus_settings",
    "cutie_settings",
    "cutie_tracker",
    "load_cutie",
    "load_xmem",
    "xmem_settings",
    "xmem_short_video_settings",
    "xmem_tracker",
]

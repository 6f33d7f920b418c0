"""Videos in and out: sources of frames, the job that writes what was found, drawing."""

from segment_concept.video.open import open_video
from segment_concept.video.source import VideoSource

__all__ = ["VideoSource", "open_video"]

"""For those who come from SAM 2: scripts run with the import changed.

    from segment_concept.compat import VideoPredictor as SAM2VideoPredictor
    from segment_concept.compat import build_sam2_video_predictor

A thin layer over `Session`, which stays the real thing: it needs no video on disk and keeps no
more than it can recall.
"""

from segment_concept.compat.predictor import VideoPredictor, build_sam2_video_predictor
from segment_concept.compat.state import InferenceState

__all__ = ["InferenceState", "VideoPredictor", "build_sam2_video_predictor"]

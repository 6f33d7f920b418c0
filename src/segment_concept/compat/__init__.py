"""SAM 2's interfaces: scripts written for them run with the import changed.

    from segment_concept.compat import VideoPredictor as SAM2VideoPredictor
    from segment_concept.compat import build_sam2_video_predictor

A thin layer over `Session`. `docs/from_sam2.md` has a table of all calls and what differs.
"""

from segment_concept.compat.builders import (
    build_sam2,
    build_sam2_hf,
    build_sam2_video_predictor,
    build_sam2_video_predictor_hf,
)
from segment_concept.compat.camera import CameraPredictor, build_sam2_camera_predictor
from segment_concept.compat.image_predictor import ImagePredictor
from segment_concept.compat.mask_generator import AutomaticMaskGenerator
from segment_concept.compat.predictor import VideoPredictor
from segment_concept.compat.state import InferenceState

SAM2VideoPredictor = VideoPredictor
SAM2CameraPredictor = CameraPredictor
SAM2ImagePredictor = ImagePredictor
SAM2AutomaticMaskGenerator = AutomaticMaskGenerator

__all__ = [
    "AutomaticMaskGenerator",
    "CameraPredictor",
    "ImagePredictor",
    "InferenceState",
    "SAM2AutomaticMaskGenerator",
    "SAM2CameraPredictor",
    "SAM2ImagePredictor",
    "SAM2VideoPredictor",
    "VideoPredictor",
    "build_sam2",
    "build_sam2_camera_predictor",
    "build_sam2_hf",
    "build_sam2_video_predictor",
    "build_sam2_video_predictor_hf",
]

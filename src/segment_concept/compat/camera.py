"""A camera loop: the interface that forks of SAM 2 for live video share."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segment_concept.compat.build import build_tracker
from segment_concept.compat.module import ModuleLike
from segment_concept.compat.predictor import Answer, VideoPredictor
from segment_concept.compat.prompts import Numbers
from segment_concept.compat.state import InferenceState
from segment_concept.recipes import Recipe
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import Frame, InputError
from segment_concept.video.memory_frames import rgb_of
from segment_concept.video.source import VideoInfo


class CameraPredictor(ModuleLike):
    """`SAM2CameraPredictor`: prompt objects on the first frame, then pass frame after frame.

        predictor = build_sam2_camera_predictor(None, "facebook/sam2.1-hiera-large")
        predictor.load_first_frame(frame)
        predictor.add_new_prompt(0, 1, bbox=[[x0, y0], [x1, y1]])
        while True:
            ids, logits = predictor.track(next_frame)

    Frames are arrays (H, W, 3) of uint8 RGB, tensors, or images of Pillow. What is kept of them
    does not grow; objects may be prompted or corrected on the newest frame at any time.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._video = VideoPredictor(tracker)
        self._state: InferenceState | None = None
        self.frame_idx = 0

    @property
    def tracker(self) -> Tracker:
        """What follows the objects."""
        return self._video.tracker

    @tracker.setter
    def tracker(self, tracker: Tracker) -> None:
        self._video.tracker = tracker

    @classmethod
    def from_pretrained(
        cls, model_id: str | Path | Recipe, *, device: str | torch.device = "auto", **settings: Any
    ) -> "CameraPredictor":
        """A predictor with published weights; see `VideoPredictor.from_pretrained`."""
        return cls(build_tracker(model_id, device, **settings))

    @property
    def condition_state(self) -> InferenceState:
        """What is carried from frame to frame.

        Raises:
            InputError: there was no frame yet.
        """
        if self._state is None:
            raise InputError("there is no frame yet: call load_first_frame first")
        return self._state

    def load_first_frame(self, img: Any) -> None:
        """Begin with a frame; what was before is forgotten.

        Raises:
            InputError: it is no image.
        """
        rgb = rgb_of(img)
        self.frame_idx = 0
        source = _NewestFrame(
            VideoInfo((rgb.shape[0], rgb.shape[1]), Fraction(24), Fraction(1, 24))
        )
        self._state = self._video.start(source, remember_all=False)
        self._state.last = Frame(0, rgb)

    def add_conditioning_frame(self, img: Any) -> None:
        """The next frame on which objects are prompted, without tracking them there.

        Raises:
            InputError: it is no image.
        """
        state = self.condition_state
        self.frame_idx += 1
        state.last = Frame(self.frame_idx, rgb_of(img, self.frame_idx))

    def add_new_prompt(
        self,
        frame_idx: int,
        obj_id: int,
        points: Numbers | None = None,
        labels: Numbers | None = None,
        bbox: Numbers | None = None,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
    ) -> Answer:
        """Prompt an object on the newest frame; see `VideoPredictor.add_new_points_or_box`.

        Raises:
            InputError: the frame is not the newest one, or there is no usable prompt.
        """
        return self._video.add_new_points_or_box(
            self.condition_state,
            frame_idx,
            obj_id,
            points,
            labels,
            clear_old_points,
            normalize_coords,
            bbox,
        )

    def add_new_points(
        self,
        frame_idx: int,
        obj_id: int,
        points: Numbers,
        labels: Numbers,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
    ) -> Answer:
        """The same with clicks alone."""
        return self.add_new_prompt(
            frame_idx, obj_id, points, labels, None, clear_old_points, normalize_coords
        )

    def add_new_mask(self, frame_idx: int, obj_id: int, mask: Numbers) -> Answer:
        """Prompt an object by its mask; see `VideoPredictor.add_new_mask`."""
        return self._video.add_new_mask(self.condition_state, frame_idx, obj_id, mask)

    def track(self, img: Any) -> tuple[list[int], Tensor]:
        """Follow all objects to the next frame.

        Returns:
            The objects, and their logits (O, 1, H, W).

        Raises:
            InputError: nothing was prompted yet, or it is no image of the first one's size.
        """
        state = self.condition_state
        state.first_prompted()
        self.frame_idx += 1
        _, ids, logits = self._video.follow(
            state, Frame(self.frame_idx, rgb_of(img, self.frame_idx))
        )
        return ids, logits

    def reset_state(self) -> None:
        """Forget all objects; the newest frame stays."""
        self.condition_state.reset()


@dataclass(frozen=True, slots=True)
class _NewestFrame:
    """A video of which only the newest frame is there, and that is known already."""

    info: VideoInfo
    name: str = "the camera"

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """None: they come one by one."""
        raise InputError(f"frame {start} is not the newest one: prompt frame_idx of the predictor")

    def backwards(self, start: int) -> Iterator[Frame]:
        """None: they come one by one."""
        return self.frames(start)

    def index_at(self, seconds: float) -> int:
        """Not known."""
        raise InputError(f"a camera has no frame at {seconds:g}s")

    def frame_name(self, index: int) -> str:
        """The number, with five digits."""
        return f"{index:05d}"


def build_sam2_camera_predictor(
    config_file: str | None,
    ckpt_path: str | Path | Recipe | None = None,
    device: str | torch.device | None = "auto",
    **settings: Any,
) -> CameraPredictor:
    """The forks' own way to a camera predictor; see `build_sam2_video_predictor`."""
    return CameraPredictor(build_tracker(ckpt_path, device, **settings))

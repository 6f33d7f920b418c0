"""SAM 2's video predictor, by its names and signatures, over a tracker of this package.

Behaviour that SAM 2 documents or shows was followed; what differs on purpose is said where it
does. Frames are read when they are needed, never all at once.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from segment_concept.checkpoints.load import load_tracker
from segment_concept.compat.prompts import Numbers, clicks_of, joined, mask_of
from segment_concept.compat.recipes import recipe_for
from segment_concept.compat.state import InferenceState, Unforgetting
from segment_concept.models.sam2.segmenter import Sam2Options, Sam2Segmenter
from segment_concept.recipes import Recipe
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.session import Tracker
from segment_concept.types import Box, InputError, Points, Prompt
from segment_concept.video import open_video
from segment_concept.video.source import VideoSource

Answer: TypeAlias = tuple[int, list[int], Tensor]  # frame, objects, logits (O, 1, H, W)


class VideoPredictor:
    """`SAM2VideoPredictor` with any recipe behind it.

    Args:
        tracker: what follows the objects.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    @classmethod
    def from_pretrained(
        cls,
        model_id: str | Path | Recipe,
        *,
        device: str = "auto",
        apply_postprocessing: bool = True,
        vos_optimized: bool = False,
    ) -> "VideoPredictor":
        """A predictor with published weights.

        Args:
            model_id: `facebook/sam2.1-hiera-large` and its sisters; `OpenIXCLab/SeC-4B`; the name
                of a recipe (`sec_compact`); a file or a folder with such weights; or a recipe.
            device: see `load_tracker`.
            apply_postprocessing: SAM 2's name for how it is used interactively; without, as its
                benchmark script uses it (`Sam2Options.benchmark`).
            vos_optimized: compile the networks when they are first used.

        Raises:
            InputError: nothing of that name is known, or an option does not apply to it.
            CheckpointError: the weights are missing, damaged or another network's.
        """
        tracker = load_tracker(recipe_for(model_id), device=device)
        if vos_optimized or not apply_postprocessing:
            options = Sam2Options() if apply_postprocessing else Sam2Options.benchmark()
            tracker = _with_options(tracker, replace(options, compiled=vos_optimized))
        return cls(tracker)

    def init_state(
        self,
        video_path: str | Path | VideoSource,
        offload_video_to_cpu: bool = False,
        offload_state_to_cpu: bool = False,
        async_loading_frames: bool = False,
    ) -> InferenceState:
        """Open a video.

        Args:
            video_path: a folder of frames, a video file, or an open source.
            offload_video_to_cpu: of no consequence: frames are read when they are needed.
            offload_state_to_cpu: keep memory from growing with the video. As in SAM 2 a state
                remembers all frames, so that each can be corrected at any time; with this only
                the memories that can still be recalled are kept, and a frame that is forgotten
                can be prompted anew but not corrected.
            async_loading_frames: of no consequence.

        Raises:
            InputError: no such video, or a live one, which cannot be played twice.
        """
        source = open_video(video_path) if isinstance(video_path, str | Path) else video_path
        if source.info.live:
            raise InputError(f"{source.name} is live: use a Session, frame by frame")
        policy = self.tracker.policy
        frames = source.info.frames
        if isinstance(policy, RecentMemory | ReliableMemory) and frames is not None:
            # SAM 2 knows a video's length, and reckons with it where there are few frames
            policy = replace(policy, video_length=frames)
        if isinstance(policy, RecentMemory):
            policy = replace(policy, prompted=None)  # SAM 2 attends to all prompted frames
        kept = policy if offload_state_to_cpu else Unforgetting(policy)
        return InferenceState(source, replace(self.tracker, policy=kept).session())

    def add_new_points_or_box(  # noqa: PLR0913 -- SAM 2's signature
        self,
        inference_state: InferenceState,
        frame_idx: int,
        obj_id: int,
        points: Numbers | None = None,
        labels: Numbers | None = None,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
        box: Numbers | None = None,
    ) -> Answer:
        """Show an object by clicks, a box, or both; on a frame that has a mask it is corrected.

        Args:
            inference_state: from `init_state`.
            frame_idx: the frame.
            obj_id: a number of the caller's, any; new ones may come at any time.
            points: (N, 2), x and y.
            labels: (N,): 1 on the object, 0 off it.
            clear_old_points: forget the points that the object was given on this frame before.
            normalize_coords: x and y are pixels of the video; else shares of its width and height.
            box: x0, y0, x1, y1, in the same unit.

        Returns:
            The frame, all objects, and their logits (O, 1, H, W) on it.

        Raises:
            InputError: there is no such frame, or no usable prompt.
        """
        state = inference_state
        scale = (1.0, 1.0) if normalize_coords else (state.video_width, state.video_height)
        prompt = clicks_of(points, labels, box, scale)
        old = state.prompts.get(obj_id, {}).get(frame_idx)
        if not clear_old_points and isinstance(prompt, Box):
            raise InputError("a box comes before any point: leave clear_old_points=True")
        if not clear_old_points and isinstance(old, Points | Box):
            prompt = joined(old, prompt)
        return self._show(state, frame_idx, obj_id, prompt)

    def add_new_mask(
        self, inference_state: InferenceState, frame_idx: int, obj_id: int, mask: Numbers
    ) -> Answer:
        """Show an object by its mask (h, w), which is brought to the video's size if need be.

        Raises:
            InputError: there is no such frame, or the mask is empty.
        """
        size = inference_state.source.info.size
        return self._show(inference_state, frame_idx, obj_id, mask_of(mask, size))

    def propagate_in_video(
        self,
        inference_state: InferenceState,
        start_frame_idx: int | None = None,
        max_frame_num_to_track: int | None = None,
        reverse: bool = False,
    ) -> Iterator[Answer]:
        """Follow all objects.

        An object that is first shown on a later frame (an earlier one, in reverse) has what is
        already known of it until then, and else no mask; SAM 2 guesses it from the future.

        Args:
            inference_state: from `init_state`.
            start_frame_idx: where to begin; the earliest prompted frame if left out.
            max_frame_num_to_track: how many frames after that one; all if left out.
            reverse: play backwards. As in SAM 2 nothing is played from frame 0.

        Yields:
            The frame, all objects, and their logits (O, 1, H, W).

        Raises:
            InputError: nothing was prompted.
        """
        state = inference_state
        first = state.first_prompted()
        start = first if start_frame_idx is None else start_frame_idx
        if reverse and start == 0:
            return
        for frame in state.source.backwards(start) if reverse else state.source.frames(start):
            if max_frame_num_to_track is not None and (
                abs(frame.index - start) > max_frame_num_to_track
            ):
                return
            with _chosen_numbers():
                state.session.step(state.seen(frame), backwards=reverse)
                masks = state.masks(frame.index)
            yield frame.index, list(state.obj_ids), masks

    def clear_all_prompts_in_frame(
        self,
        inference_state: InferenceState,
        frame_idx: int,
        obj_id: int,
        need_output: bool = True,
    ) -> Answer | None:
        """Take back every prompt of an object on a frame; the answer is as that of a prompt.

        Raises:
            InputError: there is no such object.
        """
        state = inference_state
        _check_known(state, obj_id)
        state.withdraw(obj_id, frame_idx)
        return self._answer(state, frame_idx) if need_output else None

    def remove_object(
        self,
        inference_state: InferenceState,
        obj_id: int,
        strict: bool = False,
        need_output: bool = True,
    ) -> tuple[list[int], list[tuple[int, Tensor]]]:
        """Forget an object.

        Returns:
            The objects that are left, and, where output is needed, their logits on every frame on
            which the removed one had been prompted.

        Raises:
            InputError: there is no such object, and `strict`.
        """
        state = inference_state
        if strict:
            _check_known(state, obj_id)
        if obj_id not in state.obj_ids:
            return list(state.obj_ids), []
        touched = sorted(state.prompts.get(obj_id, {}))
        state.remove(obj_id)
        if not need_output or not state.obj_ids:
            return list(state.obj_ids), []
        return list(state.obj_ids), [(i, self._answer(state, i)[2]) for i in touched]

    def reset_state(self, inference_state: InferenceState) -> None:
        """Forget all objects; the video stays open."""
        inference_state.reset()

    def _show(self, state: InferenceState, index: int, obj_id: int, prompt: Prompt) -> Answer:
        with _chosen_numbers():
            state.show(obj_id, index, prompt)
        return self._answer(state, index)

    def _answer(self, state: InferenceState, index: int) -> Answer:
        with _chosen_numbers():
            return index, list(state.obj_ids), state.masks(index)


def build_sam2_video_predictor(
    config_file: str | None,
    ckpt_path: str | Path,
    device: str = "auto",
    *,
    apply_postprocessing: bool = True,
    vos_optimized: bool = False,
) -> VideoPredictor:
    """SAM 2's own way to a predictor.

    Args:
        config_file: not looked at: all sizes are read off the weights.
        ckpt_path: the weights; see `VideoPredictor.from_pretrained`, also for the rest.
        device: see `load`.
        apply_postprocessing: see there.
        vos_optimized: see there.
    """
    return VideoPredictor.from_pretrained(
        ckpt_path,
        device=device,
        apply_postprocessing=apply_postprocessing,
        vos_optimized=vos_optimized,
    )


def _with_options(tracker: Tracker, options: Sam2Options) -> Tracker:
    if not isinstance(tracker.segmenter, Sam2Segmenter):
        raise InputError(
            "apply_postprocessing and vos_optimized are for SAM 2.1 and SeC: leave them out"
        )
    return replace(tracker, segmenter=Sam2Segmenter(tracker.segmenter.network, options))


def _check_known(state: InferenceState, obj_id: int) -> None:
    if obj_id not in state.obj_ids:
        raise InputError(f"there is no object {obj_id}: there are {state.obj_ids}")


def _chosen_numbers() -> ExitStack:
    """The number types chosen when the weights were loaded, within a script's autocast as well."""
    stack = ExitStack()
    for kind in ("cpu", "cuda"):
        stack.enter_context(torch.autocast(kind, enabled=False))
    return stack

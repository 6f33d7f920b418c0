"""SAM 2's video predictor, by its names and signatures, over a tracker of this package.

Behaviour that SAM 2 documents or shows was followed; what differs on purpose is said where it
does. Frames are read when they are needed, never all at once.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from segment_concept.compat.build import build_tracker
from segment_concept.compat.module import ModuleLike
from segment_concept.compat.prompts import Numbers, clicks_of, joined, mask_of
from segment_concept.compat.state import InferenceState, Unforgetting
from segment_concept.models.sam2.segmenter import Sam2Segmenter
from segment_concept.recipes import Recipe
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.session import Tracker
from segment_concept.types import Box, InputError, Points, Prompt
from segment_concept.video import open_video
from segment_concept.video.memory_frames import MemoryVideo
from segment_concept.video.source import VideoSource

Answer: TypeAlias = tuple[int, list[int], Tensor]  # frame, objects, logits (O, 1, H, W)


class VideoPredictor(ModuleLike):
    """`SAM2VideoPredictor` with any recipe behind it.

    Args:
        tracker: what follows the objects.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    @classmethod
    def from_pretrained(
        cls, model_id: str | Path | Recipe, *, device: str | torch.device = "auto", **settings: Any
    ) -> "VideoPredictor":
        """A predictor with published weights.

        Args:
            model_id: `facebook/sam2.1-hiera-large` and its sisters; `OpenIXCLab/SeC-4B`; the name
                of a recipe (`sec_compact`); a file or a folder with such weights; or a recipe.
            device: see `load_tracker`.
            settings: those of `build_sam2_video_predictor`.

        Raises:
            InputError: nothing of that name is known, or a setting does not apply to it.
            CheckpointError: the weights are missing, damaged or another network's.
        """
        return cls(build_tracker(model_id, device, **settings))

    def init_state(
        self,
        video_path: str | Path | VideoSource | MemoryVideo,
        offload_video_to_cpu: bool = False,
        offload_state_to_cpu: bool = False,
        async_loading_frames: bool = False,
    ) -> InferenceState:
        """Open a video.

        Args:
            video_path: a folder of frames, a video file, an open source, or frames in memory (see
                `MemoryFrames`).
            offload_video_to_cpu: of no consequence: frames are read when they are needed.
            offload_state_to_cpu: keep memory from growing with the video. As in SAM 2 a state
                remembers all frames, so that each can be corrected at any time; with this only
                the memories that can still be recalled are kept, and a frame that is forgotten
                can be prompted anew but not corrected.
            async_loading_frames: of no consequence.

        Raises:
            InputError: no such video, or a live one, which cannot be played twice.
        """
        source = video_path if isinstance(video_path, VideoSource) else open_video(video_path)
        if source.info.live:
            raise InputError(f"{source.name} is live: use a CameraPredictor, frame by frame")
        return self._state(source, unforgetting=not offload_state_to_cpu)

    def _state(self, source: VideoSource, *, unforgetting: bool) -> InferenceState:
        policy = self.tracker.policy
        frames = source.info.frames
        if isinstance(policy, RecentMemory | ReliableMemory) and frames is not None:
            # SAM 2 knows a video's length, and reckons with it where there are few frames
            policy = replace(policy, video_length=frames)
        kept = Unforgetting(policy) if unforgetting else policy
        tracker = replace(self.tracker, policy=kept, track_before_prompt=True)
        return InferenceState(source, tracker.session(), self.image_size, self.device)

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
        state, frame_idx = inference_state, int(frame_idx)
        size = state.video_height, state.video_width
        scale = (1.0, 1.0) if normalize_coords else (size[1], size[0])
        prompt = clicks_of(points, labels, box, scale, size)
        old = state.prompts.get(obj_id, {}).get(frame_idx)
        if not clear_old_points and isinstance(prompt, Box):
            raise InputError("a box comes before any point: leave clear_old_points=True")
        if not clear_old_points and isinstance(old, Points | Box):
            prompt = joined(old, prompt)
        return self._show(state, frame_idx, obj_id, prompt)

    def add_new_points(self, *args: Any, **kwargs: Any) -> Answer:
        """The same by its older name."""
        return self.add_new_points_or_box(*args, **kwargs)

    def add_new_mask(
        self, inference_state: InferenceState, frame_idx: int, obj_id: int, mask: Numbers
    ) -> Answer:
        """Show an object by its mask (h, w), which is brought to the video's size if need be.

        A mask without foreground says that the object is not there: on its own, it tracks nothing.

        Raises:
            InputError: there is no such frame, or it is no mask.
        """
        state, frame_idx = inference_state, int(frame_idx)
        prompt = mask_of(mask, state.source.info.size)
        if prompt is not None:
            return self._show(state, frame_idx, obj_id, prompt)
        state.show_absent(obj_id, frame_idx)
        return self._answer(state, frame_idx)

    def propagate_in_video_preflight(self, inference_state: InferenceState) -> None:
        """What is done before propagation begins: from here on, prompts are part of the past.

        Raises:
            InputError: nothing was prompted.
        """
        inference_state.first_prompted()
        inference_state.pending.clear()

    def propagate_in_video(
        self,
        inference_state: InferenceState,
        start_frame_idx: int | None = None,
        max_frame_num_to_track: int | None = None,
        reverse: bool = False,
        init_mask: Numbers | None = None,
        tokenizer: object = None,
        mllm_memory_size: int | None = None,
    ) -> Iterator[Answer]:
        """Follow all objects. As in SAM 2 they are also looked for before their first prompt.

        Args:
            inference_state: from `init_state`.
            start_frame_idx: where to begin; the earliest prompted frame if left out.
            max_frame_num_to_track: how many frames after that one; all if left out.
            reverse: play backwards. As in SAM 2 nothing is played from frame 0.
            init_mask: SeC's: the object's mask on the first frame; it is shown where nothing was.
            tokenizer: SeC's; of no consequence: the one that belongs to the weights is used.
            mllm_memory_size: SeC's: how many keyframes an object has.

        Yields:
            The frame, all objects, and their logits (O, 1, H, W).

        Raises:
            InputError: nothing was prompted, or there is no frame to begin with.
        """
        state = inference_state
        self._sync(state, mllm_memory_size)
        if init_mask is not None and not state.obj_ids:
            self.add_new_mask(state, start_frame_idx or 0, 1, init_mask)
        self.propagate_in_video_preflight(state)
        start = state.first_prompted() if start_frame_idx is None else int(start_frame_idx)
        if start < 0:
            raise InputError(f"there is no frame {start}: frames count from 0")
        if reverse and start == 0:
            return
        for frame in state.source.backwards(start) if reverse else state.source.frames(start):
            if max_frame_num_to_track is not None and (
                abs(frame.index - start) > max_frame_num_to_track
            ):
                return
            with self._numbers():
                if state.session.tracks:
                    state.session.step(state.seen(frame), backwards=reverse)
                masks = state.masks(frame.index, propagated=True)
            yield frame.index, list(state.obj_ids), masks

    def clear_all_prompts_in_frame(
        self,
        inference_state: InferenceState,
        frame_idx: int,
        obj_id: int,
        need_output: bool = True,
    ) -> Answer | None:
        """Take back every prompt of an object on a frame; the answer is as that of a prompt.

        As in SAM 2 a prompt since the last propagation leaves nothing behind; an older one stays
        as a frame that was tracked.

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
        self._sync(state)
        with self._numbers():
            state.show(obj_id, index, prompt)
        return self._answer(state, index)

    def _answer(self, state: InferenceState, index: int) -> Answer:
        self._sync(state)
        with self._numbers():
            return index, list(state.obj_ids), state.masks(index)

    def _sync(self, state: InferenceState, keyframes: int | None = None) -> None:
        """Settings that were changed since the state was made hold for it too."""
        policy = state.session.tracker.policy
        state.session.tracker = replace(
            self.tracker,
            policy=policy,
            track_before_prompt=True,
            keyframes=keyframes or state.session.tracker.keyframes,
        )

    def _numbers(self) -> ExitStack:
        """SAM 2.1 heeds a script's autocast; others keep the numbers they were loaded with."""
        stack = ExitStack()
        if not isinstance(self.tracker.segmenter, Sam2Segmenter):
            for kind in ("cpu", "cuda"):
                stack.enter_context(torch.autocast(kind, enabled=False))
        return stack

    def _get_obj_num(self, inference_state: InferenceState) -> int:
        return len(inference_state.obj_ids)

    def _obj_id_to_idx(self, inference_state: InferenceState, obj_id: int) -> int:
        _check_known(inference_state, obj_id)
        return inference_state.obj_id_to_idx[obj_id]

    def _obj_idx_to_id(self, inference_state: InferenceState, obj_idx: int) -> int:
        return inference_state.obj_ids[obj_idx]


def _check_known(state: InferenceState, obj_id: int) -> None:
    if obj_id not in state.obj_ids:
        raise InputError(f"there is no object {obj_id}: there are {state.obj_ids}")

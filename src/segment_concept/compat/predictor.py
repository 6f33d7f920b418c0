"""SAM 2's video predictor: its names and signatures on top of a tracker of this package.

It follows SAM 2's documented and observed behavior; docstrings state intended differences. Frames
are read on demand, never all at once.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import islice
from operator import index
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from segment_concept.compat.build import build_tracker
from segment_concept.compat.module import ModuleLike
from segment_concept.compat.prompts import Numbers, clicks_of, joined, mask_of
from segment_concept.compat.state import InferenceState, KeepAllMemories
from segment_concept.models.sam2.segmenter import Sam2Segmenter
from segment_concept.recipes import Recipe
from segment_concept.runtime.parallel import core_pool, pool_in_use
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.prefetch import EncodedFrame, encode_ahead
from segment_concept.tracking.segmenter import Features
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import Box, Frame, InputError, Points, Prompt
from segment_concept.video import open_video
from segment_concept.video.memory_frames import MemoryVideo
from segment_concept.video.source import VideoSource

_PREFETCH = 2  # encoded frames that may wait

Answer: TypeAlias = tuple[int, list[int], Tensor]  # frame, objects, logits (O, 1, H, W)


class VideoPredictor(ModuleLike):
    """`SAM2VideoPredictor` for any recipe.

    Args:
        tracker: the tracker to use.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    @classmethod
    def from_pretrained(
        cls, model_id: str | Path | Recipe, *, device: str | torch.device = "auto", **settings: Any
    ) -> "VideoPredictor":
        """Load a predictor.

        Args:
            model_id: `facebook/sam2.1-hiera-large` or another size; `OpenIXCLab/SeC-4B`; the name
                of a recipe (`sec_compact`); a file or folder with such weights; or a recipe.
            device: see `load_tracker`.
            settings: settings of `build_sam2_video_predictor`.

        Raises:
            InputError: the name is unknown, or a setting does not apply to the network.
            CheckpointError: the weights are missing, damaged or belong to another network.
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
            video_path: an image folder, a video file, an open source, or frames in memory (see
                `MemoryFrames`).
            offload_video_to_cpu: ignored; frames are read on demand.
            offload_state_to_cpu: bound the memory. By default, as in SAM 2, the state keeps the
                memories of all frames, so that any frame can be corrected. With this option only
                memories that can still be recalled are kept; frames without one can be prompted
                again but not corrected.
            async_loading_frames: ignored.

        Raises:
            InputError: there is no such video, or it is live and cannot be played again.
        """
        source = video_path if isinstance(video_path, VideoSource) else open_video(video_path)
        if source.info.live:
            raise InputError(f"{source.name} is live: use a CameraPredictor, frame by frame")
        return self.start(source, remember_all=not offload_state_to_cpu)

    def start(self, source: VideoSource, *, remember_all: bool) -> InferenceState:
        """A state of an open video; with `remember_all` each frame can be corrected later."""
        policy = self.tracker.policy
        frames = source.info.frames
        if isinstance(policy, RecentMemory | ReliableMemory) and frames is not None:
            # SAM 2 uses the length of the video to normalize pointer distances in short videos
            policy = replace(policy, video_length=frames)
        kept = KeepAllMemories(policy) if remember_all else policy
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
        """Prompt an object with clicks, a box, or both; corrects it on a frame with a mask.

        Args:
            inference_state: from `init_state`.
            frame_idx: frame index.
            obj_id: any integer; new objects can be added at any time.
            points: (N, 2), x and y.
            labels: (N,), 1 for foreground, 0 for background.
            clear_old_points: replace earlier points of the object on this frame.
            normalize_coords: True if x and y are pixels of the video, False if they are fractions
                of its width and height.
            box: x0, y0, x1, y1, in the same unit.

        Returns:
            The frame index, all object ids, and their logits (O, 1, H, W) on that frame.

        Raises:
            InputError: there is no such frame, or the prompt is not usable.
        """
        state, frame_idx = inference_state, _frame_number(frame_idx)
        size = state.video_height, state.video_width
        scale = (1.0, 1.0) if normalize_coords else (size[1], size[0])
        prompt = clicks_of(points, labels, box, scale, size)
        old = state.prompts.get(obj_id, {}).get(frame_idx)
        if not clear_old_points and isinstance(prompt, Box):
            raise InputError("a box comes before any point: leave clear_old_points=True")
        if not clear_old_points and isinstance(old, Points | Box):
            prompt = joined(old, prompt)
        return self._prompt(state, frame_idx, obj_id, prompt)

    def add_new_points(self, *args: Any, **kwargs: Any) -> Answer:
        """Older name of `add_new_points_or_box`."""
        return self.add_new_points_or_box(*args, **kwargs)

    def add_new_mask(
        self, inference_state: InferenceState, frame_idx: int, obj_id: int, mask: Numbers
    ) -> Answer:
        """Prompt an object with a mask (h, w), which is resized to the video if needed.

        A mask without foreground means that the object is absent on this frame.

        Raises:
            InputError: there is no such frame, or the mask is not usable.
        """
        state, frame_idx = inference_state, _frame_number(frame_idx)
        prompt = mask_of(mask, state.source.info.size)
        if prompt is not None:
            return self._prompt(state, frame_idx, obj_id, prompt)
        state.mark_absent(obj_id, frame_idx)
        return self._answer(state, frame_idx)

    def propagate_in_video_preflight(self, inference_state: InferenceState) -> None:
        """Finish prompting before propagation.

        Raises:
            InputError: no object was prompted.
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
        """Track all objects; as in SAM 2, also on frames before their first prompt.

        Args:
            inference_state: from `init_state`.
            start_frame_idx: first frame. Default: the earliest prompted frame.
            max_frame_num_to_track: number of frames after the first. Default: all.
            reverse: play backwards. As in SAM 2, nothing is played from frame 0.
            init_mask: mask of object 1 on the first frame, if no object was prompted (from SeC).
            tokenizer: ignored; the tokenizer of the weights is used (from SeC).
            mllm_memory_size: number of keyframes per object (from SeC).

        Yields:
            The frame index, all object ids, and their logits (O, 1, H, W).

        Raises:
            InputError: no object was prompted, or the first frame does not exist.
        """
        state = inference_state
        self._sync(state, mllm_memory_size)
        if init_mask is not None and not state.obj_ids:
            self.add_new_mask(state, start_frame_idx or 0, 1, init_mask)
        self.propagate_in_video_preflight(state)
        start = (
            state.first_prompted() if start_frame_idx is None else _frame_number(start_frame_idx)
        )
        if reverse and start == 0:
            return
        frames = state.source.backwards(start) if reverse else state.source.frames(start)
        if max_frame_num_to_track is not None:
            frames = islice(frames, max_frame_num_to_track + 1)
        with ExitStack() as stack:
            pool = stack.enter_context(core_pool()) if self.tracker.share_cores else None
            ahead = stack.enter_context(closing(self._encode_ahead(frames)))
            for frame, features in ahead:
                with pool_in_use(pool):
                    answer = self.follow(state, frame, features, backwards=reverse)
                yield answer

    def _encode_ahead(self, frames: Iterable[Frame]) -> Generator[EncodedFrame, None, None]:
        """Frames with their features, encoded in another thread under the caller's autocast."""
        kind = self.device.type
        # autocast belongs to a thread
        enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        enabled = enabled and isinstance(self.tracker.segmenter, Sam2Segmenter)

        def encode(frame: Frame) -> Features[Any]:
            with torch.autocast(kind, dtype=dtype, enabled=enabled):
                return self.tracker.segmenter.encode([frame])

        return encode_ahead(encode, frames, _PREFETCH)

    def follow(
        self,
        state: InferenceState,
        frame: Frame,
        features: Features[Any] | None = None,
        *,
        backwards: bool = False,
    ) -> Answer:
        """All objects on one more frame, which comes after the one before (or before it)."""
        with self._numbers():
            if state.session.tracks:
                state.session.step(state.seen(frame), features=features, backwards=backwards)
            masks = state.masks(frame.index, propagated=True)
        return frame.index, list(state.obj_ids), masks

    def clear_all_prompts_in_frame(
        self,
        inference_state: InferenceState,
        frame_idx: int,
        obj_id: int,
        need_output: bool = True,
    ) -> Answer | None:
        """Remove all prompts of an object on a frame; returns the same as a prompt.

        As in SAM 2, a prompt after the last propagation is removed completely; an older one becomes
        a tracked frame.

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
        """Remove an object.

        Returns:
            The remaining object ids and, with `need_output`, their logits on every frame on which
            the removed object was prompted.

        Raises:
            InputError: `strict` is set and there is no such object.
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
        """Remove all objects; the video stays open."""
        inference_state.reset()

    def _prompt(self, state: InferenceState, index: int, obj_id: int, prompt: Prompt) -> Answer:
        self._sync(state)
        with self._numbers():
            state.prompt(obj_id, index, prompt)
        return self._answer(state, index)

    def _answer(self, state: InferenceState, index: int) -> Answer:
        self._sync(state)
        with self._numbers():
            return index, list(state.obj_ids), state.masks(index)

    def _sync(self, state: InferenceState, keyframes: int | None = None) -> None:
        """Apply settings that were changed after the state was created."""
        policy = state.session.tracker.policy
        state.session.tracker = replace(
            self.tracker,
            policy=policy,
            track_before_prompt=True,
            keyframes=keyframes or state.session.tracker.keyframes,
        )

    def _numbers(self) -> ExitStack:
        """Disable autocast for networks other than SAM 2.1, which keep their data type."""
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


def _frame_number(value: Any) -> int:
    """A frame's number of any integer type. Raises InputError."""
    try:
        number = index(value)
    except TypeError as error:
        raise InputError(f"a frame's number is a whole number, got {value!r}") from error
    if number < 0:
        raise InputError(f"there is no frame {number}: frames count from 0")
    return number


def _check_known(state: InferenceState, obj_id: int) -> None:
    if obj_id not in state.obj_ids:
        raise InputError(f"there is no object {obj_id}; known objects: {state.obj_ids}")

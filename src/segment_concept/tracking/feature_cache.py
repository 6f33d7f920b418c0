"""Image features of a video's frames, computed once and shared by its sessions."""

from collections import OrderedDict
from threading import Lock
from typing import Any

import torch

from segment_concept.tracking.segmenter import Features, Segmenter
from segment_concept.types import Frame, InputError


class FeatureCache:
    """The image features of the frames of one video that were asked for last.

    Several sessions, also in several threads, may share it. Features do not depend on prompts or
    objects, so results do not change.

    Args:
        segmenter: the network; all sessions that share the cache need the same one.
        max_frames: features of more frames are not kept. One frame of 854x480 takes about 11 MB
            with the compact network.

    Raises:
        ValueError: `max_frames` is below 1.
    """

    def __init__(self, segmenter: Segmenter, max_frames: int = 16) -> None:
        if max_frames < 1:
            raise ValueError(f"max_frames must be at least 1, got {max_frames}")
        self._segmenter, self._max_frames = segmenter, max_frames
        self._place = self._present_place()
        self._known: OrderedDict[int, Features[Any]] = OrderedDict()  # by frame index
        self._lock = Lock()

    @property
    def segmenter(self) -> Segmenter:
        """The network whose features these are."""
        return self._segmenter

    def __contains__(self, frame_index: int) -> bool:
        """Whether the features of a frame are kept."""
        with self._lock:
            return frame_index in self._known

    def features(self, frame: Frame) -> Features[Any]:
        """The features of a frame, encoded if they are not kept.

        Raises:
            InputError: a frame with this index but of another size was encoded before.
        """
        with self._lock:
            if self._place != self._present_place():  # the network was moved or converted
                self._known.clear()
                self._place = self._present_place()
            found = self._known.get(frame.index)
            if found is not None:
                self._known.move_to_end(frame.index)
        if found is None:
            with torch.inference_mode():
                found = self._segmenter.encode([frame])
            self._keep(frame.index, found)
        elif found.video_size != frame.size:
            (h, w), (h0, w0) = frame.size, found.video_size
            raise InputError(
                f"frame {frame.index} is {w}x{h} but was {w0}x{h0} before: "
                "use a feature cache for one video only"
            )
        return found

    def _present_place(self) -> tuple[object, object]:
        """Device and number type of the network."""
        return getattr(self._segmenter, "device", None), getattr(self._segmenter, "dtype", None)

    def _keep(self, frame_index: int, features: Features[Any]) -> None:
        with self._lock:
            self._known[frame_index] = features
            self._known.move_to_end(frame_index)
            while len(self._known) > self._max_frames:
                self._known.popitem(last=False)

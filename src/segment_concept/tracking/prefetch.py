"""Frames encoded before their turn, beside the tracking of those before them.

An image encoder knows nothing of objects, so a frame can be encoded while the one before it is
still tracked: two cores then have two different things to do, which costs less than sharing one.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from segment_concept.tracking.memory import Recall
from segment_concept.tracking.segmenter import (
    Concept,
    Features,
    Proposals,
    Segmenter,
    SelectedMasks,
)
from segment_concept.types import Frame, Prompt


class PrefetchingSegmenter:
    """A segmenter that may have encoded a frame already when it is asked to.

    Args:
        segmenter: the network.
        at_most: frames to hold. Beyond that the oldest is let go, and encoded again when asked for.
    """

    def __init__(self, segmenter: Segmenter, at_most: int) -> None:
        if at_most < 1:
            raise ValueError(f"a lookout holds at least 1 frame, got {at_most}")
        self._segmenter, self._at_most = segmenter, at_most
        self._known: OrderedDict[int, tuple[Frame, Features[Any]]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        """Frames that were encoded and not yet asked for."""
        return len(self._known)

    def prefetch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The same frames, each encoded before it is passed on. For another thread to iterate."""
        for frame in frames:
            with torch.inference_mode():
                features = self._segmenter.encode([frame])
            with self._lock:
                self._known[id(frame)] = frame, features  # holding it keeps the id its own
                if len(self._known) > self._at_most:
                    self._known.popitem(last=False)
            yield frame

    def encode(self, frames: Sequence[Frame]) -> Features[Any]:
        """As the network would. What was encoded before is handed out once."""
        if len(frames) == 1:
            with self._lock:
                known = self._known.pop(id(frames[0]), None)
            if known is not None:
                return known[1]
        return self._segmenter.encode(frames)

    def segment(
        self,
        features: Features[Any],
        prompts: Sequence[Prompt],
        previous: Sequence[Tensor | None],
        recalls: Sequence[Recall | None],
        images: Sequence[int],
    ) -> Proposals:
        """The network's."""
        return self._segmenter.segment(features, prompts, previous, recalls, images)

    def propose(
        self,
        features: Features[Any],
        recalls: Sequence[Recall],
        concepts: Sequence[Concept | None],
        images: Sequence[int],
    ) -> Proposals:
        """The network's."""
        return self._segmenter.propose(features, recalls, concepts, images)

    def memorize(
        self,
        features: Features[Any],
        believed: SelectedMasks,
        images: Sequence[int],
        *,
        prompted: bool,
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        """The network's."""
        return self._segmenter.memorize(features, believed, images, prompted=prompted)

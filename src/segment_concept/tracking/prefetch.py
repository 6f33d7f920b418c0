"""Read and encode frames in another thread, before they are tracked.

An image encoder does not depend on objects, so the next frame can be encoded while the current
one is tracked. Two cores with a task each need less time than two cores that share one task.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeAlias

import torch

from segment_concept.runtime.background import read_ahead
from segment_concept.tracking.segmenter import Features
from segment_concept.types import Frame

EncodedFrame: TypeAlias = tuple[Frame, Features[Any]]


def encode_ahead(
    encode: Callable[[Frame], Features[Any]], frames: Iterable[Frame], depth: int
) -> Generator[EncodedFrame, None, None]:
    """The frames, each with its features, in order.

    Args:
        encode: computes the features of a frame.
        frames: read in another thread only.
        depth: how many encoded frames may wait; at least 1. One more is being encoded.
    """

    def encoded() -> Iterator[EncodedFrame]:
        for frame in frames:
            with torch.inference_mode():  # the mode belongs to a thread
                features = encode(frame)
            yield frame, features

    return read_ahead(encoded(), depth)

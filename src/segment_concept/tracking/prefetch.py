"""Read and encode frames in another thread, before they are tracked.

An image encoder does not depend on objects, so the next frame can be encoded while the current
one is tracked. Two cores with a task each need less time than two cores that share one task. On a
GPU the encoder has a stream of its own, so that its kernels fill the gaps that tracking leaves.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Any, TypeAlias

import torch
from torch import Tensor

from segment_concept.runtime.background import read_ahead
from segment_concept.runtime.streams import SideStream, tensors_of
from segment_concept.tracking.segmenter import Features
from segment_concept.types import Frame

EncodedFrame: TypeAlias = tuple[Frame, Features[Any]]
Join: TypeAlias = Callable[[Iterable[Tensor]], None]

CPU = torch.device("cpu")


def encode_ahead(
    encode: Callable[[Frame], Features[Any]],
    frames: Iterable[Frame],
    depth: int,
    device: torch.device | None = None,
) -> Generator[EncodedFrame, None, None]:
    """The frames, each with its features, in order.

    Args:
        encode: computes the features of a frame.
        frames: read in another thread only.
        depth: how many encoded frames may wait; at least 1. One more is being encoded.
        device: a GPU on which to encode beside other work; None to encode in its order.
    """
    side = SideStream(device or CPU)

    def encoded() -> Iterator[tuple[EncodedFrame, Join]]:
        for frame in frames:
            with torch.inference_mode(), side.use():  # both belong to a thread
                features = encode(frame)
            yield (frame, features), side.mark()

    with closing(read_ahead(encoded(), depth)) as waiting:
        for (frame, features), join in waiting:
            join(tensors_of(features.maps))
            yield frame, features

"""Dictionary access to the inference state, with SAM 2's keys."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segment_concept.ops.resize import normalized_square
from segment_concept.video.source import VideoSource, read_frame

_ENTRIES = (
    "images",
    "num_frames",
    "video_height",
    "video_width",
    "device",
    "storage_device",
    "obj_ids",
    "obj_id_to_idx",
    "obj_idx_to_id",
)


class DictLike(Mapping[str, Any]):
    """Read-only access by key to properties of the class."""

    def __getitem__(self, key: str) -> Any:
        """Return an entry of SAM 2's dictionary. Raises KeyError for an unknown key."""
        if key not in _ENTRIES:
            raise KeyError(
                f"{key!r}: available keys are {', '.join(_ENTRIES)}; memories are in "
                "`session.tracks`, prompts in `prompts`"
            )
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(_ENTRIES)

    def __len__(self) -> int:
        return len(_ENTRIES)


class Images(Sequence[Tensor]):
    """The frames of a video in SAM 2's format, read on access.

    Args:
        source: the video.
        count: number of frames.
        side: side of the network's square input, in pixels.
        device: device of the returned tensors.
    """

    def __init__(self, source: VideoSource, count: int, side: int, device: torch.device) -> None:
        self._source, self._count, self._side, self._device = source, count, side, device

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        """Return a frame as (3, S, S), resized and normalized with ImageNet's statistics.

        Raises:
            IndexError: there is no such frame.
        """
        if isinstance(index, slice):
            return torch.stack([self[i] for i in range(*index.indices(self._count))])
        at = int(index) + (self._count if index < 0 else 0)
        if not 0 <= at < self._count:
            raise IndexError(f"frame {index} of {self._count}")
        frame = read_frame(self._source, at)
        return normalized_square(frame.rgb, self._side).to(self._device)

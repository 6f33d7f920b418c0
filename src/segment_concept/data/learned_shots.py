"""Where a video that lies there as a whole cuts, by a learned shot detector."""

from collections.abc import Iterable, Iterator

import torch

from segment_concept.models.transnet import PICTURE, TransNet, ends_of_shots
from segment_concept.ops.shots import thumbnail
from segment_concept.types import Frame

ENDS_ABOVE = 0.5  # score of TransNet V2 above which a shot ends, as published


def learned_cuts(frames: Iterable[Frame], network: TransNet) -> Iterator[int]:
    """Indices of the frames that begin a new shot, by TransNet V2, as they are found.

    Of a transition that takes several frames it is the first one after it. A hundred pictures of
    48x27 pixels are held, however long the video is.
    """
    indices: list[int] = []  # of the frames whose score is still to come

    def pictures() -> Iterator[torch.Tensor]:
        for frame in frames:
            indices.append(frame.index)
            yield torch.from_numpy(thumbnail(frame.rgb, PICTURE))

    ending = False
    for score in ends_of_shots(pictures(), network):
        index = indices.pop(0)
        ended, ending = ending, score > ENDS_ABOVE
        if ended and not ending:
            yield index

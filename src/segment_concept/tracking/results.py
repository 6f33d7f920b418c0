"""Results in the size of the video: logits are resized, and results of one frame merged."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.ops.guided import guided_upsample
from segment_concept.types import FrameResult, Image

SUPPRESSED_LOGIT = -10.0  # SAM 2 clamps a pixel that another object claims to at most this


def upsample_logits(
    small: Sequence[Tensor],
    size: tuple[int, int],
    *,
    non_overlapping: bool,
    picture: Image | None = None,
) -> Tensor:
    """Logits (h, w) of O objects in the size of the video: (O, H, W) float32.

    With the frame's picture (H, W, 3), contours follow its edges.
    """
    if not small:
        return torch.zeros((0, *size))
    stacked = torch.stack(list(small)).float()
    if picture is not None:
        logits = guided_upsample(stacked, picture)
    else:
        logits = F.interpolate(stacked[:, None], size, mode="bilinear")[:, 0]
    return suppress_overlap(logits) if non_overlapping else logits


def suppress_overlap(logits_OHW: Tensor) -> Tensor:
    """The highest logit keeps a pixel, the others are clamped to at most -10, as in SAM 2."""
    if len(logits_OHW) < 2:
        return logits_OHW
    winner_HW = logits_OHW.argmax(dim=0)
    rows = torch.arange(len(logits_OHW), device=logits_OHW.device)[:, None, None]
    return torch.where(rows == winner_HW, logits_OHW, logits_OHW.clamp(max=SUPPRESSED_LOGIT))


def merge_results(tracked: FrameResult, prompted: FrameResult) -> FrameResult:
    """One result of two for the same frame: prompted objects replace tracked ones.

    Returns:
        The objects that were only tracked, followed by the prompted ones. All that concerns the
        whole frame is taken from `tracked`.
    """
    rows = [row for row, i in enumerate(tracked.object_ids) if i not in prompted.object_ids]
    return replace(
        tracked,
        object_ids=(*(tracked.object_ids[row] for row in rows), *prompted.object_ids),
        logits=torch.cat((tracked.logits[rows], prompted.logits)),
        presence=torch.cat((tracked.presence[rows], prompted.presence)),
        quality=torch.cat((tracked.quality[rows], prompted.quality)),
        keyframes=(
            *(tracked.keyframes[row] for row in rows if tracked.keyframes),
            *prompted.keyframes,
        ),
    )

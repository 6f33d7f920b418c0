"""Comparing what two platforms compute: logits within a tolerance, and the masks made from them.

A mask is what lies above a threshold, so a pixel whose logit is within the tolerance of the
threshold may fall on either side. Such pixels are undecided; all others have to agree.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

LOGITS = 1e-3
"""For networks of 128 px; memories are stored in bfloat16, and logits in float32."""

PROPAGATED = 2e-2
"""For tracking that starts from a click or a box: the official code itself differs by up to 1.1e-2
between platforms there."""


def close(ours: Tensor, reference: Any, within: float = LOGITS) -> None:
    """Every number within `within` of the reference's."""
    expected = torch.as_tensor(reference).float()
    torch.testing.assert_close(ours.float(), expected, atol=within, rtol=0)


def undecided(logits: Tensor, within: float) -> int:
    """How many logits are so near to 0 that their sign may differ between platforms."""
    return int((logits.abs() <= within).sum())


def same_masks(logits: Tensor, expected: ArrayLike, within: float) -> None:
    """`logits > 0` is the expected mask, but for undecided pixels."""
    wanted = torch.from_numpy(np.asarray(expected, bool)).reshape(logits.shape)
    differing = (logits > 0) != wanted
    worst = logits[differing].abs().max().item() if differing.any() else 0.0
    assert worst <= within, f"{int(differing.sum())} pixels differ, by logits of up to {worst:.2e}"


def same_count(logits: Tensor, expected: int, within: float) -> None:
    """As many pixels are foreground as expected, give or take those that are undecided."""
    count, loose = int((logits > 0).sum()), undecided(logits, within)
    assert abs(count - expected) <= loose, f"{count} pixels, expected {expected}, {loose} undecided"

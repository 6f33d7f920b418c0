"""Products of matrices by oneDNN, which torch has inside but does not choose for them.

For float32 torch on a CPU calls MKL, which on AMD's processors takes twice to three times as long
(docs/LOG.md); results are equal to rounding. None of this is differentiable, and where it cannot be
had torch's own operators do the same.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# A larger result is not kept when it is freed (checkpoints/allocator.py), and the system clears its
# pages on every frame again, which takes longer than the product.
_LARGEST = 30 << 20  # bytes
_OPERATORS = ("_linear_pointwise", "_convolution_pointwise", "_reorder_convolution_weight")
AVAILABLE = torch.backends.mkldnn.is_available() and all(
    hasattr(torch.ops.mkldnn, name) for name in _OPERATORS
)


def usable(like: Tensor) -> bool:
    """For float32 numbers on a CPU of which no gradient is wanted."""
    return (
        AVAILABLE
        and like.device.type == "cpu"
        and like.dtype == torch.float32
        and not torch.is_grad_enabled()
        and bool(torch.backends.mkldnn.enabled)
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., C) @ weight (D, C) transposed, plus bias (D,)."""
    if not usable(x):
        return F.linear(x, weight, bias)
    # Of a slice of a wider matrix oneDNN has only a reference, a thousand times as slow.
    dense = x.contiguous(), weight.contiguous()
    found: Tensor = torch.ops.mkldnn._linear_pointwise(*dense, bias, "none", [], "")
    return found


def in_blocks(x: Tensor, width: int) -> Sequence[Tensor]:
    """x (L, C), some rows at a time: a result of `width` columns for them is kept when freed."""
    if not usable(x):
        return (x,)
    at_most = max(1, _LARGEST // (width * x.element_size()))
    return x.tensor_split(max(1, -(-len(x) // at_most)))

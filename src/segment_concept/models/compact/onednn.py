"""Matrix products by oneDNN, which torch contains but does not use for them.

For float32 on a CPU torch calls MKL. On AMD processors MKL takes up to three times as long
(docs/LOG.md); on others there is little difference. Results are equal up to rounding. These
operators are not differentiable; if they cannot be used, torch's own operators are.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Larger blocks go back to the system when they are freed (`runtime.cpu_memory`), which then clears
# their pages again on every frame; that takes longer than the product.
_LARGEST = 30 << 20  # bytes
_OPERATORS = ("_linear_pointwise", "_convolution_pointwise", "_reorder_convolution_weight")
AVAILABLE = torch.backends.mkldnn.is_available() and all(
    hasattr(torch.ops.mkldnn, name) for name in _OPERATORS
)


def usable(like: Tensor) -> bool:
    """Whether the operators can be used: float32 on a CPU, without gradients."""
    return (
        AVAILABLE
        and like.device.type == "cpu"
        and like.dtype == torch.float32
        and not torch.is_grad_enabled()
        and bool(torch.backends.mkldnn.enabled)
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., C) @ weight^T + bias, with weight (D, C) and bias (D,)."""
    if not usable(x):
        return F.linear(x, weight, bias)
    # For slices of wider matrices oneDNN has only a reference kernel, a thousand times slower.
    dense = x.contiguous(), weight.contiguous()
    product: Tensor = torch.ops.mkldnn._linear_pointwise(*dense, bias, "none", [], "")
    return product


def in_blocks(x: Tensor, width: int) -> Sequence[Tensor]:
    """x (L, C) in blocks of rows whose results with `width` columns stay below `_LARGEST` bytes."""
    if not usable(x):
        return (x,)
    at_most = max(1, _LARGEST // (width * x.element_size()))
    return x.tensor_split(max(1, -(-len(x) // at_most)))

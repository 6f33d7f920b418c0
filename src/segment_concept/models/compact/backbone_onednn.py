"""The backbone with oneDNN kernels: the fastest form on a CPU.

Outputs equal those of `Backbone` to rounding. Differences: a convolution and its ReLU6 are one
oneDNN call; weights are laid out once per input size, not once per frame; stride-2 convolutions
use a kernel that is one wider in place of padding; the largest feature map is computed in strips,
because an allocation of that size is rarely reused and the system clears a new one each time.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.models.compact import onednn
from segment_concept.models.compact.backbone import Backbone, MobileBlock, SameConv

_LARGEST = 16 << 20  # bytes of a wide picture that is made at once
_STRIP = 8 << 20  # and of a part of a larger one, about
SIZES = 4  # of pictures, for which laid out weights are kept: 14 MB each

Layer = Callable[[Tensor], Tensor]


def fused(trunk: Backbone) -> Backbone:
    """The same trunk made for inference on a CPU, or the trunk itself where that cannot be had."""
    with torch.no_grad():
        return OneDnnBackbone(trunk) if onednn.usable(trunk.stem.weight) else trunk


class OneDnnBackbone(Backbone):
    """A trunk on a CPU. Its parameters are those it was made of; change one and make it anew."""

    def __init__(self, trunk: Backbone) -> None:
        with torch.device("meta"):
            super().__init__()
        self.load_state_dict(trunk.state_dict(), assign=True)
        self.requires_grad_(False)
        self.train(trunk.training)
        self._laid_out = lru_cache(maxsize=SIZES)(self._lay_out)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        first, layers = self._laid_out((pixels.shape[-2], pixels.shape[-1]))
        x = first((pixels - 127.0) / 128.0)
        levels = []
        for i, layer in enumerate(layers):
            x = layer(x)
            if i in self.is_output:
                levels.append(x)
        return tuple(levels)

    def _lay_out(self, size: tuple[int, int]) -> tuple[Layer, list[Layer]]:
        """The stem and the blocks for pictures (h, w): oneDNN wants other weights for each size."""
        first = fused_conv(self.stem, size, clamped=True)
        h, w = (side // 2 for side in size)
        layers = []
        for block in cast(Sequence[MobileBlock], self.blocks):
            layers.append(_fused_block(block, (h, w)))
            stride = block.depthwise.stride[0]
            h, w = h // stride, w // stride
        return first, layers


def _fused_block(block: MobileBlock, size: tuple[int, int]) -> Layer:
    h, w = size
    stride = block.depthwise.stride[0]
    widened = _widened(block, size)
    project = fused_conv(block.project, (h // stride, w // stride), clamped=False)

    def run(x: Tensor) -> Tensor:
        narrow = project(widened(x))
        return x + narrow if block.residual else narrow

    return run


def _widened(block: MobileBlock, size: tuple[int, int]) -> Layer:
    """A block's first two convolutions, of a single picture in strips where it is large."""
    h, w = size
    depthwise = fused_conv(block.depthwise, size, clamped=True)
    if block.expand is None:
        return depthwise
    expand = fused_conv(block.expand, size, clamped=True)
    needed = 4 * block.depthwise.in_channels * h * w
    if needed <= _LARGEST:
        return lambda x: depthwise(expand(x))
    stride, (k, _) = block.depthwise.stride[0], block.depthwise.kernel_size
    near = block.depthwise.near if stride == 2 else k // 2
    rows = h // stride
    strips = min(rows, -(-needed // _STRIP))
    bounds = [rows * n // strips for n in range(strips + 1)]
    inner = fused_conv(block.depthwise, (h // strips + k, w), clamped=True, padded=False)

    def run(x: Tensor) -> Tensor:
        if len(x) > 1:
            return depthwise(expand(x))
        parts = []
        for begin, end in pairwise(bounds):
            above, below = begin * stride - near, (end - 1) * stride - near + k
            wide = expand(x[:, :, max(0, above) : min(h, below)])
            if above < 0 or below > h:
                wide = F.pad(wide, (0, 0, max(0, -above), max(0, below - h)))
            parts.append(inner(wide))
        return torch.cat(parts, dim=2)

    return run


@torch.no_grad()
def fused_conv(
    conv: SameConv, size: tuple[int, int], *, clamped: bool, padded: bool = True
) -> Layer:
    """A convolution of inputs of about `size` (h, w), `clamped` to [0, 6] in the same pass.

    With stride 2, "same" padding is one more on the far side than on the near one. Under a kernel
    that begins with a row and a column of zeros it is the same on all sides. Where rows are not
    `padded`, the input has those that the kernel reaches over, and no more.
    """
    weight, padding = conv.weight, list(conv.padding)
    if conv.stride[0] == 2:
        weight, padding = F.pad(weight, (1, 0, int(padded), 0)), [conv.near + 1] * 2
    if not padded:
        padding[0] = 0
    rest = (padding, list(conv.stride), list(conv.dilation), conv.groups)
    shape = [1, conv.in_channels, *size]
    laid_out = torch.ops.mkldnn._reorder_convolution_weight(
        weight.contiguous(memory_format=torch.channels_last), *rest, shape
    )
    after = ("hardtanh", [0.0, 6.0], "") if clamped else ("none", [], "")

    def run(x: Tensor) -> Tensor:
        convolved: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, laid_out, conv.bias, *rest, *after
        )
        return convolved

    return run

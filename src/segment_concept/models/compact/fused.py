"""The trunk as it runs fastest on a CPU.

What differs from `Trunk`, for the same numbers to rounding: a convolution and the ReLU6 behind it
are one pass of oneDNN, weights are laid out once for every size of picture and not on every frame,
and a stride of 2 pads nothing beforehand.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.models.compact import onednn
from segment_concept.models.compact.trunk import MobileBlock, SameConv, Trunk

SIZES = 4  # of pictures, for which laid out weights are kept: 14 MB each

Layer = Callable[[Tensor], Tensor]


def fused(trunk: Trunk) -> Trunk:
    """The same trunk made for inference on a CPU, or the trunk itself where that cannot be had."""
    with torch.no_grad():
        return FusedTrunk(trunk) if onednn.usable(trunk.stem.weight) else trunk


class FusedTrunk(Trunk):
    """A trunk on a CPU. Its parameters are those it was made of; change one and make it anew."""

    def __init__(self, trunk: Trunk) -> None:
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
            if i in self.tapped:
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
    expand = None if block.expand is None else fused_conv(block.expand, size, clamped=True)
    depthwise = fused_conv(block.depthwise, size, clamped=True)
    project = fused_conv(block.project, (h // stride, w // stride), clamped=False)

    def run(x: Tensor) -> Tensor:
        narrow = project(depthwise(x if expand is None else expand(x)))
        return x + narrow if block.residual else narrow

    return run


@torch.no_grad()
def fused_conv(conv: SameConv, size: tuple[int, int], *, clamped: bool) -> Layer:
    """A convolution of inputs of `size` (h, w), `clamped` to [0, 6] in the same pass.

    With stride 2, "same" padding is one more on the far side than on the near one. Under a kernel
    that begins with a row and a column of zeros it is the same on all sides.
    """
    weight, padding = conv.weight, list(conv.padding)
    if conv.stride[0] == 2:
        weight, padding = F.pad(weight, (1, 0, 1, 0)), [conv.near + 1] * 2
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

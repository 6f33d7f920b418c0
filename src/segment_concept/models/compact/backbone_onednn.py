"""The backbone with oneDNN kernels: the fastest form on a CPU.

Outputs equal those of `Backbone` to rounding. Differences: a convolution and its ReLU6 are one
oneDNN call; weights are laid out once per input size, not once per frame; stride-2 convolutions
use a kernel that is one wider in place of padding; the largest feature map is computed in strips,
because an allocation of that size is rarely reused and the system clears a new one each time.

With bfloat16 (`runtime.processor`) weights and feature maps are rounded to it between layers, sums
within a layer are float32. The levels then differ by 5 to 6 % of their deviation, and J by nothing
that can be told (docs/LOG.md).
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.models.compact import onednn
from segment_concept.models.compact.backbone import Backbone, MobileBlock, SameConv

_LARGEST = 16 << 20  # bytes of an expanded feature map that is computed at once
_STRIP = 8 << 20  # approximate bytes of a strip of a larger one
SIZES = 4  # input sizes whose reordered weights are cached, 14 MB each

Layer = Callable[[Tensor], Tensor]


def fused(backbone: Backbone, dtype: torch.dtype = torch.float32) -> Backbone:
    """The backbone for inference on a CPU; the given one itself if oneDNN cannot be used.

    Args:
        backbone: with float32 weights.
        dtype: number type of the computation, float32 or bfloat16.
    """
    with torch.no_grad():
        if not onednn.usable(backbone.stem.weight):
            return backbone
        return OneDnnBackbone(backbone, dtype)


def plain(backbone: Backbone) -> Backbone:
    """The backbone without oneDNN's kernels, with the same parameters; itself if it has none."""
    if not isinstance(backbone, OneDnnBackbone):
        return backbone
    with torch.device("meta"):
        made = Backbone()
    made.load_state_dict(backbone.state_dict(), assign=True)
    return made.train(backbone.training).requires_grad_(False)


class OneDnnBackbone(Backbone):
    """A backbone on a CPU. It shares its parameters with `backbone`; do not change them later."""

    def __init__(self, backbone: Backbone, dtype: torch.dtype = torch.float32) -> None:
        with torch.device("meta"):
            super().__init__()
        self._dtype = dtype
        self.load_state_dict(backbone.state_dict(), assign=True)
        self.requires_grad_(False)
        self.train(backbone.training)
        self._layers_for = lru_cache(maxsize=SIZES)(self._make_layers)

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and deepcopy: laid out weights are opaque, and are made again."""
        return {name: value for name, value in self.__dict__.items() if name != "_layers_for"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._layers_for = lru_cache(maxsize=SIZES)(self._make_layers)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        first, layers = self._layers_for((pixels.shape[-2], pixels.shape[-1]))
        x = first(((pixels - 127.0) / 128.0).to(self._dtype))
        levels = []
        for i, layer in enumerate(layers):
            x = layer(x)
            if i in self.is_output:
                levels.append(x.to(pixels.dtype))
        return tuple(levels)

    def _make_layers(self, size: tuple[int, int]) -> tuple[Layer, list[Layer]]:
        """Stem and blocks for inputs of size (h, w); oneDNN orders the weights per input size."""
        first = fused_conv(self.stem, size, self._dtype, clamped=True)
        h, w = (side // 2 for side in size)
        layers = []
        for block in cast(Sequence[MobileBlock], self.blocks):
            layers.append(_fused_block(block, (h, w), self._dtype))
            stride = block.depthwise.stride[0]
            h, w = h // stride, w // stride
        return first, layers


def _fused_block(block: MobileBlock, size: tuple[int, int], dtype: torch.dtype) -> Layer:
    h, w = size
    stride = block.depthwise.stride[0]
    expand = _expand(block, size, dtype)
    project = fused_conv(block.project, (h // stride, w // stride), dtype, clamped=False)

    def run(x: Tensor) -> Tensor:
        projected = project(expand(x))
        return x + projected if block.residual else projected

    return run


def _expand(block: MobileBlock, size: tuple[int, int], dtype: torch.dtype) -> Layer:
    """Expansion and depthwise convolution of a block; in strips if the feature map is large."""
    h, w = size
    depthwise = fused_conv(block.depthwise, size, dtype, clamped=True)
    if block.expand is None:
        return depthwise
    expand = fused_conv(block.expand, size, dtype, clamped=True)
    needed = dtype.itemsize * block.depthwise.in_channels * h * w
    if needed <= _LARGEST:
        return lambda x: depthwise(expand(x))
    stride, (k, _) = block.depthwise.stride[0], block.depthwise.kernel_size
    near = block.depthwise.near if stride == 2 else k // 2
    rows = h // stride
    strips = min(rows, -(-needed // _STRIP))
    bounds = [rows * n // strips for n in range(strips + 1)]
    inner = fused_conv(block.depthwise, (h // strips + k, w), dtype, clamped=True, padded=False)

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
    conv: SameConv,
    size: tuple[int, int],
    dtype: torch.dtype,
    *,
    clamped: bool,
    padded: bool = True,
) -> Layer:
    """A convolution as one oneDNN call.

    With stride 2, "same" padding is larger by one on the far side than on the near side. A kernel
    with an additional first row and column of zeros needs the same padding on all sides.

    Args:
        conv: the convolution.
        size: (h, w) of the inputs, about.
        dtype: number type of inputs and outputs.
        clamped: apply ReLU6 in the same pass.
        padded: pad rows; otherwise the input contains the rows that the kernel needs.
    """
    weight, bias, padding = conv.weight.to(dtype), conv.bias, list(conv.padding)
    bias = None if bias is None else bias.to(dtype)
    if conv.stride[0] == 2:
        weight, padding = F.pad(weight, (1, 0, int(padded), 0)), [conv.near + 1] * 2
    if not padded:
        padding[0] = 0
    rest = (padding, list(conv.stride), list(conv.dilation), conv.groups)
    shape = [1, conv.in_channels, *size]
    reordered = torch.ops.mkldnn._reorder_convolution_weight(
        weight.contiguous(memory_format=torch.channels_last), *rest, shape
    )
    after = ("hardtanh", [0.0, 6.0], "") if clamped else ("none", [], "")

    def run(x: Tensor) -> Tensor:
        convolved: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, reordered, bias, *rest, *after
        )
        return convolved

    return run

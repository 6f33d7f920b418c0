"""EfficientNet-Lite0 as an image trunk, batch normalisation folded away.

Architecture and preprocessing (pixels - 127) / 128 are those of the ImageNet classifier whose
weights are folded in by `checkpoints.trunk`. The trunk is frozen: it is never trained here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDES = (4, 8, 16, 32)
CHANNELS = (24, 40, 112, 320)


@dataclass(frozen=True, slots=True)
class _Stage:
    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int
    is_output: bool  # is its output one of the trunk's levels?


_STEM = 32
_STAGES = (
    _Stage(1, 3, 1, 1, 16, False),
    _Stage(2, 3, 2, 6, 24, True),
    _Stage(2, 5, 2, 6, 40, True),
    _Stage(3, 3, 2, 6, 80, False),
    _Stage(3, 5, 1, 6, 112, True),
    _Stage(4, 5, 2, 6, 192, False),
    _Stage(1, 3, 1, 6, 320, True),
)


class SameConv(nn.Conv2d):
    """TensorFlow's "same" padding: with stride 2 the odd pixel goes to the far side."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1):
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(c_in, c_out, kernel, stride, padding, groups=groups)
        self.near, self.far = (kernel - 2) // 2, (kernel - 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 2:
            x = F.pad(x, (self.near, self.far, self.near, self.far))
        convolved: Tensor = super().forward(x)
        return convolved


class MobileBlock(nn.Module):
    """Inverted residual: widen, depthwise convolution, narrow."""

    def __init__(self, c_in: int, stage: _Stage, stride: int):
        super().__init__()
        wide = c_in * stage.expand
        self.expand = SameConv(c_in, wide, 1) if stage.expand != 1 else None
        self.depthwise = SameConv(wide, wide, stage.kernel, stride, groups=wide)
        self.project = SameConv(wide, stage.channels, 1)
        self.residual = stride == 1 and c_in == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = F.relu6(self.depthwise(y), inplace=True)
        narrow: Tensor = self.project(y)
        return x + narrow if self.residual else narrow


class Backbone(nn.Module):
    """(B, 3, H, W) float pixels in [0, 255], H and W multiples of 32 -> four levels.

    Level i is (B, CHANNELS[i], H / STRIDES[i], W / STRIDES[i]).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, _STEM, 3, 2)
        self.blocks = nn.ModuleList(block for block, _ in _blocks())
        self.is_output = {i for i, (_, is_output) in enumerate(_blocks()) if is_output}

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        x = F.relu6(self.stem((pixels - 127.0) / 128.0), inplace=True)
        levels = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.is_output:
                levels.append(x)
        return tuple(levels)

    def channels_last(self) -> "Backbone":
        """Lay the weights out as convolutions on a CPU are fastest. Returns itself."""
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return self


def _blocks() -> Iterator[tuple[MobileBlock, bool]]:
    c_in = _STEM
    for stage in _STAGES:
        for n in range(stage.repeats):
            last = n == stage.repeats - 1
            yield MobileBlock(c_in, stage, stage.stride if n == 0 else 1), stage.is_output and last
            c_in = stage.channels

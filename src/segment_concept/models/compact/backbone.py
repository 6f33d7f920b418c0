"""EfficientNet-Lite0 as the image backbone, with batch normalization folded into the weights.

Architecture and preprocessing (pixels - 127) / 128 are those of the ImageNet classifier whose
weights `checkpoints.efficientnet` converts. The backbone is frozen: it is never trained here.
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
    is_output: bool  # is its output one of the backbone's levels?


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
    """Convolution with TensorFlow's "same" padding: with stride 2, more on the far side."""

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
    """Inverted residual block (MobileNetV2): expansion, depthwise convolution, projection."""

    def __init__(self, c_in: int, stage: _Stage, stride: int):
        super().__init__()
        inner = c_in * stage.expand
        self.expand = SameConv(c_in, inner, 1) if stage.expand != 1 else None
        self.depthwise = SameConv(inner, inner, stage.kernel, stride, groups=inner)
        self.project = SameConv(inner, stage.channels, 1)
        self.residual = stride == 1 and c_in == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = F.relu6(self.depthwise(y), inplace=True)
        projected: Tensor = self.project(y)
        return x + projected if self.residual else projected


class Backbone(nn.Module):
    """Image backbone with four output levels.

    Input: (B, 3, H, W) float pixels in [0, 255], H and W multiples of 32.
    Level i of the output: (B, CHANNELS[i], H / STRIDES[i], W / STRIDES[i]).
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
        """Store the weights in the memory format that is fastest on a CPU. Returns itself."""
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

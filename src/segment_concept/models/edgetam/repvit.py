"""RepViT, EdgeTAM's image encoder (Wang et al. 2024, arXiv 2307.09283).

Parameters have the names of timm's `repvit_m1` with `features_only=True`, with which EdgeTAM's
weights are stored; timm itself needs torchvision. Written from the paper and those shapes. In
training a depthwise convolution has three branches and every convolution a batch normalization;
`folded` merges them into one convolution, which gives the same output.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EXPANSION = 2  # inner width of a channel mixer, relative to its width
REDUCTION = 4  # of channels in squeeze and excitation, rounded to a multiple of `DIVISOR`
DIVISOR = 8


@dataclass(frozen=True, slots=True)
class RepVitSizes:
    """Channels and blocks of the four stages. Defaults: RepViT-M1, as in EdgeTAM."""

    widths: tuple[int, int, int, int] = (48, 96, 192, 384)
    blocks: tuple[int, int, int, int] = (2, 2, 14, 2)


class ConvNorm(nn.Module):
    """A convolution without bias and a batch normalization."""

    def __init__(
        self, before: int, after: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        padding = kernel // 2
        self.c = nn.Conv2d(before, after, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.bn(self.c(x))
        return normed

    def folded(self) -> nn.Conv2d:
        """The same as one convolution with a bias."""
        mean, variance = self.bn.running_mean, self.bn.running_var
        assert mean is not None
        assert variance is not None
        gain = self.bn.weight / (variance + self.bn.eps).sqrt()
        weight = self.c.weight * gain[:, None, None, None]
        return _convolution(self.c, weight, self.bn.bias - mean * gain)


class TokenMixer(nn.Module):
    """Depthwise: a 3x3 convolution, a 1x1 convolution and the input, added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = ConvNorm(width, width, 3, groups=width)
        self.conv1 = ConvNorm(width, width, 1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.conv(x) + self.conv1(x) + x
        return mixed

    def folded(self) -> nn.Conv2d:
        """The same as one 3x3 convolution."""
        three, one = self.conv.folded(), self.conv1.folded()
        assert three.bias is not None
        assert one.bias is not None
        weight = three.weight + F.pad(one.weight + 1.0, (1, 1, 1, 1))
        return _convolution(three, weight, three.bias + one.bias)


class ChannelMixer(nn.Module):
    """Two 1x1 convolutions with GELU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, EXPANSION * width)
        self.conv2 = ConvNorm(EXPANSION * width, width)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.conv2(F.gelu(self.conv1(x)))
        return mixed


class SqueezeExcite(nn.Module):
    """Channels scaled by a gate that is computed from their means."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = max(DIVISOR, (width // REDUCTION + DIVISOR // 2) // DIVISOR * DIVISOR)
        self.fc1 = nn.Conv2d(width, inner, 1)
        self.fc2 = nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        gated: Tensor = x * gate.sigmoid()
        return gated


class Block(nn.Module):
    """Token mixer, squeeze and excitation in every other block, channel mixer."""

    def __init__(self, width: int, *, squeezed: bool) -> None:
        super().__init__()
        self.token_mixer = TokenMixer(width)
        self.se = SqueezeExcite(width) if squeezed else nn.Identity()
        self.channel_mixer = ChannelMixer(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.se(self.token_mixer(x))
        return x + cast(Tensor, self.channel_mixer(x))


class Downsample(nn.Module):
    """Half the resolution, other channels."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.pre_block = Block(before, squeezed=False)
        self.spatial_downsample = ConvNorm(before, before, 3, 2, groups=before)
        self.channel_downsample = ConvNorm(before, after)
        self.ffn = ChannelMixer(after)

    def forward(self, x: Tensor) -> Tensor:
        x = self.channel_downsample(self.spatial_downsample(self.pre_block(x)))
        return x + cast(Tensor, self.ffn(x))


class Stage(nn.Module):
    """Blocks of one resolution."""

    def __init__(self, before: int, width: int, blocks: int) -> None:
        super().__init__()
        self.downsample = nn.Identity() if before == width else Downsample(before, width)
        self.blocks = nn.Sequential(*(Block(width, squeezed=i % 2 == 0) for i in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.blocks(self.downsample(x))
        return out


class Stem(nn.Module):
    """A quarter of the resolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(3, width // 2, 3, 2)
        self.conv2 = ConvNorm(width // 2, width, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(F.gelu(self.conv1(x)))
        return out


class RepVit(nn.Module):
    """Images -> four levels of features."""

    def __init__(self, sizes: RepVitSizes | None = None) -> None:
        super().__init__()
        sizes = sizes or RepVitSizes()
        self.stem = Stem(sizes.widths[0])
        before = sizes.widths[0]
        for i, (width, blocks) in enumerate(zip(sizes.widths, sizes.blocks, strict=True)):
            self.add_module(f"stages_{i}", Stage(before, width, blocks))
            before = width

    def forward(self, pixels: Tensor) -> Sequence[Tensor]:
        """Features (B, widths[i], H / s, W / s) at strides s of 4, 8, 16 and 32.

        Args:
            pixels: (B, 3, H, W) normalized images.
        """
        x = self.stem(pixels)
        levels: list[Tensor] = []
        for i in range(4):
            x = self.get_submodule(f"stages_{i}")(x)
            levels.append(x)
        return levels


@torch.no_grad()
def fold(module: nn.Module) -> None:
    """Merge the branches and normalizations below a module, in place. For inference only."""
    for name, child in module.named_children():
        if isinstance(child, ConvNorm | TokenMixer):
            setattr(module, name, child.folded())
        else:
            fold(child)


def _convolution(like: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A convolution of the same shape with this weight and bias."""
    made = nn.Conv2d(
        like.in_channels,
        like.out_channels,
        cast(tuple[int, int], like.kernel_size),
        cast(tuple[int, int], like.stride),
        cast(tuple[int, int], like.padding),
        groups=like.groups,
        device=weight.device,
        dtype=weight.dtype,
    )
    made.weight.copy_(weight)
    assert made.bias is not None
    made.bias.copy_(bias)
    return made.eval().requires_grad_(False)

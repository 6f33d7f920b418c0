"""Residual networks of both baselines: the first three stages, with torchvision's names.

The image encoders name the first stage `res2`, the mask encoders `layer1`, as in the official
checkpoints. ImageNet bottlenecks with the stride on the 3x3 convolution (He et al. 2015,
torchvision's "v1.5").
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Pyramid(NamedTuple):
    """Image features at three strides, each (B, C, H / stride, W / stride)."""

    at_16: Tensor
    at_8: Tensor
    at_4: Tensor


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a skip."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, width, H / stride, W / stride)."""
        skip = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + skip)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a skip."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.downsample = _shortcut(inputs, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 4 * width, H / stride, W / stride)."""
        skip = x if self.downsample is None else self.downsample(x)
        inner = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(inner)) + skip)


@dataclass(frozen=True, slots=True)
class TrunkSize:
    """Size of a residual network: block type, blocks per stage, and channels of the stem."""

    block: type[BasicBlock] | type[Bottleneck]
    depths: tuple[int, int, int]
    width: int = 64

    @property
    def channels(self) -> tuple[int, int, int]:
        """Channels at strides 4, 8 and 16."""
        first = self.width * self.block.expansion
        return first, 2 * first, 4 * first


RESNET18 = TrunkSize(BasicBlock, (2, 2, 2))
RESNET50 = TrunkSize(Bottleneck, (3, 4, 6))


class ImageEncoder(nn.Module):
    """Image features at strides 16, 8 and 4."""

    def __init__(self, size: TrunkSize) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, size.width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(size.width)
        self.res2, self.layer2, self.layer3 = _stages(size)

    def forward(self, image: Tensor) -> Pyramid:
        """(B, 3, H, W) normalized, H and W divisible by 16."""
        stem = F.max_pool2d(F.relu(self.bn1(self.conv1(image))), 3, 2, 1)
        at_4 = self.res2(stem)
        at_8 = self.layer2(at_4)
        return Pyramid(self.layer3(at_8), at_8, at_4)


class MaskTrunk(nn.Module):
    """Features at stride 16 of an image with an object's mask and the mask of the others."""

    def __init__(self, size: TrunkSize) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(5, size.width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(size.width)
        self.layer1, self.layer2, self.layer3 = _stages(size)

    @property
    def sees_others(self) -> bool:
        """Whether it uses the masks of other objects; False for single-object weights."""
        return bool(self.conv1.weight[:, -1].any())

    def encode_image(self, image: Tensor, masks: Tensor, others: Tensor) -> Tensor:
        """image (1, 3, H, W), masks and others (O, H, W) in [0, 1] -> (O, C, h, w)."""
        pictures = image.expand(len(masks), -1, -1, -1)
        x = torch.cat([pictures, masks[:, None], others[:, None]], dim=1)
        stem = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        features: Tensor = self.layer3(self.layer2(self.layer1(stem)))
        return features


def _stages(size: TrunkSize) -> tuple[nn.Sequential, nn.Sequential, nn.Sequential]:
    """The three stages, with strides 1, 2 and 2 after 4 in the stem."""
    stages = []
    inputs = size.width
    for number, depth in enumerate(size.depths):
        width = size.width * 2**number
        outputs = width * size.block.expansion
        strides = [1 if number == 0 else 2] + [1] * (depth - 1)
        feeds = [inputs] + [outputs] * (depth - 1)
        stages.append(
            nn.Sequential(*(size.block(c, width, s) for c, s in zip(feeds, strides, strict=True)))
        )
        inputs = outputs
    return stages[0], stages[1], stages[2]


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

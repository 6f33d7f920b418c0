"""Blocks of both networks, with the official parameter names. O objects are the batch."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.baselines.resnet import Pyramid


class GroupResBlock(nn.Module):
    """Two 3x3 convolutions, each after a ReLU, around a skip; no normalization.

    The skip is a `shortcut` x `shortcut` convolution if the widths differ (Cutie 1, XMem 3).
    """

    def __init__(self, inputs: int, outputs: int, shortcut: int) -> None:
        super().__init__()
        self.downsample = (
            None
            if inputs == outputs
            else nn.Conv2d(inputs, outputs, shortcut, padding=shortcut // 2)
        )
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(O, inputs, h, w) -> (O, outputs, h, w)."""
        inner: Tensor = self.conv2(F.relu(self.conv1(F.relu(x))))
        return inner + (x if self.downsample is None else self.downsample(x))


class GatedResBlock(nn.Module):
    """Two 3x3 convolutions whose channels are gated by their own means (ECA, Wang et al. 2020)."""

    GATE_CHANNELS = 5  # kernel size of the gate; the rule of ECA gives 5 for 256 channels

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        reach = self.GATE_CHANNELS
        self.conv = nn.Conv1d(1, 1, reach, padding=reach // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(O, C, h, w) -> the same shape."""
        inner: Tensor = self.conv2(F.relu(self.conv1(F.relu(x))))
        means_O1C = inner.mean(dim=(2, 3))[:, None]
        gate_OC = self.conv(means_O1C)[:, 0].sigmoid()
        gated: Tensor = inner * gate_OC[:, :, None, None] + x
        return gated


class GatedUpdate(nn.Module):
    """Gated recurrent unit on a feature map: the state that an object keeps between frames."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.transform = nn.Conv2d(inputs + hidden, 3 * hidden, 3, padding=1)

    def forward(self, observed: Tensor, hidden: Tensor) -> Tensor:
        """observed (O, inputs, h, w), hidden (O, hidden, h, w) -> the next hidden."""
        forget, update, new = self.transform(torch.cat([observed, hidden], dim=1)).chunk(3, dim=1)
        keep_O = update.sigmoid()
        following: Tensor = forget.sigmoid() * hidden * (1 - keep_O) + keep_O * new.tanh()
        return following


class DecoderUpdate(GatedUpdate):
    """Recurrent update after a segmentation, from decoder features at three strides."""

    def __init__(self, channels: tuple[int, int, int], middle: int, hidden: int) -> None:
        super().__init__(middle, hidden)
        at_16, at_8, at_4 = channels
        self.g16_conv = nn.Conv2d(at_16, middle, 1)
        self.g8_conv = nn.Conv2d(at_8, middle, 1)
        self.g4_conv = nn.Conv2d(at_4 + 1, middle, 1)

    def after(self, decoded: Pyramid, logits: Tensor, hidden: Tensor) -> Tensor:
        """The next hidden state; `logits` (O, 1, H / 4, W / 4) are the decoded masks."""
        with_mask = torch.cat([decoded.at_4, logits], dim=1)
        size = decoded.at_16.shape[-2:]
        observed: Tensor = (
            self.g16_conv(decoded.at_16)
            + self.g8_conv(F.interpolate(decoded.at_8, size, mode="area"))
            + self.g4_conv(F.interpolate(with_mask, size, mode="area"))
        )
        following: Tensor = self(observed, hidden)
        return following


class ConvolutionalAttention(nn.Module):
    """CBAM (Woo et al. 2018): a channel gate, then a pixel gate."""

    REDUCTION = 16

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ChannelGate = nn.ModuleDict(
            {
                "mlp": nn.Sequential(
                    nn.Flatten(),
                    nn.Linear(channels, channels // self.REDUCTION),
                    nn.ReLU(),
                    nn.Linear(channels // self.REDUCTION, channels),
                )
            }
        )
        spatial = nn.Sequential(OrderedDict(conv=nn.Conv2d(2, 1, 7, padding=3)))
        self.SpatialGate = nn.ModuleDict({"spatial": spatial})

    def forward(self, x: Tensor) -> Tensor:
        """(O, C, h, w) -> the same shape."""
        mlp = self.ChannelGate["mlp"]
        channel_OC = (mlp(F.adaptive_avg_pool2d(x, 1)) + mlp(F.adaptive_max_pool2d(x, 1))).sigmoid()
        x = x * channel_OC[:, :, None, None]
        summary = torch.cat([x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)], dim=1)
        gated: Tensor = x * self.SpatialGate["spatial"](summary).sigmoid()
        return gated


class SumFusion(nn.Module):
    """Cutie's fusion of image and object features: their sum, then two gated blocks."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.distributor = nn.ModuleDict(
            {
                "x_transform": nn.Conv2d(channels, channels, 1),
                "g_transform": nn.Conv2d(channels, channels, 1),
            }
        )
        self.block1 = GatedResBlock(channels)
        self.block2 = GatedResBlock(channels)

    def forward(self, image: Tensor, objects: Tensor) -> Tensor:
        """image (1, C, h, w), objects (O, C, h, w) -> (O, C, h, w)."""
        image_part = self.distributor["x_transform"](image)
        both = image_part + self.distributor["g_transform"](objects)
        fused: Tensor = self.block2(self.block1(both))
        return fused


class CatFusion(nn.Module):
    """XMem's fusion of image and object features: concatenation, then attention."""

    def __init__(self, image: int, objects: int, outputs: int) -> None:
        super().__init__()
        self.block1 = GroupResBlock(image + objects, outputs, shortcut=3)
        self.attention = ConvolutionalAttention(outputs)
        self.block2 = GroupResBlock(outputs, outputs, shortcut=3)

    def forward(self, image: Tensor, objects: Tensor) -> Tensor:
        """image (1, C, h, w), objects (O, C', h, w) -> (O, outputs, h, w)."""
        both = torch.cat([image.expand(len(objects), -1, -1, -1), objects], dim=1)
        x = self.block1(both)
        fused: Tensor = self.block2(x + self.attention(x))
        return fused


class Upsample(nn.Module):
    """Upsample object features by 2 and add image features."""

    def __init__(self, inputs: int, outputs: int, shortcut: int) -> None:
        super().__init__()
        self.out_conv = GroupResBlock(inputs, outputs, shortcut)

    def forward(self, skip: Tensor, objects: Tensor) -> Tensor:
        """skip (1, inputs, 2h, 2w), objects (O, inputs, h, w) -> (O, outputs, 2h, 2w)."""
        larger = F.interpolate(objects, scale_factor=2, mode="bilinear", align_corners=False)
        joined: Tensor = self.out_conv(larger + skip)
        return joined


class KeyProjection(nn.Module):
    """Key (K channels), shrinkage (at least 1) and selection (K scores) of every pixel."""

    def __init__(self, inputs: int, key: int) -> None:
        super().__init__()
        self.key_proj = nn.Conv2d(inputs, key, 3, padding=1)
        self.d_proj = nn.Conv2d(inputs, 1, 3, padding=1)
        self.e_proj = nn.Conv2d(inputs, key, 3, padding=1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(1, C, h, w) -> key (K, h * w), shrinkage (h * w,), selection (K, h * w)."""
        key = self.key_proj(features)[0].flatten(start_dim=1)
        shrinkage = self.d_proj(features)[0].flatten().square() + 1
        selection = self.e_proj(features)[0].flatten(start_dim=1).sigmoid()
        return key, shrinkage, selection

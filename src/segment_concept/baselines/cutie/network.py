"""Cutie's network (Cheng et al., CVPR 2024), with the official parameter names."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.baselines.blocks import (
    DecoderUpdate,
    GatedUpdate,
    KeyProjection,
    SumFusion,
    Upsample,
)
from segment_concept.baselines.cutie.objects import ObjectSummarizer
from segment_concept.baselines.cutie.transformer import ObjectTransformer
from segment_concept.baselines.propagation import EncodedMemory, ImageFeatures, RecurrentState
from segment_concept.baselines.readout import aggregate, others
from segment_concept.baselines.resize import FrameTransform
from segment_concept.baselines.resnet import (
    RESNET18,
    RESNET50,
    ImageEncoder,
    MaskTrunk,
    Pyramid,
    TrunkSize,
)
from segment_concept.ops.moving import move_float32
from segment_concept.ops.resize import normalized


@dataclass(frozen=True, slots=True)
class CutieSize:
    """Widths of the network. The defaults are Cutie-base."""

    key: int = 64
    channels: int = 256  # of pixel features, values, hidden states and object vectors
    queries: int = 16
    heads: int = 8
    feed_forward: int = 2048
    blocks: int = 3
    image: TrunkSize = RESNET50
    mask: TrunkSize = RESNET18


class ReducedKeyProjection(KeyProjection):
    """Keys from projected image features."""

    def __init__(self, inputs: int, channels: int, key: int) -> None:
        super().__init__(channels, key)
        self.pix_feat_proj = nn.Conv2d(inputs, channels, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(1, C, h, w) -> key (K, h * w), shrinkage (h * w,), selection (K, h * w)."""
        return super().forward(self.pix_feat_proj(features))


class MaskEncoder(MaskTrunk):
    """Encodes objects on a frame for the memory."""

    def __init__(self, size: CutieSize) -> None:
        super().__init__(size.mask)
        self.fuser = SumFusion(size.channels)
        self.sensory_update = GatedUpdate(size.channels, size.channels)

    def forward(
        self, encoded: ImageFeatures, masks: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        """masks (O, H, W) -> values (O, C, h, w) and the updated hidden state."""
        around = others(masks).clamp(0, 1)
        values = self.fuser(encoded.features, self.encode_image(encoded.image, masks, around))
        return values, self.sensory_update(values, hidden)


class PixelFuser(nn.Module):
    """Fuses the memory readout with hidden state, last masks and image features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fuser = SumFusion(channels)
        self.sensory_compress = nn.Conv2d(channels + 2, channels, 1)

    def forward(self, encoded: ImageFeatures, readout: Tensor, recurrent: RecurrentState) -> Tensor:
        """readout (O, C, h, w) -> the same shape."""
        masks = F.interpolate(recurrent.masks[:, None], encoded.grid, mode="area")
        around = others(masks).clamp(0, 1)
        sensed = self.sensory_compress(torch.cat([recurrent.hidden, masks, around], dim=1))
        fused: Tensor = self.fuser(encoded.features, sensed + readout)
        return fused


class MaskDecoder(nn.Module):
    """Decodes object features to masks and updates the hidden state."""

    def __init__(self, size: CutieSize) -> None:
        super().__init__()
        at_4, at_8, _ = size.image.channels
        wide, narrow = size.channels, size.channels // 2
        self.sensory_update = DecoderUpdate((wide, narrow, narrow), wide, wide)
        self.decoder_feat_proc = nn.ModuleDict(
            {"transforms": nn.Sequential(nn.Conv2d(at_8, wide, 1), nn.Conv2d(at_4, narrow, 1))}
        )
        self.up_16_8 = Upsample(wide, narrow, shortcut=1)
        self.up_8_4 = Upsample(narrow, narrow, shortcut=1)
        self.pred = nn.Conv2d(narrow, 1, 3, padding=1)

    def forward(
        self, pyramid: Pyramid, objects: Tensor, hidden: Tensor, *, update: bool
    ) -> tuple[Tensor, Tensor]:
        """Logits (O, 1, H / 4, W / 4) and the hidden state, updated if `update`."""
        skip_8, skip_4 = self.decoder_feat_proc["transforms"].children()
        x_8 = self.up_16_8(skip_8(pyramid.at_8), objects)
        x_4 = self.up_8_4(skip_4(pyramid.at_4), x_8)
        logits = self.pred(F.relu(x_4))
        if update:
            hidden = self.sensory_update.after(Pyramid(objects, x_8, x_4), logits, hidden)
        return logits, hidden


class CutieNetwork(nn.Module):
    """Implements `PropagationNetwork`; has no memory.

    `aux_computer` of the checkpoints is used in training only and is left out.
    """

    def __init__(self, size: CutieSize) -> None:
        super().__init__()
        self.size = size
        at_16 = size.image.channels[2]
        self.pixel_encoder = ImageEncoder(size.image)
        self.pix_feat_proj = nn.Conv2d(at_16, size.channels, 1)
        self.key_proj = ReducedKeyProjection(at_16, size.channels, size.key)
        self.mask_encoder = MaskEncoder(size)
        self.mask_decoder = MaskDecoder(size)
        self.pixel_fuser = PixelFuser(size.channels)
        self.object_transformer = ObjectTransformer(
            size.channels, size.queries, size.heads, size.feed_forward, size.blocks
        )
        self.object_summarizer = ObjectSummarizer(size.channels, size.queries)
        self.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.pix_feat_proj.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the weights."""
        return self.pix_feat_proj.weight.dtype

    def move(self, device: torch.device | None, dtype: torch.dtype | None) -> None:
        """See `tracking.placement.Movable`. Raises InputError for another type than float32."""
        move_float32(self, device, dtype, "Cutie")

    @property
    def sees_others(self) -> bool:
        """Whether objects see each other."""
        return self.mask_encoder.sees_others

    def prepare(self, picture: Tensor, fit: FrameTransform) -> Tensor:
        """(1, 3, H', W') in [0, 1] -> padded with black, then normalized."""
        return normalized(fit.pad(picture))

    def encode_image(self, image: Tensor) -> ImageFeatures:
        """Features that do not depend on the objects."""
        pyramid: Pyramid = self.pixel_encoder(image)
        key, shrinkage, selection = self.key_proj(pyramid.at_16)
        features = self.pix_feat_proj(pyramid.at_16)
        return ImageFeatures(image, pyramid, features, key, shrinkage, selection)

    def blank(self, objects: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Zeros (O, C, h, w) and (O, S, C + 1)."""
        zeros, size = self.pix_feat_proj.weight.new_zeros, self.size
        hidden = zeros(objects, size.channels, *grid)
        return hidden, zeros(objects, size.queries, size.channels + 1)

    def fuse_memory(
        self, encoded: ImageFeatures, readout: Tensor, recurrent: RecurrentState
    ) -> Tensor:
        """Object features from pixel readout (O, C, h, w), last masks and object memory."""
        fused = self.pixel_fuser(encoded, readout, recurrent)
        objects: Tensor = self.object_transformer(fused, recurrent.summaries)
        return objects

    def segment(
        self, encoded: ImageFeatures, objects: Tensor, hidden: Tensor, *, update: bool
    ) -> tuple[Tensor, Tensor]:
        """Probabilities (O + 1, H, W), background first, and the hidden state."""
        logits, hidden = self.mask_decoder(encoded.pyramid, objects, hidden, update=update)
        competing = aggregate(logits[:, 0].sigmoid())[None]
        large = F.interpolate(competing, scale_factor=4, mode="bilinear", align_corners=False)
        return large[0].softmax(dim=0), hidden

    def encode_memory(self, encoded: ImageFeatures, masks: Tensor, hidden: Tensor) -> EncodedMemory:
        """Values (O, C, h, w), hidden state and summaries of object masks (O, H, W)."""
        values, hidden = self.mask_encoder(encoded, masks, hidden)
        return EncodedMemory(values, hidden, summaries=self.object_summarizer(masks, values))

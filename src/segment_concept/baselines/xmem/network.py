"""XMem's network (Cheng and Schwing, ECCV 2022), with the official parameter names."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.baselines.blocks import (
    CatFusion,
    DecoderUpdate,
    GatedUpdate,
    KeyProjection,
    Upsample,
)
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
class XMemSize:
    """Widths of the network. The defaults are the published ones."""

    key: int = 64
    value: int = 512
    hidden: int = 64
    decoder: int = 512  # channels at stride 16; half of it at strides 8 and 4
    image: TrunkSize = RESNET50
    mask: TrunkSize = RESNET18


class ValueEncoder(MaskTrunk):
    """Encodes objects on a frame for the memory."""

    def __init__(self, size: XMemSize) -> None:
        super().__init__(size.mask)
        self.fuser = CatFusion(size.image.channels[2], size.mask.channels[2], size.value)
        self.hidden_reinforce = GatedUpdate(size.value, size.hidden)

    def forward(
        self, encoded: ImageFeatures, masks: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        """masks (O, H, W) -> values (O, V, h, w) and the updated hidden state."""
        values = self.fuser(
            encoded.features, self.encode_image(encoded.image, masks, others(masks))
        )
        return values, self.hidden_reinforce(values, hidden)


class SkipUpsample(Upsample):
    """Upsampling with a convolution of the skip connection."""

    def __init__(self, skip: int, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, shortcut=3)
        self.skip_conv = nn.Conv2d(skip, inputs, 3, padding=1)

    def forward(self, skip: Tensor, objects: Tensor) -> Tensor:
        """skip (1, skip, 2h, 2w), objects (O, inputs, h, w) -> (O, outputs, 2h, 2w)."""
        return super().forward(self.skip_conv(skip), objects)


class Decoder(nn.Module):
    """Decodes the memory readout and the hidden state to masks."""

    def __init__(self, size: XMemSize) -> None:
        super().__init__()
        at_4, at_8, at_16 = size.image.channels
        wide, narrow = size.decoder, size.decoder // 2
        self.fuser = CatFusion(at_16, size.value + size.hidden, wide)
        self.hidden_update = DecoderUpdate((wide, narrow, narrow), narrow, size.hidden)
        self.up_16_8 = SkipUpsample(at_8, wide, narrow)
        self.up_8_4 = SkipUpsample(at_4, narrow, narrow)
        self.pred = nn.Conv2d(narrow, 1, 3, padding=1)

    def forward(
        self, pyramid: Pyramid, readout: Tensor, hidden: Tensor, *, update: bool
    ) -> tuple[Tensor, Tensor]:
        """Logits (O, 1, H / 4, W / 4) and the hidden state, updated if `update`."""
        x_16 = self.fuser(pyramid.at_16, torch.cat([readout, hidden], dim=1))
        x_8 = self.up_16_8(pyramid.at_8, x_16)
        x_4 = self.up_8_4(pyramid.at_4, x_8)
        logits = self.pred(F.relu(x_4))
        if update:
            hidden = self.hidden_update.after(Pyramid(x_16, x_8, x_4), logits, hidden)
        return logits, hidden


class XMemNetwork(nn.Module):
    """Implements `PropagationNetwork`; has no memory."""

    def __init__(self, size: XMemSize) -> None:
        super().__init__()
        self.size = size
        self.key_encoder = ImageEncoder(size.image)
        self.value_encoder = ValueEncoder(size)
        self.key_proj = KeyProjection(size.image.channels[2], size.key)
        self.decoder = Decoder(size)
        self.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.decoder.pred.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the weights."""
        return self.decoder.pred.weight.dtype

    def move(self, device: torch.device | None, dtype: torch.dtype | None) -> None:
        """See `tracking.placement.Movable`. Raises InputError for another type than float32."""
        move_float32(self, device, dtype, "XMem")

    @property
    def sees_others(self) -> bool:
        """Whether objects see each other."""
        return self.value_encoder.sees_others

    def prepare(self, picture: Tensor, fit: FrameTransform) -> Tensor:
        """(1, 3, H', W') in [0, 1] -> normalized, then padded with zeros."""
        return fit.pad(normalized(picture))

    def encode_image(self, image: Tensor) -> ImageFeatures:
        """Features that do not depend on the objects."""
        pyramid: Pyramid = self.key_encoder(image)
        key, shrinkage, selection = self.key_proj(pyramid.at_16)
        return ImageFeatures(image, pyramid, pyramid.at_16, key, shrinkage, selection)

    def blank(self, objects: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Zeros (O, hidden, h, w); XMem has no summaries: (O, 0)."""
        weight = self.decoder.pred.weight
        return weight.new_zeros(objects, self.size.hidden, *grid), weight.new_zeros(objects, 0)

    def fuse_memory(
        self, encoded: ImageFeatures, readout: Tensor, recurrent: RecurrentState
    ) -> Tensor:
        """The readout (O, V, h, w) unchanged: XMem decodes it directly."""
        return readout

    def segment(
        self, encoded: ImageFeatures, objects: Tensor, hidden: Tensor, *, update: bool
    ) -> tuple[Tensor, Tensor]:
        """Probabilities (O + 1, H, W), background first, and the hidden state."""
        logits, hidden = self.decoder(encoded.pyramid, objects, hidden, update=update)
        large = F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
        return aggregate(large[:, 0].sigmoid()).softmax(dim=0), hidden

    def encode_memory(self, encoded: ImageFeatures, masks: Tensor, hidden: Tensor) -> EncodedMemory:
        """Values (O, V, h, w) of object masks (O, H, W), and the updated hidden state."""
        values, hidden = self.value_encoder(encoded, masks, hidden)
        return EncodedMemory(values, hidden, summaries=values.new_zeros(len(values), 0))

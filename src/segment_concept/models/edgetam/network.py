"""EdgeTAM as a network: a small image encoder, SAM 2's heads, and condensed memories.

Zhou et al. 2025 (arXiv 2501.07256). Heads and memory encoder are transformers' modules; the image
encoder, the perceiver that condenses memory maps and the memory attention are our own. Parameter
names are those of transformers' `EdgeTamVideoModel` but for the image encoder's, which has timm's,
and the memory attention's, which has SAM 2's (`checkpoints.edgetam`).
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from segment_concept.models.edgetam.memory_tokens import condensed_memory_tokens
from segment_concept.models.edgetam.perceiver import Perceiver
from segment_concept.models.edgetam.repvit import RepVit
from segment_concept.models.edgetam.sizes import EdgeTamSizes
from segment_concept.models.sam2.memory_attention import MemoryTokens
from segment_concept.models.sam2.network import SamNetwork
from segment_concept.models.sam2.positions import grid_sines
from segment_concept.tracking.memory import Recall

TOP_DOWN = 2  # level, of 0 to 3, to which the coarsest one is added; finer ones are not changed


class EdgeTamNetwork(SamNetwork):
    """EdgeTAM, with random weights until loaded."""

    sizes: EdgeTamSizes

    def __init__(self, sizes: EdgeTamSizes | None = None) -> None:
        sizes = sizes or EdgeTamSizes()
        super().__init__(sizes)
        self.vision_encoder = ImageEncoder(sizes)
        self.spatial_perceiver = Perceiver(
            sizes.memory_width,
            sizes.latents,
            sizes.side,
            sizes.perceiver_layers,
            sizes.perceiver_mlp,
        )

    def features(self, pixels: Tensor) -> Sequence[Tensor]:
        """See `SamNetwork`."""
        levels: Sequence[Tensor] = self.vision_encoder(pixels)
        return levels

    def memory_tokens(self, recalls: Sequence[Recall]) -> MemoryTokens:
        """See `SamNetwork`."""
        return condensed_memory_tokens(recalls, self.slots, self.sizes)

    def remember(self, coarse: Tensor, masks: Tensor, visible: Tensor) -> Tensor:
        """(O, latents + side * side, M) condensed memories; arguments as in `SamNetwork`."""
        maps = super().remember(coarse, masks, visible)
        side = self.sizes.grid
        places = grid_sines(maps.shape[1], side, side, maps.device).to(maps.dtype)
        condensed: Tensor = self.spatial_perceiver(maps, places)
        return condensed


class ImageEncoder(nn.Module):
    """RepViT, and a feature pyramid on its four levels."""

    def __init__(self, sizes: EdgeTamSizes) -> None:
        super().__init__()
        self.backbone = RepVit(sizes.trunk)
        self.neck = Neck(sizes.trunk.widths, sizes.width)

    def forward(self, pixels: Tensor) -> Sequence[Tensor]:
        """Features (B, width, ...) at 1/4, 1/8 and 1/16 of images (B, 3, S, S)."""
        levels: Sequence[Tensor] = self.neck(self.backbone(pixels))
        return levels


class Neck(nn.Module):
    """1x1 convolutions to one width; the coarsest level is added to the one before it."""

    def __init__(self, widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(each, width, 1) for each in reversed(widths))

    def forward(self, levels: Sequence[Tensor]) -> Sequence[Tensor]:
        """Levels (B, width, ...), the finest first, without the coarsest."""
        same = [conv(level) for conv, level in zip(self.convs, reversed(levels), strict=True)]
        coarsest, *others = same
        others.reverse()
        others[TOP_DOWN] = others[TOP_DOWN] + F.interpolate(coarsest, scale_factor=2.0)
        return others

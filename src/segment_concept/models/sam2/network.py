"""SAM 2.1 as a network: images, prompts and memories in, masks and memories out.

Prompt encoder, mask decoder and memory encoder are those of transformers, image encoder and memory
attention are our own; parameter names are those of transformers. The network holds no state and
makes no decisions. Inputs may have any dtype and are cast to that of the weights.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.models.sam2_video.configuration_sam2_video import (
    Sam2VideoConfig,
    Sam2VideoMaskDecoderConfig,
    Sam2VideoPromptEncoderConfig,
)
from transformers.models.sam2_video.modeling_sam2_video import (
    Sam2VideoFeedForward,
    Sam2VideoMaskDecoder,
    Sam2VideoMemoryEncoder,
    Sam2VideoPromptEncoder,
)

from segment_concept.models.sam2.constants import ConstantCache
from segment_concept.models.sam2.hiera import ImageEncoder
from segment_concept.models.sam2.memory_attention import MemoryAttention, MemoryTokens
from segment_concept.models.sam2.memory_tokens import memory_tokens
from segment_concept.models.sam2.positions import grid_sines
from segment_concept.models.sam2.sizes import HeadSizes, Sam2Sizes
from segment_concept.tracking.memory import Recall

MEMORY_SCALE, MEMORY_BIAS = (
    20.0,
    -10.0,
)  # of mask scores before encoding, as published
NOT_A_POINT = -1  # label of a padding point


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Output of the mask decoder for O rows, in float32; M is 1 or 3."""

    logits: Tensor  # (O, M, h, w)
    iou: Tensor  # (O, M) scores
    tokens: Tensor  # (O, M, C) from which pointers are computed
    presence: Tensor  # (O,) logits


class SamNetwork(nn.Module, ABC):
    """Everything but the image encoder, with random weights until loaded.

    Args:
        sizes: the shapes.
    """

    def __init__(self, sizes: HeadSizes) -> None:
        super().__init__()
        self.sizes = sizes
        width, memory_width = sizes.width, sizes.memory_width
        self.prompt_encoder = Sam2VideoPromptEncoder(_prompt_config(sizes))
        self.mask_decoder = Sam2VideoMaskDecoder(_decoder_config(sizes))
        self.memory_encoder = Sam2VideoMemoryEncoder(_memory_config(sizes))
        self.memory_encoder.position_encoding = _NoPositions()  # type: ignore[assignment]
        self.memory_attention = MemoryAttention(
            width, memory_width, sizes.attention_layers, sizes.attention_mlp
        )
        self.token_attn = (
            MemoryAttention(width, memory_width, sizes.concept_layers, sizes.attention_mlp)
            if sizes.concept_layers
            else None
        )
        self.object_pointer_proj = Sam2VideoFeedForward(width, width, width, 3)
        if sizes.pointer_times:
            self.temporal_positional_encoding_projection_layer = nn.Linear(width, memory_width)
        self.mask_downsample = nn.Conv2d(1, 1, kernel_size=4, stride=4)
        self.no_memory_embedding = nn.Parameter(torch.zeros(1, 1, width))
        self.no_object_pointer = nn.Parameter(torch.zeros(1, width))
        self.memory_temporal_positional_encoding = nn.Parameter(
            torch.zeros(sizes.slots, 1, 1, memory_width)
        )
        if sizes.occlusion:
            self.occlusion_spatial_embedding_parameter = nn.Parameter(torch.zeros(1, memory_width))
        self._constants = ConstantCache()

    @abstractmethod
    def features(self, pixels: Tensor) -> Sequence[Tensor]:
        """Features (B, C, ...) at 1/4, 1/8 and 1/16 of S, of normalized images (B, 3, S, S)."""

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights and of all features."""
        return self.no_object_pointer.dtype

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.no_object_pointer.device

    @property
    def slots(self) -> Tensor:
        """(slots, M) temporal embeddings of memory maps."""
        return self.memory_temporal_positional_encoding.flatten(0, 2)

    def encode_image(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features at 1/4, 1/8 and 1/16 of S, of normalized images (B, 3, S, S).

        The two finer levels are projected for the mask decoder, (B, C / 8, ...) and
        (B, C / 4, ...); the coarsest is (B, C, ...).
        """
        fine, middle, coarse = self.features(pixels.to(self.device, self.dtype))
        return self.mask_decoder.conv_s0(fine), self.mask_decoder.conv_s1(middle), coarse

    def grid_positions(self) -> Tensor:
        """(1, C, h, w) positions that memory attention adds to the coarsest features."""
        grid = self.sizes.grid
        return grid_sines(self.sizes.width, grid, grid, self.device, self.dtype)

    def memory_tokens(self, recalls: Sequence[Recall]) -> MemoryTokens:
        """The memories of O objects as tokens; of each are recalled equally many, at least one."""
        return memory_tokens(
            recalls,
            self.slots,
            lambda sines: self.temporal_positional_encoding_projection_layer(sines.to(self.dtype)),
            self.sizes.width,
        )

    def without_memory(self, coarse: Tensor) -> Tensor:
        """(B, C, h, w) features for objects without memory."""
        return coarse + self.no_memory_embedding.flatten()[:, None, None]

    def embed_prompts(
        self, xy: Tensor, labels: Tensor, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Sparse (O, P + 1, C) and dense (O or 1, C, h, w) embeddings.

        Args:
            xy: (O, P, 2) in pixels of the network's square.
            labels: (O, P) 1 on the object, 0 off it, 2 and 3 a box's corners, -1 padding.
            masks: (O, 1, S / 4, S / 4) logits, or None.
        """
        masks = None if masks is None else masks.to(self.dtype)
        sparse, dense = self.prompt_encoder(xy[:, None], labels[:, None], None, masks)
        if masks is None:
            dense = dense[:1]
        return sparse[:, 0].to(self.dtype), dense

    def no_prompt(self) -> tuple[Tensor, Tensor]:
        """Sparse (1, 2, C) and dense (1, C, h, w) embeddings of no prompt: a padding point."""
        weights = list(self.prompt_encoder.parameters())
        return self._constants.get("no prompt", weights, lambda: self.embed_no_points(1))

    def embed_no_points(self, rows: int, masks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`embed_prompts` of O rows with a padding point each."""
        xy = torch.zeros(rows, 1, 2, device=self.device)
        labels = torch.full((rows, 1), NOT_A_POINT, device=self.device)
        return self.embed_prompts(xy, labels, masks)

    def decode(
        self,
        coarse: Tensor,
        fine: tuple[Tensor, Tensor],
        prompts: tuple[Tensor, Tensor],
        *,
        several: bool,
    ) -> Decoded:
        """Decode masks of O rows.

        Args:
            coarse: (O, C, h, w) conditioned features.
            fine: the two finer levels, each (O or 1, ...).
            prompts: sparse (O or 1, P, C) and dense (O or 1, C, h, w).
            several: propose three masks rather than one.
        """
        sparse, dense = prompts
        rows = len(coarse)
        logits, iou, tokens, presence = self.mask_decoder(
            image_embeddings=coarse,
            image_positional_embeddings=self._decoder_positions(),
            sparse_prompt_embeddings=sparse.expand(rows, -1, -1)[:, None],
            dense_prompt_embeddings=dense,
            multimask_output=several,
            high_resolution_features=list(fine),
        )
        return Decoded(
            logits[:, 0].float(), iou[:, 0].float(), tokens[:, 0], presence.flatten().float()
        )

    def point(self, tokens: Tensor, visible: Tensor) -> Tensor:
        """(O, M, C) object pointers from mask tokens; `visible` (O,) bool."""
        pointers: Tensor = self.object_pointer_proj(tokens)
        return torch.where(visible[:, None, None], pointers, self.no_object_pointer)

    def remember(self, coarse: Tensor, masks: Tensor, visible: Tensor) -> Tensor:
        """(O, M, h, w) memory maps.

        Args:
            coarse: (O or 1, C, h, w) the image's features, not conditioned on memory.
            masks: (O, 1, S, S) scores in [0, 1].
            visible: (O,) bool.
        """
        scaled = (masks * MEMORY_SCALE + MEMORY_BIAS).to(self.dtype)
        maps: Tensor = self.memory_encoder(coarse, scaled)[0]
        if not self.sizes.occlusion:
            return maps
        absent = self.occlusion_spatial_embedding_parameter[..., None, None]
        return torch.where(visible[:, None, None, None], maps, maps + absent)

    def _decoder_positions(self) -> Tensor:
        """(1, C, h, w): random Fourier features of the cell centers."""
        embedding = self.prompt_encoder.shared_embedding
        weights = [*embedding.parameters(), *embedding.buffers()]
        return self._constants.get("positions", weights, self._compute_positions)

    def _compute_positions(self) -> Tensor:
        centers = (torch.arange(self.sizes.grid, device=self.device) + 0.5) / self.sizes.grid
        y, x = torch.meshgrid(centers, centers, indexing="ij")
        sines: Tensor = self.prompt_encoder.shared_embedding(torch.stack([x, y], dim=-1))
        return sines.permute(2, 0, 1)[None].to(self.dtype)

    def _apply(self, fn: Any, recurse: bool = True) -> "SamNetwork":
        self._constants.clear()
        return cast(SamNetwork, super()._apply(fn, recurse))  # type: ignore[no-untyped-call]


class Sam2Network(SamNetwork):
    """SAM 2.1, or SeC's segmenter."""

    sizes: Sam2Sizes

    def __init__(self, sizes: Sam2Sizes) -> None:
        super().__init__(sizes)
        self.vision_encoder = ImageEncoder(sizes.trunk, sizes.width)

    def features(self, pixels: Tensor) -> Sequence[Tensor]:
        """See `SamNetwork`."""
        levels: Sequence[Tensor] = self.vision_encoder(pixels)
        return levels


class _NoPositions(nn.Module):
    """Replaces position embeddings that transformers computes and nothing reads."""

    def forward(self, shape: Any, device: torch.device, dtype: torch.dtype) -> Tensor:
        return torch.empty(0, device=device, dtype=dtype)


# Modules used alone have no attention implementation set: the official code uses this one.
_ATTENTION = "sdpa"


def _prompt_config(sizes: HeadSizes) -> Sam2VideoPromptEncoderConfig:
    return Sam2VideoPromptEncoderConfig(
        hidden_size=sizes.width,
        image_size=sizes.image_side,
        mask_input_channels=sizes.mask_channels,
    )


def _decoder_config(sizes: HeadSizes) -> Sam2VideoMaskDecoderConfig:
    config = Sam2VideoMaskDecoderConfig(
        hidden_size=sizes.width,
        mlp_dim=sizes.decoder_mlp,
        iou_head_hidden_dim=sizes.iou_width,
        dynamic_multimask_via_stability=False,  # the segmenter's options decide that
    )
    config._attn_implementation = _ATTENTION
    return config


def _memory_config(sizes: HeadSizes) -> Sam2VideoConfig:
    return Sam2VideoConfig(
        memory_encoder_hidden_size=sizes.width,
        memory_encoder_output_channels=sizes.memory_width,
        mask_downsampler_embed_dim=sizes.width,
        memory_fuser_num_layers=sizes.fuser_layers,
        memory_fuser_embed_dim=sizes.width,
        memory_fuser_intermediate_dim=sizes.fuser_mlp,
    )

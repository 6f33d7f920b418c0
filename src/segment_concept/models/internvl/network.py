"""InternVL2.5 as a concept network: images to features, tokens to one vector at [SEG].

transformers' InternVL, and SeC's two-layer projection. The language-model head `words` is created
only for training with a language-model loss. The network holds no state. Each part uses the device
and dtype of its own weights: the language model may be on another device than the vision network.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import (
    InternVLConfig,
    InternVLModel,
    InternVLVisionConfig,
    LlamaConfig,
    PreTrainedConfig,
    Qwen2Config,
)

from segment_concept.models.internvl.packed_attention import (
    PackedRows,
    use_fused_norms,
    use_packed_attention,
)
from segment_concept.models.internvl.sizes import IMAGE_SIDE, PATCH_SIDE, ConceptSize, LanguageSize
from segment_concept.ops.device_values import upload
from segment_concept.ops.resize import normalized_squares
from segment_concept.types import Image

CPU = torch.device("cpu")


class ConceptNetwork(nn.Module):
    """The network of this module, with the shapes of `size` and random weights until loaded.

    Args:
        size: sizes of all parts.
        words: create the language-model head, which is needed only to train with a language-model
            loss.
    """

    def __init__(self, size: ConceptSize, words: bool = False) -> None:
        super().__init__()
        self.size = size
        self.backbone = InternVLModel(_config(size))
        use_packed_attention(self.backbone.language_model)
        use_fused_norms(self.backbone.language_model)
        width = size.language.width
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, size.concept_width)
        )
        self.words = nn.Linear(width, size.language.vocabulary, bias=False) if words else None

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the language model's hidden states: that of its norms, never quantized."""
        dtype: torch.dtype = self.backbone.language_model.norm.weight.dtype
        return dtype

    @property
    def device(self) -> torch.device:
        """Device of the projection and of the language model."""
        return next(self.head.parameters()).device

    def pixel_values(self, images: Sequence[Image]) -> Tensor:
        """(B, 3, 448, 448) where the vision network is, of images (H, W, 3) of any sizes."""
        weight = self.backbone.vision_tower.embeddings.cls_token
        return pixel_values(images, weight.device, weight.dtype)

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 256, language width) features of images (B, 3, 448, 448), one row per token."""
        return self.project_patches(self.encode_patches(pixels))

    def encode_patches(self, pixels: Tensor) -> Tensor:
        """(B, 256, 4 x vision width) features before the projector: 2 x 2 patches per token."""
        tower = self.backbone.vision_tower
        weight = tower.embeddings.cls_token
        seen = tower(pixel_values=pixels.to(weight.device, weight.dtype), return_dict=True)
        patches = seen.last_hidden_state[:, 1:]  # without the class token
        side = IMAGE_SIDE // PATCH_SIDE
        grid = patches.unflatten(1, (side, side))
        shuffled: Tensor = self.backbone.pixel_shuffle(grid, scale_factor=0.5)
        return shuffled.flatten(1, 2)

    def project_patches(self, patches: Tensor) -> Tensor:
        """(B, 256, language width) image tokens from `encode_patches`."""
        projector = self.backbone.multi_modal_projector
        features: Tensor = projector(patches.to(projector.linear_1.weight.dtype))
        return features.to(self.device, self.dtype)

    def embed(self, tokens: Tensor) -> Tensor:
        """(N, width) embeddings of token ids (N,)."""
        embedded: Tensor = self.backbone.language_model.embed_tokens(upload(tokens, self.device))
        return embedded.to(self.dtype)

    def read(self, embeddings: Tensor, rows: PackedRows) -> Tensor:
        """(N, width) final hidden states of the packed rows' embeddings (N, width)."""
        output = self.backbone.language_model(
            inputs_embeds=embeddings[None],
            attention_mask=None,  # `packed_rows` replaces the mask
            position_ids=rows.positions(self.device),
            use_cache=False,
            packed_rows=rows,
        )
        hidden: Tensor = output.last_hidden_state[0]
        return hidden

    def project(self, hidden: Tensor) -> Tensor:
        """(B, concept width) float32 concept embeddings from hidden states (B, width)."""
        concepts: Tensor = self.head(hidden.to(next(self.head.parameters()).dtype))
        return concepts.float()


def _config(size: ConceptSize) -> InternVLConfig:
    vision = size.vision
    vision_config = InternVLVisionConfig(
        hidden_size=vision.width,
        num_hidden_layers=vision.layers,
        num_attention_heads=vision.heads,
        intermediate_size=vision.mlp_width,
        layer_norm_eps=vision.norm_eps,
        attention_bias=True,
        image_size=[IMAGE_SIDE, IMAGE_SIDE],
        patch_size=[PATCH_SIDE, PATCH_SIDE],
        use_mean_pooling=True,  # InternVL has no norm after the last layer; this omits it
    )
    return InternVLConfig(vision_config=vision_config, text_config=_text_config(size.language))


def _text_config(language: LanguageSize) -> PreTrainedConfig:
    kind = {"qwen2": Qwen2Config, "internlm2": LlamaConfig}[language.family]
    config: PreTrainedConfig = kind(
        hidden_size=language.width,
        num_hidden_layers=language.layers,
        num_attention_heads=language.heads,
        num_key_value_heads=language.key_value_heads,
        intermediate_size=language.mlp_width,
        vocab_size=language.vocabulary,
        max_position_embeddings=language.positions,
        rms_norm_eps=language.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": language.rope_theta},
    )
    return config


def pixel_values(
    images: Sequence[Image], device: torch.device = CPU, dtype: torch.dtype = torch.float32
) -> Tensor:
    """(B, 3, 448, 448) on `device` from B images (H, W, 3) uint8 of any sizes."""
    return normalized_squares(images, IMAGE_SIDE, device, dtype)

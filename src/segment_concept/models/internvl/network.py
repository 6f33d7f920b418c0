"""InternVL2.5 as a concept network: images to features, tokens to one vector at [SEG].

transformers' InternVL without its language-model head, and SeC's two-layer projection. The network
holds no state. Each part uses the device and dtype of its own weights: the language model may be on
another device than the vision network.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import InternVLConfig, InternVLModel, InternVLVisionConfig, Qwen2Config

from segment_concept.models.internvl.packed_attention import PackedRows, use_packed_attention
from segment_concept.models.internvl.sizes import IMAGE_SIDE, PATCH_SIDE, ConceptSize
from segment_concept.ops.resize import normalized_square
from segment_concept.types import Image


class ConceptNetwork(nn.Module):
    """The network of this module, with the shapes of `size` and random weights until loaded."""

    def __init__(self, size: ConceptSize) -> None:
        super().__init__()
        self.size = size
        self.backbone = InternVLModel(_config(size))
        use_packed_attention(self.backbone.language_model)
        width = size.language.width
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, size.concept_width)
        )

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the projection, which is never quantized."""
        return next(self.head.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Device of the projection and of the language model."""
        return next(self.head.parameters()).device

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 256, language width) features of images (B, 3, 448, 448), one row per token."""
        weight = self.backbone.vision_tower.embeddings.cls_token
        output = self.backbone.get_image_features(
            pixel_values=pixels.to(weight.device, weight.dtype),
            vision_feature_layer=-1,
            vision_feature_select_strategy="default",
            return_dict=True,
        )
        features: Tensor = output.pooler_output
        return features.to(self.device, self.dtype)

    def embed(self, tokens: Tensor) -> Tensor:
        """(N, width) embeddings of token ids (N,)."""
        embedded: Tensor = self.backbone.language_model.embed_tokens(tokens.to(self.device))
        return embedded.to(self.dtype)

    def read(self, embeddings: Tensor, rows: PackedRows) -> Tensor:
        """(N, width) final hidden states of the packed rows' embeddings (N, width)."""
        output = self.backbone.language_model(
            inputs_embeds=embeddings[None],
            attention_mask={"full_attention": None},  # `packed_rows` replaces the mask
            position_ids=rows.positions().to(self.device),
            use_cache=False,
            packed_rows=rows,
        )
        hidden: Tensor = output.last_hidden_state[0]
        return hidden

    def project(self, hidden: Tensor) -> Tensor:
        """(B, concept width) float32 concept embeddings from hidden states (B, width)."""
        concepts: Tensor = self.head(hidden)
        return concepts.float()


def _config(size: ConceptSize) -> InternVLConfig:
    vision, language = size.vision, size.language
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
    text_config = Qwen2Config(
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
    return InternVLConfig(vision_config=vision_config, text_config=text_config)


def pixel_values(images: Sequence[Image]) -> Tensor:
    """(B, 3, 448, 448) float32 from B images (H, W, 3) uint8 of any sizes."""
    return torch.stack([normalized_square(image, IMAGE_SIDE) for image in images])

"""A tiny EdgeTAM, ours and transformers', with the same random weights.

transformers takes the image encoder from timm, which needs torchvision; here its video model gets
ours in its place (`tests/models/test_edgetam_repvit.py` compares that with timm), with
transformers' own neck.
"""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.models.edgetam.configuration_edgetam import EdgeTamVisionConfig
from transformers.models.edgetam.modeling_edgetam import EdgeTamVisionNeck
from transformers.models.edgetam_video.configuration_edgetam_video import EdgeTamVideoConfig
from transformers.models.edgetam_video.modeling_edgetam_video import (
    EdgeTamVideoModel,
    EdgeTamVideoVisionEncoderOutput,
)

from helpers.fixtures import temporary_folder
from helpers.named_weights import named_weights
from segment_concept.checkpoints.edgetam.load import load_edgetam
from segment_concept.models.edgetam.repvit import RepVit, RepVitSizes
from segment_concept.models.sam2.segmenter import Sam2Options, Sam2Segmenter

SIDE, WIDTH = 128, 128  # a grid of 8 x 8 tokens; transformers' memories are 64 wide
TRUNK = RepVitSizes((16, 24, 32, 48), (1, 1, 2, 1))
LATENTS, LATENTS_SIDE = 8, 4


class ImageEncoder(nn.Module):
    """Our backbone and transformers' neck, with the interface of transformers' vision model."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict({"timm_model": RepVit(TRUNK)})
        config = EdgeTamVisionConfig(
            backbone_config={"model_type": "resnet"},  # not read by the neck
            backbone_channel_list=list(reversed(TRUNK.widths)),
            fpn_hidden_size=WIDTH,
        )
        self.neck = EdgeTamVisionNeck(config)

    def forward(self, pixels: Tensor, **_: Any) -> EdgeTamVideoVisionEncoderOutput:
        levels = self.backbone["timm_model"](pixels)
        maps, positions = self.neck([level.permute(0, 2, 3, 1) for level in levels])
        return EdgeTamVideoVisionEncoderOutput(
            last_hidden_state=levels[-1],
            fpn_hidden_states=maps[-3:][::-1],
            fpn_position_encoding=positions[-3:][::-1],
        )


@cache
def reference() -> EdgeTamVideoModel:
    """transformers' video model. The published options: no times of pointers, no occlusion."""
    config = EdgeTamVideoConfig(
        vision_config=_unused_vision(),
        prompt_encoder_config={"hidden_size": WIDTH, "image_size": SIDE},
        mask_decoder_config={"hidden_size": WIDTH, "mlp_dim": 64, "iou_head_hidden_dim": 32},
        image_size=SIDE,
        enable_occlusion_spatial_embedding=False,
        enable_temporal_pos_encoding_for_object_pointers=False,
        memory_attention_hidden_size=WIDTH,
        memory_attention_mlp_hidden_size=64,
        memory_attention_rope_feat_sizes=[SIDE // 16] * 2,
        memory_attention_rope_k_sizes=[LATENTS_SIDE] * 2,
        perceiver_resampler_num_latents=LATENTS,
        perceiver_resampler_num_latents_2d=LATENTS_SIDE**2,
        perceiver_resampler_mlp_intermediate_size=32,
        memory_encoder_hidden_size=WIDTH,
        mask_downsampler_embed_dim=WIDTH,
        memory_fuser_embed_dim=WIDTH,
        memory_fuser_intermediate_dim=64,
        attn_implementation="sdpa",
    )
    model = EdgeTamVideoModel(config)
    model.vision_encoder = ImageEncoder()
    model.backbone_feature_sizes = [[SIDE // cell] * 2 for cell in (4, 8, 16)]
    state = named_weights(model.state_dict())
    state["shared_image_embedding.positional_embedding"] = state[
        "prompt_encoder.shared_embedding.positional_embedding"
    ]
    model.load_state_dict(state)
    return model.eval()


def _unused_vision() -> dict[str, Any]:
    """A small image encoder of SAM 2, which `reference` replaces."""
    backbone = {
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 1, 1, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 1, 1],
        "window_size_per_stage": [8, 4, 8, 4],
        "global_attention_blocks": [3],
        "model_type": "sam2_hiera_det_model",
    }
    return {
        "backbone_config": backbone,
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[SIDE // cell] * 2 for cell in (4, 8, 16)],
        "fpn_hidden_size": WIDTH,
        "model_type": "sam2_vision_model",
    }


@cache
def weights_file() -> Path:
    """The weights of `reference` as transformers saves them. Do not write to it."""
    path = temporary_folder() / "edgetam_tiny.safetensors"
    save_file({name: t.contiguous().clone() for name, t in reference().state_dict().items()}, path)
    return path


def tiny_edgetam(**options: Any) -> Sam2Segmenter:
    """Ours; memories stay in float32, as in transformers, unless told otherwise."""
    settings = Sam2Options(**{"memory_dtype": torch.float32, **options})
    return load_edgetam(weights_file(), image_side=SIDE, options=settings)

"""EdgeTAM's published layouts, strictly accounted for."""

import re
from functools import cache

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from helpers.closeness import close
from helpers.edgetam_reference import SIDE, tiny_edgetam, weights_file
from helpers.sam2_toy import random_frame
from segment_concept.checkpoints.edgetam.load import load_edgetam
from segment_concept.models.sam2.segmenter import Sam2Segmenter
from segment_concept.types import CheckpointError, Mask

# Parts of names, of the release and of transformers, in the order of replacement. From
# transformers' conversion script and the modules of the release.
TO_RELEASE = [
    ("vision_encoder.backbone.timm_model.", "image_encoder.trunk.body."),
    (r"vision_encoder.neck.convs.(\d)", r"image_encoder.neck.convs.\1.conv"),
    ("spatial_perceiver.latents_1d", "spatial_perceiver.latents"),
    (r"(perceiver.layers.\d).layer_norm_input", r"\1.attn.norm_x"),
    (r"(perceiver.layers.\d).layer_norm_latents", r"\1.attn.norm_latents"),
    (r"(perceiver.layers.\d).layer_norm_self", r"\1.self_attn.norm"),
    (r"(perceiver.layers.\d).cross_attention.([qo])", r"\1.attn.to_\2"),
    (r"(perceiver.layers.\d).self_attention.([qo])", r"\1.self_attn.to_\2"),
    (r"(to_q)_proj", r"\1"),
    (r"to_o_proj", "to_out"),
    (r"(perceiver.layers.\d).mlp.layer_norm", r"\1.ff.0"),
    (r"(perceiver.layers.\d).mlp.up_proj", r"\1.ff.1"),
    (r"(perceiver.layers.\d).mlp.down_proj", r"\1.ff.3"),
    (r"(perceiver.layers.\d).self_mlp.layer_norm", r"\1.self_ff.0"),
    (r"(perceiver.layers.\d).self_mlp.up_proj", r"\1.self_ff.1"),
    (r"(perceiver.layers.\d).self_mlp.down_proj", r"\1.self_ff.3"),
    ("perceiver.layer_norm", "perceiver.norm"),
    (r"(memory_attention.layers.\d).mlp.up_proj", r"\1.linear1"),
    (r"(memory_attention.layers.\d).mlp.down_proj", r"\1.linear2"),
    (r"(memory_attention.*)layer_norm", r"\1norm"),
    (r"(memory_attention.*)o_proj", r"\1out_proj"),
    (r"mask_downsampler.layers.(\d).conv", lambda m: f"mask_downsampler.encoder.{3 * int(m[1])}"),
    (
        r"mask_downsampler.layers.(\d).layer_norm",
        lambda m: f"mask_downsampler.encoder.{3 * int(m[1]) + 1}",
    ),
    ("mask_downsampler.final_conv", "mask_downsampler.encoder.12"),
    ("memory_encoder.projection", "memory_encoder.out_proj"),
    ("memory_encoder.feature_projection", "memory_encoder.pix_feat_proj"),
    (r"memory_fuser.layers.(\d).layer_norm", r"fuser.layers.\1.norm"),
    (r"memory_fuser.layers.(\d).depthwise_conv", r"fuser.layers.\1.dwconv"),
    (r"memory_fuser.layers.(\d).pointwise_conv", r"fuser.layers.\1.pwconv"),
    (r"memory_fuser.layers.(\d).scale", r"fuser.layers.\1.gamma"),
    ("memory_temporal_positional_encoding", "maskmem_tpos_enc"),
    ("no_memory_embedding", "no_mem_embed"),
    ("no_memory_positional_encoding", "no_mem_pos_enc"),
    ("no_object_pointer", "no_obj_ptr"),
    (r"object_pointer_proj.proj_in", "obj_ptr_proj.layers.0"),
    (r"object_pointer_proj.layers.0", "obj_ptr_proj.layers.1"),
    (r"object_pointer_proj.proj_out", "obj_ptr_proj.layers.2"),
]


@cache
def transformers_layout() -> dict[str, Tensor]:
    return load_file(weights_file())


def release_layout() -> dict[str, Tensor]:
    """The same weights as the release names them; heads keep the names that both layouts have."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in transformers_layout().items():
        new = name
        for pattern, replacement in TO_RELEASE:
            new = re.sub(pattern, replacement, new)
        renamed[new] = tensor
    for layer in (0, 1):
        for attention, short in (("cross_attention", "attn"), ("self_attention", "self_attn")):
            prefix = f"spatial_perceiver.layers.{layer}"
            halves = [renamed.pop(f"{prefix}.{attention}.{half}_proj.weight") for half in "kv"]
            renamed[f"{prefix}.{short}.to_kv.weight"] = torch.cat(halves)
    return renamed


def answer(segmenter: Sam2Segmenter) -> Tensor:
    bitmap = np.zeros((48, 80), bool)
    bitmap[5:20, 10:30] = True
    with torch.inference_mode():
        features = segmenter.encode([random_frame()])
        shown = segmenter.segment(features, [Mask(bitmap)], [None], [None], [0])
    return shown.pointers


def test_a_pt_file_with_the_names_of_the_release_gives_the_same_network(tmp_path):
    torch.save({"model": release_layout()}, tmp_path / "edgetam.pt")
    loaded = load_edgetam(tmp_path / "edgetam.pt", image_side=SIDE)
    assert torch.equal(answer(loaded), answer(tiny_edgetam()))
    for name, tensor in tiny_edgetam().network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor), name


def test_unknown_and_missing_names_are_listed(tmp_path):
    state = dict(transformers_layout())
    state["surprise"] = torch.zeros(1)
    del state["no_object_pointer"], state["mask_downsample.bias"]
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(CheckpointError, match=r"not those of EdgeTAM.*no_object_pointer"):
        load_edgetam(tmp_path / "odd.safetensors", image_side=SIDE)
    state["no_object_pointer"] = transformers_layout()["no_object_pointer"]
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(CheckpointError, match="1 unknown: surprise; 1 missing: mask_downsample"):
        load_edgetam(tmp_path / "odd.safetensors", image_side=SIDE)


def test_a_value_that_is_not_finite_is_named(tmp_path):
    state = {**transformers_layout(), "no_object_pointer": torch.full((1, 128), torch.nan)}
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(CheckpointError, match="no_object_pointer has values that are not finite"):
        load_edgetam(tmp_path / "odd.safetensors", image_side=SIDE)


def test_a_side_that_memories_cannot_be_made_of_is_refused():
    with pytest.raises(CheckpointError, match="multiple of 64, got 96"):
        load_edgetam(weights_file(), image_side=96)


def test_in_bfloat16_the_frequencies_stay_exact_and_pointers_nearly_so():
    half = load_edgetam(weights_file(), image_side=SIDE, dtype=torch.bfloat16)
    embedding = half.network.prompt_encoder.shared_embedding.positional_embedding
    assert embedding.dtype == torch.float32
    exact = answer(tiny_edgetam())
    close(answer(half).float(), exact, 0.05 * float(exact.abs().max()))

"""SAM 2.1's published layouts, strictly accounted for."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers.models.sam2_video.configuration_sam2_video import Sam2VideoConfig
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoModel

from helpers.tiny_weights import tiny_weights, tiny_weights_file
from segment_concept.checkpoints.sam2.keys import our_name
from segment_concept.checkpoints.sam2.load import load_network, load_sam2
from segment_concept.checkpoints.sam2.sizes import infer_sizes
from segment_concept.models.sam2.network import Sam2Network
from segment_concept.models.sam2.segmenter import Sam2Segmenter
from segment_concept.models.sam2.sizes import SIZES, HieraWiring
from segment_concept.types import CheckpointError, Frame, Mask

TINY: dict[str, Any] = {"image_side": 128, "wiring": HieraWiring(1, (8, 4, 8, 4), (3,))}


@pytest.fixture(scope="module")
def official() -> dict[str, Tensor]:
    return tiny_weights("sam2")


@pytest.fixture(scope="module")
def reference(official) -> Sam2Segmenter:
    return load_sam2(tiny_weights_file("sam2"), **TINY)


def answer(segmenter: Sam2Segmenter) -> Tensor:
    rgb = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    bitmap = np.zeros((40, 60), bool)
    bitmap[5:20, 10:30] = True
    with torch.inference_mode():
        features = segmenter.encode([Frame(0, rgb)])
        return segmenter.segment(features, [Mask(bitmap)], [None], [None], [0]).pointers


def test_an_official_pt_file_gives_the_same_network(tmp_path, official, reference):
    torch.save({"model": official}, tmp_path / "sam2.1_hiera_tiny.pt")
    loaded = load_sam2(tmp_path / "sam2.1_hiera_tiny.pt", **TINY)
    assert torch.equal(answer(loaded), answer(reference))


def transformers_model() -> Sam2VideoModel:
    backbone = {
        "hidden_size": 16,
        "num_attention_heads": 1,
        "image_size": [128, 128],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [16, 32, 64, 128],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [8, 4, 8, 4],
        "global_attention_blocks": [3],
        "model_type": "sam2_hiera_det_model",
    }
    vision = {
        "backbone_config": backbone,
        "backbone_channel_list": [128, 64, 32, 16],
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        "fpn_hidden_size": 128,
        "model_type": "sam2_vision_model",
    }
    return Sam2VideoModel(
        Sam2VideoConfig(
            vision_config=vision,
            prompt_encoder_config={"hidden_size": 128, "image_size": 128},
            mask_decoder_config={"hidden_size": 128},
            image_size=128,
            memory_attention_hidden_size=128,
            memory_attention_num_layers=2,
            memory_attention_feed_forward_hidden_size=128,
            memory_attention_rope_feat_sizes=[8, 8],
            memory_encoder_hidden_size=128,
            mask_downsampler_embed_dim=128,
            memory_fuser_embed_dim=128,
            memory_fuser_intermediate_dim=512,
        )
    )


def test_weights_saved_by_transformers_give_the_same_network(tmp_path, reference):
    model = transformers_model()
    state = reference.network.state_dict()
    outcome = model.load_state_dict(state, strict=False)
    assert not outcome.unexpected_keys
    assert set(outcome.missing_keys) == {
        "no_memory_positional_encoding",
        "shared_image_embedding.positional_embedding",
    }
    model.save_pretrained(tmp_path)
    loaded = load_sam2(tmp_path, **TINY)
    assert torch.equal(answer(loaded), answer(reference))


def test_either_of_transformers_two_copies_of_the_frequencies_is_enough(tmp_path, reference):
    state = dict(reference.network.state_dict())
    kept = state.pop("prompt_encoder.shared_embedding.positional_embedding")
    state["shared_image_embedding.positional_embedding"] = kept
    save_file(state, tmp_path / "model.safetensors")
    assert torch.equal(answer(load_sam2(tmp_path, **TINY)), answer(reference))


def test_our_own_saved_weights_are_read_back(tmp_path, reference):
    save_file(reference.network.state_dict(), tmp_path / "model.safetensors")
    assert torch.equal(answer(load_sam2(tmp_path, **TINY)), answer(reference))


def test_the_segmenter_is_taken_out_of_secs_checkpoint():
    segmenter = load_sam2(tiny_weights_file("sec"), **TINY)
    assert segmenter.slots == 22
    assert segmenter.network.token_attn is not None


def test_unknown_and_missing_keys_are_listed(tmp_path, official):
    spoilt = dict(official)
    spoilt["surprise.weight"] = torch.zeros(1)
    del spoilt["no_obj_embed_spatial"]
    save_file(spoilt, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError) as error:
        load_sam2(tmp_path / "w.safetensors", **TINY)
    assert "1 unknown: surprise.weight" in str(error.value)
    assert "1 missing: occlusion_spatial_embedding_parameter" in str(error.value)


def test_a_checkpoint_of_sec_with_a_stranger_in_it_is_refused(tmp_path):
    state = tiny_weights("sec")
    save_file({**state, "stranger": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="1 unknown: stranger"):
        load_sam2(tmp_path / "w.safetensors", **TINY)


@dataclass
class ShapesAlone:
    """Weights of which no value may be read."""

    shapes: dict[str, tuple[int, ...]]

    def read(self, name: str) -> Tensor:
        pytest.fail(f"{name} was read")


@pytest.mark.parametrize("shape", [(), (0,), (7,), (1 << 40,)])
@pytest.mark.parametrize(
    "name",
    [
        "image_encoder.neck.convs.0.conv.weight",
        "image_encoder.neck.convs.1.conv.bias",
        "image_encoder.trunk.blocks.0.norm2.weight",
        "image_encoder.trunk.patch_embed.proj.weight",
        "image_encoder.trunk.pos_embed",
        "maskmem_tpos_enc",
        "memory_encoder.fuser.layers.0.pwconv1.weight",
        "no_obj_ptr",
    ],
)
def test_a_weight_of_a_wrong_shape_is_refused_before_anything_is_read(official, name, shape):
    shapes = {key: tuple(tensor.shape) for key, tensor in official.items()} | {name: shape}
    with pytest.raises(CheckpointError):
        load_network(ShapesAlone(shapes), torch.device("cpu"), torch.float32, **TINY)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, official, value):
    name = "sam_mask_decoder.iou_token.weight"
    spoilt = {**official, name: official[name].clone()}
    spoilt[name].view(-1)[3] = value
    save_file(spoilt, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"mask_decoder\.iou_token\.weight .* not finite"):
        load_sam2(tmp_path / "w.safetensors", **TINY)


def test_weights_of_another_network_are_refused(tmp_path):
    save_file({"conv1.weight": torch.zeros(8, 3, 7, 7)}, tmp_path / "resnet.safetensors")
    with pytest.raises(CheckpointError, match=r"not those of SAM 2\.1"):
        load_sam2(tmp_path / "resnet.safetensors")


def test_a_tensor_of_the_wrong_shape_is_named(tmp_path, official):
    save_file({**official, "no_obj_ptr": torch.zeros(1, 7)}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"no_object_pointer has shape \(1, 7\)"):
        load_sam2(tmp_path / "w.safetensors", **TINY)


def test_the_same_parameter_under_two_names_is_refused(tmp_path, official):
    twice = {**official, our_name("no_obj_ptr"): official["no_obj_ptr"].clone()}
    save_file(twice, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="the same parameter"):
        load_sam2(tmp_path / "w.safetensors", **TINY)


def test_an_image_encoder_that_is_none_of_the_official_needs_its_wiring():
    with pytest.raises(CheckpointError, match="wiring"):
        load_sam2(tiny_weights_file("sam2"), image_side=128)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_are_cast_but_the_frequencies_stay_exact(dtype, reference):
    segmenter = load_sam2(tiny_weights_file("sam2"), dtype=dtype, **TINY)
    types = {name: tensor.dtype for name, tensor in segmenter.network.state_dict().items()}
    assert types.pop("prompt_encoder.shared_embedding.positional_embedding") == torch.float32
    assert set(types.values()) == {dtype}
    exact = answer(reference)
    assert (answer(segmenter) - exact).abs().mean() < 0.05 * exact.abs().mean()


# Parameters in millions as SAM 2's README states them for 2.1; it cuts the digits off.
MILLIONS = {"tiny": 38.9, "small": 46.0, "base-plus": 80.8, "large": 224.4}


@pytest.mark.parametrize(("name", "millions"), MILLIONS.items())
def test_the_official_sizes_are_built_and_read_off_their_weights(name, millions):
    sizes = SIZES[name]
    with torch.device("meta"):
        network = Sam2Network(sizes)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert infer_sizes(shapes, 1024) == sizes
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count // 100_000 / 10 == millions

import json
import sys
import weakref

import pytest
import torch
from safetensors.torch import load_file

from helpers.fixtures import facts, fixture
from segment_concept.checkpoints.sec.internvl import Placement, load_concept_network, load_tokenizer
from segment_concept.models.internvl.prompt_template import Conversation
from segment_concept.models.internvl.sizes import TINY
from segment_concept.types import CheckpointError, InputError


@pytest.fixture
def weights():
    return load_file(fixture("parity/sec_tiny_concept_weights.safetensors"))


def test_published_weights_fill_the_network_completely(weights):
    network = load_concept_network(TINY, weights.items(), Placement())
    tensors = [*network.parameters(), *network.buffers()]
    assert not any(t.is_meta for t in tensors)
    assert {t.dtype for t in network.parameters()} == {torch.float32}
    assert not network.training


def test_missing_weights_are_listed(weights):
    del weights["mlp1.0.bias"], weights["vision_model.encoder.layers.1.attn.qkv.bias"]
    with pytest.raises(CheckpointError, match=r"4 missing: backbone.*layer_norm.bias"):
        load_concept_network(TINY, weights.items(), Placement())


def test_unknown_weights_are_listed(weights):
    weights["vision_model.encoder.layers.0.attn.q_norm.weight"] = torch.ones(64)
    weights["language_model.model.layers.7.input_layernorm.weight"] = torch.ones(64)
    with pytest.raises(CheckpointError, match=r"2 unknown: language_model.*layers\.7.*q_norm"):
        load_concept_network(TINY, weights.items(), Placement())


def test_a_weight_of_another_shape_is_refused_by_name(weights):
    weights["text_hidden_fcs.2.bias"] = torch.ones(256)
    with pytest.raises(CheckpointError, match=r"head\.2\.bias has shape \(256,\).*\(128,\)"):
        load_concept_network(TINY, weights.items(), Placement())


def test_number_types_are_chosen_once_and_rotary_frequencies_stay_exact(weights):
    network = load_concept_network(TINY, weights.items(), Placement.on("cpu", torch.bfloat16))
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
    rotary = network.backbone.language_model.rotary_emb.inv_freq
    assert torch.allclose(rotary, 1e6 ** -(torch.arange(0, 16, 2) / 16), rtol=1e-6)
    assert rotary.dtype == torch.float32


def test_weights_are_taken_one_after_another_and_let_go(weights):
    alive = []

    def one_by_one():
        for name, tensor in weights.items():
            copy = tensor.clone()
            alive.append(weakref.ref(copy))
            yield name, copy
            del copy
            assert sum(reference() is not None for reference in alive) <= 1

    load_concept_network(TINY, one_by_one(), Placement())
    assert len(alive) == len(weights)


def test_our_own_names_load_back(weights):
    network = load_concept_network(TINY, weights.items(), Placement())
    again = load_concept_network(
        TINY, network.state_dict().items(), Placement(), rename=lambda name, t: {name: t}
    )
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])


def test_the_language_model_may_live_on_another_device(weights):
    network = load_concept_network(TINY, weights.items(), Placement(vision="cpu", language="meta"))
    devices = {name: p.device.type for name, p in network.named_parameters()}
    elsewhere = {name for name, device in devices.items() if device == "meta"}
    assert elsewhere == {n for n in devices if "language_model" in n or n.startswith("head.")}
    assert network.device.type == "meta"


def test_four_bits_without_bitsandbytes_say_what_to_install(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(InputError, match="pip install 'segment-concept"):
        load_concept_network(TINY, weights.items(), Placement(four_bit=True))


def test_four_bits_hold_the_decoder_only(weights):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    network = load_concept_network(
        TINY, weights.items(), Placement(dtype=torch.bfloat16, four_bit=True)
    )
    packed = {name for name, p in network.named_parameters() if p.dtype == torch.uint8}
    assert len(packed) == 2 * 7
    assert all(".language_model.layers." in name for name in packed)
    assert network.dtype == torch.bfloat16


def test_a_tokenizer_in_the_published_layout_is_read_without_running_its_code(tmp_path):
    """vocab.json, merges.txt and a config.json that points at code, as on the hub."""
    tokenizer = facts("parity/sec_tokenizer/tokenizer")
    added = {str(token.pop("id")): token for token in tokenizer["added_tokens"]}
    (tmp_path / "vocab.json").write_text(json.dumps(tokenizer["model"]["vocab"]))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "Qwen2Tokenizer",
                "added_tokens_decoder": added,
                "additional_special_tokens": ["<img>", "</img>", "<IMG_CONTEXT>", "[SEG]"],
                "eos_token": "<|im_end|>",
                "pad_token": "<|endoftext|>",
            }
        )
    )
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "sec", "auto_map": {"AutoModel": "modeling_sec.SeCModel"}})
    )
    ours = Conversation(load_tokenizer(tmp_path), 263).tokens(already_read=0, keyframes=2)
    expected = Conversation(load_tokenizer(fixture("parity/sec_tokenizer")), 263)
    assert ours == expected.tokens(already_read=0, keyframes=2)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no usable tokenizer"):
        load_tokenizer(tmp_path)

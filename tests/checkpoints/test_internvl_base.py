"""The base model from which SeC's training starts."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.internvl_base import SEG_ROW, write_base
from segment_concept.checkpoints.sec.base import open_internvl
from segment_concept.checkpoints.sec.internvl import Placement, load_concept_network, load_tokenizer
from segment_concept.checkpoints.sec.internvl_keys import published_weights
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.packed_attention import PackedRows
from segment_concept.models.internvl.prompt_template import Conversation
from segment_concept.models.internvl.sizes import TINY
from segment_concept.types import CheckpointError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp("base") / "InternVL2_5-tiny")


@pytest.fixture
def copy(folder, tmp_path):
    """A base model that a test may damage."""
    return write_base(tmp_path / "copy")


def test_seg_is_appended_to_tokenizer_embeddings_and_language_model_head(folder, tmp_path):
    base = open_internvl(folder, concept_width=128)
    network = base.load(Placement(), words=True, seed=3)
    assert base.seg == SEG_ROW
    assert network.words.weight.shape == (SEG_ROW + 1, 64)
    stored = load_file(folder / "model.safetensors")
    embeddings = network.backbone.language_model.embed_tokens.weight
    assert torch.equal(embeddings[:-1], stored["language_model.model.embed_tokens.weight"])
    assert 0.01 < embeddings[-1].std() < 0.04
    saved = load_tokenizer(base.save_tokenizer(tmp_path / "tokenizer"))
    Conversation(saved, SEG_ROW + 1)
    assert saved.encode("[SEG]", add_special_tokens=False) == [SEG_ROW]


def test_the_seed_alone_decides_the_new_parts(folder):
    base = open_internvl(folder, concept_width=128)
    one = base.load(Placement(), words=True, seed=3).state_dict()
    without_words = base.load(Placement(), words=False, seed=3).state_dict()
    other = base.load(Placement(), words=True, seed=4).state_dict()
    assert one.keys() - without_words.keys() == {"words.weight"}
    assert all(torch.equal(one[name], without_words[name]) for name in without_words)
    assert {n for n in one if not torch.equal(one[n], other[n])} == {
        "head.0.weight",
        "head.0.bias",
        "head.2.weight",
        "head.2.bias",
        "words.weight",
        "backbone.language_model.embed_tokens.weight",
    }


def changed(folder, change):
    weights = change(load_file(folder / "model.safetensors"))
    save_file(weights, folder / "model.safetensors")


def test_sec_itself_is_no_base_model(copy):
    changed(copy, lambda weights: weights | {"text_hidden_fcs.0.bias": torch.ones(64)})
    with pytest.raises(CheckpointError, match="is SeC, not a base model"):
        open_internvl(copy)


def test_another_model_is_refused_by_one_of_its_names(copy):
    changed(copy, lambda weights: {"model.diffusion.weight": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"not those of InternVL2\.5 \(one is model\.diff"):
        open_internvl(copy)


def test_a_model_of_another_size_than_its_config_is_refused(copy):
    config = json.loads((copy / "config.json").read_text())
    config["llm_config"]["hidden_size"] = 128
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="belong to different checkpoints"):
        open_internvl(copy).load(Placement(), words=False, seed=0)


def test_a_missing_shard_is_named(copy):
    changed(copy, lambda w: {n: t for n, t in w.items() if "embed_tokens" not in n})
    with pytest.raises(CheckpointError, match="a shard is missing"):
        open_internvl(copy)


def test_a_folder_without_config_or_tokenizer_is_refused(copy):
    (copy / "tokenizer_config.json").unlink()
    with pytest.raises(CheckpointError, match="no tokenizer next to"):
        open_internvl(copy)
    (copy / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json of an InternVL2\.5 model"):
        open_internvl(copy)


def internlm2(network, config, folder):
    """A base model on InternLM2 with the weights of a network, on disk."""
    stored = dict(published_weights(network.state_dict(), network.size))
    kept = {n: t.contiguous() for n, t in stored.items() if not n.startswith("text_hidden")}
    save_file(kept, folder / "model.safetensors")
    config["llm_config"] |= {"model_type": "internlm2", "architectures": ["InternLM2ForCausalLM"]}
    config["llm_config"]["rope_parameters"] = None
    config["llm_config"]["rope_theta"] = 1e6
    (folder / "config.json").write_text(json.dumps(config))


@torch.no_grad()
def test_a_base_on_internlm2_reads_packed_rows_as_alone(copy):
    torch.manual_seed(0)
    language = replace(TINY.language, vocabulary=SEG_ROW, family="internlm2")
    made = ConceptNetwork(replace(TINY, language=language), words=True)
    internlm2(made, json.loads((copy / "config.json").read_text()), copy)
    assert "language_model.model.layers.0.attention.wqkv.weight" in load_file(
        copy / "model.safetensors"
    )
    network = open_internvl(copy, concept_width=128).load(Placement(), words=True, seed=0)
    state, first = network.state_dict(), made.state_dict()
    same = [n for n in first if torch.equal(state[n], first[n])]
    assert len(same) == len([n for n in first if "head." not in n]) - 2  # embeddings, words
    tokens = torch.randn(9, 64)
    together = network.read(tokens, PackedRows([4, 5], [[], []], None))
    for part in (slice(0, 4), slice(4, 9)):
        alone = network.read(tokens[part], PackedRows([len(tokens[part])], [[]], None))
        assert torch.allclose(together[part], alone, atol=1e-5)


def test_a_network_without_its_language_model_head_is_not_loaded_with_one():
    with torch.device("meta"):
        laid_out = ConceptNetwork(TINY)
    weights = {n: torch.zeros(p.shape) for n, p in laid_out.named_parameters()}
    with pytest.raises(CheckpointError, match=r"1 missing: words\.weight"):
        load_concept_network(
            TINY, weights.items(), Placement(), lambda n, tensor: {n: tensor}, words=True
        )

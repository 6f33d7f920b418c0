"""Exporting the runs of both stages: what is written tracks with what was trained."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from helpers.internvl_base import SEG_ROW
from helpers.sam2_reference import TINY
from helpers.sec_training import base, segmenter, task
from segment_concept.checkpoints.sam2.load import load_sam2, load_sam2_network
from segment_concept.checkpoints.sam2.save import read_header, save_sam2
from segment_concept.checkpoints.sec.load import UnstoredOptions, load_sec
from segment_concept.models.internvl.packed_attention import PackedRows
from segment_concept.models.sam2.network import Sam2Network
from segment_concept.train.export_sec import ExportOptions, export_run
from segment_concept.train.run_state import Progress
from segment_concept.train.weights import saved_state
from segment_concept.types import CheckpointError, InputError

REPORT = {"score": 0.5, "j": 0.25}


def write_run(folder, recipe, trained, step=2):
    """A run as the loop leaves it."""
    state = folder / f"state-{step}"
    state.mkdir(parents=True)
    (folder / "recipe.json").write_text(json.dumps(recipe))
    save_file(trained, state / "trained.safetensors")
    Progress(step=step, report=dict(REPORT)).write(state)
    return folder


def trained_task(recipe):
    """A task whose trained parameters all differ from their first values."""
    found = task(recipe=recipe)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in found.network.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.05 * noise)
    return found


@pytest.fixture(scope="module", params=["concept", "concept_lean"])
def run(request, tmp_path_factory):
    found = trained_task(request.param)
    folder = tmp_path_factory.mktemp("runs") / request.param
    recipe = {"task": found.name, **found.recipe()}
    return found, write_run(folder, recipe, saved_state(found.network))


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "sec"
    return export_run(run[1], out), out


def tokens(found):
    """An example in the form that tracking uses."""
    return found.conversation.training_query(2)


def test_the_exported_model_gives_the_concepts_of_the_trained_one(run, exported):
    found, _ = run
    found.network.eval()
    pixels = torch.randn(2, 3, 448, 448, generator=torch.Generator().manual_seed(1))
    row = tokens(found)
    model = load_sec(exported[1])
    with torch.inference_mode():
        hidden = found.network.read(pixels, [row], found.conversation.image_token)
        ours = found.network.concepts(hidden, [row])
        ids = torch.tensor(row.ids)
        embeddings = model.network.embed(ids)
        patches = model.network.encode_images(pixels).flatten(0, 1)
        embeddings[ids == found.conversation.image_token] = patches
        read = model.network.read(embeddings, PackedRows([len(ids)], [[]], [0]))
        theirs = model.network.project(read[-1:])
    assert torch.allclose(theirs, ours, atol=1e-5, rtol=1e-5)
    assert model.concept_encoder() is not None


def test_the_exported_segmenter_is_stage_1s_with_its_memory_attention_for_concepts(exported):
    network = load_sec(exported[1]).segmenter.network
    start = load_sam2_network(segmenter())
    state = network.state_dict()
    assert all(torch.equal(state[n], t) for n, t in start.state_dict().items())
    copies = {n for n in state if n.startswith("token_attn.")}
    assert copies
    for name in copies:
        source = name.replace("token_attn.", "memory_attention.")
        assert torch.equal(state[name], state[source])


def test_the_language_model_head_is_not_exported(exported):
    names = load_sec(exported[1]).network.state_dict()
    assert not [n for n in names if n.startswith("words") or "lora" in n]


def test_the_card_names_recipe_commit_data_steps_and_report(run, exported):
    card, out = exported
    stored = json.loads((out / "config.json").read_text())["training"]
    assert stored == json.loads(json.dumps(card))
    assert stored["steps"] == 2
    assert stored["report"] == REPORT
    assert stored["recipe"]["recipe"] == run[0].recipe_.name
    assert len(stored["recipe"]["objects"]["sha256"]) == 64
    assert stored["commit"]


def test_the_published_names_hold_the_same_weights(run, exported, tmp_path):
    export_run(run[1], tmp_path / "published", ExportOptions(published=True))
    config = json.loads((tmp_path / "published" / "config.json").read_text())
    assert config["llm_config"]["vocab_size"] == SEG_ROW + 1
    assert config["grounding_maskmem_num"] == 22
    published = load_sec(tmp_path / "published", unstored=UnstoredOptions(128, TINY))
    ours = load_sec(exported[1])
    for one, two in (
        (published.network, ours.network),
        (published.segmenter.network, ours.segmenter.network),
    ):
        theirs = two.state_dict()
        assert one.state_dict().keys() == theirs.keys()
        assert all(torch.equal(t, theirs[n]) for n, t in one.state_dict().items())


def test_weights_are_exported_in_16_bits_on_request(run, tmp_path):
    export_run(run[1], tmp_path / "half", ExportOptions(dtype=torch.bfloat16))
    head = load_sec(tmp_path / "half").network.head[2].weight
    exact = run[0].network.state_dict()["concept.head.2.weight"]
    assert torch.equal(head, exact.bfloat16().float())


def test_a_run_on_a_base_in_4_bits_is_merged_into_the_whole_weights(run, exported, tmp_path):
    recipe = json.loads((run[1] / "recipe.json").read_text())
    recipe["base"]["four_bit"] = True
    folder = write_run(tmp_path / "run", recipe, saved_state(run[0].network))
    export_run(folder, tmp_path / "sec")
    ours, whole = load_sec(tmp_path / "sec").network, load_sec(exported[1]).network
    state = whole.state_dict()
    assert all(torch.equal(t, state[n]) for n, t in ours.state_dict().items())


def test_another_base_model_than_that_of_the_run_is_refused(run, tmp_path):
    folder = write_run(
        tmp_path / "run",
        {
            **json.loads((run[1] / "recipe.json").read_text()),
            "base": {"source": str(base()), "tokens": 9},
        },
        {"seg_row": torch.ones(64)},
    )
    with pytest.raises(CheckpointError, match=r"263 tokens with \[SEG\], that of the run has 9"):
        export_run(folder, tmp_path / "out")


def test_a_base_model_that_was_moved_is_given_by_its_new_place(run, tmp_path):
    recipe = json.loads((run[1] / "recipe.json").read_text())
    recipe["base"]["source"] = str(tmp_path / "gone")
    moved = write_run(tmp_path / "run", recipe, saved_state(run[0].network))
    with pytest.raises(CheckpointError, match="gone"):
        export_run(moved, tmp_path / "out")
    export_run(moved, tmp_path / "out", ExportOptions(base=str(base())))
    assert (tmp_path / "out" / "config.json").is_file()


def test_a_folder_that_is_not_empty_and_a_run_without_a_state_are_refused(run, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        export_run(run[1], tmp_path / "full")
    assert (tmp_path / "full" / "file").read_text() == "mine"
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "recipe.json").write_text((run[1] / "recipe.json").read_text())
    with pytest.raises(CheckpointError, match="has no state of a training run"):
        export_run(tmp_path / "new", tmp_path / "out")
    with pytest.raises(InputError, match=r"has no recipe\.json"):
        export_run(tmp_path, tmp_path / "out")


@pytest.fixture
def memory_run(tmp_path):
    """A run of stage 1 that started from seven slots."""
    whole = load_sam2_network(segmenter())
    start = Sam2Network(replace(whole.sizes, slots=7))
    slots = "memory_temporal_positional_encoding"
    state = {**whole.state_dict(), slots: whole.state_dict()[slots][:7]}
    start.load_state_dict(state)
    save_sam2(start, tmp_path / "start.safetensors")
    trained = {
        n: t + 1 for n, t in whole.state_dict().items() if n.startswith(("memory_attention", slots))
    }
    recipe = {"task": "memory", "weights": str(tmp_path / "start.safetensors"), "slots": 22}
    return write_run(tmp_path / "memory", recipe, trained), trained, start


def test_a_run_of_stage_1_is_exported_with_its_22_slots_and_a_card(memory_run, tmp_path):
    folder, trained, start = memory_run
    export_run(folder, tmp_path / "sam2-22.safetensors")
    loaded = load_sam2(tmp_path / "sam2-22.safetensors")
    assert loaded.slots == 22
    state = loaded.network.state_dict()
    assert all(torch.equal(state[n], t) for n, t in trained.items())
    untouched = start.state_dict().keys() - trained.keys()
    assert all(torch.equal(state[n], start.state_dict()[n]) for n in untouched)
    card = read_header(tmp_path / "sam2-22.safetensors").training
    assert card["steps"] == 2
    assert card["recipe"]["task"] == "memory"


def test_stage_2_starts_from_a_run_of_stage_1(memory_run):
    folder, trained, _ = memory_run
    found = task(segmenter=str(folder), recipe="concept_lean")
    state = found.network.segmenter.state_dict()
    for name, tensor in trained.items():
        assert torch.equal(state[name], tensor)


def test_a_segmenter_without_22_slots_is_refused(memory_run, tmp_path):
    with pytest.raises(CheckpointError, match=r"has 7 memory slots, SeC's has 22: train it first"):
        task(segmenter=str(tmp_path / "start.safetensors"))


def test_a_run_has_no_frozen_weights(run):
    frozen = {n for n, p in run[0].network.named_parameters() if not p.requires_grad}
    assert not frozen & saved_state(run[0].network).keys()

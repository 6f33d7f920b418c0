"""Cutie and XMem by recipe: where their weights are looked for, and what is refused."""

import hashlib
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from helpers.propagation_toys import FIRST, red, tiny_cutie, tiny_xmem, video
from segment_concept import Box, load
from segment_concept.baselines import PUBLISHED, PropagationTracker
from segment_concept.checkpoints.load import bundled_weights, load_tracker, weights_hash
from segment_concept.compat import VideoPredictor
from segment_concept.recipes import find_recipe
from segment_concept.types import CheckpointError, InputError

TOYS = {"cutie_base": tiny_cutie, "xmem": tiny_xmem}


@pytest.fixture(autouse=True)
def _nothing_fetched_before(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)


def saved(name, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = TOYS[name]().state_dict()
    torch.save(weights, path) if path.suffix == ".pth" else save_file(weights, path)
    return path


@pytest.mark.parametrize("name", TOYS)
def test_a_file_of_weights_becomes_a_tracker_that_tracks(name, tmp_path):
    recipe = replace(find_recipe(name), weights=str(saved(name, tmp_path / "mine.pth")))
    tracker = load(recipe, device="cpu")
    assert isinstance(tracker, PropagationTracker)
    frames = video(3)
    session = tracker.session()
    session.prompt(frames[0], {FIRST: red(frames[0])})
    assert [r.logits.shape for r in session.track(frames[1:])] == [(1, 48, 64)] * 2


@pytest.mark.parametrize(
    ("file", "weights"),
    [
        ("XMem.pth", "XMem.pth"),
        ("XMem.pth", PUBLISHED["XMem.pth"].url),
        ("XMem.pth", "{tmp}"),
        ("hub/checkpoints/XMem.pth", "XMem.pth"),
        ("hub/checkpoints/XMem.pth", PUBLISHED["XMem.pth"].url),
        ("folder/anything.safetensors", "{tmp}/folder"),
        ("other/XMem-s012.pth", "{tmp}/other"),
    ],
)
def test_weights_are_found_by_name_by_address_in_a_folder_and_where_torch_keeps_them(
    file, weights, tmp_path
):
    path = saved("xmem", tmp_path / file)
    recipe = replace(find_recipe("xmem"), weights=weights.format(tmp=tmp_path))
    assert isinstance(load(recipe, device="cpu"), PropagationTracker)
    assert weights_hash(recipe) == hashlib.sha256(path.read_bytes()).hexdigest()
    weights_hash.cache_clear()  # the same name is another file in the next test


@pytest.mark.parametrize(("name", "file"), [("cutie_base", "cutie-base-mega"), ("xmem", "XMem")])
def test_missing_weights_are_reported_with_their_source(name, file, tmp_path):
    with pytest.raises(CheckpointError) as error:
        load(name)
    for word in (f"{file}.pth", "https://github.com/hkchengrex", "--weights FILE", str(tmp_path)):
        assert word in str(error.value)


def test_a_missing_file_is_not_searched_elsewhere(tmp_path):
    saved("xmem", tmp_path / "hub/checkpoints/XMem.pth")
    with pytest.raises(CheckpointError, match=r"no file or folder gone/XMem\.pth"):
        load(replace(find_recipe("xmem"), weights="gone/XMem.pth"))


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(CheckpointError, match=r"notes\.txt is not a weights file"):
        load(replace(find_recipe("xmem"), weights="notes.txt"))


def test_a_published_name_with_another_content_is_refused(tmp_path):
    saved("cutie_base", tmp_path / "cutie-base-mega.pth")
    with pytest.raises(CheckpointError, match="its MD5 is"):
        load("cutie_base")


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    saved("cutie_base", tmp_path / "mine.pth")
    with pytest.raises(CheckpointError, match=r"mine\.pth: these are weights of Cutie, not of XM"):
        load(replace(find_recipe("xmem"), weights="mine.pth"))
    with pytest.raises(CheckpointError, match="these are not weights of Cutie"):
        load(replace(find_recipe("cutie_base"), weights=str(bundled_weights())))


def test_a_box_is_refused_with_what_to_give_instead(tmp_path):
    saved("xmem", tmp_path / "XMem.pth")
    with pytest.raises(InputError, match="needs masks, and the prompt of object 1 is a Box"):
        load("xmem", device="cpu").session().prompt(video(1)[0], {FIRST: Box(1, 1, 9, 9)})


def test_there_is_no_language_model_to_place():
    with pytest.raises(InputError, match="recipe xmem has no language model"):
        load("xmem", language_device="cpu")


def test_methods_that_need_sam_2s_memory_refuse_other_trackers():
    with pytest.raises(InputError, match="recipe cutie_base is Cutie"):
        load_tracker("cutie_base")
    with pytest.raises(InputError, match="recipe xmem is XMem"):
        VideoPredictor.from_pretrained("xmem")

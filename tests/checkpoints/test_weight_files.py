"""Finding and reading weights: files, folders, shards, hub names, and everything that can fail."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import save_file
from torch import Tensor

from segment_concept.checkpoints import files, hub
from segment_concept.checkpoints.files import Prefixed, find_files, open_weights, tensors
from segment_concept.types import CheckpointError

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4)}


def check(weights: files.Weights, state: dict[str, Tensor] = STATE) -> None:
    assert dict(weights.shapes) == {name: tuple(t.shape) for name, t in state.items()}
    assert all(torch.equal(tensor, state[name]) for name, tensor in tensors(weights))


def test_a_safetensors_file_is_read(tmp_path):
    save_file(STATE, tmp_path / "w.safetensors")
    check(open_weights(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("content", [STATE, {"model": STATE, "epoch": 3}])
def test_a_pytorch_file_is_read_with_its_state_dict_at_the_top_or_under_model(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    check(open_weights(tmp_path / "w.pt"))


def test_a_folder_with_one_file_is_enough(tmp_path):
    torch.save(STATE, tmp_path / "sam2.1_hiera_tiny.pt")
    check(open_weights(tmp_path))


def test_in_a_folder_with_several_model_safetensors_is_meant(tmp_path):
    torch.save({"other": torch.ones(1)}, tmp_path / "w.pt")
    save_file(STATE, tmp_path / "model.safetensors")
    check(open_weights(tmp_path))


def test_several_files_of_other_names_in_a_folder_are_listed(tmp_path):
    torch.save(STATE, tmp_path / "a.pt")
    torch.save(STATE, tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match=r"several.*a\.pt, b\.pt"):
        open_weights(tmp_path)


def sharded(folder: Path) -> None:
    for name, tensor in STATE.items():
        save_file({name: tensor}, folder / f"{name}.safetensors")
    index = {"weight_map": {name: f"{name}.safetensors" for name in STATE}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_shards_are_read_as_one(tmp_path):
    sharded(tmp_path)
    check(open_weights(tmp_path))


def test_a_missing_shard_is_named(tmp_path):
    sharded(tmp_path)
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"1 of 2 shards.*b\.safetensors"):
        open_weights(tmp_path)


def test_a_damaged_index_is_refused(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": ')
    with pytest.raises(CheckpointError, match=r"index\.json is damaged"):
        open_weights(tmp_path)


@pytest.mark.parametrize("source", ["nowhere/sam2.pt", "missing.safetensors", "/no/such/folder"])
def test_a_missing_file_is_said_to_be_missing(source):
    with pytest.raises(CheckpointError, match="no weights file or folder"):
        open_weights(source)


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(CheckpointError, match=r"expected model\.safetensors"):
        open_weights(tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "w.txt").write_text("no weights")
    with pytest.raises(CheckpointError, match="not a weights file"):
        open_weights(tmp_path / "w.txt")


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.9])
def test_a_truncated_file_is_refused(tmp_path, suffix, share):
    state = {"a": torch.zeros(1000), "b": torch.zeros(1000)}
    path = tmp_path / f"w.{suffix}"
    torch.save(state, path) if suffix == "pt" else save_file(state, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match="damaged, truncated"):
        open_weights(path)


class Payload:
    def __reduce__(self):
        return (print, ("code of a weights file ran",))


def test_code_in_a_weights_file_is_never_run(tmp_path, capsys):
    torch.save({"a": Payload()}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError):
        open_weights(tmp_path / "w.pt")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [[torch.ones(1)], {"a": 3}, torch.ones(1)])
def test_a_pytorch_file_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="not a state dict"):
        open_weights(tmp_path / "w.pt")


def test_a_part_is_read_under_its_shorter_names(tmp_path):
    save_file({"part.x": torch.ones(2), "y": torch.zeros(3)}, tmp_path / "w.safetensors")
    check(Prefixed(open_weights(tmp_path), "part."), {"x": torch.ones(2)})


class Hub:
    """A hub that holds some files; anything else is not found."""

    def __init__(self, folder: Path, *held: str) -> None:
        self.folder, self.held, self.asked = folder, held, []

    def __call__(self, repository: str, file: str, **_: Any) -> str:
        self.asked.append((repository, file))
        if file not in self.held:
            raise EntryNotFoundError(f"{file} is not in {repository}")
        return str(self.folder / file)


@pytest.fixture
def on_hub(tmp_path, monkeypatch) -> Callable[..., Hub]:
    """Makes a hub whose files lie in the test's folder."""

    def make(*held: str) -> Hub:
        made = Hub(tmp_path, *held)
        monkeypatch.setattr(hub, "get_hf_file_metadata", lambda url, timeout: None)
        monkeypatch.setattr(hub, "hf_hub_download", made)
        return made

    return make


def test_a_hub_name_is_looked_up_in_both_published_layouts(tmp_path, on_hub):
    torch.save(STATE, tmp_path / "sam2.1_hiera_base_plus.pt")
    made = on_hub("sam2.1_hiera_base_plus.pt")
    check(open_weights("facebook/sam2.1-hiera-base-plus"))
    assert next(file for _, file in made.asked) == "model.safetensors"


def test_one_file_of_a_hub_repository_can_be_named(tmp_path, on_hub):
    made = on_hub("deep/w.pt")
    assert find_files("someone/weights/deep/w.pt") == (tmp_path / "deep/w.pt",)
    assert made.asked == [("someone/weights", "deep/w.pt")]


def test_shards_on_the_hub_are_all_fetched(tmp_path, on_hub):
    sharded(tmp_path)
    on_hub(*(p.name for p in tmp_path.iterdir()))
    check(open_weights("someone/sharded"))


def test_a_hub_repository_without_weights_is_refused(on_hub):
    on_hub()
    with pytest.raises(CheckpointError, match=r"has none of: model\.safetensors"):
        open_weights("someone/datasets")


def test_without_network_a_hub_name_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="hub cannot be reached"):
        open_weights("facebook/sam2.1-hiera-tiny")


def test_an_unreachable_hub_is_contacted_once(monkeypatch, tmp_path):
    asked = []

    def refuse(url: str, timeout: float) -> None:
        asked.append(url)
        raise ConnectionError("no route to host")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "get_hf_file_metadata", refuse)
    monkeypatch.setattr(hub, "hf_hub_download", lambda *_, **__: pytest.fail("asked again"))
    with pytest.raises(CheckpointError, match="hub cannot be reached"):
        open_weights("facebook/sam2.1-hiera-tiny")
    assert len(asked) == 1


@pytest.mark.parametrize(
    "source",
    [
        "./checkpoints/x.pt",
        "../x.pt",
        "../checkpoints/x.pt",
        "~/checkpoints/x.pt",
        ".hidden/x",
        "a--b/c",
        "a/../b",
        "a/b/../c.pt",
        "a//b/c",
        "ä/b",
        "x" * 120 + "/y",
        "-a/b",
        "a-/b",
        "here/sam2/x.pt",
        "",
    ],
)
def test_an_impossible_hub_name_is_reported_as_a_missing_path(source, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "get_hf_file_metadata", lambda *_, **__: pytest.fail("hub was asked"))
    with pytest.raises(CheckpointError, match="no weights"):
        open_weights(source)


def test_a_mistyped_file_name_is_answered_with_the_nearest_one(tmp_path):
    torch.save(STATE, tmp_path / "sam2.1_hiera_large.pt")
    with pytest.raises(CheckpointError, match=r"did you mean .*sam2\.1_hiera_large\.pt\?"):
        open_weights(tmp_path / "sam2.1_hiera_lagre.pt")


@pytest.mark.parametrize(
    "content",
    [
        {"weight_map": {"a.weight": "../outside.safetensors"}},
        {"weight_map": {"a.weight": "/etc/outside.safetensors"}},
        {"weight_map": {"a.weight": "deeper/inside.safetensors"}},
        {"weight_map": {"a.weight": "C:\\outside.safetensors"}},
        {"weight_map": {"a.weight": 3}},
        {"weight_map": {"a.weight": "script.py"}},
        {"weight_map": {}},
        {"weight_map": []},
        [],
    ],
)
def test_an_index_lists_only_weights_beside_it(tmp_path, content):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"index\.json is damaged"):
        open_weights(tmp_path)


def test_an_index_that_is_nested_without_end_is_refused(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match=r"index\.json is damaged"):
        open_weights(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="device or a pipe"):
        open_weights(tmp_path / "w.safetensors")

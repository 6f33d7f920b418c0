"""`segment-concept convert`, from the command line."""

import hashlib
import shutil
from pathlib import Path

import pytest
import typer
from safetensors.torch import save_file
from typer.testing import CliRunner

from helpers.fixtures import fixture
from helpers.tiny_weights import tiny_weights, tiny_weights_file
from segment_concept.checkpoints.sec.load import UnstoredOptions, load_sec
from segment_concept.checkpoints.sec.save import save_sec
from segment_concept.cli import convert
from segment_concept.models.sam2.sizes import HieraWiring


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    convert.register(app)
    app.callback()(lambda: None)
    return app


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = load_sec(
        tiny_weights_file("sec"),
        tokenizer=fixture("parity/sec_tokenizer"),
        unstored=UnstoredOptions(128, HieraWiring(1, (8, 4, 8, 4), (3,))),
    )
    save_sec(model, tmp_path / "saved")
    return tmp_path / "saved"


def run(app: typer.Typer, *words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["convert", *map(str, words)])
    return result.exit_code, " ".join(result.output.split())


def test_weights_are_converted_and_all_hashes_printed(app, saved, tmp_path):
    code, said = run(app, saved, tmp_path / "half", "--dtype", "bfloat16")
    assert code == 0
    for label, folder in (("read", saved), ("wrote", tmp_path / "half")):
        data = (folder / "model.safetensors").read_bytes()
        assert f"{label} {hashlib.sha256(data).hexdigest()}" in said
    assert "(hash verified)" in said
    assert "in bfloat16" in said
    again = load_sec(tmp_path / "half").network.state_dict()
    exact = load_sec(saved).network.state_dict()
    assert all((again[n] == exact[n].bfloat16().float()).all() for n in exact)


def test_a_hash_that_does_not_fit_ends_with_a_sentence_and_nothing_written(app, saved, tmp_path):
    code, said = run(app, saved, tmp_path / "out", "--sha256", "0" * 64)
    assert code == 2
    assert said.startswith("error: ")
    assert f"expected {'0' * 64}: it is damaged or a different file; download it again" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["gone", "other weights", "no tokenizer"])
def test_an_impossible_conversion_ends_with_a_sentence(app, saved, tmp_path, damage):
    weights = saved / "model.safetensors"
    if damage == "gone":
        shutil.rmtree(saved)
    elif damage == "other weights":
        (saved / "config.json").unlink()
        save_file(tiny_weights("sam2"), weights)
    options = ["--tokenizer", tmp_path] if damage == "no tokenizer" else []
    code, said = run(app, saved, tmp_path / "out", *options)
    assert code == 2
    assert said.startswith("error: ")
    expected = {
        "gone": "there is no weights file or folder",
        "other weights": "SAM 2.1 without a concept network",
        "no tokenizer": "no usable tokenizer",
    }
    assert expected[damage] in said

"""What `doctor` says of weights, and of a torchvision that breaks transformers."""

import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

from segment_concept.checkpoints import load as loading
from segment_concept.checkpoints import readiness as module
from segment_concept.checkpoints.readiness import Readiness, readiness, recipes_by_readiness
from segment_concept.recipes import RECIPES, find_recipe
from segment_concept.runtime import versions
from segment_concept.types import InputError


@pytest.fixture(autouse=True)
def _no_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(module, "try_to_load_from_cache", lambda *_: None)


def test_the_bundled_model_is_ready_and_published_ones_are_downloaded() -> None:
    assert readiness(find_recipe("sec_compact")) is Readiness.READY
    assert readiness(find_recipe("sam2_tiny")) is Readiness.DOWNLOAD
    assert readiness(find_recipe("sec_4b")) is Readiness.DOWNLOAD
    assert readiness(find_recipe("xmem")) is Readiness.FILE


def test_weights_in_the_cache_or_on_disk_are_ready(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine.pt").write_bytes(b"x")
    mine = replace(find_recipe("sam2_tiny"), weights=str(tmp_path / "mine.pt"))
    assert readiness(mine) is Readiness.READY
    assert readiness(replace(mine, weights="./absent.pt")) is Readiness.FILE
    monkeypatch.setattr(module, "try_to_load_from_cache", lambda *_: "/cache/model.safetensors")
    assert readiness(find_recipe("sam2_large")) is Readiness.READY


def test_every_recipe_is_in_one_state() -> None:
    names = [name for names in recipes_by_readiness().values() for name in names]
    assert sorted(names) == sorted(RECIPES)


@pytest.fixture
def misfit(monkeypatch: pytest.MonkeyPatch) -> None:
    known = metadata.version
    monkeypatch.setattr(
        versions, "version", lambda name: "0.9" if name == "torchvision" else known(name)
    )

    def broken(name: str) -> ModuleType:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(versions, "import_module", broken)


def test_a_torchvision_that_does_not_fit_is_named(misfit: None) -> None:
    found = versions.torchvision_misfit()
    assert found is not None
    assert "torchvision 0.9 does not fit torch" in found
    assert "pip uninstall torchvision" in found


def test_without_torchvision_there_is_no_misfit(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(versions, "version", missing)
    assert versions.torchvision_misfit() is None


def test_loading_names_the_torchvision_that_broke_the_import(
    misfit: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "segment_concept.checkpoints.sam2.load", None)
    with pytest.raises(InputError, match=r"torchvision 0\.9 does not fit"):
        loading.load_tracker("sam2_tiny", device="cpu")

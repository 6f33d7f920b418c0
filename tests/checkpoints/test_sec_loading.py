"""SeC in all the layouts in which people have it: each gives the same networks."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError
from safetensors import safe_open

from helpers.sec_layouts import (
    TOKENIZER,
    UNTOLD,
    published_weights,
    reference,
    same,
    state,
    write_published,
    write_single,
)
from segment_concept.checkpoints import hub as hub_files
from segment_concept.checkpoints.load import load
from segment_concept.checkpoints.memory_estimate import SecPlacement
from segment_concept.checkpoints.sec.convert import convert_sec
from segment_concept.checkpoints.sec.internvl import Placement
from segment_concept.checkpoints.sec.load import load_sec
from segment_concept.checkpoints.sec.save import save_sec
from segment_concept.models.internvl.encoder import InternVLConceptEncoder
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.sizes import INTERNVL2_5_4B, with_vocabulary
from segment_concept.models.sam2.network import Sam2Network
from segment_concept.models.sam2.segmenter import Sam2Segmenter
from segment_concept.models.sam2.sizes import SEC_4B
from segment_concept.recipes import find_recipe
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.triggers.base import Every
from segment_concept.tracking.triggers.scene_change import HistogramShift
from segment_concept.types import CheckpointError, Frame, InputError, Mask, ObjectId


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return write_published(tmp_path / "SeC-4B")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_sec(reference(), tmp_path / "saved")
    return tmp_path / "saved"


class Hub:
    """A hub that holds repositories as folders, and counts what is fetched."""

    def __init__(self, **repositories: Path) -> None:
        self.folders = repositories
        self.fetched: list[str] = []

    def __call__(self, repository: str, file: str, **_: Any) -> str:
        path = self.folders[repository.replace("/", "_").replace("-", "_")] / file
        if not path.is_file():
            raise EntryNotFoundError(f"{file} is not in {repository}")
        self.fetched.append(f"{repository}/{file}")
        return str(path)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Hub]:
    def make(**repositories: Path) -> Hub:
        made = Hub(**repositories)
        monkeypatch.setattr(hub_files, "get_hf_file_metadata", lambda url, timeout: None)
        monkeypatch.setattr(hub_files, "hf_hub_download", made)
        return made

    return make


def test_the_published_folder_of_four_shards_gives_the_model_without_running_its_code(published):
    loaded = load_sec(published, unstored=UNTOLD)
    assert same(loaded, reference())
    assert loaded.segmenter.slots == 22
    assert loaded.tokenizer == published


def test_a_name_on_the_hub_gives_the_model(published, hub):
    made = hub(OpenIXCLab_SeC_4B=published)
    assert same(load_sec("OpenIXCLab/SeC-4B", unstored=UNTOLD), reference())
    assert len([f for f in made.fetched if f.endswith(".safetensors")]) == 4
    assert not any("modeling" in f for f in made.fetched)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_single_file_gives_the_model_with_sizes_read_off_its_weights(tmp_path, dtype):
    path = write_single(tmp_path / "SeC-4B-fp.safetensors", dtype)
    assert same(load_sec(path, tokenizer=TOKENIZER, unstored=UNTOLD), reference())


def test_a_single_file_in_bfloat16_gives_the_model_rounded_to_bfloat16(tmp_path):
    path = write_single(tmp_path / "SeC-4B-bf16.safetensors", torch.bfloat16)
    loaded = state(load_sec(path, tokenizer=TOKENIZER, unstored=UNTOLD))
    for name, exact in state(reference()).items():
        assert torch.equal(loaded[name], exact.bfloat16().float()), name


@pytest.mark.parametrize("place", [".", "tokenizer", "SeC-4B-fp16", "SeC-4B"])
def test_the_tokenizer_of_a_single_file_may_lie_beside_it_or_in_a_folder_there(tmp_path, place):
    path = write_single(tmp_path / "SeC-4B-fp16.safetensors", torch.float16)
    shutil.copytree(TOKENIZER, tmp_path / place, dirs_exist_ok=True)
    loaded = load_sec(path, unstored=UNTOLD)
    assert loaded.tokenizer == tmp_path / place
    assert isinstance(loaded.concept_encoder(), InternVLConceptEncoder)


def test_the_tokenizer_of_a_lone_file_is_fetched_from_the_hub(tmp_path, hub):
    hub(OpenIXCLab_SeC_4B=TOKENIZER)
    path = write_single(tmp_path / "SeC-4B-fp16.safetensors", torch.float16)
    assert load_sec(path, unstored=UNTOLD).tokenizer == TOKENIZER


def test_a_file_on_the_hub_takes_the_tokenizer_of_sec_where_its_repository_has_none(tmp_path, hub):
    write_single(tmp_path / "comfy" / "SeC-4B-fp16.safetensors", torch.float16)
    hub(VeryAladeen_Sec_4B=tmp_path / "comfy", OpenIXCLab_SeC_4B=TOKENIZER)
    loaded = load_sec("VeryAladeen/Sec-4B/SeC-4B-fp16.safetensors", unstored=UNTOLD)
    assert same(loaded, reference())
    assert loaded.tokenizer == TOKENIZER


def test_the_config_of_something_else_beside_a_single_file_is_not_taken_for_its_own(tmp_path):
    path = write_single(tmp_path / "SeC-4B-fp16.safetensors", torch.float16)
    (tmp_path / "config.json").write_text('{"model_type": "sam"}')
    assert same(load_sec(path, tokenizer=TOKENIZER, unstored=UNTOLD), reference())


def test_saved_weights_are_read_back_bit_for_bit_without_further_settings(saved):
    loaded = load_sec(saved)
    assert same(loaded, reference())
    assert loaded.segmenter.network.sizes == reference().segmenter.network.sizes
    assert loaded.network.size == reference().network.size
    assert loaded.tokenizer == saved


def test_a_saved_model_that_is_too_large_for_a_file_is_sharded(tmp_path):
    written = save_sec(reference(), tmp_path / "saved", shard_bytes=4 << 20)
    names = [file.path.name for file in written]
    assert names == [f"model-{i:05d}-of-{len(names):05d}.safetensors" for i in range(1, 5)]
    assert all(file.path.stat().st_size < (4 << 20) + 200_000 for file in written)
    assert same(load_sec(tmp_path / "saved"), reference())


def test_the_hashes_of_saved_files_are_stated_in_the_config(saved):
    stated = json.loads((saved / "config.json").read_text())["sha256"]
    data = (saved / "model.safetensors").read_bytes()
    assert stated == {"model.safetensors": hashlib.sha256(data).hexdigest()}


def test_saving_into_a_folder_in_use_is_refused_and_leaves_it_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        save_sec(reference(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_saving_to_a_full_disk_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"needs 0\.0 GB.*another disk"):
        save_sec(reference(), tmp_path / "saved")
    assert not list(tmp_path.iterdir())


def test_each_part_has_its_own_device_and_number_type(published):
    placement = SecPlacement(dtype=torch.bfloat16, concept=Placement("cpu", "meta", torch.float16))
    loaded = load_sec(published, placement, unstored=UNTOLD)
    types = {n: (t.dtype, t.device.type) for n, t in state(loaded).items()}
    frequencies = "segmenter.prompt_encoder.shared_embedding.positional_embedding"
    assert types.pop(frequencies) == (torch.float32, "cpu")
    for name, (dtype, device) in types.items():
        language = "language_model" in name or name.startswith("concept.head")
        assert device == ("meta" if language else "cpu"), name
        assert dtype == (torch.bfloat16 if name.startswith("segmenter") else torch.float16), name


def test_no_weight_keeps_the_file_open_or_is_laid_out_twice(published, monkeypatch):
    laid_out = []
    empty = torch.empty

    def counted(*shape, **options):
        made = empty(*shape, **options)
        if not made.is_meta:
            laid_out.append(made.numel())
        return made

    monkeypatch.setattr(torch, "empty", counted)
    loaded = load_sec(published, unstored=UNTOLD)
    assert sum(laid_out) == sum(t.numel() for t in state(loaded).values())
    shutil.rmtree(published)
    assert same(loaded, reference())


def test_sec_4b_has_the_weights_of_the_published_file_one_by_one():
    """1794 tensors with 3,947,733,106 numbers, as the card of the file in 16 bits counts them."""
    vocabulary, width = INTERNVL2_5_4B.language.vocabulary + 1, INTERNVL2_5_4B.language.width
    with torch.device("meta"):
        segmenter = Sam2Network(SEC_4B)
        concept = ConceptNetwork(with_vocabulary(INTERNVL2_5_4B, vocabulary))
    weights = [*segmenter.state_dict().values(), *concept.state_dict().values()]
    # Published otherwise: four embeddings of points in one table here, queries, keys and values
    # in one matrix there; not here: a position that SAM 2.1 does not use, and the word head.
    fused = 24 * 2 * (3 - 1)
    assert len(weights) + (4 - 1) - fused + 1 + 1 == 1794
    assert sum(w.numel() for w in weights) + 256 + vocabulary * width == 3_947_733_106


def test_the_recipe_is_secs_with_its_published_constants():
    recipe = find_recipe("sec_4b")
    assert (recipe.weights, recipe.network) == ("OpenIXCLab/SeC-4B", "sec")
    assert recipe.policy == ReliableMemory(slots=22, min_iou=0.3, pointers=16)
    assert recipe.trigger == HistogramShift(above=0.35, side=1024)
    assert recipe.keyframes == 7


def test_a_recipe_is_built_into_a_tracker_with_a_concept_encoder(saved):
    tracker = load(replace(find_recipe("sec_4b"), weights=str(saved)), device="cpu")
    assert isinstance(tracker.segmenter, Sam2Segmenter)
    assert isinstance(tracker.concept, InternVLConceptEncoder)
    assert tracker.keyframe_presence == 1.0
    assert tracker.segmenter.network.dtype == torch.float32


def test_the_recipe_chooses_the_number_types(saved):
    recipe = replace(
        find_recipe("sec_4b"),
        weights=str(saved),
        dtype="bfloat16",
        concept_dtype="float16",
    )
    tracker = load(recipe, device="cpu", language_device="cpu")
    assert tracker.segmenter.network.dtype == torch.bfloat16


def test_one_number_type_and_a_size_are_chosen_while_loading(saved):
    tracker = load("sec_4b", weights=str(saved), device="cpu", dtype="bfloat16", size=256)
    assert tracker.segmenter.network.dtype == torch.bfloat16
    assert tracker.concept._network.dtype == torch.bfloat16
    assert tracker.segmenter.network.sizes.image_side == 256


@pytest.mark.parametrize("side", [128, 160, 256])
def test_tracking_works_at_every_side_that_is_a_multiple_of_32(saved, side):
    tracker = load("sec_4b", weights=str(saved), device="cpu", size=side, trigger=Every(2))
    session = tracker.session()
    rng = np.random.default_rng(0)
    frames = [Frame(i, rng.integers(0, 256, (48, 80, 3), np.uint8)) for i in range(3)]
    bitmap = np.zeros((48, 80), bool)
    bitmap[8:30, 10:40] = True
    session.prompt(frames[0], {ObjectId(1): Mask(bitmap)})
    for frame in frames[1:]:
        result = session.step(frame)
        assert result.logits.shape == (1, 48, 80)
        assert torch.isfinite(result.logits).all()


def test_a_language_device_for_a_network_without_language_model_is_refused():
    with pytest.raises(InputError, match="no language model"):
        load("sam2_tiny", device="cpu", language_device="cpu")


class TestConversion:
    """`convert_sec` turns any layout into ours."""

    def test_the_published_folder_becomes_a_saved_model(self, published, tmp_path):
        done = convert_sec(published, tmp_path / "out", unstored=UNTOLD)
        assert same(load_sec(tmp_path / "out"), reference())
        assert done.dtype == torch.float32
        assert len(done.read) == 4
        data = done.written[0].path.read_bytes()
        assert done.written[0].sha256 == hashlib.sha256(data).hexdigest()
        assert (tmp_path / "out" / "tokenizer.json").is_file()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["SeC-4B", "out"]

    def test_numbers_stay_as_they_are_stored_or_become_what_is_asked_for(self, tmp_path):
        single = write_single(tmp_path / "SeC-4B-fp16.safetensors", torch.float16)
        options = {"tokenizer": TOKENIZER, "unstored": UNTOLD}
        for dtype, expected in ((None, "F16"), (torch.bfloat16, "BF16")):
            out = tmp_path / expected
            convert_sec(single, out, dtype=dtype, **options)
            with safe_open(out / "model.safetensors", "pt") as file:
                types = {n: file.get_slice(n).get_dtype() for n in file.keys()}  # noqa: SIM118
            exact = "segmenter.prompt_encoder.shared_embedding.positional_embedding"
            assert types.pop(exact) == "F32"
            assert set(types.values()) == {expected}

    def test_a_saved_model_is_converted_once_more(self, saved, tmp_path):
        convert_sec(saved, tmp_path / "half", dtype=torch.float16)
        assert same(load_sec(tmp_path / "half"), reference())

    def test_a_saved_file_that_changed_is_refused_by_its_stated_hash(self, saved, tmp_path):
        path = saved / "model.safetensors"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"has sha256 [0-9a-f]{64}, expected"):
            convert_sec(saved, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_hash_that_is_given_is_compared(self, tmp_path):
        single = write_single(tmp_path / "SeC-4B-fp16.safetensors", torch.float16)
        options = {"tokenizer": TOKENIZER, "unstored": UNTOLD}
        right = hashlib.sha256(single.read_bytes()).hexdigest()
        with pytest.raises(CheckpointError, match="expected 00000"):
            convert_sec(single, tmp_path / "out", sha256="0" * 64, **options)
        done = convert_sec(single, tmp_path / "out", sha256=right.upper(), **options)
        assert done.read[0].stated == right

    def test_one_hash_for_several_files_is_refused(self, published, tmp_path):
        with pytest.raises(InputError, match="4 files"):
            convert_sec(published, tmp_path / "out", sha256="0" * 64, unstored=UNTOLD)

    @pytest.mark.parametrize("correct", [True, False])
    def test_a_file_in_the_hubs_cache_is_checked_against_its_own_name(self, tmp_path, correct):
        single = write_single(tmp_path / "fetched.safetensors", torch.float16)
        sha256 = hashlib.sha256(single.read_bytes()).hexdigest() if correct else "0" * 64
        link = tmp_path / "snapshots" / "SeC-4B-fp16.safetensors"
        for folder in ("blobs", "snapshots"):
            (tmp_path / folder).mkdir()
        link.symlink_to(single.rename(tmp_path / "blobs" / sha256))
        options = {"tokenizer": TOKENIZER, "unstored": UNTOLD}
        if correct:
            assert convert_sec(link, tmp_path / "out", **options).read[0].stated == sha256
        else:
            with pytest.raises(CheckpointError, match="expected 00000"):
                convert_sec(link, tmp_path / "out", **options)

    def test_a_file_that_was_downloaded_to_a_folder_is_checked_against_its_metadata(self, tmp_path):
        single = write_single(tmp_path / "SeC-4B-fp16.safetensors", torch.float16)
        notes = tmp_path / ".cache/huggingface/download" / f"{single.name}.metadata"
        notes.parent.mkdir(parents=True)
        notes.write_text(f"{'a' * 40}\n{'0' * 64}\n1700000000.0\n")
        with pytest.raises(CheckpointError, match="expected 00000"):
            convert_sec(single, tmp_path / "out", tokenizer=TOKENIZER, unstored=UNTOLD)


def test_the_layouts_hold_every_published_name(published):
    index = json.loads((published / "model.safetensors.index.json").read_text())["weight_map"]
    assert index.keys() == published_weights().keys()
    assert len(set(index.values())) == 4


def test_a_recipe_names_the_tokenizers_folder_where_it_is_not_beside_the_weights(tmp_path):
    path = write_single(tmp_path / "SeC-4B.safetensors", torch.float32)
    recipe = replace(find_recipe("sec_4b"), weights=str(path), tokenizer=str(TOKENIZER))
    with pytest.raises(CheckpointError, match="its `wiring`"):
        load(recipe, device="cpu")  # the tokenizer was found; the tiny network is none of the four
    with pytest.raises(ValueError, match="no language model that needs a tokenizer"):
        replace(find_recipe("sam2_large"), tokenizer=str(TOKENIZER))

"""What can be wrong with a SeC checkpoint, and that each message says what to do about it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from helpers.sec_layouts import (
    TOKENIZER,
    UNTOLD,
    published_weights,
    reference,
    shard_name,
    write_published,
    write_single,
)
from helpers.tiny_weights import tiny_weights
from segment_concept.checkpoints import memory_estimate as room
from segment_concept.checkpoints.memory_estimate import GIB, SecPlacement, SecSizes, check_memory
from segment_concept.checkpoints.sec.internvl import Placement
from segment_concept.checkpoints.sec.load import load_sec
from segment_concept.checkpoints.sec.save import save_sec
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.sizes import INTERNVL2_5_4B
from segment_concept.models.sam2.network import Sam2Network
from segment_concept.models.sam2.sizes import SEC_4B
from segment_concept.types import CheckpointError, InputError


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return write_published(tmp_path / "SeC-4B")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, and nothing that was fetched before."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty cache"))


def write_some(path: Path, *prefixes: str) -> Path:
    weights = published_weights()
    save_file({n: t for n, t in weights.items() if n.startswith(prefixes)}, path)
    return path


def refused(source: Path | str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_sec(source, tokenizer=TOKENIZER, unstored=UNTOLD)


def test_a_checkpoint_that_is_not_there(tmp_path):
    refused(tmp_path / "SeC-4B", "there is no weights file or folder")


def test_a_folder_without_weights(tmp_path):
    refused(tmp_path, r"no weights in .*expected model\.safetensors")


def test_a_missing_shard(published):
    (published / shard_name(3)).unlink()
    refused(published, r"1 of 4 shards are missing in .*model-00003-of-00004")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.7])
def test_a_truncated_shard(published, share):
    shard = published / shard_name(2)
    whole = shard.read_bytes()
    shard.write_bytes(whole[: int(len(whole) * share)])
    refused(published, r"model-00002-of-00004\.safetensors is damaged, trunc.*download it again")


def test_one_shard_alone(published):
    refused(published / shard_name(1), "is one of 4 shards: give the folder")


def test_a_renamed_shard_alone(published, tmp_path):
    shutil.copyfile(published / shard_name(1), tmp_path / "SeC-4B.safetensors")
    refused(tmp_path / "SeC-4B.safetensors", "only a part of SeC.*a single shard")


def test_a_weight_that_is_missing_is_named(tmp_path):
    weights = dict(published_weights())
    del weights["mlp1.3.bias"]
    save_file(weights, tmp_path / "w.safetensors")
    refused(tmp_path / "w.safetensors", r"1 missing: backbone\.multi_modal_projector")


def test_the_weights_of_sam_2_alone(tmp_path):
    save_file(tiny_weights("sam2"), tmp_path / "sam2.safetensors")
    refused(tmp_path / "sam2.safetensors", r"SAM 2\.1 without a concept network.* a recipe sam2")


def test_the_language_model_alone(tmp_path):
    path = write_some(tmp_path / "internvl.safetensors", "vision_model", "mlp1", "language_model")
    refused(path, r"without SeC's segmenter.*use OpenIXCLab/SeC-4B")


def test_the_weights_of_something_else(tmp_path):
    save_file({"conv1.weight": torch.zeros(8, 3, 7, 7)}, tmp_path / "resnet.safetensors")
    refused(tmp_path / "resnet.safetensors", r"another model \(its weights are named conv1")


def test_weights_in_8_bits(tmp_path):
    path = write_single(tmp_path / "SeC-4B-fp8.safetensors", torch.float8_e4m3fn)
    refused(path, "stored as float8_e4m3fn.*fp16, bf16 or fp32.*four_bit=True")


def test_a_configuration_that_is_nested_without_end(published):
    (published / "config.json").write_text("[" * 100_000)
    refused(published, r"config\.json is damaged: download it again")


def test_a_damaged_configuration(published):
    (published / "config.json").write_text('{"llm_config": ')
    refused(published, r"config\.json is damaged: download it again")


def test_the_configuration_of_a_larger_language_model(published):
    config = json.loads((published / "config.json").read_text())
    config["llm_config"]["intermediate_size"] = 256
    (published / "config.json").write_text(json.dumps(config))
    refused(published, r"_proj\.weight has shape .*128.*to different checkpoints")


def test_a_language_model_of_a_family_that_is_not_supported(published):
    config = json.loads((published / "config.json").read_text())
    config["llm_config"]["model_type"] = "phi3"
    config["llm_config"]["architectures"] = ["Phi3ForCausalLM"]
    (published / "config.json").write_text(json.dumps(config))
    refused(published, "cannot be run here: .*phi3")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "segment-concept/sec-9"}, "another version of this package"),
        ({"segmenter": {"trunk": {}}}, "config.json is damaged"),
        ({"sha256": 3}, "config.json is damaged"),
    ],
)
def test_a_saved_model_with_a_spoilt_card(tmp_path, changes, message):
    save_sec(reference(), tmp_path / "saved")
    config = tmp_path / "saved" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    refused(tmp_path / "saved", message)


def test_a_saved_card_beside_other_weights(tmp_path):
    save_sec(reference(), tmp_path / "saved")
    write_single(tmp_path / "saved" / "model.safetensors", torch.float32)
    refused(tmp_path / "saved", r"does not describe.*belongs to another model")


def without_seg(folder: Path) -> Path:
    """The tokenizer of the plain language model."""
    shutil.copytree(TOKENIZER, folder)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] != "[SEG]"]
    path.write_text(json.dumps(content))
    return folder


def test_a_tokenizer_without_seg_is_refused_before_weights_are_read(published, tmp_path):
    plain = without_seg(tmp_path / "qwen")
    with pytest.raises(CheckpointError, match=r"no token '\[SEG\]'.*of the SeC checkpoint"):
        load_sec(published, tokenizer=plain, unstored=UNTOLD)


def test_a_tokenizer_folder_without_a_tokenizer(published, tmp_path):
    with pytest.raises(CheckpointError, match=r"no usable tokenizer in .*tokenizer_config\.json"):
        load_sec(published, tokenizer=tmp_path, unstored=UNTOLD)


@pytest.mark.usefixtures("offline")
def test_no_network_and_no_checkpoint():
    with pytest.raises(CheckpointError, match=r"hub cannot be reached.*give its path"):
        load_sec("OpenIXCLab/SeC-4B")


@pytest.mark.usefixtures("offline")
def test_no_network_and_no_tokenizer_beside_a_single_file(tmp_path):
    path = write_single(tmp_path / "SeC-4B-fp16.safetensors", torch.float16)
    with pytest.raises(CheckpointError) as error:
        load_sec(path, unstored=UNTOLD)
    for words in ("no tokenizer next to", "vocab.json, merges.txt", "--tokenizer", "cannot be rea"):
        assert words in str(error.value)


def sec_4b() -> SecSizes:
    with torch.device("meta"):
        parts = Sam2Network(SEC_4B).state_dict(), ConceptNetwork(INTERNVL2_5_4B).state_dict()
    segmenter, concept = ({n: tuple(t.shape) for n, t in part.items()} for part in parts)
    return SecSizes.of(segmenter, concept, SEC_4B, INTERNVL2_5_4B)


@pytest.fixture(scope="module")
def bulk() -> SecSizes:
    return sec_4b()


class TestRoom:
    """A GPU that is too small."""

    def message(
        self, monkeypatch: pytest.MonkeyPatch, bulk: SecSizes, free: float, how: SecPlacement
    ) -> str:
        given = {"cuda:0": int(free * GIB)}
        monkeypatch.setattr(room, "free_bytes", given.get)
        with pytest.raises(InputError) as error:
            check_memory(bulk, how)
        return str(error.value)

    def test_weights_are_counted_exactly_and_work_comes_on_top(self, bulk):
        weights = (bulk.segmenter, bulk.vision + bulk.decoder + bulk.language)
        assert weights == (230_369_906, 3_406_730_496)
        needed = bulk.bytes_on("cuda:0", SecPlacement.on("cuda:0", torch.bfloat16))
        assert 1.05 * 2 * sum(weights) < needed < 1.5 * 2 * sum(weights)
        assert bulk.bytes_on("cuda:1", SecPlacement.on("cuda:0")) == 0

    def test_settings_that_fit_are_listed_with_the_smallest_change_first(self, bulk, monkeypatch):
        said = self.message(monkeypatch, bulk, 12, SecPlacement.on("cuda:0"))
        assert "cuda:0 has 12.0 GiB free, and SeC needs about 15." in said
        assert said.index("dtype='bfloat16' (7.") < said.index("four_bit=True (")
        assert "language_device='cpu' (" in said

    def test_settings_that_do_not_fit_are_not_proposed(self, bulk, monkeypatch):
        said = self.message(monkeypatch, bulk, 6, SecPlacement.on("cuda:0", torch.bfloat16))
        assert "bfloat16" not in said
        assert "These fit: four_bit=True" in said

    def test_other_recipes_are_named_if_nothing_fits(self, bulk, monkeypatch):
        said = self.message(monkeypatch, bulk, 0.5, SecPlacement.on("cuda:0"))
        assert "No configuration fits" in said
        assert "sec_compact" in said

    def test_parts_on_several_devices_are_counted_there(self, bulk, monkeypatch):
        apart = SecPlacement(
            "cuda:0", torch.bfloat16, Placement("cuda:0", "cuda:1", torch.bfloat16)
        )
        monkeypatch.setattr(room, "free_bytes", {"cuda:0": 3 * GIB, "cuda:1": 8 * GIB}.get)
        check_memory(bulk, apart)
        monkeypatch.setattr(room, "free_bytes", {"cuda:0": 3 * GIB, "cuda:1": 4 * GIB}.get)
        with pytest.raises(InputError, match="cuda:1 has 4"):
            check_memory(bulk, apart)

    def test_memory_that_is_not_known_is_not_judged(self, bulk):
        check_memory(bulk, SecPlacement.on("cpu"))

    def test_it_is_refused_before_weights_are_read(self, published, monkeypatch):
        monkeypatch.setattr(room, "free_bytes", {"cuda:0": 1 << 20}.get)
        with pytest.raises(InputError, match=r"cuda:0 has 0\.0 GiB free"):
            load_sec(published, SecPlacement.on("cuda:0"), unstored=UNTOLD)

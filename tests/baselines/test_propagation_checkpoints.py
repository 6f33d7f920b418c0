import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.propagation_toys import FIRST, SECOND, blue, red, tiny_cutie, tiny_xmem, video
from segment_concept.baselines.checkpoints import (
    PUBLISHED,
    PublishedCheckpoint,
    convert_once,
    load_cutie,
    load_xmem,
    read_weights,
)
from segment_concept.baselines.cutie.network import CutieNetwork, CutieSize
from segment_concept.baselines.resnet import RESNET18
from segment_concept.baselines.session import cutie_tracker, xmem_tracker
from segment_concept.baselines.weights import cutie_from_weights, xmem_from_weights
from segment_concept.baselines.xmem.network import XMemNetwork, XMemSize
from segment_concept.types import CheckpointError, InputError

AUXILIARY = 66_049  # parameters of Cutie's training head, which is not needed here
CUTIE_SMALL = 28_747_578


def parameters(network) -> int:
    return sum(p.numel() for p in network.parameters())


def cutie_checkpoint() -> dict[str, torch.Tensor]:
    """As released: with the head that only serves training."""
    weights = dict(tiny_cutie(seed=1).state_dict())
    weights["aux_computer.sensory_aux.projection.weight"] = torch.zeros(33, 32, 1, 1)
    weights["aux_computer.sensory_aux.projection.bias"] = torch.zeros(33)
    return weights


def single_object(weights, *keys):
    """The same weights without the channel of the other objects."""
    return {k: v[:, :-1] if k in keys else v for k, v in weights.items()}


def test_networks_have_as_many_parameters_as_published():
    with torch.device("meta"):
        cutie, xmem = CutieNetwork(CutieSize()), XMemNetwork(XMemSize())
        small = CutieNetwork(CutieSize(image=RESNET18))
    assert parameters(cutie) == PUBLISHED["cutie-base-mega.pth"].parameters - AUXILIARY
    assert parameters(small) == CUTIE_SMALL - AUXILIARY
    assert parameters(xmem) == PUBLISHED["XMem.pth"].parameters


def test_cutie_is_loaded_from_its_official_file_whatever_its_size(tmp_path):
    torch.save(cutie_checkpoint(), tmp_path / "cutie.pth")
    network = load_cutie(tmp_path / "cutie.pth")
    assert network.size == replace(tiny_cutie().size, heads=8)  # weights do not tell the heads
    for key, value in tiny_cutie(seed=1).state_dict().items():
        assert torch.equal(network.state_dict()[key], value)


def test_xmem_is_loaded_from_its_official_file_whatever_its_size(tmp_path):
    torch.save(tiny_xmem(seed=1).state_dict(), tmp_path / "xmem.pth")
    network = load_xmem(tmp_path / "xmem.pth")
    assert network.size == tiny_xmem().size
    for key, value in tiny_xmem(seed=1).state_dict().items():
        assert torch.equal(network.state_dict()[key], value)


def test_weights_saved_while_training_are_found_beside_the_optimiser(tmp_path):
    content = {"it": 7, "network": dict(tiny_xmem().state_dict()), "optimizer": {"state": {}}}
    torch.save(content, tmp_path / "training.pth")
    assert load_xmem(tmp_path / "training.pth").size == tiny_xmem().size


def test_buffers_that_a_network_computes_may_be_missing():
    weights = {
        k: v
        for k, v in cutie_checkpoint().items()
        if not k.endswith(("inv_freq", "num_batches_tracked"))
    }
    computed = cutie_from_weights(weights).object_transformer.spatial_pe.inv_freq
    assert torch.equal(computed, tiny_cutie().object_transformer.spatial_pe.inv_freq)


@pytest.mark.parametrize(
    ("load", "weights", "message"),
    [
        (load_cutie, tiny_xmem().state_dict(), "weights of XMem, not of Cutie"),
        (load_xmem, cutie_checkpoint(), "weights of Cutie, not of XMem"),
        (load_xmem, {"image_encoder.trunk.x": torch.zeros(1)}, "weights of SAM 2, not of XMem"),
        (load_xmem, {"conv.weight": torch.zeros(1)}, "not weights of XMem"),
        (load_xmem, {}, "not weights of XMem"),
    ],
    ids=["xmem", "cutie", "sam2", "unknown", "empty"],
)
def test_weights_of_another_network_are_refused_by_name(tmp_path, load, weights, message):
    torch.save(dict(weights), tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=message) as refusal:
        load(tmp_path / "weights.pth")
    assert "weights.pth" in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("decoder.pred.bias"), r"1 missing \(decoder.pred.bias\)"),
        (lambda w: w.update(extra=torch.zeros(1)), r"1 unknown \(extra\)"),
        (lambda w: w.update({"decoder.pred.bias": torch.zeros(2)}), r"is \(2,\) and not \(1,\)"),
        (lambda w: w.pop("key_proj.key_proj.weight"), "key_proj.key_proj.weight is missing"),
    ],
    ids=["missing", "unknown", "misshapen", "essential"],
)
def test_weights_that_do_not_fit_exactly_are_refused_by_name(change, message):
    weights = dict(tiny_xmem().state_dict())
    change(weights)
    with pytest.raises(CheckpointError, match=message):
        xmem_from_weights(weights)


SINGLE = {
    "cutie": (
        cutie_from_weights,
        cutie_tracker,
        lambda: cutie_checkpoint(),
        ("mask_encoder.conv1.weight", "pixel_fuser.sensory_compress.weight"),
    ),
    "xmem": (
        xmem_from_weights,
        xmem_tracker,
        lambda: tiny_xmem(seed=1).state_dict(),
        ("value_encoder.conv1.weight",),
    ),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_checkpoint_for_single_objects_follows_one_object_as_the_full_one(name):
    build, tracker, weights, keys = SINGLE[name]
    full, single = build(weights()), build(single_object(weights(), *keys))
    frames = video(4)
    results = []
    for network in (full, single):
        session = tracker(network).session()
        session.prompt(frames[0], {FIRST: red(frames[0])})
        results.append([r.logits for r in session.track(frames[1:])])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", SINGLE)
def test_a_checkpoint_for_single_objects_refuses_a_second_object_with_a_remedy(name, tmp_path):
    build, tracker, weights, keys = SINGLE[name]
    frames, message = video(3), "for a single object, and there are 2.*--objects-alone"
    torch.save(single_object(weights(), *keys), tmp_path / "single.pth")
    converted = convert_once(tmp_path / "single.pth", tmp_path / "converted")
    load = {"cutie": load_cutie, "xmem": load_xmem}[name]
    for network in (build(single_object(weights(), *keys)), load(converted)):
        session = tracker(network).session()
        with pytest.raises(InputError, match=message):
            session.prompt(frames[0], {FIRST: red(frames[0]), SECOND: blue(frames[0])})
        session.prompt(frames[0], {FIRST: red(frames[0])})
        with pytest.raises(InputError, match=message):
            session.prompt(frames[1], {SECOND: blue(frames[1])})
        assert session.step(frames[1]).object_ids == (FIRST,)
        session.remove(FIRST)
        session.prompt(frames[2], {SECOND: blue(frames[2])})
        assert session.object_ids == (SECOND,)


def test_a_checkpoint_is_converted_once_and_again_when_it_changes(tmp_path):
    source, folder = tmp_path / "mine.pth", tmp_path / "converted"
    torch.save(cutie_checkpoint(), source)
    target = convert_once(source, folder)
    assert target == folder / "mine.safetensors"
    assert [p.name for p in folder.iterdir()] == ["mine.safetensors"]
    expected = tiny_cutie(seed=1).state_dict()
    assert load_file(target).keys() == expected.keys()
    written = target.stat().st_mtime_ns
    assert convert_once(source, folder) == target
    assert target.stat().st_mtime_ns == written
    torch.save(dict(tiny_xmem().state_dict()), source)
    assert load_xmem(convert_once(source, folder)).size == tiny_xmem().size


def test_a_damaged_conversion_is_made_again(tmp_path):
    source = tmp_path / "mine.pth"
    torch.save(dict(tiny_xmem().state_dict()), source)
    (tmp_path / "mine.safetensors").write_bytes(b"half a fi")
    assert load_xmem(convert_once(source, tmp_path)).size == tiny_xmem().size


def test_weights_of_neither_network_are_not_converted(tmp_path):
    save_file({"image_encoder.trunk.x": torch.zeros(1)}, tmp_path / "sam.safetensors")
    with pytest.raises(CheckpointError, match=r"expected weights of Cutie or XMem, found .* SAM 2"):
        convert_once(tmp_path / "sam.safetensors", tmp_path / "converted")


def test_a_file_with_a_published_name_and_another_content_is_refused(tmp_path):
    source = tmp_path / "cutie-base-mega.pth"
    torch.save(cutie_checkpoint(), source)
    with pytest.raises(CheckpointError, match="a6071de6136982e396851903ab4c083a"):
        convert_once(source, tmp_path)


def test_a_missing_file_names_where_to_get_one(tmp_path):
    with pytest.raises(CheckpointError, match=r"no file .*releases/download/v1.0/XMem.pth"):
        load_xmem(tmp_path / "XMem.pth")


class Malicious:
    def __reduce__(self):
        return (print, ("a checkpoint must not run code",))


@pytest.mark.parametrize(
    "content",
    [b"", b"not a checkpoint", pickle.dumps(Malicious(), protocol=2), b"PK\x03\x04 cut off"],
    ids=["empty", "text", "code", "cut"],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_no_checkpoint_is_refused_and_no_code_in_it_runs(
    tmp_path, content, suffix, capsys
):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a file of weights"):
        read_weights(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, 5])
def test_a_pth_file_without_weights_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="holds no weights"):
        read_weights(tmp_path / "weights.pth")


def test_published_checkpoints_are_listed_under_their_file_names():
    for file, checkpoint in PUBLISHED.items():
        assert isinstance(checkpoint, PublishedCheckpoint)
        assert checkpoint.file == file
        assert checkpoint.url.endswith(f"/{file}")

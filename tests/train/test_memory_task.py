"""Stage 1 in the training loop: what it learns, what stays as it was, how it is validated."""

import json
from dataclasses import replace

import pytest
import torch

from helpers.memory_toy import SHORT, memory_task, quick, tiny_network, videos
from helpers.processes import start, start_ranks
from helpers.sav_toy import write_video
from helpers.tiny_weights import tiny_weights_file
from segment_concept.checkpoints.sam2.stretch import stretch_slots
from segment_concept.datasets.sav import is_held_out
from segment_concept.models.sam2.network import Sam2Network
from segment_concept.models.sam2.sizes import SIZES
from segment_concept.train.loop import train
from segment_concept.train.memory_budget import budget_of
from segment_concept.train.memory_data import ClipConfig
from segment_concept.train.memory_task import MemoryRecipe, MemoryTask, sha256_of
from segment_concept.train.memory_validation import HeldOutClips, MemoryRow, report_of
from segment_concept.train.run_state import read_recipe, trained_weights
from segment_concept.train.task import LoopOptions

HELD_OUT = "sav_000219"
TRAINED = ("memory_attention.", "memory_temporal_positional_encoding")


def options(**changes) -> LoopOptions:
    given = {"workers": 0, "device": "cpu", "log_every": 1, "save_every": 2, "validate_every": 99}
    return LoopOptions(**{**given, **changes})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("sav")
    write_video(root, "sav_000001", 60)
    write_video(root, "sav_000002", 48, objects=1)
    write_video(root / "held", HELD_OUT, 40)
    return root


@pytest.fixture
def taught(data):
    return tuple(video for video in videos(data) if not is_held_out(video.name))


@pytest.fixture
def network():
    return tiny_network(tiny_weights_file("sam2"))


def test_a_clip_is_learned_and_nothing_else_is_changed(taught, network):
    task = memory_task(network, taught[:1], batch=1, schedule=quick(30))
    clip = [task.loader()(task.requests(0)[0])]
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = torch.optim.AdamW(task.groups(), lr=1e-3)
    losses = []
    for _ in range(30):
        loss = task.losses(clip).total(task.counts(clip))
        loss.backward()
        optimizer.step()
        with_gradient = {n for n, p in network.named_parameters() if p.grad is not None}
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert with_gradient == {name for name in before if name.startswith(TRAINED)}
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[name]) != name.startswith(TRAINED)


def test_a_run_in_the_loop_can_be_interrupted_and_gives_what_an_undisturbed_one_does(
    taught, tmp_path
):
    def task(steps):
        network = tiny_network(tiny_weights_file("sam2"))
        network.memory_attention.layers[0].dropout.p = 0.1
        return memory_task(network, taught, schedule=replace(quick(3), steps=steps))

    train(task(3), tmp_path / "whole", options())
    stopped = task(3)
    stopped.losses = _stopping(stopped.losses, at=3)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, tmp_path / "parts", options())
    train(task(3), tmp_path / "parts", options())
    whole = trained_weights(tmp_path / "whole")
    assert any(name.startswith(TRAINED) for name in whole)
    assert not any(name.startswith("mask_decoder.") for name in whole)
    for name, value in trained_weights(tmp_path / "parts").items():
        torch.testing.assert_close(value, whole[name], rtol=0, atol=0)
    recipe = read_recipe(tmp_path / "whole")
    assert (recipe["task"], recipe["recipe"], recipe["weights"]) == ("memory", "toy", "toy")
    assert recipe["videos"] == {"count": 2, "sha256": sha256_of([v.name for v in taught])}


def test_a_step_in_bfloat16_costs_about_the_same(taught, tmp_path):
    rows = []
    for precision in ("no", "bf16"):
        task = memory_task(tiny_network(tiny_weights_file("sam2")), taught, schedule=quick(1))
        train(task, tmp_path / precision, options(precision=precision))
        rows.append(json.loads((tmp_path / precision / "log.jsonl").read_text().splitlines()[0]))
    assert all(v.dtype == torch.float32 for v in trained_weights(tmp_path / "bf16").values())
    whole, half = (row["focal"] + row["dice"] + row["presence"] for row in rows)
    assert half != whole
    assert half == pytest.approx(whole, rel=0.05)


def _stopping(losses, at):
    calls = []

    def stopping(examples):
        calls.append(examples)
        if len(calls) == at:
            raise KeyboardInterrupt
        return losses(examples)

    return stopping


def test_clips_with_unequal_numbers_of_objects_are_a_step_however_it_is_cut(taught, tmp_path):
    for size in (0, 1):
        network = tiny_network(tiny_weights_file("sam2"))
        task = memory_task(network, taught, batch=4, schedule=quick(1))
        examples = [task.loader()(request) for request in task.requests(0)]
        assert len({clip.masks.shape[1] for clip in examples}) == 2
        train(task, tmp_path / str(size), options(micro_batch=size))
    whole, parts = (trained_weights(tmp_path / str(size)) for size in (0, 1))
    for name, value in whole.items():
        # AdamW's first step is the rate, 1e-3, wherever a gradient is not 0
        torch.testing.assert_close(parts[name], value, rtol=0, atol=1e-5)
    first, second = (
        json.loads((tmp_path / str(size) / "log.jsonl").read_text().splitlines()[0])
        for size in (0, 1)
    )
    for name in ("focal", "dice", "iou_error", "presence", "gradient"):
        assert second[name] == pytest.approx(first[name], rel=1e-5)


@pytest.mark.slow
def test_two_processes_train_the_memory_as_one_does(data, tmp_path):
    programs = {
        "whole": [start("helpers.memory_toy", data, tmp_path / "whole", 0)],
        "parts": [start("helpers.memory_toy", data, tmp_path / "parts", 2)],
    }
    programs["two"] = start_ranks("helpers.memory_toy", data, tmp_path / "two", 1)
    for processes in programs.values():
        for process in processes:
            output, _ = process.communicate(timeout=280)
            assert process.returncode == 0, output
    weights = {name: trained_weights(tmp_path / name) for name in programs}
    for name in ("parts", "two"):
        for key, value in weights["whole"].items():
            torch.testing.assert_close(weights[name][key], value, rtol=0, atol=3e-5)
    rows = {
        name: [json.loads(r) for r in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in programs
    }
    for name in ("parts", "two"):
        for row, other in zip(rows["whole"][:3], rows[name][:3], strict=True):
            for term in ("focal", "dice", "iou_error", "presence", "gradient"):
                assert other[term] == pytest.approx(row[term], rel=1e-4)


def test_held_out_videos_are_predicted_and_tracked(data, network, taught):
    held = [video for video in videos(data) if is_held_out(video.name)]
    clips = HeldOutClips(held, SHORT, 128)
    task = MemoryTask(MemoryRecipe("toy", SHORT, 1), network.eval(), taught, clips, "toy")
    with torch.no_grad():
        rows = task.validation_rows(0, 2)
        again = task.validation_rows(0, 2)
        assert task.validation_rows(1, 2) == []
    assert rows == again
    report = task.report(rows)
    assert report["videos"] == 1
    assert 0 <= report["j"] <= 1
    assert report["score"] == pytest.approx(report["j"] + 0.5 * report["presence_right"])
    assert rows[0].presence[1] == 9  # rows after the first
    assert rows[0].predicted[1] > 0


def test_a_report_adds_up_frames_of_all_videos():
    rows = [MemoryRow((1.0, 2.0), (3.0, 4.0), (1.0, 1.0)), MemoryRow((1, 2), (0, 0), (0.0, 1.0))]
    report = report_of(rows)
    assert (report["j_predicted"], report["j"], report["presence_right"]) == (0.5, 0.75, 0.5)
    assert report["score"] == pytest.approx(1.0)
    empty = report_of([])
    assert empty["score"] != empty["score"]  # NaN


def test_held_out_videos_that_are_short_or_damaged_are_not_used(data, tmp_path, caplog):
    held = [video for video in videos(data) if is_held_out(video.name)]
    long = ClipConfig(frames=30, stride=1, augmentation=None)
    assert HeldOutClips(held, long, 32)._chosen == []
    assert "no held-out video is long enough" in caplog.text
    broken = replace(held[0], masklets=tmp_path / "a_manual.json")
    broken.masklets.write_text("{}")
    assert HeldOutClips([broken], SHORT, 32)._chosen == []
    assert "not used for validation" in caplog.text


def test_a_run_without_held_out_videos_has_no_score(taught, network, tmp_path):
    report = train(memory_task(network, taught, schedule=quick(1)), tmp_path, options())
    assert report["videos"] == 0
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["score"] is None


def test_temporal_embeddings_are_stretched_with_their_ends_kept(network):
    seven = network.memory_temporal_positional_encoding.detach().clone()
    stretch_slots(network, 22)
    torch.testing.assert_close(network.memory_temporal_positional_encoding.detach(), seven)
    stretch_slots(network, 43)
    stretched = network.memory_temporal_positional_encoding
    assert network.sizes.slots == len(stretched) == 43
    torch.testing.assert_close(stretched[::2].detach(), seven)
    torch.testing.assert_close(stretched[1], (seven[0] + seven[1]) / 2)


def test_of_the_large_network_is_trained_what_was_published():
    with torch.device("meta"):
        network = Sam2Network(replace(SIZES["large"], slots=22))
    memory_task(network, ())
    trained = [p for p in network.parameters() if p.requires_grad]
    assert len(trained) == 107
    budget = budget_of(network, ClipConfig(), recompute=False)
    assert budget.trained - 22 * 64 == pytest.approx(5.92e6, rel=1e-3)
    assert budget.gpu_bytes(4) == pytest.approx(58e9, rel=0.1)
    assert budget.flop == pytest.approx(110e12, rel=0.1)


def test_the_estimate_counts_parameters_and_grows_with_the_batch(network):
    memory_task(network, ())
    budget = budget_of(network, ClipConfig(), recompute=False)
    trained = sum(p.numel() for n, p in network.named_parameters() if n.startswith(TRAINED))
    assert budget.trained == trained
    again = budget_of(network, ClipConfig(), recompute=True)
    assert again.gpu_bytes(2) < budget.gpu_bytes(2) < budget.gpu_bytes(4)
    assert again.flop > budget.flop

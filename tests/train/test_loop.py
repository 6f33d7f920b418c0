"""The training loop on a regression of one number: steps, states, what is refused."""

import json
import logging
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from helpers.processes import start, start_ranks
from helpers.training_toy import Toy, options
from segment_concept.runtime.files import locked
from segment_concept.train import loop, run_state
from segment_concept.train.loading import Refusals, share_of
from segment_concept.train.loop import train
from segment_concept.train.run_state import Progress, newest_state, trained_weights
from segment_concept.train.task import Schedule
from segment_concept.types import CheckpointError, InputError, OutputError

TOY = "helpers.training_toy"


def weights(toy: Toy) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in toy.network.state_dict().items()}


def log_rows(out: Path) -> list[dict]:
    """The log without what depends on the clock."""
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.endswith(("seconds", "_s"))} for row in rows]


def same(first, second) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0)


def test_a_run_trains_what_it_should_and_leaves_its_log_states_and_recipe(tmp_path):
    toy = Toy()
    before = weights(toy)
    report = train(toy, tmp_path, options())
    changed = {n for n, v in weights(toy).items() if not torch.equal(v, before[n])}
    assert {name[0] for name in changed} == {"3", "4"}  # layer 0 is frozen
    rows = log_rows(tmp_path)
    assert [row["step"] for row in rows if row["kind"] == "train"] == list(range(1, 13))
    assert [row["step"] for row in rows if row["kind"] == "held_out"] == [6, 12]
    assert report["pieces"] == 6
    assert report["score"] == pytest.approx(rows[-1]["score"], rel=1e-4)
    assert {path.name for path in tmp_path.glob("state-*")} == {"state-9", "state-12"}
    assert run_state.read_recipe(tmp_path)["task"] == "toy"
    same(trained_weights(tmp_path), {n: v for n, v in weights(toy).items() if n[0] in "34"})


def test_steps_that_are_left_at_the_end_are_logged(tmp_path):
    train(Toy(steps=5), tmp_path, options(log_every=3))
    assert [r["step"] for r in log_rows(tmp_path) if r["kind"] == "train"] == [3, 5]


@pytest.mark.parametrize("log_every", [1, 2])
def test_a_killed_run_goes_on_to_the_same_end_bit_by_bit(tmp_path, log_every):
    whole, again = Toy(), Toy()
    chosen = options(log_every=log_every)
    train(whole, tmp_path / "whole", chosen)
    _interrupted(Toy(), tmp_path / "parts", chosen, at=7)
    assert newest_state(tmp_path / "parts").name == "state-6"
    train(again, tmp_path / "parts", chosen)
    same(weights(whole), weights(again))
    assert log_rows(tmp_path / "whole") == log_rows(tmp_path / "parts")
    moments = [
        torch.load(tmp_path / run / "state-12/optimizer.bin", weights_only=True)["state"]
        for run in ("whole", "parts")
    ]
    for number, moment in moments[0].items():
        same(moment, moments[1][number])


def _interrupted(toy, out, chosen, at):
    """A run that is stopped within step `at`."""
    losses = toy.losses

    def stopped(examples):
        if examples[0].seed >= 1000 * at:
            raise KeyboardInterrupt
        return losses(examples)

    toy.losses = stopped
    with pytest.raises(KeyboardInterrupt):
        train(toy, out, chosen)


@pytest.mark.slow
def test_a_run_that_is_killed_by_the_system_goes_on_to_the_same_end(tmp_path):
    train(Toy(dropout=0.0), tmp_path / "whole", options())
    killed = start(TOY, tmp_path / "parts", "--die-at", "7")
    killed.communicate(timeout=120)
    assert killed.returncode == -9
    train(Toy(dropout=0.0), tmp_path / "parts", options())
    same(trained_weights(tmp_path / "whole"), trained_weights(tmp_path / "parts"))
    assert log_rows(tmp_path / "whole") == log_rows(tmp_path / "parts")


def test_a_state_that_was_not_written_to_its_end_is_not_used(tmp_path, monkeypatch):
    whole, again = Toy(), Toy()
    train(whole, tmp_path / "whole", options())

    def killed(out, step):
        if step == 6:
            raise KeyboardInterrupt
        run_state.publish_state(out, step)

    monkeypatch.setattr(loop, "publish_state", killed)
    with pytest.raises(KeyboardInterrupt):
        train(Toy(), tmp_path / "parts", options())
    monkeypatch.undo()
    assert (tmp_path / "parts/.state-6").is_dir()
    assert newest_state(tmp_path / "parts").name == "state-3"
    train(again, tmp_path / "parts", options())
    same(weights(whole), weights(again))
    assert not list((tmp_path / "parts").glob(".state-*"))


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = Toy()
    report = train(first, tmp_path, options())
    log = log_rows(tmp_path)
    second = Toy()
    assert train(second, tmp_path, options()) == report
    same(weights(first), weights(second))
    assert log_rows(tmp_path) == log


def test_a_step_does_not_depend_on_how_it_is_cut_into_micro_batches(tmp_path):
    toys = [Toy(slots=4, steps=3, dropout=0.0) for _ in range(3)]
    for size, toy in enumerate(toys):
        train(toy, tmp_path / str(size), options(micro_batch=size))
    for toy in toys[1:]:
        for name, value in weights(toys[0]).items():
            torch.testing.assert_close(weights(toy)[name], value, rtol=1e-6, atol=1e-7)
    for row, other in zip(log_rows(tmp_path / "0"), log_rows(tmp_path / "1"), strict=True):
        if row["kind"] == "train":
            assert other["error"] == pytest.approx(row["error"], rel=1e-5)


def test_two_processes_train_the_same_as_one(tmp_path):
    one = Toy(slots=2, steps=3, dropout=0.0)
    train(one, tmp_path / "one", options())
    arguments = ("--steps", "3", "--micro-batch", "1")
    for process in start_ranks(TOY, tmp_path / "two", *arguments):
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    found = trained_weights(tmp_path / "two")
    for name, value in trained_weights(tmp_path / "one").items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-6)
    for row, other in zip(log_rows(tmp_path / "one"), log_rows(tmp_path / "two"), strict=True):
        assert row["kind"] == other["kind"]
        if row["kind"] == "train":
            assert other["error"] == pytest.approx(row["error"], rel=1e-6)
        else:
            assert other["score"] == pytest.approx(row["score"], rel=1e-5)


@pytest.mark.slow
def test_when_a_process_is_killed_the_others_say_so_and_the_last_state_stays(tmp_path):
    both = start_ranks(TOY, tmp_path, last=("--die-at", "7"))
    output, _ = both[0].communicate(timeout=120)
    both[1].communicate(timeout=120)
    assert both[0].returncode != 0
    assert "another process of this run ended" in output
    assert newest_state(tmp_path).name == "state-6"


def test_another_recipe_is_refused_with_what_differs(tmp_path):
    _interrupted(Toy(), tmp_path, options(), at=5)
    with pytest.raises(InputError, match=r"slots was 2 and is 3\. Give the same options"):
        train(Toy(slots=3), tmp_path, options())
    other = Toy()
    other.schedule = replace(other.schedule, rate=0.1)
    with pytest.raises(InputError, match=r"schedule\.rate was 0\.05 and is 0\.1"):
        train(other, tmp_path, options())
    frozen = Toy()
    with torch.no_grad():
        frozen.network[0].bias += 1
    with pytest.raises(InputError, match="frozen was"):
        train(frozen, tmp_path, options())


def test_a_recipe_without_a_state_is_replaced(tmp_path):
    _interrupted(Toy(), tmp_path, options(), at=1)
    assert newest_state(tmp_path) is None
    train(Toy(steps=2), tmp_path, options())
    assert [row["step"] for row in log_rows(tmp_path)] == [1, 2, 2]


def test_the_state_of_an_earlier_version_is_refused_with_a_sentence(tmp_path):
    torch.save({"network": {}, "step": 3}, tmp_path / "state.pt")
    with pytest.raises(InputError, match="a run of an earlier version, which cannot be continued"):
        train(Toy(), tmp_path, options())


def test_a_damaged_state_is_refused_by_name(tmp_path):
    _interrupted(Toy(), tmp_path, options(), at=5)
    (tmp_path / "state-3/trained.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"damaged: delete state-3; the run then continues"):
        train(Toy(), tmp_path, options())


def test_a_folder_that_no_run_left_is_refused_by_name(tmp_path):
    with pytest.raises(CheckpointError, match="has no state of a training run"):
        trained_weights(tmp_path)
    with pytest.raises(InputError, match=r"it has no recipe\.json"):
        run_state.read_recipe(tmp_path)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed")]
)
def test_without_space_for_a_state_the_earlier_one_stays(tmp_path, monkeypatch, error):
    _interrupted(Toy(), tmp_path, options(), at=5)

    def full(weights, path):
        raise error

    monkeypatch.setattr(loop, "save_file", full)
    with pytest.raises(OutputError, match="cannot be written"):
        train(Toy(), tmp_path, options())
    assert newest_state(tmp_path).name == "state-3"
    assert not list(tmp_path.glob(".state-*"))


def test_a_step_that_is_not_finite_is_skipped(tmp_path, caplog):
    toy = Toy(steps=3, average=None, wrong={1000})
    caplog.set_level(logging.WARNING)
    train(toy, tmp_path, options())
    assert "step 1: the gradient is not finite, the step is skipped" in caplog.text
    assert all(torch.isfinite(value).all() for value in weights(toy).values())
    rows = log_rows(tmp_path)
    assert rows[1]["error"] is None  # null: JSON has no NaN
    assert rows[2]["error"] is not None


def test_after_twenty_steps_that_are_not_finite_the_run_stops_and_names_the_examples(tmp_path):
    toy = Toy(steps=30, wrong=[1000 * step for step in range(4, 30)])
    with pytest.raises(InputError, match=r"20 steps in a row .* step 23 on question 23000;"):
        train(toy, tmp_path, options(validate_every=100))
    assert newest_state(tmp_path).name == "state-21"


def test_a_replaced_example_is_named_once(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    train(Toy(steps=2, bad={1000}), tmp_path, options())
    assert caplog.text.count("replaced by another example: video 1000 is damaged") == 1


def test_a_run_stops_when_more_than_one_in_a_hundred_examples_is_replaced():
    refusals = Refusals()
    bad = [("a", "a is damaged")]
    assert refusals.add(10, [bad]) == ["a is damaged"]
    assert refusals.add(100, []) == []
    assert refusals.add(90, [bad]) == []  # 2 of 200
    with pytest.raises(InputError, match=r"3 of 201 examples .* a is damaged\. Repair or leave"):
        refusals.add(1, [bad])


def test_examples_are_loaded_in_other_processes_in_the_order_of_the_steps(tmp_path):
    here, there = Toy(steps=4), Toy(steps=4)
    train(here, tmp_path / "here", options())
    train(there, tmp_path / "there", options(workers=1))
    same(weights(here), weights(there))


def test_a_step_that_cannot_be_dealt_out_evenly_is_refused():
    assert share_of(list(range(6)), 1, 3) == [2, 3]
    with pytest.raises(InputError, match="4 examples, which 3 processes cannot share evenly"):
        share_of(list(range(4)), 0, 3)


def test_sharding_without_a_gpu_is_refused(tmp_path):
    with pytest.raises(InputError, match="sharding needs GPUs"):
        train(Toy(), tmp_path, options(shard=True))


def test_an_unknown_device_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no device 'gpu'"):
        train(Toy(), tmp_path, options(device="gpu"))


def test_a_project_of_wandb_needs_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr("segment_concept.train.trackers.is_wandb_available", lambda: False)
    with pytest.raises(InputError, match="pip install wandb"):
        train(Toy(), tmp_path, options(wandb="mine"))


def test_two_runs_do_not_train_in_one_folder(tmp_path):
    with (
        locked(tmp_path / ".lock", tmp_path),
        pytest.raises(InputError, match="another run is writing to"),
    ):
        train(Toy(), tmp_path, options())


def test_the_best_report_and_its_step_are_kept(tmp_path):
    train(Toy(), tmp_path, options())
    progress = Progress.read(tmp_path / "state-12")
    scores = {row["step"]: row["score"] for row in log_rows(tmp_path) if row["kind"] == "held_out"}
    assert progress.best["score"] == pytest.approx(max(scores.values()), rel=1e-4)
    assert scores[progress.best["step"]] == pytest.approx(progress.best["score"], rel=1e-4)


def test_the_learning_rate_warms_up_and_follows_a_cosine():
    plain = Schedule(steps=100, warm_up=10, last_rate=0.1)
    assert plain.factor_at(0) == pytest.approx(0.1)
    assert plain.factor_at(50) == pytest.approx(0.55)
    assert plain.factor_at(100) == pytest.approx(0.1)
    late = Schedule(steps=110, warm_up=10, warm_from=1e-5, cosine_after_warm_up=True, last_rate=0)
    assert late.factor_at(0) == pytest.approx(1e-5)
    assert late.factor_at(9) == pytest.approx(1)
    assert late.factor_at(60) == pytest.approx(0.5)
    assert late.factor_at(110) == pytest.approx(0, abs=1e-12)


def test_groups_have_their_own_rates(tmp_path):
    toy = Toy(steps=1)
    train(toy, tmp_path, options())
    saved = torch.load(tmp_path / "state-1/optimizer.bin", weights_only=True)["param_groups"]
    assert [group["lr"] for group in saved] == pytest.approx([0.025, 0.005])  # warm-up: one half
    assert math.isclose(saved[1]["weight_decay"], 0.0)

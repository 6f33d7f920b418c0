"""Stage 2 through the training loop, with tiny networks and the tiny SA-V."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.sec_training import data_with_held_out, log_rows, plan, task
from segment_concept.train.concept_data import (
    POOL,
    QuestionLoader,
    QuestionRequest,
    QuestionSampler,
    pooled_order,
)
from segment_concept.train.concept_questions import QuestionRules
from segment_concept.train.concept_recipes import RECIPES, schedule_of
from segment_concept.train.loop import train
from segment_concept.train.task import LoopOptions, Schedule
from segment_concept.types import InputError

HERE = LoopOptions(workers=0, device="cpu", log_every=1)


@pytest.fixture(scope="module")
def lean():
    return task(recipe="concept_lean")


@pytest.fixture(scope="module")
def published():
    return task()


def fast(found, steps):
    """The same task on one question of few pictures, at a rate at which few steps are enough."""
    requests = [r for step in range(6) for r in found.requests(step)]
    loaded = {r: found.loader()(r) for r in requests}
    shown = [r for r in requests if loaded[r].truth.any() and len(loaded[r].pictures) > 1]
    shortest = min(shown, key=lambda r: len(loaded[r].pictures))
    sampler = _OneStep(found.recipe_.sampler, [shortest])
    schedule = Schedule(steps=steps, rate=1e-3, warm_up=1, last_rate=1.0, average=None)
    return replace(found, recipe_=replace(found.recipe_, sampler=sampler, schedule=schedule))


class _OneStep:
    """A sampler that asks the same in every step."""

    def __init__(self, sampler, requests):
        self.objects, self.batch, self.seed = sampler.objects, sampler.batch, sampler.seed
        self.sha256, self._requests = sampler.sha256, requests

    def requests(self, step):
        return self._requests


def test_parameters_that_are_trained_are_those_of_the_recipe(lean, published):
    def trained(found):
        named = found.network.named_parameters()
        return {n for n, p in named if p.requires_grad and "lora_" not in n}

    projector = {
        f"concept.backbone.multi_modal_projector.{layer}.{field}"
        for layer in ("layer_norm", "linear_1", "linear_2")
        for field in ("weight", "bias")
    }
    head = {f"concept.head.{i}.{field}" for i in (0, 2) for field in ("weight", "bias")}
    words = {"concept.words.weight", "concept.backbone.language_model.embed_tokens.weight"}
    assert trained(lean) == projector | head | {"seg_row"}
    assert trained(published) == projector | head | words
    adapters = [n for n, p in published.network.named_parameters() if "lora_" in n]
    assert len(adapters) == 2 * 7 * 2  # layers, linear layers, matrices


def test_the_schedule_is_that_of_the_release():
    schedule = schedule_of(8868)
    assert schedule.warm_up == 443
    assert schedule.factor_at(0) == pytest.approx(1e-5)
    assert schedule.factor_at(443) == pytest.approx(1.0)
    assert schedule.factor_at(8868) == pytest.approx(0.0)
    assert (schedule.rate, schedule.weight_decay, schedule.clip) == (4e-5, 0.05, 1.0)


@pytest.mark.parametrize("recipe", RECIPES)
def test_thirty_steps_on_one_question_teach_the_answer(recipe, tmp_path):
    found = task(recipe=recipe)
    before = copy.deepcopy(found.network.state_dict())
    trained = {n for n, p in found.network.named_parameters() if p.requires_grad}
    train(fast(found, 30), tmp_path, HERE)
    rows = log_rows(tmp_path, "train")
    terms = [
        "focal",
        "dice",
        "iou_error",
        "presence",
        *(["language"] if recipe == "concept" else []),
    ]
    total = [sum(row[term] for term in terms) for row in rows]
    assert np.mean(total[-3:]) < 0.6 * total[0]
    after = found.network.state_dict()
    changed = {n for n in after if not torch.equal(after[n], before[n])}
    assert changed == trained


def test_a_step_is_the_same_in_one_micro_batch_and_in_two(published):
    found = task(batch=3)
    examples = [found.loader()(r) for r in found.requests(0)]
    found.network.eval()

    def gradient(parts):
        found.network.zero_grad()
        counts = found.counts(examples)
        total = 0.0
        for part in parts:
            loss = found.losses(part).total(counts)
            loss.backward()
            total += loss.item()
        return total, {
            n: p.grad.clone() for n, p in found.network.named_parameters() if p.requires_grad
        }

    whole, gradients = gradient([examples])
    cut, of_parts = gradient([examples[:1], examples[1:]])
    assert cut == pytest.approx(whole, rel=1e-6)
    for name, value in gradients.items():
        assert torch.allclose(of_parts[name], value, atol=1e-6), name


def test_questions_as_tracking_asks_them_have_no_language_loss_but_train():
    found = task(rules=QuestionRules(asked_as_tracked=1.0))
    examples = [found.loader()(r) for r in found.requests(0)]
    assert found.counts(examples)["language"] == 0
    losses = found.losses(examples)
    losses.total(found.counts(examples)).backward()
    assert losses.sums["language"].item() == 0
    assert all(p.grad is not None for p in found.network.parameters() if p.requires_grad)


def test_a_step_names_its_examples_in_every_process_and_serves_videos_one_after_another():
    objects = tuple((f"v{i}", c) for i in range(200) for c in range(1 + i % 4))
    sampler = QuestionSampler(objects, 64, seed=3)
    again = pickle.loads(pickle.dumps(QuestionSampler(objects, 64, seed=3)))
    for step in (0, 5, 40, 3):
        requests = sampler.requests(step)
        assert requests == again.requests(step)
        videos = [r.video for r in requests]
        assert videos == sorted(videos)
    epoch = [r for step in range(len(objects) // 64) for r in sampler.requests(step)]
    assert len({(r.video, r.column) for r in epoch}) == len(epoch)
    assert len({r.seed for r in epoch}) == len(epoch)


def test_an_epoch_has_every_object_once_and_keeps_those_of_a_video_in_one_pool():
    objects = [(f"v{i}", c) for i in range(300) for c in range(3)]
    order = pooled_order(objects, seed=1)
    assert sorted(order) == list(range(len(objects)))
    places = {}
    for place, index in enumerate(order):
        places.setdefault(objects[index][0], []).append(place)
    assert max(max(p) - min(p) for p in places.values()) < POOL * 3
    assert not np.array_equal(order, pooled_order(objects, seed=2))


def test_an_example_that_cannot_be_read_is_replaced_and_reported(published):
    loader = published.loader()
    bad = QuestionRequest("sav_000002", 7, seed=1)
    example = loader(bad)
    ((video, sentence),) = example.refused
    assert video == "sav_000002"
    assert "1 objects, so there is no object 7" in sentence
    assert example.pictures.shape[1:] == (448, 448, 3)


def test_a_hundred_examples_that_cannot_be_read_end_the_training(published):
    loader = published.loader()
    hopeless = QuestionLoader(loader.videos, (("sav_000002", 7),), 128)
    with pytest.raises(InputError, match="100 examples in a row cannot be read; the first reason"):
        hopeless(QuestionRequest("sav_000002", 7, seed=1))


def test_held_out_videos_are_not_trained_on_and_validated(tmp_path):
    found = task(data=data_with_held_out(), recipe="concept_lean")
    assert {video for video, _ in found.recipe_.sampler.objects} == {
        "sav_000001",
        "sav_000002",
        "sav_000003",
    }
    assert {r.video for r in found.held_out} == {"sav_000219"}
    found.network.eval()
    with torch.no_grad():
        report = found.report([*found.validation_rows(0, 2), *found.validation_rows(1, 2)])
    assert report["questions"] == 4
    assert 0 <= report["j"] <= 1
    assert report["score"] == pytest.approx(report["j"] + 0.5 * report["presence"])


def test_all_videos_may_be_trained_on_without_a_validation():
    found = task(data=data_with_held_out(), recipe="concept_lean", all_videos=True)
    assert "sav_000219" in {video for video, _ in found.recipe_.sampler.objects}
    assert found.held_out == ()
    assert found.report([])["score"] == 0


def test_a_run_is_not_continued_with_another_recipe(tmp_path, lean):
    train(replace(lean), tmp_path, HERE)
    other = task(recipe="concept_lean", rules=QuestionRules(ordered=True))
    with pytest.raises(InputError, match=r"rules\.ordered was false and is true"):
        train(other, tmp_path, HERE)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"recipe": "concept_huge"}, "no recipe 'concept_huge'"),
        ({"four_bit": True}, "use --variant lean"),
        ({"steps": 0}, "--steps 0: must be at least 1"),
        ({"rules": QuestionRules(asked_as_tracked=2.0)}, "a share from 0 to 1"),
    ],
)
def test_options_that_cannot_be_used_are_refused(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        plan(**changes).check()


def test_a_list_with_unknown_videos_is_refused_with_their_number(tmp_path):
    listed = tmp_path / "objects.txt"
    listed.write_text("sav_000001 0\nsav_999999 1\n")
    with pytest.raises(InputError, match=r"1 of 2 lines of .* such as sav_999999"):
        task(objects=listed)


def test_a_list_of_objects_is_trained_on(tmp_path):
    listed = tmp_path / "objects.txt"
    listed.write_text("sav_000001 2\nsav_000003 0\n")
    found = task(objects=listed, recipe="concept_lean")
    assert found.recipe_.sampler.objects == (("sav_000001", 2), ("sav_000003", 0))
    assert found.recipe()["objects"]["count"] == 2

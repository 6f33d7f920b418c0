"""The training of the compact model from its stages to the file that is shipped."""

from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from segment_concept import Tracker
from segment_concept.checkpoints.compact import load_compact, read_card, save_compact
from segment_concept.models.compact.memory_attention import SCORES
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.models.compact.verifier import Verifier
from segment_concept.recipes import find_recipe
from segment_concept.synthetic import Clip
from segment_concept.tracking.triggers.base import AtFrames
from segment_concept.train import calibration, curriculum, stages
from segment_concept.train import fit_verifier as verification
from segment_concept.train.calibration import annotated_clips, annotated_videos, best_bias
from segment_concept.train.curriculum import Plan, run
from segment_concept.train.data import World
from segment_concept.train.export import export_compact
from segment_concept.train.run_state import TRAINED, Progress
from segment_concept.train.weights import saved_state
from segment_concept.types import CheckpointError, InputError


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    torch.manual_seed(0)
    model = CompactSegmenter(short_side=64, mask_bias=0.5)
    model.verifier = Verifier(model.widths.descriptor)
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    save_compact(model, path, {})
    return path


@pytest.fixture
def trained(monkeypatch):
    """Training that only records its calls, and adds the number of steps to a weight."""
    asked = []

    def train(training, out, options):
        model, stage = training.segmenter, training.stage
        asked.append((stage.name, stage.schedule.steps, model.short_side, model.mask_bias))
        with torch.no_grad():
            model.network.decoder.prior_weight += stage.schedule.steps
        state = out / f"state-{stage.schedule.steps}"
        state.mkdir(parents=True)
        save_file(saved_state(training.network), state / TRAINED)
        Progress(stage.schedule.steps).write(state)

    monkeypatch.setattr(curriculum, "train", train)
    monkeypatch.setattr(
        curriculum, "calibrate", lambda model, plan: setattr(model, "mask_bias", 1.25) or {"n": 3}
    )
    return asked


def test_a_stage_starts_from_the_given_weights_and_passes_on_a_share_of_them(
    start, trained, tmp_path
):
    plan = Plan(tmp_path, tmp_path / "run", start, steps=(("clips", 3),))
    made = load_compact(run(plan))
    # the bias of the start is not trained with
    assert trained == [("clips", 3, stages.clips().short_side, 0.0)]
    total = (1 - stages.clips().kept) * 3
    weight = load_compact(start).network.decoder.prior_weight + total
    torch.testing.assert_close(made.network.decoder.prior_weight, weight, rtol=1e-3, atol=0)
    assert made.mask_bias == 1.25


def test_a_finished_stage_is_not_trained_again(start, trained, tmp_path):
    plan = Plan(tmp_path, tmp_path / "run", start, stages=("clips",))
    run(plan)
    run(replace(plan, stages=("clips", "calibrate")))
    assert [name for name, *_ in trained] == ["clips"]


def test_an_unknown_stage_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"no training stage polish: there are clips, calibrate"):
        Plan(tmp_path, tmp_path, stages=("clips", "polish"))


def test_only_a_calibrated_run_is_exported(start, trained, tmp_path):
    plan = Plan(tmp_path, tmp_path / "run", start, stages=("clips",))
    run(plan)
    with pytest.raises(CheckpointError, match="there are no weights"):
        export_compact(plan.out, tmp_path / "model.safetensors")
    run(replace(plan, stages=("clips", "calibrate")))
    card = export_compact(plan.out, tmp_path / "model.safetensors", history="toy")
    assert card == read_card(tmp_path / "model.safetensors")
    assert card["stages"] == {"clips": stages.clips().schedule.steps}
    assert card["from"] == "start.safetensors"
    assert (card["history"], card["calibration"]) == ("toy", {"n": 3})
    assert load_compact(tmp_path / "model.safetensors").mask_bias == 1.25


def test_calibration_fits_the_bias_and_the_verification_and_moves_no_other_weight(
    start, tmp_path, monkeypatch
):
    rgb = np.random.default_rng(0).integers(0, 255, (6, 64, 96, 3), dtype=np.uint8)
    labels = np.zeros((6, 64, 96), np.uint8)
    labels[:, 10:40, 20:60] = 1
    clip = Clip(rgb, labels, (1,), (3,))
    answers = cycle((True, False))
    recipe = replace(find_recipe("sec_compact"), trigger=AtFrames((2, 4)), short_side=64)
    for module in (curriculum, verification):
        monkeypatch.setattr(module, "find_recipe", lambda name: recipe)
    monkeypatch.setattr(curriculum, "load_world", lambda data, sampler, part: World(None))
    monkeypatch.setattr(World, "clip", lambda world, sampler, seed: clip)
    monkeypatch.setattr(curriculum, "load_subjects", lambda folder, part: ())
    monkeypatch.setattr(verification, "subject_clip", lambda subjects, seed: clip)
    monkeypatch.setattr(curriculum, "validation_clips", lambda world, sampler, count: [clip])
    monkeypatch.setattr(verification, "_is_right", lambda mask, truth: next(answers))
    model = stages.initial_model(tmp_path, start).eval().requires_grad_(False)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    plan = Plan(tmp_path, tmp_path, steps=(("calibrate", 2),))
    found = curriculum.calibrate(model, plan)
    assert found["mask_bias"] == model.mask_bias
    assert model.mask_bias in calibration.BIASES
    assert (found["verification"]["right"], found["verification"]["wrong"]) == (2, 2)
    now = model.state_dict()
    changed = {name for name in now if not torch.equal(now[name], before[name])}
    assert changed
    assert all(name.startswith("verifier.") for name in changed)


def test_training_from_weights_that_do_not_read_scores_begins_to_read_them(start, tmp_path):
    attention = stages.initial_model(tmp_path, start).network.memory_attention
    inside, outside = attention.similar.weight.unbind(1)
    expected = (inside - outside)[:, None].expand(-1, SCORES)
    likeness = torch.nn.functional.cosine_similarity(attention.score.weight, expected, dim=0)
    torch.testing.assert_close(likeness, torch.ones(SCORES))


class TooSmall:
    """A tracker whose logits are 0.6 too low."""

    def __init__(self, truth):
        self.truth = truth

    def session(self):
        return self

    def prompt(self, frame, prompts):
        return None

    def step(self, frame):
        depth = torch.where(torch.from_numpy(self.truth), 0.5, -0.5)
        return type("Result", (), {"logits": depth[None] - 0.6})


def test_masks_that_are_too_small_get_a_positive_bias():
    labels = np.zeros((4, 20, 30), np.uint8)
    labels[:, 5:15, 5:20] = 1
    clip = Clip(np.zeros((4, 20, 30, 3), np.uint8), labels, (1,), ())
    found = calibration.mean_overlap(TooSmall(labels[0] == 1), annotated_clips([clip]))
    assert found[0.0] == 0
    assert best_bias([found, found]) == pytest.approx(0.25)  # the smallest that is enough


def test_videos_without_their_object_cannot_calibrate_a_model():
    labels = np.zeros((3, 64, 96), np.uint8)
    labels[0, 10:40, 20:60] = 1
    clip = Clip(np.zeros((3, 64, 96, 3), np.uint8), labels, (1,), ())
    tracker = Tracker(CompactSegmenter(short_side=64).eval())
    with pytest.raises(InputError, match="give other videos"):
        calibration.mean_overlap(tracker, annotated_clips([clip]))


def test_videos_are_read_in_the_layout_of_davis(tmp_path):
    for t in range(3):
        for part, ending, value in (
            ("JPEGImages", "jpg", 90),
            ("Annotations", "png", 255 * (t > 0)),
        ):
            path = tmp_path / part / "480p" / "film" / f"{t:05d}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((24, 32), value, np.uint8)).convert("L").save(path)
    (video,) = annotated_videos(tmp_path)
    assert [truth.any() for truth in video.truth] == [False, True, True]
    assert video.frames[0].rgb.shape == (24, 32, 3)
    (tmp_path / "Annotations/480p/film/00002.png").unlink()
    with pytest.raises(InputError, match="3 frames and 2 masks"):
        list(annotated_videos(tmp_path))
    with pytest.raises(InputError, match="no JPEGImages"):
        list(annotated_videos(tmp_path / "Annotations"))

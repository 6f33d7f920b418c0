"""The training loop on a handful of tiny clips."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.models.compact.verifier import Verifier
from segment_concept.recipes import find_recipe
from segment_concept.synthetic import Assets, Background, ClipSpec, Cutout
from segment_concept.synthetic.photo_clip import PhotoClipSpec
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.segmenter import Proposals
from segment_concept.train import compact
from segment_concept.train import data as samples
from segment_concept.train.compact import CompactTraining, Stage, take_over, tracker_of
from segment_concept.train.corruption import Corruption
from segment_concept.train.data import (
    ReplayBuffer,
    SamplerConfig,
    World,
    clip_requests,
    step_requests,
)
from segment_concept.train.loop import train
from segment_concept.train.losses import LossWeights, proposal_losses
from segment_concept.train.prompts import correction, draw_prompt, loose_box
from segment_concept.train.run_state import trained_weights
from segment_concept.train.task import LoopOptions, Schedule
from segment_concept.train.unroll import TrackingTask, unroll
from segment_concept.train.weights import saved_state
from segment_concept.types import Box, CheckpointError, Mask, Points

SPEC = ClipSpec(frames=3, height=64, width=96, least_area=60)


@pytest.fixture(scope="module")
def world() -> World:
    rng = np.random.default_rng(0)
    disc = np.hypot(*np.mgrid[-20:20, -20:20]) < 18
    cutouts = tuple(
        Cutout(
            f"{n}.png",
            "discs",
            np.dstack([np.full((40, 40, 3), 60 * n, np.uint8), (disc * 255).astype(np.uint8)]),
        )
        for n in range(4)
    )
    noise = rng.integers(0, 255, (300, 400, 3), dtype=np.uint8)
    return World(Assets(cutouts, (Background("noise.jpg", noise, 1.0),)))


@pytest.fixture
def sampler() -> SamplerConfig:
    return SamplerConfig(SPEC, fresh=1, replayed=1, stock=4)


@pytest.fixture
def model() -> CompactSegmenter:
    torch.manual_seed(0)
    return CompactSegmenter(short_side=64)


def blob() -> np.ndarray:
    return np.hypot(*np.mgrid[-40:40, -50:50]) < 20


def test_the_same_step_trains_on_the_same_clips_wherever_a_run_begins(sampler):
    two = replace(sampler, streams=2)
    assert step_requests(two, 1, 7) == step_requests(two, 1, 7)
    first, second = clip_requests(two, 1, 7, 0), clip_requests(two, 1, 7, 1)
    assert step_requests(two, 1, 7) == [*first, *second]
    assert not {r.clip_seed for r in first} & {r.clip_seed for r in second}


def test_every_stream_keeps_its_own_latest_clips(world, sampler, model):
    two = replace(sampler, streams=2, stock=1)
    stock = ReplayBuffer(world, two, model.trunk)
    drawn = [request.clip_seed for step in range(2) for request in step_requests(two, 1, step)]
    for seed in drawn:
        stock.add(seed, world.clip(two, seed))
    assert [len(kept) for kept in stock._kept] == [2, 2]


def test_replays_are_of_clips_that_were_fresh_not_long_ago(sampler):
    fresh = {
        p.clip_seed: step
        for step in range(20)
        for p in clip_requests(sampler, 1, step, 0)
        if not p.replay
    }
    for step in range(20):
        for portion in clip_requests(sampler, 1, step, 0):
            assert 0 <= step - fresh[portion.clip_seed] <= sampler.stock


def test_a_clip_that_left_the_stock_is_rendered_again(world, sampler, model):
    stock = ReplayBuffer(world, sampler, model.trunk)
    portion = clip_requests(sampler, 1, 0, 0)[0]
    first, _ = stock.take(portion)
    for step in range(1, 10):
        stock.take(clip_requests(sampler, 1, step, 0)[0])
    again, _ = stock.take(portion)
    assert again is not first
    assert np.array_equal(again.labels, first.labels)


def test_clips_are_rendered_or_made_of_photographs_by_their_seed(world, sampler, monkeypatch):
    monkeypatch.setattr(samples, "render_clip", lambda assets, spec, seed: "rendered")
    monkeypatch.setattr(samples, "render_photo_clip", lambda photos, spec, seed: "photograph")
    mixed = replace(sampler, photos=PhotoClipSpec(frames=3, height=64, width=96), photo_share=0.6)
    both = replace(world, photos="photographs")
    drawn = [both.clip(mixed, seed) for seed in range(200)]
    assert drawn == [both.clip(mixed, seed) for seed in range(200)]
    assert 90 < drawn.count("photograph") < 150
    assert {world.clip(sampler, seed) for seed in range(20)} == {"rendered"}


def test_a_share_of_photographs_needs_their_settings():
    with pytest.raises(ValueError, match="set `photos`"):
        SamplerConfig(SPEC, photo_share=0.5)


def test_prompts_are_masks_boxes_and_points_in_the_stated_shares():
    rng = np.random.default_rng(0)
    drawn = [type(draw_prompt(blob(), rng)) for _ in range(1000)]
    assert drawn.count(Mask) == pytest.approx(400, abs=60)
    assert drawn.count(Box) == pytest.approx(250, abs=50)
    assert drawn.count(Points) == pytest.approx(350, abs=50)


def test_points_lie_where_their_label_says():
    rng = np.random.default_rng(0)
    for _ in range(200):
        prompt = draw_prompt(blob(), rng)
        if isinstance(prompt, Points):
            for (x, y), foreground in zip(prompt.xy, prompt.foreground, strict=True):
                assert blob()[int(y), int(x)] == foreground


def test_a_loose_box_stays_near_the_object():
    box = loose_box(blob(), np.random.default_rng(0))
    assert abs(box.x0 - 31) < 4
    assert abs(box.y1 - 60) < 4


def test_a_correction_clicks_into_the_larger_error():
    truth = blob()
    assert correction(truth, truth, np.random.default_rng(0)) is None
    missing = correction(truth, np.zeros_like(truth), np.random.default_rng(0))
    assert missing is not None
    assert missing.foreground == (True,)
    extra = correction(truth, np.ones_like(truth), np.random.default_rng(0))
    assert extra is not None
    assert extra.foreground == (False,)


def proposals(logits: torch.Tensor, presence: float = 5.0) -> Proposals:
    o, m = logits.shape[:2]
    return Proposals(logits, torch.ones(o, m), torch.zeros(o, m, 4), torch.full((o,), presence))


def test_a_perfect_mask_costs_next_to_nothing_and_an_inverted_one_much():
    truth = torch.zeros(1, 32, 32)
    truth[:, 8:24, 8:24] = 1
    perfect = (torch.nn.functional.avg_pool2d(truth[:, None], 2) * 40 - 20).expand(1, 3, 16, 16)
    assert proposal_losses(proposals(perfect), truth, LossWeights()).total() < 0.05
    assert proposal_losses(proposals(-perfect), truth, LossWeights()).total() > 10


def test_an_absent_object_teaches_presence_alone():
    logits = torch.randn(1, 3, 16, 16)
    found = proposal_losses(proposals(logits, 5.0), torch.zeros(1, 32, 32), LossWeights())
    assert found.total().item() == pytest.approx(5.0067, abs=1e-3)  # log(1 + e^5)


def test_a_clip_teaches_every_part_of_the_network(world, sampler, model):
    stock = ReplayBuffer(world, sampler, model.trunk)
    task = TrackingTask(corrections=1.0)
    for step in range(3):
        clips = [stock.take(p) for p in clip_requests(sampler, 1, step, 0)]
        losses = unroll(model, RecentMemory(slots=3, pointers=3), clips, 2, task)
        losses.total.backward()
        assert torch.isfinite(losses.total)
    untaught = {n for n, p in model.network.named_parameters() if p.grad is None}
    assert not untaught - {"memory_encoder.absent", "decoder.absent_pointer"}


@pytest.fixture
def stage(world, sampler, monkeypatch) -> Stage:
    monkeypatch.setattr(compact, "load_world", lambda data, sampler, part: world)
    monkeypatch.setattr(samples, "load_world", lambda data, sampler, part: world)
    return Stage(
        name="tiny",
        sampler=sampler,
        schedule=Schedule(steps=4, warm_up=1),
        validation_clips=1,
        short_side=64,
    )


OPTIONS = LoopOptions(workers=0, device="cpu", save_every=2, log_every=1)


def fresh_model() -> CompactSegmenter:
    torch.manual_seed(0)
    return CompactSegmenter(short_side=64)


def test_an_interrupted_run_ends_where_an_undisturbed_one_does(stage, tmp_path, monkeypatch):
    stage = replace(stage, validation_clips=0)
    whole, parts = fresh_model(), fresh_model()
    train(CompactTraining(whole, stage, tmp_path), tmp_path / "whole", OPTIONS)
    stopped = CompactTraining(fresh_model(), stage, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(CompactTraining, "losses", _stopping_at_call(4))
        with pytest.raises(KeyboardInterrupt):
            train(stopped, tmp_path / "parts", OPTIONS)
    train(CompactTraining(parts, stage, tmp_path), tmp_path / "parts", OPTIONS)
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(parts.network.state_dict()[name], value, rtol=0, atol=0)


def _stopping_at_call(number):
    calls, losses = [], CompactTraining.losses

    def stopping(self, examples):
        calls.append(examples)
        if len(calls) == number:
            raise KeyboardInterrupt
        return losses(self, examples)

    return stopping


def test_a_run_leaves_a_log_and_its_weights(stage, tmp_path):
    stage = replace(stage, schedule=Schedule(steps=2, warm_up=1), validation_clips=2)
    run = tmp_path / "run"
    report = train(CompactTraining(fresh_model(), stage, tmp_path), run, OPTIONS)
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in rows] == ["train", "train", "held_out"]
    assert rows[-1]["j"] == pytest.approx(report["j"], abs=1e-4)
    assert report["score"] == report["j"]
    model = fresh_model()
    take_over(model, run)
    for name, value in trained_weights(run).items():
        torch.testing.assert_close(model.network.state_dict()[name], value, rtol=0, atol=0)


def test_a_clip_with_wrong_memories_is_taught_the_whole_object(world, sampler, model, monkeypatch):
    remembered = []
    encode_memory = model.encode_memory

    def noted(features, believed, images, *, prompted):
        remembered.append((prompted, believed.logits.clone()))
        return encode_memory(features, believed, images, prompted=prompted)

    monkeypatch.setattr(model, "encode_memory", noted)
    stock = ReplayBuffer(world, sampler, model.trunk)
    sample = stock.take(clip_requests(sampler, 1, 0, 0)[0])[0]
    task = TrackingTask(
        corrections=0.0, teacher_forcing=1.0, corruption=Corruption(objects=1.0, frames=1.0)
    )
    unroll(model, RecentMemory(), [(sample, np.random.default_rng(5))], 1, task)
    wrong = unroll_masks(remembered)
    remembered.clear()
    right = replace(task, corruption=Corruption(objects=0.0))
    unroll(model, RecentMemory(), [(sample, np.random.default_rng(5))], 1, right)
    torch.testing.assert_close(wrong[0], unroll_masks(remembered)[0])  # the prompt stays as it is
    assert not torch.allclose(wrong[1], unroll_masks(remembered)[1])


def test_an_object_of_two_things_is_shown_by_its_mask(world, sampler, model, monkeypatch):
    shown = []
    segment = model.segment

    def noted(features, prompts, previous, recalls, images):
        shown.extend(prompts)
        return segment(features, prompts, previous, recalls, images)

    monkeypatch.setattr(model, "segment", noted)
    stock = ReplayBuffer(world, sampler, model.trunk)
    sample = stock.take(clip_requests(sampler, 1, 0, 0)[0])[0]
    composed = replace(sample, composed=sample.targets)
    for seed in range(4):
        clips = [(composed, np.random.default_rng(seed))]
        unroll(model, RecentMemory(), clips, 1, TrackingTask(corrections=0.0))
    assert len(shown) == 4
    assert all(isinstance(prompt, Mask) for prompt in shown)


def test_a_network_in_training_decodes_the_whole_frame(model):
    priors = torch.full((2, 12 * 20, 4), -1.0)
    priors[:, 125] = 1.0  # one likely token in the middle
    model.train()
    assert {roi.size for roi in model.network.rois(priors, (12, 20))} == {(12, 20)}
    model.eval()
    assert {roi.size for roi in model.network.rois(priors, (12, 20))} != {(12, 20)}


def unroll_masks(remembered):
    assert [prompted for prompted, _ in remembered] == [True, False, False]
    return [logits.sigmoid() for _, logits in remembered]


def test_a_clip_played_backwards_is_cut_where_it_was(world, sampler, model):
    stock = ReplayBuffer(
        world, replace(sampler, clip=replace(SPEC, frames=5, cut=1.0)), model.trunk
    )
    sample, _ = stock.take(clip_requests(sampler, 1, 0, 0)[0])
    turned = sample.reversed(1)
    assert turned is not None
    assert sample.cuts
    assert turned.cuts == tuple(5 - cut for cut in reversed(sample.cuts))


def test_a_state_of_another_version_is_refused_with_what_it_lacks(model, tmp_path):
    state = tmp_path / "state-1"
    state.mkdir()
    (state / "progress.json").write_text("{}")
    weights = saved_state(model.network)
    save_file(weights, state / "trained.safetensors")
    take_over(model, tmp_path)
    del weights["decoder.prior_weight"]
    save_file(weights, state / "trained.safetensors")
    with pytest.raises(CheckpointError, match=r"decoder\.prior_weight"):
        take_over(model, tmp_path)


def test_validation_refines_boxes_and_clicks_like_the_recipe(sampler, model):
    stage = Stage("tiny", sampler, Schedule(steps=1))
    assert tracker_of(model, stage).refiner == find_recipe("sec_compact").refiner


def test_trunk_and_verifier_do_not_change_in_training(stage, model, tmp_path):
    model.verifier = Verifier(model.widths.descriptor)
    stage = replace(stage, schedule=Schedule(steps=2, warm_up=1), validation_clips=0)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    train(CompactTraining(model, stage, tmp_path), tmp_path / "run", OPTIONS)
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert {name.split(".")[0] for name in changed} == {"network"}


def test_varied_clips_keep_their_size_and_their_objects_move_little(world):
    plain = SamplerConfig(SPEC)
    varied = replace(plain, varied=1.0)
    for seed in range(4):
        before, after = world.clip(plain, seed), world.clip(varied, seed)
        assert after.rgb.shape == before.rgb.shape
        assert after.targets == before.targets
        assert not np.array_equal(after.rgb, before.rgb)
        same = after.labels == before.labels
        assert same.mean() > 0.9
        again = world.clip(varied, seed)
        assert np.array_equal(after.rgb, again.rgb)
        assert np.array_equal(after.labels, again.labels)


def test_first_clicks_are_decoded_again_in_training_and_every_pass_is_taught(
    world, sampler, model, monkeypatch
):
    from segment_concept.train import unroll as module

    clicked = Points.on((48.0, 32.0))
    monkeypatch.setattr(module, "draw_prompt", lambda truth, rng: clicked)
    stock = ReplayBuffer(world, sampler, model.trunk)
    passes = []
    segment = model.segment

    def counted(features, prompts, previous, recalls, images):
        passes.append([p is not None for p in previous])
        return segment(features, prompts, previous, recalls, images)

    monkeypatch.setattr(model, "segment", counted)
    for clip_passes in (1, 4):
        passes.clear()
        task = TrackingTask(click_passes=clip_passes, corrections=0.0)
        seen = set()
        for step in range(6):
            before = len(passes)
            clips = [stock.take(request) for request in clip_requests(sampler, 1, step, 0)]
            unroll(model, RecentMemory(), clips, 1, task)
            made = passes[before:]
            assert not any(made[0])
            assert all(all(again) for again in made[1:])
            seen.add(len(made))
        assert max(seen) <= clip_passes
        assert clip_passes == 1 or len(seen) > 1

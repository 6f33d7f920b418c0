import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from segment_concept import Box, Frame
from segment_concept.checkpoints.compact import read_card
from segment_concept.checkpoints.load import bundled_weights, find_device, load, weights_hash
from segment_concept.recipes import find_recipe
from segment_concept.tracking.triggers.base import AtFrames, Cooldown, Never
from segment_concept.types import CheckpointError, InputError


def test_the_bundled_model_tracks_without_anything_else():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 90, (120, 160, 3), dtype=np.uint8)
    pixels[40:80, 50:100] = (250, 60, 60)
    frames = [Frame(t, np.roll(pixels, 4 * t, axis=1)) for t in range(4)]
    session = load("sec_compact").session()
    session.prompt(frames[0], {1: Box(50, 40, 100, 80)})
    last = list(session.track(frames[1:]))[-1]
    truth = np.roll((pixels == (250, 60, 60)).all(-1), 12, axis=1)
    assert (last.mask(1) & truth).sum() / (last.mask(1) | truth).sum() > 0.75


def test_the_bundled_weights_carry_their_card():
    card = read_card(bundled_weights())
    assert {"data", "commit", "stages", "calibration", "license"} <= set(card)


def test_the_hash_is_that_of_the_file():
    expected = hashlib.sha256(bundled_weights().read_bytes()).hexdigest()
    assert weights_hash(find_recipe("sec_compact")) == expected


def test_a_recipe_may_name_a_file_of_its_own(tmp_path):
    copy = tmp_path / "mine.safetensors"
    copy.write_bytes(bundled_weights().read_bytes())
    tracker = load(replace(find_recipe("sec_compact"), weights=str(copy), short_side=128))
    assert tracker.segmenter.short_side == 128


def test_weights_that_are_not_there_are_named(tmp_path):
    recipe = replace(find_recipe("sec_compact"), weights=str(tmp_path / "gone.safetensors"))
    with pytest.raises(CheckpointError, match=r"gone\.safetensors"):
        load(recipe)


@pytest.mark.parametrize("name", ["sam2_tiny", "xmem"])
def test_a_trigger_that_nothing_could_answer_is_refused(name):
    trigger = Cooldown(AtFrames(frozenset({3})), 5)
    with pytest.raises(InputError, match=rf"recipe {name} has no concept encoder, so triggers"):
        load(name, trigger=trigger)


def test_fields_of_a_recipe_are_changed_while_loading():
    tracker = load("sec_compact", keyframes=3, trigger=Never(), short_side=64)
    assert (tracker.keyframes, tracker.trigger) == (3, Never())
    with pytest.raises(InputError, match="a recipe has no field 'memory': expected name, network"):
        load("sec_compact", memory=3)


def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(InputError, match="no device 'banana' here"):
        find_device("banana")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="try --device cpu"):
            find_device("cuda")

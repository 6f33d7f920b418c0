"""Clips made of photographs of the same subject in several places."""

import numpy as np
import pytest
from PIL import Image

from segment_concept.synthetic.subjects import HELD_OUT, load_subjects, subject_clip
from segment_concept.types import InputError

SIDE = 48


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Subjects before grounds that are blue for animals alone."""
    out = tmp_path_factory.mktemp("subjects")
    rng = np.random.default_rng(0)
    names = [("animal", "dog"), ("animal", "cat"), ("toy", "robot"), ("animal", "dog6")]
    for kind, name in names:
        for number in range(4):
            rgb = rng.integers(0, 30, (SIDE, SIDE, 3), dtype=np.uint8)
            mask = np.zeros((SIDE, SIDE), np.uint8)
            mask[12:36, 12:36] = 255
            rgb[..., 2] = 200 if kind == "animal" else 0
            path = out / f"{kind}__{name}__{number:02d}"
            Image.fromarray(rgb).save(path.with_suffix(".jpg"), quality=100, subsampling=0)
            Image.fromarray(mask).save(path.with_suffix(".png"))
    return out


def test_held_out_subjects_are_in_no_training_clip(folder):
    subjects = load_subjects(folder, "train")
    assert {subject.name for subject in subjects} == {"dog", "cat", "robot"}
    assert not HELD_OUT & {subject.name for subject in subjects}


def test_the_subject_returns_in_every_other_shot(folder):
    clip = subject_clip(load_subjects(folder, "train"), 3)
    assert clip.rgb.shape == (15, SIDE, SIDE, 3)
    assert clip.cuts == (3, 6, 9, 12)
    visible = [bool(labels.any()) for labels in clip.labels[1::3]]
    assert visible == [True, False, True, False, True]
    assert np.unique(clip.labels).tolist() == [0, 1]


def test_the_first_other_subject_is_of_the_same_kind(folder):
    subjects = load_subjects(folder, "train")
    assert [subject.kind for subject in subjects] == ["animal", "animal", "toy"]
    for seed in (0, 1, 3, 4):
        assert subject_clip(subjects, seed).rgb[3, ..., 2].mean() > 100
    assert np.array_equal(subject_clip(subjects, 4).rgb, subject_clip(subjects, 4).rgb)


def test_too_few_subjects_are_refused_with_the_tool_to_use(folder, tmp_path):
    with pytest.raises(InputError, match=r"prepare_subject_photos\.py"):
        load_subjects(tmp_path, "train")
    with pytest.raises(InputError, match="photographs of 1 subjects"):
        load_subjects(folder, "held_out")


def test_a_subject_that_no_mask_shows_is_refused(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for path in tmp_path.glob("*.png"):
        Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(path)
    with pytest.raises(InputError, match="marks hardly anything"):
        subject_clip(load_subjects(tmp_path, "train"), 0)

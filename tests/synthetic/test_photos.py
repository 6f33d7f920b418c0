"""Clips made of photographs, on tiny pictures made here: no download is needed."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from segment_concept.synthetic import Clip
from segment_concept.synthetic.photo_clip import PhotoClipSpec, render_photo_clip
from segment_concept.synthetic.photo_path import Path as Movement
from segment_concept.synthetic.photo_rider import draw_rider
from segment_concept.synthetic.photo_scene import draw_bar, make_sprite, without
from segment_concept.synthetic.photo_warp import Pose
from segment_concept.synthetic.photos import (
    MOST_OF_ONE_SOURCE,
    Photo,
    Photos,
    balanced_weights,
    load_photos,
)
from segment_concept.types import InputError

SMALL: dict[str, Any] = {"frames": 5, "height": 96, "width": 160, "least_area": 40}
ALONE: dict[str, Any] = {"covered": 0.0, "occluders": 0.0, "lookalike": 0.0, "leaves": 0.0}
TOOL = Path(__file__).parents[2] / "tools" / "prepare_training_photos.py"


def _scene(seed: int, objects: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Bright discs on dark, uneven ground, and their mask."""
    rng = np.random.default_rng(seed)
    rgb = rng.integers(20, 60, (120, 168, 3), dtype=np.uint8)
    labels = np.zeros((120, 168), np.uint8)
    for i in range(objects):
        x = 30 + 50 * i + int(rng.integers(0, 10))
        cv2.circle(labels, (x, int(rng.integers(40, 80))), 17, i + 1, -1)
    rgb[labels > 0] = 235
    return rgb, labels


def _write(folder: Path, source: str, stem: str, rgb: np.ndarray, labels: np.ndarray) -> None:
    for kind in ("images", "masks"):
        (folder / source / kind).mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(folder / source / "images" / f"{stem}.jpg", quality=95)
    Image.fromarray(labels).save(folder / source / "masks" / f"{stem}.png")


def _list(folder: Path, sources: dict[str, tuple[str, list[str]]]) -> None:
    entries = [{"folder": f, "use": use, "photographs": p} for f, (use, p) in sources.items()]
    (folder / "manifest.json").write_text(json.dumps({"sources": entries}), encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    stems = [f"p{i:02}" for i in range(24)]
    for i, stem in enumerate(stems):
        _write(root, "discs", stem, *_scene(i, objects=1))
        _write(root, "garments", stem, *_scene(100 + i, objects=1))
    _list(root, {"discs": ("scenes", stems), "garments": ("cut-outs", stems)})
    return root


@pytest.fixture(scope="module")
def photos(folder: Path) -> Photos:
    return load_photos(folder, "train")


def _areas(clip: Clip) -> np.ndarray:
    return np.asarray((clip.labels == 1).sum(axis=(1, 2)))


def test_a_clip_has_the_promised_shapes_and_targets(photos: Photos) -> None:
    for seed in range(8):
        clip = render_photo_clip(photos, PhotoClipSpec(**SMALL), seed)
        assert clip.rgb.shape == (5, 96, 160, 3)
        assert clip.rgb.dtype == np.uint8
        assert clip.labels.shape == (5, 96, 160)
        assert clip.labels.dtype == np.uint8
        assert clip.targets[0] == 1
        for target in clip.targets:
            assert (clip.labels[0] == target).sum() >= 40


def test_the_same_seed_gives_the_same_clip_and_another_seed_another(photos: Photos) -> None:
    spec = PhotoClipSpec(**SMALL)
    first, again, other = (render_photo_clip(photos, spec, seed) for seed in (3, 3, 4))
    assert np.array_equal(first.rgb, again.rgb)
    assert np.array_equal(first.labels, again.labels)
    assert (first.targets, first.cuts) == (again.targets, again.cuts)
    assert not np.array_equal(first.rgb, other.rgb)


@pytest.mark.parametrize("pasted", [0.0, 1.0])
def test_a_clip_says_which_object_consists_of_two_things(photos: Photos, pasted: float) -> None:
    alone = PhotoClipSpec(**SMALL, **ALONE, pasted=pasted, cut=0.0)
    for seed in range(4):
        assert render_photo_clip(photos, alone, seed).composed == ()
        assert render_photo_clip(photos, replace(alone, rider=1.0), seed).composed == (1,)


def test_a_rider_grows_turns_and_moves_with_what_carries_it() -> None:
    image = np.full((8, 8, 4), 255, np.uint8)
    root = np.linspace(20, 60, 6)
    carrier = Movement(np.linspace((30, 40), (90, 60), 6), root, np.linspace(0, 1.0, 6))
    for seed in range(10):
        rider = replace(draw_rider(np.random.default_rng(seed), image), sway=0.0, tilt=0.0)
        path = rider.path(carrier)
        away = path.position - carrier.position
        distance = np.linalg.norm(away, axis=1)
        np.testing.assert_allclose(distance / root, np.hypot(*rider.offset))
        turned = np.unwrap(np.arctan2(away[:, 1], away[:, 0]))
        np.testing.assert_allclose(turned - turned[0], carrier.angle)
        np.testing.assert_allclose(path.root / root, rider.size)
        # The two things touch: discs of these areas overlap or nearly do.
        assert np.hypot(*rider.offset) < 1.02 * (1 + rider.size) / np.sqrt(np.pi)


def test_bars_are_much_longer_than_they_are_thick() -> None:
    ground = _scene(1)[0]
    for seed in range(20):
        sides = sorted(draw_bar(np.random.default_rng(seed), ground).shape[:2])
        assert sides[1] > 4 * sides[0]


@pytest.mark.parametrize("mode", ["attached", "loose", "pasted"])
def test_labels_lie_where_the_object_is_seen(photos: Photos, mode: str) -> None:
    shares = {"pasted": float(mode == "pasted"), "loose": float(mode == "loose")}
    spec = PhotoClipSpec(**SMALL, **ALONE, **shares, cut=0.0, fast=0.0)
    overlaps = []
    for seed in range(10):
        clip = render_photo_clip(photos, spec, seed)
        for rgb, labels in zip(clip.rgb, clip.labels, strict=True):
            gray = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (0, 0), 1.0)
            _, bright = cv2.threshold(gray, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
            both, either = (labels > 0) & (bright > 0), (labels > 0) | (bright > 0)
            overlaps.append(both.sum() / max(1, either.sum()))
    # Shadows, blur and noise of the optics move the threshold's contour in some frames.
    assert np.median(overlaps) > 0.85


@pytest.mark.parametrize("mode", ["attached", "pasted"])
def test_an_object_grows_as_much_as_is_asked_for(photos: Photos, mode: str) -> None:
    spec = PhotoClipSpec(
        **SMALL,
        **ALONE,
        pasted=float(mode == "pasted"),
        loose=0.0,
        growth=1.0,
        growth_range=(4.0, 4.0),
        shrink=0.0,
        fills=0.0,
        partial=0.0,
        deform=0.0,
        cut=0.0,
    )
    ratios = []
    for seed in range(12):
        areas = _areas(render_photo_clip(photos, spec, seed))
        ratios.append(areas[-1] / areas[0])
    # The zoom that still covers the frame, and a neighbor in front, make some a little smaller.
    assert 3.0 < np.median(ratios) < 5.0


def test_an_object_that_shrinks_becomes_smaller(photos: Photos) -> None:
    spec = PhotoClipSpec(
        **SMALL, **ALONE, pasted=1.0, growth=1.0, shrink=1.0, partial=0.0, fills=0.0, cut=0.0
    )
    for seed in range(4):
        areas = _areas(render_photo_clip(photos, spec, seed))
        assert areas[-1] < 0.6 * areas[0]


def test_cuts_are_recorded_where_the_picture_changes(photos: Photos) -> None:
    spec = PhotoClipSpec(**{**SMALL, "frames": 8}, cut=1.0)
    seen = set()
    for seed in range(12):
        clip = render_photo_clip(photos, spec, seed)
        assert clip.cuts
        assert list(clip.cuts) == sorted(set(clip.cuts))
        assert all(0 < cut < 8 for cut in clip.cuts)
        seen.add(len(clip.cuts))
    assert len(seen) > 1
    plain = PhotoClipSpec(**SMALL, cut=0.0)
    assert not render_photo_clip(photos, plain, 0).cuts


def test_an_absent_object_has_no_pixels_and_returns(photos: Photos) -> None:
    spec = PhotoClipSpec(**{**SMALL, "frames": 8}, cut=1.0, pasted=1.0, late=1.0)
    patterns = []
    for seed in range(40):
        clip = render_photo_clip(photos, spec, seed)
        visible = _areas(clip) > 0
        patterns.append([bool(visible[cut]) for cut in clip.cuts])
        assert visible[0]
    assert any(not p[0] and p[-1] for p in patterns if len(p) > 1)  # away, then back
    assert any(p[0] for p in patterns)


def test_an_object_can_leave_within_a_shot(photos: Photos) -> None:
    shares = {**ALONE, "leaves": 1.0}
    spec = PhotoClipSpec(**SMALL, **shares, pasted=1.0, cut=0.0, growth=0.0)
    for seed in range(6):
        areas = _areas(render_photo_clip(photos, spec, seed))
        assert areas[0] > 0
        assert areas.min() == 0


def test_ground_behind_a_lifted_object_looks_like_its_surroundings() -> None:
    rgb, labels = _scene(5)
    filled = without(np.random.default_rng(0), rgb, labels, labels > 0)
    hole = labels > 0
    assert abs(float(filled[hole].mean()) - float(rgb[~hole].mean())) < 15
    far = cv2.dilate(labels, np.ones((25, 25), np.uint8)) == 0
    assert np.array_equal(filled[far], rgb[far])


def test_training_and_held_out_photographs_are_apart(folder: Path) -> None:
    names = [
        {photo.name for photo in (*part.scenes, *part.cutouts)}
        for part in (load_photos(folder, "train"), load_photos(folder, "held_out"))
    ]
    assert names[0]
    assert names[1]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == 48


def test_a_large_source_has_at_most_half_of_the_draws() -> None:
    empty = np.zeros(0, np.uint8)
    sources = ["cats"] * 900 + ["things"] * 4 + ["birds"] * 9
    drawn = tuple(
        Photo(f"{s}/{i}", s, False, empty, empty, None, (1,)) for i, s in enumerate(sources)
    )
    weights = balanced_weights(drawn)
    assert weights[:900].sum() == pytest.approx(MOST_OF_ONE_SOURCE)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[904:].sum() > weights[900:904].sum()


def test_a_folder_without_photographs_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no prepared photographs in .*prepare_training_photos"):
        load_photos(tmp_path, "train")


def test_a_mask_of_another_size_is_refused_in_a_sentence(tmp_path: Path) -> None:
    rgb, labels = _scene(0)
    stems = [f"a{i}" for i in range(10)]
    for stem in stems:
        _write(tmp_path, "discs", stem, rgb, labels[:-2])
    _list(tmp_path, {"discs": ("scenes", stems)})
    with pytest.raises(InputError, match="168 x 118 pixels, its image 168 x 120"):
        load_photos(tmp_path, "train")


def test_a_listed_picture_that_is_missing_is_refused(tmp_path: Path) -> None:
    _list(tmp_path, {"discs": ("scenes", [f"a{i}" for i in range(10)])})
    with pytest.raises(InputError, match=r"is listed in manifest\.json but missing"):
        load_photos(tmp_path, "train")


def test_scenes_without_objects_are_refused(tmp_path: Path) -> None:
    rgb, labels = _scene(0)
    stems = [f"a{i}" for i in range(10)]
    for stem in stems:
        _write(tmp_path, "discs", stem, rgb, 0 * labels)
    _list(tmp_path, {"discs": ("scenes", stems)})
    with pytest.raises(InputError, match="no object of at least"):
        load_photos(tmp_path, "train")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"growth": 1.5}, "probabilities"),
        ({"growth_range": (5.0, 2.0)}, "growth_range"),
        ({"frames": 1}, "one frame"),
        ({"height": 20}, "64 pixels"),
        ({"speed": -1.0}, "not negative"),
    ],
)
def test_a_spec_out_of_range_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PhotoClipSpec(**values)


def _tool() -> Any:
    spec = importlib.util.spec_from_file_location("prepare_training_photos", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tool_writes_a_folder_that_can_be_loaded(tmp_path: Path) -> None:
    tool = _tool()
    for source in tool.SOURCES:
        for i in range(6):
            rgb, labels = _scene(i)
            large = (840, 600)
            rgb, labels = cv2.resize(rgb, large), cv2.resize(labels, large, interpolation=0)
            _write(tmp_path / "in", source["folder"], f"x{i}", rgb, labels)
    sources = tool.prepare(tmp_path / "in", tmp_path / "out")
    assert all(s["repository"] and s["commit"] and s["license"] for s in sources)
    photos = load_photos(tmp_path / "out", "train")
    assert {photo.source for photo in photos.cutouts} == {"clothing_cc0"}
    photo = photos.scenes[0]
    assert photo.rgb().shape == (549, 768, 3)
    assert photo.labels().shape == (549, 768)
    assert photo.objects == (1,)


def test_the_tool_says_where_a_missing_source_can_be_had(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"fetch them from github\.com/.* at commit [0-9a-f]{40}"):
        _tool().prepare(tmp_path, tmp_path / "out")


def test_an_object_that_turns_shows_other_colors_within_the_same_outline() -> None:
    rgba = np.zeros((80, 60, 4), np.uint8)
    rgba[4:-4, 4:-4] = (200, 40, 40, 255)
    rgba[4:-4, 30:-4] = (40, 40, 200, 255)
    sprite = make_sprite(np.random.default_rng(1), rgba, 0.0, turns_in=5)
    masks, pictures = [], []
    for t in (0, 4):
        frame, labels = np.full((100, 100, 3), 90, np.uint8), np.zeros((100, 100), np.uint8)
        shift = np.array([[1.0, 0.0, 15.0], [0.0, 1.0, 5.0]])
        sprite.draw(frame, labels, 1, Pose(shift, t, (0.0, 0.0)))
        masks.append(labels)
        pictures.append(frame)
    assert np.array_equal(masks[0], masks[1])
    inside = masks[0] > 0
    changed = np.abs(pictures[0].astype(int) - pictures[1]).max(axis=2) > 40
    assert changed[inside].mean() > 0.1
    assert not changed[cv2.dilate(masks[0], np.ones((7, 7), np.uint8)) == 0].any()

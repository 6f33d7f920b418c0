"""The synthetic world, on tiny pictures made here: no download is needed."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from segment_concept.synthetic import (
    Assets,
    Background,
    Clip,
    ClipSpec,
    Cutout,
    load,
    prepare,
    render_clip,
)
from segment_concept.synthetic.articulated import DrawableObject, still
from segment_concept.synthetic.assets import is_held_out
from segment_concept.synthetic.objects import COMPOSITES, draw_lookalike, draw_object
from segment_concept.synthetic.pixels import lay, premultiply

PLAIN = {"cut": 0.0, "absent": 0.0, "occluders": 0.0}


def _disc(rng: np.random.Generator, side: int = 96) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    alpha = ((x**2 + y**2 < 0.9) * 255).astype(np.uint8)
    rgb = np.broadcast_to(rng.integers(30, 255, 3, dtype=np.uint8), (side, side, 3))
    return np.dstack([rgb, alpha])


@pytest.fixture(scope="module")
def assets() -> Assets:
    rng = np.random.default_rng(7)
    cutouts = tuple(
        Cutout(f"{kind}/{i}.png", kind, _disc(rng)) for kind in ("fruit", "birds") for i in range(3)
    )
    backgrounds = tuple(
        Background(f"b{i}.jpg", rng.integers(0, 255, (300, 400, 3), dtype=np.uint8), 1.0)
        for i in range(2)
    )
    return Assets(cutouts, backgrounds)


def _area(clip: Clip) -> list[int]:
    return [int((frame == 1).sum()) for frame in clip.labels]


@pytest.mark.parametrize("size", [(128, 128), (96, 168)])
def test_a_clip_has_the_promised_shapes_and_labels(assets: Assets, size: tuple[int, int]) -> None:
    for seed in range(6):
        clip = render_clip(assets, ClipSpec(4, *size, least_area=60), seed)
        assert clip.rgb.shape == (4, *size, 3)
        assert clip.rgb.dtype == np.uint8
        assert clip.labels.shape == (4, *size)
        assert clip.labels.dtype == np.uint8
        assert clip.labels.max() <= 4
        assert all(0 < cut < 4 for cut in clip.cuts)
        assert clip.rgb.std() > 5


def test_frames_may_be_larger_than_the_piece_of_noise_that_is_kept(assets: Assets) -> None:
    for seed in range(4):
        clip = render_clip(assets, ClipSpec(2, 384, 672), seed)
        assert clip.rgb.shape == (2, 384, 672, 3)


def test_the_same_seed_gives_the_same_clip_and_another_seed_another(assets: Assets) -> None:
    spec = ClipSpec(3, 128, 128)
    first, again, other = (render_clip(assets, spec, seed) for seed in (5, 5, 6))
    assert np.array_equal(first.rgb, again.rgb)
    assert np.array_equal(first.labels, again.labels)
    assert (first.targets, first.cuts) == (again.targets, again.cuts)
    assert not np.array_equal(first.rgb, other.rgb)


def test_targets_are_visible_enough_on_the_first_frame(assets: Assets) -> None:
    spec = ClipSpec(2, 128, 128, least_area=120)
    for seed in range(12):
        clip = render_clip(assets, spec, seed)
        assert 1 in clip.targets
        visible = [i for i in range(1, 5) if (clip.labels[0] == i).sum() >= 120]
        assert list(clip.targets) == visible


@pytest.mark.parametrize("by_cut", [0.0, 1.0])
def test_an_absent_target_leaves_no_pixel(assets: Assets, by_cut: float) -> None:
    spec = ClipSpec(6, 128, 128, cut=by_cut, absent=1.0, absent_by_cut=by_cut)
    for seed in range(10):
        clip = render_clip(assets, spec, seed)
        area = _area(clip)
        assert area[0] >= spec.least_area
        assert min(area) == 0
        assert bool(clip.cuts) == bool(by_cut)


def test_a_target_may_come_back_after_its_absence(assets: Assets) -> None:
    spec = ClipSpec(8, 128, 128, cut=1.0, absent=1.0)
    areas = [_area(render_clip(assets, spec, seed)) for seed in range(24)]
    assert any(area[area.index(0) :][-1] > 0 for area in areas)
    assert any(area[-1] == 0 for area in areas)


def test_an_interlude_has_nothing_of_the_clip_in_it(assets: Assets) -> None:
    away = ClipSpec(9, 96, 160, cut=1.0, absent=1.0, absent_by_cut=1.0, least_area=60)
    with_others = 0
    for seed in range(12):
        clip = render_clip(assets, replace(away, interlude=1.0), seed)
        bounds = (0, *clip.cuts, 9)
        shots = [clip.labels[a:b] for a, b in pairwise(bounds)]
        assert any(not (shot == 1).any() for shot in shots[1:])
        for shot in shots[1:]:
            if not (shot == 1).any() and shot.any():
                with_others += 1
    assert with_others == 0
    assert any(
        clip.labels[t].any() and not (clip.labels[t] == 1).any()
        for clip in (render_clip(assets, away, seed) for seed in range(12))
        for t in range(9)
    )


def test_a_plain_clip_never_cuts_and_one_with_cuts_always_does(assets: Assets) -> None:
    for seed in range(8):
        assert render_clip(assets, ClipSpec(4, 96, 96, **PLAIN), seed).cuts == ()
        assert render_clip(assets, ClipSpec(4, 96, 96, cut=1.0, absent=0.0), seed).cuts


def test_the_picture_changes_at_a_cut_more_than_between_other_frames(assets: Assets) -> None:
    spec = ClipSpec(6, 128, 128, cut=1.0, absent=0.0, speed=0.2)
    at_cuts, elsewhere = [], []
    for seed in range(8):
        clip = render_clip(assets, spec, seed)
        change = np.abs(np.diff(clip.rgb.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
        for frame, value in enumerate(change, start=1):
            (at_cuts if frame in clip.cuts else elsewhere).append(float(value))
    assert np.median(at_cuts) > np.median(elsewhere)


@pytest.mark.parametrize("kind", ["cutout", *COMPOSITES])
def test_lookalikes_share_the_category_but_are_not_the_same(assets: Assets, kind: str) -> None:
    rng = np.random.default_rng(3)
    model = COMPOSITES[kind][1](assets, rng) if kind != "cutout" else draw_object(assets, rng, 0.0)
    assert model.kind == kind
    for _ in range(6):
        alike = draw_lookalike(assets, rng, model)
        assert alike.category == model.category
        same = len(alike.parts) == len(model.parts) and all(
            np.array_equal(a.image, b.image) for a, b in zip(alike.parts, model.parts, strict=True)
        )
        assert not same


@pytest.mark.parametrize("kind", list(COMPOSITES))
def test_a_composite_keeps_its_box_while_it_moves(assets: Assets, kind: str) -> None:
    drawable = DrawableObject(COMPOSITES[kind][1](assets, np.random.default_rng(1)))
    sprites = [drawable.sprite(phase, 100) for phase in (0.0, 0.21, 0.6)]
    assert len({s.shape for s in sprites}) == 1
    assert all((s[..., 3] > 127).sum() > 20 for s in sprites)
    # premultiplied: no color is brighter than its alpha (one level of rounding)
    assert all((s[..., :3] <= s[..., 3:].astype(int) + 1).all() for s in sprites)


def test_camouflaged_objects_come_closer_to_the_colors_of_their_place(assets: Assets) -> None:
    spec = ClipSpec(2, 128, 128, **PLAIN, lookalike=0, composite=0, most_objects=1)

    def contrast(share: float) -> float:
        gaps = []
        for seed in range(12):
            clip = render_clip(assets, replace(spec, camouflage=share), seed)
            inside = clip.labels[0] == 1
            colors = clip.rgb[0].astype(float)
            gaps.append(np.abs(colors[inside].mean(0) - colors[~inside].mean(0)).mean())
        return float(np.mean(gaps))

    assert contrast(1.0) < 0.7 * contrast(0.0)


def test_laying_a_half_transparent_sprite_mixes_the_colors() -> None:
    ground = np.full((2, 2, 3), 200, np.uint8)
    sprite = premultiply(np.full((2, 2, 4), (100, 100, 100, 51), np.uint8))
    lay(ground, sprite)
    assert np.abs(ground.astype(int) - 180).max() <= 1  # 0.2 * 100 + 0.8 * 200


def test_a_still_object_has_no_fringe_of_another_color() -> None:
    disc = np.full((64, 64, 4), (250, 0, 0, 0), np.uint8)
    cv2.circle(disc, (32, 32), 24, (250, 0, 0, 255), -1)
    ground = np.full((40, 40, 3), (0, 0, 250), np.uint8)
    sprite = DrawableObject(still(disc, "cutout", "x")).sprite(0.0, 32)
    lay(ground[:32, :32], sprite[:32, :32])
    assert ground[..., 1].max() <= 2
    assert np.abs(ground.astype(int).sum(axis=2) - 250).max() <= 4


def _write_packages(folder: Path) -> None:
    rng = np.random.default_rng(0)
    stamps = folder / "usr/share/tuxpaint/stamps"
    names = [f"animals/cats/cat{i}.png" for i in range(24)]
    for name in [*names, "symbols/a.png", "animals/cats/cat0_mirror.png", "town/flags/f.png"]:
        path = stamps / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), _disc(rng, 400))
    wallpapers = folder / "usr/share/backgrounds"
    wallpapers.mkdir(parents=True)
    for i in range(24):
        coarse = rng.integers(0, 255, (8, 12, 3), dtype=np.uint8)
        cv2.imwrite(str(wallpapers / f"w{i}.png"), cv2.resize(coarse, (960, 640)))


def test_the_held_out_split_is_disjoint_stable_and_complete(tmp_path: Path) -> None:
    _write_packages(tmp_path / "packages")
    cache = tmp_path / "cache" / "assets.npz"
    prepare(tmp_path / "packages", cache)
    train, held = load(cache), load(cache, "held_out")
    ours, theirs = {c.name for c in train.cutouts}, {c.name for c in held.cutouts}
    assert not ours & theirs
    assert len(ours | theirs) == 24
    assert theirs == {name for name in ours | theirs if is_held_out(name, 6)}
    assert not {b.name for b in train.backgrounds} & {b.name for b in held.backgrounds}
    assert {c.category for c in train.cutouts} == {"animals/cats"}
    assert max(train.cutouts[0].rgba.shape) == 320
    assert min(train.backgrounds[0].rgb.shape[:2]) == 600


def test_a_folder_without_pictures_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="fetch_training_assets"):
        prepare(tmp_path, tmp_path / "cache.npz")
    with pytest.raises(FileNotFoundError, match="segment-concept train assets"):
        load(tmp_path / "cache.npz")


@pytest.mark.parametrize(
    "wrong",
    [{"frames": 0}, {"height": 10}, {"cut": 1.5}, {"frames": 1}, {"most_objects": 0}],
)
def test_a_spec_that_cannot_be_rendered_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"clip|probabilities|most_objects"):
        ClipSpec(**wrong)

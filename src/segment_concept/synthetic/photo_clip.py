"""Render training clips from real photographs, with exact labels."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from segment_concept.synthetic.clip import Clip
from segment_concept.synthetic.photo_maker import (
    MainObject,
    ShotMaker,
    draw_kind,
    draw_main,
    draw_part,
)
from segment_concept.synthetic.photo_scene import Scene, open_scene
from segment_concept.synthetic.photo_shot import Shot
from segment_concept.synthetic.photo_spec import PhotoClipSpec
from segment_concept.synthetic.photos import Photos
from segment_concept.synthetic.pixels import chance

__all__ = ["PhotoClipSpec", "render_photo_clip"]

_TRIES = 40
_LEAST_SEEN = 0.12  # visible share of object 1 on frame 0, at least


@dataclass(frozen=True, slots=True)
class _Piece:
    """A shot and its frames in the clip; frame t of the clip is frame t - offset of the shot."""

    shot: Shot
    frames: range
    offset: int


def render_photo_clip(photos: Photos, spec: PhotoClipSpec, seed: int) -> Clip:
    """Render one clip; the same arguments give the same clip.

    Raises:
        RuntimeError: object 1 had fewer than `least_area` pixels on frame 0, or was hidden there,
            in many tries.
    """
    starts = _draw_starts(np.random.default_rng([seed, 0]), spec)
    for attempt in range(1, _TRIES + 1):
        clip = _try_clip(photos, spec, starts, np.random.default_rng([seed, attempt]))
        if clip is not None:
            return clip
    raise RuntimeError(
        f"no clip with object 1 on {spec.least_area} pixels of frame 0 in {_TRIES} tries "
        f"(seed {seed}): lower least_area or make the frames larger"
    )


def _draw_starts(rng: Generator, spec: PhotoClipSpec) -> tuple[int, ...]:
    """First frames of the shots."""
    if not chance(rng, spec.cut):
        return (0,)
    count = 1 + int(chance(rng, 0.5)) + (int(rng.integers(0, 1 + spec.frames // 8)))
    cuts = 1 + rng.permutation(spec.frames - 1)[:count]
    return 0, *sorted(int(c) for c in cuts)


def _try_clip(
    photos: Photos, spec: PhotoClipSpec, starts: tuple[int, ...], rng: Generator
) -> Clip | None:
    pasted = chance(rng, spec.pasted)
    main = draw_main(photos, spec, rng, pasted)
    part = draw_part(main, spec, rng, pasted)
    ground = main.scene if part != "pasted" else open_scene(rng, photos.draw_scene(rng))
    maker = ShotMaker(photos, spec, main)
    first = maker.draw(rng, spec.frames, ground, part)
    rgb = np.empty((spec.frames, spec.height, spec.width, 3), np.uint8)
    labels = np.empty((spec.frames, spec.height, spec.width), np.uint8)
    rgb[0], labels[0] = first.frame(0, rng)
    areas = np.bincount(labels[0].ravel(), minlength=2)
    whole = min(first.area, float(labels[0].size))
    if areas[1] < max(spec.least_area, _LEAST_SEEN * whole):
        return None
    scene = _SceneOfClip(photos, spec, maker, main, ground, part, first)
    for piece in scene.pieces(rng, starts):
        for t in piece.frames:
            if t > 0:
                rgb[t], labels[t] = piece.shot.frame(t - piece.offset, rng)
    targets = tuple(i for i in range(1, len(areas)) if areas[i] >= spec.least_area)
    return Clip(rgb, labels, targets, starts[1:], () if main.rider is None else (1,))


@dataclass(frozen=True, slots=True, eq=False)
class _SceneOfClip:
    """The first scene of a clip, and what its later shots are drawn from."""

    photos: Photos
    spec: PhotoClipSpec
    maker: ShotMaker
    main: MainObject
    ground: Scene
    part: str
    first: Shot

    def pieces(self, rng: Generator, starts: tuple[int, ...]) -> list[_Piece]:
        """The shots of the clip, in order."""
        ends = (*starts[1:], self.spec.frames)
        out = [_Piece(self.first, range(0, ends[0]), 0)]
        back = False
        for index in range(1, len(starts)):
            frames = range(starts[index], ends[index])
            if back:  # the first scene continued meanwhile
                out.append(_Piece(self.first, frames, 0))
                back = False
                continue
            kind = draw_kind(rng, room=index + 1 < len(starts))
            out.append(self._later(rng, kind, frames))
            back = kind == "away"
        return out

    def _later(self, rng: Generator, kind: str, frames: range) -> _Piece:
        if kind == "other" and not self.main.whole:
            kind = "view"
        if kind == "view":
            return _Piece(self.first.reframed(rng), frames, 0)
        if kind == "part":
            shot = self.maker.draw(rng, len(frames), self.ground, self.part)
            return _Piece(shot, frames, frames.start)
        elsewhere = open_scene(rng, self.photos.draw_scene(rng))
        part = "absent" if kind == "away" else "pasted"
        late = kind == "other" and chance(rng, self.spec.late)
        shot = self.maker.draw(rng, len(frames), elsewhere, part, late)
        return _Piece(shot, frames, frames.start)

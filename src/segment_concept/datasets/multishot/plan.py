"""Plan the shots of clips from the masks of a dataset, before any image is written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

import numpy as np

from segment_concept.datasets.findings import listed
from segment_concept.datasets.multishot.distractors import DistractorSampler
from segment_concept.datasets.multishot.footage import SourceSequence
from segment_concept.datasets.multishot.spec import (
    Followed,
    MultishotSpec,
    Span,
    Split,
    randint,
    seeded_rng,
    shuffled,
)
from segment_concept.types import InputError

_SHOTS = {Split.NONE: 1, Split.SINGLE: 2}  # shots of the target in a clip
_VISIBLE_SHARE = 0.5  # minimum share of visible frames in a shot of the target
# Minimum size of the target on the first frame, relative to its median size and to the image.
_PROMPT_OF_USUAL, _PROMPT_OF_PICTURE = 0.25, 0.0005


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """`footage.frames[first:end]`; `reframed` if another camera is simulated."""

    footage: SourceSequence
    first: int
    end: int
    absent: bool = False  # the target is absent: another sequence
    reframed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ClipPlan:
    """A clip; `objects[i]` has id i + 1 in its masks."""

    name: str
    target: SourceSequence
    objects: tuple[str, ...]
    split: Split
    shots: tuple[Shot, ...]

    @property
    def cuts(self) -> list[int]:
        """Frames that start a new shot."""
        lengths = [shot.end - shot.first for shot in self.shots]
        return [int(n) for n in np.cumsum(lengths)[:-1]]

    @property
    def frames(self) -> int:
        """Number of frames."""
        return sum(shot.end - shot.first for shot in self.shots)


@dataclass(frozen=True, slots=True)
class MultishotPlan:
    """All clips, and why some targets have none: (sequence, split, reason)."""

    clips: tuple[ClipPlan, ...]
    left_out: tuple[tuple[str, Split, str], ...]


class _TooShortError(Exception):
    """A sequence is too short for such a clip."""


def make_plan(
    spec: MultishotSpec,
    footage: Sequence[SourceSequence],
    targets: Sequence[SourceSequence],
    sampler: DistractorSampler,
) -> MultishotPlan:
    """Plan the clips of all targets; interludes come from all of `footage`.

    Raises:
        InputError: too few sequences for interludes, or no clip can be made at all.
    """
    long_enough = [f for f in footage if len(f.frames) >= spec.interlude_frames.least]
    clips: list[ClipPlan] = []
    left_out: list[tuple[str, Split, str]] = []
    for target in targets:
        others = [f for f in long_enough if f.name != target.name]
        if len(others) < spec.most_interludes:
            raise InputError(_too_few(spec, others, target))
        for split in spec.splits:
            try:
                clips.extend(_clips(spec, target, split, others, sampler))
            except _TooShortError as reason:
                left_out.append((target.name, split, str(reason)))
    if not clips:
        names = [f"{name} ({split.value}): {why}" for name, split, why in left_out]
        raise InputError(f"no clip can be made: {listed(names, 3)}. Use shorter or fewer shots")
    return MultishotPlan(tuple(clips), tuple(left_out))


def _too_few(spec: MultishotSpec, others: Sequence[SourceSequence], target: SourceSequence) -> str:
    return (
        f"a clip of {target.name} may need {spec.most_interludes} interludes of different "
        f"sequences with at least {spec.interlude_frames.least} frames, but there are "
        f"{len(others)} others: add sequences, or use fewer --shots or --interludes 0"
    )


def _clips(
    spec: MultishotSpec,
    target: SourceSequence,
    split: Split,
    others: Sequence[SourceSequence],
    sampler: DistractorSampler,
) -> Iterator[ClipPlan]:
    objects, areas = _followed(spec, target)
    for copy in range(spec.copies):
        name = f"{target.name}-{split.value}" + (f"-{copy + 1}" if spec.copies > 1 else "")
        rng = seeded_rng(spec.seed, name, "plan")
        span = spec.uncut_frames if split is Split.NONE else spec.shot_frames
        count = _SHOTS.get(split) or randint(rng, spec.shots.least, spec.shots.most)
        first, *later = _target_shots(rng, target, areas, count, span)
        shots = [first, *(replace(s, reframed=rng.random() < spec.reframed) for s in later)]
        if split is Split.MULTI:
            shots = _with_interludes(rng, spec, shots, others, sampler)
        yield ClipPlan(name, target, objects, split, tuple(shots))


def _followed(spec: MultishotSpec, target: SourceSequence) -> tuple[tuple[str, ...], list[int]]:
    """Names of the objects, and their pixel counts per frame."""
    main = target.main_object
    if main is None:
        raise _TooShortError("its masks show no object")
    objects = tuple(target.areas) if spec.objects is Followed.ALL else (main,)
    rows = [target.areas[name] for name in objects]
    return objects, [sum(column) for column in zip(*rows, strict=True)]


def _first_prompt(target: SourceSequence, areas: Sequence[int]) -> int:
    """First frame on which the target is large enough for a prompt."""
    height, width = target.size
    median = float(np.median([pixels for pixels in areas if pixels]))
    min_area = max(_PROMPT_OF_USUAL * median, _PROMPT_OF_PICTURE * height * width)
    for i, pixels in enumerate(areas):
        if pixels >= min_area:
            return i
    raise _TooShortError("the target is never large enough for a prompt")


def _target_shots(
    rng: Random, target: SourceSequence, areas: Sequence[int], count: int, span: Span
) -> list[Shot]:
    """`count` shots from equal parts of the sequence, in order; the first begins at the prompt."""
    start = _first_prompt(target, areas)
    bounds = [start + (len(areas) - start) * i // count for i in range(count + 1)]
    shots: list[Shot] = []
    for low, high in pairwise(bounds):
        if high - low < span.least:
            raise _TooShortError(
                f"{len(areas) - start} frames with the target are too few for {count} shots of "
                f"{span.least} or more"
            )
        length = randint(rng, span.least, min(span.most, high - low))
        starts = range(low, high - length + 1) if shots else [low]
        visible = [s for s in starts if _is_visible(areas[s : s + length])]
        if not visible:
            raise _TooShortError(f"the target is hardly visible from frame {low} to {high - 1}")
        first = visible[randint(rng, 0, len(visible) - 1)]
        shots.append(Shot(target, first, first + length))
    return shots


def _is_visible(areas: Sequence[int]) -> bool:
    return sum(pixels > 0 for pixels in areas) >= _VISIBLE_SHARE * len(areas)


def _with_interludes(
    rng: Random,
    spec: MultishotSpec,
    shots: Sequence[Shot],
    others: Sequence[SourceSequence],
    sampler: DistractorSampler,
) -> list[Shot]:
    """Interludes of other sequences between the shots; no sequence is used twice."""
    target = shots[0].footage
    distractors = list(sampler.distractors(rng, target, others))
    free = shuffled(rng, others)
    result = [shots[0]]
    for shot in shots[1:]:
        if rng.random() < spec.interludes:
            candidates = distractors if distractors and rng.random() < spec.distractors else free
            chosen = candidates[0]
            distractors, free = ([f for f in row if f is not chosen] for row in (distractors, free))
            result.append(_interlude(rng, spec.interlude_frames, chosen))
        result.append(shot)
    return result


def _interlude(rng: Random, span: Span, footage: SourceSequence) -> Shot:
    count = len(footage.frames)
    length = randint(rng, span.least, min(span.most, count))
    first = randint(rng, 0, count - length)
    return Shot(footage, first, first + length, absent=True)

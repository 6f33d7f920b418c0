"""Stage 2: the concept path learns to recognise, everything else being frozen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from segment_concept.models.compact.concept import ConceptPath
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.models.compact.verifier import KeyframeDescriptor, describe_keyframe
from segment_concept.synthetic.pixels import chance
from segment_concept.tracking.policies.base import MemoryPolicy
from segment_concept.tracking.segmenter import Concept
from segment_concept.train.data import Sample
from segment_concept.train.losses import Losses, LossWeights, dice
from segment_concept.train.unroll import VISIBLE, Batch, Clips, TrainingTask, unroll


@dataclass(frozen=True, slots=True)
class Keyframes:
    """From what a concept is formed in training: as in the paper's stage 2."""

    most: int = 7
    distracted: float = 0.25  # share of questions in which one later keyframe marks another object

    def draw(self, seen: Sequence[int], rng: Generator) -> list[int]:
        """The prompted frame 0 and some of the others on which the object is visible."""
        count = int(rng.integers(0, min(len(seen), self.most - 1) + 1))
        return [0, *sorted(int(s) for s in rng.permutation(np.array(seen, int))[:count])]


@dataclass(frozen=True, slots=True)
class RecognitionTask:
    """The concept network alone: is the object in the query, and where?

    Nothing of the tracker is needed, so that a question costs about a quarter of one asked in
    tracking.
    """

    keyframes: Keyframes = field(default_factory=Keyframes)
    questions: int = 3  # about each object
    after_cut: float = 0.5  # how often a query begins a shot
    gone: float = 0.5  # how often it is one without the object, where there is such a frame
    elsewhere: float = 0.5  # of questions: all keyframes but the prompted one are of other shots

    part: ClassVar[str] = "concept"
    taught: ClassVar[str] = ""
    frozen: ClassVar[tuple[str, ...]] = ("verification.",)

    def losses(
        self, segmenter: CompactSegmenter, policy: MemoryPolicy, clips: Clips, targets: int
    ) -> Losses:
        """Of some clips, at most `targets` objects of each."""
        path = segmenter.concept
        assert path is not None, "the loop gives a stage of concepts a model with a concept path"
        asked = [q for clip in clips for q in self._questions(segmenter, clip, targets)]
        grid = asked[0].grid
        raw = torch.stack([q.raw for q in asked])
        truth = torch.stack([q.share.flatten() for q in asked])
        concepts = path.network([q.marks for q in asked], raw, grid)
        presence = path.presence(concepts)[:, 0]
        visible = torch.tensor([q.visible for q in asked], device=raw.device)
        where = path.localize(raw, concepts)
        there = F.binary_cross_entropy_with_logits(presence, visible.float())
        cells = F.binary_cross_entropy_with_logits(where, truth)
        overlap = dice(where[:, None, None], truth[:, None, None])[:, 0]
        shape = (overlap * visible).sum() / visible.sum().clamp(min=1)
        right = ((presence > 0) == visible).float().mean()
        return Losses(
            there + 4 * cells + shape,
            {"presence": there.item(), "presence_right": right.item(), "where": shape.item()},
        )

    def _questions(
        self, segmenter: CompactSegmenter, clip: tuple[Sample, Generator], targets: int
    ) -> Iterator["_Question"]:
        sample, rng = clip
        raw = segmenter.network.neck.descriptor([level.float() for level in sample.levels])
        h16, w16 = (side // 16 for side in sample.labels.shape[1:])
        frames = range(1, len(sample.labels))
        for label in rng.permutation(sample.targets)[:targets]:
            truth = torch.from_numpy(sample.labels == label).to(raw.device)
            areas = truth.flatten(1).sum(1).cpu()
            for _ in range(self.questions):
                t = self._query(sample.cuts, areas[1:] >= VISIBLE, rng)
                shots = np.searchsorted(sample.cuts, frames, side="right")
                strict = chance(rng, self.elsewhere)
                seen = [
                    s
                    for s, shot in zip(frames, shots, strict=True)
                    if s != t and areas[s] >= VISIBLE and not (strict and shot == shots[t - 1])
                ]
                chosen = self.keyframes.draw(seen, rng)
                marks = [describe_keyframe(raw[s], (h16, w16), truth[s]) for s in chosen]
                others = np.setdiff1d(np.unique(sample.labels[chosen[-1]]), (0, label))
                if len(chosen) > 1 and len(others) and chance(rng, self.keyframes.distracted):
                    wrong = torch.from_numpy(sample.labels[chosen[-1]] == rng.choice(others))
                    marks[-1] = describe_keyframe(raw[chosen[-1]], (h16, w16), wrong.to(raw.device))
                share = F.adaptive_avg_pool2d(truth[t][None].float(), (h16, w16))[0]
                yield _Question(marks, raw[t], (h16, w16), share, bool(areas[t] >= VISIBLE))

    def _query(self, cuts: Sequence[int], visible: Tensor, rng: Generator) -> int:
        """The frame that is asked about, given on which of the frames from 1 on the object is."""
        gone = not bool(visible.all()) and chance(rng, self.gone)
        frames = [t for t, there in enumerate(visible.tolist(), start=1) if not (gone and there)]
        starts = [t for t in frames if t in cuts]
        return int(rng.choice(starts if starts and chance(rng, self.after_cut) else frames))


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    marks: list[KeyframeDescriptor]
    raw: Tensor  # (L, raw) of the query
    grid: tuple[int, int]
    share: Tensor  # (h16, w16) how much of every token is the object
    visible: bool


@dataclass(frozen=True, slots=True)
class ConceptTask:
    """What tracking makes of a concept. Everything else is frozen, the concept itself too.

    Trained on with the few questions of clips that are tracked, the concept network forgot what
    it had learnt of many (docs/LOG.md).
    """

    tracking: TrainingTask = field(
        default_factory=lambda: TrainingTask(
            LossWeights(presence=2.0), corrections=0.0, teacher_forcing=0.7
        )
    )
    keyframes: Keyframes = field(default_factory=Keyframes)
    elsewhere: float = 0.25  # how often it is asked on frames that begin no shot

    part: ClassVar[str] = "concept"
    taught: ClassVar[str] = ""
    frozen: ClassVar[tuple[str, ...]] = (
        *("network.", "presence.", "describe.", "wanted."),
        "verification.",
    )

    def losses(
        self, segmenter: CompactSegmenter, policy: MemoryPolicy, clips: Clips, targets: int
    ) -> Losses:
        """Of some clips, at most `targets` objects of each."""
        assert segmenter.concept is not None, "as for RecognitionLesson"
        teacher = ConceptTeacher(segmenter.concept, self)
        return unroll(segmenter, policy, clips, targets, self.tracking, teacher)


@dataclass(frozen=True, slots=True, eq=False)
class ConceptTeacher:
    """Asks the concept path where shots begin, and on some other frames."""

    path: ConceptPath
    task: ConceptTask

    def concepts(self, batch: Batch, t: int) -> list[Concept | None]:
        """A concept for every object that is asked about on frame t; all are on the last."""
        last = t == len(batch.features) - 1
        asked = [
            o
            for o, image in enumerate(batch.images)
            if t in batch.cuts[image] or last or batch.rng.random() < self.task.elsewhere
        ]
        answers: list[Concept | None] = [None] * len(batch.images)
        if asked:
            image = batch.features[t].maps
            query = image.descriptor[torch.tensor([batch.images[o] for o in asked])]
            keyframes = [self._keyframes(batch, o, t) for o in asked]
            concepts = self.path.encode(keyframes, query, image.grid)
            for o, concept in zip(asked, concepts, strict=True):
                answers[o] = concept
        return answers

    def _keyframes(self, batch: Batch, o: int, t: int) -> list[KeyframeDescriptor]:
        keyframes = self.task.keyframes
        chosen = keyframes.draw([s for s in range(1, t) if batch.truth[s, o].any()], batch.rng)
        marks = [self._mark(batch, o, s) for s in chosen]
        if len(chosen) > 1 and chance(batch.rng, keyframes.distracted):
            other = _another(batch, o, chosen[-1], batch.rng)
            if other is not None:
                marks[-1] = self._mark(batch, other, chosen[-1])
        return marks

    def _mark(self, batch: Batch, o: int, t: int) -> KeyframeDescriptor:
        image = batch.features[t].maps
        return describe_keyframe(image.descriptor[batch.images[o]], image.grid, batch.truth[t, o])


def _another(batch: Batch, o: int, t: int, rng: Generator) -> int | None:
    """Another object of the same clip that is visible on frame t."""
    others = [
        i
        for i, image in enumerate(batch.images)
        if i != o and image == batch.images[o] and batch.truth[t, i].any()
    ]
    return others[int(rng.integers(len(others)))] if others else None

"""Train the concept network to recognize objects; everything else is frozen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.models.compact.verifier import KeyframeDescriptor, describe_keyframe
from segment_concept.synthetic.pixels import chance
from segment_concept.tracking.policies.base import MemoryPolicy
from segment_concept.train.data import Sample
from segment_concept.train.losses import MeanLoss, dice
from segment_concept.train.unroll import VISIBLE, Clips


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
    ) -> MeanLoss:
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
        return MeanLoss(
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

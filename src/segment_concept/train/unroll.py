"""A batch of clips -> losses, through the same step as inference (`tracking.step`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from segment_concept.models.compact.mask_decoder import CERTAIN
from segment_concept.models.compact.neck import CompactFeatures
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.tracking.memory import PlaybackPosition, Recall, Track
from segment_concept.tracking.policies.base import MemoryPolicy
from segment_concept.tracking.refinement import PromptQuery, best_mask
from segment_concept.tracking.segmenter import (
    Concept,
    DelegatingSegmenter,
    Features,
    Proposals,
    SelectedMasks,
)
from segment_concept.tracking.step import FrameStep, prompt_objects, track_objects
from segment_concept.train.corruption import Corruption, Defect, defective, draw_defect
from segment_concept.train.data import Sample
from segment_concept.train.losses import LossWeights, MeanLoss, proposal_losses
from segment_concept.train.prompts import correction, draw_prompt
from segment_concept.types import Bitmap, Mask, Points, Prompt

VISIBLE = 20  # pixels of an object below which it counts as absent

Clips: TypeAlias = Sequence[tuple[Sample, Generator]]


@dataclass(frozen=True, slots=True)
class TrackingTask:
    """How a clip is taught."""

    weights: LossWeights = field(default_factory=LossWeights)
    corrections: float = 0.15  # share of batches in which a later frame gets correction clicks
    teacher_forcing: float = (
        0.5  # how often memory is told the truth about presence, not what was believed
    )
    visible_pixels: int = VISIBLE  # below, an object counts as absent
    corruption: Corruption = field(default_factory=Corruption)  # of memories
    click_passes: int = 1  # decoder passes of first clicks, at most; the number is drawn

    def losses(
        self, segmenter: CompactSegmenter, policy: MemoryPolicy, clips: Clips, targets: int
    ) -> MeanLoss:
        """Of some clips, at most `targets` objects of each."""
        return unroll(segmenter, policy, clips, targets, self)


class _TeacherForcing(DelegatingSegmenter):
    """Replaces what is remembered, for some objects: presence by the true one, masks by others.

    Args:
        inner: the segmenter in training.
        visible: (O,) bool, whether each object is visible.
        teacher_forcing: (O,) bool, whose presence is replaced by the true one.
        wrong: logits (h4, w4) of the mask to remember, by object.
    """

    def __init__(
        self,
        inner: CompactSegmenter,
        visible: Tensor,
        teacher_forcing: Tensor,
        wrong: Mapping[int, Tensor],
    ) -> None:
        super().__init__(inner)
        self._visible, self._forced, self._wrong = visible, teacher_forcing, wrong
        self.believed: Proposals | None = None

    def encode_memory(
        self,
        features: Features[CompactFeatures],
        masks: SelectedMasks,
        images: Sequence[int],
        *,
        prompted: bool,
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        if self._wrong:
            logits = masks.logits.detach().clone()
            for o, mask in self._wrong.items():
                logits[o] = torch.where(masks.presence[o] > 0, mask, logits[o])
            masks = replace(masks, logits=logits)
        return self._inner.encode_memory(features, masks, images, prompted=prompted)

    def propose(
        self,
        features: Features[CompactFeatures],
        recalls: Sequence[Recall],
        concepts: Sequence[Concept | None],
        images: Sequence[int],
    ) -> Proposals:
        proposals = self._inner.propose(features, recalls, concepts, images)
        self.believed = proposals
        truth = torch.where(self._visible, CERTAIN, -CERTAIN).to(proposals.presence.dtype)
        return replace(proposals, presence=torch.where(self._forced, truth, proposals.presence))


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    segmenter: "CompactSegmenter | _TeacherForcing"
    policy: MemoryPolicy


class _RepeatedClicks:
    """Decodes first clicks again with the mask of the pass before, as `PromptRefiner` does.

    Attributes:
        passes: the rows of every pass and what was decoded for them.
    """

    def __init__(self, segmenter: CompactSegmenter, further: int) -> None:
        self._segmenter, self._further = segmenter, further
        self.passes: list[tuple[list[int], Proposals]] = []

    def __call__(self, query: PromptQuery, proposals: Proposals) -> Proposals:
        """The proposals of the last pass of every row."""
        self.passes.append((list(range(len(proposals))), proposals))
        clicks = [o for o, prompt in enumerate(query.prompts) if isinstance(prompt, Points)]
        rows = {o: proposals[[o]] for o in range(len(proposals))}
        for _ in range(self._further if clicks else 0):
            again = replace(query[clicks], previous=[best_mask(rows[o]) for o in clicks])
            found = again.segment(self._segmenter)
            self.passes.append((clicks, found))
            rows |= {o: found[[n]] for n, o in enumerate(clicks)}
        return Proposals.cat([rows[o] for o in range(len(proposals))])


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Clips side by side. O objects over B clips of T frames."""

    features: tuple[Features[CompactFeatures], ...]  # of every frame
    images: list[int]  # (O,) the clip of an object
    truth: Tensor  # (T, O, H, W) bool, where the features are
    composed: list[bool]  # (O,) whether an object consists of two things
    rng: Generator

    def bitmap(self, t: int, o: int) -> Bitmap:
        bitmap: Bitmap = self.truth[t, o].cpu().numpy()
        return bitmap

    def shares(self, t: int, grid: Sequence[int]) -> Tensor:
        """(O, 2h, 2w) how much of every pixel of twice the mask grid is object."""
        size = (2 * grid[0], 2 * grid[1])
        return F.adaptive_avg_pool2d(self.truth[t].float(), size)


def unroll(
    segmenter: CompactSegmenter,
    policy: MemoryPolicy,
    clips: Clips,
    targets: int,
    task: TrackingTask,
) -> MeanLoss:
    """Prompt the objects of the clips on the first frame, track them, and average the losses."""
    batch = _gather(segmenter, clips, targets, task)
    rng = batch.rng
    prompts: list[Prompt] = [
        Mask(batch.bitmap(0, o)) if composed else draw_prompt(batch.bitmap(0, o), rng)
        for o, composed in enumerate(batch.composed)
    ]
    engine = _Model(segmenter, policy)
    objects: list[tuple[Track, ...]] = [() for _ in prompts]
    repeat = _RepeatedClicks(segmenter, int(rng.integers(0, task.click_passes)))
    first = prompt_objects(
        engine, batch.features[0], PlaybackPosition(0), prompts, objects, batch.images, repeat
    )
    objects = [seen.tracks for seen in first.states]
    losses = _prompt_losses(batch, repeat, prompts, task)
    frames = len(batch.features)
    corrected = int(rng.integers(1, frames)) if rng.random() < task.corrections else 0
    defects = _draw_defects(len(prompts), task, rng)
    for t in range(1, frames):
        visible = batch.truth[t].flatten(1).sum(1) >= task.visible_pixels
        teacher_forcing = torch.from_numpy(rng.random(len(prompts)) < task.teacher_forcing).to(
            visible.device
        )
        wrong = _wrong_masks(batch, t, defects, task)
        teacher = _TeacherForcing(segmenter, visible, teacher_forcing, wrong)
        step = track_objects(
            _Model(teacher, policy),
            batch.features[t],
            PlaybackPosition(t),
            objects,
            [None] * len(objects),
            batch.images,
        )
        objects = [seen.tracks for seen in step.states]
        assert teacher.believed is not None
        losses.append(_tracked_losses(batch, t, teacher.believed, visible, task))
        if t == corrected:
            objects, extra = _correct(engine, batch, t, step, objects, task)
            losses += extra
    return _mean(losses)


def _draw_defects(count: int, task: TrackingTask, rng: Generator) -> list[Defect | None]:
    """The defect of the memories of each object, or None."""
    share = task.corruption.objects
    return [draw_defect(rng) if share and rng.random() < share else None for _ in range(count)]


def _wrong_masks(
    batch: Batch,
    t: int,
    defects: Sequence[Defect | None],
    task: TrackingTask,
) -> dict[int, Tensor]:
    """Logits (h4, w4) of masks to remember of frame t instead of the predicted ones, by object."""
    h4, w4 = batch.features[t].maps.quarter.shape[-2:]
    return {
        o: defective(
            F.adaptive_avg_pool2d(batch.truth[t, o][None].float(), (h4, w4))[0],
            defect,
            batch.rng,
        )
        for o, defect in enumerate(defects)
        if defect is not None and batch.rng.random() < task.corruption.frames
    }


def _gather(
    segmenter: CompactSegmenter,
    clips: Clips,
    targets: int,
    task: TrackingTask,
) -> Batch:
    frames, size = len(clips[0][0].labels), clips[0][0].labels.shape[1:]
    images, truth, composed = [], [], []
    for image, (sample, rng) in enumerate(clips):
        for label in rng.permutation(sample.targets)[:targets]:
            images.append(image)
            truth.append(torch.from_numpy(sample.labels == label))
            composed.append(int(label) in sample.composed)
    levels = [
        torch.cat([sample.levels[n] for sample, _ in clips]).float()
        for n in range(len(clips[0][0].levels))
    ]
    everything = segmenter.encode_levels(levels, (size[0], size[1]))
    by_clip = everything.maps.map(lambda tensor: tensor.unflatten(0, (len(clips), frames)))

    def at(t: int) -> Features[CompactFeatures]:
        return Features(by_clip.map(lambda tensor: tensor[:, t]), everything.video_size)

    masks = torch.stack(truth, dim=1).to(levels[0].device)
    features = tuple(at(t) for t in range(frames))
    return Batch(features, images, masks, composed, clips[0][1])


def _prompt_losses(
    batch: Batch, repeated: _RepeatedClicks, prompts: Sequence[Prompt], task: TrackingTask
) -> list[MeanLoss]:
    """What boxes and clicks of the first frame were made into: the mean over decoder passes.

    A given mask has nothing to learn.
    """
    losses = []
    for rows, proposals in repeated.passes:
        hinted = [n for n, o in enumerate(rows) if not isinstance(prompts[o], Mask)]
        if not hinted:
            continue
        truth = batch.shares(0, proposals.logits.shape[-2:])[[rows[n] for n in hinted]]
        found = proposal_losses(proposals[hinted], truth, task.weights, judge_presence=False)
        losses.append(MeanLoss.of(found, "prompt_"))
    return [_mean(losses)] if losses else []


def _tracked_losses(
    batch: Batch,
    t: int,
    proposals: Proposals,
    visible: Tensor,
    task: TrackingTask,
) -> MeanLoss:
    truth = batch.shares(t, proposals.logits.shape[-2:]) * visible[:, None, None]
    return MeanLoss.of(proposal_losses(proposals, truth, task.weights))


def _correct(
    engine: _Model,
    batch: Batch,
    t: int,
    step: FrameStep,
    objects: list[tuple[Track, ...]],
    task: TrackingTask,
) -> tuple[list[tuple[Track, ...]], list[MeanLoss]]:
    """Correction clicks for the objects that need them."""
    clicks: dict[int, Prompt] = {}
    for o, seen in enumerate(step.states):
        truth = batch.bitmap(t, o)
        mask = F.interpolate(seen.logits.detach()[None, None], truth.shape, mode="bilinear")
        click = (
            correction(truth, (mask[0, 0] > 0).cpu().numpy(), batch.rng) if truth.any() else None
        )
        if click is not None and truth.sum() >= task.visible_pixels:
            clicks[o] = click
    if not clicks:
        return objects, []
    rows = list(clicks)
    shown = prompt_objects(
        engine,
        batch.features[t],
        PlaybackPosition(t),
        list(clicks.values()),
        [objects[o] for o in rows],
        [batch.images[o] for o in rows],
    )
    objects = list(objects)
    for o, seen in zip(rows, shown.states, strict=True):
        objects[o] = seen.tracks
    shares = batch.shares(t, shown.proposals.logits.shape[-2:])[torch.tensor(rows)]
    found = proposal_losses(shown.proposals, shares, task.weights, judge_presence=False)
    return objects, [MeanLoss.of(found, "click_")]


def _mean(losses: Sequence[MeanLoss]) -> MeanLoss:
    names = sorted({name for each in losses for name in each.measured})
    measured = {
        name: float(np.mean([each.measured[name] for each in losses if name in each.measured]))
        for name in names
    }
    return MeanLoss(torch.stack([each.total for each in losses]).mean(), measured)

"""One frame of tracking as a function: recall -> propose -> choose -> remember.

Inference (`Session`) and training (`train.unroll`) both call it. All objects, and all hypotheses
about each, are rows of one batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from segment_concept.ops.device_values import indices
from segment_concept.tracking.memory import Memory, MemoryBank, PlaybackPosition, Recall, Track
from segment_concept.tracking.policies.base import Candidate, MemoryPolicy, extended_score
from segment_concept.tracking.refinement import PromptQuery
from segment_concept.tracking.segmenter import (
    Concept,
    Features,
    Proposals,
    Segmenter,
    SelectedMasks,
)
from segment_concept.types import Prompt

LARGEST_EXPONENT = 700.0  # of a 64-bit float


@dataclass(frozen=True, slots=True)
class ObjectState:
    """The mask that was selected for one object on one frame, and the object's hypotheses."""

    tracks: tuple[Track, ...]  # after this frame, best first
    logits: Tensor  # (h, w)
    iou: float  # predicted, in [0, 1]
    presence: float  # logit

    @property
    def score(self) -> float:
        """The object score: the presence in [0, 1]."""
        return 1 / (1 + exp(min(-self.presence, LARGEST_EXPONENT)))


@dataclass(frozen=True, slots=True)
class FrameStep:
    """The result of one frame for a batch of objects."""

    states: tuple[ObjectState, ...]  # one per object
    proposals: Proposals  # as decoded, one row per hypothesis, in the order of the objects;
    # hypotheses about an object that share their memory bank share a row


MOMENT = 4  # frames: where a film is calm, up to three in a row are not tracked


Refine: TypeAlias = Callable[[PromptQuery, Proposals], Proposals]


class Model(Protocol):
    """The two halves of a tracker that a step needs."""

    @property
    def segmenter(self) -> Segmenter: ...
    @property
    def policy(self) -> MemoryPolicy: ...


def track_objects(
    model: Model,
    features: Features[Any],
    position: PlaybackPosition,
    objects: Sequence[tuple[Track, ...]],
    concepts: Sequence[Concept | None],
    images: Sequence[int],
    margin: float = 0.0,
) -> FrameStep:
    """Segment every object on the frame at `position` and remember the selected masks.

    Args:
        model: network and policy.
        features: B encoded frames; object i is segmented in frame `images[i]`.
        position: index of the frame, and the playback direction.
        objects: the hypotheses about each object, best first.
        concepts: for each object its concept or None.
        images: for each object a row of `features`.
        margin: by which presence logits of objects with a concept are reduced.
    """
    objects = [_continue(tracks, position) for tracks in objects]
    rows = _rows(objects)
    recalls = [
        replace(model.policy.recall(bank, position), previous=_previous(bank, position))
        for bank in rows.banks
    ]
    row_concepts = [concepts[i] for i in rows.owners]
    row_margins = [0.0 if concepts[i] is None else margin for i in rows.owners]
    strict_recalls = [
        replace(recall, presence_threshold=recall.presence_threshold + margin) if margin else recall
        for recall, margin in zip(recalls, row_margins, strict=True)
    ]
    proposals = model.segmenter.propose(
        features, strict_recalls, row_concepts, [images[i] for i in rows.owners]
    )
    proposals = proposals.lower_presence(row_margins)
    visible = proposals.suppress_absent([r.presence_threshold for r in recalls])
    proposed = _candidates(rows, visible)
    picks = [
        _Pick(i, rows.of[i][candidate.track], candidate)
        for i, tracks in enumerate(objects)
        for candidate in model.policy.choose(tracks, proposed[i])
    ]
    memories = _memorize(model.segmenter, features, position, visible, picks, images)
    return FrameStep(_extend(model.policy, position, objects, picks, memories), proposals)


def prompt_objects(
    model: Model,
    features: Features[Any],
    position: PlaybackPosition,
    prompts: Sequence[Prompt],
    objects: Sequence[tuple[Track, ...]],
    images: Sequence[int],
    refine: Refine | None = None,
) -> FrameStep:
    """Segment every object from its prompt; the frame becomes a prompted memory of each.

    If an object has already been tracked on this frame, its result there is corrected: the decoder
    gets the earlier logits and the object's recalled memories as well, as in SAM 2.

    Args:
        model: network and policy.
        features: B encoded frames; object i is segmented in frame `images[i]`.
        position: index of the frame, and the playback direction.
        prompts: one per object.
        objects: the hypotheses about each object, best first; empty for a new object.
        images: for each object a row of `features`.
        refine: further decoder passes, or None.
    """
    banks = [tracks[0].bank if tracks else MemoryBank() for tracks in objects]
    earlier = [bank.on(position.frame_index) for bank in banks]
    recalls = [
        _recall_of_correction(model.policy, *each) for each in zip(banks, earlier, strict=True)
    ]
    previous = [None if m is None else m.logits for m in earlier]
    query = PromptQuery(features, prompts, previous, recalls, images)
    proposals = query.segment(model.segmenter)
    if refine is not None:
        proposals = refine(query, proposals)
    visible = proposals.suppress_absent([0.0] * len(prompts))
    best = visible.iou.max(dim=1)
    selected = zip(
        best.indices.tolist(), best.values.tolist(), visible.presence.tolist(), strict=True
    )
    picks = [_Pick(i, i, Candidate(0, *scores)) for i, scores in enumerate(selected)]
    memories = _memorize(model.segmenter, features, position, visible, picks, images, prompted=True)
    memories = [
        replace(m, backwards=old.backwards, corrected=True) if old and recall else m
        for m, old, recall in zip(memories, earlier, recalls, strict=True)
    ]
    states = tuple(
        ObjectState((Track(bank.prompt(m)),), m.logits, m.iou, m.presence)
        for bank, m in zip(banks, memories, strict=True)
    )
    return FrameStep(states, proposals)


def _previous(bank: MemoryBank, position: PlaybackPosition) -> Memory | None:
    """The newest memory of the last `MOMENT` frames, None if there is none."""
    both = (*bank.prompted, *bank.tracked)
    ages = {position.frames_since(m.frame_index): m for m in both}
    return next((ages[age] for age in range(1, MOMENT + 1) if age in ages), None)


def _recall_of_correction(
    policy: MemoryPolicy, bank: MemoryBank, earlier: Memory | None
) -> Recall | None:
    """The memories recalled for a correction; None if the object was not tracked on the frame.

    They are those that the frame recalled when it was tracked, in the playback direction of that
    time. As in SAM 2, every correction of the frame uses them, not only the first one.
    """
    if earlier is None or not (earlier.corrected or earlier in bank.tracked):
        return None
    others = replace(bank, prompted=tuple(m for m in bank.prompted if m is not earlier))
    return policy.recall(others, PlaybackPosition(earlier.frame_index, earlier.backwards))


@dataclass(frozen=True, slots=True)
class _Rows:
    """Hypotheses as rows of a batch."""

    banks: tuple[MemoryBank, ...]
    owners: tuple[int, ...]  # the object of each row
    of: tuple[tuple[int, ...], ...]  # of[i][k]: the row of hypothesis k about object i


@dataclass(frozen=True, slots=True)
class _Pick:
    """A selected mask."""

    owner: int  # its object
    row: int  # of the proposals
    candidate: Candidate

    @property
    def key(self) -> tuple[int, int, float | None]:
        """Picks with the same key have the same memory."""
        return self.row, self.candidate.mask, self.candidate.motion_iou


def _continue(tracks: tuple[Track, ...], position: PlaybackPosition) -> tuple[Track, ...]:
    """The hypotheses to continue; after a change of direction only the memory of the best one."""
    last = tracks[0].bank.tracked[-1:]
    if all(
        m.backwards == position.backwards and position.frames_since(m.frame_index) > 0 for m in last
    ):
        return tracks
    return (Track(tracks[0].bank),)


def _rows(objects: Sequence[tuple[Track, ...]]) -> _Rows:
    """One row per memory bank: hypotheses about an object that share it propose the same masks."""
    banks: list[MemoryBank] = []
    owners: list[int] = []
    of: list[tuple[int, ...]] = []
    for i, tracks in enumerate(objects):
        rows: dict[int, int] = {}
        for track in tracks:
            if id(track.bank) not in rows:
                rows[id(track.bank)] = len(banks)
                banks.append(track.bank)
                owners.append(i)
        of.append(tuple(rows[id(track.bank)] for track in tracks))
    return _Rows(tuple(banks), tuple(owners), tuple(of))


def _candidates(rows: _Rows, proposals: Proposals) -> list[list[Candidate]]:
    """Every mask proposed for each hypothesis, by object."""
    # one read, because each waits for the device
    scores = torch.cat((proposals.iou, proposals.presence[:, None]), dim=1).tolist()
    return [
        [
            Candidate(k, mask, iou, scores[row][-1], proposals.logits[row, mask])
            for k, row in enumerate(own)
            for mask, iou in enumerate(scores[row][:-1])
        ]
        for own in rows.of
    ]


def _memorize(
    segmenter: Segmenter,
    features: Features[Any],
    position: PlaybackPosition,
    proposals: Proposals,
    picks: Sequence[_Pick],
    images: Sequence[int],
    *,
    prompted: bool = False,
) -> list[Memory]:
    """One memory per pick; picks with the same key share it."""
    distinct = {pick.key: pick for pick in picks}
    selected = _selected(proposals, list(distinct.values()))
    owners = [images[pick.owner] for pick in distinct.values()]
    maps, shared = segmenter.encode_memory(features, selected, owners, prompted=prompted)
    rows = [_separate(each) for each in (maps, selected.pointers, selected.logits)]
    memories = {
        pick.key: Memory(
            frame_index=position.frame_index,
            features=rows[0][n],
            pointer=rows[1][n],
            iou=pick.candidate.iou,
            presence=pick.candidate.presence,
            logits=rows[2][n],
            image=shared[n],
            motion=pick.candidate.motion_iou,
            backwards=position.backwards,
        )
        for n, pick in enumerate(distinct.values())
    }
    return [memories[pick.key] for pick in picks]


def _separate(rows: Tensor) -> Sequence[Tensor]:
    """Copies of the rows: a view of one row would keep the whole batch in memory."""
    return [row.clone() for row in rows] if len(rows) > 1 else list(rows)


def _selected(proposals: Proposals, picks: Sequence[_Pick]) -> SelectedMasks:
    device = proposals.logits.device
    rows = indices(tuple(pick.row for pick in picks), device)
    masks = indices(tuple(pick.candidate.mask for pick in picks), device)
    return SelectedMasks(
        proposals.logits[rows, masks], proposals.presence[rows], proposals.pointers[rows, masks]
    )


def _extend(
    policy: MemoryPolicy,
    position: PlaybackPosition,
    objects: Sequence[tuple[Track, ...]],
    picks: Sequence[_Pick],
    memories: Sequence[Memory],
) -> tuple[ObjectState, ...]:
    banks: dict[tuple[int, int], MemoryBank] = {}
    extended: list[list[tuple[Track, Memory]]] = [[] for _ in objects]
    for pick, memory in zip(picks, memories, strict=True):
        candidate, parent = pick.candidate, objects[pick.owner][pick.candidate.track]
        key = id(parent.bank), id(memory)
        if key not in banks:
            banks[key] = policy.forget(parent.bank.remember(memory), position)
        track = Track(
            banks[key], extended_score(parent, candidate), candidate.motion, candidate.track
        )
        extended[pick.owner].append((track, memory))
    return tuple(
        ObjectState(
            tuple(t for t, _ in hypotheses),
            hypotheses[0][1].logits,
            hypotheses[0][1].iou,
            hypotheses[0][1].presence,
        )
        for hypotheses in extended
    )

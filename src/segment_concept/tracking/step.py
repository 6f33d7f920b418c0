"""One frame of tracking as a function: recall -> propose -> choose -> remember.

Inference (`Session`) and training (`train.unroll`) both go through here. Objects, and the
hypotheses about each, advance together as the rows of one batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from segment_concept.tracking.memory import Memory, MemoryBank, PlaybackPosition, Recall, Track
from segment_concept.tracking.policies.base import Candidate, MemoryPolicy, grown_score
from segment_concept.tracking.refinement import PromptQuery
from segment_concept.tracking.segmenter import (
    Concept,
    Features,
    Proposals,
    Segmenter,
    SelectedMasks,
)
from segment_concept.types import Prompt


@dataclass(frozen=True, slots=True)
class ObjectState:
    """The mask that was believed for one object on one frame."""

    tracks: tuple[Track, ...]  # its hypotheses now, best first
    logits: Tensor  # (h, w)
    iou: float
    presence: float  # logit


@dataclass(frozen=True, slots=True)
class FrameStep:
    """What a batch of objects became on one frame."""

    seen: tuple[ObjectState, ...]  # one per object
    proposals: Proposals  # as decoded, one row per hypothesis, in the order of the objects;
    # hypotheses that are still the same one share a row


Refine: TypeAlias = Callable[[PromptQuery, Proposals], Proposals]


class Model(Protocol):
    """The two halves of a tracker that a step needs."""

    @property
    def segmenter(self) -> Segmenter: ...
    @property
    def policy(self) -> MemoryPolicy: ...


def track_objects(
    engine: Model,
    features: Features[Any],
    moment: PlaybackPosition,
    objects: Sequence[tuple[Track, ...]],
    concepts: Sequence[Concept | None],
    images: Sequence[int],
    concept_margin: float = 0.0,
) -> FrameStep:
    """Segment every object on the frame at `moment` and remember what was believed.

    Args:
        engine: network and policy.
        features: B encoded frames; `images[i]` is the one on which object i is looked for.
        moment: which frame this is.
        objects: the hypotheses about each object, best first.
        concepts: for each object its concept or None.
        images: for each object a row of `features`.
        concept_margin: presence logits of objects with a concept are reduced by this.
    """
    objects = [_play_on(tracks, moment) for tracks in objects]
    rows = _rows(objects)
    recalls = [engine.policy.recall(bank, moment) for bank in rows.banks]
    of_rows = [concepts[i] for i in rows.owners]
    margins = [0.0 if concept is None else concept_margin for concept in of_rows]
    raised = [
        replace(recall, presence_threshold=recall.presence_threshold + margin) if margin else recall
        for recall, margin in zip(recalls, margins, strict=True)
    ]
    proposals = engine.segmenter.propose(
        features, raised, of_rows, [images[i] for i in rows.owners]
    )
    proposals = proposals.lower_presence(margins)
    suppress_absent = proposals.suppress_absent([r.presence_threshold for r in recalls])
    proposed = _candidates(rows, suppress_absent)
    picks = [
        _Pick(i, rows.of[i][candidate.track], candidate)
        for i, tracks in enumerate(objects)
        for candidate in engine.policy.choose(tracks, proposed[i])
    ]
    memories = _memorize(engine.segmenter, features, moment, suppress_absent, picks, images)
    return FrameStep(_grow(engine.policy, moment, objects, picks, memories), proposals)


def prompt_objects(
    engine: Model,
    features: Features[Any],
    moment: PlaybackPosition,
    prompts: Sequence[Prompt],
    objects: Sequence[tuple[Track, ...]],
    images: Sequence[int],
    refine: Refine | None = None,
) -> FrameStep:
    """Segment every object from its prompt; the frame becomes a prompted memory of each.

    A frame that an object had already been tracked on is corrected: its logits and what the
    object remembers go in, as SAM 2 does for clicks.
    """
    banks = [tracks[0].bank if tracks else MemoryBank() for tracks in objects]
    known = [bank.on(moment.frame_index) for bank in banks]
    recalls = [_recall_again(engine.policy, *each) for each in zip(banks, known, strict=True)]
    previous = [None if m is None else m.logits for m in known]
    query = PromptQuery(features, prompts, previous, recalls, images)
    proposals = query.segment(engine.segmenter)
    if refine is not None:
        proposals = refine(query, proposals)
    suppress_absent = proposals.suppress_absent([0.0] * len(prompts))
    best = suppress_absent.iou.max(dim=1)
    believed = zip(
        best.indices.tolist(), best.values.tolist(), suppress_absent.presence.tolist(), strict=True
    )
    picks = [_Pick(i, i, Candidate(0, *scores)) for i, scores in enumerate(believed)]
    memories = _memorize(
        engine.segmenter, features, moment, suppress_absent, picks, images, prompted=True
    )
    memories = [
        replace(m, backwards=before.backwards, corrected=True) if before and recall else m
        for m, before, recall in zip(memories, known, recalls, strict=True)
    ]
    seen = tuple(
        ObjectState((Track(bank.prompt(m)),), m.logits, m.iou, m.presence)
        for bank, m in zip(banks, memories, strict=True)
    )
    return FrameStep(seen, proposals)


def _recall_again(policy: MemoryPolicy, bank: MemoryBank, known: Memory | None) -> Recall | None:
    """What a frame recalled when it was tracked, in the direction of then; None if it never was.

    As SAM 2 does, every correction of that frame is made in the light of it, not only the first.
    """
    if known is None or not (known.corrected or known in bank.tracked):
        return None
    others = replace(bank, prompted=tuple(m for m in bank.prompted if m is not known))
    return policy.recall(others, PlaybackPosition(known.frame_index, known.backwards))


@dataclass(frozen=True, slots=True)
class _Rows:
    """Hypotheses as rows of a batch."""

    banks: tuple[MemoryBank, ...]
    owners: tuple[int, ...]  # the object of each row
    of: tuple[tuple[int, ...], ...]  # of[i][k]: the row of hypothesis k about object i


@dataclass(frozen=True, slots=True)
class _Pick:
    """A mask that is believed."""

    owner: int  # its object
    row: int  # of the proposals
    candidate: Candidate

    @property
    def key(self) -> tuple[int, int, float | None]:
        """Picks with the same key are remembered alike."""
        return self.row, self.candidate.mask, self.candidate.motion_iou


def _play_on(tracks: tuple[Track, ...], moment: PlaybackPosition) -> tuple[Track, ...]:
    """The hypotheses of a video that is played on. Where it turned, the best one begins anew."""
    last = tracks[0].bank.tracked[-1:]
    if all(m.backwards == moment.backwards and moment.since(m.frame_index) > 0 for m in last):
        return tracks
    return (Track(tracks[0].bank),)


def _rows(objects: Sequence[tuple[Track, ...]]) -> _Rows:
    """Hypotheses about an object that share their bank share a row: they cannot differ yet."""
    banks: list[MemoryBank] = []
    owners: list[int] = []
    of: list[tuple[int, ...]] = []
    for i, tracks in enumerate(objects):
        known: dict[int, int] = {}
        for track in tracks:
            if id(track.bank) not in known:
                known[id(track.bank)] = len(banks)
                banks.append(track.bank)
                owners.append(i)
        of.append(tuple(known[id(track.bank)] for track in tracks))
    return _Rows(tuple(banks), tuple(owners), tuple(of))


def _candidates(rows: _Rows, proposals: Proposals) -> list[list[Candidate]]:
    """Every mask proposed for each hypothesis, by object."""
    ious, presences = proposals.iou.tolist(), proposals.presence.tolist()
    return [
        [
            Candidate(k, mask, iou, presences[row], proposals.logits[row, mask])
            for k, row in enumerate(own)
            for mask, iou in enumerate(ious[row])
        ]
        for own in rows.of
    ]


def _memorize(
    segmenter: Segmenter,
    features: Features[Any],
    moment: PlaybackPosition,
    proposals: Proposals,
    picks: Sequence[_Pick],
    images: Sequence[int],
    *,
    prompted: bool = False,
) -> list[Memory]:
    """A memory of every pick; equal ones share theirs."""
    distinct = {pick.key: pick for pick in picks}
    believed = _believed(proposals, list(distinct.values()))
    owners = [images[pick.owner] for pick in distinct.values()]
    maps, shared = segmenter.memorize(features, believed, owners, prompted=prompted)
    rows = [_apart(each) for each in (maps, believed.pointers, believed.logits)]
    memories = {
        pick.key: Memory(
            frame_index=moment.frame_index,
            features=rows[0][n],
            pointer=rows[1][n],
            iou=pick.candidate.iou,
            presence=pick.candidate.presence,
            logits=rows[2][n],
            image=shared[n],
            motion=pick.candidate.motion_iou,
            backwards=moment.backwards,
        )
        for n, pick in enumerate(distinct.values())
    }
    return [memories[pick.key] for pick in picks]


def _apart(rows: Tensor) -> Sequence[Tensor]:
    """Rows that do not keep each other in memory: objects are forgotten at different times."""
    return [row.clone() for row in rows] if len(rows) > 1 else list(rows)


def _believed(proposals: Proposals, picks: Sequence[_Pick]) -> SelectedMasks:
    device = proposals.logits.device
    rows = torch.tensor([pick.row for pick in picks], device=device)
    masks = torch.tensor([pick.candidate.mask for pick in picks], device=device)
    return SelectedMasks(
        proposals.logits[rows, masks], proposals.presence[rows], proposals.pointers[rows, masks]
    )


def _grow(
    policy: MemoryPolicy,
    moment: PlaybackPosition,
    objects: Sequence[tuple[Track, ...]],
    picks: Sequence[_Pick],
    memories: Sequence[Memory],
) -> tuple[ObjectState, ...]:
    banks: dict[tuple[int, int], MemoryBank] = {}
    grown: list[list[tuple[Track, Memory]]] = [[] for _ in objects]
    for pick, memory in zip(picks, memories, strict=True):
        candidate, parent = pick.candidate, objects[pick.owner][pick.candidate.track]
        key = id(parent.bank), id(memory)
        if key not in banks:
            banks[key] = policy.forget(parent.bank.remember(memory), moment)
        track = Track(banks[key], grown_score(parent, candidate), candidate.motion, candidate.track)
        grown[pick.owner].append((track, memory))
    return tuple(
        ObjectState(
            tuple(t for t, _ in branch),
            branch[0][1].logits,
            branch[0][1].iou,
            branch[0][1].presence,
        )
        for branch in grown
    )

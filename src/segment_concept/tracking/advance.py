"""One frame of tracking as a function: recall -> propose -> choose -> remember.

Inference (`Session`) and training (`train.unroll`) both go through here. Objects, and the
hypotheses about each, advance together as the rows of one batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Protocol

import torch
from torch import Tensor

from segment_concept.tracking.memory import Memory, MemoryBank, Moment, Recall, Track
from segment_concept.tracking.policies import Candidate, MemoryPolicy
from segment_concept.tracking.segmenter import Features, Proposals, Segmented, Segmenter
from segment_concept.types import Prompt


@dataclass(frozen=True, slots=True)
class Seen:
    """The mask that was believed for one object on one frame."""

    tracks: tuple[Track, ...]  # its hypotheses now, best first
    logits: Tensor  # (h, w)
    iou: float
    presence: float  # logit


@dataclass(frozen=True, slots=True)
class Step:
    """What a batch of objects became on one frame."""

    seen: tuple[Seen, ...]  # one per object
    proposals: Proposals  # as decoded, one row per hypothesis, in the order of the objects


class Engine(Protocol):
    """The two halves of a tracker that a step needs."""

    @property
    def segmenter(self) -> Segmenter: ...
    @property
    def policy(self) -> MemoryPolicy: ...


def advance(
    engine: Engine,
    features: Features,
    moment: Moment,
    objects: Sequence[tuple[Track, ...]],
    concepts: Sequence[Tensor | None],
    images: Sequence[int],
) -> Step:
    """Segment every object on the frame at `moment` and remember what was believed.

    Args:
        engine: network and policy.
        features: B encoded frames; `images[i]` is the one on which object i is looked for.
        moment: which frame this is.
        objects: the hypotheses about each object, best first.
        concepts: for each object its concept (C,) or None.
        images: for each object a row of `features`.
    """
    rows = [(i, track) for i, tracks in enumerate(objects) for track in tracks]
    recalls = [engine.policy.recall(track.bank, moment) for _, track in rows]
    proposals = engine.segmenter.propose(
        features, recalls, [concepts[i] for i, _ in rows], [images[i] for i, _ in rows]
    )
    silenced = proposals.silenced([r.visible_above for r in recalls])
    chosen = _choose(engine.policy, objects, silenced)
    flat = [(i, c) for i, picks in enumerate(chosen) for c in picks]
    first_row = _offsets(objects)
    believed = _pick(silenced, [(first_row[i] + c.track, c.mask) for i, c in flat])
    memories = _memorize(
        engine.segmenter, features, moment, believed, flat, [images[i] for i, _ in flat]
    )
    return Step(_grow(engine.policy, moment, objects, flat, memories), proposals)


def show(
    engine: Engine,
    features: Features,
    moment: Moment,
    prompts: Sequence[Prompt],
    objects: Sequence[tuple[Track, ...]],
    images: Sequence[int],
) -> Step:
    """Segment every object from its prompt; the frame becomes a prompted memory of each.

    A frame that an object had already been tracked on is corrected: its logits and what the
    object remembers go in, as SAM 2 does for clicks.
    """
    banks = [tracks[0].bank if tracks else MemoryBank() for tracks in objects]
    known = [bank.on(moment.frame_index) for bank in banks]
    # A corrected frame recalls what it recalled when it was tracked: in the direction of then.
    recalls: list[Recall | None] = [
        engine.policy.recall(bank, replace(moment, backwards=m.backwards))
        if m is not None and m in bank.tracked and bank.prompted
        else None
        for bank, m in zip(banks, known, strict=True)
    ]
    previous = [None if m is None else m.logits for m in known]
    proposals = engine.segmenter.segment(features, prompts, previous, recalls, images)
    silenced = proposals.silenced([0.0] * len(prompts))
    best = silenced.iou.argmax(dim=1).tolist()
    flat = [
        (i, Candidate(0, mask, iou, presence))
        for i, (mask, iou, presence) in enumerate(
            zip(
                best,
                silenced.iou.max(dim=1).values.tolist(),
                silenced.presence.tolist(),
                strict=True,
            )
        )
    ]
    believed = _pick(silenced, list(enumerate(best)))
    memories = _memorize(engine.segmenter, features, moment, believed, flat, images, prompted=True)
    seen = tuple(
        Seen((Track(bank.prompt(m)),), m.logits, m.iou, m.presence)
        for bank, m in zip(banks, memories, strict=True)
    )
    return Step(seen, proposals)


def _choose(
    policy: MemoryPolicy, objects: Sequence[tuple[Track, ...]], proposals: Proposals
) -> list[Sequence[Candidate]]:
    ious, presences = proposals.iou.tolist(), proposals.presence.tolist()
    chosen, row = [], 0
    for tracks in objects:
        candidates = [
            Candidate(k, mask, iou, presences[row + k])
            for k in range(len(tracks))
            for mask, iou in enumerate(ious[row + k])
        ]
        chosen.append(policy.choose(tracks, candidates))
        row += len(tracks)
    return chosen


def _offsets(objects: Sequence[tuple[Track, ...]]) -> list[int]:
    offsets, row = [], 0
    for tracks in objects:
        offsets.append(row)
        row += len(tracks)
    return offsets


def _pick(proposals: Proposals, picks: Sequence[tuple[int, int]]) -> Segmented:
    device = proposals.logits.device
    rows = torch.tensor([row for row, _ in picks], device=device)
    masks = torch.tensor([mask for _, mask in picks], device=device)
    return Segmented(
        proposals.logits[rows, masks], proposals.presence[rows], proposals.pointers[rows, masks]
    )


def _memorize(
    segmenter: Segmenter,
    features: Features,
    moment: Moment,
    believed: Segmented,
    flat: Sequence[tuple[int, Candidate]],
    images: Sequence[int],
    *,
    prompted: bool = False,
) -> list[Memory]:
    maps, shared = segmenter.memorize(features, believed, images, prompted=prompted)
    return [
        Memory(
            frame_index=moment.frame_index,
            features=maps[n],
            pointer=believed.pointers[n],
            iou=candidate.iou,
            presence=candidate.presence,
            logits=believed.logits[n],
            image=shared[n],
            backwards=moment.backwards,
        )
        for n, (_, candidate) in enumerate(flat)
    ]


def _grow(
    policy: MemoryPolicy,
    moment: Moment,
    objects: Sequence[tuple[Track, ...]],
    flat: Sequence[tuple[int, Candidate]],
    memories: Sequence[Memory],
) -> tuple[Seen, ...]:
    grown: list[list[tuple[Track, Memory]]] = [[] for _ in objects]
    for (i, candidate), memory in zip(flat, memories, strict=True):
        parent = objects[i][candidate.track]
        bank = policy.forget(parent.bank.remember(memory), moment)
        score = parent.log_score + log(candidate.iou + 1e-5)
        grown[i].append((Track(bank, score), memory))
    return tuple(
        Seen(
            tuple(t for t, _ in branch),
            branch[0][1].logits,
            branch[0][1].iou,
            branch[0][1].presence,
        )
        for branch in grown
    )

"""Retention policies: what a memory keeps when it grows, as published for Cutie and XMem.

A policy is a pure function of the memory of a group: permanent tokens are never changed; working
tokens, newest last, may be dropped or consolidated into few long-term prototypes.
"""

from dataclasses import dataclass, replace
from typing import Protocol

from segment_concept.baselines.memory_tokens import Tokens
from segment_concept.baselines.readout import full_affinity, similarity
from segment_concept.types import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Memory of a group of objects, read in the order long, permanent, working."""

    permanent: Tokens  # of the frame of the first prompts
    working: Tokens
    long: Tokens  # prototypes of consolidated working tokens


class RetentionPolicy(Protocol):
    """Selects the memories that are kept after a frame was added."""

    def keep(self, parts: Parts) -> Parts:
        """The memory that is kept. A frame has as many tokens as `parts.permanent`."""
        ...


@dataclass(frozen=True, slots=True)
class KeepEverything:
    """XMem without long-term memory: working memory grows without bound, as published."""

    def keep(self, parts: Parts) -> Parts:
        return parts


@dataclass(frozen=True, slots=True)
class NewestFrames:
    """Cutie's default: `frames` frames, the permanent one and the newest."""

    frames: int = 5

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise InputError(f"a memory must keep at least 1 frame, got {self.frames}")

    def keep(self, parts: Parts) -> Parts:
        capacity = (self.frames - 1) * len(parts.permanent)
        surplus = len(parts.working) - capacity
        if surplus <= 0:
            return parts
        return replace(parts, working=parts.working.pick(slice(surplus, None)))


class Eviction(Protocol):
    """Makes space for new prototypes in a full long-term memory."""

    def evict(self, long: Tokens, capacity: int) -> Tokens:
        """The most used tokens, at most `room`."""
        ...


@dataclass(frozen=True, slots=True)
class MostUsed:
    """Cutie's eviction: the most used tokens stay, and `spare` extra places are freed at once."""

    spare: int = 2000

    def evict(self, long: Tokens, capacity: int) -> Tokens:
        count = max(min(capacity - self.spare, len(long)), 0)
        return long.pick(long.usage().topk(count).indices)


@dataclass(frozen=True, slots=True)
class AboveLeastUsed:
    """XMem's eviction: tokens stay if they are used more than the last removed one.

    As published, tokens with equal usage are removed too.
    """

    def evict(self, long: Tokens, capacity: int) -> Tokens:
        surplus = len(long) - capacity
        if surplus <= 0:
            return long
        usage = long.usage()
        threshold = usage.topk(surplus, largest=False).values[-1]
        return long.pick(usage > threshold)


@dataclass(frozen=True, slots=True)
class LongTerm:
    """Bounded working memory, consolidated into a bounded number of prototypes."""

    eviction: Eviction
    max_frames: int = 10  # consolidation starts with this many frames ...
    min_frames: int = 5  # ... and leaves this many, including the permanent one
    prototypes: int = 128  # per consolidation
    max_tokens: int = 10_000  # in long-term memory

    def __post_init__(self) -> None:
        if not 1 <= self.min_frames < self.max_frames:
            raise InputError(
                "working memory shrinks from max_frames to min_frames: expected "
                f"1 <= min_frames < max_frames, got {self.min_frames} and {self.max_frames}"
            )
        if not 1 <= self.prototypes <= self.max_tokens:
            raise InputError(
                "a consolidation must fit in long-term memory: expected 1 <= prototypes <= "
                f"max_tokens, got {self.prototypes} and {self.max_tokens}"
            )

    def keep(self, parts: Parts) -> Parts:
        frame = len(parts.permanent)
        if len(parts.working) < (self.max_frames - 1) * frame:
            return parts
        old = len(parts.working) - (self.min_frames - 1) * frame
        long, capacity = parts.long, self.max_tokens - self.prototypes
        if len(long) >= capacity:
            long = self.eviction.evict(long, capacity)
        added = consolidate(parts.working.pick(slice(None, old)), self.prototypes)
        return Parts(
            permanent=parts.permanent,
            working=parts.working.pick(slice(old, None)),
            long=Tokens.joined([long, added]),
        )


def consolidate(candidates: Tokens, prototypes: int) -> Tokens:
    """The most used candidates in that order, each averaged over similar ones.

    Values and shrinkage are averaged over all candidates by a softmax of their similarity to
    the prototype (XMem, section 3.3); keys and selections are the prototype's own.
    """
    chosen = candidates.usage().topk(min(prototypes, len(candidates))).indices
    key, selection = candidates.key[:, chosen], candidates.selection[:, chosen]
    likeness = similarity(candidates.key, candidates.shrinkage, key, selection)
    affinity_NP = full_affinity(likeness)
    return Tokens.fresh(
        key=key,
        shrinkage=candidates.shrinkage @ affinity_NP,
        selection=selection,
        values=candidates.values @ affinity_NP,
    )

"""Memory of the objects that were first prompted on the same frame. Immutable."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from segment_concept.baselines.memory_tokens import Tokens
from segment_concept.baselines.readout import similarity, top_k_affinity
from segment_concept.baselines.retention import Parts, RetentionPolicy
from segment_concept.types import ObjectId


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Objects that were first prompted on the same frame share their keys.

    The release of XMem has one list of keys for all groups and aligns later groups with its end,
    which is wrong after a consolidation. A list per group, as in Cutie, is always aligned, and
    equal as long as nothing was consolidated.
    """

    object_ids: tuple[ObjectId, ...]
    parts: Parts

    @classmethod
    def begin(cls, object_ids: tuple[ObjectId, ...], prompted: Tokens) -> "Group":
        """A group whose objects were prompted on the frame of these tokens."""
        none = prompted.pick(slice(0, 0))
        return cls(object_ids, Parts(permanent=prompted, working=none, long=none))

    def remember(self, tracked: Tokens, retention: RetentionPolicy) -> "Group":
        """Add a tracked frame; `seen.values` rows are this group's objects."""
        working = Tokens.joined([self.parts.working, tracked])
        return replace(self, parts=retention.keep(replace(self.parts, working=working)))

    def read(self, query: Tensor, selection: Tensor, top_k: int) -> tuple[Tensor, "Group"]:
        """Read the memory for every query pixel.

        Args:
            query: (C, Q) keys of the frame.
            selection: (C, Q) weight of each channel per query, scores.
            top_k: tokens that a query may read.

        Returns:
            (O, V, Q) values, and the group with updated usage counts.
        """
        parts = self.parts
        tokens = (parts.long, parts.permanent, parts.working)
        key = torch.cat([t.key for t in tokens], dim=1)
        shrinkage = torch.cat([t.shrinkage for t in tokens])
        affinity_NQ = top_k_affinity(similarity(key, shrinkage, query, selection), top_k)
        shares = list(zip(tokens, torch.split(affinity_NQ, [len(t) for t in tokens]), strict=True))
        # separately, because joining would copy the whole memory on every frame
        values = torch.stack([t.values @ share for t, share in shares]).sum(dim=0)
        long, permanent, working = (t.read(share.sum(dim=1)) for t, share in shares)
        return values, replace(self, parts=Parts(permanent, working, long))

    def without(self, object_id: ObjectId) -> "Group | None":
        """The group without an object; None if it was the last."""
        row = self.object_ids.index(object_id)
        others = (*self.object_ids[:row], *self.object_ids[row + 1 :])
        if not others:
            return None
        parts = Parts(
            permanent=self.parts.permanent.without_row(row),
            working=self.parts.working.without_row(row),
            long=self.parts.long.without_row(row),
        )
        return Group(others, parts)

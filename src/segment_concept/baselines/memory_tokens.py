"""Memory tokens: one per stride-16 pixel of a past frame, or per prototype. Immutable."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

UNREAD_LIFE = (
    1e-7  # as published, so that the usage of a token that was never read is 0 and not 0 / 0
)


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """N memory tokens, shared by the keys of a group of O objects."""

    key: Tensor  # (C, N)
    shrinkage: Tensor  # (N,) at least 1
    selection: Tensor  # (C, N) scores
    values: Tensor  # (O, V, N)
    use: Tensor  # (N,) sum of its weights over all reads
    life: Tensor  # (N,) number of reads

    def __len__(self) -> int:
        return len(self.shrinkage)

    @classmethod
    def fresh(cls, key: Tensor, shrinkage: Tensor, selection: Tensor, values: Tensor) -> "Tokens":
        """Tokens that were not read yet; shapes as the fields."""
        zeros = torch.zeros_like(shrinkage)
        return cls(key, shrinkage, selection, values, use=zeros, life=zeros + UNREAD_LIFE)

    @classmethod
    def joined(cls, parts: Sequence["Tokens"]) -> "Tokens":
        """Concatenate tokens."""
        return cls(
            key=torch.cat([p.key for p in parts], dim=1),
            shrinkage=torch.cat([p.shrinkage for p in parts]),
            selection=torch.cat([p.selection for p in parts], dim=1),
            values=torch.cat([p.values for p in parts], dim=2),
            use=torch.cat([p.use for p in parts]),
            life=torch.cat([p.life for p in parts]),
        )

    def pick(self, which: slice | Tensor) -> "Tokens":
        """The tokens of a slice, of an index (n,) or of a bool mask (N,), copied.

        A copy, because a view would keep the forgotten tokens in memory.
        """
        return Tokens(
            key=self.key[:, which].clone(),
            shrinkage=self.shrinkage[which].clone(),
            selection=self.selection[:, which].clone(),
            values=self.values[:, :, which].clone(),
            use=self.use[which].clone(),
            life=self.life[which].clone(),
        )

    def read(self, weights: Tensor) -> "Tokens":
        """Count a read with total `weights` (N,)."""
        return replace(self, use=self.use + weights, life=self.life + 1)

    def usage(self) -> Tensor:
        """(N,) mean weight of a token per read."""
        return self.use / self.life

    def without_row(self, row: int) -> "Tokens":
        """The tokens without the values of one object."""
        kept = [i for i in range(len(self.values)) if i != row]
        return replace(self, values=self.values[kept])

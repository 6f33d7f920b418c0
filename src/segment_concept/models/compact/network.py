"""The compact network: neck, memory encoder, memory attention, mask decoder.

What it does differently from SAM 2.1, and why (measured in docs/LOG.md):
- cross-attention compares unit vectors, and its query and key projections start equal, so that
  an untrained network already propagates labels by similarity;
- the attention also carries the 2x2 mask cells of every memory token: a label-propagation prior
  that is added to the mask logits with a learned weight;
- the first cross-attention asks with features of the image alone. Its weights on a remembered frame
  are then the same for every object that remembers it, and are computed once for all of them;
- keys of an object's self-attention are means of 2x2 tokens: every object pays for its own;
- softmax forgets how good the best match was, and "not here" cannot be said without it: the
  greatest similarity to object and to background is kept as two maps;
- object pointers are mask-pooled descriptors, compared across time to judge presence;
- a box or a click is a memory of the same frame with a rough mask: one path for all prompts.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from segment_concept.models.compact.decoder import MaskDecoder
from segment_concept.models.compact.memory import MemoryAttention, MemoryEncoder, Remembered
from segment_concept.models.compact.picture import Neck, Picture, Widths
from segment_concept.ops.side_by_side import row_groups, side_by_side

Inform: TypeAlias = Callable[[slice, Picture, Tensor], Tensor | None]


class CompactNetwork(nn.Module):
    """Everything behind the frozen trunk."""

    def __init__(self, widths: Widths | None = None) -> None:
        super().__init__()
        self.widths = widths or Widths()
        self.neck = Neck(self.widths)
        self.memory_encoder = MemoryEncoder(self.widths)
        self.memory_attention = MemoryAttention(self.widths)
        self.decoder = MaskDecoder(self.widths)
        # Both cross-attentions begin by comparing like with like.
        self.memory_attention.query.load_state_dict(self.neck.query.state_dict())

    def propose(
        self, picture: Picture, memory: Remembered, inform: Inform | None = None
    ) -> tuple[Tensor, ...]:
        """See `MaskDecoder.forward`; `picture` has a row per object.

        Objects are worked on side by side where there are cores for it. `inform` makes of some of
        them, their pictures and their tokens (O, L, tokens) the informed tokens, if there are any.
        """
        heard = self.memory_attention.hear(picture, memory)

        def of(rows: slice) -> tuple[Tensor, ...]:
            seen, pointers = picture[rows], memory.pointers[rows]
            conditioned = self.memory_attention(seen, heard[rows], pointers)
            informed = None if inform is None else inform(rows, seen, conditioned[0])
            answer: tuple[Tensor, ...] = self.decoder(seen, conditioned, pointers, informed)
            return answer

        parts = side_by_side(of, row_groups(len(heard)))
        return tuple(torch.cat(each) for each in zip(*parts, strict=True))

"""The compact network: neck, memory encoder, memory attention, mask decoder.

What it does differently from SAM 2.1, and why (measured in docs/LOG.md):
- cross-attention compares unit vectors, and its query and key projections start equal, so that
  an untrained network already propagates labels by similarity;
- the attention also carries the 2x2 mask cells of every memory token: a label-propagation prior
  that is added to the mask logits with a learned weight;
- the first cross-attention asks with features of the image alone. Its weights on a remembered frame
  are then the same for every object that remembers it, and are computed once for all of them;
- what every object pays for itself is done in a window around whatever the first attention takes
  for it (`window.py`), and keys of its self-attention are means of 2x2 tokens;
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
from segment_concept.models.compact.window import likely
from segment_concept.ops.side_by_side import side_by_side

Inform: TypeAlias = Callable[[int, Picture, Tensor], Tensor | None]


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
        """See `MaskDecoder.forward`; `picture` has a row per object, and so have the results.

        Every object has a window of its own; they are worked on side by side where there are cores
        for it. `inform` makes of an object's number, its window of the picture and its tokens
        (1, l, tokens) the informed tokens, if it has any.
        """
        attention = self.memory_attention
        heard = attention.hear(picture, memory)

        def of(o: int) -> tuple[Tensor, ...]:
            whole, pointers = picture[o : o + 1], memory.pointers[o : o + 1]
            read = attention.read(whole.query[0], heard[o])
            window = likely(read.prior, whole.grid)
            part = whole.within(window)
            tokens, prior = attention(part, window, read, heard[o], pointers)
            informed = None if inform is None else inform(o, part, tokens)
            conditioned = tokens, prior, read.similar[None]
            answer: tuple[Tensor, ...] = self.decoder(
                whole, part, window, conditioned, pointers, informed
            )
            return answer

        parts = side_by_side(of, range(len(heard)))
        return tuple(torch.cat(each) for each in zip(*parts, strict=True))

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

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from segment_concept.models.compact.mask_decoder import MaskDecoder
from segment_concept.models.compact.memory_attention import (
    FAR,
    MemoryAttention,
    MemoryBatch,
    MemoryReadout,
    Pointers,
    QueryMemory,
    joined,
)
from segment_concept.models.compact.memory_batch import stacked
from segment_concept.models.compact.memory_encoder import MemoryEncoder
from segment_concept.models.compact.neck import CompactFeatures, Neck, Widths
from segment_concept.models.compact.roi import Rois, group_rois, propose_rois
from segment_concept.runtime.parallel import side_by_side

_AT_ONCE = (
    8  # objects whose first attention is one product: 50 MB each, seven memories of 448 lines
)

Inform: TypeAlias = Callable[[int, CompactFeatures, Tensor], Tensor | None]


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
        self, picture: CompactFeatures, memory: MemoryBatch, inform: Inform | None = None
    ) -> tuple[Tensor, ...]:
        """See `MaskDecoder.forward`; `picture` has a row per object, and so have the results.

        Every object has a window of its own. On a CPU they are worked on side by side where there
        are cores for it, elsewhere all at once. `inform` makes of an object's number, its window of
        the picture and its tokens (1, l, tokens) the informed tokens, if it has any.
        """
        if picture.tokens.device.type != "cpu":
            return self.propose_at_once(picture, memory, inform)
        attention = self.memory_attention
        heard = attention.attend_frames(picture, memory)

        def of(o: int) -> tuple[Tensor, ...]:
            row, pointers = picture[o : o + 1], memory.pointers[o : o + 1]
            read = attention.read(row.query[0], heard[o])
            windows = Rois(tuple(propose_rois(read.prior, row.grid)))
            again = attention.answers(heard[o], pointers)
            return self._within(windows, (o,), row, read, again, pointers, inform)

        parts = side_by_side(of, range(len(heard)))
        return tuple(torch.cat(each) for each in zip(*parts, strict=True))

    def propose_at_once(
        self, picture: CompactFeatures, memory: MemoryBatch, inform: Inform | None = None
    ) -> tuple[Tensor, ...]:
        """As `propose`, with few large products in place of many small ones.

        In training, windows of about the same size are made equally large.
        """
        attention, count = self.memory_attention, len(picture.tokens)
        everything, near = stacked(memory, count), stacked(memory, count, without=FAR)
        few = count if self.training else _AT_ONCE
        read = joined(
            [
                attention.read_memory_batched(picture.query[n : n + few], everything[n : n + few])
                for n in range(0, count, few)
            ]
        )
        order, parts = [], []
        for rows, windows in group_rois(
            propose_rois(read.prior, picture.grid), alike=self.training
        ):
            at = torch.tensor(rows, device=picture.tokens.device)
            pointers = memory.pointers[at]
            again = attention.answers_batched(near[at], pointers)
            parts.append(
                self._within(windows, rows, picture[at], read[at], again, pointers, inform)
            )
            order += rows
        back = torch.tensor(order, device=picture.tokens.device).argsort()
        return tuple(torch.cat(each)[back] for each in zip(*parts, strict=True))

    def _within(
        self,
        windows: Rois,
        numbers: Sequence[int],
        picture: CompactFeatures,
        read: MemoryReadout,
        again: QueryMemory,
        pointers: Pointers,
        inform: Inform | None,
    ) -> tuple[Tensor, ...]:
        """What is found of some objects, by their `numbers`, in their windows."""
        part = picture.within(windows)
        tokens, prior = self.memory_attention(part, windows, read, again)
        informed = None
        if inform is not None:
            each = [inform(o, part[n : n + 1], tokens[n : n + 1]) for n, o in enumerate(numbers)]
            if any(one is not None for one in each):
                informed = torch.cat(
                    [tokens[n : n + 1] if one is None else one for n, one in enumerate(each)]
                )
        conditioned = tokens, prior, read.similar
        answer: tuple[Tensor, ...] = self.decoder(
            picture, part, windows, conditioned, pointers, informed
        )
        return answer

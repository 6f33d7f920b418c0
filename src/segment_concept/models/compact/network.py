"""The compact network: neck, memory encoder, memory attention, mask decoder.

What it does differently from SAM 2.1, and why (measured in docs/LOG.md):
- cross-attention compares unit vectors, and its query and key projections start equal, so that
  an untrained network already propagates labels by similarity;
- the attention also carries the 2x2 mask cells of every memory token: a label-propagation prior
  that is added to the mask logits with a learned weight;
- the first cross-attention asks with features of the image alone. Its weights are then the same
  for every object that remembers the same frames and are computed once for all of them;
- softmax forgets how good the best match was, and "not here" cannot be said without it: the
  greatest similarity to object and to background is kept as two maps;
- object pointers are mask-pooled descriptors, compared across time to judge presence;
- a box or a click is a memory of the same frame with a rough mask: one path for all prompts.
"""

from torch import Tensor, nn

from segment_concept.models.compact.decoder import MaskDecoder
from segment_concept.models.compact.memory import MemoryAttention, MemoryEncoder, Remembered
from segment_concept.models.compact.picture import Neck, Picture, Widths


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
        self, picture: Picture, memory: Remembered
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `MaskDecoder.forward`; `picture` has a row per object."""
        conditioned = self.memory_attention(picture, memory)
        answer: tuple[Tensor, Tensor, Tensor, Tensor] = self.decoder(picture, conditioned, memory)
        return answer

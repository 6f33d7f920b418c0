"""The compact network: neck, memory encoder, memory attention, mask decoder.

Differences from SAM 2.1, with the reasons (measurements in docs/LOG.md):
- Cross-attention compares unit vectors, and its query and key projections start equal: an
  untrained network already propagates labels by similarity.
- The attention also carries the 2x2 mask cells of every memory token: a label-propagation prior
  that is added to the mask logits with a learned weight.
- The queries of the first cross-attention depend on the image alone, so that its weights are
  computed once for all objects that remember a frame.
- It looks near where the object was a moment ago, and in the whole frame only where that does not
  show the object, or shows it at the border (`roi`).
- Per-object work is limited to a region of interest around what the first attention takes for the
  object (`roi`), and keys of its self-attention are means of 2x2 tokens.
- A softmax does not tell how good the best match was, which "absent" depends on: the largest
  similarity to object and to background is kept in two maps.
- Object pointers are mask-pooled descriptors; comparing them over time predicts presence.
- A pointer contains a linear classifier of frozen features, fitted to its own mask (`classifier`).
  The scores of the remembered ones tell object from background without any training.
- A box or a click is a memory of the same frame with a rough mask: one path for all prompts.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segment_concept.models.compact.mask_decoder import MaskDecoder
from segment_concept.models.compact.memory_attention import (
    FrameAttention,
    MemoryAttention,
    MemoryBatch,
    MemoryReadout,
)
from segment_concept.models.compact.memory_encoder import MemoryEncoder
from segment_concept.models.compact.neck import CompactFeatures, Neck, Widths
from segment_concept.models.compact.roi import Roi, Rois, group_rois, propose_rois, whole_frame
from segment_concept.runtime.parallel import side_by_side
from segment_concept.tracking.segmenter import Proposals


class CompactNetwork(nn.Module):
    """Everything after the frozen backbone."""

    def __init__(self, widths: Widths | None = None) -> None:
        super().__init__()
        self.widths = widths or Widths()
        self.neck = Neck(self.widths)
        self.memory_encoder = MemoryEncoder(self.widths)
        self.memory_attention = MemoryAttention(self.widths)
        self.decoder = MaskDecoder(self.widths)
        # The second cross-attention, too, starts by comparing equal projections.
        self.memory_attention.query.load_state_dict(self.neck.query.state_dict())

    def propose(
        self,
        features: CompactFeatures,
        memory: MemoryBatch,
        scores: Tensor,
        anywhere: Sequence[int] = (),
        *,
        alternatives: bool,
        near: Sequence[Roi] | None = None,
    ) -> Proposals:
        """Segment O objects.

        Args:
            features: one row per object.
            memory: what the objects remember.
            scores: (O, SCORES, h8, w8) by what is remembered, see `Pointers.classify`.
            anywhere: objects whose region of interest is the whole frame, because their memory
                says little about their extent.
            alternatives: see `MaskDecoder.forward`.
            near: where each object is looked for first; by default in the whole frame.
        """
        attention = self.memory_attention
        attended, readout = self._look(features, memory, near)

        def decode(group: tuple[Sequence[int], Rois]) -> Proposals:
            objects, rois = group
            rows = _as_rows(objects, features.tokens.device)
            whole, pointers = features[rows], memory.pointers[rows]
            part = whole.crop(rois)
            known = [attended[o] for o in objects]
            conditioned = attention(part, rois, readout[rows], known, pointers, scores[rows])
            proposals: Proposals = self.decoder(
                (whole, part), rois, conditioned, pointers, alternatives=alternatives
            )
            return proposals

        rois = self.rois(readout.prior, features.grid, anywhere)
        groups = self._groups(rois)
        order = [o for objects, _ in groups for o in objects]
        decoded = Proposals.cat(side_by_side(decode, groups))
        return decoded[sorted(range(len(order)), key=order.__getitem__)]

    def _look(
        self, features: CompactFeatures, memory: MemoryBatch, near: Sequence[Roi] | None
    ) -> tuple[list[list[FrameAttention]], MemoryReadout]:
        """First attention: near where each object was; where that does not do, everywhere."""
        attention, whole = self.memory_attention, whole_frame(features.grid)
        rois = [whole] * len(features) if near is None or self.training else list(near)
        attended = attention.attend_frames(features, memory, rois)

        def read(o: int) -> MemoryReadout:
            return attention.read_memory(attended[o], rois[o])

        readouts = side_by_side(read, range(len(rois)))
        missed = {o for o, roi in enumerate(rois) if not roi.holds_object(readouts[o].prior[0])}
        if missed:
            again = [whole if o in missed else None for o in range(len(rois))]
            for o, found in enumerate(attention.attend_frames(features, memory, again)):
                if o in missed:
                    attended[o], readouts[o] = found, attention.read_memory(found, whole)
        return attended, MemoryReadout.cat(readouts)

    def rois(
        self, priors: Tensor, grid: tuple[int, int], anywhere: Sequence[int] = ()
    ) -> list[Roi]:
        """The region of interest of every object.

        In training the whole frame: outside of a region logits are constant, so an object that its
        region misses would teach nothing.
        """
        if self.training:
            return [whole_frame(grid)] * len(priors)
        rois = propose_rois(priors, grid)
        for o in anywhere:
            rois[o] = whole_frame(grid)
        return rois

    def _groups(self, rois: Sequence[Roi]) -> list[tuple[list[int], Rois]]:
        """Which objects are decoded together, with their regions of interest.

        On a CPU each object alone: objects then run on different cores (`side_by_side`). On other
        devices those with regions of the same size.
        """
        if self.memory_attention.age.device.type == "cpu":
            return [([o], Rois((roi,))) for o, roi in enumerate(rois)]
        return group_rois(rois)


def _as_rows(objects: Sequence[int], device: torch.device) -> slice | Tensor:
    """An index of these rows; a slice, which copies nothing, for a single one."""
    if len(objects) == 1:
        return slice(objects[0], objects[0] + 1)
    return torch.tensor(objects, device=device)

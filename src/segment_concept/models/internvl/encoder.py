"""SeC's concept encoder: InternVL2.5 asked about labelled keyframes, everything read once.

An object's labelled keyframes, then the query frame without a label, then the question;
the concept is the projected last hidden state at [SEG] (SeC, arXiv 2507.15852, and its release).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from segment_concept.models.internvl.network import ConceptNetwork, pixel_values
from segment_concept.models.internvl.packed_attention import PackedRows
from segment_concept.models.internvl.prefix_cache import Prefix, PrefixStore
from segment_concept.models.internvl.prompt_template import Conversation, Tokenizer
from segment_concept.ops.contours import label_keyframe
from segment_concept.tracking.concept import ConceptRequest, Keyframe
from segment_concept.tracking.segmenter import Concept, Features
from segment_concept.types import Frame, Image, InputError

_log = logging.getLogger(__name__)

IMAGES_AT_ONCE = 8  # pictures in one pass of the vision network; bounds its memory


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One object of a query: what of its keyframes is already read, and what is not."""

    keyframes: tuple[Keyframe, ...]
    read: Prefix  # a start of `keyframes`
    known: Prefix  # all that was kept of the object: a source of picture features


class InternVLConceptEncoder:
    """Implements `ConceptEncoder` with an InternVL2.5 network.

    The features of a keyframe are computed once. The language model's keys and values of the
    opening words and the keyframes are kept for every object, and only what changed is read:
    the query, a keyframe that joined, or, where the bank dropped a keyframe, all that follow the
    dropped one. All objects of a query go through the networks together. Results equal those of
    recomputing everything, within 1e-3 in float32.

    Args:
        network: its weights decide device and dtype; nothing has to be cast by the caller.
        tokenizer: the one that lies beside the checkpoint.
        remember: of how many objects to keep what was read, most recently asked first.

    Raises:
        CheckpointError: the tokenizer has no [SEG], or does not belong to the weights.
    """

    def __init__(self, network: ConceptNetwork, tokenizer: Tokenizer, remember: int = 16) -> None:
        self._network = network.eval()
        self._conversation = Conversation(tokenizer, network.size.language.vocabulary)
        self._store = PrefixStore(remember)

    @property
    def cached_bytes(self) -> int:
        """What the kept features, keys and values occupy, on the language model's device."""
        return self._store.number_of_bytes()

    @torch.inference_mode()
    def encode(
        self,
        requests: Sequence[ConceptRequest],
        query: Frame,
        features: Features[Any] | None = None,
    ) -> list[Concept | None]:
        """For each object its concept, (C,) float32 on the network's device.

        The network looks at pixels of its own size: the segmenter's `features` are not read.

        None, with a warning in the log, where the network gave a number that is not finite.

        Raises:
            InputError: a request has no keyframe, or a mask is not of its frame's size.
        """
        if not requests:
            return []
        rows = [self._row(request) for request in requests]
        looked, seen = self._look(rows, query)
        packed = self._pack(rows)
        hidden = self._network.read(self._embed(rows, looked, seen), packed)
        embeddings = self._network.project(hidden[packed.last().to(hidden.device)])
        finite = torch.isfinite(embeddings).all(dim=1).tolist()
        results: list[Concept | None] = []
        for i, row in enumerate(rows):
            if finite[i]:
                self._keep(row, looked, packed, i)
            else:
                self._refuse(row, query)
            results.append(Concept(embeddings[i]) if finite[i] else None)
        return results

    def _row(self, request: ConceptRequest) -> _Row:
        if not request.keyframes:
            raise InputError("a concept needs at least one keyframe: prompt the object first")
        known = self._store.of(request.keyframes)
        shared = known.shared_with(request.keyframes)
        read = known.first(shared, self._conversation.prefix_length(shared))
        return _Row(request.keyframes, read, known)

    def _look(self, rows: Sequence[_Row], query: Frame) -> tuple[dict[Keyframe, Tensor], Tensor]:
        """Features (256, width) of every row's keyframes, and those of the query frame."""
        features: dict[Keyframe, Tensor] = {}
        for row in rows:
            features.update(zip(row.known.keyframes, row.known.features, strict=True))
        new = list({k: None for row in rows for k in row.keyframes if k not in features})
        pictures: list[Image] = [label_keyframe(k.frame.rgb, k.mask) for k in new]
        pictures.append(query.rgb)
        seen = torch.cat(
            [
                self._network.look(pixel_values(pictures[i : i + IMAGES_AT_ONCE]))
                for i in range(0, len(pictures), IMAGES_AT_ONCE)
            ]
        )
        # a view would keep the features of every other picture alive
        features.update((keyframe, seen[i].clone()) for i, keyframe in enumerate(new))
        return features, seen[-1]

    def _embed(
        self, rows: Sequence[_Row], features: dict[Keyframe, Tensor], seen: Tensor
    ) -> Tensor:
        """(all tokens, width): what is still to be read, row after row."""
        ids: list[int] = []
        pictures: list[Tensor] = []
        for row in rows:
            already = len(row.read.keyframes)
            ids += self._conversation.tokens(already, len(row.keyframes))
            pictures += [*(features[k] for k in row.keyframes[already:]), seen]
        tokens = torch.tensor(ids)
        embeddings = self._network.embed(tokens)
        is_picture = (tokens == self._conversation.image_token).to(embeddings.device)
        embeddings[is_picture] = torch.cat(pictures)
        return embeddings

    def _pack(self, rows: Sequence[_Row]) -> PackedRows:
        talk = self._conversation
        counts = [(len(row.read.keyframes), len(row.keyframes)) for row in rows]
        return PackedRows(
            lengths=[len(talk.tokens(read, total)) for read, total in counts],
            past=[row.read.states for row in rows],
            keep=[talk.prefix_length(total) - talk.prefix_length(read) for read, total in counts],
        )

    def _keep(
        self, row: _Row, features: dict[Keyframe, Tensor], packed: PackedRows, index: int
    ) -> None:
        self._store.put(
            Prefix(
                keyframes=row.keyframes,
                features=tuple(features[k] for k in row.keyframes),
                states=tuple(packed.kept[index]),
            )
        )

    def _refuse(self, row: _Row, query: Frame) -> None:
        self._store.forget(row.keyframes)
        _log.warning(
            "the concept asked on frame %d (object first shown on frame %d) is not finite: the "
            "frame goes on without it. float32 or bfloat16 weights avoid this where float16 or "
            "quantised ones overflow",
            query.index,
            row.keyframes[0].frame.index,
        )

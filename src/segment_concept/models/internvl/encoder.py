"""SeC's concept encoder: InternVL2.5 on labeled keyframes, with cached states.

Input: the labeled keyframes of an object, the query frame without a label, then the question. The
concept is the projected last hidden state at [SEG] (SeC, arXiv 2507.15852, and its release).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.packed_attention import PackedRows
from segment_concept.models.internvl.prefix_cache import Prefix, PrefixStore
from segment_concept.models.internvl.prompt_template import Conversation, Tokenizer
from segment_concept.models.internvl.quantization import is_four_bit
from segment_concept.ops.contours import label_keyframe
from segment_concept.ops.moving import move_weights
from segment_concept.tracking.concept import ConceptRequest, Keyframe
from segment_concept.tracking.segmenter import Concept, Features
from segment_concept.types import Frame, Image, InputError

_log = logging.getLogger(__name__)

IMAGES_AT_ONCE = 8  # images per pass of the vision network; bounds its memory


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One object of a query, and what is cached of it."""

    keyframes: tuple[Keyframe, ...]
    read: Prefix  # the cached start of `keyframes`
    known: Prefix  # everything cached of the object: a source of image features


class InternVLConceptEncoder:
    """Implements `ConceptEncoder` with an InternVL2.5 network.

    Image features of a keyframe are computed once. The language model's keys and values of the
    opening text and the keyframes are cached per object, and only what changed is computed: the
    query, a new keyframe, or, if the bank dropped a keyframe, all keyframes after the dropped one.
    All objects of a query go through the networks as one batch. Results equal those without a
    cache, within 1e-3 in float32.

    Args:
        network: its weights determine device and dtype; the caller need not cast anything.
        tokenizer: that of the checkpoint.
        remember: number of objects to cache, the most recently queried ones.

    Raises:
        CheckpointError: the tokenizer has no [SEG], or does not belong to the weights.
    """

    def __init__(self, network: ConceptNetwork, tokenizer: Tokenizer, remember: int = 16) -> None:
        self._network = network.eval()
        self._conversation = Conversation(tokenizer, network.size.language.vocabulary)
        self._store = PrefixStore(remember)

    @property
    def cached_bytes(self) -> int:
        """Size of the cached features, keys and values, on the language model's device."""
        return self._store.number_of_bytes()

    @property
    def device(self) -> torch.device:
        """Device of the language model."""
        return self._network.device

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the language model's hidden states."""
        return self._network.dtype

    def move(self, device: torch.device | None, dtype: torch.dtype | None) -> None:
        """See `tracking.placement.Movable`. Moves the vision network and the language model.

        Raises:
            InputError: the language model is in 4 bits.
        """
        changes = (device not in (None, self.device)) or (dtype not in (None, self.dtype))
        closes = device is not None and device.type == "meta"
        if changes and not closes and any(is_four_bit(m) for m in self._network.modules()):
            raise InputError(
                "layers in 4 bits stay where they were loaded: load the tracker again on the "
                "other device"
            )
        move_weights(self._network, device, dtype)
        self._store.clear()

    @torch.inference_mode()
    def encode(
        self,
        requests: Sequence[ConceptRequest],
        query: Frame,
        features: Features[Any] | None = None,
    ) -> list[Concept | None]:
        """One concept per object: embedding (C,) float32 on the network's device.

        None, with a warning in the log, if an embedding is not finite. The segmenter's `features`
        are not read: the network encodes the frame at its own size.

        Raises:
            InputError: a request has no keyframe, or a mask is not of its frame's size.
        """
        if not requests:
            return []
        rows = [self._row(request) for request in requests]
        of_keyframes, of_query = self._encode_images(rows, query)
        packed = self._pack(rows)
        hidden = self._network.read(self._embed(rows, of_keyframes, of_query), packed)
        embeddings = self._network.project(torch.stack([hidden[i] for i in packed.last()]))
        finite = torch.isfinite(embeddings).all(dim=1).tolist()
        results: list[Concept | None] = []
        for i, row in enumerate(rows):
            if finite[i]:
                self._keep(row, of_keyframes, packed, i)
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

    def _encode_images(
        self, rows: Sequence[_Row], query: Frame
    ) -> tuple[dict[Keyframe, Tensor], Tensor]:
        """Image features (256, width) of all rows' keyframes, and of the query frame."""
        features: dict[Keyframe, Tensor] = {}
        for row in rows:
            features.update(zip(row.known.keyframes, row.known.features, strict=True))
        new = list({k: None for row in rows for k in row.keyframes if k not in features})
        images: list[Image] = [label_keyframe(k.frame.rgb, k.mask) for k in new]
        images.append(query.rgb)
        encoded = torch.cat(
            [
                self._network.encode_images(
                    self._network.pixel_values(images[i : i + IMAGES_AT_ONCE])
                )
                for i in range(0, len(images), IMAGES_AT_ONCE)
            ]
        )
        # a view would keep the features of all other images in memory
        features.update((keyframe, encoded[i].clone()) for i, keyframe in enumerate(new))
        return features, encoded[-1]

    def _embed(
        self, rows: Sequence[_Row], features: dict[Keyframe, Tensor], query: Tensor
    ) -> Tensor:
        """(all tokens, width) embeddings of the tokens that are not cached, row after row."""
        ids: list[int] = []
        images: list[Tensor] = []
        for row in rows:
            already = len(row.read.keyframes)
            ids += self._conversation.tokens(already, len(row.keyframes))
            images += [*(features[k] for k in row.keyframes[already:]), query]
        embeddings = self._network.embed(torch.tensor(ids))
        for start, image in zip(self._conversation.image_places(ids), images, strict=True):
            embeddings[start : start + len(image)] = image
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
            "the concept on frame %d (of the object prompted on frame %d) is not finite: the frame "
            "is tracked without it. float16 or quantized weights can overflow; use float32 or "
            "bfloat16",
            query.index,
            row.keyframes[0].frame.index,
        )

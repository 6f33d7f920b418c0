"""The compact model's verifier as a `ConceptEncoder`: concepts from keyframes."""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from segment_concept.models.compact.neck import CompactFeatures
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.models.compact.verifier import masked_mean
from segment_concept.tracking.concept import ConceptRequest, Keyframe
from segment_concept.tracking.segmenter import Concept, Features
from segment_concept.types import Frame, InputError


class CompactConceptEncoder:
    """Computes concepts from the frozen features that the segmenter computes anyway.

    Caches the descriptors of the `at_most` most recently used keyframes, and the features of the
    last query frame: a query that is segmented well becomes a keyframe. Several sessions, in
    several threads, may share an encoder.

    Args:
        segmenter: a compact model with a verifier.
        at_most: keyframes to cache.

    Raises:
        ValueError: the model has no verifier.
    """

    def __init__(self, segmenter: CompactSegmenter, *, at_most: int = 64) -> None:
        if segmenter.verifier is None:
            raise ValueError("this compact model has no verifier: calibrate it (docs/training.md)")
        self._segmenter, self._verifier = segmenter, segmenter.verifier
        self._at_most = at_most
        self._lock = Lock()
        self._descriptors: OrderedDict[Keyframe, Tensor] = OrderedDict()
        self._last_query: tuple[Frame, Features[CompactFeatures]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and deepcopy: a lock belongs to one process and one encoder."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = Lock()

    @property
    def device(self) -> torch.device:
        """Device of the segmenter, whose verifier this is."""
        return self._segmenter.device

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the segmenter."""
        return self._segmenter.dtype

    def move(self, device: torch.device | None, dtype: torch.dtype | None) -> None:
        """Empty the caches; the weights are moved with the segmenter."""
        with self._lock:
            self._descriptors.clear()
            self._last_query = None

    @torch.inference_mode()
    def encode(
        self, requests: Sequence[ConceptRequest], query: Frame, features: Features[CompactFeatures]
    ) -> Sequence[Concept | None]:
        """One concept per request, see `Verifier.prototype`.

        Raises:
            InputError: a request has no keyframe.
        """
        if not requests:
            return []
        if not all(request.keyframes for request in requests):
            raise InputError("a concept needs at least one keyframe: prompt the object first")
        known = [torch.stack([self._describe(k) for k in each.keyframes]) for each in requests]
        with self._lock:
            self._last_query = (query, features)
        return [Concept(self._verifier.prototype(keyframes)) for keyframes in known]

    def _describe(self, keyframe: Keyframe) -> Tensor:
        """(descriptor,) mean frozen features under the mask of a keyframe."""
        with self._lock:
            known = self._descriptors.get(keyframe)
            last = self._last_query
            if known is not None:
                self._descriptors.move_to_end(keyframe)
                return known
        if last is not None and last[0] is keyframe.frame:
            image = last[1].maps
        else:
            image = self._segmenter.encode([keyframe.frame]).maps
        mask = torch.from_numpy(keyframe.mask).to(image.descriptor)
        descriptor = masked_mean(image.descriptor, image.grid, mask[None])[0]
        with self._lock:
            self._descriptors[keyframe] = descriptor
            while len(self._descriptors) > self._at_most:
                self._descriptors.popitem(last=False)
        return descriptor

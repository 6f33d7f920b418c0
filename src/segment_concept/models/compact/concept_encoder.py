"""The compact model's concept path as a `ConceptEncoder`."""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

import torch

from segment_concept.models.compact.neck import CompactFeatures
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.models.compact.verifier import KeyframeDescriptor, describe_keyframe
from segment_concept.runtime.parallel import row_groups, side_by_side
from segment_concept.tracking.concept import ConceptRequest, Keyframe
from segment_concept.tracking.segmenter import Concept, Features
from segment_concept.types import Frame, InputError


class CompactConceptEncoder:
    """Computes concepts from the frozen features that the segmenter computes anyway.

    Caches the descriptors of the `at_most` most recently used keyframes, and the features of the
    last query frame: a query that is segmented well becomes a keyframe. Several sessions, in
    several threads, may share an encoder.

    Args:
        segmenter: a compact model with a concept path.
        at_most: keyframes to cache.

    Raises:
        ValueError: the model has no concept path.
    """

    def __init__(self, segmenter: CompactSegmenter, *, at_most: int = 64) -> None:
        if segmenter.concept is None:
            raise ValueError("this compact model was trained without a concept path")
        self._segmenter, self._path = segmenter, segmenter.concept
        self._at_most = at_most
        self._lock = Lock()
        self._descriptors: OrderedDict[Keyframe, KeyframeDescriptor] = OrderedDict()
        self._last_query: tuple[Frame, Features[CompactFeatures]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and deepcopy: a lock belongs to one process and one encoder."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = Lock()

    @property
    def device(self) -> torch.device:
        """Device of the segmenter, whose concept path this is."""
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
        """One concept per request, see `ConceptPath.encode`.

        Raises:
            InputError: a request has no keyframe.
        """
        if not requests:
            return []
        if not all(request.keyframes for request in requests):
            raise InputError("a concept needs at least one keyframe: prompt the object first")
        keyframes = [[self._describe(k) for k in request.keyframes] for request in requests]
        image = features.maps

        def encode_rows(rows: slice) -> list[Concept]:
            some = keyframes[rows]
            return self._path.encode(some, image.descriptor.expand(len(some), -1, -1), image.grid)

        groups = side_by_side(encode_rows, row_groups(len(requests)))
        with self._lock:
            self._last_query = (query, features)
        return [concept for group in groups for concept in group]

    def _describe(self, keyframe: Keyframe) -> KeyframeDescriptor:
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
        mask = torch.from_numpy(keyframe.mask).to(image.descriptor.device)
        descriptor = describe_keyframe(image.descriptor[0], image.grid, mask)
        with self._lock:
            self._descriptors[keyframe] = descriptor
            while len(self._descriptors) > self._at_most:
                self._descriptors.popitem(last=False)
        return descriptor

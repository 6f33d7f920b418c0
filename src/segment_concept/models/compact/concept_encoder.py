"""The compact model's concept path under the tracker's protocol."""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

import torch
from torch import Tensor

from segment_concept.models.compact.neck import CompactFeatures
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.models.compact.verifier import KeyframeDescriptor, describe_keyframe
from segment_concept.runtime.parallel import row_groups, side_by_side
from segment_concept.tracking.concept import ConceptRequest, Keyframe
from segment_concept.tracking.segmenter import Features
from segment_concept.types import Frame, InputError


class CompactConceptEncoder:
    """Concepts from the frozen features that tracking computes anyway.

    What was read from a keyframe is kept as long as the keyframe is among the `at_most` asked
    about last, and the features of the last query until the next one, since a query that was
    segmented well becomes a keyframe. Sessions in several threads may share an encoder.

    Args:
        segmenter: a compact model with a concept path.
        reserve: logits by which it must be more than likely at a cut that a proposal is the object.
            There it may well be absent, and what is taken for it wrongly confirms itself on all
            that follows; within a shot it was there a moment ago.
        at_most: keyframes to remember.
    """

    def __init__(
        self, segmenter: CompactSegmenter, *, presence_margin: float = 0.0, at_most: int = 64
    ) -> None:
        if segmenter.concept is None:
            raise ValueError("this compact model was trained without a concept path")
        self._segmenter, self._path = segmenter, segmenter.concept
        self._reserve, self._at_most = presence_margin, at_most
        self._changing = Lock()
        self._known: OrderedDict[Keyframe, KeyframeDescriptor] = OrderedDict()
        self._asked: tuple[Frame, Features] | None = None

    @torch.inference_mode()
    def encode(
        self, requests: Sequence[ConceptRequest], query: Frame, features: Features
    ) -> Sequence[Tensor | None]:
        """For each object its concept (C,), as `ConceptPath.form` makes it.

        Raises:
            InputError: a request has no keyframe.
        """
        if not requests:
            return []
        if not all(request.keyframes for request in requests):
            raise InputError("a concept needs at least one keyframe: prompt the object first")
        reserves = [self._reserve if request.cut else 0.0 for request in requests]
        keyframes = [[self._marked(k) for k in request.keyframes] for request in requests]
        picture = CompactFeatures(*features.levels)

        def of(rows: slice) -> list[Tensor]:
            marks = keyframes[rows]
            raw = picture.raw.expand(len(marks), -1, -1)
            return list(self._path.form(marks, raw, picture.grid, reserves[rows]))

        concepts = [c for part in side_by_side(of, row_groups(len(requests))) for c in part]
        with self._changing:
            self._asked = (query, features)
        return concepts

    def _marked(self, keyframe: Keyframe) -> KeyframeDescriptor:
        with self._changing:
            known = self._known.get(keyframe)
            asked = self._asked
            if known is not None:
                self._known.move_to_end(keyframe)
                return known
        if asked is not None and asked[0] is keyframe.frame:
            features = asked[1]
        else:
            features = self._segmenter.encode([keyframe.frame])
        picture = CompactFeatures(*features.levels)
        mask = torch.from_numpy(keyframe.mask).to(picture.raw.device)
        read = describe_keyframe(picture.raw[0], picture.grid, mask)
        with self._changing:
            self._known[keyframe] = read
            while len(self._known) > self._at_most:
                self._known.popitem(last=False)
        return read

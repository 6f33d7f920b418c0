"""Fit the verifier of a compact model to proposals made while tracking."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segment_concept.models.compact.concept_encoder import CompactConceptEncoder
from segment_concept.models.compact.neck import CompactFeatures
from segment_concept.models.compact.segmenter import CompactSegmenter, VerifiedProposals
from segment_concept.models.compact.verifier import FEATURES, Verifier
from segment_concept.recipes import find_recipe
from segment_concept.synthetic import Clip
from segment_concept.synthetic.subjects import Subject, subject_clip
from segment_concept.tracking.memory import Recall
from segment_concept.tracking.segmenter import Concept, DelegatingSegmenter, Features, Proposals
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import Bitmap, Frame, InputError, Mask, ObjectId

RIGHT = 0.3  # overlap with the truth from which a proposal is the object
_MEASURED = 24  # generated clips whose places set the whitening
_PLACES = 60  # of a frame
_RIDGE = 1e-2  # on weights of standardized features
_LOG_EVERY = 20  # clips
_WHO = ObjectId(1)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Proposed:
    """N proposals on frames with a concept query."""

    features: Tensor  # (N, FEATURES) that the verifier read
    right: Tensor  # (N,) bool: the proposal is the object
    clips: Tensor  # (N,) numbers of the clips that they were made on


def fit_verification(
    segmenter: CompactSegmenter, generated: Iterable[Clip], subjects: Sequence[Subject], clips: int
) -> dict[str, Any]:
    """Fit the verifier of a model, in place.

    Args:
        segmenter: the model.
        generated: clips whose places set the whitening of frozen features.
        subjects: of the clips that are tracked; a fit to generated clips does not suit real video.
        clips: how many clips are tracked.

    Returns:
        the weight of every feature, and how many proposals were right and wrong.

    Raises:
        InputError: all proposals were right, or all were wrong.
    """
    recipe = find_recipe("sec_compact")
    verifier = Verifier(segmenter.widths.descriptor).eval().requires_grad_(False)
    segmenter.verifier = verifier.to(segmenter.device)
    # Without the recipe's concept margin: proposals must not depend on what is fitted to them.
    encoder = CompactConceptEncoder(segmenter)
    tracker = Tracker(segmenter, recipe.policy, trigger=recipe.trigger, concept=encoder)
    verifier.measure(places(segmenter, islice(generated, _MEASURED)))
    proposed = proposals(tracker, segmenter, _drawn(subjects, clips))
    fit(verifier, proposed)
    right = int(proposed.right.sum())
    return {
        "weights": verifier.weigh.weight[0].tolist(),
        "bias": verifier.weigh.bias.item(),
        "right": right,
        "wrong": len(proposed.right) - right,
    }


@torch.inference_mode()
def places(segmenter: CompactSegmenter, clips: Iterable[Clip]) -> Tensor:
    """(N, descriptor) frozen features of some places of some clips' frames."""
    rng = np.random.default_rng(0)
    found = []
    for clip in clips:
        for t in (0, len(clip.rgb) // 2, len(clip.rgb) - 1):
            raw = segmenter.encode([Frame(t, clip.rgb[t])]).maps.descriptor[0]
            found.append(raw[torch.from_numpy(rng.permutation(len(raw))[:_PLACES])])
    return torch.cat(found).clone()


def proposals(tracker: Tracker, segmenter: CompactSegmenter, clips: Iterable[Clip]) -> Proposed:
    """Track object 1 of every clip, and keep the proposals on frames with a concept query."""
    features: list[Tensor] = []
    right: list[bool] = []
    numbers: list[int] = []
    recorder = _VerifiedRecorder(segmenter)
    tracker = replace(tracker, segmenter=recorder)
    for number, clip in enumerate(clips):
        truth: Bitmap = clip.labels == int(_WHO)
        session = tracker.session()
        session.prompt(Frame(0, clip.rgb[0]), {_WHO: Mask(truth[0])})
        for t in range(1, len(clip.rgb)):
            session.step(Frame(t, clip.rgb[t]))
            for verified in recorder.take():
                features.append(verified.features)
                right.extend(_is_right(mask, truth[t]) for mask in verified.masks)
                numbers.extend([number] * len(verified.masks))
    found = torch.cat(features).clone() if features else torch.zeros(0, FEATURES)
    return Proposed(found, torch.tensor(right), torch.tensor(numbers))


class _VerifiedRecorder(DelegatingSegmenter):
    """Records the proposals that were verified."""

    def __init__(self, inner: CompactSegmenter) -> None:
        super().__init__(inner)
        self._compact = inner
        self._verified: list[VerifiedProposals] = []

    def take(self) -> list[VerifiedProposals]:
        """What was recorded since the last call."""
        verified, self._verified = self._verified, []
        return verified

    def propose(
        self,
        features: Features[CompactFeatures],
        recalls: Sequence[Recall],
        concepts: Sequence[Concept | None],
        images: Sequence[int],
    ) -> Proposals:
        """See `Segmenter`."""
        verified = self._compact.propose_verified(features, recalls, concepts, images)
        self._verified.append(verified)
        return verified.proposals


def fit(verification: Verifier, proposed: Proposed) -> None:
    """Logistic regression in which right and wrong proposals count the same in all.

    All proposals of a clip together count as much as those of another one: they resemble each
    other, and a clip has the more of them the longer its object is not found.

    Raises:
        InputError: the proposals were all right or all wrong.
    """
    right = proposed.right.double()
    if not 0 < int(right.sum()) < len(right):
        raise InputError(
            f"{len(right)} proposals were kept, {int(right.sum())} of them right: "
            "both kinds are needed, so render more clips"
        )
    counts = torch.bincount(proposed.clips)[proposed.clips]
    weight = counts.double().reciprocal()
    share = float((weight * right).sum() / weight.sum())
    features = proposed.features.double()
    mean, deviation = features.mean(0), features.std(0).clamp(min=1e-6)
    standard = (features - mean) / deviation
    weight *= torch.where(proposed.right, 0.5 / share, 0.5 / (1 - share)) / weight.sum()
    weights = torch.zeros(FEATURES + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = standard @ weights[:-1] + weights[-1]
        each = F.binary_cross_entropy_with_logits(logits, right, reduction="none")
        total: Tensor = (weight * each).sum() + _RIDGE * weights[:-1].square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    found = weights.detach()
    slopes = found[:-1] / deviation
    with torch.no_grad():
        verification.weigh.weight.copy_(slopes[None])
        verification.weigh.bias.copy_((found[-1] - (slopes * mean).sum())[None])


def _drawn(subjects: Sequence[Subject], clips: int) -> Iterator[Clip]:
    for n in range(clips):
        yield subject_clip(subjects, n)
        if (n + 1) % _LOG_EVERY == 0:
            _LOG.info("%d of %d clips", n + 1, clips)


def _is_right(mask: Tensor, truth: Bitmap) -> bool:
    """Whether a mask (h, w) of logits overlaps with the truth (H, W) by RIGHT at least."""
    whole = F.interpolate(mask[None, None].float(), size=truth.shape, mode="bilinear")[0, 0]
    shown = (whole > 0).numpy()
    return bool((shown & truth).sum() >= RIGHT * max(1, (shown | truth).sum()))

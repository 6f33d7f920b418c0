"""What verification weighs is fitted to proposals made while tracking."""

from copy import deepcopy
from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
import torch

from segment_concept import Tracker
from segment_concept.models.compact.concept_encoder import CompactConceptEncoder
from segment_concept.models.compact.segmenter import CompactSegmenter
from segment_concept.models.compact.verifier import FEATURES, Verifier
from segment_concept.recipes import find_recipe
from segment_concept.synthetic import Clip
from segment_concept.tracking.triggers.base import AtFrames
from segment_concept.train import fit_verifier as verification
from segment_concept.train.fit_verifier import Proposed, fit, places, proposals
from segment_concept.types import InputError


@pytest.fixture(scope="module")
def segmenter() -> CompactSegmenter:
    torch.manual_seed(0)
    model = CompactSegmenter(short_side=64)
    model.verifier = Verifier(model.widths.descriptor)
    return model.eval().requires_grad_(False)


def clip(frames: int = 6) -> Clip:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (frames, 64, 96, 3), dtype=np.uint8)
    labels = np.zeros((frames, 64, 96), np.uint8)
    labels[:, 10:40, 20:60] = 1
    return Clip(rgb, labels, (1,), (3,))


def test_a_proposal_is_kept_for_every_frame_with_a_concept_query(segmenter):
    concept = CompactConceptEncoder(segmenter)
    tracker = Tracker(segmenter, trigger=AtFrames((2, 4)), concept=concept)
    found = proposals(tracker, segmenter, [clip(), clip()])
    assert found.features.shape == (4, FEATURES)
    assert found.right.shape == (4,)


def test_whatever_shows_the_object_is_right_and_nothing_else_is(segmenter, monkeypatch):
    concept = CompactConceptEncoder(segmenter)
    tracker = Tracker(segmenter, trigger=AtFrames((2, 4)), concept=concept)
    whole = clip()
    away = replace(whole, labels=whole.labels.copy())
    away.labels[4] = 0
    propose = segmenter.network.propose

    def exact(*given, **how):
        found = propose(*given, **how)
        truth = torch.from_numpy(whole.labels[1] == 1).float()[None, None]
        mask = torch.nn.functional.interpolate(truth, size=found.logits.shape[-2:])[0, 0]
        return replace(found, logits=(mask * 20 - 10).expand_as(found.logits))

    monkeypatch.setattr(segmenter.network, "propose", exact)
    assert proposals(tracker, segmenter, [whole]).right.tolist() == [True, True]
    assert proposals(tracker, segmenter, [away]).right.tolist() == [True, False]


def test_the_fit_finds_the_informative_feature():
    torch.manual_seed(0)
    features = torch.randn(400, FEATURES)
    right = features[:, 1] + 0.3 * torch.randn(400) > 0.8
    net = Verifier(8)
    fit(net, Proposed(features, right, torch.arange(400)))
    weights = net.weigh.weight[0]
    assert weights[1] > 5 * weights[0].abs()
    says = net.weigh(features)[:, 0] > 0
    # Right and wrong ones count the same although there are fewer right ones.
    assert (says[right]).float().mean() > 0.85
    assert (~says[~right]).float().mean() > 0.85


def test_a_clip_with_many_proposals_counts_as_much_as_another_one():
    torch.manual_seed(0)
    features = torch.randn(40, FEATURES)
    right = features[:, 1] > 0
    once = Proposed(features, right, torch.arange(40))
    often = torch.tensor([0] * 30 + [*range(1, 40)])
    repeated = Proposed(features[often], right[often], often)
    one, two = Verifier(8), Verifier(8)
    fit(one, once)
    fit(two, repeated)
    assert (one.weigh(features) > 0).equal(two.weigh(features) > 0)
    ratio = one.weigh.weight[0, 1].item() / two.weigh.weight[0, 1].item()
    assert ratio == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("right", [[], [True, True], [False]])
def test_proposals_of_one_kind_alone_are_refused(right):
    features = torch.randn(len(right), FEATURES)
    with pytest.raises(InputError, match="render more clips"):
        fit(
            Verifier(8),
            Proposed(features, torch.tensor(right, dtype=torch.bool), torch.arange(len(right))),
        )


def test_places_are_drawn_from_all_of_a_clip(segmenter):
    found = places(segmenter, [clip(), clip()])
    assert found.shape == (2 * 3 * 24, segmenter.widths.descriptor)
    assert torch.isfinite(found).all()


def test_fitting_the_verifier_changes_no_other_weight(segmenter, monkeypatch):
    model = deepcopy(segmenter)
    recipe = replace(find_recipe("sec_compact"), trigger=AtFrames((2, 4)))
    answers = cycle((True, False))
    monkeypatch.setattr(verification, "subject_clip", lambda subjects, seed: clip())
    monkeypatch.setattr(verification, "find_recipe", lambda name: recipe)
    monkeypatch.setattr(verification, "_is_right", lambda mask, truth: next(answers))
    found = verification.fit_verification(model, [clip()], (), clips=3)
    assert (found["right"], found["wrong"]) == (3, 3)
    old, new = segmenter.state_dict(), model.state_dict()
    changed = {name for name in new if not torch.equal(old[name], new[name])}
    assert changed
    assert all(name.startswith("verifier.") for name in changed)
    assert new["verifier.weigh.weight"][0].tolist() == pytest.approx(found["weights"])

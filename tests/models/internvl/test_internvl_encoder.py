import logging
from dataclasses import replace

import pytest
import torch

from segment_concept.checkpoints.sec.internvl import Placement, load_concept_network
from segment_concept.models.internvl.encoder import InternVLConceptEncoder
from segment_concept.tracking.concept import ConceptRequest, KeyframeBank
from segment_concept.types import Frame, InputError

CLOSE = 1e-3  # float32, the stated exactness of caching and batching
CLOSE_IN_BFLOAT16 = 5e-2  # bfloat16 has 8 significant bits; concepts here are about 1.8 large

PICTURE = 259  # tokens of a picture, its marks and the line break after it
QUERY = 365  # tokens of the query's picture and the question up to [SEG]
OPENING = 6  # tokens


@pytest.fixture
def recompute(network, tokenizer):
    """The encoder that remembers nothing."""
    return InternVLConceptEncoder(network, tokenizer, remember=0)


@pytest.fixture
def encoder(network, tokenizer):
    return InternVLConceptEncoder(network, tokenizer)


def test_a_moving_bank_gives_what_recomputing_everything_gives(ask, encoder, recompute, keyframes):
    bank = KeyframeBank(at_most=4)
    for keyframe in keyframes[:9]:
        bank = bank.add(keyframe)
        used = tuple(k.frame.index for k in bank.keyframes)
        (cached,), (fresh,) = ask(encoder, used), ask(recompute, used)
        assert (cached - fresh).abs().max() < CLOSE


def test_objects_queried_together_give_the_results_of_single_queries(ask, encoder, recompute):
    banks = [(0, 1), (2,), (3, 4, 5, 6), (7, 8)]
    ask(encoder, banks[2], banks[3])  # two of the four have a past, of different lengths
    together = ask(encoder, *banks)
    for bank, concept in zip(banks, together, strict=True):
        (alone,) = ask(recompute, bank)
        assert (concept - alone).abs().max() < CLOSE


def test_the_concept_depends_on_every_keyframe_on_their_order_and_on_the_mask(
    ask, recompute, keyframes, query
):
    (base,) = ask(recompute, (0, 1, 2))
    for other in [(3, 1, 2), (0, 3, 2), (0, 1, 3), (0, 2, 1), (0, 1)]:
        (changed,) = ask(recompute, other)
        assert (base - changed).abs().max() > 10 * CLOSE
    elsewhere = replace(keyframes[1], mask=keyframes[6].mask)
    request = ConceptRequest((keyframes[0], elsewhere, keyframes[2]))
    assert (recompute.encode([request], query)[0].embedding - base).abs().max() > 10 * CLOSE


def test_a_second_query_reads_only_the_query(ask, encoder):
    ask(encoder, (0, 1, 2))
    ask(encoder, (0, 1, 2))
    assert ask.tokens == [OPENING + 3 * PICTURE + QUERY, QUERY]
    assert ask.pictures == [4, 1]


def test_a_keyframe_that_joins_is_the_only_one_read(ask, encoder):
    ask(encoder, (0, 1))
    ask(encoder, (0, 1, 2))
    assert ask.tokens[-1] == PICTURE + QUERY
    assert ask.pictures[-1] == 2


def test_when_a_keyframe_leaves_only_what_follows_it_is_read_and_no_picture_seen_twice(
    ask, encoder
):
    ask(encoder, (0, 1, 2, 3))
    ask(encoder, (0, 2, 3, 4))
    assert ask.tokens[-1] == 3 * PICTURE + QUERY
    assert ask.pictures[-1] == 2  # keyframe 4 and the query


def test_all_objects_of_a_frame_go_through_together_and_share_the_query(ask, encoder):
    ask(encoder, (0, 1), (2,), (3, 4, 5))
    assert len(ask.tokens) == 1
    assert ask.pictures == [7]  # six keyframes, one query


def test_many_pictures_go_through_the_vision_network_in_parts(ask, encoder):
    ask(encoder, tuple(range(10)))
    assert ask.pictures == [8, 3]


def test_no_more_objects_are_remembered_than_requested(ask, network, tokenizer):
    encoder = InternVLConceptEncoder(network, tokenizer, remember=2)
    ask(encoder, (0,), (1,))
    full = encoder.cached_bytes
    ask(encoder, (2,))
    assert encoder.cached_bytes == full
    ask(encoder, (1,))  # still known
    ask(encoder, (0,))  # forgotten: the longest unasked
    assert ask.tokens[-2:] == [QUERY, OPENING + PICTURE + QUERY]


def test_cached_bytes_count_what_the_size_predicts(ask, encoder, size):
    assert encoder.cached_bytes == 0
    ask(encoder, (0, 1, 2))
    expected = size.cache_bytes(keyframes=3, bytes_per_number=4)
    assert expected <= encoder.cached_bytes < 1.02 * expected


def test_a_concept_that_is_not_finite_is_refused_with_a_warning_and_nothing_of_it_is_kept(
    ask, encoder, recompute, network, caplog
):
    ask(encoder, (1,))
    embedding = network.backbone.language_model.embed_tokens.weight
    good = embedding.clone()
    embedding.fill_(torch.inf)
    with caplog.at_level(logging.WARNING):
        assert ask(encoder, (0, 1)) == [None]
    assert "frame 99" in caplog.text
    assert "not finite" in caplog.text
    embedding.copy_(good)
    (healed,) = ask(encoder, (0, 1))
    (fresh,) = ask(recompute, (0, 1))
    assert (healed - fresh).abs().max() < CLOSE


def test_one_unusable_concept_does_not_spoil_the_others(ask, encoder, recompute, network):
    (alone,) = ask(recompute, (1, 2))
    read = network.read

    def spoilt(embeddings, rows):
        hidden = read(embeddings, rows)
        hidden[rows.last()[0]] = torch.nan
        return hidden

    network.read = spoilt
    first, second = ask(encoder, (0,), (1, 2))
    assert first is None
    assert (second - alone).abs().max() < CLOSE


def test_bfloat16_is_handled_inside_and_caching_stays_close(
    size, weights, tokenizer, keyframes, query, ask, recompute
):
    network = load_concept_network(size, weights.items(), Placement.on("cpu", dtype=torch.bfloat16))
    cached = InternVLConceptEncoder(network, tokenizer)
    fresh = InternVLConceptEncoder(network, tokenizer, remember=0)
    for bank in [(0,), (0, 1), (0, 1, 2), (0, 2, 3)]:
        concept, again = ask(cached, bank)[0], ask(fresh, bank)[0]
        assert concept.dtype == torch.float32
        assert (concept - again).abs().max() < CLOSE_IN_BFLOAT16
        assert (concept - ask(recompute, bank)[0]).abs().max() < CLOSE_IN_BFLOAT16


def test_querying_no_object_gives_no_concept(encoder, query):
    assert encoder.encode([], query) == []


def test_a_request_without_a_keyframe_is_refused(encoder, query):
    with pytest.raises(InputError, match="at least one keyframe"):
        encoder.encode([ConceptRequest(())], query)


def test_a_keyframe_with_a_mask_of_another_size_is_refused(encoder, keyframes, query):
    wrong = replace(keyframes[0], mask=keyframes[0].mask[:-1])
    with pytest.raises(InputError, match="56x39"):
        encoder.encode([ConceptRequest((wrong,))], query)


def test_frames_of_different_sizes_may_be_mixed(encoder, recompute, keyframes):
    other = Frame(50, keyframes[0].frame.rgb.repeat(2, axis=0))
    request = [ConceptRequest((keyframes[0],))]
    assert (
        encoder.encode(request, other)[0].embedding - recompute.encode(request, other)[0].embedding
    ).abs().max() < (CLOSE)


def test_a_language_model_in_four_bits_gives_nearly_the_same_concept(
    size, weights, tokenizer, ask, recompute
):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    placement = Placement(dtype=torch.bfloat16, four_bit=True)
    small = InternVLConceptEncoder(
        load_concept_network(size, weights.items(), placement), tokenizer
    )
    (concept,), (full,) = ask(small, (0, 1, 2)), ask(recompute, (0, 1, 2))
    assert torch.cosine_similarity(concept, full, dim=0) > 0.9

import pytest
import torch

from segment_concept.models.internvl.packed_attention import PackedRows, packed_attention


def by_hand(query, keys, values, past, scale):
    """Softmax attention of one row, written out; token i sees the past and tokens up to i."""
    groups = query.shape[0] // keys.shape[0]
    out = torch.zeros_like(query)
    for head in range(query.shape[0]):
        k, v = keys[head // groups], values[head // groups]
        for i in range(query.shape[1]):
            seen = past + i + 1
            weights = (k[:seen] @ query[head, i] * scale).softmax(0)
            out[head, i] = weights @ v[:seen]
    return out


class Layer(torch.nn.Module):
    layer_idx = 0


@pytest.fixture
def states():
    """Rows with 0, 4 and 2 tokens of past and 3, 2 and 5 to read; 4 heads share 2 key heads."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    past = [[], [(draw(2, 4, 8), draw(2, 4, 8))], [(draw(2, 2, 8), draw(2, 2, 8))]]
    return past, draw(4, 10, 8), draw(2, 10, 8), draw(2, 10, 8)


def test_packed_rows_attend_as_each_would_alone(states):
    past, query, keys, values = states
    rows = PackedRows(lengths=[3, 2, 5], past=past, keep=[1, 0, 2])
    output, _ = packed_attention(
        Layer(), query[None], keys[None], values[None], None, scaling=0.3, packed_rows=rows
    )
    start = 0
    for row, length in enumerate([3, 2, 5]):
        part = slice(start, start + length)
        row_keys, row_values, before = keys[:, part], values[:, part], 0
        if past[row]:
            before = past[row][0][0].shape[1]
            row_keys = torch.cat((past[row][0][0], row_keys), 1)
            row_values = torch.cat((past[row][0][1], row_values), 1)
        expected = by_hand(query[:, part], row_keys, row_values, before, 0.3)
        assert torch.allclose(output[0, part].transpose(0, 1), expected, atol=1e-5)
        start += length


def test_the_cache_has_the_past_and_the_part_worth_caching(states):
    past, query, keys, values = states
    rows = PackedRows(lengths=[3, 2, 5], past=past, keep=[1, 0, 2])
    rows.attend(0, query, (keys, values), 0.3)
    assert [kept[0][0].shape[1] for kept in rows.kept] == [1, 4, 4]
    assert torch.equal(rows.kept[2][0][0], torch.cat((past[2][0][0], keys[:, 5:7]), 1))


@pytest.mark.parametrize(("past", "new"), [(0, 6), (1, 6), (5, 6), (6, 6), (6, 1), (9, 2)])
def test_a_row_attends_causally_whatever_the_share_of_its_past(past, new):
    generator = torch.Generator().manual_seed(past + 10 * new)
    query, keys, values, *before = (
        torch.randn(heads, tokens, 8, generator=generator)
        for heads, tokens in ((4, new), (2, new), (2, new), (2, past), (2, past))
    )
    rows = PackedRows(lengths=[new], past=[[tuple(before)] if past else []], keep=[0])
    found = rows.attend(0, query, (keys, values), 0.3)
    joined = (torch.cat(pair, 1) for pair in zip(before, (keys, values), strict=True))
    assert torch.allclose(found, by_hand(query, *joined, past, 0.3), atol=1e-5)


def test_positions_count_on_from_every_rows_own_past(states):
    rows = PackedRows(lengths=[3, 2, 5], past=states[0], keep=[0, 0, 0])
    assert rows.positions(torch.device("cpu")).tolist() == [[0, 1, 2, 4, 5, 2, 3, 4, 5, 6]]
    assert rows.last() == [2, 4, 9]

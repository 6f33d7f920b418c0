"""The window in which the compact network looks for an object."""

import pytest
import torch

from segment_concept.models.compact.window import Window, likely

GRID = (20, 30)


def _prior(*likely_at: tuple[int, int]) -> torch.Tensor:
    prior = torch.full((*GRID, 4), -1.0)
    for y, x in likely_at:
        prior[y, x, 2] = 0.0
    return prior.flatten(0, 1)


def test_a_window_holds_all_that_is_likely_with_room_around_it():
    window = likely(_prior((9, 12), (11, 15)), GRID)
    assert window.y0 <= 9 - 3
    assert window.y1 >= 12 + 3
    assert window.x0 <= 12 - 3
    assert window.x1 >= 16 + 3
    assert not window.whole


def test_a_second_place_far_away_widens_the_window():
    window = likely(_prior((9, 2), (9, 16)), GRID)
    assert window.x0 == 0
    assert window.x1 >= 17


def test_what_may_be_nearly_everywhere_is_looked_for_in_the_whole_picture():
    assert likely(_prior((0, 0), (19, 29)), GRID) == Window(0, 20, 0, 30, GRID)


def test_where_nothing_is_likely_the_likeliest_place_is_looked_at():
    prior = _prior()
    prior[5 * GRID[1] + 7, 0] = -0.97
    window = likely(prior, GRID)
    assert window.y0 <= 5 < window.y1
    assert window.x0 <= 7 < window.x1
    assert min(window.size) >= 8
    assert not window.whole


@pytest.mark.parametrize("at", [(0, 0), (19, 29), (19, 0), (7, 13)])
def test_windows_are_even_and_inside_the_picture(at):
    window = likely(_prior(at), GRID)
    sides = (window.y0, window.y1, window.x0, window.x1)
    assert all(side % 2 == 0 for side in sides)
    assert 0 <= window.y0 < window.y1 <= 20
    assert 0 <= window.x0 < window.x1 <= 30


def test_what_is_cut_out_comes_back_to_its_place():
    window = Window(2, 10, 4, 12, GRID)
    whole = torch.randn(2, 3, 4 * GRID[0], 4 * GRID[1])
    placed = window.placed(window.cells(whole, 4), 4, outside=-10.0)
    inside = torch.zeros(4 * GRID[0], 4 * GRID[1], dtype=torch.bool)
    inside[8:40, 16:48] = True
    assert torch.equal(placed[..., inside], whole[..., inside])
    assert (placed[..., ~inside] == -10).all()


def test_tokens_and_maps_are_cut_alike():
    window = Window(2, 10, 4, 12, GRID)
    tokens = torch.randn(1, GRID[0] * GRID[1], 5)
    as_map = tokens.transpose(1, 2).unflatten(-1, GRID)
    again = window.cells(as_map, 1).flatten(2).transpose(1, 2)
    assert torch.equal(window.tokens(tokens), again)

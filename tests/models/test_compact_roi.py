"""The window in which the compact network looks for an object."""

import pytest
import torch

from segment_concept.models.compact.roi import (
    Roi,
    Rois,
    around,
    group_rois,
    propose_rois,
    union,
    whole_frame,
)

GRID = (20, 30)


def _prior(*likely_at: tuple[int, int]) -> torch.Tensor:
    prior = torch.full((*GRID, 4), -1.0)
    for y, x in likely_at:
        prior[y, x, 2] = 0.0
    return prior.flatten(0, 1)


def _window(prior: torch.Tensor) -> Roi:
    (window,) = propose_rois(prior[None], GRID)
    return window


def test_a_window_holds_all_that_is_likely_with_room_around_it():
    window = _window(_prior((9, 12), (11, 15)))
    assert window.y0 <= 9 - 2
    assert window.y1 >= 12 + 2
    assert window.x0 <= 12 - 2
    assert window.x1 >= 16 + 2
    assert window.size != GRID


def test_a_second_place_far_away_widens_the_window():
    window = _window(_prior((9, 2), (9, 16)))
    assert window.x0 == 0
    assert window.x1 >= 17


def test_an_object_that_may_be_nearly_everywhere_gets_the_whole_image():
    assert _window(_prior((0, 0), (19, 29))) == Roi(0, 20, 0, 30, GRID)


def test_without_a_likely_region_the_likeliest_one_is_used():
    prior = _prior()
    prior[5 * GRID[1] + 7, 0] = -0.97
    window = _window(prior)
    assert window.y0 <= 5 < window.y1
    assert window.x0 <= 7 < window.x1
    assert min(window.size) >= 8
    assert window.size != GRID


@pytest.mark.parametrize("at", [(0, 0), (19, 29), (19, 0), (7, 13)])
def test_windows_are_even_and_inside_the_picture(at):
    window = _window(_prior(at))
    sides = (window.y0, window.y1, window.x0, window.x1)
    assert all(side % 2 == 0 for side in sides)
    assert 0 <= window.y0 < window.y1 <= 20
    assert 0 <= window.x0 < window.x1 <= 30


@pytest.mark.parametrize("corners", [[(2, 4)], [(2, 4), (0, 18), (12, 0)]])
def test_a_region_is_pasted_back_where_it_was_cut_out(corners):
    windows = Rois(tuple(Roi(y, y + 8, x, x + 10, GRID) for y, x in corners))
    whole = torch.randn(len(corners), 3, 4 * GRID[0], 4 * GRID[1])
    scatter = windows.scatter(windows.cells(whole, 4), 4, outside=-10.0)
    for o, (y, x) in enumerate(corners):
        inside = torch.zeros(4 * GRID[0], 4 * GRID[1], dtype=torch.bool)
        inside[4 * y : 4 * y + 32, 4 * x : 4 * x + 40] = True
        assert torch.equal(scatter[o][:, inside], whole[o][:, inside])
        assert (scatter[o][:, ~inside] == -10).all()


@pytest.mark.parametrize("corners", [[(2, 4)], [(2, 4), (0, 18), (12, 0)]])
def test_tokens_and_maps_are_cut_alike(corners):
    windows = Rois(tuple(Roi(y, y + 8, x, x + 10, GRID) for y, x in corners))
    tokens = torch.randn(len(corners), GRID[0] * GRID[1], 5)
    as_map = tokens.transpose(1, 2).unflatten(-1, GRID)
    again = windows.cells(as_map, 1).flatten(2).transpose(1, 2)
    assert torch.equal(windows.tokens(tokens), again)


def test_grouped_regions_have_one_size_and_stay_as_they_are():
    torch.manual_seed(0)
    windows = []
    for _ in range(20):
        y, x = (2 * int(torch.randint(0, n, ())) for n in (6, 11))
        windows.append(Roi(y, y + 2 * int(torch.randint(1, 5, ())), x, x + 8, GRID))
    groups = group_rois(windows)
    assert sorted(row for rows, _ in groups for row in rows) == list(range(20))
    for rows, of_them in groups:
        for row, window in zip(rows, of_them.each, strict=True):
            assert window.size == of_them.size
            assert window == windows[row]
    assert len(groups) == len({window.size for window in windows})


def _mask_cells(y: slice, x: slice) -> torch.Tensor:
    cells = torch.full((*GRID, 4), -1.0)
    cells[y, x] = 1.0
    return cells.flatten(0, 1)


def test_an_object_is_looked_for_around_its_mask():
    near = around(_mask_cells(slice(9, 11), slice(12, 16)), GRID)
    assert near.y0 <= 6
    assert near.y1 >= 14
    assert near.x0 <= 9
    assert near.x1 >= 19
    assert near.size != GRID


def test_an_object_that_was_not_seen_is_looked_for_everywhere():
    assert around(torch.full((20 * 30, 4), -1.0), GRID) == whole_frame(GRID)


@pytest.mark.parametrize(
    ("at", "held"),
    [((9, 12), True), ((4, 12), False), ((9, 19), False), ((0, 12), False)],
    ids=["inside", "at the upper border", "at the right border", "outside"],
)
def test_a_region_holds_an_object_that_does_not_reach_its_border(at, held):
    near = Roi(4, 16, 6, 20, GRID)
    prior = torch.full((*GRID, 4), -1.0)
    prior[at] = 1.0
    assert near.holds_object(prior.flatten(0, 1)) == held


def test_an_object_may_reach_the_border_of_the_frame():
    prior = _mask_cells(slice(0, 4), slice(0, 3))
    assert Roi(0, 8, 0, 8, GRID).holds_object(prior)


def test_a_region_does_not_hold_an_object_that_is_only_faintly_there():
    near, prior = Roi(2, 18, 2, 20, GRID), torch.full((*GRID, 4), -1.0)
    prior[9, 9] = -0.2
    assert not near.holds_object(prior.flatten(0, 1))
    assert whole_frame(GRID).holds_object(prior.flatten(0, 1))


def test_tokens_of_several_regions_are_taken_once():
    rois = [Roi(2, 6, 2, 8, GRID), Roi(4, 10, 6, 12, GRID)]
    rows, each = union(rois)
    tokens = torch.arange(GRID[0] * GRID[1]).view(GRID)
    for roi, own in zip(rois, each, strict=True):
        expected = tokens[roi.y0 : roi.y1, roi.x0 : roi.x1].flatten()
        assert torch.equal(rows[own], expected)
    assert len(rows) == 4 * 6 + 6 * 6 - 2 * 2


def test_tokens_are_placed_where_they_were_taken():
    roi, x = Roi(2, 6, 4, 12, GRID), torch.randn(GRID[0] * GRID[1], 3)
    placed = roi.place(x[roi.rows()], -5.0)
    outside = torch.ones(len(x), dtype=torch.bool).index_fill(0, roi.rows(), False)
    assert torch.equal(placed[roi.rows()], x[roi.rows()])
    assert (placed[outside] == -5).all()

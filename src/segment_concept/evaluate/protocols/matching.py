"""Optimal one-to-one matching of proposals to objects (Kuhn 1955, Munkres 1957)."""

import numpy as np
from numpy.typing import NDArray


def best_matching(gain: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Find the min(R, C) pairs (row, column) with the largest sum of `gain` (R, C), sorted by row.

    Shortest augmenting paths with potentials, O(n^3).
    """
    rows, columns = gain.shape
    if rows > columns:
        return sorted((row, column) for column, row in best_matching(gain.T))
    cost = -gain
    row_of = np.full(columns, -1)
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    for row in range(rows):
        _augment(cost, row, row_of, row_price, column_price)
    return sorted((int(row), column) for column, row in enumerate(row_of) if row >= 0)


def _augment(
    cost: NDArray[np.float64],
    start: int,
    row_of: NDArray[np.int_],
    row_price: NDArray[np.float64],
    column_price: NDArray[np.float64],
) -> None:
    """Assign a column to row `start`, moving others along the cheapest alternating path."""
    columns = cost.shape[1]
    distance = np.full(columns, np.inf)
    came_from = np.full(columns, -1)  # the column before on the path, -1 at its start
    done = np.zeros(columns, bool)
    row, before, so_far = start, -1, 0.0
    while True:
        through = so_far + cost[row] - row_price[row] - column_price
        closer = ~done & (through < distance)
        distance[closer] = through[closer]
        came_from[closer] = before
        column = int(np.argmin(np.where(done, np.inf, distance)))
        so_far = float(distance[column])
        done[column] = True
        if row_of[column] < 0:
            break
        row, before = int(row_of[column]), column
    row_price[start] += so_far
    for settled in np.flatnonzero(done):
        if row_of[settled] >= 0:
            row_price[row_of[settled]] += so_far - distance[settled]
        column_price[settled] -= so_far - distance[settled]
    while column >= 0:
        previous = int(came_from[column])
        row_of[column] = row_of[previous] if previous >= 0 else start
        column = previous

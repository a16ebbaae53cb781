"""Which of the boxes found is which track's: the assignment of least cost, without scipy."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dinox_mcp.geometry import Box

Costs = npt.NDArray[np.float64]


def closeness(a: Sequence[Box], b: Sequence[Box]) -> Costs:
    """Distance-IoU of each box of `a` with each of `b`, from -1 (far apart) to 1 (the same).

    It tells near from far where boxes do not overlap, as they do not between key frames (Zheng et al. 2020).
    """
    first = np.array(a, dtype=float).reshape(-1, 1, 4)
    second = np.array(b, dtype=float).reshape(1, -1, 4)
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    union = _area(first) + _area(second) - shared
    span = np.maximum(first[..., 2:], second[..., 2:]) - np.minimum(first[..., :2], second[..., :2])
    apart = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]) / 2
    distance = np.sum(apart**2, axis=-1) / np.maximum(np.sum(span**2, axis=-1), 1e-9)
    close: Costs = shared / np.maximum(union, 1e-9) - distance
    return close


def assign(costs: Costs, limit: float) -> list[tuple[int, int]]:
    """Pair rows with columns at the least cost in sum, where what stays alone costs `limit`: no pair costs more.

    Shortest augmenting paths with potentials (Jonker and Volgenant 1987), cubic in the larger side: a few hundred
    boxes take a fraction of a second.
    """
    if not costs.size:
        return []
    capped = np.minimum(costs, limit)
    pairs = _assign(capped) if capped.shape[0] <= capped.shape[1] else [(b, a) for a, b in _assign(capped.T)]
    return sorted((row, column) for row, column in pairs if costs[row, column] <= limit)


def _assign(costs: Costs) -> list[tuple[int, int]]:
    """Assign each row a column of its own; there are at least as many columns."""
    rows, columns = costs.shape
    of_row, of_column = np.zeros(rows + 1), np.zeros(columns + 1)
    owner = np.full(columns + 1, rows)  # the row that has each column; the last column is where a path starts
    for row in range(rows):
        owner[columns] = row
        least = np.full(columns, np.inf)
        came_from = np.full(columns, columns)
        visited = np.zeros(columns + 1, dtype=bool)
        here = columns
        while owner[here] != rows:
            visited[here] = True
            current = owner[here]
            reduced = costs[current] - of_row[current] - of_column[:columns]
            better = ~visited[:columns] & (reduced < least)
            least[better] = reduced[better]
            came_from[better] = here
            there = int(np.argmin(np.where(visited[:columns], np.inf, least)))
            step = least[there]
            of_row[owner[visited]] += step
            of_column[visited] -= step
            least[~visited[:columns]] -= step
            here = there
        while here != columns:
            before = came_from[here]
            owner[here] = owner[before]
            here = before
        owner[columns] = rows
    return [(int(owner[column]), column) for column in range(columns) if owner[column] != rows]


def _area(boxes: Costs) -> Costs:
    area: Costs = np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 0), axis=-1)
    return area

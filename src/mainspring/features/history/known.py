"""The guard against leaks: of rows in order, the last one that was known by an instant."""

from __future__ import annotations

from typing import Any

import numpy as np

Whole = np.ndarray[Any, np.dtype[np.int64]]
_NEVER = np.iinfo(np.int64).max


def last_at_most(values: Whole, starts: Whole, bounds: Whole) -> Whole:
    """For each start, the last index at or before it whose value is at most the bound; −1 if there is none.

    Descends a tree of minima, so it takes 2 · log₂(n) passes over what is still sought, whatever the data.

    >>> last_at_most(np.array([5, 1, 9, 8]), np.array([3, 3, 0]), np.array([8, 7, 4])).tolist()
    [3, 1, -1]
    """
    levels = _minima(values)
    nodes, heights = _lowest_nodes(levels, starts, bounds)
    for height in range(len(levels) - 1, 0, -1):
        below = np.flatnonzero(heights >= height)
        right = 2 * nodes[below] + 1
        nodes[below] = np.where(levels[height - 1][right] <= bounds[below], right, right - 1)
    return nodes


def _minima(values: Whole) -> list[Whole]:
    """The values, and above them the minimum of each two, up to one; all but the last are of even length."""
    levels = [values]
    while len(levels[-1]) > 1:
        if len(levels[-1]) % 2:
            levels[-1] = np.append(levels[-1], _NEVER)
        levels.append(np.minimum(levels[-1][::2], levels[-1][1::2]))
    return levels


def _lowest_nodes(levels: list[Whole], starts: Whole, bounds: Whole) -> tuple[Whole, Whole]:
    """For each start the node, and its height, that ends latest before it and holds a value within the bound; −1 if none."""
    nodes, heights = starts.copy(), np.full(len(starts), -1, np.int64)
    sought = np.arange(len(starts))
    for height, level in enumerate(levels):
        at = nodes[sought]
        single = at % 2 == 0  # the left one of two: the node above would reach past the start
        found = single & (level[at] <= bounds[sought])
        heights[sought[found]] = height
        above = (at - single) >> 1
        nodes[sought[~found]] = above[~found]
        sought = sought[~found & (above >= 0)]
        if not len(sought):
            break
    return nodes, heights

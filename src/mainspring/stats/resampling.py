"""Resamples as counts of units: drawn in blocks, the same for the same seed whatever is computed from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.errors import InvalidError
from mainspring.stats.statistic import Statistic

Array = NDArray[Any]
_BLOCK = 2**18  # counts at once: they stay in the processor's cache
_MOST_LEFT_OUT = 200  # parts of the jackknife: the acceleration is then known to 0.002


def draws(
    size: int, resamples: int, *, strata: Array | None = None, groups: Array | None = None, seed: int = 0
) -> Iterator[Array]:
    """Blocks of counts, resamples × units, of drawing with replacement.

    With `strata` (a code for each unit) each stratum keeps its size; with `groups` whole groups are drawn, for units that
    are not independent (rows of one customer).

    Raises:
        InvalidError: both are given, or one isn't of `size` codes.

    >>> [block.sum(axis=1).tolist() for block in draws(4, 3)]
    [[4.0, 4.0, 4.0]]
    """
    if strata is not None and groups is not None:
        raise InvalidError("groups", "strata and groups", "one of the two")
    for name, codes in (("strata", strata), ("groups", groups)):
        if codes is not None and codes.size != size:
            raise InvalidError(name, f"{codes.size} codes", f"a code for each of the {size} units")
    generator = np.random.default_rng(seed)
    if groups is not None:
        _, members = np.unique(groups, return_inverse=True)
        for block in draws(int(members.max(initial=-1)) + 1, resamples, seed=seed):
            for rows in _cut(block.shape[0], size):
                yield np.take(block[rows], members, axis=1)
        return
    draw = _simple(size) if strata is None else _stratified(strata)
    for rows in _cut(resamples, size):
        yield draw(generator, rows.stop - rows.start)


def resampled(
    statistics: Sequence[Statistic],
    resamples: int = 1_000,
    *,
    strata: Array | None = None,
    groups: Array | None = None,
    seed: int = 0,
) -> Array:
    """Each statistic (a column) on each resample (a row); all see the same draws, so differences are paired.

    Raises:
        InvalidError: the statistics have different numbers of units, or there are no resamples.
    """
    if resamples < 1:
        raise InvalidError("resamples", resamples, "at least 1")
    size = _size(statistics)
    blocks = draws(size, resamples, strata=strata, groups=groups, seed=seed)
    return np.concatenate([_values(statistics, counts) for counts in blocks])


def jackknife(statistics: Sequence[Statistic], *, groups: Array | None = None, seed: int = 0) -> Array:
    """Each statistic (a column) with one part of the units left out (a row).

    A part is a unit, or a group; from 200 on random blocks of them, which leaves the acceleration the same
    (cumulants of sums add) and takes 200 evaluations at the most.
    """
    size = _size(statistics)
    members = np.arange(size) if groups is None else np.unique(groups, return_inverse=True)[1]
    parts = int(members.max(initial=-1)) + 1
    if parts > _MOST_LEFT_OUT:
        members = np.random.default_rng(seed).permutation(parts)[members] % _MOST_LEFT_OUT
        parts = _MOST_LEFT_OUT
    rows = [np.arange(cut.start, cut.stop) for cut in _cut(parts, size)]
    return np.concatenate([_values(statistics, (members[None] != left[:, None]).astype(np.float64)) for left in rows])


def _values(statistics: Sequence[Statistic], counts: Array) -> Array:
    return np.column_stack([statistic(counts) for statistic in statistics])


def _size(statistics: Sequence[Statistic]) -> int:
    sizes = {statistic.size for statistic in statistics}
    if len(sizes) != 1:
        raise InvalidError("statistics", f"of {sorted(sizes)} units", "statistics of the same units")
    return sizes.pop()


def _cut(rows: int, size: int) -> Iterator[slice]:
    """Rows in blocks that stay small."""
    step = max(1, _BLOCK // max(size, 1))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


def _counted(positions: Array, size: int) -> Array:
    """How often each position stands in each row."""
    rows = positions.shape[0]
    if rows > 1:
        positions = positions + np.arange(rows, dtype=np.int64)[:, None] * size
    return np.bincount(positions.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)


def _simple(size: int) -> Any:
    return lambda generator, rows: _counted(generator.integers(0, size, (rows, size)), size)


def _stratified(strata: Array) -> Any:
    order = np.argsort(strata, kind="stable")
    _, starts, sizes = np.unique(strata[order], return_index=True, return_counts=True)
    start, extent = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    size = strata.size

    def draw(generator: np.random.Generator, rows: int) -> Array:
        positions = start + (generator.random((rows, size)) * extent).astype(np.int64)
        counts = np.empty((rows, size))
        counts[:, order] = _counted(positions, size)
        return counts

    return draw

"""The algebraic folds over arrays: the state of a tile at each of its events, states resumed, and states merged.

The arithmetic is that of `folds`, in the same order. Sums of integers are exact in any order, and take shortcuts.
"""

from __future__ import annotations

import numpy as np

from mainspring.features.aggregation.chains import Array, Arrays, Combine, Runs, fold_runs
from mainspring.features.aggregation.folds import Greatest, Least, add, chan, welford

_LOW = 0xFFFF_FFFF


def _chan(earlier: Arrays, later: Arrays) -> Arrays:
    """`chan` of arrays, operation by operation; most of them in place, as a merge is bound by memory."""
    count, delta = earlier[0] + later[0], later[1] - earlier[1]
    mean = delta * later[0]
    mean /= count
    mean += earlier[1]
    delta *= delta
    both = earlier[0] * later[0]
    delta *= both
    delta /= count
    squares = np.add(earlier[2], later[2], out=both)
    squares += delta
    return count, mean, squares


class GroupedRuns:
    """Runs [first, behind) of tiles; those in [first, singles) are merged group by group, the others one by one.

    `group_of` gives each tile's group, `first_of_group` its first tile; of a group in [first, singles) a run has all tiles, but
    of its first group perhaps only the last ones. No run is empty.
    """

    def __init__(self, first: Array, singles: Array, behind: Array, group_of: Array, first_of_group: Array) -> None:
        self.first, self.whole = first, Runs(first, behind - first)
        self.groups = Runs(first_of_group, np.diff(first_of_group, append=len(group_of)))
        self.has_groups = singles > first
        own = group_of[first]
        begins, self.beginning = np.unique(first[self.has_groups], return_inverse=True)
        ends = self.groups.start + self.groups.length
        self.beginnings = Runs(begins, ends[group_of[begins]] - begins)
        self.others = Runs(own + 1, np.where(self.has_groups, group_of[np.maximum(singles, first + 1) - 1] - own, 0))
        rest = np.where(self.has_groups, singles, first + 1)
        self.rest = Runs(rest, behind - rest)


class VectorFold:
    """A fold whose states are tuples of arrays, one item for each event, run or row."""

    step: Combine
    merge: Combine

    def first(self, values: Array) -> Arrays:
        """The states of one value each."""
        return (values,)

    def running(self, values: Array, tiles: Runs) -> Arrays:
        """The state at each event: of the events of its tile up to it; the tiles cover the events in order."""
        states = tuple(np.array(array) for array in self.first(values))
        begin = tuple(array[tiles.start] for array in states)
        fold_runs(self.step, begin, (values,), tiles.rest, keep=states)
        return states

    def resumed(self, states: Arrays, last: Array, values: Array, runs: Runs) -> Arrays:
        """The states at the events `last` (none where negative), with the runs of values behind them."""
        fresh = last < 0
        firsts = self.first(values[runs.start])
        begin = tuple(np.where(fresh, one, state[last]) for one, state in zip(firsts, states, strict=True))
        return fold_runs(self.step, begin, (values,), Runs(runs.start + fresh, runs.length - fresh))

    def merged(self, states: Arrays, runs: Runs) -> Arrays:
        """The states of runs of states, merged in order; no run is empty."""
        return fold_runs(self.merge, tuple(state[runs.start] for state in states), states, runs.rest)

    def merged_by_groups(self, states: Arrays, runs: GroupedRuns) -> Arrays:
        """The states of runs of tiles' states, in the order of merging that the online state has."""
        begin = tuple(state[runs.first] for state in states)
        if runs.has_groups.any():
            beginnings = self.merged(states, runs.beginnings)
            for state, beginning in zip(begin, beginnings, strict=True):
                state[runs.has_groups] = beginning[runs.beginning]
            begin = fold_runs(self.merge, begin, self.merged(states, runs.groups), runs.others)
        return fold_runs(self.merge, begin, states, runs.rest)


class FloatSums(VectorFold):
    """Sums of floats."""

    step = merge = Combine(add, add)


class MomentStates(VectorFold):
    """Count, mean and sum of squared deviations of floats."""

    step = Combine(lambda state, item: welford(state, item[0]), lambda state, item: welford(state, item[0]))
    merge = Combine(_chan, chan)

    def first(self, values: Array) -> Arrays:
        return np.ones(len(values)), values, np.zeros(len(values))


class Extremes(VectorFold):
    """The least or the greatest of numbers; NaN only if all are."""

    def __init__(self, fold: Least, floats: bool) -> None:
        greatest = isinstance(fold, Greatest)
        # np.maximum is quicker than np.fmax, and there is no NaN among integers.
        choose = (np.fmax if greatest else np.fmin) if floats else (np.maximum if greatest else np.minimum)
        self.step = self.merge = Combine(
            lambda state, item: (choose(state[0], item[0]),), lambda state, item: (fold.merge(state[0], item[0]),)
        )


class Totals(VectorFold):
    """Sums of integers that stay within 64 bits."""

    def running(self, values: Array, tiles: Runs) -> Arrays:
        return tuple(_running_sum(array, tiles) for array in self.first(values))

    def resumed(self, states: Arrays, last: Array, values: Array, runs: Runs) -> Arrays:
        firsts = self.first(values)
        return tuple(
            np.where(last < 0, 0, state[last]) + _run_sum(array, runs)
            for state, array in zip(states, firsts, strict=True)
        )

    def merged(self, states: Arrays, runs: Runs) -> Arrays:
        return tuple(_run_sum(state, runs) for state in states)

    def merged_by_groups(self, states: Arrays, runs: GroupedRuns) -> Arrays:
        return self.merged(states, runs.whole)


class Ones(Totals):
    """Counts: every value is one."""

    def first(self, values: Array) -> Arrays:
        return (np.ones(len(values), np.int64),)


class WideTotals(Totals):
    """Sums of integers that may leave 64 bits on their way: upper and lower halves are summed apart."""

    def first(self, values: Array) -> Arrays:
        return (values >> 32).astype(np.int64), (values & _LOW).astype(np.int64)


def halves(states: Arrays) -> tuple[Array, Array]:
    """The sums' values modulo 2**64, and whether each lies within a signed 64-bit integer."""
    if len(states) == 1:
        return states[0], np.ones(len(states[0]), bool)
    high = states[0] + (states[1] >> 32)
    fits = (high >= -(2**31)) & (high < 2**31)
    return (np.where(fits, high, 0) << 32) | (states[1] & _LOW), fits


def _run_sum(values: Array, runs: Runs) -> Array:
    """Sums of runs as differences of one running sum: exact for integers, whatever wraps on the way."""
    total = np.concatenate([np.zeros(1, np.int64), np.cumsum(values, dtype=np.int64)])
    sums: Array = total[runs.start + runs.length] - total[runs.start]
    return sums


def _running_sum(values: Array, runs: Runs) -> Array:
    total = np.cumsum(values, dtype=np.int64)
    return total - np.repeat(total[runs.start] - values[runs.start], runs.length)

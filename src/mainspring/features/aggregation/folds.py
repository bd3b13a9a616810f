"""The arithmetic of aggregates, one value at a time: partial states that are updated in order and merged in order.

It is the definition: the backfill gives the same bits. A state stands for one value at least, so that nothing is
merged with nothing; states are plain values which msgpack keeps as they are. Nulls never reach a fold unless it says so.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import msgspec

State = Any
_LOW = 0xFFFF_FFFF


def welford(state: tuple[Any, Any, Any], value: Any) -> tuple[Any, Any, Any]:
    """Count, mean and sum of squared deviations with one more value (Welford 1962); of floats or of arrays of them."""
    count, mean, squares = state
    count = count + 1.0
    delta = value - mean
    mean = mean + delta / count
    return count, mean, squares + delta * (value - mean)


def chan(earlier: tuple[Any, Any, Any], later: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """The state of two groups of values (Chan, Golub and LeVeque 1979); of floats or of arrays of them."""
    count = earlier[0] + later[0]
    delta = later[1] - earlier[1]
    mean = earlier[1] + delta * later[0] / count
    return count, mean, (earlier[2] + later[2]) + delta * delta * (earlier[0] * later[0]) / count


def add(earlier: tuple[Any], later: tuple[Any]) -> tuple[Any]:
    """The sum of two; of numbers or of arrays of them."""
    return (earlier[0] + later[0],)


class Fold(msgspec.Struct, frozen=True):
    """One way to sum up the values of a column; `skips_nulls` says whether nulls are left out.

    `first` begins a state with a value, `update` adds the next value in order, `merge` adds the state of later values.
    Both may change the state on the left and give the result; `own` gives one that may be changed.
    """

    skips_nulls: bool = True

    def first(self, value: Any) -> State:
        """The state of one value."""
        return value

    def update(self, state: State, value: Any) -> State:
        """The state with one more value, which is the newest."""
        return self.merge(state, self.first(value))

    def merge(self, earlier: State, later: State) -> State:  # noqa: ARG002  # each fold has its own
        """The state of both."""
        return later

    def of(self, values: Sequence[Any]) -> State:
        """The state of several values in order, one at least: the bits of `first` and `update`."""
        each = iter(values)
        return reduce(self.update, each, self.first(next(each)))

    def own(self, state: State) -> State:
        """A state that can be changed while this one stays."""
        return state

    def joined(self, earlier: State | None, later: State | None) -> State | None:
        """The state of both, of which None is nothing; the earlier one may be changed, the later one stays."""
        if later is None:
            return earlier
        return self.own(later) if earlier is None else self.merge(earlier, later)


class Count(Fold, frozen=True):
    """How many values."""

    def first(self, value: Any) -> State:  # noqa: ARG002  # counts need no value
        return 1

    def merge(self, earlier: State, later: State) -> State:
        return earlier + later

    def of(self, values: Sequence[Any]) -> State:
        return len(values)


class IntegerSum(Fold, frozen=True):
    """The exact sum of 64-bit integers, as the sums of their upper and their lower 32 bits, which can't overflow."""

    def first(self, value: Any) -> State:
        return value >> 32, value & _LOW

    def merge(self, earlier: State, later: State) -> State:
        return earlier[0] + later[0], earlier[1] + later[1]


class FloatSum(Fold, frozen=True):
    """Count and sum of floats, added one after the other."""

    def first(self, value: Any) -> State:
        return 1, float(value)

    def merge(self, earlier: State, later: State) -> State:
        return earlier[0] + later[0], *add(earlier[1:], later[1:])

    def of(self, values: Sequence[Any]) -> State:
        return len(values), reduce(operator.add, map(float, values))  # sum() compensates since Python 3.12


class Moments(Fold, frozen=True):
    """Count, mean and sum of squared deviations."""

    def first(self, value: Any) -> State:
        return 1.0, float(value), 0.0

    def update(self, state: State, value: Any) -> State:
        return welford(state, float(value))

    def merge(self, earlier: State, later: State) -> State:
        return chan(earlier, later)


class Least(Fold, frozen=True):
    """The least value; NaN only if there is nothing else."""

    def merge(self, earlier: State, later: State) -> State:
        return later if later < earlier or earlier != earlier else earlier


class Greatest(Least, frozen=True):
    """The greatest value; NaN only if there is nothing else."""

    def merge(self, earlier: State, later: State) -> State:
        return later if later > earlier or earlier != earlier else earlier


class Tally(Fold, frozen=True):
    """How often each value occurs; NaN is one value, kept as None."""

    def first(self, value: Any) -> State:
        return {None if value != value else value: 1}

    def merge(self, earlier: State, later: State) -> State:
        for value, count in later.items():
            earlier[value] = earlier.get(value, 0) + count
        return earlier

    def own(self, state: State) -> State:
        return dict(state)


class Newest(Fold, frozen=True):
    """The values of the newest `n` events, newest first."""

    n: int = 1

    def first(self, value: Any) -> State:
        return (value,)

    def merge(self, earlier: State, later: State) -> State:
        return (*later, *earlier)[: self.n]


def deviation(count: Any, squares: Any, root: Callable[[Any], Any] = math.sqrt) -> Any:
    """The sample standard deviation of two values or more."""
    return root(squares / (count - 1.0))


def tally_order(item: tuple[Any, int]) -> tuple[Any, ...]:
    """Sorts values with their counts: the most frequent first, ties by value, NaN behind all values."""
    value, count = item
    return -count, value is None, 0 if value is None else value

"""Left folds of many runs of values at once: the next value of every run, step by step.

A sum in this order has the bits of a plain loop; NumPy's and Polars' own sums go in pairs and don't.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import accumulate, islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Arrays = tuple[Array, ...]

_BLOCK = 8_192  # runs that go together: what a step touches stays in the cache
_FEW = 48  # below so many runs a step of NumPy costs more than plain Python's floats
_SLICE = 65_536  # values of a long run that are Python objects at a time


class Combine(NamedTuple):
    """How a state takes an item: of tuples of arrays, and of tuples of Python's numbers."""

    arrays: Callable[[Any, Any], Any]
    numbers: Callable[[Any, Any], Any]


class Runs:
    """Runs of neighbouring items: [start, start + length) each; arranged once, folded in many ways."""

    def __init__(self, start: Array, length: Array) -> None:
        self.start, self.length = start, length

    @cached_property
    def rest(self) -> Runs:
        """The same without their first items."""
        return Runs(self.start + 1, self.length - 1)

    @cached_property
    def blocks(self) -> list[_Block]:
        """Blocks of runs, within each the longest first."""
        found = []
        for first in range(0, len(self.start), _BLOCK):
            part = slice(first, first + _BLOCK)
            length = self.length[part]
            longest = int(length.max(initial=0))
            # NumPy sorts 8 and 16 bits by radix, ten times faster.
            shorter = (longest - length).astype(np.min_scalar_type(longest))
            by = np.argsort(shorter, kind="stable")
            alive = len(length) - np.cumsum(np.bincount(length, minlength=longest + 1))
            found.append(_Block(part, by, self.start[part][by], length[by], alive.tolist()))
        return found


class _Block(NamedTuple):
    """Runs that are folded together: `alive[k]` of them, the first ones, are longer than k."""

    part: slice
    by: Array
    start: Array
    length: Array
    alive: list[int]


def fold_runs(combine: Combine, begin: Arrays, items: Arrays, runs: Runs, keep: Arrays = ()) -> Arrays:
    """Fold the items of each run onto its state in `begin`, in order and in place; `keep` gets the state at each item."""
    for block in runs.blocks:
        if block.alive[0]:
            _fold_block(combine, tuple(array[block.part] for array in begin), items, block, keep)
    return begin


def _fold_block(combine: Combine, out: Arrays, items: Arrays, block: _Block, keep: Arrays) -> None:
    longest, step = len(block.alive) - 1, 0
    state = tuple(array[block.by[: block.alive[0]]] for array in out)
    places = block.start[: block.alive[0]].copy()
    while step < longest and (block.alive[step] > _FEW or longest - step < _FEW):
        alive = block.alive[step]
        index = places[:alive]
        held = tuple(array[:alive] for array in state)
        for array, kept, new in zip(
            held, keep or held, combine.arrays(held, tuple(item.take(index) for item in items)), strict=True
        ):
            array[:] = new
            if keep:
                kept[index] = new
        index += 1
        step += 1
    if step < longest:
        for run in range(block.alive[step]):
            first = int(block.start[run])
            alone = tuple(array[run : run + 1] for array in state)
            _fold_alone(combine, alone, items, first + step, first + int(block.length[run]), keep)
    for array, new in zip(out, state, strict=True):
        array[block.by[: block.alive[0]]] = new


def _fold_alone(combine: Combine, state: Arrays, items: Arrays, first: int, last: int, keep: Arrays) -> None:
    """One long run, in Python's numbers, which have the same arithmetic."""
    held: Any = tuple(array[0].item() for array in state)
    for low in range(first, last, _SLICE):
        part = slice(low, min(low + _SLICE, last))
        states = accumulate(zip(*(item[part].tolist() for item in items), strict=True), combine.numbers, initial=held)
        if keep:
            several = list(islice(states, 1, None))
            held = several[-1]
            for kept, column in zip(keep, zip(*several, strict=True), strict=True):
                kept[part] = column
        else:
            for held in states:  # noqa: B007  # the last one is wanted
                pass
    for array, value in zip(state, held, strict=True):
        array[0] = value


def expanded(start: Array, length: Array) -> tuple[Array, Array]:
    """The members of runs one behind the other: which run, and its index.

    >>> expanded(np.array([5, 9]), np.array([2, 1]))
    (array([0, 0, 1]), array([5, 6, 9]))
    """
    run = np.repeat(np.arange(len(start)), length)
    return run, np.arange(len(run)) - np.repeat(np.cumsum(length) - length - start, length)


def chunks(cost: Array, budget: int) -> Iterator[slice]:
    """Slices of consecutive items whose costs are at most `budget` together; a dearer item is alone.

    >>> list(chunks(np.array([1, 1, 5, 1]), 2))
    [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None)]
    """
    total, first = np.cumsum(cost), 0
    while first < len(cost):
        spent = total[first - 1] if first else 0
        end = max(int(np.searchsorted(total, spent + budget, "right")), first + 1)
        yield slice(first, end)
        first = end

"""The definition of aggregates, slow and obvious: one row at a time, in plain Python."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from mainspring.features.aggregation import WindowedAggregate

GROUP = 16
Partial = Callable[[list[Any]], Any]
Merge = Callable[[Any, Any], Any]


class Event(NamedTuple):
    """One event as a source delivers it; `known` is None where nobody says when."""

    entity: Any
    id: str
    time: int
    known: int | None
    values: dict[str, Any]


def answer(feature: WindowedAggregate, events: Iterable[Event], entity: Any, at: int, guard: bool) -> Any:
    """A feature of an entity at an instant."""
    counted: dict[tuple[int, str], Event] = {}
    for event in events:
        if event.entity != entity:
            continue
        other = counted.get((event.time, event.id))
        if other is None or known(event) < known(other):
            counted[event.time, event.id] = event
    tail = math.floor((at - feature.window_us) / feature.hop_us) * feature.hop_us
    seen = [
        counted[key] for key in sorted(counted)
        if tail <= counted[key].time <= at and not (guard and known(counted[key]) > at)
    ]  # fmt: skip
    aggregate = feature.aggregate
    tiles: dict[int, list[Any]] = {}
    for event in seen:
        value = event.values[aggregate.column] if aggregate.column else True
        if value is not None or not aggregate.skip_nulls:
            tiles.setdefault(event.time // feature.hop_us, []).append(value)
    order = sorted(tiles)
    head = at // feature.hop_us // GROUP
    groups: dict[tuple[int, int], list[list[Any]]] = {}
    for number in order:
        alone = number if number // GROUP == head else 0
        groups.setdefault((number // GROUP, alone), []).append(tiles[number])
    return RESULTS[aggregate.kind](aggregate, list(groups.values()))


def known(event: Event) -> int:
    return -(2**63) if event.known is None else event.known


def merged(groups: list[list[list[Any]]], partial: Partial, merge: Merge) -> Any:
    """The tiles of each group one after the other, then the groups."""
    whole = None
    for group in groups:
        state = None
        for tile in group:
            state = partial(tile) if state is None else merge(state, partial(tile))
        whole = state if whole is None else merge(whole, state)
    return whole


def added(tile: list[Any]) -> float:
    partial = float(tile[0]) + 0.0
    for value in tile[1:]:
        partial = partial + float(value)
    return partial


def flat(groups: list[list[list[Any]]]) -> list[Any]:
    return [value for group in groups for tile in group for value in tile]


def summed(_aggregate: Any, groups: list[list[list[Any]]]) -> Any:
    if not groups:
        return None
    if isinstance(groups[0][0][0], float):
        return merged(groups, added, lambda one, other: one + other)
    return sum(flat(groups))


def averaged(_aggregate: Any, groups: list[list[list[Any]]]) -> Any:
    return merged(groups, added, lambda one, other: one + other) / len(flat(groups)) if groups else None


def moments(tile: list[Any]) -> tuple[float, float, float]:
    n, mean, squares = 1.0, float(tile[0]) + 0.0, 0.0
    for value in map(float, tile[1:]):
        n += 1.0
        delta = value - mean
        mean += delta / n
        squares += delta * (value - mean)
    return n, mean, squares


def joined(one: tuple[float, float, float], other: tuple[float, float, float]) -> tuple[float, float, float]:
    n, mean, squares = one
    more, their_mean, their_squares = other
    both = n + more
    delta = their_mean - mean
    return both, mean + delta * more / both, (squares + their_squares) + delta * delta * (n * more) / both


def deviation(_aggregate: Any, groups: list[list[list[Any]]]) -> Any:
    if len(flat(groups)) < 2:
        return None
    n, _, squares = merged(groups, moments, joined)
    return math.sqrt(squares / (n - 1.0)) if squares >= 0 else math.nan


def extreme(choose: Callable[[Any], Any]) -> Callable[[Any, list[list[list[Any]]]], Any]:
    def chosen(_aggregate: Any, groups: list[list[list[Any]]]) -> Any:
        values = flat(groups)
        numbers = [value for value in values if value == value]
        return choose(numbers) if numbers else values[0] if values else None

    return chosen


def newest(aggregate: Any, groups: list[list[list[Any]]]) -> Any:
    values = flat(groups)[::-1]
    return values[: aggregate.k] if aggregate.k else values[0] if values else None


def different(_aggregate: Any, groups: list[list[list[Any]]]) -> int:
    return len({"NaN" if value != value else value for value in flat(groups)})


def top(aggregate: Any, groups: list[list[list[Any]]]) -> list[Any]:
    values = flat(groups)
    numbers = [value for value in values if value == value]
    if aggregate.by == "value":
        return sorted(numbers, reverse=True)[: aggregate.k]
    counts = [(-numbers.count(value), False, value) for value in set(numbers)]
    odd = len(values) - len(numbers)
    if odd:
        counts.append((-odd, True, math.nan))
    return [value for _, _, value in sorted(counts, key=lambda item: item[:2] if item[1] else item)][: aggregate.k]


RESULTS: dict[str, Callable[[Any, list[list[list[Any]]]], Any]] = {
    "count": lambda _aggregate, groups: len(flat(groups)), "sum": summed, "mean": averaged, "std": deviation,
    "min": extreme(min), "max": extreme(max), "last": newest, "distinct": different, "top_k": top,
}  # fmt: skip


def bits(value: Any) -> Any:
    """A value such that equal means equal to the bit; there is one NaN, and −0.0 has become 0.0 on the way in."""
    if isinstance(value, list):
        return [bits(one) for one in value]
    if isinstance(value, float):
        return "NaN" if value != value else struct.pack(">d", value + 0.0 if value == 0 else value)
    return type(value).__name__, value

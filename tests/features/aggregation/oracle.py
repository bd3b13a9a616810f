"""The definition of aggregates, slow and obvious: one row at a time, in plain Python."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from mainspring.features.aggregation import WindowedAggregate


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
    return RESULTS[aggregate.kind](aggregate, [tiles[number] for number in sorted(tiles)])


def known(event: Event) -> int:
    return -(2**63) if event.known is None else event.known


def total(tiles: list[list[float]]) -> float:
    sums = []
    for tile in tiles:
        partial = float(tile[0]) + 0.0
        for value in tile[1:]:
            partial = partial + float(value)
        sums.append(partial)
    whole = sums[0]
    for partial in sums[1:]:
        whole = whole + partial
    return whole


def summed(_aggregate: Any, tiles: list[list[Any]]) -> Any:
    if not tiles:
        return None
    if isinstance(tiles[0][0], float):
        return total(tiles)
    return sum(value for tile in tiles for value in tile)


def averaged(_aggregate: Any, tiles: list[list[Any]]) -> Any:
    return total(tiles) / sum(map(len, tiles)) if tiles else None


def deviation(_aggregate: Any, tiles: list[list[Any]]) -> Any:
    if sum(map(len, tiles)) < 2:
        return None
    partials = []
    for tile in tiles:
        n, mean, squares = 1.0, float(tile[0]) + 0.0, 0.0
        for value in map(float, tile[1:]):
            n += 1.0
            delta = value - mean
            mean += delta / n
            squares += delta * (value - mean)
        partials.append((n, mean, squares))
    n, mean, squares = partials[0]
    for more, other, their in partials[1:]:
        both = n + more
        delta = other - mean
        squares = (squares + their) + delta * delta * (n * more) / both
        mean = mean + delta * more / both
        n = both
    return math.sqrt(squares / (n - 1.0)) if squares >= 0 else math.nan


def extreme(choose: Callable[[Any], Any]) -> Callable[[Any, list[list[Any]]], Any]:
    def chosen(_aggregate: Any, tiles: list[list[Any]]) -> Any:
        values = [value for tile in tiles for value in tile]
        numbers = [value for value in values if value == value]
        return choose(numbers) if numbers else values[0] if values else None

    return chosen


def newest(aggregate: Any, tiles: list[list[Any]]) -> Any:
    values = [value for tile in tiles for value in tile][::-1]
    return values[: aggregate.k] if aggregate.k else values[0] if values else None


def different(_aggregate: Any, tiles: list[list[Any]]) -> int:
    return len({"NaN" if value != value else value for tile in tiles for value in tile})


def top(aggregate: Any, tiles: list[list[Any]]) -> list[Any]:
    values = [value for tile in tiles for value in tile]
    numbers = [value for value in values if value == value]
    if aggregate.by == "value":
        return sorted(numbers, reverse=True)[: aggregate.k]
    counts = [(-numbers.count(value), False, value) for value in set(numbers)]
    odd = len(values) - len(numbers)
    if odd:
        counts.append((-odd, True, math.nan))
    return [value for _, _, value in sorted(counts, key=lambda item: item[:2] if item[1] else item)][: aggregate.k]


RESULTS: dict[str, Callable[[Any, list[list[Any]]], Any]] = {
    "count": lambda _aggregate, tiles: sum(map(len, tiles)), "sum": summed, "mean": averaged, "std": deviation,
    "min": extreme(min), "max": extreme(max), "last": newest, "distinct": different, "top_k": top,
}  # fmt: skip


def bits(value: Any) -> Any:
    """A value such that equal means equal to the bit; there is one NaN, and −0.0 has become 0.0 on the way in."""
    if isinstance(value, list):
        return [bits(one) for one in value]
    if isinstance(value, float):
        return "NaN" if value != value else struct.pack(">d", value + 0.0 if value == 0 else value)
    return type(value).__name__, value

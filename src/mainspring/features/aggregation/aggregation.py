"""Aggregates held to the types of their columns: which folds they need, per hop, and what comes out of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from mainspring.errors import ExistsError, InvalidError, NotFoundError, close_names
from mainspring.features.aggregation.aggregate import Aggregate, Kind, WindowedAggregate
from mainspring.features.aggregation.folds import (
    Count,
    FloatSum,
    Fold,
    Greatest,
    IntegerSum,
    Least,
    Moments,
    Newest,
    State,
    Tally,
    deviation,
    tally_order,
)
from mainspring.features.aggregation.values import Family, Plain, ValueType, value_type

_EXACT: tuple[Family, ...] = ("int", "bool", "decimal", "duration")
_NUMBERS: tuple[Family, ...] = ("int", "bool", "decimal", "float")
_ORDERED: tuple[Family, ...] = ("int", "bool", "decimal", "float", "duration", "date", "datetime", "text", "bytes")
_TAKEN: dict[Kind, tuple[Family, ...]] = {
    "sum": (*_EXACT, "float"), "mean": _NUMBERS, "std": _NUMBERS, "min": _ORDERED, "max": _ORDERED,
    "distinct": _ORDERED, "last": _ORDERED, "top_k": _ORDERED,
}  # fmt: skip
ROWS = ""


class FoldUse(msgspec.Struct, frozen=True):
    """A fold of one column, `of_floats` if it takes numbers of any kind as floats.

    An empty column stands for the events themselves.
    """

    column: str
    fold: Fold
    type: ValueType
    of_floats: bool = False

    def folded(self, state: State | None, value: Plain) -> State | None:
        """The state with the value of one more event, which is the newest."""
        if value is None and self.fold.skips_nulls:
            return state
        if self.of_floats:
            value = self.type.number(float(value))  # type: ignore[arg-type]  # numbers, as the kinds are held to types
        return self.fold.first(value) if state is None else self.fold.update(state, value)

    def state(self, values: Iterable[Plain]) -> State | None:
        """The state of the values of events in order; as `folded` one by one."""
        kept = [value for value in values if value is not None] if self.fold.skips_nulls else list(values)
        if self.of_floats:
            kept = [self.type.number(float(value)) for value in kept]  # type: ignore[arg-type]  # held to numbers by their types
        return self.fold.of(kept) if kept else None


class Feature(msgspec.Struct, frozen=True):
    """One feature: its declaration, the fold that it is read from (by place in its hop), and its result's type.

    `item` is the type of the result, or of the values in it if that is a list.
    """

    declared: WindowedAggregate
    use: FoldUse
    place: int
    type: ValueType
    item: ValueType
    result_type: str

    @property
    def name(self) -> str:
        """The feature's name."""
        return self.declared.name

    @property
    def kind(self) -> Kind:
        """The kind of aggregate."""
        return self.declared.aggregate.kind

    def result(self, state: State | None) -> Any:
        """The plain result of a window's state; None is no event."""
        aggregate = self.declared.aggregate
        if state is None:
            return 0 if self.kind in ("count", "distinct") else [] if aggregate.k else None
        return _RESULTS[self.kind](self, state)

    def python(self, result: Any) -> object:
        """The Python value of a plain result."""
        return [self.item.python(one) for one in result] if isinstance(result, list) else self.item.python(result)

    def overflow(self, total: object) -> InvalidError:
        """What is raised where a sum can't be held."""
        return InvalidError(f"{self.name}: the sum of `{self.use.column}`", total, "an integer of 64 bits")


class Hop(msgspec.Struct, frozen=True):
    """What is kept in the tiles of one length: the columns, and the folds, each with its column's place (−1: events)."""

    hop_us: int
    uses: tuple[FoldUse, ...]
    columns: tuple[str, ...]
    places: tuple[int, ...]
    features: tuple[Feature, ...]
    longest_us: int


class Aggregation(msgspec.Struct, frozen=True):
    """Aggregates with the types of their columns; backfill and online states are made of it."""

    hops: tuple[Hop, ...]
    names: tuple[str, ...]
    types: dict[str, ValueType]

    @property
    def result_types(self) -> dict[str, str]:
        """The type of each feature, in the words of schemas."""
        by_name = {feature.name: feature.result_type for hop in self.hops for feature in hop.features}
        return {name: by_name[name] for name in self.names}

    def plain(self, values: Mapping[str, object]) -> dict[str, Plain]:
        """An event's values as they are folded; a column that it lacks is null.

        Raises:
            WrongTypeError: a value is of another type than its column.
            InvalidError: a value is beyond its column's type.
        """
        return {column: kind.plain(values.get(column), column) for column, kind in self.types.items()}


def aggregation(aggregates: Iterable[Aggregate], types: Mapping[str, str]) -> Aggregation:
    """Hold aggregates to the columns' types, named as schemas name them (`i64`, `datetime[us, UTC]`).

    Raises:
        NotFoundError: there is no such column.
        InvalidError: the kind takes no values of the column's type.
        ExistsError: two features have the same name.
    """
    windowed = [feature for aggregate in aggregates for feature in aggregate.features()]
    names: list[str] = []
    for feature in windowed:
        if feature.name in names:
            raise ExistsError("feature", feature.name, "Give one of them another name: .named(…)")
        names.append(feature.name)
    columns = {column: _checked(feature, types) for feature in windowed if (column := feature.aggregate.column)}
    by_hop: dict[int, list[WindowedAggregate]] = {}
    for feature in windowed:
        _checked(feature, types)
        by_hop.setdefault(feature.hop_us, []).append(feature)
    hops = tuple(_hop(hop_us, by_hop[hop_us], columns) for hop_us in sorted(by_hop))
    return Aggregation(hops, tuple(names), columns)


def _checked(feature: WindowedAggregate, types: Mapping[str, str]) -> ValueType:
    """The type of a feature's column, if its kind takes such values."""
    aggregate = feature.aggregate
    if not aggregate.column:
        return value_type(ROWS)
    if aggregate.column not in types:
        raise NotFoundError("column", aggregate.column, close_names(aggregate.column, types), owner=feature.name)
    found = value_type(types[aggregate.column])
    taken = _TAKEN.get(aggregate.kind)
    if taken is not None and found.family not in taken:
        hint = "Durations become numbers by dt.total_seconds()." if found.family == "duration" else ""
        path = f"{feature.name}: the type of `{aggregate.column}`"
        raise InvalidError(path, found.name, f"one that `{aggregate.kind}` takes ({', '.join(taken)})", hint)
    return found


def _hop(hop_us: int, windowed: Sequence[WindowedAggregate], types: Mapping[str, ValueType]) -> Hop:
    uses: dict[FoldUse, int] = {}
    features = []
    for feature in windowed:
        found = types.get(feature.aggregate.column, value_type(ROWS))
        fold = _fold(feature.aggregate, found)
        use = FoldUse(feature.aggregate.column, fold, found, isinstance(fold, FloatSum | Moments))
        place = uses.setdefault(use, len(uses))
        told = _result_type(feature.aggregate, found)
        item = found if feature.aggregate.k else value_type(told)
        features.append(Feature(feature, use, place, found, item, told))
    columns = tuple(dict.fromkeys(use.column for use in uses if use.column))
    places = tuple(columns.index(use.column) if use.column else -1 for use in uses)
    return Hop(hop_us, tuple(uses), columns, places, tuple(features), max(feature.window_us for feature in windowed))


def _fold(aggregate: Aggregate, values: ValueType) -> Fold:
    match aggregate.kind:
        case "count":
            return Count(skips_nulls=bool(aggregate.column))
        case "sum":
            return IntegerSum() if values.family in _EXACT else FloatSum()
        case "mean":
            return FloatSum()
        case "std":
            return Moments()
        case "min":
            return Least()
        case "max":
            return Greatest()
        case "last":
            return Newest(aggregate.skip_nulls, max(aggregate.k, 1))
        case _:
            return Tally()


def _result_type(aggregate: Aggregate, values: ValueType) -> str:
    if aggregate.kind in ("count", "distinct"):
        return "i64"
    if aggregate.kind in ("mean", "std"):
        return "f64"
    if aggregate.kind == "sum":
        if values.family == "decimal":
            return f"decimal[38, {values.scale}]"
        return values.name if values.family == "duration" else "f64" if values.family == "float" else "i64"
    return f"list[{values.name}]" if aggregate.k else values.name


def _sum(feature: Feature, state: State) -> Plain:
    if isinstance(feature.use.fold, FloatSum):
        return float(state[1])
    total: int = (state[0] << 32) + state[1]
    if not -(2**63) <= total < 2**63:
        raise feature.overflow(total)
    return total


def _std(_feature: Feature, state: State) -> Plain:
    count, _, squares = state
    if count < 2:
        return None
    # Infinities leave a negative or no sum of squares.
    return float(deviation(count, squares)) if squares >= 0 else math.nan


def _top(feature: Feature, state: State) -> list[Plain]:
    k = feature.declared.aggregate.k
    if feature.declared.aggregate.by == "count":
        return [math.nan if value is None else value for value, _ in sorted(state.items(), key=tally_order)[:k]]
    largest: list[Plain] = []
    for value in sorted((value for value in state if value is not None), reverse=True):
        largest += [value] * min(state[value], k - len(largest))
        if len(largest) == k:
            break
    return largest


_RESULTS: dict[Kind, Callable[[Feature, State], Any]] = {
    "count": lambda _feature, state: state,
    "sum": _sum,
    "mean": lambda _feature, state: state[1] / state[0],
    "std": _std,
    "min": lambda _feature, state: state,
    "max": lambda _feature, state: state,
    "distinct": lambda _feature, state: len(state),
    "last": lambda feature, state: list(state) if feature.declared.aggregate.k else state[0],
    "top_k": _top,
}

"""Histories of events as they go wrong: ties, repetitions, late ones, nulls, NaN, infinities, instants on borders."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from mainspring.features.aggregation import Aggregate, EntityState, TileId, agg, aggregate_as_of, aggregation
from tests.features.aggregation.oracle import Event, answer, bits

HOP_US = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TYPES = {"x": "f64", "n": "i64", "name": "str", "flag": "bool"}
COLUMNS: dict[str, Any] = {"x": pl.Float64, "n": pl.Int64, "name": pl.String, "flag": pl.Boolean}
SCHEMA: dict[str, Any] = {
    "who": pl.Int32,
    "at": pl.Datetime("us"),
    "id": pl.String,
    "created": pl.Datetime("us"),
} | COLUMNS
FLOATS = (0.0, -0.0, 0.1, 0.2, 0.3, 1.0, -1.0, 3.7, 1e16, -1e16, 1e-300, 1e300, -1e308, 1.7e308, 5e-324)
ODD_FLOATS = (*FLOATS, math.nan, math.inf, -math.inf)
ALGEBRAIC: list[Aggregate] = [
    agg.count(windows=["2s", "5s"], hop="1s"),
    *(
        make(column, ["1s", "4s"], hop="1s")
        for make in (agg.sum, agg.mean, agg.std, agg.min, agg.max)
        for column in ("x", "n")
    ),
    agg.count("name", "3s", hop="1s"),
    agg.mean("flag", "6s", hop="2s"),
    agg.max("name", "3s", hop="1s"),
    agg.min("flag", "3s", hop="1s"),
    agg.std("x", "6s", hop="3s").named("coarse"),
    *(make("x", "5s", hop="100ms").named(f"fine_{make.__name__}") for make in (agg.sum, agg.std, agg.min)),
]
LISTED: list[Aggregate] = [
    *(agg.distinct(column, "4s", hop="1s") for column in ("x", "n", "name", "flag")),
    *(agg.last(column, "4s", hop="1s") for column in ("x", "name")),
    agg.last("x", "3s", n=3, hop="1s").named("newest"),
    agg.last("n", "3s", n=2, skip_nulls=False, hop="1s").named("with_nulls"),
    agg.last("n", "3s", skip_nulls=False, hop="1s").named("perhaps_null"),
    *(agg.top_k(column, "4s", k=2, hop="1s").named(f"top_{column}") for column in ("x", "name", "n")),
    agg.top_k("x", "4s", k=3, by="value", hop="1s").named("largest"),
]
SPEC = aggregation([*ALGEBRAIC, *LISTED], TYPES)
WINDOWED = [feature for aggregate in (*ALGEBRAIC, *LISTED) for feature in aggregate.features()]


def history(rng: random.Random, size: int, *, span_us: int = 8 * HOP_US, entities: int = 3) -> list[Event]:
    """Events in the order of arrival, repetitions included."""
    floats = rng.choice((FLOATS, ODD_FLOATS, (0.1, 0.2, 0.3, 7.7)))
    nulls = rng.choice((0.0, 0.2))
    lag_us = rng.choice((0, HOP_US // 2, 5 * HOP_US))
    same_lag = rng.random() < 0.3

    def value(known: Any) -> Any:
        return None if rng.random() < nulls else known

    events: list[Event] = []
    for _ in range(size):
        if events and rng.random() < 0.15:
            events.append(rng.choice(events))
            continue
        # Borders of tiles, ties, and anything.
        grain = rng.choice((HOP_US, HOP_US // 4, 1))
        time = rng.randrange(-span_us // grain // 4, span_us // grain) * grain
        known = time + (lag_us if same_lag else rng.randint(0, lag_us))
        values = {
            "x": value(rng.choice(floats)), "n": value(rng.choice((0, 1, -3, 2**40, rng.randint(-9, 9)))),
            "name": value(rng.choice("abcé")), "flag": value(rng.random() < 0.5),
        }  # fmt: skip
        event = Event(rng.randrange(entities), f"e{rng.randrange(1000)}", time, known, values)
        clash = any(event[:3] == other[:3] for other in events)
        events.append(event._replace(id=f"f{len(events)}") if clash else event)
    return events


def instants(rng: random.Random, events: Sequence[Event], count: int) -> list[int]:
    """Instants of events, a microsecond beside them, borders of tiles, and before and after everything."""
    times = [event.time for event in events] or [0]
    known = [event.known or 0 for event in events] or [0]
    chosen = [rng.choice((*times, *known)) + rng.choice((0, 0, -1, 1)) for _ in range(count - 4)]
    return [*chosen, rng.randrange(0, 9) * HOP_US, min(times) - 1, max(known) + HOP_US, max(known) + 50 * HOP_US]


def instant(time: int) -> datetime:
    return EPOCH + timedelta(microseconds=time)


def backfilled(events: Sequence[Event], rows: Sequence[tuple[Any, int]], *, guard: bool = True) -> list[dict[str, Any]]:
    """What the backfill answers."""
    source = pl.DataFrame(
        {
            "who": [event.entity for event in events],
            "at": [instant(event.time) for event in events],
            "id": [event.id for event in events],
            "created": [instant(event.known or 0) for event in events],
        }
        | {name: [event.values[name] for event in events] for name in COLUMNS},
        schema=SCHEMA,
    )
    asked = pl.DataFrame(
        {"entity": [entity for entity, _ in rows], "when": [instant(at) for _, at in rows]},
        schema={"entity": pl.Int64, "when": pl.Datetime("us", "UTC")},
    )
    columns: Any = {"keys": {"entity": "who"}, "at": "when", "event_time": "at", "event_id": "id"}
    return aggregate_as_of(asked, source, SPEC, created_time="created", guard=guard, **columns).to_dicts()


def served(
    rng: random.Random,
    events: Sequence[Event],
    rows: Sequence[tuple[Any, int]],
    *,
    guard: bool = True,
    restarts: int = 3,
) -> list[dict[str, Any]]:
    """What online states answer that took the events in any order, some of them again, and were stored and loaded."""
    arriving = [*events, *rng.sample(events, len(events) // 4)]
    # Of events that say different things about the same time and id the first known counts: they keep their order.
    rng.shuffle(arriving)
    states = {entity: EntityState(SPEC) for entity, _ in rows}
    stored: dict[Any, dict[TileId, bytes]] = {entity: {} for entity in states}
    for place, event in enumerate(arriving):
        if event.entity in states:
            states[event.entity].update(event.id, event.time, event.values, event.known)
        if restarts and place % max(len(arriving) // restarts, 1) == 0:
            restart(states, stored)
    restart(states, stored)
    return [states[entity].read(at, guard=guard) for entity, at in rows]


def restart(states: dict[Any, EntityState], stored: dict[Any, dict[TileId, bytes]]) -> None:
    for entity, state in states.items():
        for place, data in state.changes().items():
            assert data is not None
            stored[entity][TileId.of_key(place.key(b"entity"))] = data
        states[entity] = EntityState(SPEC, stored[entity])


def defined(events: Sequence[Event], rows: Sequence[tuple[Any, int]], *, guard: bool = True) -> list[dict[str, Any]]:
    """What the oracle answers."""
    return [{feature.name: answer(feature, events, entity, at, guard) for feature in WINDOWED} for entity, at in rows]


def same(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> list[tuple[int, str, Any, Any]]:
    """Where two lists of answers differ in any bit: row, feature, both values."""
    return [
        (place, name, a[name], b[name])
        for place, (a, b) in enumerate(zip(one, other, strict=True))
        for name in a
        if bits(a[name]) != bits(b[name])
    ]

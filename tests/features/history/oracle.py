"""The point-in-time join, row by row, slow and obvious; and generated histories that hold what joins go wrong on."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import polars as pl

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The hours around which Berlin's clocks were set back (a repeated hour) and forward (a missing one).
STARTS = (datetime(2013, 10, 26, 22, tzinfo=UTC), datetime(2013, 3, 30, 23, tzinfo=UTC))
HOUR = 3_600_000_000
ENTITIES = 8


class Case(NamedTuple):
    """One join: the tables, and the other arguments."""

    rows: pl.DataFrame
    history: pl.DataFrame
    arguments: dict[str, Any]


class Answer(NamedTuple):
    """What a row is answered."""

    values: tuple[Any, ...]
    event_time: Any
    status: str


def instant(value: Any) -> int:
    """A time as microseconds; a date is midnight, a naive time UTC."""
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    since: timedelta = value - EPOCH
    return since // timedelta(microseconds=1)


def plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


def answers(case: Case, *, guard: bool | None = None) -> list[Answer]:
    """What every row of a case is to get."""
    how = case.arguments if guard is None else {**case.arguments, "guard": guard}
    history = [
        (
            instant(known[how["event_time"]]),
            instant(known[how["created_time"]]) if how["created_time"] else 0,
            position,
            [plain(known[name]) for name in how["keys"].values()],
            known,
        )
        for position, known in enumerate(case.history.to_dicts())
    ]
    return [_answer(row, history, how) for row in case.rows.to_dicts()]


def _answer(
    row: dict[str, Any], history: list[tuple[int, int, int, list[Any], dict[str, Any]]], how: dict[str, Any]
) -> Answer:
    at, key = instant(row[how["at"]]), [plain(row[name]) for name in how["keys"]]
    best, found = None, None
    for event, created, position, its_key, known in history:
        if its_key != key or None in key or event > at or (how["guard"] and created > at):
            continue
        if best is None or (event, created, position) > best:
            best, found = (event, created, position), known
    nothing = (None,) * len(how["columns"])
    if best is None or found is None:
        return Answer(nothing, None, "NOT_FOUND")
    if how["ttl_us"] is not None and at - best[0] > how["ttl_us"]:
        return Answer(nothing, found[how["event_time"]], "OUTSIDE_MAX_AGE")
    return Answer(tuple(found[name] for name in how["columns"]), found[how["event_time"]], "PRESENT")


def counts(case: Case) -> dict[str, Any]:
    """What the report of a case is to say, but for the ages' quantiles."""
    with_guard, without = answers(case), answers(case, guard=False)
    present = [answer for answer in with_guard if answer.status == "PRESENT"]
    ages = [
        instant(row[case.arguments["at"]]) - instant(answer.event_time)
        for row, answer in zip(case.rows.to_dicts(), with_guard, strict=True)
        if answer.status == "PRESENT"
    ]
    changed = [new for new, old in zip(with_guard, without, strict=True) if old.status == "PRESENT" and new != old]
    return {
        "statuses": Counter(answer.status for answer in with_guard),
        "nulls": {
            name: sum(answer.values[place] is None for answer in present)
            for place, name in enumerate(case.arguments["columns"])
        },
        "ages": sorted(ages),
        "lost": sum(new.status != "PRESENT" for new in changed),
        "replaced": sum(new.status == "PRESENT" for new in changed),
    }


def case_of(seed: int) -> Case:
    """Eight histories in one table: ties, repeated rows, late rows, nulls, ages at the edge of the ttl, unknown keys."""
    random = Random(seed)
    start = instant(random.choice(STARTS))
    grain = random.choice([1, 1_000, 900_000_000])
    ttl = random.choice([None, 0, grain, 3 * grain, HOUR])
    event_type, created_type, at_type = (_time_type(random) for _ in range(3))
    events = _times([start + random.randrange(12) * grain for _ in range(random.choice([0, 3, 40, 160]))], event_type)
    lags = [random.choice([0, 0, 0, grain, 2 * grain, 24 * HOUR, -grain]) for _ in events]
    created = _times([instant(time) + lag for time, lag in zip(events, lags, strict=True)], created_type)
    keys = _keys(random)
    columns: dict[str, pl.Series] = {
        "ts": events, "created": created,
        "value": pl.Series([None if random.random() < 0.2 else number for number in range(len(events))], dtype=pl.Int32),
        "where": pl.Series([[number] if number % 3 else None for number in range(len(events))], dtype=pl.List(pl.Int16)),
    }  # fmt: skip
    named = _key_columns(random, keys, len(events), unknown=0)
    history = pl.DataFrame(columns | {f"k{place}": column for place, column in enumerate(named)})
    if random.random() < 0.3 and history.height:
        history = pl.concat([history, history.sample(fraction=0.3, seed=seed)])
    edges = [0, 0, 1, -1, (ttl or 0), (ttl or 0) + 1, 5 * grain]
    at = _times(
        [instant(random.choice(events)) + random.choice(edges) if len(events) else start for _ in range(60)], at_type
    )
    sought = _key_columns(random, keys, 60, unknown=2)
    rows = pl.DataFrame({"at": at, **{f"entity{place}": column for place, column in enumerate(sought)}})
    return Case(rows, history.sample(fraction=1, shuffle=True, seed=seed), {
        "keys": {f"entity{place}": f"k{place}" for place in range(len(keys))}, "at": "at", "event_time": "ts",
        "created_time": random.choice(["created", "created", None]), "ttl_us": ttl, "columns": ["value", "where"],
        "guard": random.random() < 0.8,
    })  # fmt: skip


def _time_type(random: Random) -> pl.DataType:
    if random.random() < 0.15:
        return pl.Date()
    zone = random.choice([None, "UTC", "Europe/Berlin", "America/New_York"])
    return pl.Datetime(random.choice(["ms", "us", "us", "ns"]), zone)


def _times(instants: list[int], kind: pl.DataType) -> pl.Series:
    return pl.Series(instants, dtype=pl.Int64).cast(pl.Datetime("us", "UTC")).cast(kind)


def _keys(random: Random) -> list[list[Any]]:
    """The values that each part of a key may have."""
    kinds: list[list[Any]] = [
        list(range(ENTITIES)), [f"user {number}" for number in range(ENTITIES)],
        [bytes([number, 0]) for number in range(ENTITIES)], [UUID(int=number) for number in range(ENTITIES)],
    ]  # fmt: skip
    return random.sample(kinds, random.choice([1, 1, 2, 3]))


def _key_columns(random: Random, keys: list[list[Any]], rows: int, unknown: int) -> list[pl.Series]:
    """A key for each row; some have a null, and some rows are of an entity that has no history."""
    entities, columns = [random.randrange(ENTITIES) for _ in range(rows)], []
    for values in keys:
        chosen = [random.randrange(ENTITIES) if random.random() < 0.05 else entity for entity in entities]
        taken = [values[entity] if random.random() < 0.95 else None for entity in chosen]
        if isinstance(values[0], int):
            taken = [None if value is None else value + random.choice([0] * 9 + [unknown * 50]) for value in taken]
            columns.append(pl.Series(taken, dtype=random.choice([pl.Int8, pl.Int64, pl.UInt16, pl.UInt64])))
        elif isinstance(values[0], UUID):
            columns.append(pl.Series(taken, dtype=pl.Object))
        elif isinstance(values[0], str):
            columns.append(pl.Series(taken, dtype=random.choice([pl.String, pl.Categorical])))
        else:
            columns.append(pl.Series(taken, dtype=pl.Binary))
    return columns

"""What was pushed stays beside what the source gives, whatever comes in between, as a slow and obvious list of rows says."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import NamedTuple

import polars as pl

from mainspring import clock
from mainspring.data import dataset
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    apply,
    get_definition,
    materialize,
    push,
)
from mainspring.workspace import Workspace
from tests.features.conftest import Ticks

SECOND_US = 1_000_000
GATES = FeatureView(
    "gates", entity=Entity("gate"), source="gates", event_time="at", created_time="known", features=["delay"]
)
Rank = tuple[int, int]


class Row(NamedTuple):
    """Times in seconds from the start."""

    gate: str
    at: int
    known: int
    delay: float

    @property
    def rank(self) -> Rank:
        return self.at, self.known

    @property
    def due(self) -> int:
        return max(self.rank)


class Oracle:
    """All rows that may be answers from now on, by entity and times, each with whether it was pushed."""

    def __init__(self) -> None:
        self.source: list[Row] = []
        self.held: dict[tuple[str, Rank], tuple[Row, bool]] = {}
        self.is_replaced = False

    def take(self, rows: list[Row], now: int, *, pushed: bool) -> None:
        self.held |= {(row.gate, row.rank): (row, pushed) for row in rows}
        self.held = {key: given for key, given in self.held.items() if not self._is_passed(given[0], now)}

    def _is_passed(self, row: Row, now: int) -> bool:
        others = [each for (gate, rank), (each, _) in self.held.items() if gate == row.gate and rank > row.rank]
        return any(each.due <= max(row.due, now) for each in others)

    def materialize(self, now: int, *, full: bool) -> None:
        if full or self.is_replaced:
            self.held = {key: given for key, given in self.held.items() if given[1] and not full}
        self.is_replaced = False
        self.take([row for row in self.source if row.due <= now], now, pushed=False)

    def served(self, gate: str, at: int) -> float | None:
        rows = [row for row, _ in self.held.values() if row.gate == gate and row.due <= at]
        return max(rows, key=lambda row: row.rank).delay if rows else None


def table(rows: list[Row], start_us: int) -> pl.DataFrame:
    start = clock.from_us(start_us)
    return pl.DataFrame(
        {
            "gate": [row.gate for row in rows],
            "at": [start + timedelta(seconds=row.at) for row in rows],
            "known": [start + timedelta(seconds=row.known) for row in rows],
            "delay": [row.delay for row in rows],
        }
    )


def test_any_mix_of_pushes_and_sources_is_served_as_all_its_rows_say(workspace: Workspace, ticks: Ticks) -> None:
    random, oracle, start, now = Random(1), Oracle(), ticks.now, 0
    gates = [f"gate {number}" for number in range(50)]

    def some(share: float) -> list[Row]:
        times = [(gate, now + random.randint(-6, 8)) for gate in gates if random.random() < share]
        return [Row(gate, at, at + random.choice((0, 0, 0, 4)), random.random()) for gate, at in times]

    dataset("gates").commit(table(first := some(0.7), start))
    oracle.source = first
    apply(FeatureService("gates", [GATES]))
    reader = FeatureReader(get_definition("service", "gates"), workspace)
    for _ in range(25):
        now += random.choice((0, 1, 3))
        ticks.now = start + now * SECOND_US
        match random.choice(("push", "push", "append", "append", "commit", "materialize", "materialize", "full")):
            case "push":
                given = {(row.gate, row.rank) for row in oracle.source}
                rows = [row for row in some(0.5) if (row.gate, row.rank) not in given]
                push("gates", table(rows, start))
                oracle.take(rows, now, pushed=True)
            case "append":
                pushed = [row._replace(delay=-row.delay) for row, is_pushed in oracle.held.values() if is_pushed]
                again = pushed[::3]
                known = {row.gate for row in again}
                rows = again + [row for row in some(0.4) if row.gate not in known]
                dataset("gates").append(table(rows, start))
                oracle.source = [*oracle.source, *rows]
            case "commit":
                dataset("gates").commit(table(rows := some(0.6), start))
                oracle.source, oracle.is_replaced = rows, True
            case how:
                materialize("gates", full=how == "full")
                oracle.materialize(now, full=how == "full")
        for at in range(now, now + 13):
            vectors = reader.read([{"gate": gate} for gate in gates], at_us=start + at * SECOND_US)
            assert [vector.values[0] for vector in vectors] == [oracle.served(gate, at) for gate in gates]


def test_a_pushed_value_ahead_outlives_a_newer_row_of_the_source(workspace: Workspace, ticks: Ticks) -> None:
    start = ticks.now

    def row(number: float, seconds: int) -> pl.DataFrame:
        return table([Row("A", seconds, seconds, number)], start)

    def served(*seconds: int) -> list[object]:
        reader = FeatureReader(get_definition("service", "gates"), workspace)
        return [reader.read([{"gate": "A"}], at_us=start + at * SECOND_US)[0].values[0] for at in seconds]

    dataset("gates").commit(row(1, -60))
    apply(FeatureService("gates", [GATES]))
    materialize("gates")
    push("gates", row(11, 10))
    dataset("gates").append(row(5, -5))
    assert (materialize("gates").stored, served(0, 9, 10)) == (1, [5, 5, 11])
    dataset("gates").commit(row(4, -3))
    assert (materialize("gates").removed, served(0, 9, 10)) == (0, [4, 4, 11])
    dataset("gates").commit(row(4, -3).clear())
    assert (materialize("gates").removed, served(0, 9, 10)) == (1, [None, None, 11])
    assert (materialize("gates", full=True).removed, served(0, 10)) == (1, [None, None])

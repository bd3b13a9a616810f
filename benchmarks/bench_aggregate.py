"""Backfill of time-window aggregates against Polars' bare rolling sum; an online update and read in microseconds.

Budget: at least 1 M events a second and core for each algebraic aggregate, one row asked for each event, guard on.
`--small` runs it once, briefly.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from time import process_time

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np
import polars as pl

from mainspring.features.aggregation import Aggregate, EntityState, agg, aggregate_as_of, aggregation, tiles_of_read
from mainspring.features.aggregation.reading import WindowReads

DAYS = 30


def made(events: int, entities: int) -> pl.DataFrame:
    """Events of entities over a month; each becomes known up to ten minutes later."""
    rng = np.random.default_rng(7)
    at = np.sort(rng.integers(0, DAYS * 86_400_000_000, events))
    return pl.DataFrame(
        {
            "airport": rng.integers(0, entities, events),
            "id": [f"e{number:08}" for number in range(events)],
            "at": pl.Series(at).cast(pl.Datetime("us")),
            "known": pl.Series(at + rng.integers(0, 600_000_000, events)).cast(pl.Datetime("us")),
            "delay": rng.normal(10.0, 30.0, events),
        }
    )


def seconds(call: Callable[[], object]) -> float:
    """Seconds of a processor, which other processes don't lengthen much: the budget is per core."""
    begin = process_time()
    call()
    return process_time() - begin


def backfill(events: pl.DataFrame, rows: pl.DataFrame, aggregates: list[Aggregate]) -> pl.DataFrame:
    """What we do."""
    return aggregate_as_of(
        rows, events, aggregates, keys={"airport": "airport"}, at="at", event_time="at", event_id="id", created_time="known"
    )  # fmt: skip


def rolling(events: pl.DataFrame, window: str) -> pl.DataFrame:
    """A floor that knows no tiles, no late events and no exact order of additions."""
    return events.sort("airport", "at").rolling("at", period=window, group_by="airport").agg(pl.col("delay").sum())


def online(events: pl.DataFrame) -> tuple[float, float]:
    """Seconds for one update and for one read of a state with a week of events."""
    spec = aggregation([agg.mean("delay", ["1h", "6h", "7d"])], {"delay": "f64"})
    state = EntityState(spec)
    taken = list(zip(events["id"], events["at"].to_physical(), events["delay"], strict=True))
    update = seconds(lambda: [state.update(event_id, at, {"delay": delay}, at) for event_id, at, delay in taken])
    last = taken[-1][1]
    reads = [last - 60_000_000 * back for back in range(20)]
    stored, windows = state.changes(), WindowReads(spec)
    asked = [([stored.get(tile) for tile in tiles_of_read(spec, at)], at) for at in [last, *reads]]
    windows.read(b"1", *asked[0])
    return update / len(taken), seconds(lambda: [windows.read(b"1", *each) for each in asked[1:]]) / len(reads)


def compare(events: pl.DataFrame, rows: pl.DataFrame, window: str, rounds: int) -> None:
    """Print each kind over a window, and all at once."""
    kinds = (agg.count, agg.sum, agg.mean, agg.min, agg.max, agg.std)
    cases = {kind.__name__: [kind("delay", window)] for kind in kinds}
    cases["all six"] = [one for case in cases.values() for one in case]
    floor = min(seconds(lambda: rolling(events, window)) for _ in range(rounds))
    for name, aggregates in cases.items():
        took = min(seconds(partial(backfill, events, rows, aggregates)) for _ in range(rounds))
        rate = f"{events.height / took:,.0f} events/s"
        print(f"{name} over {window}: {rate}, {took / floor:.2f} x a rolling sum of Polars")


def main() -> None:
    """Print events a second, the ratio to the floor, and microseconds online."""
    small = "--small" in sys.argv
    events = made(20_000, 20) if small else made(1_000_000, 1_000)
    rows = events.select("airport", at=pl.col("at") + timedelta(minutes=1))
    for window in ("6h", "7d"):
        compare(events, rows, window, 1 if small else 2)
    update, read = online(events.filter(pl.col("airport") == 1).head(10_000))
    print(f"online: {update * 1e6:.1f} us an update, {read * 1e6:.0f} us a read of 1 h, 6 h and 7 d")


if __name__ == "__main__":
    main()

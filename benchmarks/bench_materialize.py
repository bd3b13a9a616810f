"""Bringing features into the online store: rows a second of CPU time, and as a ratio to a bare LMDB that puts the same bytes.

Views of 12 columns, one row for each entity: filled, and filled again. Views of aggregates, from a dataset as a whole, and fed
from a stream. Budget: 300,000 rows a second and core for plain views. `--small` takes a few.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import polars as pl

from mainspring import clock
from mainspring.data import dataset
from mainspring.data.ingestion import ingest_stream
from mainspring.features import Entity, FeatureView, Stream, agg, apply, feed, get_definition, materialize
from mainspring.features.online.places import values_prefix
from mainspring.streams import event_of, open_log
from mainspring.workspace import Workspace, using

FIELDS = {"carrier": "str", "delay": "f64"}
WINDOWS = [agg.mean("delay", ["1h", "6h", "7d"]), agg.std("delay", "6h"), agg.count(windows="7d")]


def main() -> None:
    """Print what was measured."""
    rows, events = (2_000, 2_000) if "--small" in sys.argv else (300_000, 200_000)
    with tempfile.TemporaryDirectory() as folder, Workspace.open(Path(folder)) as workspace, using(workspace):
        plain(rows, Path(folder), workspace)
        tiles(events)
        fed(events, workspace)


def plain(rows: int, folder: Path, workspace: Workspace) -> None:
    chance = np.random.default_rng(1)
    numbers = {f"f{place}": chance.random(rows) for place in range(10)}
    columns = numbers | {
        "n": chance.integers(0, 100, rows),
        "s": pl.Series(chance.integers(0, 100, rows)).cast(pl.String),
    }
    users = pl.Series(chance.permutation(rows)).cast(pl.String)
    at = pl.Series(chance.integers(0, 10**12, rows)).cast(pl.Datetime("us", "UTC"))
    frame = pl.DataFrame({"user": users, "at": at, **columns})
    dataset("small").commit(frame[:10])
    dataset("users").commit(frame)
    for source in ("small", "users"):
        apply(
            FeatureView(f"of_{source}", entity=Entity("user"), source=source, event_time="at", features=list(columns))
        )
    materialize("of_small")
    first = measured(f"plain view, {rows:,} new entities", rows, lambda: materialize("of_users"))
    measured("the same, all of them there", rows, lambda: materialize("of_users", full=True))
    stored = list(workspace.online.scan(values_prefix(get_definition("view", "of_users"))))
    floor = measured("bare LMDB, the same bytes", rows, lambda: bare(folder / "bare", stored))
    print(f"{'ratio to bare LMDB':44} {first / floor:10.2f}")


def bare(folder: Path, stored: list[tuple[bytes, bytes]]) -> None:
    environment = lmdb.open(str(folder), map_size=1 << 32)
    for start in range(0, len(stored), 50_000):
        with environment.begin(write=True) as transaction:
            for key, value in stored[start : start + 50_000]:
                transaction.put(key, value)
    environment.close()


def tiles(count: int) -> None:
    chance, now_us = np.random.default_rng(2), clock.now_us()
    frame = pl.DataFrame(
        {
            "carrier": pl.Series(chance.integers(0, 1_000, count)).cast(pl.String),
            "at": pl.Series(now_us - chance.integers(0, 7 * 86_400 * 10**6, count)).cast(pl.Datetime("us", "UTC")),
            "delay": chance.random(count),
        }
    )
    dataset("delays").commit(frame)
    apply(FeatureView("tiled", entity=Entity("carrier"), source="delays", event_time="at", features=WINDOWS))
    measured(f"aggregates of {count:,} events of a dataset", count, lambda: materialize("tiled"))


def fed(count: int, workspace: Workspace) -> None:
    chance, now_us, log = np.random.default_rng(3), clock.now_us(), open_log(workspace)
    apply(FeatureView("fed", entity=Entity("carrier"), source=Stream("arrivals", FIELDS), features=WINDOWS))
    delays, carriers = chance.random(count).tolist(), chance.integers(0, 1_000, count).tolist()
    for start in range(0, count, 10_000):
        some = range(start, min(start + 10_000, count))
        log.append(
            "arrivals",
            [event_of({"carrier": str(carriers[at]), "delay": delays[at]}, time_us=now_us + at) for at in some],
        )
    measured(f"{count:,} events of a stream into a dataset", count, lambda: ingest_stream("arrivals", FIELDS))
    measured("the same into the online store, from it", count, lambda: feed("fed"))
    apply(FeatureView("fed_again", entity=Entity("carrier"), source=Stream("others", FIELDS), features=WINDOWS))
    for start in range(0, count, 10_000):
        log.append(
            "others", [event_of(each.data, time_us=each.time_us) for each in log.read("arrivals", start, 10_000)]
        )
    measured("the same into the online store, from the log", count, lambda: feed("fed_again"))


def measured(what: str, count: int, act: Callable[[], Any]) -> float:
    """The seconds of CPU that it took; printed as a rate."""
    began, began_wall = time.process_time(), time.perf_counter()
    act()
    took, wall = time.process_time() - began, time.perf_counter() - began_wall
    print(f"{what:44} {count / took:10,.0f} /s of CPU {count / wall:10,.0f} /s of wall time")
    return took


if __name__ == "__main__":
    main()

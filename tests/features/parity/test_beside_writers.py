"""What was served beside materializations, pushes and feeding, by servers that are killed, is verified whole."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import polars as pl
import pytest

from mainspring import clock
from mainspring.data import dataset
from mainspring.data.ingestion import ingest_stream
from mainspring.features import (
    Entity,
    FeatureService,
    FeatureView,
    OnDemandView,
    Stream,
    agg,
    apply,
    feed,
    materialize,
    push,
    verify,
)
from mainspring.streams import send
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace

SERVER = """
import json, random, sys
from mainspring.features import FeatureReader, VectorLog, get_definition
from mainspring.workspace import Workspace, using

seed, folder, where = json.loads(sys.argv[1])
chance = random.Random(seed)
with Workspace.open(folder, overrides=where) as workspace, using(workspace):
    reader, log = FeatureReader(get_definition("service", "late"), workspace), VectorLog(workspace, share=1)
    number = 0
    while True:
        asked = [{"origin": chance.choice("abcd"), "factor": 2} for _ in range(5)]
        log.read(reader, asked, [f"{seed}-{number}/{row}" for row in range(5)])
        number += 1
        if number % 3 == 0:
            print(number, flush=True)
"""
FIELDS = {"origin": "str", "delay": "f64"}


def service() -> FeatureService:
    weather = FeatureView(
        "weather", entity=Entity("origin"), source="weather", event_time="at", created_time="known", ttl="1d",
        features=["wind", "text"],
    )  # fmt: skip
    arrivals = Stream("arrivals", FIELDS)
    delays = FeatureView(
        "delays", entity=Entity("origin"), source=arrivals,
        features=[agg.sum("delay", ["10m", "2h"]), agg.std("delay", "1h"), agg.count(windows="1h")],
    )  # fmt: skip
    last = FeatureView("last", entity=Entity("origin"), source=arrivals, features=["delay"], ttl="1h")
    doubled = OnDemandView(
        "doubled", request={"factor": "i64"}, inputs=[weather["wind"]],
        features={"doubled": pl.col("wind") * pl.col("factor")},
    )  # fmt: skip
    return FeatureService("late", [weather, delays, last, doubled])


def rows(chance: random.Random, count: int) -> pl.DataFrame:
    """Weather of the last hours, some of it known only now."""
    now = datetime.now(UTC)
    times = [now - timedelta(seconds=chance.uniform(0, 9000)) for _ in range(count)]
    return pl.DataFrame(
        {
            "origin": [chance.choice("abc") for _ in times], "at": times,
            "known": [chance.choice((each, now)) for each in times],
            "wind": [chance.choice((None, 1, 2, 3)) for _ in times],
            "text": [chance.choice(("", "fog", "é" * 40)) for _ in times],
        },
        schema_overrides={"wind": pl.Int64},
    )  # fmt: skip


@contextmanager
def serving(seed: int, folder: Path, backend: Backend) -> Iterator[IO[str]]:
    """A process that serves and logs until it is killed."""
    where = {"database": backend.database_url, "blobs": backend.blob_url, "online": backend.online}
    given = json.dumps([seed, str(folder), where])
    with subprocess.Popen([sys.executable, "-c", SERVER, given], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.kill()


def beside_writers(seed: int, steps: int, servers: int, workspace: Workspace, folder: Path, backend: Backend) -> None:
    """Serve while everything is written, and verify; what is pushed comes into the dataset later."""
    chance = random.Random(seed)
    dataset("weather").commit(rows(chance, 20))
    apply(service())
    materialize("weather")
    feed()
    pushed: list[pl.DataFrame] = []
    with ExitStack() as stack:
        lines = [stack.enter_context(serving(seed + each, folder, backend)) for each in range(servers)]
        assert lines[0].readline()
        for _ in range(steps):
            new = rows(chance, 5)
            if chance.random() < 0.3:
                push("weather", new)
                pushed.append(new)
            else:
                dataset("weather").append(new)
                materialize("weather", full=chance.random() < 0.2)
            data = [{"origin": chance.choice("abc"), "delay": chance.choice((0.1, 0.2, 1e16, None))} for _ in range(9)]
            send("arrivals", data)
            feed()
            assert chance.choice(lines).readline()
    for each in pushed:
        dataset("weather").append(each)
    ingest_stream("arrivals", FIELDS)
    report = verify("late", until=clock.now() + timedelta(hours=1))
    assert report.mismatches == (), report
    assert report.vectors > 5 * steps
    assert report.verified > report.vectors / 2


def test_servers_beside_writers_serve_what_the_offline_path_gives(
    workspace: Workspace, tmp_path: Path, backend: Backend
) -> None:
    """The start of a process is what takes long."""
    beside_writers(1, 4, 1, workspace, tmp_path, backend)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_many_histories_beside_writers(workspace: Workspace, tmp_path: Path, backend: Backend, seed: int) -> None:
    beside_writers(seed * 10, 40, 3, workspace, tmp_path, backend)

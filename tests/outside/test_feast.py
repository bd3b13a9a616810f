"""A user of Feast asks the same of `get_historical_features` on DuckDB; where Feast is right, we agree.

Each difference is asserted as one, so that the list in docs/features-history.md can't rot.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from mainspring.features.history import Joined, join_as_of
from tests.house.source import ROOT
from tests.outside.environments import Environment

ASK = """
import sys
from datetime import timedelta
from pathlib import Path
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Int64
folder, ttl = Path(sys.argv[1]), timedelta(microseconds=int(sys.argv[2]))
source = FileSource(path=str(folder / "history.parquet"), timestamp_field="ts", created_timestamp_column="created")
user = Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
view = FeatureView(name="view", entities=[user], ttl=ttl, schema=[Field(name="value", dtype=Int64)], source=source)
store = FeatureStore(config=RepoConfig(
    project="p", registry=str(folder / "registry.db"), provider="local", offline_store={"type": "duckdb"},
    online_store={"type": "sqlite", "path": str(folder / "online.db")}, entity_key_serialization_version=3,
))
store.apply([user, view])
rows = pd.read_parquet(folder / "rows.parquet")
store.get_historical_features(entity_df=rows, features=["view:value"]).to_df().to_parquet(folder / "answer.parquet")
"""
TIME = pl.Datetime("us", "UTC")
START = datetime(2013, 10, 26, 22, tzinfo=UTC)  # the night in which Berlin has an hour twice
GRAIN, US = timedelta(minutes=15), timedelta(microseconds=1)
USERS = 2_000
PAGE = (ROOT / "docs" / "features-history.md").read_text()


def generated(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows and a history of each user: late rows, nulls, ties of different created times, ages at the edge, unknown users."""
    random = Random(seed)
    known: list[tuple[Any, ...]] = []
    wanted: list[tuple[Any, ...]] = []
    for user in range(USERS):
        times = [START + random.randrange(12) * GRAIN for _ in range(random.randrange(8))]
        made = {(time, time + random.choice([0, 0, 1, 2, 96]) * GRAIN) for time in times}
        known += [
            (user, *each, None if random.random() < 0.2 else len(known) + place)
            for place, each in enumerate(sorted(made))
        ]
        for _ in range(4):
            off = random.choice([0 * US, US, -US, 3 * GRAIN, 3 * GRAIN + US, 5 * GRAIN])
            wanted.append((user, (random.choice(times) if times else START) + off))
    random.shuffle(known)
    random.shuffle(wanted)
    history = pl.DataFrame(
        known, schema={"user": pl.Int64, "ts": TIME, "created": TIME, "value": pl.Int64}, orient="row"
    )
    rows = pl.DataFrame(wanted, schema={"user": pl.Int64, "event_timestamp": TIME}, orient="row")
    return numbered(rows), history


def numbered(rows: pl.DataFrame) -> pl.DataFrame:
    """Feast gives rows back in an order of its own."""
    return rows.with_columns(n=pl.int_range(pl.len()))


def asked(
    client: Environment, folder: Path, rows: pl.DataFrame, history: pl.DataFrame, ttl: timedelta | None
) -> pl.DataFrame:
    """Feast's answer."""
    rows.write_parquet(folder / "rows.parquet")
    history.write_parquet(folder / "history.parquet")
    client.run("python", "-W", "ignore", "-c", ASK, str(folder), str((ttl or 0 * US) // US), cwd=folder)
    return pl.read_parquet(folder / "answer.parquet")


def ours(rows: pl.DataFrame, history: pl.DataFrame, ttl: timedelta | None, *, guard: bool) -> Joined:
    return join_as_of(
        rows, history, keys={"user": "user"}, at="event_timestamp", event_time="ts", created_time="created",
        ttl_us=None if ttl is None else ttl // US, columns=["value"], guard=guard,
    )  # fmt: skip


def differing(joined: Joined, answer: pl.DataFrame) -> int:
    """In how many rows the values differ."""
    theirs = answer.sort("n")["value"].cast(pl.Int64)
    return int((~joined.columns["value"].eq_missing(theirs)).sum())


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("ttl", [None, 3 * GRAIN])
def test_feast_agrees_but_for_rows_that_were_not_known_yet(
    client: Environment, tmp_path: Path, ttl: timedelta | None
) -> None:
    rows, history = generated(seed=1)
    answer = asked(client, tmp_path, rows, history, ttl)
    assert answer.height == rows.height
    assert differing(ours(rows, history, ttl, guard=False), answer) == 0
    guarded = ours(rows, history, ttl, guard=True)
    assert "no leak guard" in PAGE
    assert 0 < differing(guarded, answer) <= guarded.report.guard.changed
    assert "an order of its own" in PAGE
    assert answer["n"].to_list() != rows["n"].to_list()
    assert "become floats" in PAGE
    assert str(answer.schema["value"]) == "Float64"
    assert str(guarded.columns.schema["value"]) == "Int64"


@pytest.mark.timeout(1_200)
def test_feast_takes_any_of_the_rows_with_the_same_times(client: Environment, tmp_path: Path) -> None:
    history = pl.DataFrame({"user": range(400), "ts": [START] * 400, "created": [START] * 400})
    history = pl.concat([history.with_columns(value=pl.lit(value, pl.Int64)) for value in (1, 2, 3)])
    rows = numbered(pl.DataFrame({"user": range(400), "event_timestamp": [START + GRAIN] * 400}))
    answer = asked(client, tmp_path, rows, history, None)
    joined = ours(rows, history, None, guard=True)
    assert joined.columns["value"].unique().to_list() == [3]
    assert "whichever row comes first" in PAGE
    assert differing(joined, answer) > 0
    assert set(answer["value"]) <= {1, 2, 3}


@pytest.mark.timeout(1_200)
def test_a_ttl_of_nothing_is_no_ttl_for_feast(client: Environment, tmp_path: Path) -> None:
    history = pl.DataFrame({"user": [1], "ts": [START], "created": [START], "value": [7]})
    rows = numbered(pl.DataFrame({"user": [1, 1, 1, None], "event_timestamp": [START, START + US, START, START]}))
    answer = asked(client, tmp_path, rows, history, 0 * US)
    assert "ttl of zero" in PAGE
    assert answer.sort("n")["value"].to_list() == [7, 7, 7, None]
    assert ours(rows, history, 0 * US, guard=True).columns["value"].to_list() == [7, None, 7, None]

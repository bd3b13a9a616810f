"""A user of Feast reads and pushes through its own `remote` online store, unmodified; values are those of our reader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    apply,
    choose_features,
    get_definition,
    materialize,
)
from mainspring.testing.processes import start_server
from mainspring.workspace import Workspace, using
from tests.outside.environments import Environment, environment

SERVER = """
from mainspring.features.server import serve
from mainspring.workspace import Workspace
serve(Workspace.open(), port=0, on_ready=lambda address: print(address, flush=True))
"""
CLIENT = """
import json, sys
from datetime import datetime, timedelta, timezone
import pandas as pd
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, PushSource, RepoConfig, ValueType
from feast.data_source import PushMode
from feast.types import Array, Bool, Float64, Int64, String

store = FeatureStore(config=RepoConfig(
    project="p", registry="registry.db", provider="local", online_store={"type": "remote", "path": sys.argv[1]},
    offline_store={"type": "duckdb"}, entity_key_serialization_version=3,
))
origin = Entity(name="origin", value_type=ValueType.STRING)
batch = FileSource(path="weather.parquet", timestamp_field="at")
view = FeatureView(
    name="weather_at", entities=[origin], ttl=timedelta(days=1),
    schema=[Field(name="origin", dtype=String), Field(name="wind", dtype=Int64), Field(name="temp", dtype=Float64),
            Field(name="is_freezing", dtype=Bool), Field(name="near", dtype=Array(Float64)), Field(name="sky", dtype=String)],
    source=PushSource(name="weather_push", batch_source=batch),
)
late = FeatureService(name="late", features=[view])
store.apply([origin, view, late])
rows = [{"origin": origin} for origin in ("EWR", "JFK", "LGA", "XXX")]
names = ["weather_at:" + name for name in ("wind", "temp", "is_freezing", "near", "sky")]

def asked(response):
    return {"values": response.to_dict(),
            "statuses": {name: [int(each) for each in found.statuses] for name, found in
                         zip(response.proto.metadata.feature_names.val, response.proto.results)}}

told = {"names": asked(store.get_online_features(names, rows)),
        "full": asked(store.get_online_features(names[:2], rows, full_feature_names=True)),
        "service": asked(store.get_online_features(store.get_feature_service("late"), rows)),
        "columns": asked(store.get_online_features(names[:1], {"origin": ["EWR"]}))}
now = datetime.now(timezone.utc)
store.push("weather_push", pd.DataFrame({
    "origin": ["SFO"], "at": [now], "wind": [12], "temp": [1.25], "is_freezing": [True], "near": [[0.5, 1.5]], "sky": ["fog"],
}), to=PushMode.ONLINE)
told["pushed"] = asked(store.get_online_features(names, [{"origin": "SFO"}]))
told["errors"] = []
wrong = [(["weather_at:wimd"], rows), (["wether:wind"], rows), (names, [{"orgin": "EWR"}]), (names, [{"origin": 7}])]
for wanted, given in wrong:
    try:
        store.get_online_features(wanted, given)
    except Exception as error:
        told["errors"].append([type(error).__name__, str(error)])
print(json.dumps(told))
"""
NOW = datetime.now(UTC)
ROWS = pl.DataFrame(
    {"origin": ["EWR", "JFK", "LGA"], "at": [NOW - timedelta(hours=hours) for hours in (1, 1, 30)], "wind": [5, None, 7],
     "temp": [0.1, 40.5, 50.0], "near": [[1.5, 2.5], [0.1], [3.0]], "sky": ["clear", "é", ""]}
)  # fmt: skip
FEATURES = ["wind", "temp", "is_freezing", "near", "sky"]
STATUSES = {"PRESENT": 1, "NULL_VALUE": 2, "NOT_FOUND": 3, "OUTSIDE_MAX_AGE": 4}


@pytest.fixture(scope="module")
def client() -> Environment:
    return environment("feast")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    (tmp_path / "mainspring.toml").write_text('name = "features"\n')
    view = FeatureView(
        "weather_at", entity=Entity("origin"), source="weather", event_time="at", ttl="1d",
        features=["wind", "temp", (pl.col("temp") < 32).alias("is_freezing"), "near", "sky"],
    )  # fmt: skip
    with Workspace.open(tmp_path) as opened, using(opened):
        dataset("weather").commit(ROWS)
        apply(FeatureService("late", [view]))
        materialize("weather_at")
        yield opened


def read(reader: FeatureReader, *origins: str) -> tuple[dict[str, list[Any]], dict[str, list[int]]]:
    """What our reader says, by column, statuses in Feast's numbers."""
    vectors = reader.read([{"origin": origin} for origin in origins])
    columns = range(len(reader.names))
    values = {reader.names[n]: [vector.values[n] for vector in vectors] for n in columns}
    statuses = {reader.names[n]: [STATUSES[vector.statuses[n]] for vector in vectors] for n in columns}
    return {"origin": list(origins)} | values, {"origin": [1] * len(origins)} | statuses


@pytest.mark.timeout(1_200)
def test_feasts_own_client_reads_and_pushes(client: Environment, workspace: Workspace, tmp_path: Path) -> None:
    ROWS.write_parquet(tmp_path / "weather.parquet")
    process, address = start_server(SERVER, tmp_path)
    try:
        told = json.loads(client.run("python", "-W", "ignore", "-c", CLIENT, address, cwd=tmp_path).splitlines()[-1])
    finally:
        process.terminate()
        process.communicate()
    origins = ("EWR", "JFK", "LGA", "XXX")
    chosen = choose_features([f"weather_at:{name}" for name in FEATURES])
    values, statuses = read(FeatureReader(chosen, workspace), *origins)
    assert told["names"] == {"values": values, "statuses": statuses}
    service = read(FeatureReader(get_definition("service", "late"), workspace), *origins)
    assert (told["service"]["values"], told["service"]["statuses"]) == service
    full = choose_features(["weather_at:wind", "weather_at:temp"], full_names=True)
    assert told["full"]["values"] == read(FeatureReader(full, workspace), *origins)[0]
    assert told["columns"]["values"] == {"origin": ["EWR"], "wind": [5]}
    assert told["pushed"]["values"] == {
        "origin": ["SFO"], "wind": [12], "temp": [1.25], "is_freezing": [True], "near": [[0.5, 1.5]], "sky": ["fog"],
    }  # fmt: skip
    assert told["pushed"]["values"] == read(FeatureReader(chosen, workspace), "SFO")[0]
    wrong = [
        ("FeastObjectNotFoundException", "Nearest: wind"), ("FeatureViewNotFoundException", "Nearest: weather_at"),
        ("FeastObjectNotFoundException", "Nearest: orgin"), ("FeastError", "a key of type str"),
    ]  # fmt: skip
    assert [kind for kind, _ in told["errors"]] == [kind for kind, _ in wrong]
    assert all(part in text for (_, text), (_, part) in zip(told["errors"], wrong, strict=True))

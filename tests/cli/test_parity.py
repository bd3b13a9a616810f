"""`mainspring features verify`: what it says and how it exits."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from mainspring.data import dataset
from mainspring.features import (
    Entity,
    FeatureReader,
    FeatureService,
    FeatureView,
    VectorLog,
    apply,
    get_definition,
    materialize,
)
from mainspring.workspace import Workspace, using
from tests.cli.conftest import call

START = datetime(2013, 1, 1, tzinfo=UTC)
HOUR_US = 3_600_000_000


def test_served_vectors_are_verified(tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text("")
    weather = FeatureView(
        "weather_at", entity=Entity("origin"), source="weather", event_time="at", ttl="2h", features=["wind"]
    )
    with Workspace.open(tmp_path) as workspace, using(workspace):
        dataset("weather").commit(pl.DataFrame({"origin": ["EWR"], "at": [START], "wind": [5]}))
        apply(FeatureService("late", [weather]))
        materialize("weather_at", until=START)
        nothing = call("features", "verify", "late", cwd=tmp_path)
        assert nothing.exit_code == 0, nothing.output
        assert nothing.stdout.startswith("No served vectors of late are logged.")

        reader, log = FeatureReader(get_definition("service", "late"), workspace), VectorLog(workspace, share=1)
        start_us = int(START.timestamp()) * 1_000_000
        log.read(reader, [{"origin": "EWR"}, {"origin": "JFK"}], ["a/0", "a/1"], at_us=start_us + HOUR_US)
        passed = call("features", "verify", "late", cwd=tmp_path)
        assert passed.stdout.splitlines()[0] == (
            "2 of 2 served vectors of late are what the offline path gives, bit for bit."
        )
        assert passed.exit_code == 0

        for part in reader._parts:
            part._ttl_us = None  # type: ignore[union-attr]  # a server that doesn't know of it
        log.read(reader, [{"origin": "EWR"}], ["b/0"], at_us=start_us + 3 * HOUR_US)
        failed = call("features", "verify", cwd=tmp_path)
        assert failed.exit_code == 1
        assert failed.stdout.splitlines()[0] == "1 of 3 served vectors differ from what the offline path gives."
        assert "5       null     ttl: it is right without the time to live" in failed.stdout

        document = json.loads(call("features", "verify", "late/1", "--json", cwd=tmp_path).stdout)
        assert (document["passed"], document["mismatched"], document["parity_mismatches"]) == (False, 1, 1.0)
        assert (document["mismatches"][0]["cause"], document["mismatches"][0]["vector"]) == ("ttl", "b/0")
        later = call("features", "verify", "--since", "2013-01-01T04:00:00", cwd=tmp_path)
        assert later.stdout.startswith("No served vectors are logged.")
        assert call("features", "verify", "--since", "24h", cwd=tmp_path).exit_code == 0
    wrong = call("features", "verify", "--since", "soon", cwd=tmp_path)
    assert "--since: `soon` is not a time" in wrong.output
    assert call("features", "verify", "lat", cwd=tmp_path).exit_code != 0

"""Features into the online store, and streams into datasets, from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from mainspring.cli.main import cli
from mainspring.data import dataset
from mainspring.features import Entity, FeatureView, Stream, agg, apply
from mainspring.streams import send
from mainspring.workspace import Workspace, using

Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path) -> Call:
    (tmp_path / "mainspring.toml").write_text("")
    arrivals = Stream("arrivals", {"carrier": "str", "delay": "f64"})
    carrier = Entity("carrier")
    with Workspace.open(tmp_path) as workspace, using(workspace):
        dataset("fleet").commit(pl.DataFrame({"carrier": ["UA", "B6"], "at": [date(2013, 1, 1)] * 2, "planes": [3, 4]}))
        apply(
            FeatureView("fleet", entity=carrier, source="fleet", event_time="at", features=["planes"]),
            FeatureView("delays", entity=carrier, source=arrivals, features=[agg.count(windows="1h")]),
        )
        send("arrivals", [{"carrier": "UA", "delay": 1}, {"carrier": "UA", "delay": "late"}])

    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, ["-C", str(tmp_path), *words], prog_name="mainspring")

    return run


def test_datasets_are_materialized(call: Call) -> None:
    found = json.loads(call("features", "materialize", "--json").output)["views"]
    assert [(each["view"], each["source"], each["stored"]) for each in found] == [("fleet/1", "fleet/1", 2)]
    again = call("features", "materialize", "fleet", "--until", "2013-01-02")
    assert again.output.splitlines()[1].split()[:4] == ["fleet/1", "fleet/1", "0", "0"]
    assert "No feature view `fleat`. Nearest: fleet." in call("features", "materialize", "fleat").output


def test_rows_without_a_key_are_told(call: Call, tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        rows = {"carrier": [None, "AA"], "at": [date(2013, 1, 1)] * 2, "planes": [3, 4]}
        dataset("fleet", workspace).commit(pl.DataFrame(rows))
    head, told = call("features", "materialize", "fleet", "--until", "2013-01-02").output.splitlines()
    assert ("without a key" in head, told.split()[:5]) == (True, ["fleet/1", "fleet/2", "1", "1", "1"])


def test_streams_are_fed_and_kept(call: Call) -> None:
    assert call("features", "feed").output.splitlines()[1].split() == ["delays/1", "arrivals", "2", "2", "1"]
    told = "2 events of arrivals read, 1 of them set apart, up to offset 2; the newest version is arrivals/1"
    assert call("stream", "ingest", "arrivals").output.strip() == told
    again = json.loads(call("stream", "ingest", "arrivals", "--json").output)
    assert again == {"stream": "arrivals", "version": "arrivals/1", "events": 0, "apart": 0, "offset": 2}
    (listed,) = json.loads(call("stream", "list", "--json").output)["streams"]
    assert listed["consumers"] == {"dataset": 2, "delays/1": 2}
    assert call("stream", "list").output.splitlines()[1].endswith("dataset 2, delays/1 2")
    assert call("data", "sources", "arrivals").output.splitlines()[1].endswith("offset 2")
    refused = call("stream", "ingest", "arrivals", "--field", "delay")
    assert (refused.exit_code, "--field: `delay` is not COLUMN=TYPE" in refused.output) == (2, True)


def test_a_feed_is_followed_until_interrupted(call: Call, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mainspring", "stream", "ingest", "arrivals", "--follow", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=os.environ) as follower:
        with Workspace.open(tmp_path) as workspace:
            while not dataset("arrivals", workspace).versions():
                assert follower.poll() is None
        follower.send_signal(signal.SIGINT)
        assert json.loads(follower.communicate()[0])["offset"] == 2
    assert follower.returncode == 0

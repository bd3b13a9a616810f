"""Features on the command line: what a plan says, what is applied, and what is found again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.cli.conftest import call as here

VIEWS = """
import polars as pl

from mainspring.features import Entity, FeatureService, FeatureView

weather = FeatureView(
    "weather_at", entity=Entity("origin"), source="weather", event_time="at", ttl="TTL",
    features=["wind", (pl.col("temp") < 32).alias("is_freezing")], owner="ann",
)
late = FeatureService("late", [weather])
"""


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "mainspring.toml").write_text("")
    (tmp_path / "weather.csv").write_text("origin,at,temp,wind\nEWR,2013-01-01T05:00:00Z,30.5,5\n")
    (tmp_path / "features.py").write_text(VIEWS.replace("TTL", "2h"))

    def call(*words: str) -> Result:
        for name in ("features", "views"):  # each call is as of a process of its own
            sys.modules.pop(name, None)
        return here(*words, cwd=tmp_path)

    call("data", "ingest", "weather.csv", "--to", "weather", "--type", "at=datetime[UTC]")
    return call


def test_a_plan_becomes_versions_and_says_what_differs(call: Callable[..., Result], tmp_path: Path) -> None:
    assert call("features", "plan").stdout.splitlines()[:2] == ["+ view weather_at/1", "+ service late/1"]
    assert call("features").stdout.startswith("No features.")
    assert call("features", "apply").stdout.splitlines() == ["+ view weather_at/1", "+ service late/1"]
    assert call("features", "apply").stdout.splitlines() == ["2 unchanged"]

    (tmp_path / "views.py").write_text(VIEWS.replace("TTL", "3h"))
    changed = json.loads(call("features", "apply", "views", "--json").stdout)["changes"]
    assert [(each["after"], each["differences"]) for each in changed] == [
        ("weather_at/2", ["ttl: 2h → 3h"]), ("late/2", ["view `weather_at` has a new version"]),
    ]  # fmt: skip
    shown = [line.split() for line in call("features", "show", "weather_at/1").stdout.splitlines()]
    assert ["ttl", "2h"] in shown
    assert [line.split()[0] for line in call("features", "list", "freez", "ANN").stdout.splitlines()[1:]] == [
        "weather_at/2"
    ]
    assert call("features", "list", "nothing").stdout == "No feature definition has nothing.\n"


def test_what_is_wrong_is_one_line(call: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text(VIEWS.replace("TTL", "2h").replace('"wind"', '"wnid"'))
    failed = call("features", "apply")
    assert (failed.exit_code, failed.stderr) == (
        1, "Error: weather_at.wnid: `wnid` is not a column of `weather`. Nearest: wind.\n"
    )  # fmt: skip
    assert call("features", "plan", "veiws").stderr.startswith("Error: No module `veiws`.")
    (tmp_path / "features.py").rename(tmp_path / "views.py")
    hint = (
        "Define entities and views in features.py, or say where they are: `features = […]` in the settings, or MODULE."
    )
    assert call("features", "plan").stderr == f"Error: No module `features`. {hint}\n"
    assert call("features", "show", "x").stderr == "Error: No feature view or service `x`.\n"


def test_features_are_found_and_shown_with_what_they_hold(call: Callable[..., Result], tmp_path: Path) -> None:
    times = [f"2013-01-01T{hour:02}:00:00Z" for hour in range(24)]
    lines = [f"EWR,{at},{20.5 + number},{number % 5}" for number, at in enumerate(times)]
    (tmp_path / "more.csv").write_text("\n".join(["origin,at,temp,wind", *lines]) + "\n")
    ingested = call("data", "ingest", "more.csv", "--to", "weather", "--type", "at=datetime[UTC]", "--mode", "replace")
    assert ingested.exit_code == 0, ingested.stderr
    call("features", "apply")

    found = json.loads(call("features", "search", "wind", "--json").stdout)["features"]
    assert [(each["reference"], each["where"]) for each in found] == [
        ("weather_at/1", ["feature wind"]), ("late/1", ["feature wind"]),
    ]  # fmt: skip
    assert call("features", "search", "Freezing").stdout.splitlines()[1].split() == [
        "weather_at/1", "view", "ann", "feature", "is_freezing",
    ]  # fmt: skip
    assert call("features", "search", "rain", "EWR").stdout == "No feature definition has rain and EWR.\n"

    shown = call("features", "show", "late").stdout
    row = next(line for line in shown.splitlines() if line.startswith("is_freezing"))
    assert "weather/2: 24 rows, 1 entity" in shown
    assert row.split() == ["is_freezing", "bool", "█", "█", "0", "2", "0.5", "False", "…", "True", "weather:", "temp"]
    assert "not in the online store" in shown
    one = call("features", "show", "late:wind").stdout
    assert "computed from  weather: wind" in one
    assert one.count("█" * 40) == 4
    document = json.loads(call("features", "show", "late", "--json").stdout)["features"]
    assert document["features"][1]["origins"] == [{"source": "weather", "columns": ["temp"]}]
    assert document["views"][0]["upstream"][0].endswith("more.csv")
    bare = json.loads(call("features", "show", "late", "--no-values", "--json").stdout)["features"]
    assert bare["features"][0]["profile"] is None
    assert call("features", "show", "late:wnd").stderr == "Error: No feature `late/1:wnd`. Nearest: wind.\n"

"""`mainspring data split` and `leakage`."""

from __future__ import annotations

from datetime import date
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from mainspring.data import HashSplit, TimeSplit, dataset, split_of
from mainspring.workspace import Workspace, using
from tests.cli import conftest

FRAME = pl.DataFrame(
    {
        "id": range(400),
        "user": [n % 80 for n in range(400)],
        "day": [date(2013, 1 + n % 4, 1) for n in range(400)],
        "late": [n % 5 == 0 for n in range(400)],
    }
)

called = partial(conftest.called, "data")
document = partial(conftest.document, "data")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "mainspring.toml").write_text('name = "visits"\n')
    with Workspace.open(tmp_path) as workspace, using(workspace):
        dataset("visits").commit(FRAME)
    return tmp_path


def test_a_split_makes_versions_with_their_rule(project: Path) -> None:
    said = called("split", "visits", "--on", "user", "--share", "train=0.5", "--share", "test=0.5", cwd=project)
    assert "visits-train/1" in said
    with Workspace.open(project) as workspace, using(workspace):
        version = dataset("visits-test").latest()
        assert split_of(version) == HashSplit("user", {"train": 0.5, "test": 0.5})
    parts = document(
        "split", "visits", "--by", "time", "--on", "day", "--at", "2013-02-01", "--prefix", "t", cwd=project
    )
    assert {name: part["rows"] for name, part in parts["parts"].items()} == {"train": 100, "test": 300}
    assert parts["rule"] == {"type": "time", "column": "day", "at": ["2013-02-01"], "names": ["train", "test"]}
    with Workspace.open(project) as workspace, using(workspace):
        assert split_of(dataset("t-train").latest()) == TimeSplit("day", date(2013, 2, 1))


def test_a_dry_run_counts_and_makes_nothing(project: Path) -> None:
    by = {
        "hash": ("--on", "user"),
        "group": ("--by", "group", "--on", "user", "--seed", "1"),
        "strata": ("--by", "strata", "--on", "late"),
        "time": ("--by", "time", "--on", "id", "--at", "100", "--at", "200.5"),
    }
    rows = {name: document("split", "visits/1", "--dry-run", *words, cwd=project)["rows"] for name, words in by.items()}
    assert rows["strata"] == rows["group"] == {"train": 320, "test": 80}
    assert rows["time"] == {"train": 100, "validation": 101, "test": 199}
    assert sum(rows["hash"].values()) == 400
    assert len(document("list", cwd=project)["datasets"]) == 1


def test_wrong_usage_is_said(project: Path) -> None:
    assert "`--at`" in called("split", "visits", "--by", "time", "--on", "day", cwd=project, status=2)
    assert "PART=SHARE" in called("split", "visits", "--on", "id", "--share", "0.8", cwd=project, status=2)
    assert "holds numbers" in called(
        "split", "visits", "--by", "time", "--on", "id", "--at", "soon", cwd=project, status=2
    )
    assert "Nearest: user" in called("split", "visits", "--on", "users", cwd=project, status=1)
    assert "sum is 1" in called("split", "visits", "--on", "id", "--share", "a=0.8", cwd=project, status=1)


def test_a_part_without_rows_is_warned_of_and_fails_a_build(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    (project / "few.csv").write_text("user,n\n1,1\n1,2\n")
    called("ingest", "few.csv", "--to", "few", cwd=project)
    for words in ([], ["--dry-run"]):
        caplog.clear()
        called("split", "few", "--on", "user", *words, cwd=project)
        warned = "of few/1 no row falls into `test`: other shares, cuts or keys may give it some"
        assert [record.getMessage() for record in caplog.records] == [warned]
    parts = ["few-train", "few-test", "--key", "user"]
    assert "nothing was compared: few-test/1 has no rows" in called(
        "leakage", *parts, "--strict", cwd=project, status=1
    )
    assert "STOP  nothing was compared: few-test/1 has no rows" in called("leakage", *parts, cwd=project)


def test_leaks_are_said_and_can_fail_a_build(project: Path) -> None:
    called("split", "visits", "--on", "user", cwd=project)
    words = ("leakage", "visits-train", "visits-test/1", "--key", "user", "--ignore", "id")
    assert "no key (user) in both parts" in called(*words, "--strict", cwd=project)
    overlapping = document(*words, "--time", "day", "--target", "late", "--html", "report.html", cwd=project)
    assert (overlapping["severity"], overlapping["passed"]) == ("stop", False)
    assert (project / "report.html").read_text().startswith("<!doctype html>")
    assert "earlier than the newest" in called(*words, "--time", "day", "--strict", cwd=project, status=1)
    assert "can't be written" in called(*words, "--html", "no/report.html", cwd=project, status=1)

"""`mainspring feedback`: one label, a file and a dataset; what was refused is an error of one line, and the rest is logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from mainspring.cli.main import cli
from mainspring.data import dataset
from mainspring.serving import OutsideService, outside_service
from mainspring.workspace import Workspace, using

pytestmark = pytest.mark.one_backend("the commands call what is tested on both")


class Shell:
    """Calls commands in a project with an outside service."""

    def __init__(self, folder: Path, service: OutsideService) -> None:
        self.folder, self.service = folder, service

    def call(self, *args: str) -> Result:
        return CliRunner().invoke(cli, ["-C", str(self.folder), *args])

    def told(self, *args: str) -> Any:
        found = self.call(*args, "--json")
        assert found.exit_code == 0, found.output
        return json.loads(found.stdout)


@pytest.fixture
def shell(tmp_path: Path) -> Any:
    (tmp_path / "mainspring.toml").write_text('name = "p"\n')
    with Workspace.open(tmp_path) as workspace, using(workspace):
        yield Shell(tmp_path, outside_service("fraud", "1", label_key=["card"], label_window="3d", label_type="f64"))


def test_one_label_is_that_of_a_prediction_or_has_a_key(shell: Shell) -> None:
    first, second = shell.service.log([{"card": "17"}, {"card": "c2"}], [0.1, 0.9])
    assert shell.told("feedback", "add", "fraud", "--id", first, "--label", "1")["accepted"] == 1
    assert "1 label logged" in shell.call("feedback", "add", "fraud", "--key", "card=c2", "--label", "0.5").output
    shown = shell.told("predictions", "show", second)
    assert [(each["label"], each["counts"]) for each in shown["labels"]] == [(0.5, True)]
    assert "label" in shell.call("predictions", "show", first).output
    found = shell.told("feedback", "show", "fraud")["feedback"]
    assert (found["predictions"], found["labelled"], found["share"], found["waiting"]) == (2, 2, 1.0, 0)
    assert "2, 100.0%" in shell.call("feedback", "show", "fraud", "--since", "1d").output
    assert shell.told("feedback", "show", "fraud", "--as-of", "2001-01-01")["feedback"]["predictions"] == 0
    assert [each["label"] for each in shell.told("feedback", "list", "fraud")["labels"]] == [0.5, 1.0]
    assert "card=c2" in shell.call("feedback", "list", "fraud").output
    assert "2 labels of 2 segments are 2 parts" in shell.call("feedback", "compact").output


def test_a_prediction_whose_labels_cant_be_read_is_shown_and_that_is_said(shell: Shell, tmp_path: Path) -> None:
    (only,) = shell.service.log([{"card": "c1"}], [0.1])
    shell.call("feedback", "add", "fraud", "--id", only, "--label", "1")
    assert shell.told("predictions", "show", only)["gaps"] == []
    (path,) = tmp_path.rglob("feedback/*.segment")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    shown = shell.told("predictions", "show", only)
    assert (shown["prediction"]["output"], shown["labels"]) == (0.1, [])
    (gap,) = shown["gaps"]
    assert f"{path.name}: the segment is damaged at byte 8" in gap
    for command in (["predictions", "show"], ["explain"]):
        called = shell.call(*command, only)
        assert called.exit_code == 0
        assert "the segment is damaged at byte 8" in called.output
    assert "damaged at byte 8" in shell.call("feedback", "show", "fraud").output
    done = shell.told("feedback", "compact", "--past-damage")
    assert (done["rows"], done["kept_aside"], done["passed_bytes"]) == (0, [f"{path}.damaged"], len(data) - 8)
    assert shell.told("predictions", "show", only)["gaps"] == []


def test_a_file_and_a_dataset_give_their_labels_and_what_is_refused_is_told(shell: Shell, tmp_path: Path) -> None:
    shell.service.log([{"card": f"c{number}"} for number in range(3)], [0.1] * 3)
    (tmp_path / "labels.csv").write_text("card,truth\nc0,1\nc1,maybe\nc2,\n")
    refused = shell.call("feedback", "add", "fraud", str(tmp_path / "labels.csv"), "--column", "label=truth")
    assert refused.exit_code == 1
    assert '[1].label: "maybe" is a str, expected a number. Logged: 1. 1 row without a label.' in refused.stderr
    unnamed = shell.call("feedback", "add", "fraud", str(tmp_path / "labels.csv"))
    assert "Say which column it is by `--column label=...`." in unnamed.stderr
    dataset("truths").commit(pl.DataFrame({"card": ["c1", "c2"], "label": [0.0, None]}))
    assert (
        "1 label logged. 1 row without a label." in shell.call("feedback", "add", "fraud", "--dataset", "truths").output
    )
    assert shell.told("feedback", "show", "fraud")["feedback"]["labelled"] == 2


def test_labels_are_named_in_one_way(shell: Shell) -> None:
    for wrong in ((), ("--label", "1"), ("--id", "x"), ("a.csv", "--dataset", "d"), ("--key", "card", "--label", "1")):
        assert shell.call("feedback", "add", "fraud", *wrong).exit_code == 2, wrong
    lacking = shell.call("feedback", "add", "fraud", "none.csv")
    assert (lacking.exit_code, "No file `none.csv`" in lacking.stderr) == (1, True)


def test_an_outside_service_is_declared_and_shown(shell: Shell) -> None:
    told = shell.told(
        "endpoints", "outside", "scores", "--version", "7", "--label-key", "user", "--label-window", "1d,2h"
    )
    assert told["endpoint"]["labels"]["key"] == ["user"]
    shown = shell.call("endpoints", "show", "scores").output
    assert "a service that runs outside" in shown
    assert "by user within 1d,2h, nearest" in shown
    assert "outside" in shell.call("endpoints", "list").output
    assert (
        shell.told("endpoints", "outside", "scores", "--version", "8", "--label-key", "")["endpoint"]["labels"]["key"]
        == []
    )

"""`mainspring loadtest`: a server of its own, what is printed and kept, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LinearRegression

from mainspring.cli.main import cli
from mainspring.models import register
from mainspring.serving import bind
from mainspring.workspace import Workspace, using


# It takes two seconds: the server is a process of its own, which is the point.
@pytest.mark.one_backend("what is started reads through doors with suites of their own")
def test_an_endpoint_gets_a_server_is_asked_and_the_report_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text('name = "line"\n')
    with Workspace.open(tmp_path) as workspace, using(workspace):
        model: Any = LinearRegression().fit(np.array([[0.0], [1.0]]), np.array([0.0, 2.0]))
        register(model, "line", input_example=pl.DataFrame({"x": [1.0]}))
        bind("line", "line@production", version="line/1")

    def call(*arguments: str) -> Any:
        return CliRunner().invoke(cli, ["-C", str(tmp_path), "loadtest", *arguments])

    page = tmp_path / "page.html"
    asked = ("line", "--rate", "100", "--duration", "0.1", "--for", "500", "--html", str(page), "--json")
    done = call(*asked, "--limit", "p50=0us")
    document = json.loads(done.stdout)
    assert (done.exit_code, document["broken"]) == (1, ["p50<=0ms"])
    assert document["steps"][0]["outcomes"] == {"200": 10}
    assert "mainspring_requests_in_flight" in document["autoscaling"]["metrics"]
    assert "<svg" in page.read_text()
    (tmp_path / "lines").write_text('{"x": 1}\n' * 1_001)
    shown = call("line", "--duration", "0.1", "--data", str(tmp_path / "lines"))
    assert shown.output.startswith(f"Requests hold the first 1,000 of 1,001 records of {tmp_path / 'lines'}.\n")
    said = call("line", "--logged", "--since", "7d")
    assert (said.exit_code, "`line` is not an endpoint with requests in its log since" in said.output) == (1, True)
    shown = call("line", "--history")
    assert "line/1: protocol records, 1 row a request, 64 connections, limits p50<=0ms\n" in shown.output
    assert call("none").exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [("line", "--ramp", "5"), ("line", "--ramp", "a:b"), ("line", "--rate", "1", "--ramp", "1:2"), ("line", "--rate", "0"),
     ("line", "--data", "a", "--dataset", "b"), ("line", "--logged", "--dataset", "b"),
     ("line", "--since", "1h"), ("http://here", "--token", "plain")],
)  # fmt: skip
def test_wrong_usage_is_said(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(cli, ["loadtest", *arguments]).exit_code == 2

"""`mainspring endpoints` binds an endpoint with a runtime and shows it, each also as JSON."""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from sklearn.linear_model import LinearRegression

from mainspring.cli.main import cli
from mainspring.models import Field, Signature, export_onnx, register
from mainspring.runs.environment import installed
from mainspring.workspace import Workspace, using


def called(*words: str, code: int = 0) -> str:
    ran = CliRunner().invoke(cli, ["endpoints", *words])
    assert ran.exit_code == code, ran.output
    return ran.output


def told(*words: str) -> Any:
    return json.loads(called(*words, "--json"))["endpoint"]


def test_what_has_a_model_answered_by_a_process_of_its_own_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Workspace.open(tmp_path) as workspace, using(workspace), chdir(tmp_path):
        register(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), "line", signature=Signature((Field("x", "f64"),)))
        called("bind", "slopes", "line@production", "--version", "line/1")
        here = installed(workspace.cache)
        other = replace(here, versions=here.versions | {"scikit-learn": "0.1.0"})
        monkeypatch.setattr("mainspring.serving.isolation.environment.installed", lambda _: other)
        releases = f"scikit-learn {here.versions['scikit-learn']} (here 0.1.0)"
        assert told("show", "slopes")["other_releases"] == releases
        assert f"its own, if pip has {releases}" in " ".join(called("show", "slopes").split())
        called("bind", "slopes", "--memory-mb", "3000")
        assert "(here 0.1.0), started anew above 3,000 MiB" in " ".join(called("show", "slopes").split())


def test_an_endpoint_is_bound_to_a_runtime_and_shown(tmp_path: Path) -> None:
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    with Workspace.open(tmp_path) as workspace, using(workspace), chdir(tmp_path):
        register(model, "line", signature=Signature((Field("x", "f64"),)))
        assert told("bind", "slopes", "line@production", "--version", "line/1")["runtime"] == "native"
        assert "mainspring models onnx line/1" in called("bind", "slopes", "--runtime", "onnx", code=1)
        export_onnx("line/1", rows=[{"x": 1.0}])
        assert called("bind", "slopes", "--runtime", "onnx") == "slopes serves line/1 (line@production) by ONNX\n"
        shown = called("show", "slopes")
        assert ("onnx" in shown, "line@production" in shown) == (True, True)
        assert told("show", "slopes")["runtime"] == "onnx"
        assert "process" not in shown
        assert "No endpoint `slope`. Nearest: slopes." in called("show", "slope", code=1)

"""`mainspring endpoints` binds an endpoint with a runtime and shows it, each also as JSON."""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from sklearn.linear_model import LinearRegression

from mainspring.cli.main import cli
from mainspring.models import Field, Signature, export_onnx, register
from mainspring.workspace import Workspace, using


def called(*words: str, code: int = 0) -> str:
    ran = CliRunner().invoke(cli, ["endpoints", *words])
    assert ran.exit_code == code, ran.output
    return ran.output


def told(*words: str) -> Any:
    return json.loads(called(*words, "--json"))["endpoint"]


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
        assert "No endpoint `slope`. Nearest: slopes." in called("show", "slope", code=1)

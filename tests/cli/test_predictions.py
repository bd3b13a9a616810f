"""`mainspring predictions`: what answered is told by its name and number as well as by its id."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LinearRegression

from mainspring.cli.main import cli
from mainspring.models import register
from mainspring.serving import bind, outside_service
from mainspring.serving.app import ServingApp
from mainspring.web.server import serve_aside
from mainspring.workspace import Workspace, using

pytestmark = pytest.mark.one_backend("the commands call what is tested on both")


def test_a_prediction_is_shown_with_the_name_and_the_id_of_the_version_that_gave_it(tmp_path: Path) -> None:
    def shown(prediction: str, *more: str) -> str:
        return CliRunner().invoke(cli, ["-C", str(tmp_path), "predictions", "show", prediction, *more]).stdout

    (tmp_path / "mainspring.toml").write_text('name = "p"\n')
    with Workspace.open(tmp_path) as workspace, using(workspace):
        model = LinearRegression().fit(np.array([[0.0], [1.0]]), np.array([0.0, 2.0]))
        version = register(model, "line", input_example=pl.DataFrame({"x": [1.0]}))
        bind("delays", "line@production", version="line/1")
        with serve_aside(ServingApp(workspace, "delays")) as address:
            answer = httpx.post(f"{address}/predict", json={"x": 1.0}, timeout=20)
        own = answer.headers["X-Prediction-Id"]
        (other,) = outside_service("fraud", "line").log([{"card": "c1"}], [0.1])  # named as a model here is
        found = json.loads(shown(own, "--json"))["prediction"]
        assert (found["model_version"], found["version"]) == ("line/1", version.id)
        assert [name in shown(own) for name in ("line/1", version.id)] == [True, True]
        found = json.loads(shown(other, "--json"))["prediction"]
        assert (found["model_version"], found["version"]) == (None, "line")

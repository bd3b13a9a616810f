"""What platforms ask of a container: variables that are no ports or paths, and a real server that is asked as they ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

from mainspring.errors import ConfigError
from mainspring.models import register
from mainspring.serving import bind, serve
from mainspring.serving.contract import Contract, contract_of
from mainspring.testing.processes import start_server
from mainspring.workspace import Workspace, using

pytestmark = pytest.mark.one_backend("the variables of a platform reach no store")
PROGRAM = "import sys; from mainspring.__main__ import main; sys.argv = ['mainspring', 'serve', '--json']; main()"
PREDICT = "/v1/endpoints/1/deployedModels/2:predict"


def test_without_variables_nothing_is_asked() -> None:
    assert contract_of({"PORT": "1", "AIP_HTTP_PORT": ""}) == Contract()


def test_vertex_names_the_port_and_the_paths() -> None:
    asked = contract_of({"AIP_HTTP_PORT": "9090", "AIP_HEALTH_ROUTE": "/alive", "AIP_PREDICT_ROUTE": "/predict"})
    assert asked == Contract(9090, {"/alive": "/health", "/predict": "/invocations"})


@pytest.mark.parametrize(
    ("name", "value"),
    [("AIP_HTTP_PORT", "http"), ("AIP_HTTP_PORT", "0"), ("AIP_HTTP_PORT", "65536"), ("AIP_HTTP_PORT", "-1"),
     ("AIP_HEALTH_ROUTE", "health"), ("AIP_PREDICT_ROUTE", "https://x/predict")],
)  # fmt: skip
def test_a_variable_that_says_nothing_useful_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: `{value}`"):
        contract_of({name: value})


def endpoint_in(folder: Path) -> None:
    with Workspace.open(folder) as workspace, using(workspace):
        model: Any = LinearRegression().fit(np.array([[0.0], [1.0]]), np.array([0.0, 2.0]))
        register(model, "line", input_example=pl.DataFrame({"x": [1.0]}))
        bind("delays", "line@production", version="line/1", log="off")


def test_a_server_answers_as_a_platform_asks_whatever_host_it_names(tmp_path: Path) -> None:
    endpoint_in(tmp_path)
    declared = {
        "MAINSPRING_SERVE_HOST": "0.0.0.0", "MAINSPRING_SERVE_AUTHENTICATION": "platform",
        "MAINSPRING_SERVE_ENDPOINT": "delays", "MAINSPRING_SERVE_PORT": "0",
        "AIP_HEALTH_ROUTE": "/alive", "AIP_PREDICT_ROUTE": PREDICT,
    }  # fmt: skip
    process, told = start_server(PROGRAM, tmp_path, **declared)
    address = f"http://127.0.0.1:{json.loads(told)['url'].rpartition(':')[2]}"
    try:
        with httpx.Client(base_url=address, headers={"host": "model.example"}) as client:
            assert client.get("/alive").json() == {"status": "ok"}
            assert client.get("/ping").status_code == 200
            asked = {"instances": [{"x": 3.0}], "parameters": {}}
            assert client.post(PREDICT, json=asked).json() == {"predictions": pytest.approx([6.0])}
            assert client.post("/invocations", json=asked).status_code == 200
            assert client.post("/predict", json={"x": 3.0}).json()["predictions"] == pytest.approx([6.0])
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_only_a_declaration_that_is_known_opens_a_server(tmp_path: Path) -> None:
    with Workspace.open(tmp_path, overrides={"serve_authentication": "none"}) as workspace:
        with pytest.raises(ConfigError, match=r"serve_authentication = 'none'.*token.*platform"):
            serve(workspace, "delays", host="0.0.0.0", port=0)

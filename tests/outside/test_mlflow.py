"""One script of MLflow's unmodified client sees the same from our server as from MLflow's own, for two of its minor versions.

Each difference is asserted as one, so that the list in docs/mlflow.md can't rot.
"""

from __future__ import annotations

import json
import math
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mainspring.errors import NotAllowedError
from mainspring.models import allow_pickle, export_onnx, register, set_alias
from mainspring.serving import bind, load_predictor
from mainspring.testing.processes import start_server
from mainspring.workspace import Workspace, using
from tests.outside.environments import Environment, environment

SCRIPT = Path(__file__).parent / "mlflow_script.py"
SERVING_SCRIPT = Path(__file__).parent / "mlflow_serving_script.py"
TORCH_SCRIPT = Path(__file__).parent / "mlflow_torch_script.py"
SERVER = """
from mainspring.server import serve
from mainspring.workspace import Workspace
serve(Workspace.open(), port=0, on_ready=lambda address: print(address, flush=True))
"""
LARGEST = 1.7976931348623157e308
FINE, REFUSED = "nothing was wrong", "INVALID_PARAMETER_VALUE"
_START_S = 240
_SCRIPT_S = 1_000


@pytest.fixture(scope="module", params=["3.17", "3.16"])
def client(request: pytest.FixtureRequest) -> Environment:
    """The environment of a minor version of MLflow."""
    return environment(f"mlflow-{request.param}")


@contextmanager
def theirs(client: Environment, folder: Path) -> Iterator[str]:
    """MLflow's own server on a database of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        client.program("mlflow"), "server", "--port", str(port), "--workers", "1",
        "--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "./files",
    ]  # fmt: skip
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "HOME": str(folder)}
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=os.environ | quiet, stdout=log, stderr=log, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/health", server, folder / "server.log")
        yield address
    finally:
        os.killpg(server.pid, 15)
        server.wait()


@contextmanager
def ours(folder: Path) -> Iterator[str]:
    process, address = start_server(SERVER, folder)
    try:
        yield address
    finally:
        process.terminate()
        process.communicate()


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and server.poll() is None:
        try:
            urlopen(address, timeout=5).close()
        except (URLError, OSError):
            time.sleep(0.2)  # another's process, which says nothing when it listens
        else:
            return
    pytest.fail(f"MLflow's server did not start:\n{log.read_text()[-2_000:]}")


def seen(client: Environment, address: str, folder: Path, *, script: Path = SCRIPT) -> dict[str, Any]:
    """What a script saw of a server."""
    printed = client.run("python", "-W", "ignore", str(script), address, cwd=folder, timeout_s=_SCRIPT_S)
    document: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return document


@pytest.mark.timeout(2_400)
def test_a_client_sees_the_same_of_both_servers(client: Environment, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    with theirs(client, tmp_path / "theirs") as address:
        wanted = seen(client, address, tmp_path / "theirs")
    with ours(tmp_path / "ours") as address:
        found = seen(client, address, tmp_path / "ours")
    assert wanted.pop("kept") == {
        "metrics": {"high": LARGEST, "low": -LARGEST}, "characters": 6_000, "lists of tags": REFUSED,
        "text for a number": FINE if client.folder.name == "mlflow-3.16" else REFUSED,
        "characters of tags": 8_000, "odd name": REFUSED, "ended": False, "aliases found": [[]],
        "default": ["BAD_REQUEST", FINE],
    }  # fmt: skip
    assert found.pop("kept") == {
        "metrics": {"high": math.inf, "low": -math.inf}, "characters": 6_001, "lists of tags": FINE,
        "text for a number": REFUSED,
        "characters of tags": 8_001, "odd name": FINE, "ended": True, "aliases found": [["live"]],
        "default": [REFUSED, REFUSED],
    }  # fmt: skip
    assert list(found) == list(wanted)
    for section, told in wanted.items():
        for name, value in told.items():
            assert (name, found[section].get(name)) == (name, value), section


@pytest.mark.timeout(2_400)
def test_what_pytorch_logs_by_itself_is_the_same_in_both_servers(tmp_path: Path) -> None:
    client = environment("mlflow-3.17")
    trainer = environment("mlflow-torch", over=client)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    with ours(tmp_path / "ours") as address:
        found = seen(trainer, address, tmp_path / "ours", script=TORCH_SCRIPT)
    with theirs(client, tmp_path / "theirs") as address:
        assert found == seen(trainer, address, tmp_path / "theirs", script=TORCH_SCRIPT)
    assert found["loaded"]


@pytest.mark.timeout(1_200)
def test_what_a_client_registers_is_served_with_the_clients_own_predictions(
    client: Environment, tmp_path: Path
) -> None:
    with ours(tmp_path) as address:
        told = seen(client, address, tmp_path, script=SERVING_SCRIPT)
    rows = told.pop("rows")
    with Workspace.open(tmp_path) as workspace, using(workspace):
        with pytest.raises(NotAllowedError, match=r"models allow-pickle REF.*models convert REF"):
            load_predictor("pickled/1")
        allow_pickle("pickled/1", note="ours")
        for name, each in told.items():
            assert each["seen"] == ["READY", True, True], name
            bind(name, f"{name}@live", version=f"{name}/1")
            assert load_predictor(f"{name}@live")(rows) == each["predicted"], name
        assert export_onnx("trees/1").largest_error < 1e-6


@pytest.mark.timeout(1_200)
def test_a_client_loads_a_model_that_was_registered_here(client: Environment, tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [n % 7 / 2 for n in range(40)], "city": ["ab"[n % 2] for n in range(40)]})
    rows, late = frame.to_dict("records"), [int(x > 1) for x in frame["x"]]
    columns = make_column_transformer((StandardScaler(), ["x"]), (OneHotEncoder(), ["city"]))
    with Workspace.open(tmp_path) as workspace, using(workspace):
        register(make_pipeline(columns, LogisticRegression()).fit(frame, late), "own", signature=frame)
        set_alias("own/1", "prod")
        wanted = load_predictor("own@prod")(rows)
    asked = """
import json, sys, mlflow, pandas
mlflow.set_tracking_uri(sys.argv[1])
rows = pandas.DataFrame(json.loads(sys.argv[2]))
for uri in ("models:/own@prod", "models:/own/1"):
    print(json.dumps(mlflow.pyfunc.load_model(uri).predict(rows).tolist()))
"""
    with ours(tmp_path) as address:
        told = client.run("python", "-W", "ignore", "-c", asked, address, json.dumps(rows), cwd=tmp_path)
    assert [json.loads(line) for line in told.splitlines()[-2:]] == [wanted, wanted]


@pytest.mark.timeout(1_200)
def test_every_route_is_one_of_the_clients(client: Environment, tmp_path: Path) -> None:
    from mainspring.server.mlflow import ROUTES

    listing = """
import json
from mlflow.protos import databricks_pb2, mlflow_artifacts_pb2, model_registry_pb2, service_pb2
found = [
    (each.method, each.path) for file in (service_pb2, model_registry_pb2, mlflow_artifacts_pb2)
    for service in file.DESCRIPTOR.services_by_name.values() for method in service.methods
    for each in method.GetOptions().Extensions[databricks_pb2.rpc].endpoints
]
print(json.dumps(found))
"""
    printed = client.run("python", "-W", "ignore", "-c", listing, cwd=tmp_path)
    known = {(method, _shape(path)) for method, path in json.loads(printed)}
    assert {(route.method, _shape(route.path)) for route in ROUTES} - known <= {
        ("GET", "/mlflow/metrics/get-history-bulk")  # of MLflow's own page, which no message describes
    }


def _shape(path: str) -> str:
    """A path with its fields left out."""
    return re.sub(r"\{[^}]*\}|<[^>]*>", "{}", path if path.startswith("/") else f"/{path}")

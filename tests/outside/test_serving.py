"""Triton's, KServe's and MLflow's own clients, unmodified, are answered what the model answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from mainspring.models import register
from mainspring.serving import bind, load_predictor
from mainspring.testing.processes import start_server
from mainspring.workspace import Workspace, using
from tests.outside.environments import environment

SERVER = """
from mainspring.serving import serve
from mainspring.workspace import Workspace
serve(Workspace.open(), "delays", "kinds", port=0, on_ready=lambda address: print(address, flush=True))
"""
ROWS = {"delay": [1.5, 60.0, 3.25], "month": [1, 7, 12], "late": [False, True, True], "carrier": ["UA", "é", "AA"]}
TRITON = """
import json, sys
import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

rows = json.loads(sys.argv[2])
kinds = {"delay": ("FP64", np.float64), "month": ("INT64", np.int64), "late": ("BOOL", bool), "carrier": ("BYTES", object)}
client = InferenceServerClient(sys.argv[1])
told = {"live": client.is_server_live(), "ready": client.is_server_ready(), "model": client.is_model_ready("delays"),
        "version": client.is_model_ready("delays", "1"), "none": client.is_model_ready("nothing"),
        "server": client.get_server_metadata(), "metadata": client.get_model_metadata("delays"), "answers": []}
for in_bytes in (True, False):
    inputs = []
    for name, (datatype, kind) in kinds.items():
        given = InferInput(name, [3, 1], datatype)
        given.set_data_from_numpy(np.array(rows[name], dtype=kind).reshape(3, 1), binary_data=in_bytes)
        inputs.append(given)
    for outputs in (None, [InferRequestedOutput("predictions", binary_data=False)], [InferRequestedOutput("predictions")]):
        for coding in (None, "gzip", "deflate"):
            answer = client.infer("delays", inputs, outputs=outputs, request_id="mine", request_compression_algorithm=coding,
                                  response_compression_algorithm=coding)
            told["answers"].append(answer.as_numpy("predictions").tolist())
            assert answer.get_response()["id"] == "mine"
matrix = InferInput("input", [3, 2], "FP32")
matrix.set_data_from_numpy(np.array([[1.5, 0], [60, 1], [3.25, 0]], dtype=np.float32))
told["kinds"] = client.infer("kinds", [matrix]).as_numpy("predictions").tolist()
told["errors"] = []
for model, given in (("nothing", inputs), ("delays", inputs[:2])):
    try:
        client.infer(model, given)
    except InferenceServerException as error:
        told["errors"].append([error.status(), error.message()])
print(json.dumps(told))
"""
KSERVE = """
import asyncio, json, sys
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

async def main():
    rows = json.loads(sys.argv[2])
    kinds = {"delay": "FP64", "month": "INT64", "late": "BOOL", "carrier": "BYTES"}
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    inputs = [InferInput(name, [3], kind, data=rows[name]) for name, kind in kinds.items()]
    answer = await client.infer(sys.argv[1], InferRequest("delays", inputs), model_name="delays")
    told = {"answers": answer.outputs[0].data, "live": await client.is_server_live(sys.argv[1]),
            "ready": await client.is_server_ready(sys.argv[1]), "model": await client.is_model_ready(sys.argv[1], "delays")}
    print(json.dumps(told))

asyncio.run(main())
"""
MLFLOW = """
import json, sys
from urllib.parse import urlsplit
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

address = urlsplit(sys.argv[1])
client = ScoringServerClient(address.hostname, address.port)
client.wait_server_ready(timeout=10)
print(json.dumps(client.invoke(pd.DataFrame(json.loads(sys.argv[2]))).get_predictions()[0].tolist()))
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, list[Any]]]]:
    """The address of a server, and what each of its models says in Python."""
    root = tmp_path_factory.mktemp("served")
    (root / "mainspring.toml").write_text('name = "served"\n')
    with Workspace.open(root) as workspace, using(workspace):
        table = pl.DataFrame(ROWS).to_pandas()
        columns = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), ["carrier"]), remainder="passthrough"
        )
        register(make_pipeline(columns, LogisticRegression()).fit(table, [0, 1, 1]), "delay", input_example=table)
        numbers = pl.DataFrame({"delay": [1.5, 60.0, 3.25, 9.0], "late": [0.0, 1.0, 0.0, 1.0]})
        register(LogisticRegression().fit(numbers, ["a", "b", "c", "c"]), "kind", input_example=numbers)
        bind("delays", "delay@production", version="delay/1")
        bind("kinds", "kind@production", version="kind/1")
        said: dict[str, list[Any]] = {
            "delays": load_predictor("delays")(pl.DataFrame(ROWS)),
            "kinds": [list(each.values()) for each in load_predictor("kinds")(numbers[:3])],  # type: ignore[union-attr]  # by class
        }
        process, address = start_server(SERVER, root)
        yield address, said
        process.terminate()
        process.communicate()


@pytest.mark.timeout(1_200)
def test_tritons_client_is_answered_in_every_form(served: tuple[str, dict[str, list[Any]]], tmp_path: Path) -> None:
    address, said = served
    program = tmp_path / "client.py"
    program.write_text(TRITON)
    command = ("python", str(program), address.removeprefix("http://"), json.dumps(ROWS))
    told = json.loads(environment("triton").run(*command, cwd=tmp_path))
    assert {told[each] for each in ("live", "ready", "model", "version")} == {True}
    assert told["none"] is False
    assert (told["server"]["extensions"], told["metadata"]["name"]) == (["binary_tensor_data"], "delays")
    assert [each["datatype"] for each in told["metadata"]["inputs"]] == ["FP64", "INT64", "BOOL", "BYTES"]
    assert told["answers"] == [said["delays"]] * 18
    assert np.allclose(told["kinds"], said["kinds"])
    assert [status for status, _ in told["errors"]] == ["404", "422"]
    assert "late: missing" in told["errors"][1][1]


@pytest.mark.timeout(1_200)
def test_kserves_client_is_answered(served: tuple[str, dict[str, list[Any]]], tmp_path: Path) -> None:
    address, said = served
    (tmp_path / "client.py").write_text(KSERVE)
    told = json.loads(environment("kserve").run("python", "client.py", address, json.dumps(ROWS), cwd=tmp_path))
    assert told == {"answers": said["delays"], "live": True, "ready": True, "model": True}


@pytest.mark.timeout(1_200)
def test_mlflows_scoring_client_is_answered(served: tuple[str, dict[str, list[Any]]], tmp_path: Path) -> None:
    address, said = served
    (tmp_path / "client.py").write_text(MLFLOW)
    printed = environment("mlflow-3.17").run("python", "client.py", address, json.dumps(ROWS), cwd=tmp_path)
    assert json.loads(printed.splitlines()[-1]) == said["delays"]

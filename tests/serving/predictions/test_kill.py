"""A server that is killed at a random instant: no prediction that anybody was answered is missing from the log."""

from __future__ import annotations

import json
import random
import threading
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

from mainspring.models import register
from mainspring.serving import bind
from mainspring.serving.predictions.ids import ids_from
from mainspring.serving.predictions.log import predictions_folder
from mainspring.serving.predictions.record import decode
from mainspring.store import read_segments
from mainspring.testing.processes import start_server
from mainspring.workspace import Workspace, using

PROGRAM = """
from mainspring.serving import serve
from mainspring.workspace import Workspace
serve(Workspace.open(), "lines", port=0, on_ready=lambda address: print(address, flush=True))
"""
_CLIENTS = 8


def _ask(address: str, answered: dict[str, float], enough: threading.Event, count: int) -> None:
    """Ask until the server is gone, and take down what was answered."""
    url = urlsplit(address)
    connection = HTTPConnection(url.hostname or "", url.port, timeout=20)
    try:
        while True:
            x = random.randrange(1_000)
            connection.request("POST", "/predict", json.dumps([{"x": x}] * 2), {"Content-Type": "application/json"})
            for each in json.loads(connection.getresponse().read())["ids"]:
                answered[each] = x
            if len(answered) >= count:
                enough.set()
    except (OSError, HTTPException, ValueError):  # it was killed, perhaps in the middle of an answer
        connection.close()


@pytest.mark.one_backend("the log is files")
@pytest.mark.parametrize("kills", [1, pytest.param(40, marks=pytest.mark.soak)])
def test_no_answered_prediction_is_missing_after_a_kill(tmp_path: Path, kills: int) -> None:
    (tmp_path / "mainspring.toml").write_text('name = "killed"\n')
    with Workspace.open(tmp_path) as workspace, using(workspace):
        model = LinearRegression().fit(np.array([[0.0], [1.0]]), [0.0, 2.0])
        register(model, "line", input_example=pl.DataFrame({"x": [1.0]}))
        bind("lines", "line@production", version="line/1")
        answered: dict[str, float] = {}
        for _ in range(kills):
            process, address = start_server(PROGRAM, tmp_path)
            enough, count = threading.Event(), len(answered) + random.randrange(50, 200)
            clients = [threading.Thread(target=_ask, args=(address, answered, enough, count)) for _ in range(_CLIENTS)]
            for client in clients:
                client.start()
            assert enough.wait(30)
            process.kill()
            process.communicate()
            for client in clients:
                client.join()
        records = [decode(each.record) for each in read_segments(predictions_folder(workspace))]
    found = {each: record.inputs["x"][0] for record in records for each in ids_from(record.id, record.rows)}
    assert {each: found.get(each) for each in answered} == answered

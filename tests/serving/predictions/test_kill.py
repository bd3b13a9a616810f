"""A server that is killed at a random instant: no prediction that anybody was answered is missing from the log."""

from __future__ import annotations

import json
import random
from http.client import HTTPConnection
from pathlib import Path

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
from mainspring.workspace import Workspace, using
from tests.serving.lines import answers_until_killed


def _asked(link: HTTPConnection) -> dict[str, float]:
    """What was asked, by the ids of the predictions that were answered."""
    x = random.randrange(1_000)
    link.request("POST", "/predict", json.dumps([{"x": x}] * 2), {"Content-Type": "application/json"})
    return dict.fromkeys(json.loads(link.getresponse().read())["ids"], x)


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
            for each in answers_until_killed(tmp_path, _asked, least=random.randrange(25, 100), clients=8):
                answered |= each
        records = [decode(each.record) for each in read_segments(predictions_folder(workspace))]
    found = {each: record.inputs["x"][0] for record in records for each in ids_from(record.id, record.rows)}
    assert {each: found.get(each) for each in answered} == answered

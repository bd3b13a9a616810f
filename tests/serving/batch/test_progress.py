"""The rate and the time left are of predicting alone, however long the model takes to load, and by how many threads."""

from __future__ import annotations

import time
from typing import Any

import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

from mainspring.models import register
from mainspring.serving import online
from mainspring.serving.batch import BatchProgress, inputs, predict_batch
from mainspring.workspace import Workspace

_LOAD_S = 0.5


@pytest.mark.one_backend("what is told has nothing to do with the backend")
@pytest.mark.parametrize("jobs", [1, 3])
def test_loading_the_model_is_no_time_of_predicting(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    rows = pl.DataFrame({"id": range(40), "x": [float(row) for row in range(40)]})
    register(LinearRegression().fit(rows.select("x").to_numpy(), rows["x"]), "model", signature=rows.select("x"))
    monkeypatch.setattr(inputs, "BLOCK_ROWS", 7)
    loaded = online._loaded

    def slowly(*given: Any) -> Any:
        time.sleep(_LOAD_S)
        return loaded(*given)

    monkeypatch.setattr(online, "_loaded", slowly)
    for table in (rows[:14], rows):  # the second goes on where the first ended
        told: list[tuple[float, BatchProgress]] = []

        def note(each: BatchProgress, into: list[tuple[float, BatchProgress]] = told) -> None:
            into.append((time.monotonic(), each))

        predict_batch("model/1", table, to="to", jobs=jobs, progress=note)
        began = next(at for at, each in told if each.step == "predicting")
        at, last = [each for each in told if each[1].step == "predicting"][-1]
        assert last.rows == table.height
        assert 0 < last.elapsed_s <= at - began - _LOAD_S + 0.05

"""Rows a second of a batch prediction, against bare scikit-learn on the same rows in calls of 65,536.

Budget: 200,000 rows a second for gradient boosting (30 features) on two cores. `--small` runs it briefly.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

from mainspring.data import dataset
from mainspring.models import register
from mainspring.serving.batch import predict_batch
from mainspring.workspace import Workspace, using

COLUMNS, BATCH = 30, 65_536


def main() -> None:
    """Print both rates and their ratio; the best of some rounds, which take turns."""
    rows, rounds = (20_000, 1) if "--small" in sys.argv else (1_048_576, 3)
    random = np.random.default_rng(0)
    train = random.normal(size=(20_000, COLUMNS))
    model = HistGradientBoostingClassifier(max_iter=50, random_state=0).fit(train, train[:, 0] + train[:, 1] ** 2 > 1)
    table = pl.DataFrame({f"x{n}": random.normal(size=rows) for n in range(COLUMNS)})
    array = table.to_numpy()
    with tempfile.TemporaryDirectory() as folder, Workspace.open(Path(folder)) as workspace, using(workspace):
        register(model, "flights", signature=table[:5], input_kind="numpy")
        version = dataset("rows").commit(table.with_columns(id=pl.Series(range(rows))))
        bare, ours = [], []
        for number in range(rounds):
            began = time.perf_counter()
            for at in range(0, rows, BATCH):
                model.predict_proba(array[at : at + BATCH])
            bare.append(time.perf_counter() - began)
            began = time.perf_counter()
            done = predict_batch("flights/1", version, to="predictions", column=f"p{number}")
            ours.append(time.perf_counter() - began)
            assert done.reused == 0
        floor, made = rows / min(bare), rows / min(ours)
        print(f"{rows:,} rows: scikit-learn alone {floor:,.0f} rows/s, predict_batch {made:,.0f} rows/s", end=" ")
        print(f"(budget 200,000), {floor / made:.2f} x")
        began = time.perf_counter()
        assert predict_batch("flights/1", version, to="predictions", column=f"p{rounds - 1}").reused == rows
        print(f"again, from the parts that are there: {rows / (time.perf_counter() - began):,.0f} rows/s")


if __name__ == "__main__":
    main()

"""The number of OpenMP's threads while a model answers."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from threadpoolctl import ThreadpoolController

from mainspring.models import Field, Predictor, Signature
from mainspring.models.threads import FEW_ROWS

THREADS = 3


def threads() -> int:
    """How many the calling thread takes."""
    (pool, *_) = ThreadpoolController().select(user_api="openmp").lib_controllers
    return int(pool.get_num_threads())


class Counting:
    """Answers with the number of threads that it may take; a negative value it refuses."""

    def predict(self, rows: Any) -> Any:
        if (rows < 0).any():
            raise ValueError("negative")
        return np.full(len(rows), threads())


class CountingEstimator(Counting, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The same as an estimator of scikit-learn."""


@pytest.fixture(autouse=True)
def some_threads() -> Any:
    with ThreadpoolController().limit(limits=THREADS, user_api="openmp"):
        yield


def asked(model: Any, rows: int, value: float = 1.0) -> list[Any]:
    return Predictor(model, Signature((Field("n", "f64"),)), "numpy").answer({"n": [value] * rows}, rows)


@pytest.mark.parametrize(
    ("rows", "expected"), [(1, 1), (FEW_ROWS, 1), (FEW_ROWS + 1, THREADS)], ids=["one", "few", "many"]
)
def test_few_rows_are_answered_by_one_thread_and_many_by_all(rows: int, expected: int) -> None:
    assert asked(CountingEstimator(), rows) == [expected] * rows
    assert threads() == THREADS


def test_a_model_of_no_such_library_keeps_its_threads() -> None:
    assert asked(Counting(), 1) == [THREADS]


def test_a_call_that_fails_leaves_the_number_as_it_was() -> None:
    with pytest.raises(ValueError, match="negative"):
        asked(CountingEstimator(), 1, value=-1.0)
    assert threads() == THREADS


@pytest.mark.parametrize(
    "model",
    [
        "lightgbm.LGBMRegressor(n_estimators=20, verbose=-1, n_jobs=THREADS)",
        "xgboost.XGBRegressor(n_estimators=20, n_jobs=THREADS)",
        "sklearn.ensemble.HistGradientBoostingRegressor(max_iter=20)",
    ],
    ids=["lightgbm", "xgboost", "sklearn"],
)
def test_each_library_answers_few_rows_by_one_thread_and_many_by_several(model: str) -> None:
    program = f"""
import os, sys, numpy as np, lightgbm, sklearn.ensemble, xgboost
from concurrent.futures import ThreadPoolExecutor
from mainspring.models import Field, Predictor, Signature
THREADS = {THREADS}
threads = lambda: len(os.listdir("/proc/self/task"))
rows = np.random.default_rng(0).normal(size=(2_000, 2))
predictor = Predictor({model}.fit(rows, rows[:, 0]), Signature((Field("a", "f64"), Field("b", "f64"))), "numpy")
columns = {{"a": rows[:, 0].tolist(), "b": rows[:, 1].tolist()}}
few = {{name: values[:{FEW_ROWS}] for name, values in columns.items()}}
def made(columns, count):  # by a thread that has no others yet, how many it makes
    before = threads()
    answers = predictor.answer(columns, count)
    return threads() - before, answers
with ThreadPoolExecutor(1) as own:
    none, answers = own.submit(made, few, {FEW_ROWS}).result()
    several, more = own.submit(made, columns, 2_000).result()
assert answers == more[:{FEW_ROWS}]
print(none, several)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    none, several = map(int, told.stdout.split())
    assert (none, several > 0) == (0, True)

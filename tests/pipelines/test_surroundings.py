"""What a step or the pipeline's body sets in libraries and in the process reaches no step after it, whatever the runner."""

from __future__ import annotations

import decimal
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn

from mainspring.pipelines.surroundings import surroundings_kept
from mainspring.testing.runners import POOL
from mainspring.testing.workspaces import Lab

CONTEXT = decimal.Context(prec=4)
SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "a variable that is set": (lambda: os.environ.update(LAB_LEFT="1"), lambda: os.environ.get("LAB_LEFT")),
    "a variable that is removed": (lambda: os.environ.pop("PATH"), lambda: os.environ.get("PATH")),
    "the working directory": (lambda: os.chdir("/"), os.getcwd),
    "decimal's precision": (lambda: setattr(decimal.getcontext(), "prec", 5), lambda: decimal.getcontext().prec),
    "decimal's traps": (
        lambda: decimal.getcontext().traps.update({decimal.Inexact: True}),
        lambda: decimal.getcontext().traps[decimal.Inexact],
    ),
    "another decimal context": (lambda: decimal.setcontext(CONTEXT), lambda: decimal.getcontext().prec),
    "how numpy prints": (lambda: np.set_printoptions(precision=3), lambda: str(np.array([1 / 3]))),
    "an older way in which numpy prints": (lambda: np.set_printoptions(legacy="1.13"), lambda: str(np.array([1 / 3]))),
    "how numpy takes errors": (lambda: np.seterr(all="raise"), np.geterr),
    "whom numpy tells of errors": (lambda: np.seterrcall(print), np.geterrcall),
    "an option of pandas": (lambda: pd.set_option("display.precision", 2), lambda: str(pd.Series([1 / 3]))),
    "an option of Polars": (lambda: pl.Config.set_tbl_rows(2), lambda: str(pl.Series(range(9)).to_frame())),
    "the floats of Polars": (lambda: pl.Config.set_float_precision(2), lambda: str(pl.DataFrame({"x": [1 / 3]}))),
    "what scikit-learn gives": (
        lambda: sklearn.set_config(transform_output="pandas"),
        lambda: sklearn.get_config()["transform_output"],
    ),
    "a filter of warnings": (lambda: warnings.simplefilter("ignore", EncodingWarning), lambda: [*warnings.filters]),
    "how deep calls may go": (lambda: sys.setrecursionlimit(5000), sys.getrecursionlimit),
    "how long numbers may be": (lambda: sys.set_int_max_str_digits(9000), sys.get_int_max_str_digits),
}


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    with decimal.localcontext(), surroundings_kept():
        yield


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_set_is_put_back(name: str) -> None:
    change, look = SETTINGS[name]
    before = look()
    with surroundings_kept():
        change()
        assert look() != before
    assert look() == before


def test_what_was_set_before_stays() -> None:
    np.set_printoptions(precision=3)
    decimal.getcontext().prec = 5
    with surroundings_kept():
        np.set_printoptions(precision=1)
        decimal.getcontext().prec = 7
    assert (np.get_printoptions()["precision"], decimal.getcontext().prec) == (3, 5)


def test_what_an_import_sets_is_no_change_to_undo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "lab_inner.py").write_text("import decimal\ndecimal.getcontext().prec = 9\n")
    (tmp_path / "lab_outer.py").write_text("import os, lab_inner\nos.environ['LAB_OUTER'] = 'set'\n")
    with surroundings_kept():
        os.environ["LAB_STEP"] = "set"
        __import__("lab_outer")
        decimal.getcontext().prec = 11
    assert (decimal.getcontext().prec, os.environ.pop("LAB_OUTER"), os.environ.get("LAB_STEP")) == (9, "set", None)


def test_a_library_loaded_in_the_block_is_as_it_was_after_its_import(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("locale", "decimal", "_pydecimal"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with surroundings_kept():
        __import__("decimal").getcontext().prec = 5
    assert sys.modules["decimal"].getcontext().prec == 28


def test_an_import_in_another_thread_changes_nothing_that_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "lab_other.py").write_text("import decimal\ndecimal.getcontext().prec = 9\n")
    with surroundings_kept():
        thread = threading.Thread(target=__import__, args=["lab_other"])
        thread.start()
        thread.join()
        decimal.getcontext().prec = 11
    assert decimal.getcontext().prec == 28


def test_a_failed_import_tells_of_its_own_frames_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "lab_bad.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError) as raised, surroundings_kept():
        import lab_bad  # type: ignore[import-not-found]  # noqa: F401  # written above
    frames = traceback.extract_tb(raised.value.__traceback__)
    assert [Path(frame.filename).name for frame in frames] == [Path(__file__).name, "lab_bad.py"]


LEAKS = """
import decimal, os

def limits():
    decimal.getcontext().prec = 5
    os.environ["LAB_LEFT"] = "1"

@ms.step
def first(n: int):
    before = shown()
    limits()
    return before

def shown():
    return [str(decimal.Decimal(1) / 3), os.environ.get("LAB_LEFT")]

@ms.step
def second(x: list):
    return [x, shown()]

@ms.pipeline
def main(n: int = 1):
    limits()
    return second(first(n))
"""


@pytest.mark.parametrize("runner", ["inline", POOL])
@pytest.mark.one_backend("settings are the process's, not the database's")
def test_every_step_finds_the_settings_that_the_imports_left(lab: Lab, runner: str) -> None:
    lab.write(LEAKS + "\ndecimal.getcontext().prec = 7\n")
    with surroundings_kept():
        found = lab.run(runner=runner).value
    assert found == [["0.3333333", None]] * 2

"""A setting of a library that a notebook sets by hand is in the keys of its steps; one that only shows things is not."""

from __future__ import annotations

import decimal
import locale
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch

from mainspring.pipelines.code.settings import settings
from mainspring.pipelines.launch import run_pipeline
from mainspring.pipelines.surroundings import surroundings_kept
from mainspring.testing.workspaces import Lab, states, task_of

SET: dict[str, Callable[[], Any]] = {
    "setting decimal.prec": lambda: setattr(decimal.getcontext(), "prec", 5),
    "setting decimal.traps": lambda: decimal.getcontext().traps.update({decimal.Inexact: True}),
    "setting numpy.seterr.divide": lambda: np.seterr(divide="raise"),
    "setting pandas.mode.string_storage": lambda: pd.set_option("mode.string_storage", "python"),
    "setting pandas.display.date_dayfirst": lambda: pd.set_option("display.date_dayfirst", True),  # pandas' own
    "setting sklearn.transform_output": lambda: sklearn.set_config(transform_output="pandas"),
    "setting torch.default_dtype": lambda: torch.set_default_dtype(torch.float64),
}


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    with decimal.localcontext(), surroundings_kept():
        yield


def test_what_libraries_set_themselves_is_no_part_of_a_key() -> None:
    assert settings() == {}


@pytest.mark.parametrize("name", SET)
def test_a_setting_is_a_part_while_it_is_set(name: str) -> None:
    with surroundings_kept():
        SET[name]()
        assert list(settings()) == [name]
    assert settings() == {}


def test_whether_the_smallest_numbers_are_zero_is_a_part() -> None:
    is_set = torch.set_flush_denormal(True)  # not on each processor
    try:
        assert settings() == ({"setting torch.flush_denormal": "True"} if is_set else {})
    finally:
        torch.set_flush_denormal(False)
    assert settings() == {}


def test_a_locale_is_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locale, "setlocale", lambda kind: "de_DE.UTF-8" if kind == locale.LC_TIME else "C")
    assert settings() == {"setting locale.LC_TIME": "de_DE.UTF-8"}


def test_what_only_shows_things_is_none() -> None:
    pd.set_option("display.precision", 2)
    np.set_printoptions(precision=2)
    sklearn.set_config(display="text", print_changed_only=False, working_memory=10)
    assert settings() == {}


def test_a_setting_counts_where_an_argument_alone_brings_the_library(lab: Lab) -> None:
    source = (
        "import mainspring as ms\nimport pandas as pd\nfrom sklearn.preprocessing import StandardScaler\n"
        "@ms.step\ndef fit(): return StandardScaler().fit(pd.DataFrame({'a': [1.0, 2.0]}))\n"
        "@ms.step\ndef frame(): return pd.DataFrame({'a': [1.0, 2.0]})\n"
        "@ms.step\ndef kind(model, rows): return type(model.transform(rows)).__name__\n"
        "@ms.pipeline\ndef main(): return kind(fit(), frame())\n"
    )
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "<cell>", "exec"), names)
    assert run_pipeline(names["main"], workspace=lab.workspace).value == "ndarray"
    sklearn.set_config(transform_output="pandas")
    assert run_pipeline(names["main"], workspace=lab.workspace).value == "DataFrame"


def test_a_step_of_a_notebook_is_not_reused_under_another_setting(lab: Lab) -> None:
    source = (
        "import decimal\nimport mainspring as ms\n@ms.step\ndef third(): return str(decimal.Decimal(1) / 3)\n"
        "@ms.pipeline\ndef main(): return third()\n"
    )
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "<cell>", "exec"), names)

    def run() -> tuple[Any, str, list[str]]:
        found = run_pipeline(names["main"], workspace=lab.workspace)
        return found.value, states(found)["third"], task_of(found, "third").reasons

    assert run()[0] == "0.3333333333333333333333333333"
    decimal.getcontext().prec = 4
    assert run() == ("0.3333", "succeeded", ["setting decimal.prec was set"])
    assert run()[:2] == ("0.3333", "reused")
    decimal.getcontext().prec = 3
    assert run() == ("0.333", "succeeded", ["setting decimal.prec changed: 4 → 3"])
    decimal.getcontext().prec = 28
    assert run()[:2] == ("0.3333333333333333333333333333", "reused")

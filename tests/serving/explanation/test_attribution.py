"""What each input added and the base are the answer, for every kind of model; and what can't be told says why."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from mainspring.cli.main import cli
from mainspring.errors import MissingExtraError
from mainspring.models import get_model_version, register
from mainspring.models.versions import delete_version
from mainspring.serving import bind, explain, get_endpoint, load_predictor, outside_service
from mainspring.serving.predictions import Entry, Source, prediction_log
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace
from tests.serving.explanation.conftest import Released, register_by_hand

FITTED = """
import polars as pl
from sklearn.linear_model import LinearRegression

import mainspring as ms
from mainspring.models import register


@ms.step(outputs=("train", "test"))
def split(rows):
    made = [pl.DataFrame({"x": [float(x) for x in range(count)]}) for count in (rows, 4 * rows)]
    return tuple(frame.with_columns(y=2 * pl.col("x")) for frame in made)


@ms.step
def fit(train, more):
    return LinearRegression().fit(train.select("x"), train["y"])


@ms.step
def registered(model, test):
    return register(model, "m", input_example=test.select("x").head(5))


@ms.pipeline
def main():
    train, test = split(100)
    return registered(fit(train, 3), test)
"""
RANDOM = np.random.default_rng(0)
TABLE = pl.DataFrame({f"x{number}": RANDOM.normal(size=80) for number in range(4)})
LABELS = (TABLE["x0"] + TABLE["x1"] * TABLE["x2"] > 0).to_numpy().astype(int)
THREE = LABELS + (TABLE["x3"] > 0).to_numpy().astype(int)


def trees(table: pl.DataFrame) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(table, LABELS)


def forest(table: pl.DataFrame) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(4, random_state=0).fit(table, THREE)


def linear(table: pl.DataFrame) -> Any:
    from sklearn.linear_model import LinearRegression

    return LinearRegression().fit(table, THREE)


def words(table: pl.DataFrame) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    encoded = make_column_transformer((OneHotEncoder(), ["word"]), remainder="passthrough")
    return make_pipeline(encoded, LogisticRegression()).fit(table, LABELS)


def asked(name: str, record: dict[str, Any]) -> str:
    """Log what the endpoint answers to a record, and give its id."""
    predictor = load_predictor(name)
    (answer,) = predictor([record])
    entry = Entry("r", "", 0.0, {column: [value] for column, value in record.items()}, 1)
    from mainspring.workspace import current_workspace

    prediction_log(current_workspace()).write(Source(get_endpoint(name)), [(entry, [answer])])
    return entry.first


@pytest.mark.one_backend("the same model, loaded from any")
@pytest.mark.parametrize(
    ("made", "table", "method"),
    [
        (trees, TABLE, "tree"), (forest, TABLE, "tree"), (linear, TABLE, "linear"),
        (words, TABLE.with_columns(word=pl.Series(["a", "b"] * 40)), "kernel"),
        (words, TABLE.with_columns(word=pl.Series(["a", "b"] * 40), **{f"y{n}": pl.col("x0") * n for n in range(7)}),
         "kernel"),
    ],
)  # fmt: skip
def test_the_base_and_what_each_input_added_are_the_answer(
    workspace: Workspace, made: Any, table: pl.DataFrame, method: str
) -> None:
    register(made(table), "m", input_example=table.head(5))
    bind("e", "m@production", version="m/1")
    found = explain(asked("e", table.row(30, named=True)), attribution=True)
    told = found.attribution
    assert told is not None
    assert (told.method, told.background, [*told.values]) == (method, "5 rows of the input example", table.columns)
    assert told.base + sum(told.values.values()) == pytest.approx(told.answer, abs=1e-6)
    output = found.output[told.output] if told.output else found.output
    assert told.answer == pytest.approx(output, abs=1e-9)
    assert workspace.ledger.last_seq() > 0


def test_features_are_attributed_as_they_were_read(backend: Backend, released: Released) -> None:
    told = explain(released.ids[1], attribution=True).attribution
    assert told is not None
    assert {*told.values} == {"wind", "dest_wind", "distance"}
    assert told.base + sum(told.values.values()) == pytest.approx(told.answer, abs=1e-6)
    where = [
        "-C",
        str(released.folder),
        "--set",
        f"database={backend.database_url}",
        "--set",
        f"blobs={backend.blob_url}",
    ]
    shown = CliRunner().invoke(cli, [*where, "explain", released.ids[1], "--features"], env={"COLUMNS": "150"}).stdout
    bars = [line for line in shown.splitlines() if "█" in line]
    assert bars[0].split()[0] == max(told.values, key=lambda name: abs(told.values[name]))
    assert f"to {told.answer:.6g}" in shown


@pytest.mark.one_backend("the same walk of any ledger")
def test_the_rows_to_compare_with_are_of_the_table_that_the_model_was_fitted_on(
    project: Path, workspace: Workspace
) -> None:
    (project / "fitted_pipeline.py").write_text(FITTED)
    importlib.import_module("fitted_pipeline").main.run()
    sys.modules.pop("fitted_pipeline")
    bind("e", "m@production", version="m/1")
    told = explain(asked("e", {"x": 7.0}), attribution=True).attribution
    assert told is not None
    assert told.background == "50 rows of the table `train` of its run"
    assert told.base == pytest.approx(2 * sum(range(0, 100, 2)) / 50, abs=1e-6)  # every second of 100, spread over all


@pytest.mark.parametrize(("made", "answer"), [(linear, 7.0), (forest, {"0": 0.15, "1": 0.45, "2": 0.4})])
def test_an_answer_that_is_another_than_the_logged_one_is_told_with_both(
    workspace: Workspace, made: Callable[[pl.DataFrame], Any], answer: Any
) -> None:
    register(made(TABLE), "m", input_example=TABLE.head(5))
    bind("e", "m@production", version="m/1")
    record = TABLE.row(30, named=True)
    assert [gap for gap in explain(asked("e", record), attribution=True).gaps if "was logged" in gap] == []
    entry = Entry("r", "", 0.0, {name: [value] for name, value in record.items()}, 1)
    prediction_log(workspace).write(Source(get_endpoint("e")), [(entry, [answer])])
    found = explain(entry.first, attribution=True)
    told = found.attribution
    assert told is not None
    logged = answer[told.output] if told.output else answer
    (said,) = (gap for gap in found.gaps if "was logged" in gap)
    assert f"that was logged is {logged!r}, and m/1 answers {told.answer!r} to the same row now" in said
    assert explain(entry.first).gaps == tuple(gap for gap in found.gaps if gap != said)


@pytest.mark.parametrize(
    ("made", "answer", "said"),
    [
        (
            linear,
            {"0": 0.25, "1": 0.75},
            r"logged is one for each class, \{'0': 0.25, '1': 0.75\}, and m/1 answers [-\d.e]+ to",
        ),
        (forest, 7.0, r"logged is 7.0, and m/1 answers [\d.]+ for `\d` to the same row now"),
    ],
)
def test_an_answer_of_another_kind_than_the_logged_one_is_told(
    workspace: Workspace, made: Callable[[pl.DataFrame], Any], answer: Any, said: str
) -> None:
    register(made(TABLE), "m", input_example=TABLE.head(5))
    bind("e", "m@production", version="m/1")
    record = TABLE.row(30, named=True)
    entry = Entry("r", "", 0.0, {name: [value] for name, value in record.items()}, 1)
    prediction_log(workspace).write(Source(get_endpoint("e")), [(entry, [answer])])
    (gap,) = (gap for gap in explain(entry.first, attribution=True).gaps if "was logged" in gap)
    assert re.search(said, gap)


@pytest.mark.one_backend("nothing of a backend is asked")
def test_without_shap_the_extra_is_named(released: Released, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(MissingExtraError, match=r"mainspring\[shap\]"):
        explain(released.ids[0], attribution=True)


def why_none(prediction: str) -> str:
    """What the gaps of an explanation say of the attribution, which is not there."""
    found = explain(prediction, attribution=True)
    assert found.attribution is None
    (said,) = (gap for gap in found.gaps if gap.startswith("How much each input moved the answer can't be told: "))
    assert {*found.gaps} == {*explain(prediction).gaps, said}
    return said


def test_what_was_never_logged_or_is_gone_is_named(workspace: Workspace, released: Released) -> None:
    version = get_model_version("delay/1")
    assert version.encoded is not None
    bind("delays", redact=["distance"])
    entry = Entry("r", "", 0.0, {"distance": [3.0]}, 1)
    prediction_log(workspace).write(Source(get_endpoint("delays")), [(entry, [0.5])])
    assert "has no input `wind`. It is never logged" in why_none(entry.first)
    workspace.blobs.condemn(version.encoded.blob)
    workspace.blobs.destroy(version.encoded.blob)
    assert "blob" in why_none(released.ids[0])


def test_of_a_deleted_version_all_else_is_explained(workspace: Workspace, released: Released) -> None:
    register_by_hand()
    bind("delays", version="delay/2")
    delete_version("delay/1")
    assert "delay/1" in why_none(released.ids[0])
    assert workspace.ledger.last_seq() > 0


def test_an_outside_service_and_a_model_of_labels_have_none(workspace: Workspace) -> None:
    (prediction,) = outside_service("fraud", "2024-03").log([{"card": "c1"}], [0.03])
    assert "2024-03" in why_none(prediction)
    from sklearn.svm import LinearSVC

    register(LinearSVC().fit(TABLE, np.array(["no", "yes"])[LABELS]), "svc", input_example=TABLE.head(3))
    bind("labels", "svc@production", version="svc/1")
    assert "a number or probabilities" in why_none(asked("labels", TABLE.row(0, named=True)))
    assert workspace.ledger.last_seq() > 0

"""A graph is kept with a version only if it answers real rows as the model; it is then served without the model's library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from onnx import helper
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from mainspring.data import dataset
from mainspring.errors import CodecError, InvalidError, NotFoundError
from mainspring.models import (
    Field,
    ModelVersion,
    Predictor,
    Signature,
    allow_pickle,
    delete_version,
    export_onnx,
    find_onnx_export,
    load_onnx,
    onnx_export,
    register,
)
from mainspring.models.onnx_conversion import _name_inputs, attempts
from mainspring.models.onnx_export import _crossing
from mainspring.models.onnx_report import Timing
from mainspring.runs.files import RunFiles
from mainspring.serving import bind
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace, collect

pytestmark = pytest.mark.one_backend("files and registry have their own suites on both")
RANDOM = np.random.default_rng(0)
NUMBERS = pl.DataFrame({"a": RANDOM.normal(size=200), "b": RANDOM.normal(size=200)})
LATE = (NUMBERS["a"] > 0).cast(int).to_numpy()
MIXED = NUMBERS.with_columns(c=pl.Series(RANDOM.choice(list("xyz"), 200)))


def both(version: ModelVersion, table: pl.DataFrame, workspace: Workspace) -> tuple[Any, Any]:
    native, graph = Predictor.load(version, workspace.blobs), load_onnx(version)
    return native(table.to_dicts()), graph(table.to_dicts())


def test_linear_and_boosted_models_and_pipelines_of_columns_answer_alike(workspace: Workspace) -> None:
    holey = NUMBERS.with_columns(a=pl.when(pl.col("b") > 1).then(None).otherwise(pl.col("a")))
    columns = make_column_transformer((StandardScaler(), ["a", "b"]), (OneHotEncoder(handle_unknown="ignore"), ["c"]))
    cases = {
        "linear": (LogisticRegression().fit(NUMBERS, LATE), NUMBERS, NUMBERS),
        "three": (LogisticRegression().fit(NUMBERS.to_numpy(), ["x", "y"] * 99 + ["z"] * 2), NUMBERS, NUMBERS),
        "boosted": (HistGradientBoostingClassifier(max_iter=5).fit(holey.to_pandas(), LATE), holey.to_pandas(), holey),
        "regressor": (HistGradientBoostingRegressor(max_iter=5).fit(NUMBERS.to_numpy(), LATE * 2.0), NUMBERS, NUMBERS),
        "columns": (make_pipeline(columns, LogisticRegression()).fit(MIXED.to_pandas(), LATE), MIXED.to_pandas(), MIXED),
    }  # fmt: skip
    for name, (model, given, table) in cases.items():
        version = register(model, name, signature=given)
        found = export_onnx(version, rows=table)
        assert (found.version, found.rows, find_onnx_export(version)) == (f"{name}/1", 205, found)
        assert found.largest_error <= found.atol + found.rtol * 2, name
        assert found.probes >= 2_000, name
        assert found.timings[0].rows == 1
        native, graph = both(version, table, workspace)
        if name == "three":
            assert [max(row, key=row.get) for row in graph] == [max(row, key=row.get) for row in native]
        else:
            assert graph == pytest.approx(native, rel=found.rtol, abs=found.atol)


def test_the_graph_of_a_search_is_that_of_the_best_that_it_fitted(workspace: Workspace) -> None:
    given = MIXED.to_pandas()
    columns = make_column_transformer((StandardScaler(), ["a", "b"]), (OneHotEncoder(handle_unknown="ignore"), ["c"]))
    search = GridSearchCV(make_pipeline(columns, LogisticRegression()), {"logisticregression__C": [0.1, 1.0]}, cv=2)
    version = register(search.fit(given, LATE), "searched", signature=given)
    assert export_onnx(version, rows=MIXED).largest_error < 1e-6
    native, graph = both(version, MIXED, workspace)
    assert graph == pytest.approx(native)


def test_columns_of_any_name_are_the_inputs_of_the_graph(workspace: Workspace) -> None:
    # `a b` and `a_b` would be one identifier, and the graph's answer is called `probabilities`.
    names = {"a": "a b", "b": "a_b", "c": "sort (cm)"}
    table = MIXED.rename(names).with_columns(probabilities=pl.col("a b") * 2)
    frame = table.to_pandas()
    columns = make_column_transformer(
        (StandardScaler(), ["probabilities", "a_b", "a b"]), (OneHotEncoder(handle_unknown="ignore"), ["sort (cm)"])
    )
    version = register(make_pipeline(columns, LogisticRegression()).fit(frame, LATE), "named", signature=frame)
    found = export_onnx(version, rows=table)
    assert found.input_kind == "columns"
    native, graph = both(version, table, workspace)
    assert graph == pytest.approx(native, rel=found.rtol, abs=found.atol)
    assert [port.name for port in load_onnx(version).model.inputs] == table.columns


def test_names_within_a_graph_in_a_graph_are_renamed_too() -> None:
    one = helper.make_tensor_value_info
    inner = helper.make_graph([helper.make_node("Add", ["a_b", "c"], ["d"])], "inner", [], [one("d", 1, [1])])
    chosen = helper.make_node("If", ["which"], ["d e"], then_branch=inner, else_branch=inner)
    graph = helper.make_graph(
        [chosen], "outer", [one("a_b", 1, [1]), one("d_e", 1, [1]), one("which", 9, [1])], [one("d e", 1, [1])]
    )
    _name_inputs(graph, ["a b", "d e", "which"])
    assert [port.name for port in (*graph.input, *graph.output)] == ["a b", "d e", "which", "d e_0"]
    branch = graph.node[0].attribute[0].g
    assert (list(branch.node[0].input), list(graph.node[0].output)) == (["a b", "c"], ["d e_0"])


def test_a_model_of_catboost_is_exported_by_catboost(workspace: Workspace) -> None:
    import catboost

    model = catboost.CatBoostRegressor(iterations=3, verbose=False, thread_count=1, allow_writing_files=False)
    version = register(model.fit(NUMBERS.to_numpy(), LATE), "cat", signature=NUMBERS, input_kind="numpy")
    assert export_onnx(version).form == "CatBoost's own"
    native, graph = both(version, NUMBERS, workspace)
    assert graph == pytest.approx(native, rel=1e-5, abs=1e-6)


class Doubler:
    def predict(self, rows: Any) -> Any:
        return rows[:, 0] * 2


def step_at(threshold: float) -> DecisionTreeRegressor:
    return DecisionTreeRegressor().fit([[threshold - 0.25], [threshold + 0.25]], [0.0, 1.0])


def test_a_graph_that_answers_otherwise_anywhere_is_refused_with_the_worst_row(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example alone would show nothing: both answer it alike."""
    version = register(step_at(0.5), "step", signature=pl.DataFrame({"a": [0.0, 1.0]}), input_kind="numpy")
    other = [0.5 + 2**-20]
    monkeypatch.setattr(
        onnx_export, "attempts", lambda _, signature, takes: attempts(step_at(other[0]), signature, takes)
    )
    with pytest.raises(InvalidError, match=r"1\.0 → 0\.0 in a made-up row.*The row is \{'a': 0\.5\d*\}. Nothing"):
        export_onnx(version)
    other[0] = 3.5
    with pytest.raises(InvalidError, match=r"1\.0 → 0\.0 in row 1.*The row is \{'a': 1\.0\}. Nothing"):
        export_onnx(version)
    assert find_onnx_export(version) is None
    with pytest.raises(NotFoundError, match="mainspring models onnx step/1"):
        load_onnx(version)


def test_thresholds_of_boosted_trees_keep_all_their_digits(workspace: Workspace) -> None:
    table = pl.DataFrame({"a": [16_777_216.0, 16_777_217.0] * 30})
    model = HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=1).fit(table.to_numpy(), [0.0, 1.0] * 30)
    assert export_onnx(register(model, "fine", signature=table)).largest_error < 1e-12


def test_a_forest_that_splits_off_what_is_missing_answers_alike(workspace: Workspace) -> None:
    holey = np.array([[np.nan], [1.0]] * 10)
    forest = RandomForestClassifier(2, random_state=0, n_jobs=1).fit(holey, [0, 1] * 10)
    version = register(
        make_pipeline(forest), "forest", signature=Signature((Field("a", "f64", nullable=True),)), input_kind="numpy"
    )
    assert export_onnx(version, rows=[{"a": None}, {"a": 1.0}]).largest_error < 1e-6
    assert load_onnx(version)([{"a": None}, {"a": 1.0}]) == pytest.approx([0.0, 1.0], abs=1e-6)


def test_rows_come_from_the_training_dataset_by_lineage(workspace: Workspace) -> None:
    trained_on = dataset("flights").commit(NUMBERS.with_columns(late=LATE))
    signature = Signature.infer(NUMBERS)
    version = register(LogisticRegression().fit(NUMBERS, LATE), "late", signature=signature, trained_on=[trained_on])
    assert export_onnx(version).rows == 200


def test_what_has_no_rows_or_no_converter_is_refused(workspace: Workspace) -> None:
    signature = Signature((Field("a", "f64"), Field("b", "f64")))
    version = register(LogisticRegression().fit(NUMBERS, LATE), "late", signature=signature)
    with pytest.raises(InvalidError, match="no example and no training dataset"):
        export_onnx(version)
    own = register(Doubler(), "own", signature=NUMBERS, input_kind="numpy", pickled=True)
    allow_pickle(own, note="made here")
    with pytest.raises(CodecError, match=r"Doubler` has no converter.*register_onnx"):
        export_onnx(own)
    odd = register({"no": "model"}, "odd", signature=signature, pickled=False)
    with pytest.raises(Exception, match="a model with a `predict` method"):
        export_onnx(odd)
    days = (*signature.inputs, Field("day", "date"))
    dated = register(LogisticRegression().fit(NUMBERS, LATE), "dated", signature=Signature(days))
    with pytest.raises((CodecError, ValueError)):
        export_onnx(dated, rows=[{"a": 1.0, "b": 2.0, "day": "2020-01-01"}])


def test_an_export_is_kept_by_a_collection_and_goes_with_the_version(workspace: Workspace) -> None:
    version = register(LogisticRegression().fit(NUMBERS, LATE), "late", signature=NUMBERS)
    export_onnx(version)
    for _ in range(2):
        collect(workspace, grace_s=-1)
    assert load_onnx(version)(NUMBERS[:1].to_dicts())
    delete_version(version)
    assert RunFiles(workspace).walk(f"{version.id}.exports") == {}


def test_the_batch_from_which_the_model_is_faster_is_the_first_after_which_it_stays_so() -> None:
    def crossing(*faster: bool) -> int | None:
        return _crossing([Timing(8**n, 1.0, 2.0 if native else 0.5) for n, native in enumerate(faster)])

    assert [crossing(False, False), crossing(True, False), crossing(False, True), crossing(True, True)] == [
        None, None, 8, 1
    ]  # fmt: skip


def test_an_exported_version_is_served_without_its_library_and_polars(
    backend: Backend, workspace: Workspace, tmp_path: Path
) -> None:
    version = register(LogisticRegression().fit(NUMBERS, LATE), "late", signature=NUMBERS)
    export_onnx(version)
    bind("live", "late@production", version="late/1", runtime="onnx")
    where = {"database": backend.database_url, "blobs": backend.blob_url}
    program = f"""
import sys
from mainspring.serving import ServingApp
from mainspring.workspace import Workspace
live = ServingApp(Workspace.open({str(tmp_path)!r}, overrides={where}), "live").live["live"]
heavy = {{"polars", "sklearn", "pandas", "scipy", "onnx", "skl2onnx"}}
print(live.predictor([{{"a": 0, "b": 0}}])[0], sorted(heavy & set(sys.modules)))
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    expected = Predictor.load(version, workspace.blobs)([{"a": 0, "b": 0}])[0]
    number, _, loaded = answer.stdout.strip().partition(" ")
    assert loaded == "[]", answer.stderr
    assert float(number) == pytest.approx(expected)

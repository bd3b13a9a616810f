"""Batch prediction: it answers what a request is answered, names what doesn't fit, and computes nothing twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from mainspring import clock
from mainspring.artifacts.project import importing_from
from mainspring.data import dataset
from mainspring.errors import CorruptBlobError, InvalidError, ModelError, NotFoundError
from mainspring.models import Field, Signature, export_onnx, register
from mainspring.models.version import expect_model
from mainspring.serving import bind, load_predictor
from mainspring.serving.batch import BatchProgress, inputs, predict_batch
from mainspring.workspace import Workspace, using
from tests.serving.flights import NOW, REQUEST, late

one = pytest.mark.one_backend("what differs between backends is the suites' of databases and blobs")
RANDOM = np.random.default_rng(0)
TABLE = pl.DataFrame(
    {
        "id": range(100),
        "a": RANDOM.normal(size=100),
        "b": RANDOM.normal(size=100),
        "carrier": [("UA", "AA", "B6")[n % 3] for n in range(100)],
    }
)
NUMBERS = TABLE.select("a", "b")
TARGET = TABLE["a"] + TABLE["b"] ** 2 > 0.5
THREE = ["low" if n < 30 else "mid" if n < 60 else "high" for n in range(100)]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """One for each model: a call for one row is not worth more."""
    with threadpool_limits(1):
        yield


def _strings() -> Any:
    encode = make_column_transformer((OneHotEncoder(), ["carrier"]), (StandardScaler(), ["a", "b"]))
    rows = TABLE.select("carrier", "a", "b").to_pandas()
    return make_pipeline(encode, RandomForestClassifier(5, random_state=0)).fit(rows, TARGET), rows


EXACT: dict[str, Callable[[], tuple[Any, Any]]] = {
    "gradient boosting": lambda: (
        HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(NUMBERS.to_numpy(), TARGET), NUMBERS,
    ),
    "forest": lambda: (RandomForestRegressor(5, random_state=0).fit(NUMBERS.to_numpy(), TABLE["a"]), NUMBERS),
    "several classes": lambda: (RandomForestClassifier(3, random_state=0).fit(NUMBERS.to_numpy(), THREE), NUMBERS),
    "strings": _strings,
}  # fmt: skip


def online(reference: str, table: pl.DataFrame, **more: Any) -> list[Any]:
    """What one request for each row is answered."""
    predictor = load_predictor(reference, **more)
    names = [field.name for field in predictor.takes.inputs]
    return [predictor([row])[0] for row in table.select(names).to_dicts()]


@one
@pytest.mark.parametrize("kind", EXACT)
def test_batch_equals_online_to_the_bit(kind: str, workspace: Workspace) -> None:
    model, example = EXACT[kind]()
    register(model, "model", signature=example, input_example=example[:3])
    rows = dataset("rows").commit(TABLE)
    done = predict_batch("model/1", rows, to="predictions")
    made, expected = done.version.to_polars(), online("model/1", TABLE)
    if kind == "several classes":
        assert [dict(zip(("high", "low", "mid"), row, strict=True)) for row in made[:, -4:-1].rows()] == expected
    else:
        assert made["prediction"].to_list() == expected
    assert made["id"].to_list() == TABLE["id"].to_list()
    assert set(made["model_version"]) == {"model/1"}


@one
@pytest.mark.parametrize("model", [LinearRegression(), LogisticRegression()])
def test_a_linear_model_differs_from_online_in_the_last_bits_only(model: Any, workspace: Workspace) -> None:
    register(model.fit(NUMBERS.to_numpy(), TARGET), "model", signature=NUMBERS)
    made = predict_batch("model/1", TABLE, to="predictions").version.to_polars()
    assert made["prediction"].to_list() == pytest.approx(online("model/1", TABLE), rel=1e-12)


@one
def test_the_graph_answers_a_batch_as_it_answers_requests(workspace: Workspace) -> None:
    model, example = EXACT["gradient boosting"]()
    version = register(model, "model", signature=example, input_example=example[:3])
    export_onnx(version)
    bind("endpoint", "model@production", version="model/1", runtime="onnx")
    done = predict_batch("endpoint", TABLE, to="predictions")
    assert done.runtime == "onnx"
    assert done.version.to_polars()["prediction"].to_list() == online("endpoint", TABLE)
    native = predict_batch("endpoint", TABLE, to="native", runtime="native").version.to_polars()
    assert native["prediction"].to_list() == pytest.approx(online("endpoint", TABLE), rel=1e-5)


@one
@pytest.mark.parametrize(
    ("column", "field"),
    [
        (pl.Series("n", [1.5, None, float("nan"), float("inf")]), Field("n", "f64")),
        (pl.Series("n", [1.5, None, float("nan"), 1e300]), Field("n", "f32", nullable=True)),
        (pl.Series("n", [1, None, 1 << 40, -3]), Field("n", "i32")),
        (pl.Series("n", [1, None, 200, -3]), Field("n", "u8", nullable=True)),
        (pl.Series("n", [1.0, 2.5]), Field("n", "i64")),
        (pl.Series("n", ["x", None]), Field("n", "f64", nullable=True)),
        (pl.Series("n", ["UA", None, "B6"]), Field("n", "str")),
        (pl.Series("n", ["UA", "XX", None]), Field("n", 'enum["UA","B6"]')),
        (pl.Series("n", [True, None]), Field("n", "bool")),
        (pl.Series("n", [1, 0]), Field("n", "bool")),
        (pl.Series("n", ["2013-01-01", "no", None]), Field("n", "date")),
        (pl.Series("n", [NOW, None]), Field("n", "datetime[us, UTC]")),
    ],
)
def test_a_table_is_refused_where_its_records_are(column: pl.Series, field: Field) -> None:
    from mainspring.models.records import RecordCheck
    from mainspring.serving.batch.checking import check_table

    found = check_table(column.to_frame(), [field])
    values, problems = RecordCheck(Signature((field,)))(column.to_frame().to_dicts())
    assert {f"[{row}].{each.path}: {each.message}" for row in found.problems for each in found.problems[row]} == set(
        map(str, problems)
    )
    good = [row for row in range(column.len()) if row not in found.problems]
    assert [found.columns["n"][row] for row in good] == [values["n"][row] for row in good]


def test_rows_that_do_not_fit_stop_the_job_by_row_and_column(workspace: Workspace) -> None:
    register(EXACT["forest"]()[0], "model", signature=NUMBERS)
    rows = TABLE.with_columns(a=pl.when(pl.col("id") == 7).then(None).otherwise("a"))
    with pytest.raises(InvalidError, match="row 7, a: null, expected a number"):
        predict_batch("model/1", rows, to="predictions")
    with pytest.raises(NotFoundError, match="`predictions`"):
        dataset("predictions").latest()
    done = predict_batch("model/1", rows, to="predictions", quarantine="odd")
    assert (done.rows, done.apart) == (99, 1)
    assert done.quarantined is not None
    assert done.quarantined.to_polars().select("id", "quarantine_reasons").rows() == [(7, "a: null, expected a number")]


def test_what_is_kept_is_said_and_the_lineage_leads_to_model_and_rows(workspace: Workspace) -> None:
    version = register(EXACT["forest"]()[0], "model", signature=NUMBERS)
    rows = dataset("rows").commit(TABLE)
    done = predict_batch("model/1", rows, to="predictions", keep=["carrier", "b"], column="late")
    assert done.version.columns == ("carrier", "b", "late", "model_version")
    assert {source.node for source in done.version.source} == {version.id, rows.id}
    with pytest.raises(InvalidError, match="another `column`"):
        predict_batch("model/1", rows, to="predictions", keep=["b"], column="b")
    with pytest.raises(NotFoundError, match="carrier"):
        predict_batch("model/1", rows, to="predictions", keep=["carier"])
    with pytest.raises(NotFoundError, match="The model takes it"):
        predict_batch("model/1", TABLE.drop("b"), to="predictions")


def test_a_second_run_predicts_the_new_rows_only(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "BLOCK_ROWS", 30)
    register(EXACT["forest"]()[0], "model", signature=NUMBERS)
    dataset("rows").commit(TABLE[:70])
    assert predict_batch("model/1", "rows", to="predictions").reused == 0
    dataset("rows").append(TABLE[70:])
    told: list[BatchProgress] = []
    grown = predict_batch("model/1", "rows", to="predictions", progress=told.append)
    assert (grown.rows, grown.reused) == (100, 70)
    assert grown.version.to_polars()["prediction"].to_list() == online("model/1", TABLE)
    assert (told[-1].rows, told[-1].total, told[-1].eta_s) == (100, 100, 0)
    counted = [("reading", 0, None), *[("predicting", rows, 100) for rows in (0, 30, 60, 70, 90, 100)]]
    assert [(each.step, each.rows, each.total) for each in told] == [*counted, ("committing", 100, 100)]
    assert predict_batch("model/1", "rows", to="predictions").version == grown.version
    register(RandomForestRegressor(2, random_state=1).fit(NUMBERS.to_numpy(), TABLE["a"]), "model", signature=NUMBERS)
    assert predict_batch("model/2", "rows", to="predictions").reused == 0


@one
def test_rows_are_predicted_again_when_code_of_the_project_that_the_model_calls_has_changed(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, factor = workspace.project.root, workspace.project.root / "factor_of_rows.py"
    (root / "shaping_of_rows.py").write_text(
        "def shaped(rows):\n    from factor_of_rows import FACTOR\n\n    return rows * FACTOR\n"
    )
    factor.write_text("FACTOR = 2\n")
    monkeypatch.chdir(tmp_path)  # a job of a project may be called from anywhere
    monkeypatch.syspath_prepend(root)

    def begin_process() -> Any:
        for name in ("shaping_of_rows", "factor_of_rows"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        began = clock.now_us()
        monkeypatch.setattr("mainspring.serving.batch.code.process_began_us", lambda: began)
        return import_module("shaping_of_rows")

    def predicted() -> tuple[int, int]:
        done = predict_batch("model/1", TABLE.select("a"), to="predictions", workspace=workspace)
        return done.reused, round(done.version.to_polars()["prediction"][1] / TABLE["a"][1])

    rows = TABLE.select("a").to_pandas()
    with importing_from([root]):
        shaped = FunctionTransformer(begin_process().shaped)
        register(make_pipeline(shaped, LinearRegression()).fit(rows, rows["a"] * 2), "model", signature=rows)
    assert [predicted(), predicted()] == [(0, 2), (100, 2)]
    (root / "unrelated_to_rows.py").write_text("")
    assert predicted() == (100, 2)
    factor.write_text("FACTOR = 4\n")
    # What a process answers by code that it loaded before the edit is used by no other.
    assert [predicted(), predicted()] == [(0, 2), (0, 2)]
    begin_process()
    assert [predicted(), predicted()] == [(0, 4), (100, 4)]
    factor.write_text("FACTOR = 2\n")
    begin_process()
    assert predicted() == (100, 2)


@one
def test_a_job_whose_parts_are_all_there_loads_no_model(workspace: Workspace) -> None:
    version = register(EXACT["forest"]()[0], "model", signature=NUMBERS)
    made = predict_batch("model/1", TABLE, to="predictions").version
    blob = workspace.blobs.path(expect_model(version)[0].blob)
    blob.chmod(0o600)
    blob.write_bytes(b"no longer the model")
    again = predict_batch("model/1", TABLE, to="predictions")
    assert (again.version, again.reused) == (made, TABLE.height)
    with pytest.raises(CorruptBlobError):
        predict_batch("model/1", TABLE[1:], to="others")


@one
@pytest.mark.parametrize("raised", [StopIteration(), ValueError("un\nlucky"), SystemExit(3)])
def test_what_a_model_raises_is_told_with_its_rows(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    def predict(_: Any, rows: Any) -> Any:
        if len(rows) == 10:
            raise raised
        return np.zeros(len(rows))

    register(EXACT["forest"]()[0], "model", signature=NUMBERS)
    monkeypatch.setattr(inputs, "BLOCK_ROWS", 30)
    monkeypatch.setattr(RandomForestRegressor, "predict", predict)
    said = rf"model/1 failed on rows 90 to 99: {type(raised).__name__}(: |$)"
    with pytest.raises(ModelError, match=said) as caught:
        predict_batch("model/1", TABLE, to="predictions")
    assert caught.value.__cause__ is raised
    assert "\n" not in str(caught.value)
    with pytest.raises(NotFoundError, match="`predictions`"):
        dataset("predictions").latest()


def test_a_table_without_rows_has_predictions_without_rows(workspace: Workspace) -> None:
    register(EXACT["forest"]()[0], "model", signature=NUMBERS)
    done = predict_batch("model/1", TABLE[:0], to="predictions")
    assert (done.rows, done.version.columns) == (0, ("id", "carrier", "prediction", "model_version"))


@pytest.mark.one_backend("it is refused before anything is made")
def test_the_dataset_that_is_read_gets_no_predictions(workspace: Workspace) -> None:
    register(EXACT["forest"]()[0], "model", signature=NUMBERS)
    read = dataset("rows").commit(NUMBERS)
    for given, options in (
        ("rows", {"to": "rows"}), (read, {"to": "out", "quarantine": "rows"}),
        (NUMBERS.lazy(), {"to": "rows", "source": [read]}),
    ):  # fmt: skip
        with pytest.raises(InvalidError, match="`rows` is not another dataset than the one that is read"):
            predict_batch("model/1", given, **options)
    assert dataset("rows").latest().number == 1


@pytest.mark.one_backend("it is refused before anything is made")
@pytest.mark.parametrize(("name", "content"), [("zero.csv", ""), ("zero.jsonl", ""), ("torn.csv", 'x0\n"1')])
def test_a_file_that_can_not_be_read_is_named(workspace: Workspace, tmp_path: Path, name: str, content: str) -> None:
    register(EXACT["forest"]()[0], "model", signature=NUMBERS)
    (tmp_path / name).write_text(content)
    reader = pl.scan_csv if name.endswith("csv") else pl.scan_ndjson
    with pytest.raises(InvalidError, match=rf"data: `.*{name}` is not a table that can be read\. "):
        predict_batch("model/1", reader(tmp_path / name), to="out", source=tmp_path / name)


def test_features_are_read_as_of_now_or_joined_as_they_were(workspace: Workspace) -> None:
    late()
    rows = pl.DataFrame([REQUEST | {"leaves_at": NOW}] * 3).with_columns(flight=pl.Series([2, 1, 9]))
    answered = predict_batch("delay/1", rows, to="now").version.to_polars()["prediction"]
    assert answered.to_list() == pytest.approx(online("delay/1", rows), rel=1e-12)
    joined = predict_batch("delay/1", rows, to="then", time="leaves_at").version
    assert joined.to_polars()["prediction"].to_list() == pytest.approx(answered.to_list())
    assert {source.uri for source in joined.source} >= {"weather/1", "planes/1", "delay/1"}
    before = rows.with_columns(pl.col("leaves_at").dt.offset_by("-10d"))
    unknown = predict_batch("delay/1", before, to="then", time="leaves_at").version.to_polars()["prediction"]
    assert unknown.to_list() != answered.to_list()


PROGRAM = """
import os, sys
from pathlib import Path
from mainspring.models import Predictor
from mainspring.serving.batch import inputs, predict_batch
from mainspring.workspace import Workspace, using

answer = Predictor.answer

def told(self, columns, rows):
    os.write(1, f"{rows}\\n".encode())
    os.read(0, 1)
    return answer(self, columns, rows)

Predictor.answer, inputs.BLOCK_ROWS = told, 10
with Workspace.open(Path(sys.argv[1])) as workspace, using(workspace):
    predict_batch("model/1", "rows", to="predictions", jobs=int(sys.argv[2]))
"""


@pytest.mark.parametrize(("parts", "jobs", "then"), [(1, 1, 1), (4, 1, 3), (4, 3, 1), (5, 2, 5)])
def test_a_job_that_was_killed_goes_on_where_it_was(
    parts: int, jobs: int, then: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Workspace.open(tmp_path) as workspace, using(workspace):
        register(EXACT["forest"]()[0], "model", signature=NUMBERS)
        dataset("rows").commit(TABLE)
        command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(jobs)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as job:
            assert job.stdin is not None
            assert job.stdout is not None
            for _ in range(jobs):
                assert job.stdout.readline() == "10\n"
            for _ in range(parts):
                job.stdin.write("\n")
                job.stdin.flush()
                assert job.stdout.readline() == "10\n"  # a part is kept when the next one is asked for
            job.kill()
        monkeypatch.setattr(inputs, "BLOCK_ROWS", 10)
        done = predict_batch("model/1", "rows", to="predictions", jobs=then)
        assert done.reused == 10 * parts
        assert done.version.to_polars()["prediction"].to_list() == online("model/1", TABLE)

"""Files whose rows are predicted: CSV is read as the signature says, and what can't be is told by row, column and value."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from mainspring.cli.main import cli
from mainspring.data import dataset
from mainspring.errors import InvalidError, NotFoundError
from mainspring.models import Field, register
from mainspring.serving.batch import predict_batch
from mainspring.serving.batch.files import read_texts
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace
from tests.serving.flights import NOW, REQUEST, late

one = pytest.mark.one_backend("files are read before a backend is asked")
TABLE = pl.DataFrame({"code": ["0012", "12", "0012", "12"], "n": [0, 1, 2, 3], "x": [1.0, 2.0, 3.0, 4.5]})
ROWS = 300  # more than a reader of CSV looks at to find types


@pytest.fixture
def model(workspace: Workspace) -> None:
    """A model whose answer is 100 more for the code "0012"."""
    encode = make_column_transformer((OneHotEncoder(), ["code"]), remainder="passthrough")
    target = TABLE["x"] + pl.Series([100.0, 0.0, 100.0, 0.0])
    fitted = make_pipeline(encode, LinearRegression()).fit(TABLE.to_pandas(), target)
    register(fitted, "model", input_example=TABLE)


def lines_of(path: Path, changed: dict[int, str]) -> Path:
    """A file of rows, of which some are others."""
    rows = [changed.get(row, f"0012,{row},{row}.5,{row}") for row in range(ROWS)]
    path.write_text("\n".join(["code,n,x,row", *rows]) + "\n")
    return path


@one
@pytest.mark.usefixtures("model")
def test_the_signature_types_the_columns_of_csv(tmp_path: Path) -> None:
    done = predict_batch("model/1", lines_of(tmp_path / "rows.csv", {}), to="out", keep=["code", "n", "x", "row"])
    found = done.version.to_polars()
    assert found["code"].unique().to_list() == ["0012"]
    assert [found[name].dtype for name in ("n", "x", "row")] == [pl.Int64, pl.Float64, pl.Int64]
    assert found["prediction"].to_list() == pytest.approx([100 + row + 0.5 for row in range(ROWS)])
    assert next(source.uri.rpartition("/")[2] for source in done.version.source) == "rows.csv"


@one
@pytest.mark.usefixtures("model")
def test_a_row_that_cant_be_read_is_named_or_set_apart_alone(backend: Backend, tmp_path: Path) -> None:
    bad = {120: "0012,120,lots,120", 200: "0012,1.5,,200", 250: ",1,2.5,x"}
    path = lines_of(tmp_path / "rows.csv", bad)
    said = (
        'row 120, x: "lots" is a str, expected a number; row 200, n: "1.5" is a str, expected a whole number; '
        "row 200, x: null, expected a number; row 250, code: null, expected text. Name a dataset as `quarantine`"
    )
    with pytest.raises(InvalidError, match=f"`3 rows with problems` .*{re.escape(said)}"):
        predict_batch("model/1", path, to="out")
    with pytest.raises(NotFoundError, match="`out`"):
        dataset("out").latest()
    for _ in range(2):
        done = predict_batch("model/1", path, to="out", quarantine="odd")
        assert (done.rows, done.apart) == (ROWS - 3, 3)
        assert done.quarantined is not None
        assert done.quarantined.to_polars()["x"].to_list() == ["lots", None, "2.5"]
        answered = done.version.to_polars()
        assert answered["prediction"].to_list() == pytest.approx([100.5 + r for r in range(ROWS) if r not in bad])
    assert done.reused == ROWS
    table = pl.read_csv(path, infer_schema=False)  # the same texts, which are no file's: a request with them is refused
    with pytest.raises(InvalidError, match="`300 rows with problems`"):
        predict_batch("model/1", table, to="out")
    where = ["-C", str(tmp_path), "--set", f"database={backend.database_url}", "--set", f"blobs={backend.blob_url}"]
    called = CliRunner().invoke(cli, [*where, "predict", "model/1", "--data", str(path), "--to", "out"])
    assert (called.exit_code, 'row 120, x: "lots"' in called.stderr) == (1, True)


@one
@pytest.mark.usefixtures("workspace")
def test_keys_by_which_features_are_read_are_typed(tmp_path: Path) -> None:
    late()
    rows = pl.DataFrame([REQUEST | {"leaves_at": NOW}] * 3).with_columns(flight=pl.Series([2, 1, 9]))
    expected = predict_batch("delay/1", rows, to="now").version.to_polars()["prediction"]
    rows.write_csv(tmp_path / "rows.csv")
    done = predict_batch("delay/1", tmp_path / "rows.csv", to="read").version
    assert done.to_polars()["prediction"].to_list() == expected.to_list()


@one
@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(("name", "content"), [("zero.csv", ""), ("torn.csv", 'x0\n"1'), ("zero.jsonl", "")])
def test_a_file_that_is_no_table_is_named(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidError, match=rf"data: `.*{name}` is not a table that can be read\. "):
        predict_batch("model/1", tmp_path / name, to="out")
    with pytest.raises(NotFoundError, match=r"No file `.*gone\.csv`"):
        predict_batch("model/1", tmp_path / "gone.csv", to="out")
    with pytest.raises(InvalidError, match=r"rows\.xls` is not a file that ends in one of"):
        predict_batch("model/1", tmp_path / "rows.xls", to="out")


def test_texts_are_read_as_what_a_field_is() -> None:
    texts = pl.DataFrame({"f": ["1e3", "inf", " 1"], "i": ["0012", "1.0", "-3"], "b": ["true", "False", "yes"]})
    fields = [Field("f", "f32"), Field("i", "i8"), Field("b", "bool")]
    found, problems = read_texts(texts, fields)
    assert found.rows() == [(1000.0, 12, True), (float("inf"), None, False), (None, -3, None)]
    assert {row: [each.path for each in own] for row, own in problems.items()} == {1: ["i"], 2: ["f", "b"]}

"""Files whose rows are predicted: CSV is read as the signature says, and what can't be is told by row, column and value."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from mainspring.cli.main import cli
from mainspring.data import dataset
from mainspring.errors import InvalidError, NotFoundError
from mainspring.models import Field, Output, Signature, register
from mainspring.serving.batch import answering, predict_batch
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


KEPT = {
    "h": ("i128", str(2**80), 2**80),
    "w": ("u128", str(2**127), 2**127),
    "u": ("u64", str(2**64 - 1), 2**64 - 1),
    "d": ("date", "2026-01-31", date(2026, 1, 31)),
    "t": ("datetime[us]", "2026-01-31 08:30:00", datetime(2026, 1, 31, 8, 30)),
    "z": ("datetime[ms, Europe/Berlin]", "2026-01-31T08:30:00Z", datetime.fromisoformat("2026-01-31T08:30:00+00:00")),
    "s": ("duration[us]", "PT90S", timedelta(seconds=90)),
    "o": ("time", "08:30", time(8, 30)),
    "c": ("decimal[10, 2]", "12.3", Decimal("12.30")),
    "k": ("cat", "007", "007"),
    "b": ("bool", "TRUE", True),
}


@one
@pytest.mark.usefixtures("workspace")
def test_what_is_kept_has_the_type_of_the_signature(tmp_path: Path) -> None:
    fields = tuple(Field(name, dtype, nullable=True) for name, (dtype, _, _) in KEPT.items())
    signature = Signature(fields, Output("number"))
    register(DummyRegressor().fit([[0]], [1.0]), "wide", signature=signature, input_kind="polars")
    lines = [",".join(KEPT), ",".join(text for _, text, _ in KEPT.values()), "," * (len(KEPT) - 1)]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    found = predict_batch("wide/1", tmp_path / "rows.csv", to="out", keep=list(KEPT)).version.to_polars()
    assert found.select(*KEPT).rows() == [tuple(value for _, _, value in KEPT.values()), (None,) * len(KEPT)]
    assert [found[name].dtype for name in ("h", "d")] == [pl.Int128, pl.Date]
    assert found["z"].dtype == pl.Datetime("ms", "Europe/Berlin")


def test_what_is_wrong_with_a_text_is_told_as_the_file_has_it() -> None:
    texts = pl.DataFrame({"i": ["9223372036854775808", " 1", "1 ", "-129"], "c": ["1.234", "x", "1", " 1"]})
    found, problems = read_texts(texts, [Field("i", "i64"), Field("c", "decimal[10, 2]")])
    assert found["i"].to_list() == [None, None, None, -129]
    assert {row: [str(each) for each in own] for row, own in problems.items()} == {
        0: ["i: 9223372036854775808 does not fit i64", "c: 1.234 does not fit decimal[10, 2]"],
        1: ['i: " 1" is a str, expected a whole number', 'c: "x" is a str, expected a decimal (text or number)'],
        2: ['i: "1 " is a str, expected a whole number'],
    }


@one
@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("code, n,x\n1,2,3\n", r'No column `n`\. Nearest: " n"\. '),
        ("code;n;x\n1;2;3\n", r"Its only column is `code;n;x`: a CSV file is separated by commas, not semicolons\."),
        (
            "code;n;x\n1;2,5;3\n",
            r"Row 0 has 2 cells, and the header 1\. Its only column is `code;n;x`: .* semicolons\.",
        ),
        ("code,n,x,n\n1,2,3,4\n", r"is not a file whose columns have different names\. Twice there: `n`\."),
        ("\ncode,n,x\n1,2,3\n\n1,2,3,4\n", r"Row 2 has 4 cells, and the header 3\. Is a quote missing\?"),
    ],
)
def test_a_file_of_another_form_is_told_in_words_of_its_own(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "rows.csv").write_text(content)
    with pytest.raises((InvalidError, NotFoundError), match=said):
        predict_batch("model/1", tmp_path / "rows.csv", to="out")


@one
@pytest.mark.usefixtures("model")
def test_texts_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heights: list[int] = []

    def noted(frame: pl.DataFrame, fields: list[Field]) -> object:
        heights.append(frame.height)
        return read_texts(frame, fields)

    monkeypatch.setattr(answering, "read_texts", noted)
    predict_batch("model/1", lines_of(tmp_path / "rows.csv", {3: "0012,3,x,3"}), to="out", quarantine="odd")
    assert heights == [ROWS]

"""`mainspring models` moves stages, aliases and tags, says what differs, writes cards, and deletes, each also as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from mainspring.cli.main import cli
from mainspring.data import dataset
from mainspring.models import Field, Signature, load_model, register
from mainspring.workspace import Workspace, using


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two versions of a model in a workspace of its own, in whose folder the commands run."""
    folder = tmp_path_factory.mktemp("models")
    with Workspace.open(folder) as workspace, using(workspace):
        for mae in (0.1, 0.2):
            register({"slope": mae}, "line", signature=Signature((Field("x", "f64"),)), metrics={"mae": mae})
    with chdir(folder):
        yield folder


def told(*words: str) -> Any:
    called = CliRunner().invoke(cli, ["models", *words, "--json"])
    assert called.exit_code == 0, called.output
    return json.loads(called.stdout)


def shown(*words: str, code: int = 0) -> str:
    called = CliRunner().invoke(cli, ["models", *words])
    assert called.exit_code == code, called.output
    return called.output


def test_aliases_move_go_back_and_are_removed() -> None:
    assert told("alias", "line/1", "champion", "--note", "first") == {"alias": "champion", "version": "line/1"}
    shown("alias", "line/2", "champion")
    assert shown("rollback", "line@champion") == "line@champion is line/1\n"
    assert [each["to_number"] for each in told("alias", "line@champion", "--history")["moves"]] == [1, 2, 1]
    assert "1 → 2" in shown("alias", "line@champion", "--history")
    assert shown("alias", "line@champion", "--delete") == "line@champion is removed\n"
    for wrong in (("line/1",), ("line/1", "champion", "--delete"), ("line/1", "--history")):
        assert "MODEL@ALIAS with --delete or --history" in " ".join(shown("alias", *wrong, code=2).split())


def test_stages_and_tags_are_shown() -> None:
    assert told("stage", "line/1", "production") == {"version": "line/1", "stage": "Production"}
    assert told("tag", "line/1", "team=a", "why=b") == {"tags": {"team": "a", "why": "b"}}
    assert shown("tag", "line/1", "why=") == "team = a\n"
    assert told("tag", "line", "owner=me") == {"tags": {"owner": "me"}}
    text = shown("show", "line/Production")
    assert "Production" in text
    assert "team = a" in text
    assert "KEY=VALUE" in shown("tag", "line", "x", code=2)


def test_a_card_is_extended_and_written_as_a_page(project: Path) -> None:
    card = told("card", "line/1", "--section", "Limits", "--text", "Only lines.")
    assert card["notes"][0]["title"] == "Limits"
    assert "## Limits\n\nOnly lines." in shown("card", "line/1", "--html", str(project / "card.html")) + shown(
        "card", "line/1"
    )
    assert "Only lines." in (project / "card.html").read_text()
    assert "There is no folder" in shown("card", "line/1", "--html", str(project / "no" / "card.html"), code=1)
    assert "--section" in shown("card", "line/1", "--text", "x", code=2)


def test_versions_are_compared_and_deleted() -> None:
    found = told("diff", "line/1", "line/2")["differences"]
    assert ["metrics", "mae", "0.1", "0.2"] in [list(each.values()) for each in found]
    assert "mae" in shown("diff", "line/1", "line/2")
    assert shown("diff", "line/1", "line/1") == "Nothing differs.\n"
    assert told("delete", "line/2") == {"deleted": "line/2"}
    assert "was removed at" in shown("show", "line/2", code=1)


def test_a_pickle_is_allowed_and_revoked_with_a_reason(project: Path) -> None:
    with Workspace.open(project) as workspace, using(workspace):
        register(complex(1), "odd", signature=Signature((Field("x", "f64"),)), pickled=True)
        register(
            LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]), "slope", signature=Signature((Field("x", "f64"),)),
            input_example=[{"x": 2.0}], input_kind="numpy", pickled=True,
        )  # fmt: skip
    assert "Say why it is trusted" in shown("allow-pickle", "odd/1", code=2)
    assert told("allow-pickle", "odd/1", "--note", "ours") == {"version": "odd/1", "allowed": True}
    with Workspace.open(project) as workspace, using(workspace):
        assert load_model("odd") == complex(1)
    assert shown("allow-pickle", "odd/1", "--revoke") == "the pickle of odd/1 is not allowed any more\n"
    shown("allow-pickle", "slope/1", "--note", "ours")
    assert shown("convert", "slope/1") == "slope/2 is converted from slope/1, stored by sklearn\n"


@pytest.fixture(scope="module")
def plain_pickle(project: Path) -> str:
    """A pickle that is allowed and has no example."""
    with Workspace.open(project) as workspace, using(workspace):
        takes = Signature((Field("x", "f64"), Field("zip", "str")))
        made = make_pipeline(ColumnTransformer([("x", "passthrough", ["x"])]), LinearRegression())
        made.fit(pl.DataFrame({"x": [0.0, 1.0], "zip": ["1", "2"]}).to_pandas(), [0.0, 1.0])
        register(made, "plain", signature=takes, input_kind="pandas", pickled=True)
        dataset("seen").commit(pl.DataFrame({"zip": ["60601"] * 200, "late": [1] * 200, "x": [0.5] * 200}))
    shown("allow-pickle", "plain/1", "--note", "ours")
    return "plain/1"


def test_a_pickle_without_an_example_says_how_it_is_converted(plain_pickle: str) -> None:
    assert "`plain/1` has no example: give some records, on the command line by --example FILE." in shown(
        "convert", plain_pickle, code=1
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.json", '[{"x": 1, "zip": "60601", "late": true}]'),
        ("rows.jsonl", '{"x": 1, "zip": "60601"}\n{"x": 2.5, "zip": "60602"}\n'),
        ("rows.csv", "zip,x,late\n60601,1,yes\n60602,2.5,no\n"),
        ("rows.parquet", ""),
        ("seen/1", ""),
        ("seen", ""),
    ],
)
def test_a_conversion_takes_its_rows_from_a_file_or_a_dataset(
    plain_pickle: str, tmp_path: Path, name: str, text: str
) -> None:
    file = tmp_path / name
    if text:
        file.write_text(text)
    elif name.endswith(".parquet"):
        pl.DataFrame({"x": [1.0] * 300, "zip": ["60601"] * 300}).write_parquet(file)
    given = str(file) if file.exists() else name
    made = told("convert", plain_pickle, "--example", given)["model"]
    assert (made["source"], made["encoded"]["codec"]) == ("converted from plain/1", "sklearn")
    assert made["input_example"]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("rows.json", '{"x": 1}', "Expected `array`, got `object`"),
        ("rows.json", "[1]", r"Expected `object`, got `int` - at `$[0]`"),
        ("rows.json", "[]", "It has none."),
        ("rows.csv", "x\n1\n", "[0].zip: missing, expected text"),
        ("rows.csv", "x,zip\nten,60601\n", "[0].x: "),
        ("rows.parquet", "no", "is not a table"),
        ("rows.csv", "", "is not a table"),
        ("gone.csv", None, "No file"),
        ("gone", None, "No dataset"),
    ],
)
def test_rows_that_a_conversion_cant_use_are_refused(
    plain_pickle: str, tmp_path: Path, name: str, text: str | None, told: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    given = str(tmp_path / name) if "." in name else name
    said = shown("convert", plain_pickle, "--example", given, code=1)
    assert told in said
    assert said.count("\n") == 1


def test_a_version_becomes_a_graph_that_is_written(project: Path) -> None:
    with Workspace.open(project) as workspace, using(workspace):
        register(
            LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]), "ramp", signature=Signature((Field("x", "f64"),)),
            input_example=[{"x": 2.0}], input_kind="numpy",
        )  # fmt: skip
    found = told("onnx", "ramp/1", "-o", "ramp.onnx")
    assert (found["version"], found["rows"], (project / "ramp.onnx").stat().st_size) == (
        "ramp/1",
        1,
        found["size_bytes"],
    )
    assert re.search(r"1 row and \d,\d+ made up answered alike", shown("onnx", "ramp/1"))


def test_a_version_is_exported_and_a_place_that_is_taken_is_refused(tmp_path: Path) -> None:
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    register(model, "taken", signature=Signature((Field("x", "f64"),)))
    made = told("export", "taken", str(tmp_path / "out"), "--format", "mlflow")
    assert (made["version"], made["form"], made["format"], "MLmodel" in made["files"]) == (
        "taken/1",
        "mlflow",
        "skops",
        True,
    )
    assert "empty or not there" in shown("export", "taken", str(tmp_path / "out"), code=1)
    assert "5 files, answered 205 rows alike" in shown("export", "taken/1", str(tmp_path / "other"))

"""Schemas: what a file says is what is checked, what is wrong in it is named, and a proposal passes its own data."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data import Schema, check, dataset, propose_schema, validate
from mainspring.data.validation.schema import Column
from mainspring.errors import InvalidError, NotFoundError
from mainspring.workspace import Workspace

WHOLE = Schema(
    name="flights",
    other_columns=False,
    columns=(
        Column(name="day", dtype="date", nullable=False, checks=(check.between("day", date(2013, 1, 1)),)),
        Column(name="at", checks=(check.fresh("at", timedelta(days=2), severity="warn"), check.increasing("at"))),
        Column(
            name="tail number",
            dtype="str",
            checks=(
                check.matches("tail number", "^N[0-9]+$", severity="quarantine"),
                check.length("tail number", 2, 6),
                check.in_dataset("tail number", "planes/3", "tail"),
                check.not_in("tail number", ["N0", 'a "quote" \\ and\nlines']),
            ),
        ),
        Column(
            name="delay",
            dtype="f64",
            optional=True,
            checks=(
                check.between("delay", -120, 1440, closed="left"),
                check.distinct("delay", [1.5, 2.0]),
                check.between("delay", 0, severity="warn"),
                check.decimals("delay", 1),
                check.not_null("delay", nan=False, severity="warn"),
                check.compare_previous("mean", "delay", change=0.5),
            ),
        ),
        Column(name="id", checks=(check.unique("id", keep="first"), check.is_in("id", [1, 2]))),
    ),
    checks=(
        check.row_count(1, 100),
        check.column_order(["day", "at"]),
        check.unique(["day", "id"], severity="warn"),
        check.expression("order", "arrived > departed"),
        check.compare_previous("rows", change=0.2, against="flights/1"),
        check.increasing("id", strictly=True),
        check.in_dataset(["a", "b"], "pairs"),
    ),
)


def test_a_schema_survives_its_file(tmp_path: Path) -> None:
    read = Schema.load(WHOLE.save(tmp_path / "flights.schema.toml"))
    assert sorted(map(str, read.all_checks())) == sorted(map(str, WHOLE.all_checks()))
    assert read.dumps() == Schema.load(read.save(tmp_path / "again.toml")).dumps()
    assert (read.name, read.other_columns) == ("flights", False)


def test_a_file_is_what_a_person_writes(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text(
        """
        [columns.day]
        type = "date"
        between = [2013-01-01, 2013-12-31]

        [columns.carrier]
        nullable = false
        is_in = { values = ["AA", "UA"], severity = "quarantine" }

        [columns.delay]
        between = { low = -120, severity = "warn" }

        [[checks]]
        check = "unique"
        columns = ["day", "carrier"]
        """
    )
    frame = pl.DataFrame({"day": [date(2013, 1, 1)] * 2, "carrier": ["AA", "B6"], "delay": [5, -121]})
    report = validate(frame, Schema.load(path))
    assert (report.verdict, len(report.failed)) == ("quarantined", 2)
    assert [result.check.kind for result in report.failed] == ["is_in", "between"]
    assert not validate(frame.drop("delay"), Schema.load(path)).passed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[columns.a\n", "t.toml: `"),
        ("[colums.a]\n", r"t.toml: `colums` is not a key that is known here. Nearest: columns"),
        ("[columns.a]\nis_inn = [1]\n", r"t.toml \[columns.a\]: `is_inn` is not a key that is known here. Nearest: is_in"),
        ("[columns.a]\nnullable = 1\n", r"t.toml \[columns.a\] nullable: `1` is not true or false"),
        ("[columns.a]\ntype = 1\n", r"t.toml \[columns.a\] type: `1` is not text"),
        ("[columns.a]\nbetween = 3\n", r"\[columns.a\] between: `3` is not two bounds"),
        ('[columns.a]\ntype = "i46"\n', r"t.toml \[columns.a\] type: `i46` is not the name of a .* type. Nearest: i64"),
        ("[columns.a]\nbetween = [1, 0]\n", r"\[columns.a\] between: `1, 0` is not a lower bound and an upper one"),
        ('[columns.a]\nbetween = [1, "b"]\n', r"\[columns.a\] between: `1, 'b'` is not two bounds of one type"),
        ("[columns.a]\nlength = { at_least = 3, at_most = 1 }\n", r"\[columns.a\] length: `3, 1` is not a lower bound"),
        ("[columns.a]\nmatches = '('\n", r"\[columns.a\] matches pattern: `\(` is not a regular .* \(unclosed group\)"),
        ("[columns.a]\nmatches = { pattern = '(', severity = 'warn' }\n", r"\[columns.a\] matches pattern: `\(` is not"),
        ("[[checks]]\ncheck = 'expression'\nformula = 'a >'\n", r"\[\[checks\]\] 1 formula: `a >` is not .* SQL"),
        ("[[checks]]\ncheck = 'dtype'\ncolumns = 'a'\ndtype = 'i46'\n", r"\[\[checks\]\] 1 dtype: `i46` is .* i64"),
        ("[[checks]]\ncheck = 'compare_previous'\nmeasure = 'rows'\nchange = -1\n", r"1 change: `-1` is not 0 or more"),
        ("[columns.a]\nbetween = {}\n", r"\[columns.a\] between: `no bound` is not a lower bound"),
        ("[columns.a]\nis_in = 3\n", r"\[columns.a\] is_in values: `3` is not a list"),
        ("[columns.a]\nmatches = 3\n", r"\[columns.a\] matches pattern: `3` is not text"),
        ("[columns.a]\nmatches = {}\n", r"\[columns.a\] matches: `{}` is not complete: `matches` takes `pattern`"),
        ('[columns.a]\nunique = {severity = "fatal"}\n', r"\[columns.a\] unique severity: `fatal` is not `stop`"),
        ('[columns.a]\nunique = {keep = "all"}\n', r"\[columns.a\] unique keep: `all` is not `none`"),
        ('[columns.a]\nnot_null = "yes"\n', r"\[columns.a\] not_null: `yes` is not true, false"),
        ("columns = 3\n", "t.toml columns: `3` is not tables"),
        ("[columns]\na = 3\n", r"\[columns.a\]: `3` is not a table of keys"),
        ("[[checks]]\ncheck = 'row_counts'\n", r"\[\[checks\]\] 1 check: `row_counts` .* Nearest: row_count"),
        ("[[checks]]\ncheck = 'row_count'\nat_least = '1'\n", r"\[\[checks\]\] 1 at_least: `1` is not a number"),
        ("[[checks]]\ncheck = 'unique'\n", r"\[\[checks\]\] 1: .* is not the name of a column"),
        ("[[checks]]\ncheck = 'fresh'\ncolumns = 'at'\n", r"1: .*complete: `fresh` takes `within_hours`"),
        ("[[checks]]\ncheck = 'unique'\ncolumns = 3\n", r"\[\[checks\]\] 1 columns: `3` is not a list of names"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_file_table_and_key(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text(text)
    with pytest.raises(InvalidError, match=said):
        Schema.load(path)


def test_a_type_has_the_names_of_an_ingest(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text('columns = { a = { type = "decimal[10,2]" }, b = { type = "datetime[UTC]" } }')
    frame = pl.DataFrame(schema={"a": pl.Decimal(10, 2), "b": pl.Datetime("us", "UTC")})
    assert validate(frame, Schema.load(tmp_path / "t.toml")).passed


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="mainspring data propose"):
        Schema.load(tmp_path / "none.toml")


def test_a_column_that_is_only_named_must_be_there() -> None:
    schema = Schema(columns=(Column(name="a"), Column(name="b", optional=True)))
    assert validate(pl.DataFrame({"a": [None]}), schema).passed
    (first, second) = validate(pl.DataFrame({"c": [1]}), schema).results
    assert (first.passed, second.passed) == (False, True)


def test_what_is_proposed() -> None:
    frame = pl.DataFrame(
        {
            "id": range(200),
            "tail": [f"N{n}" for n in range(900, 1100)],
            "carrier": ["AA", "UA"] * 100,
            "delay": [float(n % 50) - 20 for n in range(200)],
            "share": [n * 7 % 200 / 200 for n in range(200)],
            "meter": [n / 2 for n in range(200)],
            "gap": [None, 1] * 100,
            "free": [f"{'x' * (n % 7 + 1)} {'abc'[n % 3] * (n % 5 + 1)} {n}" if n % 2 else "y" * n for n in range(200)],
            "odd": [float("nan"), 1.0] * 100,
        }
    )
    found = {column.name: [one.name for one in column.checks] for column in propose_schema(frame).columns}
    assert found == {
        "id": ["id unique"],
        "tail": ["tail matches ^[A-Z][0-9]{3,4}$", "tail unique"],
        "carrier": ["carrier in [AA, UA]"],
        "delay": ["delay between -25.0 and 34.0"],
        "share": ["share between 0.0 and 1.1"],
        "meter": [],
        "gap": [],
        "free": found["free"],
        "odd": [],
    }
    assert [column.name for column in propose_schema(frame).columns if column.nullable] == ["gap"]


def test_what_is_proposed_is_written_in_short_lines() -> None:
    text = propose_schema(pl.DataFrame({"delay": [5, -3, 9], "carrier": ["AA", "UA", "AA"] * 1})).dumps()
    assert "\nbetween = [-5, 11]\n" in text
    long = Schema(columns=(Column(name="a", checks=(check.is_in("a", ["x" * 60, "],", "z" * 60]),)),))
    assert '\nis_in = [\n    "xxx' in long.dumps()


@given(st.lists(st.text('a,"\n\r\t\\\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029 ]', max_size=4), min_size=1, max_size=4))
def test_texts_of_a_set_survive_their_file(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    """With what counts as the end of a line elsewhere, too."""
    schema = Schema(columns=(Column(name="a", checks=(check.is_in("a", texts),)),))
    assert Schema.load(schema.save(tmp_path_factory.mktemp("schema") / "t.toml")) == schema


@pytest.mark.parametrize("most", [2**100, 2**127 - 1])
def test_a_range_is_proposed_where_numbers_hold_its_bounds(most: int) -> None:
    frame = pl.DataFrame({"a": pl.Series([-most, most, 5], dtype=pl.Int128)})
    (column,) = propose_schema(frame).columns
    assert [one.kind for one in column.checks] == (["between"] if most == 2**100 else [])
    assert validate(frame, propose_schema(frame)).failed == ()


def test_a_version_gets_its_name(workspace: Workspace) -> None:
    assert propose_schema(dataset("t").commit(pl.DataFrame({"a": [1]}))).name == "t"


values = st.one_of(
    st.lists(st.one_of(st.none(), st.integers(-(2**62), 2**62)), max_size=30),
    st.lists(st.one_of(st.none(), st.floats(width=64)), max_size=30),
    st.lists(st.one_of(st.none(), st.text(max_size=5)), max_size=30),
    st.lists(st.sampled_from(["A1", "B22", "C3-"]), min_size=1, max_size=60),
    st.lists(st.one_of(st.none(), st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1))), max_size=10),
    st.lists(st.one_of(st.none(), st.booleans()), max_size=10),
)


@given(values)
def test_a_proposal_passes_its_own_data_from_its_file_too(
    tmp_path_factory: pytest.TempPathFactory, given: list
) -> None:
    frame = pl.DataFrame({"a": given}, strict=False)
    schema = propose_schema(frame)
    assert validate(frame, schema).failed == ()
    read = Schema.load(schema.save(tmp_path_factory.mktemp("schema") / "t.toml"))
    assert validate(frame, read).failed == ()


def test_a_column_may_be_named_by_an_empty_text(tmp_path: Path) -> None:
    frame = pl.DataFrame({"": range(30), "b": ["x", "y", None] * 10})
    schema = propose_schema(frame)
    assert Schema.load(schema.save(tmp_path / "t.toml")) == schema
    assert validate(frame, schema).failed == ()
    failed = validate(frame.with_columns(pl.lit(None).alias("")), schema).failed
    assert [result.check.kind for result in failed] == ["dtype", "not_null", "unique"]

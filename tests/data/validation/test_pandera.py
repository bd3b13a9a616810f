"""Schemas of pandera: on 200 generated pairs of schema and frame, verdicts and counts are pandera's own."""

from __future__ import annotations

import random
import re
import warnings
from collections import Counter
from datetime import date, timedelta
from typing import Any

import pandas as pd
import polars as pl
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pandera's own, on import
    import pandera.pandas
    import pandera.polars as pa
    from pandera.errors import SchemaErrors, SchemaWarning

from mainspring.data import check, validate
from mainspring.data.validation.pandera import schema_from
from mainspring.errors import WrongTypeError

PAIRS = 200
TEXTS = ["a", "ab", "abc", "b1", "N12", "N7x", "", "a.b"]


def values_of(rng: random.Random, kind: str, rows: int) -> list[Any]:
    """Values of a kind, some of them null, some of the floats NaN."""
    nulls = rng.choice([0.0, 0.0, 0.15])

    def value() -> Any:
        if rng.random() < nulls:
            return None
        if kind == "float":
            return float("nan") if rng.random() < 0.08 else round(rng.uniform(-5, 5), 1)
        if kind == "text":
            return rng.choice(TEXTS)
        if kind == "date":
            return date(2013, 1, 1) + timedelta(days=rng.randrange(20))
        return rng.randrange(-5, 6) if nulls or rng.random() < 0.9 else rng.randrange(1_000)

    return [value() for _ in range(rows)]


def checks_of(rng: random.Random, kind: str) -> list[Any]:
    """Checks that fit a kind."""
    if kind == "text":
        choices = [
            pa.Check.isin(rng.sample(TEXTS, 6)), pa.Check.notin(rng.sample(TEXTS, 2)), pa.Check.eq("a"),
            pa.Check.str_matches(rng.choice(["[a-z]", "N[0-9]+$", "a|b", "^ab"])), pa.Check.str_contains("[0-9]"),
            pa.Check.str_contains(re.compile("b")), pa.Check.str_startswith("a."), pa.Check.str_endswith("b"),
            pa.Check.str_length(1, 2), pa.Check.str_length(min_value=1), pa.Check.str_length(max_value=2),
            pa.Check.str_length(exact_value=2), pa.Check.ne("ab"),
        ]  # fmt: skip
    else:
        low, high = {"date": (date(2013, 1, 4), date(2013, 1, 15)), "float": (-3.0, 3.0)}.get(kind, (-3, 3))
        choices = [
            pa.Check.ge(low), pa.Check.gt(low), pa.Check.le(high), pa.Check.lt(high), pa.Check.ne(low),
            pa.Check.in_range(low, high), pa.Check.in_range(low, high, include_min=rng.random() < 0.5, include_max=False),
            pa.Check.isin([low, high]), pa.Check.notin([low]), pa.Check.in_range(low, high, include_min=False),
        ]  # fmt: skip
    held = rng.sample(choices, rng.randrange(0, 4))
    for one in held:
        one.raise_warning = rng.random() < 0.1
    return held


def pair(seed: int) -> tuple[Any, pl.DataFrame]:
    """A schema and a frame that may or may not fit each other."""
    rng = random.Random(seed)
    kinds = {"int": pl.Int64, "float": pl.Float64, "text": pl.String, "date": pl.Date}
    names = {f"{kind}_{number}": kind for number, kind in enumerate(rng.choices(list(kinds), k=rng.randrange(1, 5)))}
    rows = rng.choice([0, 1, 12, 60])
    columns = {}
    for name, kind in names.items():
        dtype = kinds[kind] if rng.random() < 0.95 else pl.Int8
        columns[name] = pa.Column(
            dtype if rng.random() < 0.9 else None, checks_of(rng, kind), nullable=rng.random() < 0.5,
            unique=rng.random() < 0.2, required=rng.random() < 0.8,
        )  # fmt: skip
    data = {name: pl.Series(values_of(rng, kind, rows), dtype=kinds[kind]) for name, kind in names.items()}
    if rng.random() < 0.1:
        data.pop(rng.choice(list(data)))
    if rng.random() < 0.15:
        data["other"] = pl.Series(range(rows), dtype=pl.Int64)
    if rng.random() < 0.1:
        data = dict(reversed(data.items()))
    frame = pl.DataFrame(data)
    strict, ordered = rng.choice([(False, False), (False, False), (True, False), (False, True)])
    keys = [name for name in names if name in frame.columns][:2] if rng.random() < 0.2 else None
    return pa.DataFrameSchema(columns, strict=strict, ordered=ordered, unique=keys or None), frame


Found = Counter[tuple[str, str, int]]  # reason, column and rows of each check that failed


def theirs(schema: Any, frame: pl.DataFrame) -> Found:
    """What pandera finds failing; what is of the table counts no rows."""
    found: Found = Counter()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", SchemaWarning)
        try:
            schema.validate(frame, lazy=True)
        except SchemaErrors as errors:
            for error in errors.schema_errors:
                reason, rows = error.reason_code.name, error.failure_cases
                column = str(error.schema.name) if reason in OF_A_COLUMN else ""
                found[reason, column, rows.height if isinstance(rows, pl.DataFrame) else 0] += 1
    found["WARNING", "", 0] = len(warned)
    return +found


OF_A_COLUMN = ("DATAFRAME_CHECK", "SERIES_CONTAINS_NULLS", "SERIES_CONTAINS_DUPLICATES", "WRONG_DATATYPE")
REASONS = {
    "not_null": "SERIES_CONTAINS_NULLS", "dtype": "WRONG_DATATYPE", "only_columns": "COLUMN_NOT_IN_SCHEMA",
    "unique": "SERIES_CONTAINS_DUPLICATES", "column_order": "COLUMN_NOT_ORDERED",
}  # fmt: skip


def ours(schema: Any, frame: pl.DataFrame) -> Found:
    """The same, of our report, in pandera's words."""
    found: Found = Counter()
    results = validate(frame, schema).results
    missing = {name for name in schema.columns if name not in frame.columns}
    for at, result in enumerate(results):
        columns = result.check.columns
        if result.passed:
            continue
        if result.check.severity == "warn" and not set(columns) & missing:
            found["WARNING", "", 0] += 1
        elif set(columns) & missing:
            found["COLUMN_NOT_IN_DATAFRAME", "", 0] += result.check.kind == "dtype"  # the first check of each column
        elif schema.unique and at == len(results) - 1:
            found["DUPLICATES", "", result.failing] += 1
        else:
            reason = REASONS.get(result.check.kind, "DATAFRAME_CHECK")
            found[reason, columns[0] if columns else "", result.failing] += 1
    return +found


@pytest.mark.parametrize("values", [["a", "b"], ["a"], ["a", "b", "c"], []])
@pytest.mark.parametrize("held", [["a", "b", "a", None], ["b", "b"], [], [None]])
def test_distinct_values_are_judged_as_pandera_does(values: list[str], held: list[str | None]) -> None:
    # By itself: pandera can't put its answer, which is no row, among the rows that other checks fail on.
    schema = pa.DataFrameSchema({"a": pa.Column(str, pa.Check.unique_values_eq(values), nullable=True)})
    frame = pl.DataFrame({"a": held}, schema={"a": pl.String})
    assert ours(schema, frame) == theirs(schema, frame)


@pytest.mark.parametrize("seed", range(PAIRS))
def test_verdicts_and_counts_are_those_of_pandera(seed: int) -> None:
    schema, frame = pair(seed)
    expected = theirs(schema, frame)
    assert ours(schema, frame) == expected
    assert validate(frame, schema).passed == (set(expected) <= {("WARNING", "", 0)})


def test_the_pairs_are_worth_their_number() -> None:
    reasons: Counter[str] = Counter()
    for seed in range(PAIRS):
        schema, frame = pair(seed)
        reasons.update({reason for reason, _, _ in theirs(schema, frame)} or {"passed"})
    assert set(reasons) >= {
        "passed", "DATAFRAME_CHECK", "SERIES_CONTAINS_NULLS", "SERIES_CONTAINS_DUPLICATES", "WRONG_DATATYPE",
        "COLUMN_NOT_IN_DATAFRAME", "COLUMN_NOT_IN_SCHEMA", "DUPLICATES",
        "COLUMN_NOT_ORDERED", "WARNING",
    }  # fmt: skip
    assert reasons["passed"] >= 20


def test_whole_numbers_among_floats_are_counted_where_pandera_cannot() -> None:
    """Where the two differ: Polars 2 refuses `is_in` of integers for floats, which pandera hands on as an error."""
    schema = pa.DataFrameSchema({"x": pa.Column(float, pa.Check.isin([1, 2]))})
    good, bad = pl.DataFrame({"x": [1.0, 2.0]}), pl.DataFrame({"x": [1.0, 2.5]})
    assert list(theirs(schema, good)) == [("CHECK_ERROR", "", 0)]
    assert validate(good, schema).passed
    assert [result.failing for result in validate(bad, schema).failed] == [1]


def test_what_cannot_be_expressed_is_named() -> None:
    schema = pa.DataFrameSchema(
        {
            "a": pa.Column(
                int, [pa.Check(lambda data: data.lazyframe.select(pl.col("a") > 1), name="mine")], coerce=True
            ),
            "b": pa.Column(int, pa.Check.ge(0, ignore_na=False), default=3, nullable=True),
            "^x_": pa.Column(int, pa.Check.ge(0), regex=True, required=False),
            "c": pa.Column(int, pa.Check.ge(0, element_wise=True)),
        },
        checks=pa.Check.ge(0),
        strict="filter",
    )
    assert schema_from(schema, ["a", "b", "c"]).notes == (
        "a: check mine: it is a function",
        "a: coerce: values are taken as they are",
        "b: check greater_than_or_equal_to: ignore_na=False; nulls pass",
        "b: default: missing values stay missing",
        "^x_: no column matches this pattern",
        "c: check greater_than_or_equal_to: it is a function",
        "check greater_than_or_equal_to of the whole table",
        "strict='filter': other columns stay",
    )
    report = validate(pl.DataFrame({"a": [1], "b": [1], "c": [1], "x_1": [-1]}), schema)
    assert "  not checked: a: check mine: it is a function" in str(report)
    assert [result.check.name for result in report.failed] == ["x_1 at least 0"]


def test_a_warning_stays_one_and_other_checks_go_with_it() -> None:
    class Flights(pa.DataFrameModel):
        """A model, with a check that only warns."""

        delay: int = pa.Field(ge=0, raise_warning=True)

    report = validate(pl.DataFrame({"delay": [-1]}), [Flights, check.row_count(at_least=2)])
    assert [result.check.severity for result in report.failed] == ["warn", "stop"]


def test_schemas_for_pandas_are_taken_too() -> None:
    schema = pandera.pandas.DataFrameSchema(
        {
            "n": pandera.pandas.Column("int64", pandera.pandas.Check.gt(1), unique=True),
            "text": pandera.pandas.Column(str, pandera.pandas.Check.str_matches("a|b"), nullable=True),
        },
        index=pandera.pandas.Index(int),
    )
    frame = pd.DataFrame({"n": [1, 2, 2], "text": ["b", None, "cb"]})
    report = validate(frame, schema)
    assert [(result.check.kind, result.failing) for result in report.failed] == [
        ("unique", 2), ("between", 1), ("matches", 1),
    ]  # fmt: skip
    assert report.notes == ("index: a table has none here",)


def test_what_is_no_schema_is_refused() -> None:
    with pytest.raises(WrongTypeError, match="DataFrameSchema"):
        schema_from(pa.Check.gt(0))

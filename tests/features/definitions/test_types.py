"""A type holds another if each value of it survives, exactly; what holds it is cast, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import polars as pl
import pytest

from mainspring.data.tables.type_names import named_type
from mainspring.errors import InvalidError
from mainspring.features.definitions.types import holds, of_declared_types

INTEGERS = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")
FLOATS = ("f32", "f64")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ends(name: str) -> list[Any]:
    """The values of a type that are the hardest to hold."""
    bits = int(name[1:])
    if name[0] == "f":
        return [0.1 if bits == 64 else 0.5 + 2.0**-23, 2.0 ** (127 if bits == 32 else 1000)]
    low, high = (0, 2**bits) if name[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    return [low, high - 1, *(each for each in (2**24 + 1, 2**53 + 1) if each < high)]


def is_exact(value: Any, name: str) -> bool:
    try:
        found = pl.Series([value], dtype=pl.Float64 if isinstance(value, float) else pl.Int128).cast(
            named_type(name, "")
        )
    except pl.exceptions.PolarsError:
        return False
    return found[0] == value and type(found[0]) is type(value) if name[0] != "f" else int(found[0]) == value or (
        found[0] == value
    )  # fmt: skip


@pytest.mark.parametrize(("wanted", "given"), [*product((*INTEGERS, *FLOATS), (*INTEGERS, *FLOATS))])
def test_numbers_are_held_if_the_hardest_ones_survive(wanted: str, given: str) -> None:
    survive = all(is_exact(each, wanted) for each in ends(given))
    assert holds(named_type(wanted, ""), named_type(given, "")) == survive


@pytest.mark.parametrize(
    ("wanted", "column"),
    [
        ("i64", pl.Series([1, -7, None], dtype=pl.Int8)), ("f64", pl.Series([1, None], dtype=pl.UInt32)),
        ("i64", pl.Series([None, None])), ("list[i64]", pl.Series([None])),
        ("datetime[us, UTC]", pl.Series([NOON, None], dtype=pl.Datetime("ms", "Europe/Berlin"))),
        ("duration[us]", pl.Series([timedelta(seconds=-3)], dtype=pl.Duration("ms"))),
        ("str", pl.Series(["a", None], dtype=pl.Categorical)), ("str", pl.Series(["a"], dtype=pl.Enum(["a"]))),
        ("decimal[20, 4]", pl.Series([Decimal("1.25")], dtype=pl.Decimal(10, 2))),
        ("list[f64]", pl.Series([[1.5, None], []], dtype=pl.List(pl.Float32))),
        ("list[i64]", pl.Series([[1, 2]], dtype=pl.Array(pl.Int8, 2))),
        ("array[f64, 2]", pl.Series([[1.5, 2.5]], dtype=pl.Array(pl.Float32, 2))),
        ("list[i64]", pl.Series([[], None], dtype=pl.List(pl.Null))), ("list[list[str]]", pl.Series([[[None]], [[]], []])),
        ("list[datetime[us, UTC]]", pl.Series([[NOON, None], [], None], dtype=pl.List(pl.Datetime("ms", "Asia/Tokyo")))),
        ("list[datetime[us]]", pl.Series([[datetime(2026, 3, 1)]], dtype=pl.Array(pl.Datetime("ms"), 1))),
        ("array[duration[us], 1]", pl.Series([[timedelta(1)], None], dtype=pl.Array(pl.Duration("ms"), 1))),
        ("list[list[duration[us]]]", pl.Series([[[timedelta(1)], []], [None]], dtype=pl.List(pl.List(pl.Duration("ms"))))),
        ('struct{"a": i64, "t": list[datetime[us, UTC]]}', pl.Series(
            [{"a": 1, "t": [NOON]}, {"a": None, "t": None}, None],
            dtype=pl.Struct({"a": pl.Int8, "t": pl.List(pl.Datetime("ms", "Europe/Berlin"))}),
        )),
    ],
)  # fmt: skip
def test_what_is_held_is_the_same_in_the_declared_type(wanted: str, column: pl.Series) -> None:
    rows = of_declared_types(pl.LazyFrame([column.alias("x")]), {"x": wanted}, {"x"}, refused).collect()
    assert rows.schema["x"] == named_type(wanted, "")
    assert rows["x"].to_list() == column.to_list()


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("datetime[ms]", "datetime[us]"), ("datetime[ns]", "datetime[us]"), ("datetime[us]", "datetime[us, UTC]"),
        ("datetime[us]", "date"), ("str", "i64"), ("i64", "bool"), ("bool", "i8"), ("decimal[10, 2]", "decimal[10, 1]"),
        ("array[f32, 3]", "array[f32, 4]"), ("array[f32, 3]", "list[f32]"), ("list[i8]", "list[i64]"),
        ('struct{"a": i64}', 'struct{"b": i64}'), ("list[datetime[ms]]", "list[datetime[us]]"),
        ("list[datetime[us]]", "list[datetime[us, UTC]]"), ("list[duration[ms]]", "list[duration[us]]"),
        ('struct{"a": i64, "b": i64}', 'struct{"a": i64}'), ('struct{"a": i8}', 'struct{"a": i64}'),
        ("i64", "list[null]"), ("list[list[i64]]", "list[i64]"),
    ],
)  # fmt: skip
def test_what_would_lose_something_is_refused_with_both_types(wanted: str, given: str) -> None:
    rows = pl.LazyFrame(schema={"x": named_type(given, "")})
    with pytest.raises(InvalidError, match="refused"):
        of_declared_types(rows, {"x": wanted}, {"x"}, refused)


def test_what_is_computed_must_be_of_the_type_itself() -> None:
    rows = pl.LazyFrame(schema={"x": pl.Int8})
    with pytest.raises(InvalidError, match="refused"):
        of_declared_types(rows, {"x": "i64"}, (), refused)


@pytest.mark.parametrize(
    ("wanted", "given"), [
        ("i64", "null"), ("list[i64]", "list[null]"), ('struct{"a": list[str], "b": i8}', 'struct{"a": null, "b": i8}'),
        ("array[f32, 2]", "array[null, 2]"), ("list[list[decimal[10, 2]]]", "list[list[null]]"), ("enum[\"a\"]", "null"),
    ],
)  # fmt: skip
def test_what_is_computed_of_nulls_alone_is_of_each_type(wanted: str, given: str) -> None:
    rows = pl.LazyFrame([pl.Series("x", [None, None], dtype=named_type(given, ""))])
    found = of_declared_types(rows, {"x": wanted}, (), refused).collect()
    assert found.equals(pl.DataFrame([pl.Series("x", [None, None], dtype=named_type(wanted, ""))]))


def test_what_is_not_of_the_type_that_polars_planned_is_refused_when_it_is_there() -> None:
    rows = pl.LazyFrame({"x": [[1]], "y": [["a"]]}).select(pl.col("x").list.set_union("y"))
    assert rows.collect_schema()["x"] == pl.List(pl.Int64)
    with pytest.raises(pl.exceptions.SchemaError, match=r"`x` is List\(String\), expected List\(Int64\)"):
        of_declared_types(rows, {"x": "list[i64]"}, (), refused).collect()


@pytest.mark.parametrize("depth", range(3))
def test_a_time_beyond_the_declared_type_is_an_error_and_no_other_time(depth: int) -> None:
    far, wanted = pl.Series("x", [10**17]).cast(pl.Datetime("ms")), "datetime[us]"
    for _ in range(depth):
        far, wanted = far.implode(), f"list[{wanted}]"
    with pytest.raises(pl.exceptions.InvalidOperationError):
        of_declared_types(far.to_frame().lazy(), {"x": wanted}, {"x"}, refused).collect()


def refused(name: str, given: str) -> InvalidError:
    return InvalidError(name, given, "refused")

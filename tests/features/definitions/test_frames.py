"""A request has one form in declared types, whether it comes as values or as columns of a table."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import polars as pl
import pytest

from mainspring.errors import WrongTypeError
from mainspring.features.definitions.frames import expect_no_numbers, typed_columns, typed_frame

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NEW_YORK = pl.Datetime("us", "America/New_York")


@pytest.mark.parametrize(
    ("dtype", "column"),
    [
        ("i64", pl.Series([300, None], dtype=pl.Int16)), ("i8", pl.Series([-128, 127], dtype=pl.Int64)),
        ("f64", pl.Series([2**53 + 1, None])), ("f32", pl.Series([0.1, None, float("nan")])), ("f32", pl.Series([2**25 + 1])),
        ("datetime[us, UTC]", pl.Series([NOON, None], dtype=NEW_YORK)), ("datetime[us]", pl.Series([NOON], dtype=NEW_YORK)),
        ("datetime[us, America/New_York]", pl.Series([NOON])), ("datetime[us, UTC]", pl.Series([date(2026, 3, 1), None])),
        ("datetime[ms, UTC]", pl.Series([NOON])), ("datetime[us]", pl.Series(["2026-03-01T12:00:00+02:00", None])),
        ("date", pl.Series([datetime(2026, 3, 1)])), ("date", pl.Series(["2026-03-01"])),
        ("duration[ms]", pl.Series([timedelta(seconds=-1)])), ("decimal[10, 2]", pl.Series([1.25, 3.0])),
        ("decimal[10, 2]", pl.Series([Decimal("1.250")])), ("str", pl.Series(["a", None], dtype=pl.Categorical)),
        ('enum["a"]', pl.Series(["a", None])), ("list[i64]", pl.Series([[1, None]], dtype=pl.List(pl.Int8))),
        ("uuid", pl.Series([UUID(int=10)], dtype=pl.Object)), ("uuid", pl.Series([str(UUID(int=10)).upper(), None])),
        ("bool", pl.Series([True, None])), ("i64", pl.Series([None, None])),
    ],
)  # fmt: skip
def test_columns_have_the_values_of_a_request(dtype: str, column: pl.Series) -> None:
    table = typed_columns(pl.DataFrame([column.alias("x"), column.alias("y")]), {"x": dtype})
    asked = typed_frame({"x": (dtype, column.to_list())})
    assert table["x"].equals(asked["x"], check_dtypes=True)
    assert table["y"].dtype == column.dtype


@pytest.mark.parametrize(
    ("dtype", "good", "bad", "told"),
    [
        ("i8", 7, 300, "`300` is an int"), ("i64", 7, 1.5, "`1.5` is a float"), ("u64", 7, -1, "`-1` is an int"),
        ("datetime[ms]", NOON, NOON + timedelta(microseconds=1), "is a datetime"),
        ("date", NOON.replace(hour=0), NOON, "is a datetime"),
        ("duration[ms]", timedelta(1), timedelta(microseconds=5), "is a timedelta"), ("str", "a", 7, "`7` is an int"),
        ("decimal[10, 2]", Decimal("1.25"), Decimal("1.255"), "is a Decimal"),
        ("datetime[us]", "2026-01-01", "soon", "`soon` is a str"),
        ("uuid", str(UUID(int=1)), "x", "`x` is a str"),
        ("datetime[ns]", NOON, datetime(1600, 1, 1, tzinfo=UTC), "is a datetime"),
        ('enum["a"]', "a", "b", "`b` is a str"),
        ("datetime[us]", NOON.replace(year=9999).isoformat(), "0001-01-01T00:00+01:00", "is a str"),
    ],
)  # fmt: skip
def test_what_does_not_fit_without_loss_is_named(dtype: str, good: Any, bad: Any, told: str) -> None:
    values = [good, None, bad, good] if type(good) is type(bad) else [bad, None, bad]
    for attempt in (
        lambda: typed_frame({"x": (dtype, values)}),
        lambda: typed_columns(pl.DataFrame({"x": values}), {"x": dtype}),
    ):
        with pytest.raises(WrongTypeError, match=rf"x: .*{told}, expected a value of type"):
            attempt()
    assert typed_frame({"x": (dtype, [good])}).height == 1


@pytest.mark.parametrize(
    ("dtype", "good", "bad", "told"),
    [
        ('struct{"x": i64, "y": f64}', {"y": 2, "x": 1}, {"x": 1.7, "y": 2.5}, "x.x: `1.7` is a float"),
        ('struct{"x": i64, "y": f64}', {"y": None}, {"xx": 1, "y": 2.5}, "x: .* is a dict"),
        ('struct{"s": str}', {"s": "a"}, {"s": 5}, "x.s: `5` is an int"),
        ('list[struct{"x": i64}]', [{"x": 3}, None], [{"x": "3"}], r"x\[\].x: `3` is a str"),
        ("list[i64]", [1, None], [1, True], r"x\[\]: .*True"),
        ("list[f32]", [1.5, 2, None], ["1.5"], r"x\[\]: `1.5` is a str"),
        ("list[i64]", [], "12", "x: `12` is a str"),
        ("array[f32, 2]", [1, 2], [1], r"x: `\[1\]` is a list"),
        ("list[datetime[us, UTC]]", [NOON.isoformat(), NOON], ["soon"], r"x\[\]: `soon` is a str"),
        ("list[list[i64]]", [[1], [], None], [[1.5]], r"x\[\]\[\]: `1.5` is a float"),
    ],
)
def test_within_lists_and_structs_values_are_looked_at_as_outside(dtype: str, good: Any, bad: Any, told: str) -> None:
    found = typed_frame({"x": (dtype, [good, None])})["x"]
    assert found[1] is None
    assert typed_frame({"x": (dtype, [found.to_list()[0]])})["x"].equals(found[:1], check_dtypes=True)
    with pytest.raises(WrongTypeError, match=f"^{told}"):
        typed_frame({"x": (dtype, [good, bad])})


@pytest.mark.parametrize("text", ["NaN", "Infinity", "sNaN", "1e-400", "1e40", "1e400", "0.005", "123456789.00"])
def test_a_decimal_that_its_type_can_not_hold_is_refused(text: str) -> None:
    with pytest.raises(WrongTypeError, match="expected a value of type decimal"):
        typed_frame({"x": ("decimal[10, 2]", [text])})
    with pytest.raises(WrongTypeError, match=r"x\[\]: .*expected a value of type decimal"):
        typed_frame({"x": ("list[decimal[10, 2]]", [[text]])})
    found = typed_frame({"x": ("decimal[10, 2]", ["0e400", "-12345678.90", "1e2", "0.01"])})["x"]
    assert [str(each) for each in found] == ["0.00", "-12345678.90", "100.00", "0.01"]


def test_nanoseconds_within_lists_and_structs_are_kept_or_refused() -> None:
    times = pl.Series("x", [[1700000000123456789], [], None]).cast(pl.List(pl.Datetime("ns")))
    zoned = typed_columns(pl.DataFrame({"x": times}), {"x": "list[datetime[ns, UTC]]"})["x"]
    assert zoned.explode().cast(pl.Int64).to_list()[0] == 1700000000123456789
    with pytest.raises(WrongTypeError, match=r"x\[\]: .* expected a value of type datetime\[us\]"):
        typed_columns(pl.DataFrame({"x": times}), {"x": "list[datetime[us]]"})
    deep = pl.DataFrame({"t": times.explode()[:1], "n": [1]}).to_struct("x")
    found = typed_columns(pl.DataFrame({"x": deep}), {"x": 'struct{"t": datetime[ns], "n": i8}'})["x"]
    assert found.struct.field("t").cast(pl.Int64).to_list() == [1700000000123456789]


def test_a_number_is_no_time_wherever_it_stands() -> None:
    dtype = 'struct{"n": i64, "at": list[datetime[us]]}'
    expect_no_numbers("x", dtype, [None, {"n": 5, "at": ["2026-01-01"]}])
    with pytest.raises(WrongTypeError, match="ISO 8601"):
        expect_no_numbers("x", dtype, [{"n": 5, "at": [None, 1_700_000_000]}])


def test_columns_of_bytes_are_uuids_and_other_keys_stay_as_they_are() -> None:
    given = pl.DataFrame({"u": [UUID(int=10).bytes], "n": pl.Series([7], dtype=pl.UInt8), "b": [b"x"], "more": [1]})
    found = typed_columns(given, {"u": "uuid", "n": "int", "b": "bytes"})
    assert found.row(0) == (str(UUID(int=10)), 7, b"x", 1)
    assert found.drop("u").schema == given.drop("u").schema
    with pytest.raises(WrongTypeError, match="n: `UInt8` is an UInt8, expected a column of UUIDs"):
        typed_columns(given, {"n": "uuid"})

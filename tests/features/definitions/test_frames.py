"""A request has one form in declared types, whether it comes as values or as columns of a table."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import polars as pl
import pytest

from mainspring.errors import WrongTypeError
from mainspring.features.definitions.frames import typed_columns, typed_frame

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


TIMES: list[tuple[str, Any, str]] = [
    ("datetime[us, UTC]", NOON, "2026-03-01T12:00:00Z"), ("datetime[ms]", NOON.replace(tzinfo=None), "2026-03-01T12:00"),
    ("datetime[ns, UTC]", NOON, "2026-03-01T13:00:00.000000+01:00"), ("date", date(2026, 3, 1), "2026-03-01"),
    ("time", time(5, 0, 0, 7), "05:00:00.000007"), ("duration[us]", timedelta(days=1, microseconds=7), "P1DT0.000007S"),
]  # fmt: skip
NESTED: list[tuple[str, Callable[[Any], Any]]] = [
    ("{}", lambda value: value), ("list[{}]", lambda value: [value]), ("array[{}, 1]", lambda value: [value]),
    ('struct{{"t": {}, "n": i64}}', lambda value: {"t": value, "n": 1}),
    ('list[struct{{"t": list[{}]}}]', lambda value: [{"t": [value]}]),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "value", "text"), TIMES)
@pytest.mark.parametrize(("shape", "nest"), NESTED)
def test_a_time_is_an_object_or_a_text_and_never_a_number(
    dtype: str, value: Any, text: str, shape: str, nest: Callable[[Any], Any]
) -> None:
    asked = shape.format(dtype)
    found = typed_frame({"x": (asked, [nest(value), nest(text), None])})["x"]
    assert found[:1].equals(found[1:2])
    assert found.to_list() == [nest(value), nest(value), None]
    for number in (1_700_000_000, 5.0, Decimal(3)):
        for values in ([nest(number)], [nest(value), nest(number)]):
            with pytest.raises(WrongTypeError, match=r"^x.*ISO 8601"):
                typed_frame({"x": (asked, values)})
        with pytest.raises(WrongTypeError, match=r"^x.*ISO 8601"):
            typed_columns(pl.DataFrame({"x": [nest(number)]}), {"x": asked})
    assert typed_columns(pl.DataFrame({"x": [None, None]}, schema={"x": pl.Int64}), {"x": asked})["x"].null_count() == 2


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        ("datetime[ns, UTC]", "2026-01-01T00:00:00.123456789Z"), ("time", "05:00:00.0000001"), ("time", "05:00+01:00"),
        ("duration[us]", "PT1.0000001S"), ("datetime[us]", "1704010200000"),
    ],
)  # fmt: skip
def test_a_text_that_would_be_cut_or_misread_is_refused(dtype: str, text: str) -> None:
    with pytest.raises(WrongTypeError, match=f"^x: `{re.escape(text)}` is a str.*to the microsecond"):
        typed_frame({"x": (dtype, [text])})


@pytest.mark.parametrize("dtype", ["f32", "list[f32]", "array[f32, 1]", 'struct{"y": f32}'])
def test_a_finite_number_stays_finite(dtype: str) -> None:
    def nest(value: Any) -> Any:
        return {"s": {"y": value}, "f": value}.get(dtype[0], [value])

    good = [nest(each) for each in (float("inf"), 3e38, None)]
    assert typed_frame({"x": (dtype, good)})["x"].to_list()[0] == good[0]
    for values in ([nest(1e300)], [*good, nest(-1e300)]):
        for attempt in (typed_frame({"x": (dtype.replace("f32", "f64"), values)}), pl.DataFrame({"x": values})):
            with pytest.raises(WrongTypeError, match=r"^x.*1e\+?300"):
                typed_columns(attempt, {"x": dtype})
        with pytest.raises(WrongTypeError, match=r"^x.*1e\+?300"):
            typed_frame({"x": (dtype, values)})


def test_bytes_may_be_of_any_kind() -> None:
    found = typed_frame({"x": ("bin", [b"a", bytearray(b"b"), memoryview(b"c"), None])})["x"]
    assert found.to_list() == [b"a", b"b", b"c", None]


def test_columns_of_bytes_are_uuids_and_other_keys_stay_as_they_are() -> None:
    given = pl.DataFrame({"u": [UUID(int=10).bytes], "n": pl.Series([7], dtype=pl.UInt8), "b": [b"x"], "more": [1]})
    found = typed_columns(given, {"u": "uuid", "n": "int", "b": "bytes"})
    assert found.row(0) == (str(UUID(int=10)), 7, b"x", 1)
    assert found.drop("u").schema == given.drop("u").schema
    with pytest.raises(WrongTypeError, match="n: `UInt8` is an UInt8, expected a column of UUIDs"):
        typed_columns(given, {"n": "uuid"})

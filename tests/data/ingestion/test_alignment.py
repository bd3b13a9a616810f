"""Columns are brought to a type only where that keeps every value and what it means."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
import pytest

from mainspring.data.ingestion.alignment import Alignment
from mainspring.errors import InvalidError

NEW_YORK = "America/New_York"
TEN = dt.datetime(2024, 1, 1, 10)
MIDNIGHT = dt.datetime(2024, 1, 1)
ORDER = pl.Struct({"price": pl.Struct({"amount": pl.Float64(), "currency": pl.String()}), "note": pl.String()})
ITEMS = pl.List(pl.Struct({"sku": pl.String(), "count": pl.Int64()}))


def brought(given: pl.Series, dtype: pl.DataType) -> pl.Series:
    found = Alignment({"v": dtype}).take(pl.DataFrame({"v": given}), "a file")["v"]
    assert found.dtype == dtype
    return found


def at(zone: str, time: dt.datetime) -> pl.Series:
    return pl.Series([time]).dt.replace_time_zone(zone)


@pytest.mark.parametrize(
    ("texts", "dtype", "values"),
    [
        (["1.25", "2.5E+1", "150e-2", "100.100", None], pl.Decimal(10, 2), ["1.25", "25.00", "1.50", "100.10", None]),
        (["7", "1.5", "-inf"], pl.Float64(), [7.0, 1.5, float("-inf")]),
        (["2024-01-01 10:00:00"], pl.Datetime("us", NEW_YORK), ["2024-01-01 10:00:00-05:00"]),
        (["10:00:00.123456789", "23:59"], pl.Time(), ["10:00:00.123456", "23:59:00"]),
        (["2.0", "-12.", "+3.00", None], pl.Int8(), [2, -12, 3, None]),
    ],
)
def test_texts_are_parsed(texts: list[str | None], dtype: pl.DataType, values: list[Any]) -> None:
    found = brought(pl.Series(texts), dtype).to_list()
    assert [str(each) if isinstance(value, str) else each for each, value in zip(found, values, strict=True)] == values


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("1.5e-3", pl.Decimal(10, 2)), ("0.005", pl.Decimal(10, 2)), ("9007199254740993", pl.Float64()),
        ("16777217", pl.Float32()), ("1e400", pl.Float64()), ("10:00:00.1234567891", pl.Time()),
        ("2024-01-01 10:00:00.1234567", pl.Datetime("us")), ("9999-12-31", pl.Datetime("ns")),
        ("1600-01-01T00:00:00Z", pl.Datetime("ns", "UTC")), ("2262-04-12T00:00:00", pl.Datetime("ns")),
    ],
)  # fmt: skip
def test_a_text_that_would_be_rounded_is_refused(text: str, dtype: pl.DataType) -> None:
    with pytest.raises(InvalidError, match=f"`{text}.*` is not its type"):
        brought(pl.Series([text, None]), dtype)


@pytest.mark.parametrize(
    "given", [pl.Series([TEN]), pl.Series([TEN]).dt.cast_time_unit("ms"), pl.Series(["2024-01-01T10:00:00"])]
)
def test_a_time_without_a_zone_is_one_of_the_columns_zone(given: pl.Series) -> None:
    assert brought(given, pl.Datetime("us", NEW_YORK)).equals(at(NEW_YORK, TEN))


def test_a_date_begins_where_the_column_is_and_a_zoned_time_is_one_only_there() -> None:
    assert brought(pl.Series([MIDNIGHT.date()]), pl.Datetime("us", NEW_YORK)).equals(at(NEW_YORK, MIDNIGHT))
    assert brought(at(NEW_YORK, MIDNIGHT), pl.Date()).to_list() == [MIDNIGHT.date()]
    for time in (at(NEW_YORK, dt.datetime(2024, 1, 1, 19)), at("Asia/Shanghai", dt.datetime(2024, 1, 1, 8))):
        with pytest.raises(InvalidError, match="its type, `date`"):
            brought(time, pl.Date())
    assert brought(at(NEW_YORK, TEN), pl.Datetime("us")).to_list() == [dt.datetime(2024, 1, 1, 15)]
    with pytest.raises(InvalidError, match=r"`2024-03-10 02:30:00` is not .* clocks of America/New_York skip"):
        brought(pl.Series([dt.datetime(2024, 3, 10, 2, 30)]), pl.Datetime("us", NEW_YORK))


@pytest.mark.parametrize(
    ("given", "is_told"),
    [
        ("2024-03-10 02:30", True), ("2024-11-03 01:30", True), ("late", False), ("2024-02-30 10:00", False),
        ("2024-02-30T10:00Z", False), ("2024-01-01 10:00:00.1234567", False), (5, False), (True, False),
    ],
)  # fmt: skip
def test_clocks_are_spoken_of_only_where_they_are_to_blame(given: Any, is_told: bool) -> None:
    with pytest.raises(InvalidError) as told:
        brought(pl.Series([given]), pl.Datetime("us", NEW_YORK))
    assert ("clocks" in str(told.value)) == is_told


@pytest.mark.parametrize("before", [[], [None], ["2020-01-01"], ["late"]])
@pytest.mark.parametrize("text", ["01/02/2020 10:00", "31.01.2020", "10:00", ""])
def test_which_texts_are_times_does_not_depend_on_those_before(before: list[Any], text: str) -> None:
    with pytest.raises(InvalidError, match=f"`{'late' if 'late' in before else text}` is not its type, `datetime"):
        brought(pl.Series([*before, text], dtype=pl.String), pl.Datetime("us"))


@pytest.mark.parametrize("text", ["01/02/2020", "20200102", "2020-13-01", ""])
def test_the_year_of_a_date_comes_first(text: str) -> None:
    assert brought(pl.Series(["2020-01-02", "2020/01/02"]), pl.Date()).n_unique() == 1
    with pytest.raises(InvalidError, match=f"`{text}` is not its type, `date`. Cast it in"):
        brought(pl.Series([text]), pl.Date())


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ([-(2**80), 5, None], ["-1208925819614629174706176", "5", None]), ([True, False], ["true", "false"]),
        ([0.5, 2.0, 1e20, 1e-7, None], ["0.5", "2.0", "100000000000000000000", "0.0000001", None]),
        ([[1, None], []], [["1", None], []]), ([dt.date(2020, 1, 2)], ["2020-01-02"]),
        ([float("nan"), float("-inf")], ["NaN", "-inf"]),
    ],
)  # fmt: skip
def test_a_column_of_text_takes_what_is_parsed_as_the_same_again(given: list[Any], texts: list[Any]) -> None:
    series = pl.Series(given)
    dtype = pl.List(pl.String()) if isinstance(given[0], list) else pl.String()
    assert brought(series, dtype).to_list() == texts
    assert brought(brought(series, dtype), series.dtype).equals(series)


@pytest.mark.parametrize("blanks", [" {}", "{}\t ", "\u00a0{} "])
@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("8", pl.Int64()), ("8.5", pl.Float64()), ("8.5", pl.Decimal(6, 2)), ("2020-01-02", pl.Date()), ("True", pl.Boolean()),
        ("2020-01-02T10:00Z", pl.Datetime("us", "UTC")), ("10:00:00", pl.Time()),
    ],
)  # fmt: skip
def test_blanks_around_a_value_are_passed_over(blanks: str, text: str, dtype: pl.DataType) -> None:
    assert brought(pl.Series([blanks.format(text)]), dtype).equals(brought(pl.Series([text]), dtype))
    assert brought(pl.Series([blanks.format(text)]), pl.String()).to_list() == [blanks.format(text)]
    for wrong in ("8 8x", "8_0", "\uff18x"):
        with pytest.raises(InvalidError, match=f"`{wrong}` is not its type, .* Cast it in the source, or"):
            brought(pl.Series([blanks.format(wrong)]), dtype)
    with pytest.raises(InvalidError, match="`' '` is not its type"):
        brought(pl.Series(["   "]), dtype)


@pytest.mark.parametrize(
    ("number", "dtype", "text"),
    [
        (1.1, pl.Decimal(38, 18), "1.100000000000000000"), (-1.5e-10, pl.Decimal(38, 20), "-1.5000000000E-10"),
        (123456789.123, pl.Decimal(38, 12), "123456789.123000000000"), (1e20, pl.Decimal(38, 2), "100000000000000000000.00"),
    ],
)  # fmt: skip
def test_a_decimal_has_the_digits_of_a_number_and_no_more(number: float, dtype: pl.DataType, text: str) -> None:
    assert str(brought(pl.Series([number]), dtype)[0]) == text
    assert str(brought(pl.Series([[number]]), pl.List(dtype))[0][0]) == text
    for wrong in (1.255, float("nan"), float("inf")):
        with pytest.raises(InvalidError, match="is not its type, `decimal"):
            brought(pl.Series([wrong]), pl.Decimal(10, 2))


def test_whole_numbers_are_whole_also_if_they_come_as_floats() -> None:
    assert brought(pl.Series([1.0, None, -(2.0**60)]), pl.Int64()).to_list() == [1, None, -(2**60)]
    for wrong in (1.5, float("nan"), 1e20):
        with pytest.raises(InvalidError, match=rf"`{str(wrong).replace('+', '.')}` is not its type, `i64`"):
            brought(pl.Series([1.0, wrong]), pl.Int64())


def test_a_misfit_is_named_by_its_row() -> None:
    frame = pl.DataFrame({"v": ["1.25", None, "1.125", "x"]})
    with pytest.raises(InvalidError, match=r"^line 14, column `v`: `1\.125` .* holds it: `decimal\[38, 3\]`"):
        Alignment({"v": pl.Decimal(10, 2)}).take(frame, "a file", named=lambda row: f"line {row + 12}")


@pytest.mark.parametrize(
    ("given", "dtype", "values"),
    [
        (
            [{"note": "x", "price": {"currency": "E", "amount": 2}}, None, {"note": None}],
            ORDER,
            [
                {"price": {"amount": 2.0, "currency": "E"}, "note": "x"}, None, {"price": None, "note": None},
            ],
        ),
        (
            [[{"count": 2, "sku": None}, {"count": 3, "sku": "z"}], [], None],
            ITEMS,
            [[{"sku": None, "count": 2}, {"sku": "z", "count": 3}], [], None],
        ),
        ([[[1]], [[], None], None], pl.List(pl.List(pl.Float64())), [[[1.0]], [[], None], None]),
        ([[1, 2], None], pl.Array(pl.Float32(), 2), [[1.0, 2.0], None]),
        ([["a"], ["b", "a"]], pl.List(pl.Enum(["a", "b"])), [["a"], ["b", "a"]]),
    ],
)  # fmt: skip
def test_nested_values_are_brought_part_by_part_in_any_order(
    given: list[Any], dtype: pl.DataType, values: list[Any]
) -> None:
    assert brought(pl.Series(given), dtype).to_list() == values


KINDS = [
    pl.Int64(), pl.Float32(), pl.Decimal(10, 2), pl.String(), pl.Boolean(), pl.Date(), pl.Datetime("us", NEW_YORK), pl.Time(),
    pl.Duration("us"), pl.Binary(), pl.List(pl.Int64()), pl.Array(pl.Int8(), 2), ORDER, ITEMS, pl.Null(),
]  # fmt: skip


@pytest.mark.parametrize("dtype", KINDS[:-1])
def test_a_column_of_nulls_is_of_any_type(dtype: pl.DataType) -> None:
    for given in KINDS:
        for count in (0, 2):
            assert brought(pl.Series([None] * count, dtype=given), dtype).to_list() == [None] * count
    assert brought(pl.Series([[], [None], None], dtype=pl.List(pl.String())), pl.List(dtype)).to_list() == [
        [],
        [None],
        None,
    ]


@pytest.mark.parametrize(
    ("given", "dtype", "said"),
    [
        ([[1.0, 1.5]], pl.List(pl.Int64()), r"`1\.5` is not its type, `i64`"),
        ([{"a": 1, "n": 2}], pl.Struct({"a": pl.Int64()}), "the field `n` is new"),
        ([[1], [2, 3]], pl.Array(pl.Int64(), 2), "width"),
        ([[1]], pl.Int64(), r"`list\[i64\]` is not its type, `i64`"),
        ([dt.timedelta(1)], pl.String(), r"`duration\[us\]` is not"),
        (["{}"], pl.Struct({"a": pl.Int64()}), "`str` is not its type"),
        ([{"a": 1}], pl.Int8(), "`struct.* is not its type, `i8`"),
        ([{"a": 1}], pl.List(pl.Int64()), "`struct.* is not its type, `list"),
        ([1], pl.List(pl.Int64()), "`i64` is not its type, `list"),
    ],
)
def test_nested_values_that_do_not_fit_are_refused(given: list[Any], dtype: pl.DataType, said: str) -> None:
    with pytest.raises(InvalidError, match=said):
        brought(pl.Series(given), dtype)


@pytest.mark.parametrize("empty", [pl.Null(), pl.String(), pl.List(pl.Int8()), pl.Struct({"x": pl.Date()})])
@pytest.mark.parametrize("values", [[1.5, None], ["a"], [[1]], [dt.date(2020, 1, 1)]])
def test_a_column_has_the_type_of_its_values_whatever_those_without_have(empty: pl.DataType, values: list[Any]) -> None:
    nulls, given = pl.DataFrame({"v": [None, None]}, schema={"v": empty}), pl.DataFrame({"v": values})
    for batches in ([nulls, given, nulls], [given, nulls], [nulls.clear(), nulls, given]):
        alignment = Alignment({})
        taken = [alignment.take(each, "a file") for each in batches]
        found = pl.concat([alignment.settle(each, "before") for each in taken])
        assert found["v"].drop_nulls().to_list() == [value for value in values if value is not None]
        assert alignment.types == dict(given.schema)


def test_a_value_of_another_type_than_those_before_is_named_by_its_row() -> None:
    alignment = Alignment({})
    alignment.take(pl.DataFrame({"v": [1]}), "a file")
    with pytest.raises(InvalidError, match="line 3, column `v`: `str` is not its type in the rows before, `i64`"):
        alignment.take(pl.DataFrame({"v": ["5", "x", None]}), "a file", named=lambda row: f"line {row + 2}")


def test_what_a_known_type_left_open_is_filled_and_no_more() -> None:
    known = {"o": pl.Struct({"id": pl.Int64(), "note": pl.Null(), "tags": pl.List(pl.Null())})}
    alignment = Alignment({}, known)
    found = alignment.take(pl.DataFrame({"o": [{"tags": ["a"], "note": "hi", "id": 2}]}), "a file")["o"]
    assert found.dtype == pl.Struct({"id": pl.Int64(), "note": pl.String(), "tags": pl.List(pl.String())})
    assert "note" in alignment.widened["o"]
    with pytest.raises(InvalidError, match="i64"):
        Alignment({}, known).take(pl.DataFrame({"o": [{"id": "x", "note": "hi"}]}), "a file")
    with pytest.raises(InvalidError, match="`more` is new"):
        Alignment({}, known).take(pl.DataFrame({"o": [{"id": 1, "more": 2}]}), "a file")

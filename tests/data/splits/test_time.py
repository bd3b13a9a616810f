"""Splits by time: every row in one part, none later than the next part's first."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.artifacts import content_digest
from mainspring.data import TimeSplit, split_by_time
from mainspring.errors import InvalidError, NotFoundError, WrongTypeError


@given(st.lists(st.integers(0, 20), max_size=40), st.lists(st.integers(0, 20), min_size=1, max_size=4, unique=True))
def test_every_row_lies_in_one_part_in_order(times: list[int], cuts: list[int]) -> None:
    frame = pl.DataFrame({"t": times, "row": range(len(times))}, schema={"t": pl.Int64, "row": pl.Int64})
    cuts.sort()
    parts = list(split_by_time(frame, "t", at=cuts).values())
    assert sorted(row for part in parts for row in part["row"]) == list(range(len(times)))
    assert all(part["row"].is_sorted() for part in parts)
    for cut, before, after in zip(cuts, parts, parts[1:], strict=False):
        assert all(time < cut for time in before["t"])
        assert all(time >= cut for time in after["t"])


def test_dates_times_and_names() -> None:
    days = pl.DataFrame({"d": pl.date_range(date(2013, 1, 1), date(2013, 12, 31), eager=True)})
    parts = split_by_time(days, "d", at=[date(2013, 10, 1), date(2013, 11, 1)])
    assert {name: part.height for name, part in parts.items()} == {"train": 273, "validation": 31, "test": 61}
    instants = days.select(pl.col("d").cast(pl.Datetime("us", "UTC")))
    parts = split_by_time(instants, "d", at=datetime(2013, 10, 1, tzinfo=UTC), names=["old", "new"])
    assert {name: part.height for name, part in parts.items()} == {"old": 273, "new": 92}


NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", None])
def test_a_cut_is_an_instant_whatever_its_form_and_zone(unit: Any, zone: str | None) -> None:
    instants = pl.DataFrame({"d": [datetime(2013, 10, 1, 4, tzinfo=UTC) + timedelta(hours=n) for n in (-1, 0, 1)]})
    column = pl.col("d").dt.convert_time_zone(zone) if zone else pl.col("d").dt.replace_time_zone(None)
    frame = instants.with_columns(column.dt.cast_time_unit(unit))
    forms = ["2013-10-01T04:00:00", datetime(2013, 10, 1, 4)]
    if zone:
        forms += [datetime(2013, 10, 1, tzinfo=NEW_YORK), "2013-10-01T00:00:00-04:00", "2013-10-01T04:00:00Z"]
    for at in forms:
        rule = TimeSplit("d", at)
        assert [part.height for part in rule.apply(frame).values()] == [1, 2]
        assert [part.collect().height for part in rule.apply_lazily(frame.lazy()).values()] == [1, 2]


def test_a_cut_between_what_the_column_can_hold_belongs_to_the_later() -> None:
    """A cut was cast to the column's type, so 1.5 cut whole numbers at 1."""
    assert [
        part.to_series().to_list() for part in split_by_time(pl.DataFrame({"t": [1, 2]}), "t", at=1.5).values()
    ] == [
        [1],
        [2],
    ]
    milliseconds = pl.DataFrame({"t": [0, 1]}).cast(pl.Datetime("ms"))
    cut = datetime(1970, 1, 1, microsecond=500)
    assert [part.height for part in split_by_time(milliseconds, "t", at=cut).values()] == [1, 1]


@given(st.lists(st.integers(0, 20), max_size=40), st.lists(st.integers(0, 20), min_size=1, max_size=4, unique=True))
def test_lazy_parts_are_the_eager_ones(times: list[int], cuts: list[int]) -> None:
    frame = pl.DataFrame({"t": times, "row": range(len(times))}, schema={"t": pl.Int64, "row": pl.Int64})
    rule = TimeSplit("t", sorted(cuts))
    lazy = rule.apply_lazily(frame.lazy())
    for name, part in rule.apply(frame).items():
        assert lazy[name].collect().equals(part)


def test_the_form_in_which_a_time_is_given_is_not_part_of_the_rule() -> None:
    assert TimeSplit("d", date(2013, 10, 1)) == TimeSplit("d", ["2013-10-01"])
    assert TimeSplit("d", datetime(2013, 10, 1, tzinfo=NEW_YORK)) == TimeSplit(
        "d", datetime(2013, 10, 1, 4, tzinfo=UTC)
    )


def test_text_is_kept_as_the_instant_that_it_tells() -> None:
    """Text was kept and ordered as it was written, so cuts out of order put one row into two parts."""
    at = ["2013-10-01T00:00+05:00", "2013-10-01T00:00:00+01:00", "20131001", "2013-10-02"]
    rule = TimeSplit("d", [at[0], at[1], at[2], at[3]])
    assert rule.at == ("2013-09-30T19:00:00+00:00", "2013-09-30T23:00:00+00:00", "2013-10-01", "2013-10-02")
    frame = pl.DataFrame({"d": [datetime(2013, 9, 30, hour, tzinfo=UTC) for hour in (18, 19, 22, 23)]})
    parts = rule.apply(frame)
    assert [part.height for part in parts.values()] == [1, 2, 1, 0, 0]
    lazy = rule.apply_lazily(frame.lazy())
    assert all(part.collect().equals(parts[name]) for name, part in lazy.items())


def test_the_rule_is_a_record_with_a_content() -> None:
    assert content_digest(TimeSplit("d", at=3)) == content_digest(TimeSplit("d", at=3))


@pytest.mark.parametrize(
    ("at", "names", "message"),
    [
        ([2, 1], (), "ascending"),
        ([1, 1], (), "ascending"),
        ([], (), "ascending"),
        ([1], ("a",), "2 different names"),
        (["2013-10-01"], (), "times that compare"),
        ([1, "2013-10-01"], (), "instants of one kind"),
        (["2013-10-01T00:00+01:00", "2013-10-01T00:00+05:00"], (), "ascending"),
        (["2013-10-01T09:00", "2013-10-01T08:00:00Z"], (), "ascending"),
        ([date(2013, 10, 1), "2013-10-01T00:00:00Z"], (), "ascending"),
        (["not a date"], (), "`not a date` is not a date or time as ISO 8601 text"),
        (["2013"], (), "ISO 8601"),
        ([""], (), "ISO 8601"),
    ],
)
def test_a_wrong_rule_is_refused(at: list[object], names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        split_by_time(pl.DataFrame({"t": [1, 2]}), "t", at=at, names=names)  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize(
    ("values", "at"),
    [
        ([date(2013, 1, 1)], datetime(2013, 1, 1, 12)),
        ([date(2013, 1, 1)], datetime(2013, 1, 1, tzinfo=UTC)),
        ([date(2013, 1, 1)], 5),
        ([datetime(2013, 1, 1)], datetime(2013, 1, 1, tzinfo=UTC)),
        ([datetime(2013, 1, 1)], 2013),
        (["2013"], 2013),
        (["2013-01-01"], "2013-01-01"),
        ([True], 1),
    ],
)
def test_a_cut_of_another_kind_than_the_column_is_refused(values: list[Any], at: Any) -> None:
    frame = pl.DataFrame({"t": values})
    with pytest.raises(InvalidError, match="times that compare"):
        split_by_time(frame, "t", at=at)
    with pytest.raises(InvalidError, match="times that compare"):
        TimeSplit("t", at).apply_lazily(frame.lazy())


def test_what_is_no_instant_is_refused() -> None:
    for at in (float("nan"), None, object()):
        with pytest.raises((WrongTypeError, TypeError)):
            TimeSplit("t", [at])


def test_rows_without_a_time_and_unknown_columns_are_named() -> None:
    with pytest.raises(InvalidError, match="1 null"):
        split_by_time(pl.DataFrame({"t": [1, None]}), "t", at=1)
    with pytest.raises(InvalidError, match="1 null"):
        split_by_time(pl.DataFrame({"t": [1.0, float("nan")]}), "t", at=1)
    for values in ([1, None], [1.0, float("nan")]):
        with pytest.raises(InvalidError, match="a time in every row"):
            TimeSplit("t", 1).apply_lazily(pl.LazyFrame({"t": values}))
    with pytest.raises(NotFoundError, match="Nearest: time"):
        split_by_time(pl.DataFrame({"time": [1]}), "tme", at=1)

"""Splits by time: every row in one part, none later than the next part's first."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.artifacts import content_digest
from mainspring.data import split_by_time
from mainspring.data.splits.time import TimeSplit
from mainspring.errors import InvalidError, NotFoundError


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


def test_the_rule_is_a_record_with_a_content() -> None:
    assert content_digest(TimeSplit("d", at=3)) == content_digest(TimeSplit("d", at=3))


@pytest.mark.parametrize(
    ("at", "names", "message"),
    [
        ([2, 1], (), "ascending"),
        ([1, 1], (), "ascending"),
        ([], (), "ascending"),
        ([1], ("a",), "2 different names"),
        (["x"], (), "times that compare"),
    ],
)
def test_a_wrong_rule_is_refused(at: list[object], names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        split_by_time(pl.DataFrame({"t": [1, 2]}), "t", at=at, names=names)  # type: ignore[arg-type]  # what is tested


def test_rows_without_a_time_and_unknown_columns_are_named() -> None:
    with pytest.raises(InvalidError, match="1 null"):
        split_by_time(pl.DataFrame({"t": [1, None]}), "t", at=1)
    with pytest.raises(NotFoundError, match="Nearest: time"):
        split_by_time(pl.DataFrame({"time": [1]}), "tme", at=1)

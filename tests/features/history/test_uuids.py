"""A UUID has one form, whether one value is read or a column."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.features.history import join_as_of, join_partitioned
from mainspring.features.history.uuids import uuid_bytes, uuid_text, uuid_texts

SPELLINGS: tuple[Callable[[UUID], str], ...] = (
    str, lambda each: str(each).upper(), lambda each: each.hex, lambda each: f"{{{each}}}", lambda each: each.urn,
    lambda each: each.urn.upper(), lambda each: f"{each.hex[:3]}-{each.hex[3:]}",
)  # fmt: skip


@given(st.uuids(), st.sampled_from(SPELLINGS))
def test_every_spelling_is_one_text(given: UUID, spelling: Callable[[UUID], str]) -> None:
    told = spelling(given)
    assert uuid_bytes(told) == uuid_bytes(given) == uuid_bytes(given.bytes) == given.bytes
    assert uuid_text(told) == uuid_text(given.bytes) == str(given)
    columns = pl.Series([told, None]), pl.Series([given.bytes, None]), pl.Series([given, None], dtype=pl.Object)
    assert all(uuid_texts(column).to_list() == [str(given), None] for column in columns)


@given(st.one_of(st.text(), st.text("0123456789abcdefx_ +-{}", min_size=30, max_size=34), st.binary(max_size=20)))
def test_what_is_none_is_none_both_ways(given: str | bytes) -> None:
    kind = pl.Binary if isinstance(given, bytes) else pl.String
    (found,) = uuid_texts(pl.Series([given], dtype=kind)).to_list()
    try:
        expected = uuid_text(given)
    except ValueError:
        expected = given.hex() if isinstance(given, bytes) else given
    assert found == expected


@pytest.mark.parametrize("known", [str(UUID(int=10)).upper(), UUID(int=10).bytes, UUID(int=10)])
@pytest.mark.parametrize("is_swapped", [False, True])
def test_objects_are_joined_to_every_form(known: str | bytes | UUID, is_swapped: bool) -> None:
    asked, held = [known, UUID(int=10)][:: -1 if is_swapped else 1]
    rows = pl.DataFrame({"k": pl.Series([held], dtype=_kind(held)), "at": [_day(2)]})
    history = pl.DataFrame({"k": pl.Series([asked], dtype=_kind(asked)), "ts": [_day(1)], "v": [7]})
    how: dict[str, Any] = {"keys": {"k": "k"}, "at": "at", "event_time": "ts", "columns": ["v"]}
    assert join_as_of(rows, history, **how).columns["v"].to_list() == [7]
    if history.schema["k"] != pl.Object:  # no file holds them
        with join_partitioned(rows.lazy() if rows.schema["k"] != pl.Object else rows, history, **how) as parts:
            assert [batch.columns["v"].to_list() for batch in parts.batches()] == [[7]]


def _kind(value: object) -> pl.DataType:
    return {str: pl.String(), bytes: pl.Binary(), UUID: pl.Object()}[type(value)]


def _day(day: int) -> datetime:
    return datetime(2013, 1, day, tzinfo=UTC)

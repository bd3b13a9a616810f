"""Rows laid next to each other by entity give what a look at each row gives."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.features.history.keys import numbered
from mainspring.features.history.runs import Runs

ENDS: dict[type[pl.DataType], tuple[int, int]] = {
    pl.Int8: (-(2**7), 2**7 - 1), pl.UInt8: (0, 2**8 - 1), pl.Int64: (-(2**63), 2**63 - 1), pl.UInt64: (0, 2**64 - 1),
    pl.Int128: (-(2**127), 2**127 - 1),
}  # fmt: skip
Numbers = np.ndarray[Any, np.dtype[np.int64]]


def last_known(codes: Numbers, values: Numbers, code: int, before: int, bound: int) -> int:
    """The place of the last row of an entity before a place whose value is at most the bound, by a look at each."""
    return next((p for p in range(before - 1, -1, -1) if codes[p] == code and values[p] <= bound), -1)


@given(data=st.data(), rows=st.integers(0, 120), entities=st.integers(1, 4))
def test_the_last_row_of_an_entity_by_a_bound_is_found(data: st.DataObject, rows: int, entities: int) -> None:
    """Runs are longer than the steps that are taken one by one, so that the search through all rows is met, too."""
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    codes, values = random.integers(0, entities, rows), random.integers(0, 100, rows)
    wanted, before = random.integers(-1, entities + 1, 30), random.integers(0, rows + 1, 30)
    bounds = random.choice([-1, 2, 50, 100], 30)
    order = random.permutation(rows)
    kept = np.empty(rows, np.int64)
    kept[order] = values
    runs = Runs(codes)
    spots = runs.last(wanted, before)
    there = np.flatnonzero(spots >= 0)
    found = np.full(30, -1)
    late = runs.last_at_most(kept, order, spots[there], bounds[there])
    found[there[late >= 0]] = runs.place(late[late >= 0])
    expected = [
        last_known(codes, values, code, upto, bound) if code >= 0 else -1
        for code, upto, bound in zip(wanted, before, bounds, strict=True)
    ]
    assert found.tolist() == expected


@pytest.mark.parametrize("dtype", ENDS)
def test_whole_numbers_are_numbered_at_the_ends_of_their_types(dtype: type[pl.DataType]) -> None:
    """Equal keys have equal numbers; a key that no row has, below, between or above the others, has no row's number."""
    low, high = ENDS[dtype]
    for keys in ([low, low + 1], [high - 1, high], [low, high]):
        rows = pl.DataFrame({"key": keys}, schema={"key": dtype})
        wanted = pl.DataFrame({"key": [low, low + 1, low + 2, high - 1, high, None]}, schema={"key": dtype})
        given_rows, given_wanted = numbered(rows, wanted)
        of = dict(zip(keys, given_rows.tolist(), strict=True))
        assert len(set(of.values())) == len(of)
        assert min(of.values()) >= 0
        for key, number in zip(wanted["key"], given_wanted.tolist(), strict=True):
            assert number == of[key] if key in of else number not in of.values()

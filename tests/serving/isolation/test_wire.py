"""Columns come through a socket as they went in, with the kinds of their values."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.errors import WrongTypeError
from mainspring.serving.isolation.wire import Asked, asked, columns_of, receive, send

pytestmark = pytest.mark.one_backend("no store is read")
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(), st.dates(), st.datetimes(),
    st.times(), st.timedeltas(), st.decimals(allow_nan=False, allow_infinity=False), st.uuids(),
)  # fmt: skip
NESTED = st.recursive(
    VALUES,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=3), each, max_size=3),
    max_leaves=6,
)
ONE_KIND = st.sampled_from(
    [
        st.integers(), st.floats(allow_nan=False), st.text(), st.datetimes(), st.uuids(), VALUES, NESTED,
        st.lists(st.floats(allow_nan=False)),
    ]
)  # fmt: skip


def through(columns: dict[str, Any], rows: int) -> Any:
    one, other = socket.socketpair()
    with one, other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        send(other, asked(columns, rows, tuple(columns)))
        return columns_of(receive(one, Asked))


@given(values=ONE_KIND.flatmap(lambda kind: st.lists(st.none() | kind, max_size=8)))
def test_values_come_as_they_are(values: list[Any]) -> None:
    found = through({"x": tuple(values)}, len(values))["x"]
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize("dtype", ["<f8", "<f4", ">f8", "<i8", "|u1", "|b1"])
def test_numbers_of_numpy_keep_their_bits_and_their_type(dtype: str) -> None:
    column = np.array([0, 1, 1], dtype)[::-1]
    found = through({"x": column}, 3)["x"]
    assert (found.dtype, found.tolist(), found.flags.writeable) == (column.dtype, column.tolist(), True)


def test_an_instant_keeps_its_offset() -> None:
    at = datetime(2013, 1, 1, 5, tzinfo=UTC)
    assert through({"at": [at, None]}, 2)["at"] == [at, None]
    assert through({"at": [timedelta(days=-1, microseconds=3)]}, 1)["at"] == [timedelta(days=-1, microseconds=3)]


def test_what_has_no_form_is_refused_by_name() -> None:
    with pytest.raises(WrongTypeError, match="x: `<object object"):
        asked({"x": [object()]}, 1, ("x",))

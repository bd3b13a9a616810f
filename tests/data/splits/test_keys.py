"""The number of a key: as its definition says, the same in every width, process and block, and evenly spread."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.splits.keys import LONG_BYTES, fractions, hash_keys, hash_positions
from mainspring.errors import InvalidError

ALL = 2**64 - 1
EPOCH = datetime(1970, 1, 1)


def absorbed(state: int, word: int) -> int:
    state = ((state ^ (word & ALL)) + 0x9E3779B97F4A7C15) & ALL
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & ALL
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & ALL
    return state ^ (state >> 31)


def kind(name: str) -> int:
    return int.from_bytes(blake3(name.encode()).digest(8), "little")


def words_of(value: Any) -> list[int]:
    """The words of a value, by the definition, one value at a time."""
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 2.0**63:
            return [int(value)]
        bits = struct.unpack("<Q", struct.pack("<d", value if value == value else float("nan")))[0]
        return [bits ^ kind("fraction")]
    if isinstance(value, int):
        return [value] if -(2**63) <= value < 2**64 else [value, value >> 64]
    if isinstance(value, timedelta):
        return [value // timedelta(microseconds=1) ^ kind("span")]
    if isinstance(value, date):
        at = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
        return [(at.replace(tzinfo=None) - EPOCH) // timedelta(microseconds=1) ^ kind("instant")]
    if isinstance(value, time):
        us = (value.hour * 3600 + value.minute * 60 + value.second) * 1_000_000 + value.microsecond
        return [us * 1000 ^ kind("clock")]
    data = value.encode() if isinstance(value, str) else value
    first = len(data) ^ kind("text" if isinstance(value, str) else "bytes")
    rest = blake3(data).digest() if len(data) > LONG_BYTES else data
    return [first, *(int.from_bytes(rest[at : at + 8], "little") for at in range(0, len(rest), 8))]


def number(*values: Any, salt: str = "") -> int:
    state = int.from_bytes(blake3(f"split 1 {salt}".encode()).digest(8), "little")
    for value in values:
        for word in words_of(value):
            state = absorbed(state, word)
    return state


COLUMNS = [
    (pl.Int64, st.integers(-(2**63), 2**63 - 1)),
    (pl.Int8, st.integers(-128, 127)),
    (pl.UInt64, st.integers(0, 2**64 - 1)),
    (pl.Int128, st.integers(-(2**127), 2**127 - 1)),
    (pl.Boolean, st.booleans()),
    (pl.Float64, st.floats()),
    (pl.String, st.text(max_size=40)),
    (pl.Binary, st.binary(max_size=40)),
    (pl.Date, st.dates()),
    (pl.Datetime("us"), st.datetimes()),
    (pl.Duration("us"), st.timedeltas(timedelta(days=-99_999), timedelta(days=99_999))),
    (pl.Time, st.times()),
]


@pytest.mark.parametrize(("dtype", "values"), COLUMNS, ids=lambda each: str(each)[:16])
@given(data=st.data())
def test_a_number_is_what_its_definition_says(data: st.DataObject, dtype: Any, values: st.SearchStrategy[Any]) -> None:
    drawn = data.draw(st.lists(values, max_size=12))
    given_ = hash_keys([pl.Series("k", drawn, dtype=dtype)], "salt")
    assert given_.tolist() == [number(value, salt="salt") for value in drawn]


@given(st.lists(st.tuples(st.integers(-5, 5), st.text(max_size=20)), max_size=12))
def test_the_columns_of_a_key_are_taken_one_after_another(rows: list[tuple[int, str]]) -> None:
    columns = [pl.Series([a for a, _ in rows], dtype=pl.Int16), pl.Series([b for _, b in rows], dtype=pl.String)]
    assert hash_keys(columns).tolist() == [number(a, b) for a, b in rows]


def test_the_numbers_of_known_keys_never_change() -> None:
    """Stored splits depend on these: a change of them is another recipe."""
    assert hash_keys([pl.Series([0, 1, -1])]).tolist() == [number(0), number(1), number(-1)]
    assert [hash_keys([pl.Series([value])])[0] for value in (1, "a", 0.5, date(2013, 1, 1))] == PINNED


PINNED = [3405422118625053468, 10686310197810720714, 8669083872404779418, 9948777255798500222]


@pytest.mark.parametrize(
    "same",
    [
        [pl.Series([7], dtype=dtype) for dtype in (pl.Int8, pl.UInt8, pl.Int64, pl.UInt64, pl.Int128, pl.Float32)]
        + [pl.Series([Decimal("7.00")]), pl.Series([Decimal(7)])],
        [pl.Series([2**63], dtype=dtype) for dtype in (pl.UInt64, pl.Int128, pl.UInt128)],
        [pl.Series([2**126], dtype=dtype) for dtype in (pl.Int128, pl.UInt128)],
        [pl.Series([-0.0]), pl.Series([0]), pl.Series([False])],
        [pl.Series(["UA"], dtype=dtype) for dtype in (pl.String, pl.Categorical, pl.Enum(["AA", "UA"]))],
        [pl.Series([datetime(2013, 1, 1)], dtype=pl.Datetime(unit)) for unit in ("ms", "us", "ns")]
        + [pl.Series([date(2013, 1, 1)]), pl.Series([datetime(2013, 1, 1, tzinfo=UTC)])],
        [pl.Series([timedelta(hours=1)], dtype=pl.Duration(unit)) for unit in ("ms", "us", "ns")],
        [pl.Series([Decimal("1.50")]), pl.Series([Decimal("1.5")])],
    ],
)
def test_equal_keys_have_one_number_in_every_type(same: list[pl.Series]) -> None:
    assert len({int(hash_keys([series])[0]) for series in same}) == 1


def test_what_differs_has_different_numbers() -> None:
    nanoseconds = pl.Series([1_000, 1_001]).cast(pl.Datetime("ns"))
    decimals = pl.Series([Decimal("1.5"), Decimal("-1.5"), Decimal("1.05"), Decimal(15)])
    texts = pl.Series(["", "\0", "a", "a\0", "1.5", "15", "aaaaaaaa", "aaaaaaaa\0", "x" * 1024, "x" * 1025, "x" * 1026])
    series = [nanoseconds, decimals, texts, texts.cast(pl.Binary), pl.Series([0.5, float("nan"), float("inf")])]
    found = [int(each) for one in series for each in hash_keys([one])]
    assert len(set(found)) == len(found)


def test_blocks_and_long_keys_make_no_difference() -> None:
    rows = 150_000
    texts = pl.Series([f"{n:x}" * (1 + n % 7) if n % 50_000 else "long " * 400 for n in range(rows)])
    whole = hash_keys([texts, pl.Series(range(rows))])
    for place in (0, 1, 65_535, 65_536, 100_000, rows - 1):
        assert whole[place] == number(texts[place], place)
    chunked = pl.concat([texts[:99_999], texts[99_999:]], rechunk=False)
    assert (hash_keys([chunked, pl.Series(range(rows))]) == whole).all()


def test_another_process_with_another_hash_seed_gives_the_same() -> None:
    program = (
        "import polars as pl; from mainspring.data.splits.keys import hash_keys\n"
        "print(hash_keys([pl.Series(['a', 'b']), pl.Series([1, 2])], 's').tolist())"
    )
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True).stdout
    assert told == f"{[number('a', 1, salt='s'), number('b', 2, salt='s')]}\n"


def test_numbers_are_evenly_spread() -> None:
    for numbers in (hash_keys([pl.Series(range(100_000))]), hash_positions(100_000, "x")):
        assert len(np.unique(numbers)) == 100_000
        counts = np.bincount((fractions(numbers) * 100).astype(int), minlength=100)
        assert ((counts - 1000) ** 2 / 1000).sum() < 150  # chi² with 99 degrees: above 150 once in 1,600 keys
        for bit in range(64):
            assert abs(((numbers >> np.uint64(bit)) & np.uint64(1)).mean() - 0.5) < 0.01


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (pl.Series("k", [1, None]), "k: `1 null` is not a key in every row"),
        (pl.Series("k", [[1]]), "k: `List.*` is not a key's type"),
        (pl.Series("k", [{"a": 1}]), "k: `Struct.*` is not a key's type"),
    ],
)
def test_what_makes_no_key_is_named(series: pl.Series, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        hash_keys([series])

"""Packed values: what was packed is read back, of every type, in any selection; ranks order as times do."""

from __future__ import annotations

import math
import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.artifacts.table import schema_of
from mainspring.errors import ConflictError, InvalidError, WrongTypeError
from mainspring.features.definitions.entity import Entity, Key
from mainspring.features.definitions.records import Field
from mainspring.features.online.entities import entities_bytes, entity_bytes
from mainspring.features.online.packing import Packing, rank

BERLIN = ZoneInfo("Europe/Berlin")
EVERY = pl.DataFrame(
    {
        "i8": pl.Series([1, None, -128], dtype=pl.Int8), "u64": pl.Series([2**64 - 1, None, 0], dtype=pl.UInt64),
        "f32": pl.Series([0.1, None, -0.0], dtype=pl.Float32), "f64": [math.pi, None, 1e308],
        "bool": [True, None, False], "str": ["é", None, ""], "bin": [b"\x00\xff", None, b""],
        "cat": pl.Series(["a", None, "b"], dtype=pl.Categorical), "enum": pl.Series(["x", None, "x"], dtype=pl.Enum(["x"])),
        "date": [date(1969, 12, 31), None, date(2100, 1, 1)], "time": [time(1, 2, 3, 4), None, time(0)],
        "naive": [datetime(2013, 1, 1), None, datetime(1900, 1, 1)],
        "zoned": pl.Series([datetime(2013, 7, 1, tzinfo=UTC), None, datetime(2013, 1, 1, tzinfo=UTC)],
                           dtype=pl.Datetime("ms", "Europe/Berlin")),
        "length": [timedelta(days=-1, microseconds=1), None, timedelta(0)],
        "decimal": [Decimal("1.50"), None, Decimal("-0.01")],
        "embedding": pl.Series([[0.1, 0.2], None, [0.0, 1.0]], dtype=pl.Array(pl.Float32, 2)),
        "numbers": [[1, None], None, []], "words": [["a", "é"], None, []],
        "dates": [[date(2013, 1, 1)], None, [None]],
        "struct": [{"a": 1, "b": "x"}, None, {"a": None, "b": None}],
    }
)  # fmt: skip


def fields(frame: pl.DataFrame) -> list[Field]:
    return [Field(name, dtype) for name, dtype in schema_of(frame)]


def packed(frame: pl.DataFrame) -> tuple[Packing, list[bytes]]:
    packing = Packing(fields(frame), 3)
    times = np.arange(frame.height, dtype=np.int64)
    return packing, packing.pack(frame, times, times + 5)


def test_every_type_is_read_back_as_it_was() -> None:
    packing, data = packed(EVERY)
    for row, (one, wanted) in enumerate(zip(data, EVERY.rows(), strict=True)):
        found = packing.unpack(one)
        assert (found.event_us, found.created_us) == (row, row + 5)
        assert found.values == list(wanted)
        assert [type(value) for value in found.values] == [type(value) for value in wanted]
    assert math.copysign(1, packing.unpack(data[2], ["f32"]).values[0]) == -1
    assert packing.unpack(data[0], ["words", "i8", "embedding"]).values == [["a", "é"], 1, list(EVERY["embedding"][0])]


@given(
    rows=st.lists(
        st.tuples(
            st.none() | st.floats(width=64), st.none() | st.text(), st.none() | st.lists(st.none() | st.floats(width=64)),
            st.none() | st.binary(), st.none() | st.integers(-(2**63), 2**63 - 1),
        ),
        max_size=8,
    )
)  # fmt: skip
def test_any_rows_are_read_back_bit_for_bit(rows: list[tuple[Any, ...]]) -> None:
    types: Any = {"f": pl.Float64, "s": pl.String, "l": pl.List(pl.Float64), "b": pl.Binary, "i": pl.Int64}
    frame = pl.DataFrame(rows, schema=types, orient="row")
    packing, data = packed(frame)
    assert [repr(tuple(packing.unpack(one).values)) for one in data] == [repr(row) for row in frame.rows()]
    for one, (value, *_) in zip(data, rows, strict=True):
        if value is not None and not math.isnan(value):
            assert struct.pack("d", packing.unpack(one, ["f"]).values[0]) == struct.pack("d", value)


@given(st.lists(st.integers(-(10**13), 10**13), max_size=5), st.sampled_from(["ns", "us", "ms"]))
def test_times_and_durations_of_any_unit_are_what_polars_gives(units: list[int], unit: Any) -> None:
    stored = pl.Series(units, dtype=pl.Int64)
    kinds = (pl.Duration(unit), pl.Datetime(unit), pl.Datetime(unit, "UTC"), pl.Datetime(unit, "America/New_York"))
    frame = pl.DataFrame({f"{number}": stored.cast(kind) for number, kind in enumerate(kinds)})
    packing, data = packed(frame)
    assert [tuple(packing.unpack(one).values) for one in data] == frame.rows()


def test_what_another_version_packed_is_not_read() -> None:
    _, data = packed(EVERY[:1])
    with pytest.raises(ConflictError, match="stored by version 3, not 4"):
        Packing(fields(EVERY), 4).unpack(data[0])


@given(st.tuples(*[st.integers(-(2**63), 2**63 - 1)] * 4))
def test_ranks_sort_as_times_do(times: tuple[int, int, int, int]) -> None:
    one, other = times[:2], times[2:]
    assert (rank(*one) < rank(*other)) == (one < other)


UNIQUE = UUID("00000000-0000-0000-0000-00000000000a")


def test_an_entity_is_the_same_bytes_from_a_request_and_from_any_column() -> None:
    entity = Entity("x", {"s": "str", "i": "int", "b": "bytes", "u": "uuid"}).keys
    frame = pl.DataFrame({"s": ["é"], "i": [7], "b": [b"\0"], "u": [str(UNIQUE).upper()]})
    wanted = entity_bytes(entity, {"s": "é", "i": 7, "b": b"\0", "u": UNIQUE})
    for other in (frame, frame.with_columns(pl.col("i").cast(pl.UInt8), pl.col("s").cast(pl.Categorical)),
                  frame.with_columns(u=pl.lit(UNIQUE.bytes))):  # fmt: skip
        assert entities_bytes(entity, other) == [wanted]


@given(st.lists(st.tuples(st.text(), st.text()), min_size=2, max_size=2, unique=True))
def test_different_entities_are_different_bytes(pairs: list[tuple[str, str]]) -> None:
    keys = (Key("a", "str"), Key("b", "str"))
    one, other = (entity_bytes(keys, {"a": a, "b": b}) for a, b in pairs)
    assert one != other


@pytest.mark.parametrize(
    ("kind", "value"),
    [("int", "7"), ("int", 7.0), ("int", True), ("str", 7), ("uuid", "x"), ("bytes", "x"), ("int", 2**128)],
)
def test_a_key_of_another_type_is_refused(kind: Any, value: Any) -> None:
    keys = (Key("k", kind),)
    with pytest.raises(WrongTypeError, match=f"expected a key of type {kind}"):
        entity_bytes(keys, {"k": value})
    with pytest.raises(InvalidError, match="`null`"):
        entity_bytes(keys, {})
    with pytest.raises(InvalidError, match="`1 null` is not a key in every row"):
        entities_bytes(keys, pl.DataFrame({"k": [None, None][:1]}))


def test_values_without_nulls_are_read_in_any_selection_and_order() -> None:
    whole = EVERY[:1]
    packing, (data,) = packed(whole)
    names = list(whole.columns)
    for picked in (names[::-1], names[::2], ["words", "f64", "words", "str", "f64"], ["struct"], ["bool"], []):
        assert packing.unpack(data, picked).values == [whole[name].to_list()[0] for name in picked]

"""Arrow: the exact schema comes back and counts; chunks, slices and the codes of dictionaries make no difference."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.artifacts import Tolerance, compare, content_digest, in_canonical_order, load, save
from mainspring.errors import CodecError
from mainspring.testing.codecs import FolderBlobs, check_codec_laws

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
SECONDS = st.datetimes().map(lambda moment: moment.replace(microsecond=0))
LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    pa.int8(): st.integers(-128, 127),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float16(): st.sampled_from([0.0, 1.5]),
    pa.float32(): st.floats(width=32, allow_nan=False).map(lambda number: number + 0.0),
    pa.float64(): st.floats(allow_nan=False).map(lambda number: number + 0.0),
    pa.bool_(): st.booleans(),
    pa.null(): st.none(),
    **dict.fromkeys((pa.string(), pa.large_string(), pa.string_view()), TEXT),
    **dict.fromkeys((pa.binary(), pa.large_binary(), pa.binary_view()), st.binary(max_size=20)),
    pa.binary(2): st.binary(min_size=2, max_size=2),
    **dict.fromkeys((pa.date32(), pa.date64()), st.dates()),
    pa.time32("s"): st.times().map(lambda time: time.replace(microsecond=0)),
    pa.time64("us"): st.times(),
    **{pa.timestamp(unit): SECONDS for unit in ("s", "ms", "us")},
    **{pa.duration(unit): st.integers(-(10**6), 10**6).map(lambda s: dt.timedelta(seconds=s)) for unit in ("s", "us")},
    pa.decimal128(5, 2): st.integers(-99_999, 99_999).map(lambda number: Decimal(number).scaleb(-2)),
    pa.decimal256(50, 2): st.integers(-(10**20), 10**20).map(lambda number: Decimal(number).scaleb(-2)),
}
CODED = (pa.string(), pa.large_string(), pa.int8(), pa.timestamp("s"), pa.date32())


@st.composite
def typed(draw: st.DrawFn, depth: int = 2) -> tuple[Any, st.SearchStrategy[Any]]:
    kind = draw(
        st.sampled_from(["leaf", "leaf", "coded", *(["list", "large", "fixed", "struct", "map"] if depth else [])])
    )
    if kind == "leaf":
        type_ = draw(st.sampled_from(list(LEAVES)))
        return type_, LEAVES[type_]
    if kind == "coded":
        type_ = draw(st.sampled_from(CODED))
        return pa.dictionary(draw(st.sampled_from([pa.int8(), pa.int32()])), type_), LEAVES[type_]
    inner, items = draw(typed(depth=depth - 1))
    if kind == "struct":
        other, others = draw(typed(depth=depth - 1))
        fields = st.fixed_dictionaries({"a": st.none() | items, "b": st.none() | others})
        return pa.struct([("a", inner), ("b", other)]), fields
    if kind == "map":
        return pa.map_(pa.string(), inner), st.lists(st.tuples(TEXT, st.none() | items), max_size=2)
    size = draw(st.integers(0, 2)) if kind == "fixed" else None
    lists = st.lists(st.none() | items, min_size=size or 0, max_size=3 if size is None else size)
    return pa.large_list(inner) if kind == "large" else pa.list_(inner, -1 if size is None else size), lists


@st.composite
def two_tables(draw: st.DrawFn) -> tuple[Any, Any, int]:
    type_, items = draw(typed())
    values = st.lists(st.none() | items, max_size=5)
    old = draw(values)
    new = draw(values | st.just(old))
    return *(pa.table({"c": pa.array(cells, type_)}) for cells in (old, new)), draw(st.integers(0, 5))


def same_table(old: Any, new: Any) -> bool:
    return bool(old.schema.equals(new.schema, check_metadata=True)) and repr(old.to_pylist()) == repr(new.to_pylist())


@given(st.data())
def test_every_type_comes_back_and_values_decide(shared_blobs: FolderBlobs, data: st.DataObject) -> None:
    try:
        old, new, at = data.draw(two_tables())
        equal = content_digest(old) == content_digest(new)
        pieces = [old.slice(0, at), old.slice(at)]
        assert len({content_digest(table) for table in (old, pa.concat_tables(pieces))}) == 1
    except (pa.ArrowNotImplementedError, CodecError):
        return  # PyArrow can't make an array of the type, or can't cast a dictionary without entries inside a null
    assert equal == (repr(old.to_pylist()) == repr(new.to_pylist()))
    assert (compare(old, new).kind == "equal") == equal
    for table in (old, old.slice(at)):
        check_codec_laws(None, [table], shared_blobs, same=same_table)


def column(values: Any, type_: Any = None) -> Any:
    return pa.table({"c": pa.array(values, type_)})


def coded(indices: list[int], values: list[Any], *, ordered: bool) -> Any:
    return pa.table({"c": pa.DictionaryArray.from_arrays(indices, values, ordered=ordered)})


def distinct() -> list[Any]:
    """Tables that differ in their types, their schema or what a program sees of their values."""
    return [
        column([1], pa.timestamp("s")), column([1000], pa.timestamp("ms")), column([1], pa.timestamp("s", "UTC")),
        column([1], pa.timestamp("s", "Europe/Paris")), column([86_400_000], pa.date64()), column([1], pa.date32()),
        column([1000], pa.time32("ms")), column([1], pa.time32("s")), column([10**9], pa.time64("ns")),
        column([1], pa.duration("s")), column([1000], pa.duration("ms")), column([1], pa.int64()), column([1], pa.int32()),
        column([5]), coded([0], [5], ordered=False), coded([0], [5], ordered=True), column(["a"]),
        column(["a"], pa.large_string()), column(["a"], pa.string_view()), coded([0], ["a"], ordered=False),
        coded([0], ["a"], ordered=True), coded([0], ["a", "b"], ordered=True), coded([1], ["b", "a"], ordered=True),
        column([b"a"]), column([b"a"], pa.binary(1)), column([Decimal("1.10")]),
        column([Decimal("1.10")], pa.decimal256(50, 2)),
        column([[1]]), column([[1]], pa.large_list(pa.int64())), column([[1]], pa.list_(pa.int64(), 1)),
        column([[("a", 1)]], pa.map_(pa.string(), pa.int64())), column([[{"key": "a", "value": 1}]]), column([{"a": 1}]),
        column([{"a": None}], pa.struct([("a", pa.int64())])), column([None], pa.struct([("a", pa.int64())])),
        column([None], pa.null()), column([1.5]), column([1.5], pa.float32()), column([np.float16(1.5)], pa.float16()),
        column([float("nan")]), column([None], pa.float64()),
        pa.table({"c": [1]}, schema=pa.schema([pa.field("c", pa.int64(), nullable=False)])),
        column([1]).replace_schema_metadata({"k": "v"}), pa.table([[1], [2]], names=["c", "c"]),
        pa.table({}), column([1, 2]).select([]), column([1, 2, 3]).select([]), column([], pa.int64()), column([], pa.int32()),
        column([b"0" * 16], pa.uuid()), column([b"0" * 16], pa.binary(16)),
        pa.table({"c": pa.StructArray.from_arrays([coded([0], ["a"], ordered=True)["c"].chunk(0)], ["x"])}),
        pa.table({"c": pa.StructArray.from_arrays([coded([0], ["a", "b"], ordered=True)["c"].chunk(0)], ["x"])}),
    ]  # fmt: skip


def test_the_schema_counts_and_comes_back(blobs: FolderBlobs) -> None:
    values = [table for table in distinct() if table.schema.names.count("c") < 2]
    check_codec_laws(None, values, blobs, same=lambda old, new: old.num_rows == new.num_rows and same_table(old, new))


def test_columns_of_one_name_come_back(blobs: FolderBlobs) -> None:
    table = pa.table([[1], [2]], names=["c", "c"])
    check_codec_laws(
        None, [table, pa.table([[2], [1]], names=["c", "c"])], blobs, same=lambda old, new: old.equals(new)
    )


def test_dictionaries_without_an_order_are_layout() -> None:
    plain = coded([0, 1], ["a", "b"], ordered=False)
    assert content_digest(coded([1, 0], ["b", "a", "unused"], ordered=False)) == content_digest(plain)
    chunks = pa.concat_tables([coded([0], ["a"], ordered=False), coded([0], ["b"], ordered=False)])
    assert content_digest(chunks) == content_digest(plain)


def test_which_versions_made_pandas_metadata_does_not_count() -> None:
    def made_by(version: str, index: str) -> Any:
        described = {"creator": {"version": version}, "pandas_version": version, "index_columns": [index]}
        return column([1]).replace_schema_metadata({"pandas": json.dumps(described)})

    assert content_digest(made_by("1", "a")) == content_digest(made_by("2", "a"))
    assert content_digest(made_by("1", "a")) != content_digest(made_by("1", "b"))


@pytest.mark.parametrize(
    "type_",
    [pa.month_day_nano_interval(), pa.list_view(pa.int64()), pa.list_(pa.list_view(pa.int64())),
     pa.run_end_encoded(pa.int32(), pa.int64()), pa.struct([("a", pa.int64()), ("a", pa.int64())])],
    ids=str,
)  # fmt: skip
def test_a_type_that_is_not_kept_is_named_with_its_column(type_: Any) -> None:
    table = pa.schema([("fine", pa.int64()), ("odd", type_)]).empty_table()
    with pytest.raises(CodecError, match="column `odd` is of type"):
        content_digest(table)


class Ours(pa.ExtensionType):  # type: ignore[misc]  # PyArrow has no types
    def __init__(self) -> None:
        super().__init__(pa.int64(), "tests.ours")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: Any, serialized: bytes) -> Ours:
        return cls()


def test_an_extension_of_somebody_else_is_refused() -> None:
    with pytest.raises(CodecError, match="column `c`"):
        content_digest(pa.table({"c": pa.ExtensionArray.from_storage(Ours(), pa.array([1]))}))


def test_comparison_says_what_differs() -> None:
    old = pa.table({"f": [1.0, 2.0], "t": pa.array([1, 2], pa.timestamp("s"))})
    close = old.set_column(0, "f", pa.array([1.0, 2.0 + 1e-9]))
    assert compare(old, close).kind == "floats"
    assert compare(old, close, Tolerance(rtol=1e-6)).kind == "within_tolerance"
    assert "column `t`" in compare(old, old.set_column(1, "t", pa.array([1000, 2000], pa.timestamp("ms")))).detail
    assert compare(old, old.take([1, 0])).kind == "row_order"
    assert compare(old, old.replace_schema_metadata({"a": "b"})).kind == "schema"
    ordered = [coded([0], values, ordered=True) for values in (["a", "b"], ["a", "c"])]
    assert compare(*ordered).kind == "schema"


def test_rows_without_an_order(blobs: FolderBlobs) -> None:
    table = pa.table(
        {"t": pa.array([2, 1, None], pa.timestamp("s")), "d": pa.array(["b", None, "a"]).dictionary_encode()}
    )
    shuffled = table.take([2, 0, 1])
    assert save(shuffled, blobs, ordered=False)[0] == save(table, blobs, ordered=False)[0]
    assert in_canonical_order(table).schema == table.schema
    with pytest.raises(CodecError, match="can't sort"):
        in_canonical_order(column([b"b", b"a"], pa.binary_view()))


def test_what_polars_makes_comes_back(blobs: FolderBlobs) -> None:
    frame = pl.DataFrame({"e": pl.Series(["a", None], dtype=pl.Enum(["b", "a"])), "i": [1, None]})
    frame = frame.with_columns(s=pl.struct("e", "i"))
    check_codec_laws(None, [frame.to_arrow()], blobs, same=same_table)
    assert load(save(frame.to_arrow(), blobs)[1], blobs).num_rows == 2

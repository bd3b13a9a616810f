"""The canonical bytes of one column, and the names of column types.

Invariant: two columns of the same type feed the same bytes exactly if they hold the same values: null slots are zeroed,
offsets become lengths, dictionaries are decoded, every NaN is the same one and −0.0 is 0.0. Only whole-column operations.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl

from mainspring.errors import CodecError

if TYPE_CHECKING:  # NumPy takes a third as long as Polars to import, and names of types need none
    import numpy as np
    from polars._typing import PolarsDataType

    Array = np.ndarray[Any, np.dtype[Any]]

Feed = Callable[[bytes | memoryview], object]

_NAMES: dict[object, str] = {
    pl.Int8: "i8", pl.Int16: "i16", pl.Int32: "i32", pl.Int64: "i64", pl.Int128: "i128",
    pl.UInt8: "u8", pl.UInt16: "u16", pl.UInt32: "u32", pl.UInt64: "u64",
    pl.Float32: "f32", pl.Float64: "f64", pl.Boolean: "bool", pl.String: "str", pl.Binary: "bin",
    pl.Date: "date", pl.Time: "time", pl.Null: "null",
} | {getattr(pl, name): short for name, short in (("UInt128", "u128"), ("Float16", "f16")) if hasattr(pl, name)}  # fmt: skip

_AS_INTEGERS: dict[object, type[pl.DataType]] = {
    pl.Date: pl.Int32, pl.Time: pl.Int64, pl.Datetime: pl.Int64, pl.Duration: pl.Int64,
}  # fmt: skip


def type_name(dtype: PolarsDataType, column: str) -> str:
    """A column type in our own words, so that another library's spelling never enters a digest.

    A Categorical is `cat` whatever its codes, with its set of categories if that has a name; an Enum names its categories,
    since their order is meaning.

    Raises:
        CodecError: the type has no values that can be digested, e.g. Object.

    >>> type_name(pl.List(pl.Struct({"a": pl.Int64})), "x")
    'list[struct{"a": i64}]'
    """
    base = dtype.base_type()
    if base in _NAMES:
        return _NAMES[base]
    if isinstance(dtype, pl.Categorical) or dtype == pl.Categorical:
        return _categorical_name(dtype)
    if isinstance(dtype, pl.Datetime):
        return f"datetime[{dtype.time_unit}{', ' + dtype.time_zone if dtype.time_zone else ''}]"
    if isinstance(dtype, pl.Duration):
        return f"duration[{dtype.time_unit}]"
    if isinstance(dtype, pl.Decimal):
        return f"decimal[{dtype.precision}, {dtype.scale}]"
    if isinstance(dtype, pl.Enum):
        return f"enum{json.dumps(dtype.categories.to_list(), ensure_ascii=False)}"
    if isinstance(dtype, pl.List):
        return f"list[{type_name(dtype.inner, column)}]"
    if isinstance(dtype, pl.Array):
        return f"array[{type_name(dtype.inner, column)}, {dtype.size}]"
    if isinstance(dtype, pl.Struct):
        fields = (f"{json.dumps(f.name, ensure_ascii=False)}: {type_name(f.dtype, column)}" for f in dtype.fields)
        return f"struct{{{', '.join(fields)}}}"
    raise CodecError(
        f"The column `{column}` is of type `{dtype}`, which has no canonical values. Cast it to a plain type, or drop it."
    )


def _categorical_name(dtype: PolarsDataType) -> str:
    # Older releases of Polars have one set of categories only.
    categories = getattr(dtype, "categories", None)
    if categories is None or categories.is_global():
        return "cat"
    parts = (categories.name(), categories.namespace(), _NAMES[categories.physical()])
    return f"cat{json.dumps(parts, ensure_ascii=False)}"


def feed_column(series: pl.Series, feed: Feed) -> None:
    """Feed a column's canonical bytes: length, which slots hold a value, then the values by type."""
    if series.n_chunks() > 1:
        series = series.rechunk()
    nulls = series.null_count()
    feed(len(series).to_bytes(8, "little") + (b"\1" if nulls else b"\0"))
    if nulls:
        feed(_bits(series.is_not_null()))
    _feed_values(series, nulls > 0, feed)


def _feed_values(series: pl.Series, has_nulls: bool, feed: Feed) -> None:
    base = series.dtype.base_type()
    if base is pl.Null:
        return
    if base is pl.Boolean:
        bits = series.fill_null(False) if has_nulls else series
        feed(_bits(bits))
    elif base in (pl.String, pl.Categorical, pl.Enum):
        _feed_text(series if base is pl.String else series.cast(pl.String), has_nulls, feed)
    elif base is pl.Binary:
        _feed_numbers(series.bin.size().cast(pl.UInt64), has_nulls, feed)
        # Polars joins text only; hexadecimal digits are as unambiguous as the bytes.
        feed(_joined(series.bin.encode("hex")))
    elif base is pl.Array:
        _feed_lists(series.arr.to_list(), has_nulls, feed)
    elif base is pl.List:
        _feed_lists(series, has_nulls, feed)
    elif base is pl.Struct:
        present = series.drop_nulls() if has_nulls else series
        for name in present.struct.fields:
            feed_column(present.struct.field(name), feed)
    else:
        _feed_numbers(series, has_nulls, feed)


def _feed_text(series: pl.Series, has_nulls: bool, feed: Feed) -> None:
    _feed_numbers(series.str.len_bytes().cast(pl.UInt64), has_nulls, feed)
    feed(_joined(series))


def _joined(series: pl.Series) -> bytes:
    joined: bytes = series.str.join("").cast(pl.Binary).item()
    return joined


def _feed_lists(series: pl.Series, has_nulls: bool, feed: Feed) -> None:
    lengths = series.list.len()
    _feed_numbers(lengths.cast(pl.UInt64), has_nulls, feed)
    filled = lengths.fill_null(0) > 0
    feed_column((series if filled.all() else series.filter(filled)).explode(), feed)


def _feed_numbers(series: pl.Series, has_nulls: bool, feed: Feed) -> None:
    base = series.dtype.base_type()
    if base in _AS_INTEGERS:
        series = series.cast(_AS_INTEGERS[base])
    elif base is pl.Decimal:
        series = series.to_physical()
    if has_nulls:
        series = series.fill_null(0)
    if series.dtype.base_type().__name__ in ("Int128", "UInt128"):
        # NumPy has no 128-bit integers: the low halves, then the high ones.
        feed_array(series.cast(pl.UInt64, wrap_numerical=True).to_numpy(), feed)
        feed_array((series // 2**64).cast(pl.UInt64, wrap_numerical=True).to_numpy(), feed)
    else:
        feed_array(series.to_numpy(), feed)


def _bits(series: pl.Series) -> memoryview:
    import numpy as np

    return np.packbits(series.to_numpy()).data


def feed_array(values: Array, feed: Feed) -> None:
    """Feed the bytes of a contiguous array of numbers, floats normalised."""
    if values.size == 0:
        return
    feed((normal_floats(values) if values.dtype.kind in "fc" else values).data.cast("B"))


def normal_floats(values: Array) -> Array:
    """A copy in which every NaN is the same one and −0.0 is 0.0.

    >>> import numpy as np
    >>> normal_floats(np.array([-0.0])).tobytes() == normal_floats(np.array([0.0])).tobytes()
    True
    """
    import numpy as np

    if values.dtype.kind == "c":
        parts = np.ascontiguousarray(values).view(values.real.dtype)
        return normal_floats(parts).view(values.dtype)
    normal: Array = values + values.dtype.type(0)
    nan = np.isnan(normal)
    if nan.any():
        normal[nan] = np.nan
    return normal

"""pandas columns and indexes as Polars series, each with a description from which the very type comes back."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pandas as pd
import polars as pl

from mainspring.artifacts._tree import Reader, Writer, to_text
from mainspring.errors import CodecError

Kind = list[Any]


def store(array: Any, where: str) -> tuple[pl.Series, Kind]:
    """A column's values and the description of its type.

    Raises:
        CodecError: the type is not kept; `where` names the column.
    """
    dtype: Any = array.dtype
    if isinstance(dtype, np.dtype) or isinstance(array, pd.arrays.NumpyExtensionArray):
        return _store_numpy(array.to_numpy(), where)
    if isinstance(dtype, pd.DatetimeTZDtype):
        return pl.Series(array.asi8), ["zoned", dtype.unit, str(dtype.tz)]
    if isinstance(dtype, pd.CategoricalDtype):
        categories = dtype.categories
        listed = Writer(_refuse(where), canonical=True).write(categories.tolist())
        return pl.Series(array.codes.astype("i4")), ["category", listed, str(categories.dtype), bool(dtype.ordered)]
    if isinstance(dtype, pd.StringDtype):
        cells = [None if cell is pd.NA or cell != cell else cell for cell in array.to_numpy(dtype=object)]
        return pl.Series(cells, dtype=pl.String), ["string", str(dtype)]
    if type(dtype) in _masked():
        missing = array.isna()
        values = array.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0))
        frame = pl.DataFrame({"v": values, "m": missing})
        return frame.select(pl.when(~pl.col("m")).then("v")).to_series(), ["masked", str(dtype)]
    raise CodecError(f"{where}: the pandas type is `{dtype}`, which is not kept. Convert it, e.g. with `.astype`.")


def _store_numpy(values: np.ndarray[Any, Any], where: str) -> tuple[pl.Series, Kind]:
    kind = values.dtype.kind
    if kind in "biuf" and values.dtype.itemsize <= 8:
        return pl.Series(np.ascontiguousarray(values)), ["numpy", values.dtype.str]
    if kind in "mM":
        return pl.Series(np.ascontiguousarray(values).view("i8")), ["time", values.dtype.str]
    if kind == "O":
        # Cells of any plain Python type; each is kept as text of its own.
        writer = Writer(_refuse(where), canonical=False)
        cells = [to_text(writer.write(_plain_missing(cell), where)).decode() for cell in values]
        return pl.Series(cells, dtype=pl.String), ["object"]
    raise CodecError(f"{where}: the type is `{values.dtype}`, which is not kept. Convert it, e.g. with `.astype`.")


def _plain_missing(cell: object) -> object:
    # pandas' own missing marks have no codec; inside an object column they read as None does.
    return None if cell is pd.NA or cell is pd.NaT else cell


def restore(series: pl.Series, kind: Kind) -> Any:
    """The pandas array of a stored column."""
    match kind:
        case ["numpy", dtype]:
            return series.to_numpy(writable=True).astype(dtype, copy=False)
        case ["time", dtype]:
            return pd.array(series.to_numpy(writable=True).view(dtype))
        case ["zoned", unit, zone]:
            moments = series.to_numpy(writable=True).view(f"M8[{unit}]")
            return pd.DatetimeIndex(moments).tz_localize("UTC").tz_convert(zone).array
        case ["category", listed, dtype, ordered]:
            categories = pd.Index(Reader(_no_leaf).read(listed), dtype=dtype)
            return pd.Categorical.from_codes(series.to_numpy(), categories=categories, ordered=ordered)
        case ["string", dtype]:
            return pd.array(series.to_list(), dtype=dtype)
        case ["masked", dtype]:
            array = pd.array(series.fill_null(strategy="zero").to_numpy(writable=True), dtype=dtype)
            array[series.is_null().to_numpy()] = pd.NA
            return array
        case ["object"]:
            values = np.empty(len(series), dtype=object)
            read = Reader(_no_leaf).read
            for i, text in enumerate(series):
                values[i] = read(msgspec.json.decode(text))
            return values
    raise CodecError(f"A stored pandas column is of an unknown kind, `{kind}`; a newer version may have written it.")


def store_index(index: Any, columns: dict[str, pl.Series]) -> Any:
    """The description of an index, whose values join the columns as `i0`, `i1`, …"""
    names = Writer(_refuse("Index name"), canonical=True).write(list(index.names))
    if isinstance(index, pd.RangeIndex):
        return {"names": names, "range": [index.start, index.stop, index.step]}
    levels = []
    for i in range(index.nlevels):
        level = index.get_level_values(i)
        columns[f"i{i}"], kind = store(level.array, "Index")
        levels.append(kind)
    frequency = getattr(index, "freqstr", None)
    return {"names": names, "levels": levels, "multi": isinstance(index, pd.MultiIndex), "frequency": frequency}


def restore_index(stored: Any, table: pl.DataFrame) -> Any:
    """The index of a stored table."""
    names = Reader(_no_leaf).read(stored["names"])
    if "range" in stored:
        return pd.RangeIndex(*stored["range"], name=names[0])
    arrays = [restore(table[f"i{i}"], kind) for i, kind in enumerate(stored["levels"])]
    if stored["multi"]:
        return pd.MultiIndex.from_arrays(arrays, names=names)
    if stored["frequency"] is not None:
        index: Any = pd.Index(arrays[0], name=names[0])
        index.freq = stored["frequency"]
        return index
    return pd.Index(arrays[0], name=names[0], dtype=arrays[0].dtype)


def _masked() -> tuple[type, ...]:
    kinds = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "Boolean")
    return tuple(getattr(pd, f"{kind}Dtype") for kind in kinds)


def _refuse(where: str) -> Any:
    def leaf(value: object, _path: str) -> int:
        raise CodecError(f"{where} holds a `{type(value).__qualname__}`, which has no stored form in a pandas column.")

    return leaf


def _no_leaf(number: int) -> Any:
    raise CodecError(f"A stored pandas value refers to a leaf {number}, which it must not.")

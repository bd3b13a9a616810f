"""pandas columns as Polars series, each with a description from which the very type comes back.

Invariant: `restore(*store(array))` has the same type and the same values, every mark of a missing value included.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pandas as pd
import polars as pl

from mainspring.artifacts._tree import Reader, Writer, read_zone, to_text, zone_text
from mainspring.errors import CodecError

Kind = list[Any]

# What stands in cells of any type and has no stored form elsewhere, by number.
_MARKS = (pd.NA, pd.NaT)


def store(array: Any, where: str) -> tuple[pl.Series, Kind]:
    """A column's values and the description of its type.

    Raises:
        CodecError: the type is not kept; `where` names the column.
    """
    dtype: Any = array.dtype
    if isinstance(dtype, np.dtype) or isinstance(array, pd.arrays.NumpyExtensionArray):
        return _store_numpy(array.to_numpy(), where)
    if isinstance(dtype, pd.DatetimeTZDtype):
        # pandas 2 takes pytz's zones for names.
        zone = ["pytz", dtype.tz.zone] if hasattr(dtype.tz, "zone") else ["", zone_text(dtype.tz)]
        return pl.Series(array.asi8), ["zoned", dtype.unit, *zone]
    if isinstance(dtype, pd.CategoricalDtype):
        listed, kind = store(dtype.categories.array, f"{where}, its categories,")
        return pl.Series(array.codes.astype("i4")), ["category", kind, written(listed), bool(dtype.ordered)]
    if isinstance(dtype, pd.IntervalDtype):
        left, right = store(array.left.array, where), store(array.right.array, where)
        sides = pl.DataFrame({"left": left[0], "right": right[0]}).to_struct()
        return sides, ["interval", dtype.closed, left[1], right[1]]
    if isinstance(dtype, pd.StringDtype):
        cells = [None if cell is pd.NA or cell != cell else cell for cell in array.to_numpy(dtype=object)]
        return pl.Series(cells, dtype=pl.String), ["string", str(dtype)]
    if type(dtype) in _masked():
        values = array.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0))
        frame = pl.DataFrame({"v": values, "m": array.isna()})
        return frame.select(pl.when(~pl.col("m")).then("v")).to_series(), ["masked", str(dtype)]
    raise CodecError(f"{where}: the pandas type is `{dtype}`, which is not kept. Convert it, e.g. with `.astype`.")


def _store_numpy(values: np.ndarray[Any, Any], where: str) -> tuple[pl.Series, Kind]:
    kind = values.dtype.kind
    if kind in "biuf" and values.dtype.itemsize <= 8:
        return pl.Series(np.ascontiguousarray(values)), ["numpy", values.dtype.str]
    if kind in "mM":
        return pl.Series(np.ascontiguousarray(values).view("i8")), ["time", values.dtype.str]
    if kind == "O":
        return pl.Series([write_cell(cell, where) for cell in values], dtype=pl.String), ["object"]
    raise CodecError(f"{where}: the type is `{values.dtype}`, which is not kept. Convert it, e.g. with `.astype`.")


def write_cell(cell: object, where: str) -> str:
    """A cell of any plain Python type, or a mark of a missing one, as text of its own.

    Raises:
        CodecError: its type has no stored form; `where` names the column.
    """

    def mark(value: object, _path: str) -> int:
        for number, known in enumerate(_MARKS):
            if value is known:
                return number
        raise CodecError(f"{where} holds a `{type(value).__qualname__}`, which has no stored form in a pandas column.")

    return to_text(Writer(mark).write(cell, where)).decode()


def read_cell(text: str) -> Any:
    """The cell of an object column from its stored text.

    Raises:
        CodecError: the text is not what `store` makes.
    """

    def mark(number: int) -> Any:
        if number not in range(len(_MARKS)):
            raise CodecError(f"A stored pandas cell refers to a leaf {number}, which it must not.")
        return _MARKS[number]

    return Reader(mark).read(msgspec.json.decode(text))


def written(series: pl.Series) -> list[Any]:
    """A stored column's values as a JSON tree, for what is no column of the table: labels and categories."""
    tree: list[Any] = Writer(_no_leaf).write(series.to_list())
    return tree


def read_written(tree: Any, kind: Kind) -> pl.Series:
    """The stored column of a JSON tree."""
    return pl.Series(Reader(_no_leaf).read(tree), dtype=_stored_type(kind), strict=True)


def _stored_type(kind: Kind) -> pl.DataType | type[pl.DataType]:
    match kind:
        case ["numpy", dtype]:
            return pl.Series(np.empty(0, dtype)).dtype
        case ["masked", dtype]:
            return pl.Series(np.empty(0, pd.api.types.pandas_dtype(dtype).numpy_dtype)).dtype
        case ["category", *_]:
            return pl.Int32
        case ["interval", _, left, right]:
            return pl.Struct({"left": _stored_type(left), "right": _stored_type(right)})
    return pl.Int64 if kind[0] in ("time", "zoned") else pl.String


def restore(series: pl.Series, kind: Kind) -> Any:
    """The pandas array of a stored column."""
    match kind:
        case ["numpy", dtype]:
            return series.to_numpy(writable=True).astype(dtype, copy=False)
        case ["time", dtype]:
            return pd.array(series.to_numpy(writable=True).view(dtype))
        case ["zoned", unit, library, zone]:
            moments = series.to_numpy(writable=True).view(f"M8[{unit}]")
            return pd.DatetimeIndex(moments).tz_localize("UTC").tz_convert(zone if library else read_zone(zone)).array
        case ["category", inner, listed, ordered]:
            categories = as_index(restore(read_written(listed, inner), inner))
            return pd.Categorical.from_codes(series.to_numpy(), categories=categories, ordered=ordered)
        case ["interval", closed, left, right]:
            sides = [restore(series.struct.field(n), k) for n, k in (("left", left), ("right", right))]
            return pd.arrays.IntervalArray.from_arrays(*map(as_index, sides), closed=closed)
        case ["string", dtype]:
            return pd.array(series.to_list(), dtype=dtype)
        case ["masked", dtype]:
            # Built of its parts, since `pd.array` takes a NaN for a missing value.
            values = series.fill_null(strategy="zero").to_numpy(writable=True)
            return pd.api.types.pandas_dtype(dtype).construct_array_type()(values, series.is_null().to_numpy())
        case ["object"]:
            cells = np.empty(len(series), dtype=object)
            for i, text in enumerate(series):
                cells[i] = read_cell(text)
            return cells
    raise CodecError(f"A stored pandas column is of an unknown kind, `{kind}`; a newer version may have written it.")


def as_index(array: Any, name: Any = None) -> Any:
    """An index of exactly these values: no guess at the type, and tuples stay cells."""
    return pd.Index(array, dtype=array.dtype, name=name, tupleize_cols=False)


def _masked() -> tuple[type, ...]:
    kinds = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "Boolean")
    return tuple(getattr(pd, f"{kind}Dtype") for kind in kinds)


def _no_leaf(*leaf: object) -> Any:
    raise CodecError(f"A pandas label or category refers to a leaf, `{leaf[0]}`, which it must not.")

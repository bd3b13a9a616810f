"""Values of any type as text that says them in full: bytes in hex, spans by ISO 8601, nested values as JSON.

In JSON numbers and truth values stand bare; all others, also NaN and infinities, which JSON lacks, are strings of their text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

import polars as pl


def as_text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A column of a type as text; null stays null."""
    if dtype.is_nested():
        return column.map_batches(_nested, return_dtype=pl.String, is_elementwise=True)
    if dtype == pl.Binary():
        return column.bin.encode("hex")
    # A cast cuts a time of day off at its seconds.
    return column.dt.to_string("iso") if isinstance(dtype, pl.Duration | pl.Time) else column.cast(pl.String)


def _nested(values: pl.Series) -> pl.Series:
    is_null = values.is_null()
    texts = [None if missing else text for missing, text in zip(is_null, _json(values), strict=True)]
    return pl.Series(values.name, texts, dtype=pl.String)


def _json(values: pl.Series) -> Iterator[str]:
    """Each value as JSON. No value is made one of Python's on the way, whose times end at microseconds."""
    dtype = values.dtype
    if isinstance(dtype, pl.Array):
        yield from _json(values.arr.to_list())
    elif isinstance(dtype, pl.List):
        lengths = values.list.len()
        inner = _json(values.filter(lengths > 0).explode())
        for length in lengths:
            yield "null" if length is None else f"[{', '.join(islice(inner, length))}]"
    elif isinstance(dtype, pl.Struct):
        fields = values.struct.unnest().get_columns()
        names = [json.dumps(field.name, ensure_ascii=False) for field in fields]
        for missing, *row in zip(values.is_null(), *map(_json, fields), strict=True):
            told = ", ".join(f"{name}: {text}" for name, text in zip(names, row, strict=True))
            yield "null" if missing else f"{{{told}}}"
    else:
        is_bare = dtype.is_integer() or dtype == pl.Boolean()
        texts = values.to_frame().select(as_text(pl.col(values.name), dtype)).to_series()
        bare = values.is_finite() if dtype.is_float() else pl.repeat(is_bare, len(values), dtype=pl.Boolean, eager=True)
        for text, stands in zip(texts, bare, strict=True):
            yield "null" if text is None else text if stands else json.dumps(text, ensure_ascii=False)

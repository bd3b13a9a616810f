"""The two parts that are held side by side: read by columns or in batches, in the types that both have in common.

A large version is never read whole: what looks at single columns gets those alone, what looks at rows gets batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from mainspring.data.validation.rows import Rows
from mainspring.data.version import DatasetVersion

_INDEX = "\0row"  # a name that no column has
_TEXTS = (pl.String, pl.Categorical, pl.Enum)
_UNITS = ("ms", "us", "ns")
Types = Mapping[str, pl.DataType]


class Side:
    """A table or dataset version; `types` says of which types its columns are given."""

    def __init__(self, table: Any, name: str) -> None:
        self.name = str(table) if isinstance(table, DatasetVersion) else name
        self._rows = Rows(table)
        self.schema: Types = self._rows.schema
        self.types: Types = self.schema
        self.frame = self._rows.table.lazy()
        self.height: int = self.frame.select(pl.len()).collect(engine="streaming").item()

    def lazy(self, columns: Sequence[str]) -> pl.LazyFrame:
        """Some columns, lazily."""
        return self.frame.select(self._cast(columns))

    def table(self, columns: Sequence[str]) -> pl.DataFrame:
        """Some columns whole."""
        return self.lazy(columns).collect(engine="streaming")

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Some columns in batches of rows, in order; at least one batch."""
        for batch in self._rows.batches(list(columns)):
            yield batch.select(self._cast(columns))

    def rows_at(self, places: Sequence[int], columns: Sequence[str]) -> pl.DataFrame:
        """Some columns of a few rows, by their places."""
        wanted = pl.col(_INDEX).is_in(places)
        return self.lazy(columns).with_row_index(_INDEX).filter(wanted).drop(_INDEX).collect(engine="streaming")

    def _cast(self, columns: Sequence[str]) -> list[pl.Expr]:
        return [
            pl.col(name) if self.schema[name] == self.types[name] else pl.col(name).cast(self.types[name], strict=False)
            for name in columns
        ]


def sampled(frame: pl.LazyFrame, rows: int) -> pl.DataFrame:
    """At most so many rows, evenly spread, in their order."""
    height: int = frame.select(pl.len()).collect(engine="streaming").item()
    if height > rows:
        step = -(-height // rows)
        frame = frame.with_row_index(_INDEX).filter(pl.col(_INDEX) % step == 0).drop(_INDEX)
    return frame.collect(engine="streaming")


def shared_type(one: pl.DataType, other: pl.DataType) -> pl.DataType | None:
    """The type in which values of two types compare; None if they don't, as numbers and text.

    >>> shared_type(pl.Int32(), pl.Int64()), shared_type(pl.Int64(), pl.String())
    (Int64, None)
    """
    if one == other or other == pl.Null:
        return one
    if one == pl.Null:
        return other
    if isinstance(one, _TEXTS) and isinstance(other, _TEXTS):
        return pl.String()
    if all(dtype.is_numeric() or dtype == pl.Boolean for dtype in (one, other)):
        empty = [pl.DataFrame(schema={"": dtype}) for dtype in (one, other)]
        return pl.concat(empty, how="vertical_relaxed").schema[""]
    if isinstance(one, pl.Duration) and isinstance(other, pl.Duration):
        return pl.Duration(_finer(one, other))
    if isinstance(one, pl.Date | pl.Datetime) and isinstance(other, pl.Date | pl.Datetime):
        zones = [getattr(dtype, "time_zone", None) for dtype in (one, other)]
        return pl.Datetime(_finer(one, other), zones[0]) if bool(zones[0]) == bool(zones[1]) else None
    return _shared_nested(one, other)


def _shared_nested(one: pl.DataType, other: pl.DataType) -> pl.DataType | None:
    if isinstance(one, pl.List | pl.Array) and type(one) is type(other):
        inner = shared_type(one.inner, other.inner)  # type: ignore[arg-type]  # a type, not its class
        if inner is None or getattr(one, "shape", None) != getattr(other, "shape", None):
            return None
        return pl.List(inner) if isinstance(one, pl.List) else pl.Array(inner, one.size)
    if isinstance(one, pl.Struct) and isinstance(other, pl.Struct):
        fields = [(field.name, field.dtype) for field in one.fields]
        others = {field.name: field.dtype for field in other.fields}
        if [name for name, _ in fields] != list(others):
            return None
        found = {name: shared_type(dtype, others[name]) for name, dtype in fields}  # type: ignore[arg-type]  # a type, not its class
        return pl.Struct(found) if all(dtype is not None for dtype in found.values()) else None  # type: ignore[arg-type]  # none is None
    return None


def _finer(one: pl.DataType, other: pl.DataType) -> Any:
    return max((getattr(dtype, "time_unit", "us") for dtype in (one, other)), key=_UNITS.index)

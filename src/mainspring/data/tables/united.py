"""Rows put behind a version whatever its columns and types are: the whole then has the columns of both.

No value changes by that: a column gets a type that holds those of both exactly, or text.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from mainspring.data.tables.draft import AppendDraft, TableDraft
from mainspring.data.tables.lazy import LazyDraft
from mainspring.data.tables.manifest import Listing, read_listing
from mainspring.data.tables.memory import StoredRows
from mainspring.data.tables.nested import instance
from mainspring.data.tables.parts import scan_parts
from mainspring.data.tables.rows import FrameDraft
from mainspring.data.tables.texts import as_text
from mainspring.data.version import DatasetVersion
from mainspring.store import BlobStore

_DIGITS = 38  # of a decimal
_SIGNED = (pl.Int8, pl.Int16, pl.Int32, pl.Int64)
_UNSIGNED = (pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)


def united(one: pl.DataType, other: pl.DataType) -> pl.DataType | None:
    """The type that holds each value of both as it is, or None.

    >>> united(pl.Int32(), pl.UInt32()), united(pl.Int64(), pl.Float64()), united(pl.Date(), pl.String())
    (Int64, None, None)
    """
    if one == other or other == pl.Null():
        return one
    if one == pl.Null():
        return other
    if isinstance(one, pl.Struct) and isinstance(other, pl.Struct):
        fields, others = ({field.name: instance(field.dtype) for field in each.fields} for each in (one, other))
        return _united_fields(fields, others)
    if isinstance(one, pl.List) and isinstance(other, pl.List):
        inner = united(instance(one.inner), instance(other.inner))
        return None if inner is None else pl.List(inner)
    if isinstance(one, pl.Decimal) and isinstance(other, pl.Decimal):
        scale = max(one.scale, other.scale)
        digits = max((each.precision or _DIGITS) - each.scale for each in (one, other)) + scale
        return pl.Decimal(digits, scale) if digits <= _DIGITS else None
    return _united_numbers(one, other)


def _united_fields(one: Mapping[str, pl.DataType], other: Mapping[str, pl.DataType]) -> pl.DataType | None:
    fields: dict[str, pl.DataType] = {}
    for name in {**one, **other}:
        found = united(one.get(name, pl.Null()), other.get(name, pl.Null()))
        if found is None:
            return None
        fields[name] = found
    return pl.Struct(fields)


def _united_numbers(one: pl.DataType, other: pl.DataType) -> pl.DataType | None:
    kinds = type(one), type(other)
    for family in (_SIGNED, _UNSIGNED):
        if all(kind in family for kind in kinds):
            return family[max(family.index(kind) for kind in kinds)]()
    whole = {*_SIGNED, *_UNSIGNED}
    if all(kind in whole for kind in kinds):
        return None if pl.UInt64 in kinds else pl.Int64()
    if pl.Float64 in kinds and all(kind in {pl.Float64, pl.Float32, *whole} - {pl.Int64, pl.UInt64} for kind in kinds):
        return pl.Float64()
    return None


class UnitedDraft(TableDraft):
    """Rows on their way behind a version of any columns. Close it when it is committed.

    Where the version's own columns do for both they are appended. Else column types, which are part of the content digest,
    change, and the rows of both are written anew.
    """

    def __init__(self, name: str, rows: pl.DataFrame | pl.LazyFrame | StoredRows, blobs: BlobStore) -> None:
        super().__init__(name, blobs)
        self._given = rows.scan() if isinstance(rows, StoredRows) else rows
        self._inner: AppendDraft | None = None

    def put_behind(self, head: DatasetVersion | None) -> None:
        """Compute what the rows are behind a version's, or as a table of their own."""
        self.close()
        parts = read_listing(self.blobs, head.manifest).parts if head is not None else ()
        stored = scan_parts(self.blobs, parts) if parts else pl.LazyFrame()
        known, given = stored.collect_schema(), self._given.collect_schema()
        types = self._types(stored, known, given)
        rows = self._given.select(_as(name, given.get(name), dtype) for name, dtype in types.items())
        if head is not None and types != dict(known):
            if not known:  # rows of no columns, which no frame can scan
                stored = pl.LazyFrame().select(pl.repeat(None, head.rows).alias(name) for name in types)
                known = stored.collect_schema()
            before = stored.select(_as(name, known.get(name), dtype) for name, dtype in types.items())
            rows, head = pl.concat([before, rows.lazy()]), None
        make = FrameDraft if isinstance(rows, pl.DataFrame) else LazyDraft
        self._inner = inner = make(self.name, rows, self.blobs)  # type: ignore[arg-type]  # each takes its kind of frame
        inner.put_behind(head)
        self._digest, self._base = inner.digest, inner._base

    def write(self) -> tuple[Listing, list[str]]:
        """The parts of the rows, and a manifest that names them."""
        assert self._inner is not None
        return self._inner.write()

    def close(self) -> None:
        """Remove what was computed."""
        if isinstance(self._inner, LazyDraft):
            self._inner.close()

    def _types(self, stored: pl.LazyFrame, known: pl.Schema, given: pl.Schema) -> dict[str, pl.DataType]:
        """The type of each column of either, text where nothing else holds the values of both."""
        pairs = {name: (known.get(name, pl.Null()), given.get(name, pl.Null())) for name in {**known, **given}}
        found = {name: united(*pair) for name, pair in pairs.items()}
        apart = {name: pairs[name] for name, dtype in found.items() if dtype is None}
        kept = _kept_as_floats(stored, [name for name, (one, other) in apart.items() if _widens(one, other)])
        kept |= _kept_as_floats(self._given, [name for name, (one, other) in apart.items() if _widens(other, one)])
        return {name: dtype or (pl.Float64() if name in kept else pl.String()) for name, dtype in found.items()}


def _widens(dtype: pl.DataType, wide: pl.DataType) -> bool:
    """Whether a column of large whole numbers meets one of floats, so that its values decide."""
    return dtype.is_integer() and wide == pl.Float64()


def _kept_as_floats(frame: pl.DataFrame | pl.LazyFrame, columns: list[str]) -> set[str]:
    """Which of these columns of whole numbers a float holds exactly in every row, found in one pass."""
    if not columns:
        return set()
    same = [(pl.col(name).cast(pl.Float64).cast(pl.Int128, strict=False) == pl.col(name)).all() for name in columns]
    row = frame.lazy().select(same).collect(engine="streaming").row(0, named=True)
    return {name for name, is_kept in row.items() if is_kept}


def _as(name: str, dtype: pl.DataType | None, wanted: pl.DataType) -> pl.Expr:
    """A column in a type that holds its values, or as text that says them in full."""
    column = pl.col(name)
    if dtype is None:
        return pl.lit(None, wanted).alias(name)
    if dtype == wanted:
        return column
    if wanted != pl.String():
        return column.cast(wanted)
    return as_text(column, dtype)

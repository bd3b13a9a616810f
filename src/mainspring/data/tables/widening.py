"""Wider types: which one holds the values of two, and a version whose rows have wider types, or columns more, than before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from mainspring.data.tables.draft import TableDraft
from mainspring.data.tables.lazy import LazyDraft
from mainspring.data.tables.manifest import Listing, read_listing
from mainspring.data.tables.nested import fields_of, instance
from mainspring.data.tables.parts import scan_parts
from mainspring.data.version import DatasetVersion
from mainspring.errors import InvalidError, shorten
from mainspring.store import BlobStore

_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)


def wider(one: pl.DataType, other: pl.DataType) -> pl.DataType | None:
    """The type that holds the values of both, or None if they aren't of one kind.

    >>> wider(pl.Int64(), pl.Float64()), wider(pl.String(), pl.Int64()) is None
    (Float64, True)
    """
    if one == other or other == pl.Null():
        return one
    if one == pl.Null():
        return other
    if isinstance(one, pl.Struct) and isinstance(other, pl.Struct):
        fields = fields_of(one)
        for name, dtype in fields_of(other).items():
            wide = wider(fields.get(name, pl.Null()), dtype)
            if wide is None:
                return None
            fields[name] = wide
        return pl.Struct(fields)
    if isinstance(one, pl.List) and isinstance(other, pl.List):
        inner = wider(instance(one.inner), instance(other.inner))
        return None if inner is None else pl.List(inner)
    if isinstance(one, _INTEGERS) and isinstance(other, _INTEGERS):
        return pl.Int128() if pl.Int128() in (one, other) else pl.Int64()
    if isinstance(one, pl.Decimal) and isinstance(other, pl.Decimal):
        return pl.Decimal(38, max(one.scale, other.scale))
    numeric = (*_INTEGERS, pl.Float32, pl.Float64)
    return pl.Float64() if isinstance(one, numeric) and isinstance(other, numeric) else None


def holds(wide: pl.DataType, dtype: pl.DataType) -> bool:
    """Whether a type holds all values of another one; one of floats or of 38 digits may not, which `WidenedDraft` looks at.

    >>> holds(pl.Decimal(20, 2), pl.Decimal(10, 2)), holds(pl.Decimal(10, 4), pl.Decimal(10, 2)), holds(pl.Int16(), pl.UInt8())
    (True, False, True)
    """
    if wider(dtype, wide) == wide:
        return True
    if isinstance(wide, pl.Decimal) and isinstance(dtype, pl.Decimal):
        return wide.scale >= dtype.scale and wide.precision - wide.scale >= dtype.precision - dtype.scale
    if isinstance(wide, _INTEGERS) and isinstance(dtype, _INTEGERS):
        (low, high), (least, most) = _range(wide), _range(dtype)
        return low <= least and most <= high
    if isinstance(wide, pl.List) and isinstance(dtype, pl.List):
        return holds(instance(wide.inner), instance(dtype.inner))
    if isinstance(wide, pl.Struct) and isinstance(dtype, pl.Struct):
        fields = fields_of(wide)
        return all(name in fields and holds(fields[name], kind) for name, kind in fields_of(dtype).items())
    return False


def _range(dtype: pl.DataType) -> tuple[int, int]:
    return tuple(pl.select(low=dtype.min(), high=dtype.max()).row(0))  # type: ignore[attr-defined]  # types of whole numbers have them


def is_open(dtype: pl.DataType) -> bool:
    """Whether no value can have a type, so that which one a column has is still to be found out.

    >>> is_open(pl.Null()), is_open(pl.List(pl.Null())), is_open(pl.List(pl.Int8()))
    (True, True, False)
    """
    return dtype == pl.Null() or (isinstance(dtype, pl.List) and is_open(instance(dtype.inner)))


def without_values(rows: pl.LazyFrame, columns: Iterable[str]) -> set[str]:
    """Which of these columns hold no value, so that they may get any type.

    >>> without_values(pl.LazyFrame({"id": [1, 2], "note": [None, None]}), ["id", "note"])
    {'note'}
    """
    found = rows.select(pl.col(name).is_null().all() for name in columns).collect(engine="streaming")
    return {name for name in found.columns if found[name].item()}


def filled(known: pl.DataType, given: pl.DataType) -> pl.DataType:
    """A type whose parts that hold no value have the types of another's.

    >>> filled(pl.Struct({"id": pl.Int64(), "note": pl.Null()}), pl.Struct({"id": pl.Int8(), "note": pl.String()}))
    Struct({'id': Int64, 'note': String})
    """
    if known == pl.Null():
        return given
    if isinstance(known, pl.List) and isinstance(given, pl.List):
        return pl.List(filled(instance(known.inner), instance(given.inner)))
    if isinstance(known, pl.Struct) and isinstance(given, pl.Struct):
        types = fields_of(given)
        return pl.Struct({name: filled(kind, types.get(name, pl.Null())) for name, kind in fields_of(known).items()})
    return known


class WidenedDraft(TableDraft):
    """The rows of the version that it is put behind, with these columns: a new one is null there, and one that holds no
    value gets any type. Close it at the end.

    Column types are part of the content digest, so it is a content of its own, and its parts are written anew.
    """

    def __init__(self, name: str, blobs: BlobStore, types: Mapping[str, pl.DataType]) -> None:
        super().__init__(name, blobs)
        self.types = dict(types)
        self._rows: LazyDraft | None = None

    def put_behind(self, head: DatasetVersion | None) -> None:
        """Compute the version's rows with the wider types.

        Raises:
            InvalidError: it has a column more, or one with values that the type which it is to have doesn't hold.
        """
        parts = read_listing(self.blobs, head.manifest).parts if head is not None else ()
        rows = scan_parts(self.blobs, parts) if parts else pl.LazyFrame()
        known = rows.collect_schema()
        others = {name: dtype for name, dtype in known.items() if not self._is_held(name, dtype)}
        empty = without_values(rows, [name for name in others if name in self.types]) if others else set()
        for name, dtype in others.items():
            if name not in empty:
                expected = f"a column that becomes {self.types.get(name)}"
                raise InvalidError(f"{self.name}.{name}", dtype, expected, "It was replaced meanwhile.")
        known = pl.Schema({name: dtype for name, dtype in known.items() if name not in empty})
        self._expect_exact(rows, known)
        self.close()
        wide = rows.select(self._column(name, known) for name in self.types)
        try:
            self._rows = LazyDraft(self.name, wide, self.blobs)
        except pl.exceptions.InvalidOperationError as error:  # a decimal whose digits are too many for more places
            told = shorten(str(error).partition("\n")[0])
            raise InvalidError(self.name, told, "a table whose values the wider types hold") from error
        self._rows.put_behind(None)
        self._digest = self._rows.digest

    def write(self) -> tuple[Listing, list[str]]:
        """The parts, and a manifest of their own."""
        assert self._rows is not None
        return self._rows.write()

    def close(self) -> None:
        """Remove what was computed."""
        if self._rows is not None:
            self._rows.close()

    def _is_held(self, name: str, dtype: pl.DataType) -> bool:
        return name in self.types and holds(self.types[name], dtype)

    def _expect_exact(self, rows: pl.LazyFrame, known: pl.Schema) -> None:
        whole = [name for name, dtype in known.items() if dtype.is_integer() and self.types[name].is_float()]
        kept = [pl.col(name).cast(self.types[name]).cast(pl.Int128) == pl.col(name) for name in whole]
        if kept and not all(rows.select(each.all() for each in kept).collect(engine="streaming").row(0)):
            raise InvalidError(self.name, ", ".join(whole), "columns of whole numbers that a float holds exactly")

    def _column(self, name: str, known: pl.Schema) -> pl.Expr:
        dtype = self.types[name]
        return pl.col(name).cast(dtype) if name in known else pl.lit(None, dtype).alias(name)

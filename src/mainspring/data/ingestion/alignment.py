"""Which types the columns of an ingest have, and how batches are brought to them.

Decided types (declared, or those of the dataset that rows go behind) are kept: numbers that lose nothing are cast, text is
parsed. Others are those of the first batch with a value, and widen within the ingest: null to anything, also in the dataset,
whole numbers to wider ones or to floats that hold them exactly. Whatever else differs is an error that names row and column.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from mainspring.artifacts.table import schema_of
from mainspring.data.ingestion.conversion import Naming, brought, is_written, unfit_row
from mainspring.data.tables.type_names import name_of_type, named_type
from mainspring.data.tables.widening import filled, is_open, wider
from mainspring.errors import InvalidError, close_names, listed

Types = dict[str, pl.DataType]


def declared_types(types: Mapping[str, object]) -> Types:
    """Types given as Polars types or by name (`f64`, `date`, `decimal[10, 2]`).

    Raises:
        InvalidError: no such type.
    """
    return {name: _declared(name, kind) for name, kind in types.items()}


def _declared(name: str, kind: object) -> pl.DataType:
    if isinstance(kind, pl.DataType):
        return kind
    if isinstance(kind, type) and issubclass(kind, pl.DataType):
        return kind()
    return named_type(str(kind), f"types.{name}")


class Alignment:
    """The columns of one ingest; types that are `declared` are fixed, and so are those `known`.

    Known types that hold no value, `null` or lists of it, aren't decided yet. A column that is declared may come later, and is
    null before, as others may where batches are sparse and none are known; no table lacks one that rows before it have,
    unless it is sparse: a file that broke is none whose values are null.
    """

    def __init__(self, declared: Mapping[str, pl.DataType], known: Mapping[str, pl.DataType] | None = None) -> None:
        self.declared = dict(declared)
        closed = {name: dtype for name, dtype in (known or {}).items() if not is_open(dtype)}
        self.decided = closed | self.declared
        self._valued: set[str] = set()  # columns in which a value was seen
        self._textless: set[str] = set()  # columns with values of which no text is made, whatever is declared
        self._is_dense = False  # whether rows came that have all of their columns
        self.known = None if known is None else dict(known)
        self.types: Types | None = None
        self.widened: dict[str, str] = {}
        if self.known is not None:
            self.types = {name: self.declared.get(name, dtype) for name, dtype in self.known.items()}
            self.widened = {
                name: f"{name_of_type(dtype)} became {name_of_type(self.types[name])}"
                for name, dtype in self.known.items()
                if self.types[name] != dtype
            }

    def take(
        self, frame: pl.DataFrame, origin: str, *, sparse: bool = False, named: Naming | None = None, hint: str = "",
        valued: Collection[str] = (),
    ) -> pl.DataFrame:  # fmt: skip
        """A batch with the types of the ingest so far, which may widen by it; `named` says where a row stood, for errors.

        `hint` is said of a text that doesn't fit; `valued` are columns with values, where the frame has none to show.

        Raises:
            InvalidError: a column is missing or unknown, or its values don't fit its type.
        """
        schema_of(frame)
        if frame.height and not (frame.columns or self.types):  # as of JSON lines that are all `{}`
            raise InvalidError(origin, "rows without any", "a table with a column", "Rows before them may say which.")
        if self.types is None:
            self.types = {name: self.decided.get(name, dtype) for name, dtype in frame.schema.items()}
            if sparse:
                self.types |= {name: dtype for name, dtype in self.decided.items() if name not in self.types}
        self._check_columns(frame, origin, sparse)
        self._is_dense = self._is_dense or (frame.height > 0 and not sparse)
        named = named or (lambda _: origin)
        for column in frame.iter_columns():
            if column.name in valued or column.null_count() < len(column):
                self._widen(column, named, origin, sparse)
                self._valued.add(column.name)
            elif is_open(self.types[column.name]):
                self._widen(column, named, origin, sparse)
        types, given = self.types, frame.schema
        if list(given.items()) == list(types.items()):
            return frame
        return frame.with_columns(  # which keeps the number of rows of a frame without columns
            brought(frame[name], dtype, named, hint) if name in given else pl.lit(None, dtype).alias(name)
            for name, dtype in types.items()
        ).select(list(types))

    def recall(self, rows: pl.LazyFrame) -> None:
        """Take rows again that an interrupted ingest has staged; which columns have values is looked at where that counts."""
        empty = rows.collect_schema().to_frame()
        asked = [name for name in empty.columns if name not in self.decided and name not in self._valued]
        found = rows.select(pl.col(asked).is_not_null().any()).collect().row(0) if asked else ()
        without = {name for name, has_values in zip(asked, found, strict=True) if not has_values}
        if self.types is None:
            self.types = {name: self.decided.get(name, dtype) for name, dtype in empty.schema.items()}
        self.take(empty, "staged rows", sparse=True, valued=set(empty.columns) - without)

    def settle(self, frame: pl.DataFrame, origin: str) -> pl.DataFrame:
        """Rows that were taken before a column came or widened, with the types that the ingest ended with."""
        return Alignment(self.types or {}, self.types or {}).take(frame, origin, sparse=True)

    def fill(self, before: Mapping[str, pl.DataType]) -> None:
        """Give a table that no row came for its columns, which only a header may have named, with the types that they had."""
        types = self.types if self.types is not None else dict(before)
        known = {name: before.get(name, dtype) if dtype == pl.Null() else dtype for name, dtype in types.items()}
        self.types = known | {name: dtype for name, dtype in self.declared.items() if name in known} or None

    def expect_declared(self, origin: str) -> None:
        """Go on only if every column that was declared came, for a new table or with rows that say all of theirs.

        Raises:
            InvalidError: one didn't.
        """
        if self.types is None or not (self.known is None or self._is_dense):
            return
        for name in self.declared:
            if name not in self.types:
                near = close_names(name, self.types)
                hint = f"Nearest: {listed(near)}." if near else ""
                raise InvalidError(origin, ", ".join(self.types), f"a table with the declared column `{name}`", hint)

    def _check_columns(self, frame: pl.DataFrame, origin: str, sparse: bool) -> None:
        assert self.types is not None
        given = frame.schema
        missing = [name for name in self.types if name not in given]
        if missing and not sparse:
            raise InvalidError(
                origin, ", ".join(frame.columns), f"a table with the column `{missing[0]}`, which the rows before have",
                "If it has no values there, add the column to the source, empty.",
            )  # fmt: skip
        for name in [name for name in frame.columns if name not in self.types]:
            if not (name in self.declared or (sparse and self.known is None)):
                raise InvalidError(
                    f"{origin}, column `{name}`", name, "a column that the rows before have",
                    f"If it is new, declare it, and it is null before: {_declaration(name, given[name])}.",
                )  # fmt: skip
            self.types[name] = self.decided.get(name, given[name])
            self.widened[name] = "came later; null before"

    def _widen(self, column: pl.Series, named: Naming, origin: str, sparse: bool) -> None:
        assert self.types is not None
        name, dtype, known = column.name, column.dtype, self.types[column.name]
        if not (sparse or dtype in (pl.String(), pl.Null()) or is_written(dtype)):
            self._textless.add(name)
        if known == dtype or name in self.declared:
            return
        if name in self.decided:
            wide: pl.DataType | None = filled(known, dtype)
        else:
            wide = wider(known, dtype) if name in self._valued or is_open(known) else dtype
        if wide is None:
            row = unfit_row(column, known)
            raise InvalidError(
                f"{origin if row is None else named(row)}, column `{name}`", name_of_type(dtype),
                f"its type in the rows before, `{name_of_type(known)}`", self._of_another(name, dtype, sparse),
            )  # fmt: skip
        if wide != known:
            if not is_open(known) or self.known is not None:
                self.widened[name] = f"{name_of_type(known)} became {name_of_type(wide)}"
            self.types[name] = wide

    def _of_another(self, name: str, dtype: pl.DataType, sparse: bool) -> str:
        """What to do about values of two types in one column; of JSON text is made of any."""
        if name not in self._textless and (sparse or dtype == pl.String() or is_written(dtype)):
            return f"Declare it, e.g. types={{{name!r}: 'str'}}."
        return "Cast it in the source."


def _declaration(name: str, dtype: pl.DataType) -> str:
    kind = "str" if is_open(dtype) else name_of_type(dtype)
    return f"types={{{name!r}: {kind!r}}}"

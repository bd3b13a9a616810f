"""Which stored rows an edit is about: those of some keys, or those for which an expression is true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl

from mainspring.artifacts.table import schema_of
from mainspring.data.tables.manifest import Part
from mainspring.data.tables.parts import Schema, aligned, scan_parts, types_of
from mainspring.data.tables.positions import NONE, Positions
from mainspring.errors import InvalidError, WrongTypeError, close_names, listed, shorten
from mainspring.store import BlobStore

_EXAMPLES = 3
_INDEX = "stored at"


class Hits(NamedTuple):
    """Stored rows by their sorted positions, each with the row of the given frame that is meant."""

    positions: Positions
    rows: Positions


class Find(Protocol):
    """Finds the rows that an edit is about."""

    def __call__(
        self, blobs: BlobStore, parts: tuple[Part, ...], given: pl.DataFrame | None, schema: Schema, /
    ) -> Hits: ...


class ByKey:
    """Rows of the keys that the given frame has, or, for a deletion, of `wanted`.

    A key is one or several columns without nulls. To be replaced, a key must stand in one row; all its rows are deleted.
    """

    def __init__(self, subject: str, key: str | Sequence[str], wanted: Any = None) -> None:
        self.subject = subject
        self.key = [key] if isinstance(key, str) else list(key)
        self.wanted = wanted
        if not self.key or not all(isinstance(name, str) for name in self.key):
            raise InvalidError("key", key, "one or more names of columns")
        if len(set(self.key)) < len(self.key):
            raise InvalidError("key", ", ".join(self.key), "a key that names each of its columns once")

    def __call__(self, blobs: BlobStore, parts: tuple[Part, ...], given: pl.DataFrame | None, schema: Schema) -> Hits:
        if given is None:
            self._check_columns(tuple(name for name, _ in schema))
            keys = self._wanted(blobs, parts, schema)
            self._check_keys(keys, unique=False)
        else:
            self.expect_keys(given)
            keys = given.select(self.key)
        if not parts or not keys.height:
            return Hits(NONE, NONE)
        index = _free(_INDEX, self.key)
        row = _free("row", [*self.key, index])
        plain = [_comparable(name, dtype) for name, dtype in keys.schema.items()]
        sought = keys.select(plain).with_row_index(row).lazy()
        stored = scan_parts(blobs, parts, _free(_INDEX, [name for name, _ in schema]))
        stored = stored.select(*plain, pl.col(_free(_INDEX, [name for name, _ in schema])).alias(index))
        found = stored.join(sought, on=self.key, how="inner").select(index, row).sort(index).collect()
        if given is not None and found[row].n_unique() < found.height:
            self._refuse(given.select(self.key)[found.filter(pl.col(row).is_duplicated())[row].unique()], _ONE_ROW)
        return Hits(found[index].to_numpy(), found[row].cast(pl.Int64).to_numpy())

    def expect_keys(self, given: pl.DataFrame) -> None:
        """Go on only if each row of a table has a key of its own; raises `InvalidError`."""
        self._check_columns(tuple(given.columns))
        self._check_keys(given.select(self.key), unique=True)

    def _check_columns(self, present: tuple[str, ...]) -> None:
        if missing := [name for name in self.key if name not in present]:
            near = listed(close_names(missing[0], present) or list(present))
            raise InvalidError("key", missing[0], f"a column of `{self.subject}`", f"Near: {near}.")

    def _check_keys(self, keys: pl.DataFrame, *, unique: bool) -> None:
        for name, dtype in keys.schema.items():
            if dtype.is_nested():
                raise InvalidError(f"{self.subject}.{name}", dtype, "a type that can be a key", "Take a plain column.")
        empty = keys.filter(pl.any_horizontal(pl.all().is_null()))
        if empty.height:
            self._refuse(empty, "a key: it holds nulls")
        if unique and (twice := keys.filter(keys.is_duplicated())).height:
            self._refuse(twice.unique(maintain_order=True), "in one row of the given table: it must be there once")

    def _refuse(self, keys: pl.DataFrame, expected: str) -> None:
        shown = [shorten(repr(row[0] if len(row) == 1 else row), 40) for row in keys.head(_EXAMPLES).rows()]
        more = f" and {keys.height - _EXAMPLES:,} more" if keys.height > _EXAMPLES else ""
        raise InvalidError(f"{self.subject}.{'+'.join(self.key)}", ", ".join(shown) + more, expected)

    def _wanted(self, blobs: BlobStore, parts: tuple[Part, ...], schema: Schema) -> pl.DataFrame:
        """The keys to delete, as a frame with the types of the dataset."""
        types = dict(schema)
        if isinstance(self.wanted, pl.DataFrame):
            self._check_columns(tuple(self.wanted.columns))
            wanted = self.wanted.select(self.key)
        else:
            wanted = self._listed(types_of(blobs, parts))
        part = parts[0] if parts else None
        return aligned(wanted, tuple((name, types[name]) for name in self.key), blobs, part, self.subject).unique(
            maintain_order=True
        )

    def _listed(self, types: pl.DataFrame) -> pl.DataFrame:
        if len(self.key) != 1 or isinstance(self.wanted, str | bytes) or not hasattr(self.wanted, "__iter__"):
            raise WrongTypeError(
                "keys", self.wanted, "a table with the key's columns, or a list of values of one column"
            )
        name, values = self.key[0], list(self.wanted)
        dtype = types.schema.get(name)
        try:
            return pl.DataFrame({name: pl.Series(values, dtype=dtype, strict=True)})
        except (pl.exceptions.PolarsError, TypeError, OverflowError, ValueError) as error:
            raise InvalidError(f"{self.subject}.{name}", values, f"a list of values of type `{dtype}`") from error


class Where:
    """Rows for which a condition is true (not false, not null): a Polars expression, or one as SQL text."""

    def __init__(self, subject: str, condition: pl.Expr | str) -> None:
        self.subject, self.condition = subject, condition

    def __call__(self, blobs: BlobStore, parts: tuple[Part, ...], _: pl.DataFrame | None, schema: Schema) -> Hits:
        """Find them; raises `InvalidError` if the condition can't be applied to these columns."""
        if not parts:
            return Hits(NONE, NONE)
        index = _free(_INDEX, [name for name, _ in schema])
        try:
            condition = pl.sql_expr(self.condition) if isinstance(self.condition, str) else self.condition
            types_of(blobs, parts).filter(condition)  # its errors name columns, of which the index is none
            scanned = scan_parts(blobs, parts, index)
            found = scanned.filter(condition).select(index).collect()[index].to_numpy()
        except (pl.exceptions.PolarsError, TypeError) as error:
            raise InvalidError(
                "where", str(self.condition), f"a condition on `{self.subject}`", shorten(str(error))
            ) from error
        return Hits(found, np.zeros(len(found), np.int64))


_ONE_ROW = "a key of one row: several rows have it. Delete them by it first, or name more columns as the key"


def as_keys(keys: Any, key: str | Sequence[str] | None, subject: str) -> ByKey:
    """Keys to delete: a table (its columns are the key if none is named), or values of one column.

    Raises:
        InvalidError: it isn't said which columns the key is.
    """
    from mainspring.data.tables.frames import as_polars

    if hasattr(keys, "columns") or hasattr(keys, "collect"):
        keys = as_polars(keys)
        key = key or [name for name, _ in schema_of(keys)]
    if key is None:
        raise InvalidError(
            "key", key, "the name of the column that the values are of", f"`{subject}` has no key of its own."
        )
    return ByKey(subject, key, keys)


def _comparable(name: str, dtype: pl.DataType) -> pl.Expr:
    return pl.col(name).cast(pl.String) if dtype.base_type() in (pl.Categorical, pl.Enum) else pl.col(name)


def _free(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name += "_"
    return name

"""The content digest of tables, for artifacts and dataset versions alike.

Rows in logical order are cut into leaves of 65,536 rows, wherever chunks or files have their borders. A leaf's digest is
over each column's canonical values; the table's is over recipe, schema, row count and leaf digests. So an append re-hashes
the last leaf only, and another layout of the same rows nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import polars as pl
from blake3 import blake3

from mainspring.artifacts._columns import feed_column, type_name
from mainspring.errors import CodecError, InvalidError

if TYPE_CHECKING:
    from polars._typing import PolarsDataType

LEAF_ROWS = 65_536
TABLE_RECIPE = 1


class TableDigest(msgspec.Struct, frozen=True):
    """A table's content digest and what it was made of: the schema as (name, type) pairs in column order."""

    digest: str
    rows: int
    leaves: tuple[str, ...]
    schema: tuple[tuple[str, str], ...]

    @property
    def tail_rows(self) -> int:
        """How many rows stand in the last, partial leaf; 0 if it is full."""
        return self.rows % LEAF_ROWS


class TableHasher:
    """Digests a table that comes in pieces; how it is cut into pieces makes no difference.

    >>> hasher = TableHasher()
    >>> hasher.update(pl.DataFrame({"n": [1, 2]}))
    >>> first = hasher.finish()
    >>> again = TableHasher.resume(first, pl.DataFrame({"n": [1, 2]}))
    >>> again.update(pl.DataFrame({"n": [3]}))
    >>> again.finish() == table_digest(pl.DataFrame({"n": [1, 2, 3]}))
    True
    """

    def __init__(self) -> None:
        self._schema: tuple[tuple[str, str], ...] | None = None
        self._leaves: list[str] = []
        self._tail: list[pl.DataFrame] = []
        self._tail_rows = 0

    @classmethod
    def resume(cls, previous: TableDigest, tail: pl.DataFrame | None = None) -> TableHasher:
        """Go on behind a table that was digested before, given the rows of its last, partial leaf.

        Raises:
            InvalidError: the tail is not those rows.
        """
        hasher = cls()
        hasher._schema = previous.schema
        hasher._leaves = list(previous.leaves[: previous.rows // LEAF_ROWS])
        rows = 0 if tail is None else tail.height
        if rows != previous.tail_rows:
            raise InvalidError("tail", f"{rows} rows", f"the {previous.tail_rows} rows of the last, partial leaf")
        if tail is not None and rows:
            hasher.update(tail)
            if _leaf_digest(tail) != previous.leaves[-1]:
                raise InvalidError("tail", f"{rows} rows", "the rows that the last leaf was made of")
        return hasher

    def update(self, frame: pl.DataFrame) -> None:
        """Add rows behind those added before.

        Raises:
            CodecError: a column has a type without canonical values.
            InvalidError: the schema is not that of the rows before.
        """
        self._check_schema(frame)
        if len(frame.columns) and max(s.n_chunks() for s in frame.get_columns()) > 2 * (frame.height // LEAF_ROWS + 8):
            frame = frame.rechunk()  # cutting a leaf out of very many chunks costs more than one copy
        taken = min(frame.height, LEAF_ROWS - self._tail_rows) if self._tail_rows else 0
        if taken:
            self._keep(frame.slice(0, taken))
        end = taken + (frame.height - taken) // LEAF_ROWS * LEAF_ROWS
        self._leaves.extend(_leaf_digest(frame.slice(at, LEAF_ROWS)) for at in range(taken, end, LEAF_ROWS))
        if end < frame.height:
            self._keep(frame.slice(end))

    def finish(self) -> TableDigest:
        """The digest of all rows so far; more may be added afterwards."""
        if self._schema is None:
            raise CodecError(
                "A table without a schema has no digest: update the hasher with a frame first, be it empty."
            )
        leaves = tuple(self._leaves)
        if self._tail_rows:
            leaves += (_leaf_digest(pl.concat(self._tail, rechunk=False)),)
        rows = len(self._leaves) * LEAF_ROWS + self._tail_rows
        text = msgspec.json.encode((TABLE_RECIPE, self._schema, rows, leaves))
        return TableDigest(blake3(b"mainspring table\n" + text).hexdigest(), rows, leaves, self._schema)

    def _keep(self, rows: pl.DataFrame) -> None:
        self._tail.append(rows)
        self._tail_rows += rows.height
        if self._tail_rows == LEAF_ROWS:
            self._leaves.append(_leaf_digest(pl.concat(self._tail, rechunk=False)))
            self._tail, self._tail_rows = [], 0

    def _check_schema(self, frame: pl.DataFrame) -> None:
        schema = schema_of(frame)
        if self._schema is None:
            self._schema = schema
        elif schema != self._schema:
            raise InvalidError("schema", schema, f"the schema of the rows before, `{self._schema}`")


def table_digest(frame: pl.DataFrame) -> TableDigest:
    """The content digest of a frame whose row order is part of its meaning.

    >>> frame = pl.DataFrame({"n": range(10)})
    >>> table_digest(frame).digest == table_digest(pl.concat([frame[:3], frame[3:]])).digest
    True
    """
    hasher = TableHasher()
    hasher.update(frame)
    return hasher.finish()


def unordered_digest(frame: pl.DataFrame) -> TableDigest:
    """The content digest of a frame without an order: that of its rows in canonical order.

    >>> unordered_digest(pl.DataFrame({"n": [2, 1]})) == unordered_digest(pl.DataFrame({"n": [1, 2]}))
    True
    """
    return table_digest(sort_rows(frame))


def sort_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows in an order that only their values decide: by every column in turn, nulls last, categories as text."""
    return frame[sort_order(frame)] if frame.columns and frame.height > 1 else frame


def sort_order(frame: pl.DataFrame) -> pl.Series:
    """The positions of the rows in canonical order."""
    schema_of(frame)
    if not frame.columns:
        return pl.Series(range(frame.height), dtype=pl.UInt32)
    # Categories are compared as text at every depth, so that physical codes never decide.
    keys = [pl.col(name).cast(_with_text(dtype)) for name, dtype in frame.schema.items()]
    return frame.select(pl.arg_sort_by(keys, nulls_last=True)).to_series()


def schema_of(frame: pl.DataFrame) -> tuple[tuple[str, str], ...]:
    """The (name, type) pairs of a frame in column order, in the words that digests use."""
    return tuple((name, type_name(dtype, name)) for name, dtype in frame.schema.items())


def _with_text(dtype: PolarsDataType) -> PolarsDataType:
    if isinstance(dtype, (pl.Categorical, pl.Enum)):
        return pl.String()
    if isinstance(dtype, pl.List):
        return pl.List(_with_text(dtype.inner))
    if isinstance(dtype, pl.Array):
        return pl.Array(_with_text(dtype.inner), dtype.size)
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _with_text(field.dtype) for field in dtype.fields})
    return dtype


def _leaf_digest(rows: pl.DataFrame) -> str:
    hasher = blake3(rows.height.to_bytes(8, "little"))
    for series in rows.get_columns():
        feed_column(series, hasher.update)
    return hasher.hexdigest()

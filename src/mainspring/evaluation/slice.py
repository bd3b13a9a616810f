"""Slices: the parts of a table on which a model is judged by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring.errors import InvalidError, NotFoundError, WrongTypeError, close_names
from mainspring.evaluation.given import count_of, label_of, number_of, several

if TYPE_CHECKING:
    import polars as pl

_ROW = "\0row"


class Slice(msgspec.Struct, frozen=True):
    """By the values of a column (`Slice("carrier")`), or one by a condition (`Slice("winter", where="month in (1, 2)")`).

    `bins` cuts a column of numbers: into so many bins of equal mass, or at the given edges. `by` crosses columns:
    `Slice("route", by=("origin", "dest"))`. Slices with fewer than `at_least` rows are left out: their metrics would be
    noise.
    """

    name: str
    column: str = ""
    where: str = ""
    at_least: int = 1
    bins: int | tuple[float, ...] = 0
    by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given: Any = self.bins
        edges = several("bins", given) if isinstance(given, Iterable) else None
        bins = count_of("bins", given, 0) if edges is None else tuple(number_of("bins", edge) for edge in edges)
        self._set("bins", bins)
        self._set("by", tuple(several("by", self.by, str)))

    def _set(self, name: str, value: object) -> None:
        msgspec.structs.force_setattr(self, name, value)

    def parts(self, frame: pl.DataFrame) -> Iterator[tuple[str, Any]]:
        """Each value's label and the positions of its rows (a NumPy array), in order of the values.

        Raises:
            NotFoundError: the table has no such column.
            InvalidError: the condition can't be applied, or what is to be cut are no numbers.
        """
        for label, rows in self._conditioned(frame) if self.where else self._valued(frame):
            if rows.size >= self.at_least:
                yield label, rows

    def _conditioned(self, frame: pl.DataFrame) -> Iterator[tuple[str, Any]]:
        import polars as pl

        try:
            mask = frame.select(pl.sql_expr(self.where).fill_null(False)).to_series()
            yield "true", mask.arg_true().to_numpy()
        except pl.exceptions.PolarsError as error:
            raise InvalidError(f"slice `{self.name}`", self.where, "a condition on the table", str(error)) from error

    def _valued(self, frame: pl.DataFrame) -> Iterator[tuple[str, Any]]:
        import polars as pl

        columns = self.by or (self.column or self.name,)
        for column in columns:
            if column not in frame.columns:
                raise NotFoundError("column", column, close_names(column, frame.columns))
        table, labels = frame.select(columns), None
        if self.bins:
            table, labels = self._cut(table)
        groups = table.with_columns(pl.int_range(pl.len()).alias(_ROW)).group_by(columns).agg(_ROW)
        for *values, rows in groups.sort(columns, nulls_last=True).iter_rows():
            shown = [label_of(value) if labels is None or value is None else labels[value] for value in values]
            yield ", ".join(shown), _positions(rows)

    def _cut(self, table: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
        """The column as bin numbers, and the label of each bin."""
        import numpy as np
        import polars as pl

        column = table.to_series()
        if table.width != 1 or not column.dtype.is_numeric():
            raise InvalidError(f"slice `{self.name}`", column.dtype, "one column of numbers, to be cut into bins")
        values = column.cast(pl.Float64).fill_nan(None)
        if isinstance(self.bins, int):
            known = values.drop_nulls().to_numpy()
            edges = np.unique(np.quantile(known, np.linspace(0, 1, self.bins + 1)[1:-1])) if known.size else known
        else:
            edges = np.sort(np.asarray(self.bins, np.float64))
        codes = pl.Series(column.name, np.searchsorted(edges, values.fill_null(0).to_numpy(), side="right"), pl.Int64)
        ends = [f"{edge:.6g}" for edge in edges]
        labels = [f"{low} to {high}" for low, high in pairwise(ends)]
        named = [f"below {ends[0]}", *labels, f"from {ends[-1]}"] if ends else ["all"]
        return table.with_columns(pl.when(values.is_not_null()).then(codes).alias(column.name)), named


Slices = str | Slice | Iterable[str | tuple[str, ...] | Slice]


def sliced(slices: Slices, frame: pl.DataFrame | None, rows: int) -> Iterator[tuple[str, str, Any]]:
    """Name, value and row positions of each part; a name stands for its column, a tuple of names for columns crossed.

    Raises:
        InvalidError: there is no table, or it has another number of rows.
        NotFoundError: the table has no such column.
    """
    cuts = [_slice(each) for each in several("slices", slices, str, Slice)]
    if not cuts:
        return
    if frame is None or frame.height != rows:
        given = "no table" if frame is None else f"{frame.height} rows"
        raise InvalidError("frame", given, f"a table of the {rows} rows that were scored")
    for cut in cuts:
        for label, positions in cut.parts(frame):
            yield cut.name, label, positions


def _slice(given: Any) -> Slice:
    if isinstance(given, Slice):
        return given
    if isinstance(given, str):
        return Slice(given)
    if not isinstance(given, tuple | list) or not all(isinstance(name, str) for name in given):
        raise WrongTypeError("slices", given, "the name of a column, a tuple of them, or a `Slice`")
    return Slice(" × ".join(given), by=tuple(given))


def _positions(rows: list[int]) -> Any:
    import numpy as np

    return np.asarray(rows, np.int64)

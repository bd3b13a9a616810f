"""Slices: the parts of a table on which a model is judged by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from mainspring.errors import InvalidError, NotFoundError, close_names

if TYPE_CHECKING:
    import polars as pl


class Slice(msgspec.Struct, frozen=True):
    """By the values of a column (`Slice("carrier")`), or one by a condition (`Slice("winter", where="month in (1, 2)")`).

    Slices with fewer than `at_least` rows are left out: their metrics would be noise.
    """

    name: str
    column: str = ""
    where: str = ""
    at_least: int = 1

    def masks(self, frame: pl.DataFrame) -> Iterator[tuple[str, pl.Series]]:
        """Each value's label and the rows that belong to it, in order of the values.

        Raises:
            NotFoundError: the table has no such column.
            InvalidError: the condition can't be applied.
        """
        import polars as pl

        if self.where:
            try:
                mask = frame.select(pl.sql_expr(self.where).fill_null(False)).to_series()
            except pl.exceptions.PolarsError as error:
                raise InvalidError(
                    f"slice `{self.name}`", self.where, "a condition on the table", str(error)
                ) from error
            masks = [("true", mask)]
        else:
            column = self.column or self.name
            if column not in frame.columns:
                raise NotFoundError("column", column, close_names(column, frame.columns))
            series = frame.get_column(column)
            values = series.unique().sort(nulls_last=True).to_list()
            masks = [(_label(value), series.eq_missing(value)) for value in values]
        for label, mask in masks:
            if int(mask.sum()) >= self.at_least:
                yield label, mask


def _label(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "null" if value is None else str(value)

"""The table that a model is asked about: rows of it, or one column changed, in the library that it came in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl


def table_of(frame: Any) -> pl.DataFrame | None:
    """Any table as Polars, in which slices and groups are found; None if none is given. A pandas index is left out.

    Raises:
        WrongTypeError, InvalidError: as `mainspring.data.as_polars` does.
    """
    from mainspring.data import as_polars

    return None if frame is None else as_polars(frame, drop_index=True)


class Inputs:
    """A table of Polars, pandas or Arrow, whose parts and changes are tables of the same library."""

    def __init__(self, frame: Any) -> None:
        from mainspring.data import as_polars

        self.table = as_polars(frame, drop_index=True)
        self.whole = frame
        self._origin = type(frame).__module__.partition(".")[0]

    def rows(self, positions: list[int]) -> Any:
        """The rows at these positions."""
        return self.whole.iloc[positions] if self._origin == "pandas" else self._back(self.table[positions])

    def shuffled(self, name: str, positions: Any) -> Any:
        """One column with its values taken from these positions."""
        if self._origin == "pandas":
            return self._with(name, lambda column: column.iloc[positions].array)
        return self._back(self.table.with_columns(self.table.get_column(name).gather(positions)))

    def without(self, name: str) -> Any:
        """One column missing in all rows."""
        import polars as pl

        if self._origin == "pandas":
            return self._with(name, lambda column: column.where([False] * len(column)))
        return self._back(self.table.with_columns(pl.lit(None, self.table.schema[name]).alias(name)))

    def _back(self, table: pl.DataFrame) -> Any:
        return table.to_arrow() if self._origin == "pyarrow" else table

    def _with(self, name: str, change: Any) -> Any:
        """A change that keeps pandas's own types, as a way over Polars would not."""
        known = self.whole.columns[self.table.columns.index(name)]
        changed = self.whole.copy(deep=False)
        changed[known] = change(changed[known])
        return changed

"""Rules that look at all rows at once: they read the columns that decide, and cut the table by the numbers made of them."""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring.data.splits.rule import require_columns
from mainspring.errors import InvalidError, counted, listed

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Numbers = np.ndarray[Any, Any]

_log = logging.getLogger(__name__)


class TableRule(msgspec.Struct, frozen=True):
    """What rules have in common that look at all rows at once, of which they need some columns only."""

    def apply(self, frame: Any) -> dict[str, pl.DataFrame]:
        """Cut a table into its parts, by name.

        Raises:
            NotFoundError: the table lacks a column that the rule names.
            InvalidError: a row has no key, there are fewer rows than parts, or the rows don't fit the rule.
        """
        from mainspring.data.splits.parts import cut, table_with

        table = table_with(frame, self._columns())
        return cut(table, self._placed(self._deciding(table.lazy())), self.names)

    def apply_lazily(self, frame: pl.LazyFrame) -> dict[str, pl.LazyFrame]:
        """The parts as lazy frames; the columns that decide are read here. Raises as `apply` does."""
        from mainspring.data.splits.parts import cut_lazily

        require_columns(frame.collect_schema(), self._columns())
        return cut_lazily(frame, self._placed(self._deciding(frame)), self.names)

    def _placed(self, table: pl.DataFrame) -> Numbers:
        """The number of each row's part; none is left empty in silence, unless the table is."""
        import numpy as np

        numbers = self._numbers(table)
        if 0 < table.height < len(self.names):
            raise InvalidError("rows", counted(table.height, "row"), f"a row for each of {len(self.names)} parts")
        counts = np.bincount(numbers, minlength=len(self.names))
        if table.height and (empty := [name for name, count in zip(self.names, counts, strict=True) if not count]):
            _log.warning("of %s none fell to %s", counted(table.height, "row"), listed(empty))
        return numbers

    def _deciding(self, frame: pl.LazyFrame) -> pl.DataFrame:
        """The columns that decide, or without any as many rows as the table has."""
        import polars as pl

        if columns := self._columns():
            return frame.select(columns).collect(engine="streaming")
        return pl.DataFrame(height=frame.select(pl.len()).collect(engine="streaming").item())

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The parts, in order."""

    @abstractmethod
    def _columns(self) -> tuple[str, ...]:
        """The columns that decide."""

    @abstractmethod
    def _numbers(self, table: pl.DataFrame) -> Numbers:
        """The number of each row's part, of a table of these columns."""

"""Splits of a table by time: what comes later is never trained on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring.errors import InvalidError, NotFoundError, close_names

if TYPE_CHECKING:
    import polars as pl

_NAMES = {1: ("train", "test"), 2: ("train", "validation", "test")}
Instant = int | float | str | date | datetime


class TimeSplit(msgspec.Struct, frozen=True):
    """A rule that cuts a table at instants of a column: `names[i]` is what comes before `at[i]`, the last the rest.

    A row exactly at a cut belongs to the later part. Rows keep their order.
    """

    column: str
    at: tuple[Instant, ...]
    names: tuple[str, ...]

    def apply(self, frame: Any) -> dict[str, pl.DataFrame]:
        """Cut a table into its parts, by name, earliest first.

        Raises:
            NotFoundError: the table has no such column.
            InvalidError: a row has no time, or the cuts don't compare with the column.
        """
        import polars as pl

        from mainspring.data.tables.frames import as_polars

        table = as_polars(frame)
        if self.column not in table.columns:
            raise NotFoundError("column", self.column, close_names(self.column, table.columns))
        times = table.get_column(self.column)
        if times.null_count():
            raise InvalidError(
                self.column, f"{times.null_count():,} nulls", "a time in every row", "Drop these rows first."
            )
        try:
            cuts = pl.Series(self.at, dtype=None).cast(times.dtype, strict=True)
            bucket = sum(
                (times >= cut for cut in cuts), start=pl.Series([0], dtype=pl.UInt32).new_from_index(0, table.height)
            )
        except (pl.exceptions.PolarsError, TypeError) as error:
            raise InvalidError("at", self.at, f"times that compare with `{times.dtype}`") from error
        return {name: table.filter(bucket == number) for number, name in enumerate(self.names)}


def split_by_time(
    frame: Any, column: str, *, at: Instant | Sequence[Instant], names: Sequence[str] = ()
) -> dict[str, pl.DataFrame]:
    """Cut a table at instants: one gives `train` and `test`, two give `train`, `validation` and `test`.

    Raises:
        InvalidError: the cuts don't ascend, names don't fit them, or a row has no time.

    >>> import polars as pl
    >>> parts = split_by_time(pl.DataFrame({"month": [1, 9, 10, 12]}), "month", at=10)
    >>> {name: part.height for name, part in parts.items()}
    {'train': 2, 'test': 2}
    """
    return time_split(column, at=at, names=names).apply(frame)


def time_split(column: str, *, at: Instant | Sequence[Instant], names: Sequence[str] = ()) -> TimeSplit:
    """The rule alone, checked."""
    cuts = (at,) if isinstance(at, int | float | str | date) else tuple(at)
    named = tuple(names) or _NAMES.get(len(cuts)) or tuple(f"part_{number}" for number in range(len(cuts) + 1))
    if not cuts or list(cuts) != sorted(set(cuts)):
        raise InvalidError("at", cuts, "one or more ascending instants")
    if len(named) != len(cuts) + 1 or len(set(named)) != len(named):
        raise InvalidError("names", named, f"{len(cuts) + 1} different names")
    return TimeSplit(column, cuts, named)

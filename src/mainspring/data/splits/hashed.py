"""Splits by a hash of a key: a row's part depends on its key alone, so it stays when rows are appended or removed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mainspring.data.splits.rule import SharedRule, require_columns

if TYPE_CHECKING:
    import polars as pl


class HashSplit(SharedRule, frozen=True, tag="hash"):
    """Rows by a hash of their key. Rows of one key lie in one part; shares are met on average, over keys.

    The hash is that of `splits.keys`: the same in every process, release and platform; equal values hash alike in every
    integer width and time unit. Another `salt` gives a split that is independent of this one.

    >>> import polars as pl
    >>> rule = HashSplit("user", {"train": 0.75, "test": 0.25})
    >>> {name: part.height for name, part in rule.apply(pl.DataFrame({"user": range(1000)})).items()}
    {'train': 730, 'test': 270}
    """

    salt: str = ""

    def apply(self, frame: Any) -> dict[str, pl.DataFrame]:
        """Cut a table into its parts, by name.

        Raises:
            NotFoundError: the table lacks a column of the key.
            InvalidError: a row has no key, or a column's type makes none.
        """
        parts = _parts()
        table = parts.table_with(frame, self.key)
        numbers = parts.by_hash(table.select(self.key).get_columns(), self.salt, self.shares)
        found: dict[str, pl.DataFrame] = parts.cut(table, numbers, self.names)
        return found

    def expression(self, schema: Mapping[str, pl.DataType]) -> pl.Expr:
        """The number of a row's part, row by row; raises `NotFoundError`."""
        require_columns(schema, self.key)
        expression: pl.Expr = _parts().hashed_expression(self.key, self.salt, self.shares)
        return expression

    def apply_lazily(self, frame: pl.LazyFrame) -> dict[str, pl.LazyFrame]:
        """The parts as lazy frames; the key is looked through once here, for rows without one. Raises as `apply` does."""
        number = self.expression(frame.collect_schema())
        _parts().expect_keys(frame.select(self.key))
        return {name: frame.filter(number == place) for place, name in enumerate(self.names)}


def _parts() -> Any:
    return import_module("mainspring.data.splits.parts")

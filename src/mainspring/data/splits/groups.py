"""Splits that keep something whole or even: groups that never cross, strata that every part has in the same shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from mainspring.data.splits.rule import TRAIN_TEST, Key, SharedRule, Shares, key_columns, share_pairs

if TYPE_CHECKING:
    import polars as pl


class GroupSplit(SharedRule, frozen=True, tag="group"):
    """Whole groups to parts, so that the shares of **rows** are met as nearly as groups allow and no part is empty.

    Groups are taken in the order of their hash. Appended rows can move groups near a border; `HashSplit` by the same key
    never moves one, but meets the shares only if no group is large.

    >>> import polars as pl
    >>> visits = pl.DataFrame({"patient": [1, 1, 1, 2, 2, 3, 4, 4, 5, 5]})
    >>> {name: sorted(set(part["patient"])) for name, part in GroupSplit("patient").apply(visits).items()}
    {'train': [2, 3, 4, 5], 'test': [1]}
    """

    seed: int = 0

    def apply(self, frame: Any) -> dict[str, pl.DataFrame]:
        """Cut a table into its parts, by name.

        Raises:
            NotFoundError: the table lacks a column of the key.
            InvalidError: a row has no group, or there are fewer groups than parts.
        """
        from mainspring.data.splits import parts

        columns, pairs = key_columns(self.key), share_pairs(self.shares)
        table = parts.table_with(frame, columns)
        return parts.cut(
            table, parts.by_group(table.select(columns).get_columns(), self.seed, pairs), tuple(dict(pairs))
        )


class StratifiedSplit(msgspec.Struct, frozen=True, tag="strata"):
    """Every stratum (rows that agree in the columns `by`) is cut by the same shares, each part rounded up or down.

    Null is a stratum like any other. With a `key` of single rows, a row's place is decided by the key's hash, so that few
    rows move when others are appended; without, by the row's position.

    >>> import polars as pl
    >>> parts = StratifiedSplit("late").apply(pl.DataFrame({"late": [True] * 10 + [False] * 90}))
    >>> {name: (part.height, part["late"].sum()) for name, part in parts.items()}
    {'train': (80, 8), 'test': (20, 2)}
    """

    by: Key
    shares: Shares = TRAIN_TEST
    key: Key = ()
    seed: int = 0

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "by", key_columns(self.by))
        msgspec.structs.force_setattr(self, "shares", share_pairs(self.shares))
        msgspec.structs.force_setattr(self, "key", key_columns(self.key, needed=False))

    @property
    def names(self) -> tuple[str, ...]:
        """The parts, in order."""
        return tuple(dict(self.shares))

    def apply(self, frame: Any) -> dict[str, pl.DataFrame]:
        """Cut a table into its parts, by name.

        Raises:
            NotFoundError: the table lacks a column.
            InvalidError: a row has no key, or two rows have one key.
        """
        from mainspring.data.splits import parts

        by, key, pairs = key_columns(self.by), key_columns(self.key, needed=False), share_pairs(self.shares)
        table = parts.table_with(frame, [*by, *key])
        return parts.cut(table, parts.by_stratum(table, by, key, self.seed, pairs), self.names)

"""Splits that keep something whole or even: groups that never cross, strata that every part has in the same shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mainspring.data.splits.deciding import TableRule
from mainspring.data.splits.rule import TRAIN_TEST, Key, SharedRule, Shares, key_columns, share_pairs

if TYPE_CHECKING:
    import polars as pl

    from mainspring.data.splits.deciding import Numbers


class GroupSplit(SharedRule, TableRule, frozen=True, tag="group"):
    """Whole groups to parts, so that the shares of **rows** are met as nearly as groups allow and no part is empty.

    Groups are taken in the order of their hash. Appended rows can move groups near a border; `HashSplit` by the same key
    never moves one, but meets the shares only if no group is large.

    >>> import polars as pl
    >>> visits = pl.DataFrame({"patient": [1, 1, 1, 2, 2, 3, 4, 4, 5, 5]})
    >>> {name: sorted(set(part["patient"])) for name, part in GroupSplit("patient").apply(visits).items()}
    {'train': [2, 3, 4, 5], 'test': [1]}
    """

    seed: int = 0

    def _columns(self) -> tuple[str, ...]:
        return key_columns(self.key)

    def _numbers(self, table: pl.DataFrame) -> Numbers:
        from mainspring.data.splits.parts import by_group

        return by_group(table.get_columns(), self.seed, share_pairs(self.shares))


class StratifiedSplit(TableRule, frozen=True, tag="strata"):
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

    def _columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*key_columns(self.by), *key_columns(self.key, needed=False))))

    def _numbers(self, table: pl.DataFrame) -> Numbers:
        from mainspring.data.splits.parts import by_stratum

        by, key = key_columns(self.by), key_columns(self.key, needed=False)
        return by_stratum(table, by, key, self.seed, share_pairs(self.shares))

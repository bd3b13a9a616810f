"""Folds for cross-validation: by position, key, group or stratum, and along time without a look ahead."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from mainspring.data.splits.deciding import TableRule
from mainspring.data.splits.rule import Key, key_columns
from mainspring.errors import InvalidError, WrongTypeError, counted

if TYPE_CHECKING:
    import polars as pl

    from mainspring.data.splits.deciding import Numbers

Span = int | float | timedelta


class Fold(NamedTuple):
    """One fold's rows to train on and to test on; `number` counts from 1."""

    number: int
    train: pl.DataFrame
    test: pl.DataFrame


class KFold(TableRule, frozen=True, tag="k-fold"):
    """Rows in `folds` parts, `fold_1` and so on; each is the test part of one fold, and the others train.

    Without a `key` rows are shuffled by position, and sizes differ by at most one. With one, a row's part depends on its
    key alone, as in `HashSplit`: it stays when rows are appended, rows of one key stay together, and sizes vary.

    >>> import polars as pl
    >>> [(fold.train.height, fold.test.height) for fold in KFold(3).pairs(pl.DataFrame({"n": range(10)}))]
    [(7, 3), (6, 4), (7, 3)]
    """

    folds: int = 5
    key: Key = ()
    seed: int = 0

    def __post_init__(self) -> None:
        require_folds(self.folds, 2)
        msgspec.structs.force_setattr(self, "key", key_columns(self.key, needed=False))

    @property
    def names(self) -> tuple[str, ...]:
        """The parts, in order."""
        return tuple(f"fold_{number + 1}" for number in range(self.folds))

    def pairs(self, frame: Any) -> Iterator[Fold]:
        """The folds, in order; rows keep their order.

        Raises:
            NotFoundError: the table lacks a column.
            InvalidError: a row has no key, or there are fewer rows or groups than folds.
        """
        import polars as pl

        from mainspring.data.splits.parts import table_with

        table = table_with(frame, self._columns())
        number = pl.Series(self._placed(self._deciding(table.lazy())))
        for place in range(self.folds):
            yield Fold(place + 1, table.filter(number != place), table.filter(number == place))

    def _columns(self) -> tuple[str, ...]:
        return key_columns(self.key, needed=False)

    def _numbers(self, table: pl.DataFrame) -> Numbers:
        from mainspring.data.splits.parts import by_hash, by_position, equal_shares

        shares = equal_shares(self.folds)
        if not self.key:
            return by_position(table.height, self.seed, shares)
        return by_hash(table.get_columns(), f"folds {self.seed}", shares)


class GroupKFold(KFold, frozen=True, tag="group-k-fold"):
    """Folds of whole groups (rows of one `key`) with as even row counts as groups allow."""

    def __post_init__(self) -> None:
        KFold.__post_init__(self)
        msgspec.structs.force_setattr(self, "key", key_columns(self.key))

    def _numbers(self, table: pl.DataFrame) -> Numbers:
        from mainspring.data.splits.parts import by_group, equal_shares

        return by_group(table.get_columns(), self.seed, equal_shares(self.folds))


class StratifiedKFold(KFold, frozen=True, tag="stratified-k-fold", kw_only=True):
    """Folds that all have a stratum's rows (those that agree in the columns `by`) in equal numbers, up to one.

    A `key`, if given, is that of single rows and decides their places, as in `StratifiedSplit`.
    """

    by: Key

    def __post_init__(self) -> None:
        KFold.__post_init__(self)
        msgspec.structs.force_setattr(self, "by", key_columns(self.by))

    def _columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*key_columns(self.by), *key_columns(self.key, needed=False))))

    def _numbers(self, table: pl.DataFrame) -> Numbers:
        from mainspring.data.splits.parts import by_stratum, equal_shares

        key = key_columns(self.key, needed=False)
        return by_stratum(table, key_columns(self.by), key, self.seed, equal_shares(self.folds))


class TimeSeriesFolds(msgspec.Struct, frozen=True, tag="time-series", kw_only=True):
    """Folds along time: each is tested on the span after a border, and trained on what lies at least `gap` before it.

    Test spans follow one another and the last ends with the newest row. Each is `test` long; without, rows are cut at
    `folds` borders into blocks of about equal size, and rows of one time are never parted. Training reaches back to
    the oldest row, or `train` far (rolling). Spans are `timedelta`s for dates and times, and numbers for numbers.

    >>> import polars as pl
    >>> months = pl.DataFrame({"month": range(1, 13)})
    >>> for fold in TimeSeriesFolds(column="month", folds=2, test=3, gap=1).pairs(months):
    ...     print(fold.train["month"].max(), fold.test["month"].to_list())
    5 [7, 8, 9]
    8 [10, 11, 12]
    """

    column: str
    folds: int = 5
    test: Span | None = None
    gap: Span | None = None
    train: Span | None = None

    def __post_init__(self) -> None:
        require_folds(self.folds, 1)
        for name, span, least in (("test", self.test, False), ("train", self.train, False), ("gap", self.gap, True)):
            if span is None:
                continue
            if isinstance(span, bool) or not isinstance(span, int | float | timedelta):
                raise WrongTypeError(name, span, "a timedelta or a number", "e.g. timedelta(days=30)")
            zero = timedelta() if isinstance(span, timedelta) else 0
            if not (span > zero or (least and span == zero)):  # type: ignore[operator]  # the zero is of the span's kind
                raise InvalidError(name, span, "a span above 0" if not least else "a span of 0 or more")

    def pairs(self, frame: Any) -> Iterator[Fold]:
        """The folds, earliest first; rows keep their order.

        Raises:
            NotFoundError: the table has no such column.
            InvalidError: a row has no time, a span is none of the column's kind, or a fold would be without rows.
        """
        from mainspring.data.splits.parts import table_with
        from mainspring.data.splits.spans import time_folds

        table = table_with(frame, [self.column])
        spans = (self.test, self.gap, self.train)
        for number, (train, test) in enumerate(time_folds(table.get_column(self.column), self.folds, *spans), 1):
            yield Fold(number, table.filter(train), table.filter(test))


def require_folds(folds: object, least: int) -> None:
    """Go on only if it is a whole number of at least so many folds."""
    if not isinstance(folds, int) or isinstance(folds, bool):
        raise WrongTypeError("folds", folds, "a whole number")
    if folds < least:
        raise InvalidError("folds", folds, f"{counted(least, 'fold')} or more")

"""What a rule of splitting is, and how its keys and shares are given. Rows keep their order in each part.

Rules compare and are stored as records; a key is kept as a tuple of columns and shares as pairs, however they are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from mainspring.errors import InvalidError, NotFoundError, WrongTypeError, close_names

if TYPE_CHECKING:
    import polars as pl

Key = str | tuple[str, ...]
Shares = Mapping[str, float] | tuple[tuple[str, float], ...]
TRAIN_TEST: Shares = (("train", 0.8), ("test", 0.2))
_CLOSE = 1e-9


class SplitRule(Protocol):
    """Puts every row of a table into exactly one of some named parts."""

    @property
    def names(self) -> tuple[str, ...]:
        """The parts, in order."""
        ...

    def apply(self, frame: Any) -> dict[str, pl.DataFrame]:
        """Cut a table into its parts, by name; each keeps the order of its rows, and may be empty.

        Raises:
            NotFoundError: the table lacks a column that the rule names.
            InvalidError: a row can't be put into any part.
        """
        ...

    def apply_lazily(self, frame: pl.LazyFrame) -> dict[str, pl.LazyFrame]:
        """The parts as lazy frames, for tables larger than memory: at most the columns that decide are read whole.

        Raises as `apply` does, now or when a part is collected.
        """
        ...


class RowRule(SplitRule, Protocol):
    """A rule that looks at one row at a time."""

    def expression(self, schema: Mapping[str, pl.DataType]) -> pl.Expr:
        """The number of a row's part, as a Polars expression over a table of this schema."""
        ...


class SharedRule(msgspec.Struct, frozen=True):
    """What rules with shares have in common: `key` and `shares` are checked and kept in one form."""

    key: Key
    shares: Shares = TRAIN_TEST

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "key", key_columns(self.key))
        msgspec.structs.force_setattr(self, "shares", share_pairs(self.shares))

    @property
    def names(self) -> tuple[str, ...]:
        """The parts, in order."""
        return tuple(dict(self.shares))


def key_columns(key: Any, *, needed: bool = True) -> tuple[str, ...]:
    """A key's columns; raises `InvalidError` if there is none, or one stands twice."""
    columns = (key,) if isinstance(key, str) else tuple(key)
    if any(not isinstance(column, str) for column in columns):
        raise WrongTypeError("key", key, "the name of a column, or several")
    if len(set(columns)) != len(columns) or not all(columns) or (needed and not columns):
        raise InvalidError("key", key, "the name of a column, or several different ones")
    return columns


def share_pairs(shares: Any) -> tuple[tuple[str, float], ...]:
    """Shares as pairs of name and share, in order; raises `InvalidError` unless they are above 0 and their sum is 1."""
    try:
        pairs = tuple((str(name), float(share)) for name, share in dict(shares).items())
    except (TypeError, ValueError) as error:
        raise WrongTypeError("shares", shares, "the share of each part, e.g. {'train': 0.8, 'test': 0.2}") from error
    total = sum(share for _, share in pairs)
    if len(pairs) < len(tuple(shares)) or not all(name and share > 0 for name, share in pairs):
        raise InvalidError("shares", shares, "a share above 0 for each of several different names")
    if not abs(total - 1) <= _CLOSE:
        raise InvalidError("shares", shares, "shares whose sum is 1", f"It is {total:g}.")
    return pairs


def running(shares: Sequence[tuple[str, float]]) -> list[Fraction]:
    """The exact sums of the first one, two, … shares, without the last, which takes the rest."""
    sums, total = [], Fraction(0)
    for _, share in shares[:-1]:
        total += Fraction(share)
        sums.append(min(total, Fraction(1)))
    return sums


def require_columns(known: Iterable[str], columns: Iterable[str]) -> None:
    """Go on only if all columns are there; raises `NotFoundError`, which names the nearest."""
    names = list(known)
    for column in columns:
        if column not in names:
            raise NotFoundError("column", column, close_names(column, names))

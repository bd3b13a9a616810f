"""What is declared: an aggregate of a column over time windows. `agg` makes them.

The answer at an instant t is over the events with time in [floor((t − window) / hop) × hop, t] that were known by t:
a sliding head and a hopping tail. Rules of each kind stand with its constructor; docs/features.md says them for users.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Literal, get_args

import msgspec

from mainspring.errors import InvalidError, WrongTypeError, close_names
from mainspring.features.aggregation.duration import duration_text, parse_duration

Kind = Literal["count", "sum", "mean", "min", "max", "std", "distinct", "last", "top_k"]
Windows = str | timedelta | Sequence[str | timedelta]
KINDS: tuple[Kind, ...] = get_args(Kind)
_MINUTE_US, _HOUR_US, _DAY_US = 60_000_000, 3_600_000_000, 86_400_000_000
_MOST_LISTED = 10_000


class Aggregate(msgspec.Struct, frozen=True, omit_defaults=True):
    """An aggregate as it is declared and stored: one feature for each window.

    An empty column counts rows. `hop_us` is 0 where each window has the default one. `k` is 0 where the result is a
    value and not a list.

    Raises:
        InvalidError: a window is no multiple of its hop, or something is declared that the kind doesn't have.
    """

    kind: Kind
    column: str
    windows_us: tuple[int, ...]
    hop_us: int = 0
    k: int = 0
    by: Literal["count", "value"] = "count"
    skip_nulls: bool = True
    name: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            near = close_names(str(self.kind), KINDS)
            raise InvalidError("kind", self.kind, f"one of {', '.join(KINDS)}", f"Nearest: {near[0]}." if near else "")
        if not self.windows_us or len(set(self.windows_us)) < len(self.windows_us):
            raise InvalidError("window", self.windows_us, "one window or several different ones")
        if not self.column and self.kind != "count":
            raise InvalidError("column", self.column, "the name of a column")
        least = 1 if self.kind == "top_k" else 0
        if not least <= self.k <= (_MOST_LISTED if self.kind in ("last", "top_k") else 0):
            raise InvalidError("k", self.k, f"a number of values that `{self.kind}` lists")
        for window_us in self.windows_us:
            hop_us = self.hop_us or default_hop_us(window_us)
            if min(window_us, hop_us) <= 0 or window_us % hop_us:
                hop, window = (duration_text(max(us, 1)) for us in (hop_us, window_us))
                raise InvalidError(
                    "window", window, f"a multiple of its hop of {hop}", "Declare a hop that divides it: hop=…"
                )

    def named(self, name: str) -> Aggregate:
        """The same under another name, before the window's length if there are several windows."""
        if not name:
            raise InvalidError("name", name, "a name")
        return msgspec.structs.replace(self, name=name)

    def features(self) -> Iterator[WindowedAggregate]:
        """One for each window, in order."""
        parts = [self.name] if self.name else [self.column, self.kind] if self.column else [self.kind]
        for window_us in self.windows_us:
            ends = [] if self.name and len(self.windows_us) == 1 else [duration_text(window_us)]
            hop_us = self.hop_us or default_hop_us(window_us)
            yield WindowedAggregate("_".join([*parts, *ends]), self, window_us, hop_us)


class WindowedAggregate(msgspec.Struct, frozen=True):
    """One feature: an aggregate over one window."""

    name: str
    aggregate: Aggregate
    window_us: int
    hop_us: int


def default_hop_us(window_us: int) -> int:
    """The length of tiles for a window: 5 minutes below 12 hours, an hour below 12 days, else a day."""
    if window_us < 12 * _HOUR_US:
        return 5 * _MINUTE_US
    return _HOUR_US if window_us < 12 * _DAY_US else _DAY_US


class agg:  # noqa: N801  # a namespace: users write `agg.mean(...)`
    """Constructors of aggregates over `windows` (`"6h"`, or several at once `["1h", "6h", "7d"]`).

    `hop` is the length of the tiles by which a window's tail moves; each window must be a multiple of it. Nulls are
    skipped. Events whose entity, time and id are equal count once.
    """

    @staticmethod
    def count(column: str | None = None, windows: Windows = (), *, hop: str | timedelta | None = None) -> Aggregate:
        """How many values that aren't null; without a column (`agg.count(windows="1h")`), how many events. 0 for none."""
        return _made("count", column or "", windows, hop)

    @staticmethod
    def sum(column: str, windows: Windows, *, hop: str | timedelta | None = None) -> Aggregate:
        """The sum; null for no values. Integers, durations and decimals are exact, and an error beyond 64 bits."""
        return _made("sum", column, windows, hop)

    @staticmethod
    def mean(column: str, windows: Windows, *, hop: str | timedelta | None = None) -> Aggregate:
        """The sum of the values as floats over their count; null for no values. NaN gives NaN."""
        return _made("mean", column, windows, hop)

    @staticmethod
    def min(column: str, windows: Windows, *, hop: str | timedelta | None = None) -> Aggregate:
        """The least value; null for no values. NaN only if all are."""
        return _made("min", column, windows, hop)

    @staticmethod
    def max(column: str, windows: Windows, *, hop: str | timedelta | None = None) -> Aggregate:
        """The greatest value; null for no values. NaN only if all are."""
        return _made("max", column, windows, hop)

    @staticmethod
    def std(column: str, windows: Windows, *, hop: str | timedelta | None = None) -> Aggregate:
        """The sample standard deviation (over n − 1); null below two values. NaN gives NaN."""
        return _made("std", column, windows, hop)

    @staticmethod
    def distinct(column: str, windows: Windows, *, hop: str | timedelta | None = None) -> Aggregate:
        """How many different values, exactly; 0 for none. NaN is one value."""
        return _made("distinct", column, windows, hop)

    @staticmethod
    def last(
        column: str,
        windows: Windows,
        *,
        n: int | None = None,
        skip_nulls: bool = True,
        hop: str | timedelta | None = None,
    ) -> Aggregate:
        """The value of the newest event by time, then id; with `n` the list of the newest n, newest first.

        Without values it is null, or an empty list. `skip_nulls=False` lets a null be the newest value.
        """
        if n is not None and n < 1:
            raise InvalidError("n", n, "a number of values")
        return msgspec.structs.replace(_made("last", column, windows, hop, k=n or 0), skip_nulls=skip_nulls)

    @staticmethod
    def top_k(
        column: str,
        windows: Windows,
        *,
        k: int,
        by: Literal["count", "value"] = "count",
        hop: str | timedelta | None = None,
    ) -> Aggregate:
        """The list of the k most frequent values, ties by value (NaN last); by `value`, the k largest, repeats counted.

        Without values it is empty. NaN is none of the largest.
        """
        if by not in ("count", "value"):
            raise InvalidError("by", by, "`count` or `value`")
        return msgspec.structs.replace(_made("top_k", column, windows, hop, k=k), by=by)


def _made(kind: Kind, column: str, windows: Windows, hop: str | timedelta | None, k: int = 0) -> Aggregate:
    if not isinstance(column, str):
        raise WrongTypeError("column", column, "the name of a column")
    several = [windows] if isinstance(windows, str | timedelta) else list(windows)
    windows_us = tuple(parse_duration(window, "window") for window in several)
    return Aggregate(kind, column, windows_us, parse_duration(hop, "hop") if hop is not None else 0, k)

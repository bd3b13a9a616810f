"""Domain time: the one place that asks what time it is, so that real code can be rehearsed in simulated time.

Leases and sockets keep real time; everything that is recorded takes its time from here. Times are aware UTC datetimes in
the API and integer microseconds since 1970 in the database.
"""

from __future__ import annotations

import re
import time
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
FIRST_US = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _US
LAST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _US
"""The first and the last microsecond that a datetime can show: those of the years 1 and 9999."""
SHOWN = "microseconds since 1970, in the years 1 to 9999"
_WEEKS = re.compile(r"([+-]?)P(\d+(?:[.,]\d+)?)W", re.IGNORECASE | re.ASCII)


class Clock(Protocol):
    """Where domain time comes from."""

    def now_us(self) -> int:
        """Microseconds since 1970, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        """Microseconds since 1970, UTC."""
        return time.time_ns() // 1_000


_SYSTEM = SystemClock()
clock: ContextVar[Clock] = ContextVar("clock", default=_SYSTEM)


def now_us() -> int:
    """Microseconds since 1970 by the clock in force here."""
    own = clock.get()
    return time.time_ns() // 1_000 if own is _SYSTEM else own.now_us()  # a call less, several times a prediction


def now() -> datetime:
    """The present by the clock in force here, as an aware UTC datetime."""
    return from_us(now_us())


def from_us(at_us: int) -> datetime:
    """The aware UTC datetime of a stored time.

    >>> from_us(1_000_000).isoformat()
    '1970-01-01T00:00:01+00:00'
    """
    return _EPOCH + timedelta(microseconds=at_us)


def to_us(at: datetime) -> int:
    """The stored form of an aware datetime.

    Raises:
        ValueError: `at` has no time zone, so that its instant is unknown.

    >>> to_us(from_us(1_700_000_000_123_456))
    1700000000123456
    """
    if at.tzinfo is None:
        raise ValueError(f"the time `{at.isoformat()}` has no time zone; give an aware datetime, e.g. with tzinfo=UTC")
    return (at - _EPOCH) // _US


def duration_of(text: str) -> timedelta:
    """A duration as ISO 8601 spells it: weeks, or days and a time.

    Raises:
        ValueError: it is none, or has years or months, whose length can't be told.

    >>> duration_of("P1W") == duration_of("P7D") == duration_of("PT168H")
    True
    """
    weeks = _WEEKS.fullmatch(text)
    if weeks:
        sign, count = weeks.groups()
        try:
            return timedelta(weeks=float(f"{sign}{count.replace(',', '.')}"))
        except OverflowError as error:
            raise ValueError(f"the duration `{text}` is too long") from error
    return msgspec.convert(text, timedelta, strict=True)

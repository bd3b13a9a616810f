"""Ids of predictions: the time, who wrote them, and a number, so that one is found without an index.

32 hexadecimal digits: 14 of microseconds since 1970, 8 of the writer, 10 of its count. The rows of a request have successive
ids, and those of one writer strictly increase, also as texts.
"""

from __future__ import annotations

import os
import re

from mainspring.errors import InvalidError

_TIME, _WRITER = 14, 22
_FORM = re.compile(r"[0-9a-f]{32}")
WRITER_DIGITS = _WRITER - _TIME


class PredictionIds:
    """The ids of one writer, for one thread at a time.

    >>> ids = PredictionIds("00c0ffee")
    >>> ids.take(2, 1_000_000)
    '000000000f424000c0ffee0000000000'
    >>> ids.take(1, 999_999)
    '000000000f424000c0ffee0000000002'
    """

    def __init__(self, writer: str = "") -> None:
        self.writer = writer or os.urandom(WRITER_DIGITS // 2).hex()
        self._next = 0
        self._last_us = 0
        self._own = ""

    def take(self, rows: int, at_us: int) -> str:
        """The first of so many ids; a clock that went back is waited for."""
        if at_us > self._last_us or not self._own:
            self._last_us = at_us = max(at_us, self._last_us)
            self._own = f"{at_us:014x}{self.writer}"
        first, self._next = self._next, self._next + rows
        return f"{self._own}{first:010x}"


def ids_from(first: str, rows: int) -> list[str]:
    """The ids of so many rows.

    >>> ids_from("000000000f424000c0ffee00000000ff", 2)
    ['000000000f424000c0ffee00000000ff', '000000000f424000c0ffee0000000100']
    """
    if rows == 1:
        return [first]
    start, own = int(first[_WRITER:], 16), first[:_WRITER]
    return [f"{own}{number:010x}" for number in range(start, start + rows)]


def id_at(first: str, place: int) -> str:
    """The id so many rows behind another."""
    return f"{first[:_WRITER]}{int(first[_WRITER:], 16) + place:010x}"


def place_from(first: str, given_id: str) -> int:
    """How many rows one id is behind another of the same request."""
    return int(given_id[_WRITER:], 16) - int(first[_WRITER:], 16)


def writer_of(given_id: str) -> str:
    """Who wrote it.

    Raises:
        InvalidError: it is no id.
    """
    if _FORM.fullmatch(given_id) is None:
        raise InvalidError("prediction", given_id, "an id of 32 hexadecimal digits, as it was answered with")
    return given_id[_TIME:_WRITER]


def time_of(given_id: str) -> int:
    """When it was given, in microseconds since 1970.

    >>> time_of("000000000f424000c0ffee0000000000")
    1000000
    """
    return int(given_id[:_TIME], 16)

"""Lengths of time as people write them: `90m`, `6h`, `7d`; inside they are microseconds."""

from __future__ import annotations

import re
from datetime import timedelta

from mainspring.errors import InvalidError, WrongTypeError

_UNITS_US = {
    "w": 604_800_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_LONGEST_US = 2**62
_EXAMPLES = "a length of time, e.g. `90s`, `30m`, `6h`, `7d`, `2w` or timedelta(hours=6)"


def parse_duration(length: str | timedelta, path: str) -> int:
    """A length of time in microseconds: a whole number and one unit of `us ms s m h d w`, or a timedelta; above zero.

    `path` is what an error calls it.

    Raises:
        InvalidError: the text is none, or nothing is left of it.
        WrongTypeError: it is neither text nor a timedelta.

    >>> parse_duration("90m", "window"), parse_duration(timedelta(hours=6), "window")
    (5400000000, 21600000000)
    """
    if isinstance(length, timedelta):
        length_us = length // timedelta(microseconds=1)
    elif isinstance(length, str):
        match = re.fullmatch(r"([0-9]{1,18})(us|ms|[smhdw])", length)
        length_us = int(match[1]) * _UNITS_US[match[2]] if match else 0
    else:
        raise WrongTypeError(path, length, _EXAMPLES)
    if not 0 < length_us < _LONGEST_US:
        raise InvalidError(path, length, _EXAMPLES)
    return length_us


def duration_text(length_us: int) -> str:
    """A length of time in the largest unit that holds it in whole numbers, except weeks.

    >>> duration_text(5_400_000_000), duration_text(604_800_000_000), duration_text(1_500_000)
    ('90m', '7d', '1500ms')
    """
    unit = next(name for name, size_us in _UNITS_US.items() if name != "w" and length_us % size_us == 0)
    return f"{length_us // _UNITS_US[unit]}{unit}"

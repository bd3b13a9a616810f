"""Ids: 32 hexadecimal digits that sort by the time they were made, and samples of what bears one, decided by it."""

from __future__ import annotations

import os
import threading
from zlib import crc32

from mainspring import clock

_SCALE = 1 << 32
_MASK = _SCALE - 1
_MIX = 0x9E3779B1  # odd: a CRC alone keeps the patterns of numbered ids
_RANDOM_DIGITS = 18
_POOL = 256  # ids for which random digits are drawn at once
_lock = threading.Lock()
_last_us = 0
_drawn: list[str] = []


def new_id() -> str:
    """A new id: 14 digits of microseconds since 1970, then 18 random ones. Ids of one process strictly increase.

    >>> first, second = new_id(), new_id()
    >>> len(first), first < second
    (32, True)
    """
    global _last_us  # the one piece of state: what this process gave last, and what it drew for the next ones
    with _lock:
        _last_us = at_us = max(clock.now_us(), _last_us + 1)
        if not _drawn:
            digits = os.urandom(_POOL * _RANDOM_DIGITS // 2).hex()
            _drawn.extend(digits[start : start + _RANDOM_DIGITS] for start in range(0, len(digits), _RANDOM_DIGITS))
        own = _drawn.pop()
    return f"{at_us:014x}{own}"


def _in_child() -> None:
    """A forked child draws for itself, whoever held the lock."""
    global _lock
    _lock = threading.Lock()
    _drawn.clear()


os.register_at_fork(after_in_child=_in_child)


def sample_limit(share: float) -> int:
    """A share of ids, 0 to 1, in the form that `is_sampled` takes."""
    return int(share * _SCALE)


def is_sampled(given_id: str, limit: int) -> bool:
    """Whether this id is in the sample; what is in a smaller sample is in every larger one.

    >>> 450 < sum(is_sampled(f"request-{number}", sample_limit(0.5)) for number in range(1000)) < 550
    True
    """
    return limit > 0 and (crc32(given_id.encode()) * _MIX & _MASK) < limit

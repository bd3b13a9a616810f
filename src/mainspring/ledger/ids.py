"""Ids: 32 hexadecimal digits that sort by the time they were made."""

from __future__ import annotations

import os
import threading

from mainspring import clock

_lock = threading.Lock()
_last_us = 0


def new_id() -> str:
    """A new id: 14 digits of microseconds since 1970, then 18 random ones. Ids of one process strictly increase.

    >>> first, second = new_id(), new_id()
    >>> len(first), first < second
    (32, True)
    """
    global _last_us  # the one piece of state: what this process gave last
    with _lock:
        _last_us = at_us = max(clock.now_us(), _last_us + 1)
    return f"{at_us:014x}{os.urandom(9).hex()}"

"""Commands that go on with what comes until they are told to end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any


@contextmanager
def until_stopped(*, follow: bool) -> Iterator[Event | None]:
    """What Ctrl-C and SIGTERM set, so that a batch at work is finished; None if nothing is followed."""
    if not follow:
        yield None
        return
    stop = Event()

    def end(_number: int, _frame: Any) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

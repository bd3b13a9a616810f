"""What takes long is told in the log while it lasts, ever less often; nobody ends it: a large model may need its time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

_log = logging.getLogger("mainspring.serving")
FIRST_S = 10.0
"""After which the first line comes."""
_LONGEST_PAUSE_S = 600.0


@contextmanager
def telling(what: str) -> Iterator[None]:
    """Say in the log that `what` still goes on while the block lasts: after 10 s, 20 s and so on, then every 10 minutes."""
    ended = Event()
    Thread(target=_tell, args=(what, ended), name="tells what takes long", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _tell(what: str, ended: Event) -> None:
    passed_s = 0.0
    pause_s = FIRST_S
    while not ended.wait(pause_s):
        passed_s += pause_s
        _log.warning("%s, for %g s now", what, passed_s)
        pause_s = min(passed_s, _LONGEST_PAUSE_S)

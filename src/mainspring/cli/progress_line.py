"""One line of progress on a terminal, shown once a command takes its time, gone at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mainspring.cli import text
from mainspring.cli.app import Invocation, redraws

_QUIET_S, _EVERY_S = 1.0, 0.1
Maker = Callable[[], str]


@contextmanager
def progress_line(invocation: Invocation) -> Iterator[Callable[[Maker], None] | None]:
    """What shows the text that it is given the maker of, a few times a second; None where nobody looks at a terminal."""
    if invocation.json or not redraws(sys.stderr):
        yield None
        return
    begun = told = time.monotonic()

    def tell(line: Maker) -> None:
        nonlocal told
        now = time.monotonic()
        if now - begun < _QUIET_S or now - told < _EVERY_S:
            return
        told = now
        sys.stderr.write(f"\r\x1b[2K{line()[: text.columns() or 80]}")
        sys.stderr.flush()

    try:
        yield tell
    finally:
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()

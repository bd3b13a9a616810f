"""One line of progress on a terminal, shown once a command takes its time, gone at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from mainspring.cli import text
from mainspring.cli.app import Invocation, redraws

_QUIET_S, _EVERY_S = 1.0, 0.1
Progress = TypeVar("Progress")


@contextmanager
def progress_line(
    invocation: Invocation, line: Callable[[Progress], str]
) -> Iterator[Callable[[Progress], None] | None]:
    """What takes how far it is, of which `line` makes a text a few times a second; None where nobody looks at a terminal."""
    if invocation.json or not redraws(sys.stderr):
        yield None
        return
    begun = told = time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal told
        now = time.monotonic()
        if now - begun < _QUIET_S or now - told < _EVERY_S:
            return
        told = now
        sys.stderr.write(f"\r\x1b[2K{line(progress)[: text.columns() or 80]}")
        sys.stderr.flush()

    try:
        yield tell
    finally:
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()

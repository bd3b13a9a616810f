"""One line of progress on a terminal, shown once a command takes its time, gone at its end."""

from __future__ import annotations

import sys
import threading
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
    """What takes how far it is, of which `line` makes a text a few times a second; None where nobody looks at a terminal.

    What was told last is shown also while nothing more is told for long.
    """
    if invocation.json or not redraws(sys.stderr):
        yield None
        return
    told: list[Progress] = []
    is_over = threading.Event()

    def draw() -> None:
        shown, wait_s = "", _QUIET_S
        while not is_over.wait(wait_s):
            now, wait_s = line(told[-1]) if told else "", _EVERY_S
            if now != shown:
                sys.stderr.write(f"\r\x1b[2K{now[: text.columns() or 80]}")
                sys.stderr.flush()
                shown = now

    def tell(progress: Progress) -> None:
        told[:] = [progress]

    drawing = threading.Thread(target=draw, name="progress", daemon=True)
    drawing.start()
    try:
        yield tell
    finally:
        is_over.set()
        drawing.join()
        sys.stderr.write("\r\x1b[2K")
        sys.stderr.flush()

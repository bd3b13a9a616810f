"""A bar on the terminal, for commands of data that read or write for longer than a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mainspring.cli.app import Invocation, redraws

if TYPE_CHECKING:
    from mainspring.data.files import Progress

_QUIET_S = 1.0


@contextmanager
def progress_bar(verb: str, invocation: Invocation) -> Iterator[Progress | None]:
    """A bar on a terminal for what takes longer than a second."""
    if invocation.json or not redraws(sys.stderr):
        yield None
        return
    began = time.monotonic()
    bar: Any = None

    def progress(_files: int, done_bytes: int, total_bytes: int) -> None:
        nonlocal bar
        if bar is None and time.monotonic() - began > _QUIET_S:
            bar = _bar(verb)
        if bar is not None:
            bar.update(bar.task_ids[0], completed=done_bytes, total=total_bytes)

    try:
        yield progress
    finally:
        if bar is not None:
            bar.stop()


def _bar(verb: str) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    ]
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    bar.add_task(verb, total=None)
    bar.start()
    return bar

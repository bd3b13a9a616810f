"""What Ctrl-C does to a run that this process drives."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mainspring.pipelines.engine import Engine
from mainspring.pipelines.progress import Listener


@contextmanager
def interrupts(engine: Engine, listener: Listener) -> Iterator[None]:
    """Ctrl-C once stops the run cleanly, twice ends this process; workers end with it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        if engine.interrupted:
            engine.abandon()
            os._exit(128 + number)
        engine.stop_requested = engine.interrupted = engine.place.interrupted = True
        listener.stopping()
        if engine.place.calling:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)

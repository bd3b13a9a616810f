"""A worker's end of the line to the process that started it: it says how it is, and learns that nobody needs it any more.

One line a message: `ready`, then `alive` or `stuck` each second; `error` and what it is if it can't start. The end of the other
side means that the worker is to leave, whether it was closed or its process died. A worker whose event loop doesn't turn learns
nothing, and ends itself.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from mainspring.web.siblings import Siblings

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_LATER_S = 2.0  # the other side, if it lives, is the first to act, and says so
_END_S = 2.0
_STDERR = 2


class Link:
    """The line of a worker; what it counted is told to its siblings as it beats.

    If it doesn't beat for `silence_s` and a bit, the process ends, and its threads' tracebacks are on stderr.
    """

    def __init__(self, line: socket.socket, siblings: Siblings, silence_s: float) -> None:
        self._line, self.siblings, self._silence_s = line, siblings, silence_s
        line.setblocking(False)

    def tell(self, message: str) -> None:
        """Send a line; dropped if the other side doesn't read, or is gone."""
        with suppress(OSError):
            self._line.send(message.replace("\n", " ").encode() + b"\n")

    def beat(self, *, is_stuck: bool, counted: str) -> None:
        """Say how the worker is, and what it counted."""
        _end_in(self._silence_s + _LATER_S)
        self.tell("stuck" if is_stuck else "alive")
        with suppress(OSError):  # a full disk: the figures are older than a second then
            self.siblings.publish(counted)

    def end(self, status: int = 0) -> None:
        """Have the process end with this status in two seconds, though a thread hangs that its interpreter waits for.

        It ends by itself if nothing hangs. What holds up every thread of Python is ended as one that doesn't beat.
        """
        _end_in(self._silence_s + _LATER_S)
        threading.Thread(target=_end_quietly, args=(status,), name="end of the worker", daemon=True).start()

    def on_end(self, loop: AbstractEventLoop, leave: Callable[[], None]) -> None:
        """Have `leave` called when the other side has ended."""

        def read() -> None:
            with suppress(BlockingIOError, ConnectionError):
                if self._line.recv(64):
                    return
            loop.remove_reader(self._line)
            leave()

        loop.add_reader(self._line, read)


def _end_quietly(status: int) -> None:
    time.sleep(_END_S)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or there is none
            stream.flush()
    os._exit(status)


def _end_in(seconds: float) -> None:
    """End the process then, unless this is called again before: by a thread of C, which waits for no Python code."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)

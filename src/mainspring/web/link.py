"""A worker's end of the line to the process that started it: it says how it is, and learns that nobody needs it any more.

One line a message: `ready`, then `alive` or `stuck` each second; `error TEXT` if it can't start. The end of the other side
means that the worker is to leave, whether it was closed or its process died.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from mainspring.web.siblings import Siblings

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


class Link:
    """The line of a worker; what it counted is told to its siblings as it beats."""

    def __init__(self, line: socket.socket, siblings: Siblings) -> None:
        self._line, self.siblings = line, siblings
        line.setblocking(False)

    def tell(self, message: str) -> None:
        """Send a line; dropped if the other side doesn't read, or is gone."""
        with suppress(OSError):
            self._line.send(message.replace("\n", " ").encode() + b"\n")

    def beat(self, *, is_stuck: bool, counted: str) -> None:
        """Say how the worker is, and what it counted."""
        self.tell("stuck" if is_stuck else "alive")
        with suppress(OSError):  # a full disk: the figures are older than a second then
            self.siblings.publish(counted)

    def on_end(self, loop: AbstractEventLoop, leave: Callable[[], None]) -> None:
        """Have `leave` called when the other side has ended."""

        def read() -> None:
            with suppress(BlockingIOError, ConnectionError):
                if self._line.recv(64):
                    return
            loop.remove_reader(self._line)
            leave()

        loop.add_reader(self._line, read)

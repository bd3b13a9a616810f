"""The worker's side of a `ChildProcess`: it takes orders from a pipe and answers each, for as long as its supervisor lives."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import msgspec

from mainspring.runners.order import WorkOrder
from mainspring.runners.process import READY


def serve_orders(ready: Callable[[], Callable[[WorkOrder], None]]) -> NoReturn:
    """Execute orders until the supervisor is gone, and then end at once, whatever the work is doing.

    `ready` opens what the work needs and gives what obeys an order; the supervisor's end is noticed meanwhile, too.
    """
    _at_end_of_parent(signal.SIGKILL)  # one that has ended already is noticed by the end of its pipe
    orders, answers = int(os.environ["MAINSPRING_ORDERS"]), int(os.environ["MAINSPRING_ANSWERS"])
    for pipe in (orders, answers):
        os.set_inheritable(pipe, False)
    lines = _Lines(orders)
    obey = ready()
    os.write(answers, READY + b"\n")
    while True:
        order = msgspec.json.decode(lines.next(), type=WorkOrder)
        obey(order)
        os.write(answers, order.id.encode() + b"\n")


class _Lines:
    """Lines of a pipe, read ahead by a thread, so that its end is noticed while the work goes on."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._lines: list[bytes] = []
        self._some = threading.Semaphore(0)
        threading.Thread(target=self._read, name="orders", daemon=True).start()

    def next(self) -> bytes:
        self._some.acquire()
        return self._lines.pop(0)

    def _read(self) -> None:
        buffer = b""
        while data := os.read(self._pipe, 65536):
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                self._lines.append(line)
                self._some.release()
        os._exit(0)


def end_with_parent(parent: int) -> None:
    """On Linux, have the kernel end this process with the one that started it, even while C code holds it.

    Raises:
        SystemExit: that one, `parent`, has ended already.
    """
    _at_end_of_parent(signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)


def outlive_parent() -> None:
    """Have the kernel end this process no more with the one that started it."""
    _at_end_of_parent(0)


def _at_end_of_parent(number: int) -> None:
    if sys.platform != "linux":
        return
    import ctypes

    pr_set_pdeathsig = 1
    with suppress(OSError):
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, number)

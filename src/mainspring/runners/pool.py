"""The pool: warm worker processes on this machine, started when there is work and kept for the next order."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from mainspring.runners.order import Exit, WorkOrder
from mainspring.runners.process import ChildProcess


class PoolRunner:
    """Up to `size` orders at once, each in a process of its own; a crash fails that order alone."""

    name = "pool"

    def __init__(self, size: int, make_child: Callable[[int], ChildProcess]) -> None:
        self._size = max(size, 1)
        self._make_child = make_child
        self._children: list[ChildProcess] = []

    @property
    def free(self) -> int:
        """Workers without an order, those not started yet included."""
        return self._size - sum(child.order is not None for child in self._children)

    def submit(self, order: WorkOrder) -> None:
        """Give it to an idle worker, or to a new one."""
        idle = next((child for child in self._children if child.order is None), None)
        if idle is None:
            idle = self._make_child(len(self._children))
            self._children.append(idle)
        idle.submit(order)

    def wait(self, timeout_s: float) -> list[Exit]:
        """The orders that ended; limits are watched while waiting."""
        until = time.monotonic() + timeout_s
        while True:
            exits = [found for child in self._children if (found := child.poll()) is not None]
            busy = [child for child in self._children if child.order is not None]
            left = until - time.monotonic()
            if exits or not busy or left <= 0:
                return exits
            pause = min(left, *(child.due_s() for child in busy))
            select.select([child.answers for child in busy], [], [], pause)

    def cancel(self) -> list[Exit]:
        """Kill the workers that have an order."""
        return [found for child in self._children if (found := child.cancel()) is not None]

    def abandon(self) -> None:
        """Kill the workers and what they have started."""
        for child in list(self._children):
            child.abandon()

    def close(self) -> None:
        """End the workers."""
        for child in self._children:
            child.kill() if child.order is not None else child.stop()
        self._children.clear()

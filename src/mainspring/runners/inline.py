"""The inline runner: the order is executed here and now, by the function that was given."""

from __future__ import annotations

import time
from collections.abc import Callable

from mainspring.runners.order import Exit, WorkOrder


class InlineRunner:
    """Executes an order when it is submitted. A crash of the work is a crash of this process."""

    name = "inline"

    def __init__(self, execute: Callable[[WorkOrder], None]) -> None:
        self._execute = execute
        self._done: list[Exit] = []

    @property
    def free(self) -> int:
        """One, unless an exit still waits to be collected."""
        return 0 if self._done else 1

    def submit(self, order: WorkOrder) -> None:
        """Execute it."""
        started = time.perf_counter()
        self._execute(order)
        self._done.append(Exit(order=order.id, kind="done", wall_s=time.perf_counter() - started))

    def wait(self, timeout_s: float) -> list[Exit]:  # noqa: ARG002  # nothing is ever in flight
        """What was executed since the last call."""
        done, self._done = self._done, []
        return done

    def cancel(self) -> list[Exit]:
        """Nothing is in flight between two calls."""
        return self.wait(0)

    def abandon(self) -> None:
        """There is no other process."""

    def close(self) -> None:
        """There is nothing to give back."""

"""Work orders, what became of them, and the protocol of everything that executes them."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class WorkOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to be made. `payload` means nothing to the runner; limits and log are its concern."""

    id: str
    name: str
    payload: dict[str, Any]
    log_path: str
    timeout_s: float | None = None
    memory_bytes: int | None = None


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How the work on an order ended, as seen from outside.

    `kind` is `done` when whoever executed it has recorded the result, good or bad; otherwise timeout, memory, signal,
    exit, lost or cancelled, and `message` says it in words. How long it took and its peak are None if nobody saw that.
    """

    order: str
    kind: str
    message: str = ""
    wall_s: float | None = None
    peak_bytes: int | None = None


class Runner(Protocol):
    """Executes work orders. Used from one thread."""

    @property
    def name(self) -> str:
        """What attempts record as their runner."""
        ...

    @property
    def free(self) -> int:
        """How many more orders it takes now."""
        ...

    def submit(self, order: WorkOrder) -> None:
        """Start an order. Call it only while `free` is above 0."""
        ...

    def wait(self, timeout_s: float) -> list[Exit]:
        """The orders that ended, waiting up to `timeout_s` for the first; an empty list if none did."""
        ...

    def cancel(self) -> list[Exit]:
        """Stop all orders in flight and give their exits."""
        ...

    def abandon(self) -> None:
        """Let nothing outlive this process, which is about to end; may interrupt any other call."""
        ...

    def close(self) -> None:
        """Give back every process; orders in flight are killed."""
        ...

"""What Mainspring reads and starts for itself while a task is at work: it is no input of the task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_own: ContextVar[bool] = ContextVar("own work", default=False)


@contextmanager
def at_own_work() -> Iterator[None]:
    """What the block does is not the task's."""
    token = _is_own.set(True)
    try:
        yield
    finally:
        _is_own.reset(token)


def is_own_work() -> bool:
    """Whether what happens here is not the task's."""
    return _is_own.get()

"""Which task is at work in this context, so that whatever is recorded meanwhile is linked to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_task: ContextVar[str | None] = ContextVar("task", default=None)


def current_task() -> str | None:
    """The id of the task that runs in this context, or None outside one."""
    return _task.get()


@contextmanager
def within_task(task_id: str) -> Iterator[None]:
    """Record the block's work as that task's."""
    token = _task.set(task_id)
    try:
        yield
    finally:
        _task.reset(token)

"""Which task is at work in this context, so that whatever is recorded meanwhile is linked to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_task: ContextVar[str | None] = ContextVar("task", default=None)
_replay: ContextVar[bool] = ContextVar("replay", default=False)


def current_task() -> str | None:
    """The id of the task that runs in this context, or None outside one."""
    return _task.get()


def is_replay() -> bool:
    """Whether the task at work repeats an earlier one to be compared with it, so that it changes nothing with a name.

    What would make a new version gives the recorded one with the same content instead, or refuses.
    """
    return _replay.get()


@contextmanager
def within_task(task_id: str, *, replay: bool = False) -> Iterator[None]:
    """Record the block's work as that task's."""
    task_token, replay_token = _task.set(task_id), _replay.set(replay)
    try:
        yield
    finally:
        _replay.reset(replay_token)
        _task.reset(task_token)

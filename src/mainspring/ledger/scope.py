"""Which task is at work in this context, so that whatever is recorded meanwhile is linked to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_task: ContextVar[str | None] = ContextVar("task", default=None)
_replay: ContextVar[bool] = ContextVar("replay", default=False)
_moving: ContextVar[list[tuple[str, str]] | None] = ContextVar("moving", default=None)


def current_task() -> str | None:
    """The id of the task that runs in this context, or None outside one."""
    return _task.get()


def is_replay() -> bool:
    """Whether the task at work repeats an earlier one to be compared with it, so that it changes nothing with a name.

    What would make a new version gives the recorded one with the same content instead, or refuses.
    """
    return _replay.get()


def note_moving(kind: str, name: str) -> None:
    """Say that the task at work reads something by a name whose content moves, so that its result can't be reused."""
    noted = _moving.get()
    if noted is not None and (kind, name) not in noted:
        noted.append((kind, name))


@contextmanager
def moving_noted() -> Iterator[list[tuple[str, str]]]:
    """Collect what is read by moving names within the block, as pairs of kind and name."""
    noted: list[tuple[str, str]] = []
    token = _moving.set(noted)
    try:
        yield noted
    finally:
        _moving.reset(token)


@contextmanager
def within_task(task_id: str, *, replay: bool = False) -> Iterator[None]:
    """Record the block's work as that task's."""
    task_token, replay_token = _task.set(task_id), _replay.set(replay)
    try:
        yield
    finally:
        _replay.reset(replay_token)
        _task.reset(task_token)

"""What is at work in this context — a task, or the open run of a script — so that what is recorded is linked to it.

Tasks nest properly. Runs of scripts may be opened and ended in any order, and a notebook's cells may be contexts of their
own, so an open run is also found from a context that never saw it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from mainspring.errors import MainspringError


class Scope:
    """A task or run at work: the id that lineage names, and what takes in what is logged meanwhile.

    `key` says what the work is made of, code and inputs, where that is known. `earlier` are the nodes of a task's attempts
    before this one: what came of those hangs on them (`Ledger.set_aside`). `task` is the task at work, also of a run that it
    opens itself, which has its `earlier` too; empty for a script's run.
    """

    __slots__ = ("earlier", "id", "is_open", "key", "log", "outer", "task")

    def __init__(
        self, node_id: str, log: Any = None, outer: Scope | None = None, *, task: str = "", key: str = "",
        earlier: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.id = node_id
        self.log = log
        self.outer = outer
        self.key = key
        self.task = task
        self.earlier = tuple(earlier)
        self.is_open = True


class Replay:
    """The task that the one at work repeats, by its id.

    `outcomes` is where rooms keep what that task's calls came to, in their order, and how far they have given it.
    """

    __slots__ = ("outcomes", "task")

    def __init__(self, task: str) -> None:
        self.task = task
        self.outcomes: dict[Any, Any] = {}


_scope: ContextVar[Scope | None] = ContextVar("scope", default=None)
_replay: ContextVar[Replay | None] = ContextVar("replay", default=None)
_moving: ContextVar[list[tuple[str, str]] | None] = ContextVar("moving", default=None)
_open: list[Scope] = []  # as the process has one stdout, it has one list of the runs that its script opened


def current_scope() -> Scope | None:
    """The innermost task or run at work in this context; outside of both, the run that was opened last in the process."""
    scope = _scope.get()
    while scope is not None and not scope.is_open:
        scope = scope.outer
    return scope or (_open[-1] if _open else None)


def current_task() -> str | None:
    """The id of the task, or of the open run of a script, that is at work in this context; None outside of both."""
    scope = current_scope()
    return None if scope is None else scope.id


def open_scope(node_id: str, log: Any = None) -> Scope:
    """Record what follows as the work of a run, until `close_scope`."""
    outer = _scope.get()
    scope = Scope(node_id, log, outer, task=outer.task, earlier=outer.earlier) if outer else Scope(node_id, log)
    _scope.set(scope)
    _open.append(scope)
    return scope


def close_scope(scope: Scope) -> None:
    """End what `open_scope` began, in any order and from any context; a second call does nothing."""
    scope.is_open = False
    if scope in _open:
        _open.remove(scope)
    if _scope.get() is scope:
        _scope.set(scope.outer)


def current_replay() -> Replay | None:
    """What the task at work repeats, to be compared with it; it changes nothing with a name. None if it is no replay.

    What would make a version gives the one that the call made or found then instead, or refuses.
    """
    return _replay.get()


def is_replay() -> bool:
    """Whether the task at work repeats an earlier one."""
    return _replay.get() is not None


def note_moving(kind: str, name: str) -> None:
    """Say that the task at work reads something by a name whose content moves, so that its result can't be reused."""
    noted = _moving.get()
    if noted is not None and (kind, name) not in noted:
        noted.append((kind, name))


def note_search(what: str, condition: str = "") -> None:
    """Say that the task at work looks for what there is, under a condition: later there may be something else."""
    note_moving("search", f"{what} where {condition}" if condition.strip() else what)


@contextmanager
def moving_noted(into: list[tuple[str, str]] | None = None) -> Iterator[list[tuple[str, str]]]:
    """Collect what is read by moving names within the block, as pairs of kind and name, `into` a list if one is given."""
    noted = [] if into is None else into
    token = _moving.set(noted)
    try:
        yield noted
    finally:
        _moving.reset(token)


@contextmanager
def within_task(
    task_id: str, *, replay: Replay | None = None, log: Any = None, key: str = "", earlier: Sequence[str] = ()
) -> Iterator[None]:
    """Record the block's work as that task's, or as a repetition of another's; `log` takes in what is logged in it.

    `key` and `earlier` are those of the scope. Runs that the task opens and leaves open end with it, by the exception that ends
    it, if one does.
    """
    scope = Scope(task_id, log, task=task_id, key=key, earlier=earlier)
    scope_token, replay_token = _scope.set(scope), _replay.set(replay)
    try:
        try:
            yield
        except BaseException as error:
            with suppress(MainspringError):  # why the task failed is what is told
                _end_left(task_id, error)
            raise
        _end_left(task_id, None)
    finally:
        _replay.reset(replay_token)
        _scope.reset(scope_token)


def _end_left(task_id: str, error: BaseException | None) -> None:
    for scope in [each for each in reversed(_open) if each.task == task_id]:
        scope.log.end_by(error)

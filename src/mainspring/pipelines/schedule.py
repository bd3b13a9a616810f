"""What is to be done next in a run: tasks to decide, tasks that wait for a runner, tasks that wait for a retry.

Its cost is that of what changes, not of what there is: a task is looked at when the last one that it waits for has ended.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from mainspring.pipelines._store import awaited_in
from mainspring.pipelines.plan import Tasks
from mainspring.pipelines.task import UNFINISHED, Task, TaskState


class Schedule:
    """The tasks of one run by what they wait for."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._undecided: deque[Task] = deque()
        self._awaited: dict[str, set[str]] = {}
        self._dependents: dict[str, list[Task]] = {}
        self._users: dict[str, set[str]] = {}
        self._unfinished_children: dict[str, int] = {}
        self._queues: dict[str, deque[Task]] = {}
        self._later: list[tuple[float, Task]] = []
        for task in tasks:
            self.add(task)

    def add(self, task: Task) -> None:
        """Take in a task that waits, or one that stands for children; others are over."""
        if task.state in UNFINISHED:
            for need in self._tasks.needs(task):
                self._users.setdefault(need, set()).add(task.name)
        if task.state is TaskState.MAPPED:
            self.follow(task)
        elif task.state is TaskState.WAITING:
            by_name = self._tasks.by_name
            names = {name for binding in task.bindings.values() for name in awaited_in(binding)}
            names = {name for name in names if by_name[name].state in UNFINISHED}
            self._awaited[task.name] = names
            for name in names:
                self._dependents.setdefault(name, []).append(task)
            if not names:
                self._undecided.append(task)

    def follow(self, task: Task) -> None:
        """A mapped task is decided again when its children have ended."""
        count = sum(child.state in UNFINISHED for child in self._tasks.children.get(task.id, []))
        self._unfinished_children[task.id] = count
        if not count:
            self._undecided.append(task)

    def ended(self, task: Task) -> list[str]:
        """A task has its end: what waited for it alone can be decided. Gives what nobody needs any more."""
        for other in self._dependents.pop(task.name, []):
            awaited = self._awaited[other.name]
            awaited.discard(task.name)
            if not awaited:
                self._undecided.append(other)
        if task.map_of in self._unfinished_children:
            self._unfinished_children[task.map_of] -= 1
            if not self._unfinished_children[task.map_of]:
                self._undecided.append(self._tasks.mapped[task.map_of])
        return self._freed(task)

    def _freed(self, task: Task) -> list[str]:
        freed = []
        for need in self._tasks.needs(task):
            users = self._users.get(need, set())
            users.discard(task.name)
            if not users:
                self._users.pop(need, None)
                freed.append(need)
        return freed if self._tasks.owner(task) in self._users else [*freed, task.name]

    def undecided(self) -> Iterator[Task]:
        """The tasks that can be decided, those included that become so meanwhile."""
        while self._undecided:
            yield self._undecided.popleft()

    def queue(self, task: Task, runner: str) -> None:
        """Let a task wait for a runner."""
        self._queues.setdefault(runner, deque()).append(task)

    def runners(self) -> list[str]:
        """The runners that tasks wait for, inline last: the others work on while this process is busy."""
        return sorted((name for name, queue in self._queues.items() if queue), key=lambda name: name == "inline")

    def take(self, runner: str) -> Task | None:
        """The next task for a runner."""
        queue = self._queues.get(runner)
        return queue.popleft() if queue else None

    def retry(self, task: Task, wait_s: float) -> None:
        """Let a task wait for its next attempt."""
        self._later.append((time.monotonic() + wait_s, task))

    def due(self) -> list[Task]:
        """The tasks whose wait is over."""
        now = time.monotonic()
        due = [task for at, task in self._later if at <= now]
        self._later = [(at, task) for at, task in self._later if at > now]
        return due

    def next_retry_s(self) -> float | None:
        """How long until the next wait is over; None if nothing waits."""
        return max(0.0, min(at for at, _ in self._later) - time.monotonic()) if self._later else None

    def clear(self) -> None:
        """Start nothing more."""
        self._undecided.clear()
        self._queues.clear()
        self._later.clear()

    def __bool__(self) -> bool:
        return bool(self._undecided or self._later or any(self._queues.values()))

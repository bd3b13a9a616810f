"""The records of tasks and attempts: a step's place in a run, and one try of it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec

from mainspring.pipelines.code.facts import NOT_REUSABLE
from mainspring.pipelines.graph import Binding
from mainspring.pipelines.step import StepOptions


class TaskState(StrEnum):
    """Where a task stands. MAPPED is a task that stands for its children, once the list is known."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    REUSED = "reused"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    MAPPED = "mapped"


DONE = (TaskState.SUCCEEDED, TaskState.REUSED)
UNFINISHED = (TaskState.WAITING, TaskState.RUNNING, TaskState.MAPPED)


class Task(msgspec.Struct, kw_only=True):
    """A step's place in a run.

    `bindings` say where each argument comes from, `arguments` what that turned out to be (of an item that was just made,
    `bindings` has its own only); `tolerates` names the
    parameters that take a `Failed`; `reasons` say why it ran (or wasn't reusable), for people; `outputs` are artifact ids
    by output name; `seen` the undeclared inputs; `replay_of` is the task that made what a replay's task is compared with.
    Times are microseconds, memory bytes.
    """

    id: str
    run: str
    position: int
    name: str
    module: str
    qualname: str
    seed_name: str = ""
    map_of: str | None = None
    map_index: int | None = None
    mapped: str | None = None
    state: TaskState = TaskState.WAITING
    options: StepOptions = StepOptions()
    bindings: dict[str, Binding] = {}
    arguments: dict[str, Binding] = {}
    tolerates: list[str] = []
    fingerprint: str | None = None
    cache_key: str | None = None
    reasons: list[str] = []
    reused_from: str | None = None
    replay_of: str | None = None
    outputs: dict[str, str] = {}
    seen: list[dict[str, Any]] = []
    seed: int = 0
    started_at: int | None = None
    ended_at: int | None = None
    wall_s: float | None = None
    cpu_s: float | None = None
    peak_bytes: int | None = None
    error: str | None = None
    log: str | None = None
    child_run: str | None = None

    @property
    def step(self) -> str:
        """The step as `module:qualname`."""
        return f"{self.module}:{self.qualname}"

    @property
    def own_arguments(self) -> dict[str, Binding]:
        """The arguments without those that an item has from the mapped task; only these are stored with it."""
        return {name: self.arguments[name] for name in self.bindings if name in self.arguments}

    @property
    def is_reusable(self) -> bool:
        """Whether a later run may take what it gave: it read what it declared, and its code was what is recorded."""
        return self.options.cache and not self.seen and not any(each.startswith(NOT_REUSABLE) for each in self.reasons)

    @property
    def is_mapped(self) -> bool:
        """Whether this task stands for one task for each item of a list."""
        return self.mapped is not None and self.map_index is None  # a child keeps the name of what it was mapped over


def leaves(tasks: Iterable[Task]) -> list[Task]:
    """The tasks that run, without those that stand for others; one that failed before it had any stands for itself."""
    tasks = list(tasks)
    parents = {task.map_of for task in tasks}
    return [task for task in tasks if not task.is_mapped or (task.state is TaskState.FAILED and task.id not in parents)]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try of a task. `kind` says how a failed one ended: error, unreadable, timeout, memory, signal, exit, lost, cancelled.

    Unreadable are arguments whose bytes are damaged, gone, or not what today's code reads.
    """

    id: str
    task: str
    number: int
    state: str
    runner: str
    worker: str
    token: int
    started_at: int
    ended_at: int | None = None
    kind: str | None = None
    message: str | None = None
    log: str | None = None
    wall_s: float | None = None
    cpu_s: float | None = None
    peak_bytes: int | None = None


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """How a run was asked for: what `given` says of its parameters, without defaults, a seed if one was, and `reuse`.

    `paths` names the parameters that were paths, which stand in `given` as text; `lost` those that no codec takes.
    """

    given: dict[str, Binding] = {}
    paths: list[str] = []
    lost: list[str] = []
    seed: int | None = None
    reuse: bool = True


class Usage(msgspec.Struct, frozen=True):
    """What an attempt used: wall and processor seconds, peak resident bytes; None for what nobody saw."""

    wall_s: float | None
    cpu_s: float | None
    peak_bytes: int | None


class Failed:
    """What a step receives in place of a result that an allowed failure left out. It is false.

    >>> bool(Failed("load", "no such file"))
    False
    """

    def __init__(self, task: str, error: str) -> None:
        self.task = task
        self.error = error

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"Failed({self.task!r}, {self.error!r})"

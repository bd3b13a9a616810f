"""A task's attempt as an order for another process, and the record of an end that this process could not write itself."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mainspring.pipelines._store import TaskStore
from mainspring.pipelines.printed import log_blob
from mainspring.pipelines.task import Attempt, Task, TaskState, Usage
from mainspring.runners import Exit, WorkOrder
from mainspring.store import BlobStore, Lease

_MIB = 1 << 20


class InFlight(msgspec.Struct, frozen=True):
    """An attempt that was given out."""

    task: Task
    attempt: Attempt
    lease: Lease
    log_path: Path

    @property
    def order(self) -> WorkOrder:
        """What a runner is told."""
        options = self.task.options
        return WorkOrder(
            id=self.attempt.id, name=self.task.name, log_path=str(self.log_path), timeout_s=options.timeout_s,
            memory_bytes=None if options.memory_mb is None else options.memory_mb * _MIB,
            payload={"run": self.task.run, "task": self.task.id, "token": self.lease.token},
        )  # fmt: skip


def record_exit(store: TaskStore, blobs: BlobStore, flying: InFlight, found: Exit) -> None:
    """Record the end of an attempt whose process could not do it, also in the task.

    Raises:
        LeaseLostError: it had recorded its result and died afterwards, or the task was taken over.
    """
    log = log_blob(flying.log_path, blobs)
    state = TaskState.CANCELLED if found.kind == "cancelled" else TaskState.FAILED
    usage = Usage(found.wall_s, None, found.peak_bytes)
    task = flying.task
    store.fail(task, flying.attempt, flying.lease, found.kind, found.message, usage=usage, log=log, state=state)
    task.state, task.error, task.log = state, found.message, log

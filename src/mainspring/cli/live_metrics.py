"""The newest metrics of the steps that run, for a terminal: read from the database, where workers of all kinds write them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress

from mainspring.cli.records import task_store
from mainspring.errors import StorageError
from mainspring.pipelines.task import Task, TaskState
from mainspring.runs import Metric, Metrics
from mainspring.workspace import Workspace

_EVERY_S = 1.0  # a look takes about a millisecond
_MOST_TASKS = 8
_SHOWN = 3


class LiveMetrics:
    """What running steps logged last, by task. Asked for ten times a second, it looks once."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._looked_at = 0.0
        self._found: dict[str, str] = {}

    def __call__(self, tasks: Iterable[Task]) -> dict[str, str]:
        """The newest metrics of those of the tasks that run, in a text for each that logged any."""
        now = time.monotonic()
        if now - self._looked_at >= _EVERY_S:
            self._looked_at = now
            with suppress(StorageError):  # what can't be read now is shown a second later
                self._found = self._look([task.id for task in tasks if task.state is TaskState.RUNNING])
        return self._found

    def _look(self, tasks: list[str]) -> dict[str, str]:
        store = task_store(self._workspace)
        series = {attempts[-1].id: task for task in tasks[:_MOST_TASKS] if (attempts := store.attempts(task))}
        found = Metrics(self._workspace.metrics).latest_of(series)
        return {series[attempt]: _told(list(points.values())) for attempt, points in found.items()}


def _told(points: list[Metric]) -> str:
    """The metrics that were logged last, by name, and the highest step of theirs.

    >>> _told([Metric("loss", 0.25, 7, 2), Metric("auc", 0.9, 6, 1)])
    'auc 0.9  loss 0.25  step 7'
    """
    newest = sorted(points, key=lambda point: -point.at)[:_SHOWN]
    step = max(point.step for point in newest)
    values = [f"{point.key} {point.value:.4g}" for point in sorted(newest, key=lambda point: point.key)]
    return "  ".join([*values, f"step {step}"] if step else values)

"""What a run gave, for people and programs."""

from __future__ import annotations

from typing import Any

from mainspring.errors import NotFoundError, StepError, close_names, listed
from mainspring.ledger import Ledger
from mainspring.pipelines._store import TaskStore
from mainspring.pipelines.task import Task, TaskState
from mainspring.pipelines.values import Values
from mainspring.runs import Run, RunState
from mainspring.workspace import Workspace


class RunResult:
    """A run with its tasks; outputs are read when asked for."""

    def __init__(self, workspace: Workspace, run: Run, values: Values | None = None) -> None:
        self.workspace = workspace
        self.run = run
        self._store = TaskStore(workspace.database, Ledger(workspace.database), workspace.leases)
        self._values = values or Values(self._store.artifacts, workspace.blobs)
        self.tasks: list[Task] = self._store.of_run(run.id)

    @property
    def id(self) -> str:
        """The run's id."""
        return self.run.id

    @property
    def succeeded(self) -> bool:
        """Whether every step that had to succeeded."""
        return self.run.state is RunState.SUCCEEDED

    def output(self, name: str = "result") -> Any:
        """What the pipeline returned under a name, `result` if it returned one thing.

        Raises:
            NotFoundError: it returned nothing of that name.
            StepError: the run failed.
        """
        self.raise_for_state()
        outputs = self._store.outputs(self.run.id)
        if name not in outputs:
            near = close_names(name, outputs)
            hint = "" if near else f"Its outputs: {listed(list(outputs))}."
            raise NotFoundError("output", name, near, hint, owner=f"Run {self.run.id[:12]}")
        return self._values.value(outputs[name])

    @property
    def value(self) -> Any:
        """What the pipeline returned: one value, or a dict of them."""
        names = list(self._store.outputs(self.run.id))
        if names == ["result"]:
            return self.output()
        return {name: self.output(name) for name in names}

    def raise_for_state(self) -> None:
        """Raise the failure of a run that did not succeed; a no-op for one that did.

        Raises:
            StepError: the first step that failed, with its log's last lines.
        """
        if self.succeeded:
            return
        for task in self.tasks:
            if task.state is TaskState.FAILED and not task.options.may_fail and not task.is_mapped:
                attempts = self._store.attempts(task.id)
                kind = (attempts[-1].kind if attempts else None) or "error"
                raise StepError(task.name, kind, task.error or "", attempts[-1].number if attempts else 1)
        raise StepError(self.run.name, self.run.state.value, self.run.error or f"the run was {self.run.state.value}")

    def log_of(self, task: Task) -> str:
        """What a task printed."""
        return self.workspace.blobs.read(task.log).decode("utf-8", "replace") if task.log else ""

    def __repr__(self) -> str:
        return f"<run {self.run.name} {self.run.id[:12]} {self.run.state.value}, {len(self.tasks)} tasks>"

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><td>{escape(task.name)}</td><td>{task.state.value}</td>"
            f"<td>{'' if task.wall_s is None else f'{task.wall_s:.2f} s'}</td><td>{escape(task.error or '')}</td></tr>"
            for task in self.tasks
        )
        head = f"<b>{escape(self.run.name)}</b> {self.run.state.value} <code>{self.run.id[:12]}</code>"
        return f"{head}<table><tr><th>step</th><th>state</th><th>time</th><th></th></tr>{rows}</table>"

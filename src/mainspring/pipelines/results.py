"""What a run gave, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mainspring.artifacts.project import importing_from
from mainspring.errors import NotFoundError, StepError, close_names, depended_on, listed
from mainspring.ledger import Ledger
from mainspring.pipelines._store import TaskStore
from mainspring.pipelines.task import Task, TaskState, leaves
from mainspring.pipelines.values import Values
from mainspring.runs import Metrics, Run, RunState, RunStore
from mainspring.workspace import Workspace

_OURS = "mainspring."
_SHOWN_LINES = 30  # of a traceback in a worker's log
_TRACEBACK = "Traceback (most recent call last):"


def logged_runs(workspace: Workspace, store: TaskStore, tasks: Sequence[Task]) -> dict[str, Run]:
    """What each task that logged something has as its own run, by task and in their order.

    A reused task has that of the task whose result it took: what belongs to a result comes with it.
    """
    by_task = store.child_runs(tasks)
    runs = RunStore(workspace.database, workspace.ledger).get_many(by_task.values())
    return {task.id: runs[by_task[task.id]] for task in tasks if by_task.get(task.id) in runs}


class RunResult:
    """A run with its tasks; outputs are read when asked for.

    `failures` are what steps raised in this process, by task.
    """

    def __init__(
        self, workspace: Workspace, run: Run, values: Values | None = None,
        failures: Mapping[str, BaseException] | None = None,
    ) -> None:  # fmt: skip
        self.workspace = workspace
        self.run = run
        self._store = TaskStore(workspace.database, Ledger(workspace.database), workspace.leases)
        self._values = values or Values(self._store.artifacts, workspace.blobs)
        self._failures = failures or {}
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
        of = f"the output `{name}` of run {self.run.id[:12]} ({self.run.name})"
        with importing_from(self.workspace.project.source_roots), depended_on(of):
            return self._values.value(outputs[name])

    @property
    def value(self) -> Any:
        """What the pipeline returned: one value, or a dict of them."""
        names = list(self._store.outputs(self.run.id))
        if names == ["result"]:
            return self.output()
        return {name: self.output(name) for name in names}

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric that the steps logged; a reused step's are those of when it ran."""
        metrics = Metrics(self.workspace.metrics)
        logged = logged_runs(self.workspace, self._store, self.tasks).values()
        return {name: value for run in logged for name, value in metrics.latest_values(run.series).items()}

    def raise_for_state(self) -> None:
        """Raise the failure of a run that did not succeed; a no-op for one that did.

        Raises:
            StepError: the first step that failed, from what it raised if that was in this process, else with the end of
                its traceback as a note.
        """
        if self.succeeded:
            return
        for task in leaves(self.tasks):
            if task.state is TaskState.FAILED and not task.options.may_fail:
                raise self._failure(task) from self._cause(task)
        raise StepError(self.run.name, self.run.state.value, self.run.error or f"the run was {self.run.state.value}")

    def _failure(self, task: Task) -> StepError:
        attempts = self._store.attempts(task.id)
        kind = (attempts[-1].kind if attempts else None) or "error"
        error = StepError(task.name, kind, task.error or "", attempts[-1].number if attempts else 1)
        lines = [] if task.id in self._failures else self.log_of(task).splitlines()[-_SHOWN_LINES:]
        if _TRACEBACK in lines:
            error.add_note("\n".join(["In the worker:", *lines[lines.index(_TRACEBACK) :]]))
        error.add_note(f"What it printed: mainspring logs {self.id[:12]} {task.name}")
        return error

    def _cause(self, task: Task) -> BaseException | None:
        """What a step raised in this process, with its traceback from the step's own frame on."""
        error = self._failures.get(task.id)
        frames = None if error is None else error.__traceback__
        while frames is not None and str(frames.tb_frame.f_globals.get("__name__")).startswith(_OURS):
            frames = frames.tb_next
        return error.with_traceback(frames) if error is not None and frames is not None else error

    def log_of(self, task: Task) -> str:
        """What a task printed."""
        return self.workspace.blobs.read(task.log).decode("utf-8", "replace") if task.log else ""

    def __repr__(self) -> str:
        count = len(self.tasks)
        return (
            f"<run {self.run.name} {self.id[:12]} {self.run.state.value}, {count} {'task' if count == 1 else 'tasks'}>"
        )

    def _repr_html_(self) -> str:
        from html import escape

        from mainspring.runs.html import html_table

        rows = [
            [task.name, task.state.value, None if task.wall_s is None else f"{task.wall_s:.2f} s", task.error]
            for task in self.tasks
        ]
        head = f"<b>{escape(self.run.name)}</b> {self.run.state.value} <code>{self.run.id[:12]}</code>"
        return f"{head}{html_table([['step', 'state', 'time', ''], *rows])}"

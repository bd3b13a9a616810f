"""Why the tasks of a run ran or were reused, as recorded, and what would run now: the pipeline's forecast beside its run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import msgspec

from mainspring.errors import NotFoundError, close_names
from mainspring.pipelines._store import TaskStore
from mainspring.pipelines.forecast import Prospect, forecast
from mainspring.pipelines.launch import Recordable
from mainspring.pipelines.request import parameters_in
from mainspring.pipelines.task import DONE, Task, TaskState
from mainspring.pipelines.values import Values
from mainspring.runs import Run
from mainspring.workspace import Workspace


class Reason(msgspec.Struct, frozen=True):
    """A task and, in lines for people, why it ran; `runs` is False where it did not, None where it may still.

    A mapped task stands for its `items`, which have reasons of their own, and ran if one of them did.
    """

    task: str
    state: str
    runs: bool | None
    lines: list[str]
    items: int | None = None


class Present(msgspec.Struct, frozen=True):
    """What would run now, with the parameters that a run was given; `gone` are its tasks that the pipeline has no more."""

    run: str
    tasks: list[Prospect]
    gone: list[str]


class _Told(Protocol):
    @property
    def task(self) -> str: ...


_T = TypeVar("_T", bound=_Told)


def recorded(workspace: Workspace, run: Run, step: str | None = None) -> list[Reason]:
    """Why each task of a run ran or was reused, as decided then.

    Raises:
        NotFoundError: the run has no such task.
    """
    store = TaskStore(workspace.database, workspace.ledger, workspace.leases)
    tasks = store.of_run(run.id)
    reasons = _summed(tasks, {task.name: _recorded(store, task) for task in tasks})
    return _chosen([reasons[task.name] for task in tasks], step, f"Run {run.id[:12]}")


def present(workspace: Workspace, run: Run, pipeline: Recordable, step: str | None = None) -> Present:
    """What would run now, and why: the pipeline as it is, recorded anew with the parameters that a run was given.

    Raises:
        NotFoundError: neither the pipeline nor the run has such a task, or a parameter is gone from the pipeline.
        GraphError, WrongTypeError: the pipeline can't be recorded with these parameters.
        ConflictError: a parameter could not be kept.
    """
    store = TaskStore(workspace.database, workspace.ledger, workspace.leases)
    request = store.request(run.id)
    params = parameters_in(request, Values(store.artifacts, workspace.blobs))
    prospects = forecast(pipeline, params, workspace=workspace, seed=request.seed)
    known = {prospect.task for prospect in prospects}
    gone = [task.name for task in store.of_run(run.id) if not task.map_of and task.name not in known]
    if step in gone:
        return Present(run.id, [], [step])
    return Present(run.id, _chosen(prospects, step, f"Pipeline `{pipeline.name}`"), [] if step else gone)


def _summed(tasks: list[Task], reasons: dict[str, Reason]) -> dict[str, Reason]:
    """The reasons, with those of mapped tasks told by how many of their items ran."""
    items: dict[str, list[Reason]] = {}
    for task in tasks:
        if task.map_of:
            items.setdefault(task.map_of, []).append(reasons[task.name])
    summed = dict(reasons)
    for task in tasks:
        if task.is_mapped and (task.id in items or task.state in DONE):
            mine = items.get(task.id, [])
            ran = sum(item.runs is True for item in mine)
            told = [f"{ran} of {len(mine)} items ran"] if mine else ["its list is empty"]
            summed[task.name] = Reason(task.name, reasons[task.name].state, ran > 0, told, items=len(mine))
    return summed


def _recorded(store: TaskStore, task: Task) -> Reason:
    lines = list(task.reasons)
    if task.state is TaskState.REUSED and task.reused_from:
        origin = store.get(task.reused_from)
        if origin is not None:
            lines = [f"reused: same code, inputs, parameters and environment as in run {origin.run[:12]}"]
    elif task.state in (TaskState.SKIPPED, TaskState.CANCELLED) and task.error:
        lines = [task.error]
    known = " ".join(lines)
    lines += [f"not reusable later: {_seen(each)}" for each in task.seen if _seen(each) not in known]
    return Reason(task.name, task.state.value, _ran(task), lines)


def _ran(task: Task) -> bool | None:
    if task.state in (TaskState.WAITING, TaskState.MAPPED):
        return None
    return task.state is not TaskState.REUSED and task.started_at is not None


def _seen(each: dict[str, str]) -> str:
    where = f" ({each['by']})" if each.get("by") else ""
    return f"it read the undeclared {each['kind']} `{each['name']}`{where}"


def _chosen(told: Sequence[_T], step: str | None, owner: str) -> list[_T]:
    if step is None:
        return list(told)
    chosen = [each for each in told if each.task == step or each.task.startswith(f"{step}[")]
    if not chosen:
        names = [each.task for each in told if "[" not in each.task]
        near = close_names(step, names)
        hint = "" if near else f"Its steps: {', '.join(f'`{name}`' for name in names)}."
        raise NotFoundError("step", step, near, hint, owner=owner)
    return chosen

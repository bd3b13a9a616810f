"""Why a step ran, or would run now: the recorded reasons, and the present code held against the last run's."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mainspring.errors import GraphError, NotFoundError, close_names
from mainspring.pipelines._store import TaskStore, awaited_in, stored_in
from mainspring.pipelines.code.fingerprint import compare, fingerprint_of
from mainspring.pipelines.progress import Listener
from mainspring.pipelines.session import Session
from mainspring.pipelines.task import DONE, Task, TaskState
from mainspring.runs import Run, RunStore
from mainspring.workspace import Workspace


class Reason(msgspec.Struct, frozen=True):
    """A task and, in lines for people, why it ran or would run; `runs` is False where a result is reused.

    A mapped task stands for its `items`, which have reasons of their own, and runs if one of them does.
    """

    task: str
    state: str
    runs: bool
    lines: list[str]
    items: int | None = None


def recorded(workspace: Workspace, run: Run, step: str | None = None) -> list[Reason]:
    """Why each task of a run ran or was reused, as decided then.

    Raises:
        NotFoundError: the run has no such task.
    """
    tasks = _tasks(workspace, run)
    reasons = _summed(tasks, {task.name: _recorded(workspace, task) for task in tasks}, "ran")
    return [reasons[task.name] for task in _chosen(tasks, step)]


def present(workspace: Workspace, run: Run, step: str | None = None) -> list[Reason]:
    """What would run now, and why: the present code and environment held against a run's.

    Raises:
        NotFoundError: the run has no such task.
    """
    tasks = _tasks(workspace, run)
    session = Session(
        workspace, Path(workspace.project.root), jobs=1, runner="auto", listener=Listener(), threads=run.threads
    )
    made_by = {artifact: task.name for task in tasks for artifact in task.outputs.values()}
    reasons: dict[str, Reason] = {}
    for task in tasks:
        lines = _now(session, task)
        parents = {made_by[a] for binding in task.arguments.values() for a in stored_in(binding) if a in made_by}
        parents |= {name for binding in task.bindings.values() for name in awaited_in(binding)}
        moved = sorted(name for name in parents if name in reasons and reasons[name].runs)
        if not lines and moved:
            lines = [f"depends on `{name}`, if that gives another result" for name in moved]
        reasons[task.name] = Reason(task.name, task.state.value, bool(lines), lines)
    reasons = _summed(tasks, reasons, "would run")
    return [reasons[task.name] for task in _chosen(tasks, step)]


def _summed(tasks: list[Task], reasons: dict[str, Reason], verb: str) -> dict[str, Reason]:
    """The reasons, with those of mapped tasks told by how many of their items run."""
    items: dict[str, list[Reason]] = {}
    for task in tasks:
        if task.map_of:
            items.setdefault(task.map_of, []).append(reasons[task.name])
    summed = dict(reasons)
    for task in tasks:
        if task.is_mapped and task.state in DONE:
            own, mine = reasons[task.name], items.get(task.id, [])
            running = sum(item.runs for item in mine)
            told = [f"{running} of {len(mine)} items {verb}"] if mine else ["its list is empty"]
            moved = own.lines if own.runs else []  # what it depends on may give another list
            summed[task.name] = Reason(task.name, own.state, running > 0 or bool(moved), told + moved, items=len(mine))
    return summed


def _now(session: Session, task: Task) -> list[str]:
    if task.is_mapped and task.state in DONE:
        return []
    if task.state not in DONE:
        return [f"it has no result: {task.state.value}{f' ({task.error})' if task.error else ''}"]
    if not task.options.cache:
        return ["the step says cache=False"]
    lines = []
    try:
        fingerprint = session.fingerprinter.of(task.module, task.qualname)
    except GraphError as error:
        return [str(error)]
    if fingerprint.digest != task.fingerprint:
        lines = compare(fingerprint_of(session.store.fingerprint_parts(task.fingerprint or "")), fingerprint)
    return lines + [f"not reusable: {_seen(each)}" for each in task.seen]


def _recorded(workspace: Workspace, task: Task) -> Reason:
    lines = list(task.reasons)
    if task.state is TaskState.REUSED and task.reused_from:
        origin = TaskStore(workspace.database, workspace.ledger, workspace.leases).get(task.reused_from)
        if origin is not None:
            lines = [f"reused: same code, inputs, parameters and environment as in run {origin.run[:12]}"]
    elif task.state in (TaskState.SKIPPED, TaskState.CANCELLED) and task.error:
        lines = [task.error]
    known = " ".join(lines)
    lines += [f"not reusable later: {_seen(each)}" for each in task.seen if _seen(each) not in known]
    return Reason(task.name, task.state.value, task.state is not TaskState.REUSED, lines)


def _seen(each: dict[str, str]) -> str:
    where = f" ({each['by']})" if each.get("by") else ""
    return f"it read the undeclared {each['kind']} `{each['name']}`{where}"


def _tasks(workspace: Workspace, run: Run) -> list[Task]:
    return TaskStore(workspace.database, workspace.ledger, workspace.leases).of_run(run.id)


def _chosen(tasks: list[Task], step: str | None) -> list[Task]:
    if step is None:
        return tasks
    chosen = [task for task in tasks if task.name == step or task.name.startswith(f"{step}[")]
    if not chosen:
        raise NotFoundError(
            "step", step, close_names(step, [task.name for task in tasks]), "This run has none of that name."
        )
    return chosen


def last_pipeline_run(workspace: Workspace) -> Run:
    """The newest run of a pipeline.

    Raises:
        NotFoundError: there is none yet.
    """
    for run in RunStore(workspace.database, workspace.ledger).list(limit=1, kind="pipeline"):
        return run
    raise NotFoundError("run", "latest", hint="Nothing was run in this workspace yet; `mainspring run` starts one.")

"""What a run would do: which tasks would run or be reused, and why, as far as can be known before they do.

`mainspring run --dry-run` and `mainspring why` both ask here. It decides as the engine does, and writes nothing down.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mainspring.errors import MainspringError, StorageError
from mainspring.ledger import new_id
from mainspring.pipelines._store import awaited_in
from mainspring.pipelines.decision import Decider
from mainspring.pipelines.launch import Recordable, recorded_calls
from mainspring.pipelines.plan import Tasks, expanded, planned
from mainspring.pipelines.progress import Listener
from mainspring.pipelines.session import Session
from mainspring.pipelines.task import DONE, Task, TaskState
from mainspring.workspace import Workspace, using


class Prospect(msgspec.Struct, frozen=True):
    """A task, whether it would run (None: it depends on results that aren't there yet), and why.

    A mapped task whose list is known stands for its `items`, which follow it, and runs if one of them does.
    """

    task: str
    runs: bool | None
    lines: list[str]
    items: int | None = None


def forecast(
    pipeline: Recordable, params: dict[str, Any], *, workspace: Workspace, seed: int | None = None, reuse: bool = True
) -> list[Prospect]:
    """What each task of a pipeline would do; nothing is run or recorded.

    Raises:
        GraphError, WrongTypeError, NotFoundError: the pipeline or its parameters are wrong.
    """
    settings = workspace.project.settings
    calls, _, _ = recorded_calls(workspace, pipeline, params, strict=False)
    session = Session(workspace, workspace.project.root, jobs=1, runner="auto", listener=Listener())
    with using(workspace):
        would_be = planned(calls, new_id(), session.values, _forget)
    tasks = Tasks(would_be, {position: call.step.function for position, call in enumerate(calls)})
    run_seed = int(settings.seed) if seed is None else seed
    decider = Decider(
        session.store, session.values, session.fingerprinter, run_seed, reuse=reuse, keep=False, entry=pipeline.module
    )
    return [prospect for task in tasks for prospect in _prospects(tasks, task, session, decider)]


def _prospects(tasks: Tasks, task: Task, session: Session, decider: Decider) -> list[Prospect]:
    awaited = {name for binding in task.bindings.values() for name in awaited_in(binding)}
    open_ends = sorted(name for name in awaited if tasks.by_name[name].state not in DONE)
    if open_ends:
        return [Prospect(task.name, None, [f"depends on what `{name}` gives" for name in open_ends])]
    try:
        tasks.resolve(task)
        return _items(tasks, task, session, decider) if task.is_mapped else [_prospect(tasks, task, decider)]
    except StorageError:
        raise
    except MainspringError as error:
        return [Prospect(task.name, runs=True, lines=[f"it would fail: {error}"])]


def _items(tasks: Tasks, task: Task, session: Session, decider: Decider) -> list[Prospect]:
    """A mapped task and its items."""
    found = []
    for child in expanded(task, session.values, _forget):
        tasks.add(child)
        tasks.resolve(child)
        found.append(_prospect(tasks, child, decider))
    running = sum(prospect.runs is True for prospect in found)
    if not running:
        task.state = TaskState.REUSED
    told = f"{running} of {len(found)} items would run" if found else "its list is empty"
    return [Prospect(task.name, running > 0, [told], items=len(found)), *found]


def _prospect(tasks: Tasks, task: Task, decider: Decider) -> Prospect:
    function = tasks.function(task)
    fingerprint = decider.prepare(task, function)
    origin = decider.origin(task, fingerprint)
    if origin is not None and all(map(decider.values.has, origin.outputs.values())):
        task.state, task.outputs = TaskState.REUSED, origin.outputs
        return Prospect(task.name, runs=False, lines=[f"as in run {origin.run[:12]}"])
    lines = decider.explain(task, fingerprint, list(fingerprint.differences))
    return Prospect(task.name, runs=True, lines=lines)


def _forget(_artifact: object) -> None:
    """Values that JSON can't hold become artifacts of a run only when there is one."""

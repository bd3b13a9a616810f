"""What `run --dry-run` says: which tasks would run or be reused, and why, as far as can be known before they do."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from mainspring.cli import text
from mainspring.cli.app import Invocation
from mainspring.ledger import new_id
from mainspring.pipelines._store import awaited_in
from mainspring.pipelines.decision import Decider, live_differences
from mainspring.pipelines.pipeline import Pipeline
from mainspring.pipelines.plan import Tasks, expanded, planned
from mainspring.pipelines.progress import Listener
from mainspring.pipelines.session import Session
from mainspring.pipelines.task import DONE, Task, TaskState


class Prospect(msgspec.Struct, frozen=True):
    """A task, whether it would run (None: it depends on results that aren't there yet), and why."""

    task: str
    runs: bool | None
    lines: list[str]


def show_forecast(
    invocation: Invocation, pipeline: Pipeline[Any, Any], params: dict[str, Any], *, seed: int | None, reuse: bool
) -> None:
    """Print what a run of the pipeline would do."""
    prospects = forecast(invocation, pipeline, params, seed=seed, reuse=reuse)
    invocation.show({"pipeline": pipeline.name, "tasks": prospects}, lambda: _shown(prospects))


def forecast(
    invocation: Invocation, pipeline: Pipeline[Any, Any], params: dict[str, Any], *, seed: int | None, reuse: bool
) -> list[Prospect]:
    """What each task of a pipeline would do; nothing is run or recorded.

    Raises:
        GraphError, WrongTypeError, NotFoundError: the pipeline or its parameters are wrong.
    """
    workspace = invocation.workspace
    settings = workspace.project.settings
    calls, _, _ = pipeline.record(params, strict=False)
    session = Session(workspace, workspace.project.root, jobs=1, runner="auto", listener=Listener())
    tasks = Tasks(
        planned(calls, new_id(), session.values, _forget),
        {position: call.step.function for position, call in enumerate(calls)},
    )
    run_seed = int(settings.seed) if seed is None else seed
    decider = Decider(session.store, session.values, session.fingerprinter, run_seed, reuse=reuse)
    return [prospect for task in tasks for prospect in _prospects(tasks, task, session, decider)]


def _prospects(tasks: Tasks, task: Task, session: Session, decider: Decider) -> list[Prospect]:
    awaited = {name for binding in task.bindings.values() for name in awaited_in(binding)}
    open_ends = sorted(name for name in awaited if tasks.by_name[name].state not in DONE)
    if open_ends:
        return [Prospect(task.name, None, [f"depends on what `{name}` gives" for name in open_ends])]
    tasks.resolve(task)
    if not task.is_mapped:
        return [_prospect(tasks, task, decider)]
    found = []
    for child in expanded(task, session.values, _forget):
        tasks.add(child)
        tasks.resolve(child)
        found.append(_prospect(tasks, child, decider))
    if not any(prospect.runs for prospect in found):
        task.state = TaskState.REUSED
    return found


def _prospect(tasks: Tasks, task: Task, decider: Decider) -> Prospect:
    function = tasks.function(task)
    fingerprint = decider.prepare(task, function)
    origin = decider.origin(task, fingerprint)
    if origin is not None and all(map(decider.values.has, origin.outputs.values())):
        task.state, task.outputs = TaskState.REUSED, origin.outputs
        return Prospect(task.name, runs=False, lines=[f"as in run {text.short(origin.run)}"])
    live = live_differences(decider.fingerprinter, task) if function is not None else []
    return Prospect(task.name, runs=True, lines=decider.explain(task, fingerprint, live))


def _forget(_artifact: object) -> None:
    """Values that JSON can't hold become artifacts of a run only when there is one."""


def _shown(prospects: list[Prospect]) -> str:
    marks = {True: ("run", "yellow"), False: ("reuse", "cyan"), None: ("open", "blue")}
    width = max((len(prospect.task) for prospect in prospects), default=0)
    lines = []
    for prospect in prospects:
        word, colour = marks[prospect.runs]
        told = ("\n" + " " * (width + 9)).join(prospect.lines)
        lines.append(f"{click.style(word.ljust(5), fg=colour)}  {prospect.task.ljust(width)}  {told}")
    counts = {word: sum(p.runs is key for p in prospects) for key, (word, _) in marks.items()}
    told = f"{counts['run']} would run, {counts['reuse']} would be reused"
    open_ends = f", {counts['open']} can't be known before" if counts["open"] else ""
    return "\n".join([*lines, "", f"Nothing was run: {told}{open_ends}."])

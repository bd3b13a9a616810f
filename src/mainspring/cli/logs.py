"""`mainspring logs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.errors import NotFoundError, close_names, listed

if TYPE_CHECKING:
    from mainspring.pipelines.task import Attempt, Task
    from mainspring.runs import Run
    from mainspring.workspace import Workspace


@click.command(cls=Command)
@click.argument("name", metavar="RUN")
@click.argument("step", default="", metavar="[STEP]")
@click.option("--attempts", is_flag=True, help="Also what earlier attempts printed.")
@click.pass_obj
def logs(invocation: Invocation, name: str, step: str, attempts: bool) -> None:
    """Show what the steps of RUN printed, or STEP alone; of a script's run, what the script printed.

    Of what is running it is what was printed so far; of a reused step, what it printed when it ran; of one that failed
    before it started, why.
    """
    from mainspring.cli.records import task_store
    from mainspring.pipelines.task import leaves
    from mainspring.runs import RunStore

    workspace = invocation.workspace
    run = RunStore(workspace.database, workspace.ledger).get(name)
    store = task_store(workspace)
    tasks = store.of_run(run.id)
    chosen = [task for task in tasks if not step or task.name == step or task.name.startswith(f"{step}[")]
    if not chosen and step:
        names = [task.name for task in leaves(tasks)]
        near = close_names(step, names)
        hint = "" if near else f"Its steps: {listed(names)}."
        raise NotFoundError("step", step, near, hint, owner=f"Run {text.short(run.id)}")
    chosen = [(store.get(task.reused_from) if task.reused_from else None) or task for task in chosen]
    tried = [(task, attempt) for task in chosen for attempt in store.attempts(task.id)[0 if attempts else -1 :]]
    found = [_log(workspace, task, attempt) for task, attempt in tried]
    started = {task.id for task, _ in tried}
    found += [_refusal(task) for task in leaves(chosen) if task.state == "failed" and task.id not in started]
    if not tasks:
        found = [_script_log(workspace, run)]
    alone = len(found) == 1 and (bool(step) or not tasks)
    invocation.show({"run": run.id, "logs": found}, lambda: _shown(run.id, found, alone=alone))


def _script_log(workspace: Workspace, run: Run) -> dict[str, Any]:
    path = workspace.scratch / run.id / "run.log"
    if run.log:
        printed = workspace.blobs.read(run.log).decode("utf-8", "replace")
    else:
        printed = path.read_text("utf-8", "replace") if path.exists() else ""
    return {"step": "", "run": run.id, "attempt": 1, "state": run.state.value, "text": printed}


def _log(workspace: Workspace, task: Task, attempt: Attempt) -> dict[str, Any]:
    path = workspace.scratch / task.run / f"{attempt.id}.log"
    if attempt.log:
        printed = workspace.blobs.read(attempt.log).decode("utf-8", "replace")
    elif attempt.state == "running" and path.exists():
        printed = path.read_text("utf-8", "replace")
    else:
        printed = ""
    record = {"step": task.name, "run": task.run, "attempt": attempt.number, "state": attempt.state}
    return record | {"text": printed}


def _refusal(task: Task) -> dict[str, Any]:
    """Why a task failed that was never tried, as one that was to be mapped over what is no list."""
    return {"step": task.name, "run": task.run, "attempt": 0, "state": task.state.value, "text": task.error or ""}


def _shown(run_id: str, found: list[dict[str, Any]], *, alone: bool) -> str:
    if alone and found[0]["text"]:
        return str(found[0]["text"]).rstrip("\n")
    parts = []
    for log in found:
        if log["text"]:
            which = f" (attempt {log['attempt']})" if log["attempt"] > 1 else ""
            which += f" (reused from run {text.short(log['run'])})" if log["run"] != run_id else ""
            parts.append(f"{text.bold(log['step'])}{which}  {text.state(log['state'])}\n{log['text'].rstrip()}")
    return "\n\n".join(parts) if parts else "Nothing was printed."

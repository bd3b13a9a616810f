"""`mainspring logs`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from mainspring.cli import text
from mainspring.cli.app import Command, Invocation
from mainspring.errors import NotFoundError, close_names, listed

if TYPE_CHECKING:
    from mainspring.pipelines._store import TaskStore
    from mainspring.pipelines.task import Attempt, Task
    from mainspring.runs import Run
    from mainspring.workspace import Workspace


@click.command(cls=Command)
@click.argument("name", metavar="RUN")
@click.argument("step", default="", metavar="[STEP]")
@click.option("--attempts", is_flag=True, help="Also what earlier attempts printed, before a step was reused too.")
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
    tried = [each for task in chosen for each in _tried(store, task)[0 if attempts else -1 :]]
    found = [_log(workspace, store, task, attempt) for task, attempt in tried]
    started = {task.id for task, _ in tried}
    found += [_refusal(task) for task in leaves(chosen) if task.state == "failed" and task.id not in started]
    if not tasks:
        found = [_script_log(workspace, run)]
    alone = len(found) == 1 and (bool(step) or not tasks)
    invocation.show({"run": run.id, "logs": found}, lambda: _shown(run.id, found, alone=alone))


def _tried(store: TaskStore, task: Task) -> list[tuple[Task, Attempt]]:
    """The attempts of a task; behind its own, of a reused one, those of the task that it was taken from."""
    origin = store.get(task.reused_from) if task.reused_from else None
    return [(each, attempt) for each in (task, origin) if each is not None for attempt in store.attempts(each.id)]


def _script_log(workspace: Workspace, run: Run) -> dict[str, Any]:
    from mainspring.cli.records import run_store
    from mainspring.runs.printed import LOG_NAME

    printed = workspace.blobs.read(run.log).decode("utf-8", "replace") if run.log else ""
    with suppress(FileNotFoundError):  # it goes on, or was killed
        printed += (workspace.scratch / run.id / LOG_NAME).read_text("utf-8", "replace")
    state = run_store(workspace).shown_state(run, workspace.leases).value
    return {"step": "", "run": run.id, "attempt": 1, "state": state, "text": printed}


def _log(workspace: Workspace, store: TaskStore, task: Task, attempt: Attempt) -> dict[str, Any]:
    from mainspring.pipelines.printed import log_file

    printed = ""
    if attempt.log:
        printed = workspace.blobs.read(attempt.log).decode("utf-8", "replace")
    elif attempt.state == "running" and (path := log_file(workspace, task.run, attempt)) is not None:
        with suppress(FileNotFoundError):  # it has ended meanwhile, or has only a raw one yet
            printed = path.read_text("utf-8", "replace")
    return {
        "step": task.name, "run": task.run, "attempt": attempt.number,
        "state": store.shown_state(task.id, attempt.state), "text": printed,
        "note": attempt.message if attempt.kind == "lost" and not attempt.log else None,
    }  # fmt: skip


def _refusal(task: Task) -> dict[str, Any]:
    """Why a task failed that was never tried, as one that was to be mapped over what is no list."""
    return {"step": task.name, "run": task.run, "attempt": 0, "state": task.state.value, "text": task.error or ""}


def _shown(run_id: str, found: list[dict[str, Any]], *, alone: bool) -> str:
    if alone and found[0]["text"]:
        return str(found[0]["text"]).rstrip("\n")
    parts = []
    for log in found:
        if log["text"] or log.get("note"):
            which = f" (attempt {log['attempt']})" if log["attempt"] > 1 else ""
            which += f" (reused from run {text.short(log['run'])})" if log["run"] != run_id else ""
            parts.append(
                f"{text.bold(log['step'])}{which}  {text.state(log['state'])}\n{log['text'].rstrip() or text.dim(log['note'])}"
            )
    return "\n\n".join(parts) if parts else "Nothing was printed."

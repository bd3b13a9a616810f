"""`mainspring runs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation

if TYPE_CHECKING:
    from mainspring.pipelines.task import Task
    from mainspring.runs import Run
    from mainspring.workspace import Workspace

_STATES = ("running", "succeeded", "failed", "cancelled", "interrupted")
_MOST = 1_000_000


@click.group(cls=Group, default="list")
def runs() -> None:
    """List runs, newest first (the same as `runs list`), and look into one."""


@runs.command("list")
@click.option("--state", type=click.Choice(_STATES), help="Only runs in this state.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="At most so many."
)
@click.option("--all", "everything", is_flag=True, help="Every run.")
@click.option("--before", metavar="RUN", help="Only runs before this one.")
@click.pass_obj
def list_runs(invocation: Invocation, state: str | None, limit: int, everything: bool, before: str | None) -> None:
    """List runs, newest first."""
    from mainspring.cli.records import run_record
    from mainspring.runs import RunStore

    workspace = invocation.workspace
    store = RunStore(workspace.database, workspace.ledger)
    # An interrupted run is recorded as running; only its lease tells.
    recorded = "running" if state == "interrupted" else state
    found = store.list(
        state=recorded, limit=_MOST if everything else limit, before=store.get(before).id if before else None
    )
    records = [run_record(workspace, run) for run in found]
    records = [record for record in records if state in (None, record["state"])]
    invocation.show({"runs": records}, lambda: _listed(records, found))


@runs.command("show")
@click.argument("name", metavar="RUN")
@click.pass_obj
def show_run(invocation: Invocation, name: str) -> None:
    """Show RUN: who ran what, when, from which code and environment; its steps, metrics and outputs.

    RUN is an id, a unique prefix of one, or `latest`; so it is everywhere.
    """
    from mainspring.cli.records import run_document
    from mainspring.runs import RunStore

    workspace = invocation.workspace
    run = RunStore(workspace.database, workspace.ledger).get(name)
    document = run_document(workspace, run)
    invocation.show(document, lambda: _shown(workspace, run, document))


def _listed(records: list[dict[str, Any]], found: list[Run]) -> str:
    if not records:
        return "No runs. `mainspring run` starts one."
    by_id = {run.id: run for run in found}
    rows = []
    for record in records:
        run = by_id[record["id"]]
        rows.append(
            [
                text.short(run.id), run.name, "" if run.kind == "pipeline" else run.kind, text.state(record["state"]),
                text.moment(run.started_at), text.duration(run.duration_s), run.note,
            ]
        )  # fmt: skip
    headers = ["run", "name", "kind", "state", "started", "took", "note"]
    empty = [column for column in (6, 2) if not any(row[column] for row in rows)]
    for line in (headers, *rows):
        for column in empty:
            del line[column]
    return text.table(headers, rows)


def _shown(workspace: Workspace, run: Run, document: dict[str, Any]) -> str:
    from mainspring.cli.records import shown_outputs, task_store

    parts = [_facts(run, document["run"])]
    tasks = task_store(workspace).of_run(run.id)
    if tasks:
        parts.append(text.table(["step", "state", "took", "memory", "why"], [_row(task) for task in tasks]))
    if document["metrics"]:
        parts.append(text.table(["metric", "value"], [[k, f"{v:.6g}"] for k, v in document["metrics"].items()]))
    if outputs := shown_outputs(workspace, run):
        parts.append(outputs)
    return "\n\n".join(parts)


def _facts(run: Run, record: dict[str, Any]) -> str:
    took = f", took {text.duration(run.duration_s)}" if run.ended_at else ""
    dirty = " and uncommitted changes" if record["git_dirty"] else ""
    return text.facts(
        [
            ("run", f"{text.bold(run.id)}  {text.state(record['state'])}"),
            ("name", f"{run.name} ({run.target})" if run.target else run.name),
            ("kind", "" if run.kind == "pipeline" else run.kind),
            ("replay of", run.replay_of or ""),
            ("by", run.actor),
            ("started", f"{text.moment(run.started_at)}{took}"),
            ("git", f"{run.git_commit[:12]}{dirty}" if run.git_commit else ""),
            ("code", text.short(run.code_digest or "")),
            ("environment", text.short(run.environment_digest or "")),
            ("seed", f"{run.seed}, {text.counted(run.threads, 'thread')}"
             f"{'' if run.hash_seed_fixed else ', hash seed not fixed'}" if run.threads else str(run.seed)),
            ("parameters", "\n".join(f"{name} = {value!r}" for name, value in run.params.items())),
            ("tags", "\n".join(f"{name} = {value}" for name, value in run.tags.items())),
            ("note", run.note),
            ("error", click.style(run.error, fg="red") if run.error else ""),
        ]
    )  # fmt: skip


def _row(task: Task) -> list[str]:
    from mainspring.cli.records import text_line
    from mainspring.pipelines.task import TaskState

    why = task.error or "; ".join(task.reasons)
    if task.state is TaskState.REUSED and not why:
        why = "nothing changed"
    name = f"  {task.name}" if task.map_of else task.name
    return [name, text.state(task.state), text.duration(task.wall_s), text.size(task.peak_bytes), text_line(why)]

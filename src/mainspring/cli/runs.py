"""`mainspring runs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mainspring.cli import text
from mainspring.cli.app import Group, Invocation
from mainspring.cli.found import FILTER, ORDER, show_search

if TYPE_CHECKING:
    from mainspring.pipelines.task import Task
    from mainspring.runs import Run, View
    from mainspring.workspace import Workspace

_STATES = ("running", "succeeded", "failed", "cancelled", "interrupted")
_MOST = 1_000_000
_MOST_ITEMS = 20  # of a mapped step
_MOST_METRICS = 60


_LAZY = {
    "search": ("mainspring.cli.found:search", "Search runs, also those inside others."),
    "compare": ("mainspring.cli.found:compare", "Put runs side by side."),
    "best": ("mainspring.cli.found:best", "List the best runs by a metric."),
    "delete": ("mainspring.cli.kept:delete", "Hide runs until they are restored."),
    "restore": ("mainspring.cli.kept:restore", "Bring deleted runs back."),
    "note": ("mainspring.cli.kept:write_note", "Replace the note of a run."),
    "files": ("mainspring.cli.files:files", "List the files that a run logged, or copy them."),
    "checkpoints": ("mainspring.cli.checkpoints:checkpoints", "List the checkpoints that a run keeps."),
}


@click.group(cls=Group, default="list", lazy=_LAZY)
def runs() -> None:
    """List runs, newest first (the same as `runs list`), look into one, search and compare."""


@runs.command("list")
@click.option("--state", type=click.Choice(_STATES), help="Only runs in this state.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="At most so many."
)
@click.option("--all", "everything", is_flag=True, help="Every run.")
@click.option("--before", metavar="RUN", help="Only runs before this one.")
@click.option("--deleted", is_flag=True, help="Deleted runs instead.")
@click.option("--experiment", "experiments", multiple=True, metavar="NAME", help="Only runs of these experiments.")
@FILTER
@ORDER
@click.pass_obj
def list_runs(
    invocation: Invocation, *, state: str | None, limit: int, everything: bool, before: str | None, deleted: bool,
    experiments: tuple[str, ...], where: str, order_by: tuple[str, ...],
) -> None:  # fmt: skip
    """List runs, newest first. With a filter, an order or experiments, also those inside others."""
    from mainspring.cli.records import run_record
    from mainspring.runs import RunStore

    if where or order_by or experiments:
        where = " AND ".join(each for each in (where, f"attributes.state = '{state}'" if state else "") if each)
        view: View = "deleted" if deleted else "active"
        show_search(invocation, where, order_by, experiments=experiments or None, limit=limit, view=view)
        return
    workspace = invocation.workspace
    store = RunStore(workspace.database, workspace.ledger)
    found = store.list(
        state=state, limit=_MOST if everything else limit, before=store.get(before, deleted=deleted).id if before else None,
        deleted=deleted, leases=workspace.leases,
    )  # fmt: skip
    records = [run_record(workspace, run) for run in found]
    invocation.show({"runs": records}, lambda: _listed(records, found, deleted=deleted))


@runs.command("show")
@click.argument("name", metavar="RUN")
@click.argument("step", default="", metavar="[STEP]")
@click.option("--environment", is_flag=True, help="The recorded interpreter, platform and distributions.")
@click.option("--diff", is_flag=True, help="The recorded uncommitted changes, without secrets.")
@click.option("--code", is_flag=True, help="The recorded sources.")
@click.option("--all", "everything", is_flag=True, help="Every item of a mapped step.")
@click.pass_obj
def show_run(
    invocation: Invocation, name: str, step: str, *, environment: bool, diff: bool, code: bool, everything: bool
) -> None:
    """Show RUN: who ran what, when, from which code and environment; its steps, metrics and outputs.

    With STEP: its inputs, outputs, attempts, and what it read and logged. RUN is an id, a unique prefix of one, or
    `latest`, the newest run that is no replay; so it is everywhere. Where only a run of a pipeline will do (`why`,
    `resume`, `replay`), it is the newest of these.
    """
    from mainspring.cli import recorded
    from mainspring.cli.records import run_document, run_store

    workspace = invocation.workspace
    run = run_store(workspace).get(name)
    asked = [word for word, wanted in (("--environment", environment), ("--diff", diff), ("--code", code)) if wanted]
    if len(asked) + bool(step) > 1:
        raise click.UsageError(f"Ask for one thing at a time: {', '.join([*asked, *([step] if step else [])])}.")
    if environment:
        recorded.show_environment(invocation, run)
    elif diff:
        recorded.show_diff(invocation, run)
    elif code:
        recorded.show_code(invocation, run)
    elif step:
        recorded.show_step(invocation, run, step)
    else:
        document = run_document(workspace, run)
        invocation.show(document, lambda: _shown(workspace, run, document, everything=everything))


def _listed(records: list[dict[str, Any]], found: list[Run], *, deleted: bool) -> str:
    if not records:
        return "No deleted runs." if deleted else "No runs. `mainspring run` starts one."
    by_id = {run.id: run for run in found}
    rows = []
    for record in records:
        run = by_id[record["id"]]
        rows.append(
            [
                text.short(run.id), run.name, "" if run.kind == "pipeline" else run.kind, text.state(record["state"]),
                text.moment(run.started_at), text.duration(run.duration_s),
                text.moment(run.deleted_at) if run.deleted_at else "", run.note,
            ]
        )  # fmt: skip
    headers = ["run", "name", "kind", "state", "started", "took", "deleted", "note"]
    empty = [column for column in (7, 6, 2) if not any(row[column] for row in rows)]
    for line in (headers, *rows):
        for column in empty:
            del line[column]
    return text.table(headers, rows)


def _shown(workspace: Workspace, run: Run, document: dict[str, Any], *, everything: bool) -> str:
    from mainspring.cli.records import listing, shown_files, shown_outputs, task_store

    parts = [_facts(run, document)]
    tasks = task_store(workspace).of_run(run.id)
    if tasks:
        states = {record["id"]: record["state"] for record in document["tasks"]}
        rows = [_row(task, run, states[task.id]) for task in (tasks if everything else _folded(tasks))]
        parts.append(text.table(["step", "state", "took", "memory", "why"], rows))
    if metrics := _metrics(document):
        parts.append(text.table(["metric", "value", "from"], metrics))
    if document["artifacts"]:
        parts.append(text.facts(((name, listing([each])) for name, each in document["artifacts"].items()), cut=True))
    if files := shown_files(document["files"]):
        parts.append(files)
    if outputs := shown_outputs(workspace, run):
        parts.append(outputs)
    return "\n\n".join(parts)


def _facts(run: Run, document: dict[str, Any]) -> str:
    record = document["run"]
    took = f", took {text.duration(run.duration_s)}" if run.ended_at else ""
    pause = ", without the pause before it was resumed" if run.resumed_at and took else ""
    dirty = " and uncommitted changes" if record["git_dirty"] else ""
    used = [f"{text.duration(record['cpu_s'])} of processor time" if record["cpu_s"] else ""]
    used += [f"at most {text.size(record['peak_bytes'])} of memory" if record["peak_bytes"] else ""]
    seen, number = document["not_reusable"], document["experiment_number"]  # 0 is Default, which goes without saying
    seed = [str(run.seed)] + ([text.counted(run.threads, "thread")] if run.threads else [])
    seed += [] if run.hash_seed_fixed else ["hash seed not fixed"]
    return text.facts(
        [
            ("run", f"{text.bold(run.id)}  {text.state(record['state'])}"),
            ("name", f"{run.name} ({run.target})" if run.target else run.name),
            ("kind", "" if run.kind == "pipeline" else run.kind),
            ("replay of", run.replay_of or ""),
            ("experiment", f"{run.experiment} ({number})" if number else ""),
            ("by", run.actor),
            ("started", f"{text.moment(run.started_at)}{took}{pause}"),
            ("used", ", ".join(part for part in used if part)),
            ("git", f"{run.git_commit[:12]}{dirty}" if run.git_commit else ""),
            ("code", text.short(run.code_digest or "")),
            ("environment", text.short(run.environment_digest or "")),
            ("seed", ", ".join(seed) if run.kind != "script" else ""),
            ("parameters", "\n".join(f"{name} = {value!r}" for name, value in run.params.items())),
            ("tags", "\n".join(f"{name} = {value}" for name, value in run.tags.items())),
            ("note", run.note),
            ("read", "\n".join(node["label"] for node in document["read"])),
            ("datasets", "\n".join(f"{each['name']}  {text.short(each['digest'])}" for each in document["datasets"])),
            ("made", "\n".join(node["label"] for node in document["made"])),
            ("not reusable", f"{text.counted(seen, 'step')}; see mainspring why {text.short(run.id)}"
             if seen else ""),
            ("error", click.style(run.error, fg="red") if run.error else ""),
        ]
    )  # fmt: skip


def _metrics(document: dict[str, Any]) -> list[list[str]]:
    """A row for each metric of the run and of each step, reused ones marked."""
    rows = []
    for task in document["tasks"]:
        told = f"{task['name']}, reused" if task["reused_from"] else task["name"]
        rows += [[name, _number(value), told] for name, value in task["metrics"].items()]
    of_steps = {name for task in document["tasks"] for name in task["metrics"]}
    own = [[name, _number(value), ""] for name, value in document["metrics"].items() if name not in of_steps]
    return own + (
        rows if len(rows) <= _MOST_METRICS else [*rows[:_MOST_METRICS], [f"… {len(rows) - _MOST_METRICS} more", "", ""]]
    )


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def _folded(tasks: list[Task]) -> list[Task]:
    """The tasks, of many items of a mapped step only those that went wrong."""
    items: dict[str, int] = {}
    for task in tasks:
        if task.map_of:
            items[task.map_of] = items.get(task.map_of, 0) + 1
    return [
        task for task in tasks
        if items.get(task.map_of or "", 0) <= _MOST_ITEMS or task.state.value in ("failed", "running")
    ]  # fmt: skip


def _row(task: Task, run: Run, state: str) -> list[str]:
    from mainspring.cli.records import text_line, undeclared
    from mainspring.pipelines.task import TaskState

    reasons = [] if run.replay_of else task.reasons
    why = [task.error] if task.error else [*reasons, *(f"not reusable: {line}" for line in undeclared(task))]
    if task.state is TaskState.REUSED and not why:
        why = ["nothing changed"]
    name = f"  {task.name}" if task.map_of else task.name
    return [
        name,
        text.state(state),
        text.duration(task.wall_s),
        text.size(task.peak_bytes),
        text_line("; ".join(why)),
    ]

"""Runs, tasks and outputs as documents for machines, and as lines for people.

Numbers that JSON doesn't have are texts, `NaN`, `Infinity` and `-Infinity`, in every document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring import clock
from mainspring.cli import text

if TYPE_CHECKING:
    from mainspring.artifacts.record import Artifact
    from mainspring.ledger.ledger import Node
    from mainspring.pipelines._store import TaskStore
    from mainspring.pipelines.graph import Binding
    from mainspring.pipelines.task import Task
    from mainspring.runs import Run, RunStore
    from mainspring.workspace import Workspace

_LONGEST_VALUE = 500  # in a terminal, tables and facts fit it
_MOST_FILES = 40
_ENDED_WITHOUT = {
    "failed": "failed", "skipped": "was skipped", "cancelled": "was cancelled", "running": "is not done",
    "mapped": "is not done", "waiting": "did not run",
}  # fmt: skip


def run_record(workspace: Workspace, run: Run, tasks: Sequence[Task] = ()) -> dict[str, Any]:
    """A run as a document, with the state as it is and times in ISO 8601; a pipeline's usage is that of its tasks."""
    record: dict[str, Any] = msgspec.to_builtins(run)
    record["state"] = run_store(workspace).shown_state(run, workspace.leases).value
    own = [task for task in tasks if task.wall_s is not None]
    if own:
        record["cpu_s"] = sum(task.cpu_s or 0.0 for task in own)
        record["peak_bytes"] = max(task.peak_bytes or 0 for task in own) or None
    return record | {
        "started_at": iso(run.started_at), "ended_at": iso(run.ended_at), "resumed_at": iso(run.resumed_at),
        "duration_s": run.duration_s, "git_dirty": None if run.git_commit is None else run.git_diff is not None,
    }  # fmt: skip


def shared_document(
    workspace: Workspace, run: Run, records: Sequence[Any], *, tasks: Sequence[Task] = (), **more: Any
) -> dict[str, Any]:
    """What every document about a run begins with: `run`, and `tasks`, which has a record for each.

    With the `tasks` themselves the run's usage is told.
    """
    return {"run": run_record(workspace, run, tasks), "tasks": list(records), **more}


def run_document(workspace: Workspace, run: Run) -> dict[str, Any]:
    """A run with its tasks, metrics, artifacts and outputs, and the records that it read and made by itself."""
    tasks = task_store(workspace).of_run(run.id)
    read, made = touched(workspace, run.id)
    return shared_document(
        workspace, run, task_records(workspace, tasks), tasks=tasks, metrics=metrics_of(workspace, run, tasks),
        artifacts=artifacts_of(workspace, run), files=files_of(workspace, run), outputs=outputs_of(workspace, run, tasks),
        not_reusable=not_reusable(tasks), read=read, made=made, datasets=datasets_of(workspace, run),
        experiment_number=run_store(workspace).experiment_of(run).number,
    )  # fmt: skip


def task_records(workspace: Workspace, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """Tasks as documents, with what they made and logged; a reused one has what was logged when it ran."""
    from mainspring.pipelines.results import logged_runs
    from mainspring.runs import Metrics, named_numbers

    store, metrics = task_store(workspace), Metrics(workspace.metrics)
    artifacts = store.artifacts.get_many(id_ for task in tasks for id_ in task.outputs.values())
    logged = logged_runs(workspace, store, tasks)
    records = []
    for task in tasks:
        record: dict[str, Any] = msgspec.to_builtins(task)
        own = logged.get(task.id)
        records.append(
            named_numbers(record)
            | {
                "state": store.shown_state(task.id, task.state),
                "started_at": iso(task.started_at), "ended_at": iso(task.ended_at),
                "outputs": {n: artifact_record(artifacts[id_]) for n, id_ in task.outputs.items() if id_ in artifacts},
                "metrics": named_numbers(metrics.latest_values(own.series)) if own else {},
                "params": own.params if own else {}, "tags": own.tags if own else {},
                "artifacts": artifacts_of(workspace, own) if own else {},
                "files": files_of(workspace, own) if own else [],
            }
        )  # fmt: skip
    return records


def step_document(workspace: Workspace, run: Run, task: Task, attempts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One task with everything that is known of it: inputs, outputs, attempts, what it read, made and logged."""
    store = task_store(workspace)
    inputs = {name: list(_ends(workspace, binding, {})) for name, binding in (task.arguments or task.bindings).items()}
    read, made = touched(workspace, task.id)
    origin = store.get(task.reused_from) if task.reused_from else None
    more = {
        "inputs": inputs, "attempts": attempts, "read": read, "made": made,
        "reused_from_run": origin.run if origin else None,
    }  # fmt: skip
    return {"run": run_record(workspace, run), "task": task_records(workspace, [task])[0] | more}


def outputs_of(workspace: Workspace, run: Run, tasks: Sequence[Task] | None = None) -> dict[str, list[dict[str, Any]]]:
    """What a run's pipeline returned: for each name the artifacts or plain values in it, in order.

    What has no result says so and has no content digest.
    """
    from mainspring.pipelines.plan import Tasks

    store = task_store(workspace)
    known = store.of_run(run.id) if tasks is None else tasks
    line, by_name = Tasks(list(known), {}), {task.name: task for task in known}
    return {
        name: list(_ends(workspace, line.resolved(binding), by_name)) for name, binding in store.outputs(run.id).items()
    }


def shown_outputs(workspace: Workspace, run: Run) -> str:
    """What a run's pipeline returned, a line for each name."""
    return text.facts(((name, listing(found)) for name, found in outputs_of(workspace, run).items()), cut=True)


def listing(found: Sequence[dict[str, Any]]) -> str:
    """The values of one name, at most five, a line each."""
    summaries = dict.fromkeys(each["summary"] for each in found) if any("missing" in each for each in found) else None
    lines = list(summaries) if summaries else [each["summary"] for each in found]
    rest = [f"… {len(lines) - 5} more"] if len(lines) > 5 else []
    return "\n".join(text_line(line) for line in [*lines[:5], *rest]) or "an empty list"


def metrics_of(workspace: Workspace, run: Run, tasks: Sequence[Task] | None = None) -> dict[str, Any]:
    """The last value of each metric of a run and of its steps; of a reused step those of when it ran."""
    from mainspring.pipelines.results import logged_runs
    from mainspring.runs import Metrics, named_numbers

    store, metrics = task_store(workspace), Metrics(workspace.metrics)
    known = store.of_run(run.id) if tasks is None else tasks
    found: dict[str, float] = {}
    for each in [*logged_runs(workspace, store, known).values(), run]:
        found |= metrics.latest_values(each.series)
    numbers: dict[str, Any] = named_numbers(found)
    return numbers


def artifacts_of(workspace: Workspace, run: Run) -> dict[str, dict[str, Any]]:
    """What was logged as artifacts of a run, by name."""
    return {name: artifact_record(artifact) for name, artifact in run_store(workspace).artifacts(run.id).items()}


def files_of(workspace: Workspace, run: Run) -> list[dict[str, Any]]:
    """The files that were logged to a run, by path."""
    from mainspring.runs import RunFiles

    return [msgspec.to_builtins(file) for file in RunFiles(workspace).walk(run.id).values()]


def datasets_of(workspace: Workspace, run: Run) -> list[dict[str, Any]]:
    """The datasets that a run was told to have used, beside those of this workspace that it read."""
    from mainspring.runs import RunInputs
    from mainspring.runs.inputs import NATIVE

    told = RunInputs(workspace.database, workspace.ledger).inputs(run.id)
    return [msgspec.to_builtins(each) for each in told if each.source_type != NATIVE]


def shown_files(files: Sequence[dict[str, Any]]) -> str:
    """Files as a table, the first of many."""
    rows = [[each["path"], text.size(each["size_bytes"])] for each in files[:_MOST_FILES]]
    more = [[f"… {len(files) - _MOST_FILES:,} more", ""]] if len(files) > _MOST_FILES else []
    return text.table(["file", "size"], [*rows, *more]) if rows else ""


def touched(workspace: Workspace, node_id: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The records (dataset and model versions) that a task or script read, and those that it made, as lineage nodes."""
    ledger = workspace.ledger
    read = [edge.dst for edge in ledger.edges([node_id]) if edge.role == "reads"]
    made = [edge.src for edge in ledger.edges([node_id], "down") if edge.role in ("made_by", "made_within")]
    nodes = ledger.nodes({*read, *made})
    first, second = ([nodes[id_] for id_ in dict.fromkeys(ids) if id_ in nodes] for ids in (read, made))
    return (
        [node_record(node) for node in first],
        [node_record(node) for node in second if node.kind != "artifact"],
    )


def not_reusable(tasks: Iterable[Task]) -> int:
    """How many tasks read what they didn't declare, or have code that can't be recorded, so that nothing reuses them."""
    from mainspring.pipelines.task import TaskState

    ended = (task for task in tasks if task.state is TaskState.SUCCEEDED and task.options.cache and not task.is_mapped)
    return sum(not task.is_reusable for task in ended)


def undeclared(task: Task) -> list[str]:
    """What a task read and didn't declare, a line each."""
    by = [f" (by {each['by']})" if each.get("by") else "" for each in task.seen]
    return [f"undeclared {each['kind']} `{each['name']}`{who}" for each, who in zip(task.seen, by, strict=True)]


def run_store(workspace: Workspace) -> RunStore:
    """The runs of a workspace."""
    from mainspring.runs import RunStore

    return RunStore(workspace.database, workspace.ledger)


def task_store(workspace: Workspace) -> TaskStore:
    """The tasks of a workspace."""
    from mainspring.pipelines._store import TaskStore

    return TaskStore(workspace.database, workspace.ledger, workspace.leases)


def iso(at_us: int | None) -> str | None:
    """A stored time in ISO 8601, UTC."""
    return None if at_us is None else clock.from_us(at_us).isoformat()


def node_record(node: Node) -> dict[str, Any]:
    """A node of the lineage as a document."""
    record: dict[str, Any] = msgspec.to_builtins(node)
    return record | {"created_at": iso(node.created_at)}


def text_line(value: str) -> str:
    """A value in one line of a bearable length."""
    return text.fitted(value, _LONGEST_VALUE)


def artifact_record(artifact: Artifact) -> dict[str, Any]:
    """An artifact as a document."""
    return {
        "artifact": artifact.id, "name": artifact.name, "content_digest": artifact.content_digest,
        "codec": artifact.encoded.codec, "size_bytes": artifact.encoded.size_bytes, "kind": artifact.preview.kind,
        "summary": artifact.preview.summary, "preview": artifact.preview.detail,
    }  # fmt: skip


def _ends(workspace: Workspace, binding: Binding, tasks: dict[str, Task]) -> Iterator[dict[str, Any]]:
    """What stands at the ends of a binding: artifacts, plain values, references to secrets, and what is missing."""
    from mainspring.pipelines.graph import FromTask, Literal, Missing, SecretRef, Stored
    from mainspring.runs import named_numbers

    leaves = list(_leaves(binding))
    artifacts = task_store(workspace).artifacts.get_many(leaf.artifact for leaf in leaves if isinstance(leaf, Stored))
    for leaf in leaves:
        match leaf:
            case Stored(artifact=artifact_id):
                yield artifact_record(artifacts[artifact_id])
            case Literal(value=value):
                yield {"value": named_numbers(value), "summary": repr(value)}
            case SecretRef(reference=reference):
                yield {"secret": reference, "summary": reference}
            case Missing(task=name) | FromTask(task=name):
                culprit = _culprit(name, tasks)
                word = _ENDED_WITHOUT[tasks[culprit].state.value] if culprit in tasks else "has none"
                yield {"missing": name, "summary": f"no result: `{culprit}` {word}"}


def _leaves(binding: Binding) -> Iterator[Binding]:
    from mainspring.pipelines.graph import Entries, Items

    if isinstance(binding, Items):
        for item in binding.items:
            yield from _leaves(item)
    elif isinstance(binding, Entries):
        for _, item in binding.entries:
            yield from _leaves(item)
    else:
        yield binding


def _culprit(name: str, tasks: dict[str, Task]) -> str:
    """The task that is to blame for a result that isn't there: of one that was skipped, what it waited for."""
    from mainspring.pipelines._store import awaited_in

    met = {name}
    while (task := tasks.get(name)) is not None and task.state.value in ("skipped", "waiting", "failed"):
        waited = [other for binding in task.bindings.values() for other in awaited_in(binding)]
        waited += [each.name for each in tasks.values() if each.map_of == task.id and each.state.value == "failed"]
        without = [other for other in waited if other in tasks and not tasks[other].outputs and other not in met]
        blocking = [
            other for other in without if tasks[other].state.value in ("failed", "skipped", "cancelled", "running")
        ]
        if not blocking:
            break
        name = blocking[0]
        met.add(name)
    return name

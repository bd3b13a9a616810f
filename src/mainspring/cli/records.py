"""Runs, tasks and outputs as documents for machines and as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from mainspring import clock
from mainspring.cli import text

if TYPE_CHECKING:
    from mainspring.artifacts.record import Artifact
    from mainspring.pipelines._store import TaskStore
    from mainspring.pipelines.task import Task
    from mainspring.runs import Run
    from mainspring.workspace import Workspace

_LONGEST_VALUE = 120


def run_record(workspace: Workspace, run: Run) -> dict[str, Any]:
    """A run as a document, with the state as it is and times in ISO 8601."""
    from mainspring.runs import RunStore

    record: dict[str, Any] = msgspec.to_builtins(run)
    record["state"] = RunStore(workspace.database, workspace.ledger).shown_state(run, workspace.leases).value
    return record | {
        "started_at": iso(run.started_at), "ended_at": iso(run.ended_at), "duration_s": run.duration_s,
        "git_dirty": None if run.git_commit is None else run.git_diff is not None,
    }  # fmt: skip


def run_document(workspace: Workspace, run: Run) -> dict[str, Any]:
    """A run with its tasks, metrics and outputs."""
    store = task_store(workspace)
    tasks = store.of_run(run.id)
    artifacts = store.artifacts.get_many(id_ for task in tasks for id_ in task.outputs.values())
    return {
        "run": run_record(workspace, run),
        "metrics": metrics_of(workspace, run),
        "tasks": [_task_record(task, artifacts) for task in tasks],
        "outputs": outputs_of(workspace, run),
    }


def outputs_of(workspace: Workspace, run: Run) -> dict[str, list[dict[str, Any]]]:
    """What a run's pipeline returned: for each name the artifacts or plain values in it, in order."""
    from mainspring.pipelines._store import leaves
    from mainspring.pipelines.graph import Literal, Stored

    store = task_store(workspace)
    outputs = {}
    for name, binding in store.outputs(run.id).items():
        found = []
        ends = list(leaves(binding))
        artifacts = store.artifacts.get_many(leaf.artifact for leaf in ends if isinstance(leaf, Stored))
        for leaf in ends:
            if isinstance(leaf, Stored):
                found.append(_artifact_record(artifacts[leaf.artifact]))
            elif isinstance(leaf, Literal):
                found.append({"value": leaf.value, "summary": repr(leaf.value)})
        outputs[name] = found
    return outputs


def shown_outputs(workspace: Workspace, run: Run) -> str:
    """What a run's pipeline returned, a line for each name."""
    rows = []
    for name, found in outputs_of(workspace, run).items():
        lines = [each["summary"] for each in found[:5]] + ([f"… {len(found) - 5} more"] if len(found) > 5 else [])
        rows.append((name, "\n".join(text_line(line) for line in lines) or "an empty list"))
    return text.facts(rows)


def metrics_of(workspace: Workspace, run: Run) -> dict[str, float]:
    """The last value of each metric of a run and of the runs that its steps have."""
    from mainspring.runs import Metrics, RunStore

    metrics = Metrics(workspace.metrics)
    children = RunStore(workspace.database, workspace.ledger).list(parent=run.id, limit=1000)
    found: dict[str, float] = {}
    for each in [*reversed(children), run]:
        found |= metrics.latest(each.series)
    return found


def task_store(workspace: Workspace) -> TaskStore:
    """The tasks of a workspace."""
    from mainspring.pipelines._store import TaskStore

    return TaskStore(workspace.database, workspace.ledger, workspace.leases)


def iso(at_us: int | None) -> str | None:
    """A stored time in ISO 8601, UTC."""
    return None if at_us is None else clock.from_us(at_us).isoformat()


def text_line(value: str) -> str:
    """A value in one line of a bearable length."""
    line = " ".join(value.split())
    return line if len(line) <= _LONGEST_VALUE else line[: _LONGEST_VALUE - 1] + "…"


def _task_record(task: Task, artifacts: dict[str, Artifact]) -> dict[str, Any]:
    record: dict[str, Any] = msgspec.to_builtins(task)
    outputs = {name: _artifact_record(artifacts[id_]) for name, id_ in task.outputs.items() if id_ in artifacts}
    return record | {"started_at": iso(task.started_at), "ended_at": iso(task.ended_at), "outputs": outputs}


def _artifact_record(artifact: Artifact) -> dict[str, Any]:
    return {
        "artifact": artifact.id, "content_digest": artifact.content_digest, "codec": artifact.encoded.codec,
        "size_bytes": artifact.encoded.size_bytes, "kind": artifact.preview.kind,
        "summary": artifact.preview.summary, "preview": artifact.preview.detail,
    }  # fmt: skip

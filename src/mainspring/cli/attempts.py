"""The attempts of a step: how each ended, what it had, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring.cli.records import iso, node_record, task_store, text_line
from mainspring.cli.tree import role_in_words

if TYPE_CHECKING:
    from mainspring.ledger.ledger import Direction
    from mainspring.pipelines.task import Task
    from mainspring.workspace import Workspace

_PLACE = "part_of"  # the edge to the run, and from the items of a mapped step
_MOST = 5  # of one kind in a line


def attempt_records(workspace: Workspace, task: Task) -> list[dict[str, Any]]:
    """The attempts of a task as documents, first to last: with the records that each had and made, and its last metrics.

    A record says how it belongs to the attempt (`role`), and since when its data is kept no longer (`removed_at`).
    """
    from mainspring.runs import Metrics, named_numbers

    store = task_store(workspace)
    attempts = store.attempts(task.id)
    nodes = [each.id for each in attempts]
    # What the last one had and made stands at the task until the next begins, or the task takes an earlier result.
    if nodes and task.reused_from is None:
        nodes[-1] = task.id
    had, made = (_ends(workspace, nodes, direction) for direction in ("up", "down"))
    metrics = Metrics(workspace.metrics)
    return [
        msgspec.to_builtins(each)
        | {
            "state": store.shown_state(task.id, each.state), "started_at": iso(each.started_at), "ended_at": iso(each.ended_at),
            "had": had[node], "made": made[node], "metrics": named_numbers(metrics.latest_values(each.id)),
        }
        for each, node in zip(attempts, nodes, strict=True)
    ]  # fmt: skip


def shown_attempts(records: list[dict[str, Any]], *, reused: bool) -> str:
    """How each of several attempts ended and what came of it, a line for each kind; empty for an only one.

    What was reused is no attempt's, so then even one is told.
    """
    return "\n".join(line for each in records for line in _lines(each)) if len(records) > (not reused) else ""


def _lines(attempt: dict[str, Any]) -> Iterator[str]:
    why = f" ({text_line(attempt['message'])})" if attempt["message"] else ""
    yield f"{attempt['number']}: {attempt['state']}{why}"
    by_role: dict[str, list[dict[str, Any]]] = {}
    for record in attempt["made"]:
        by_role.setdefault(record["role"], []).append(record)
    for role, records in by_role.items():
        names = [_name(each) for each in sorted(records, key=lambda each: bool(each["removed_at"]))]
        more = [f"{len(names) - _MOST:,} more"] if len(names) > _MOST else []
        yield f"   {role_in_words(role, down=True)} {', '.join([*names[:_MOST], *more])}"
    if attempt["metrics"]:
        yield "   metrics " + ", ".join(f"{name} = {value}" for name, value in attempt["metrics"].items())


def _name(record: dict[str, Any]) -> str:
    return f"{record['kind'].replace('_', ' ')} {record['label']}{' (removed)' if record['removed_at'] else ''}"


def _ends(workspace: Workspace, nodes: list[str], direction: Direction) -> dict[str, list[dict[str, Any]]]:
    """What the edges of each of these nodes lead to, oldest first."""
    from mainspring.data.removed import removed_nodes

    edges = [edge for edge in workspace.ledger.edges(nodes, direction) if edge.role != _PLACE]
    pairs = [(edge.src, edge.dst) if direction == "up" else (edge.dst, edge.src) for edge in edges]
    others = workspace.ledger.nodes({other for _, other in pairs})
    removed = removed_nodes(others, workspace)
    found: dict[str, list[dict[str, Any]]] = {node: [] for node in nodes}
    for edge, (node, other) in sorted(zip(edges, pairs, strict=True), key=lambda each: each[1]):
        more = {"role": edge.role, "removed_at": iso(removed.get(other))}
        found[node].append(node_record(others[other]) | more)
    return found

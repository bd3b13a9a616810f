"""The walk of the ledger from a prediction: to the model that answered, what made it, what was read, and so on to the bytes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from mainspring.clock import from_us
from mainspring.data.removed import removed_nodes
from mainspring.ledger import Edge, Node
from mainspring.runs import RunStore
from mainspring.serving.explanation.record import ModelRun, ReadView, UsedDataset
from mainspring.workspace import Workspace

SOURCES = ("source_file", "source_folder", "source_address", "code")
ANSWERED, READ = "answered_by", "reads"
_LATER = ("binds", "materialized_from")  # what an endpoint served, and a view was filled from, at any time


class Origin(NamedTuple):
    """Everything on the way, with the edges in the order of the walk, nearest first."""

    nodes: dict[str, Node]
    edges: list[Edge]
    removed: dict[str, int]


def walked(prediction: Node, model: str | None, views: Sequence[tuple[ReadView, str]], workspace: Workspace) -> Origin:
    """The walk from a prediction to all that it came from; `views` are those that were read, with the node of the dataset."""
    ledger = workspace.ledger
    edges = [Edge(prediction.id, ANSWERED, model, None)] if model else []
    edges += [Edge(prediction.id, f"{READ}:{view.view}", version, None) for view, version in views]
    starts = [edge.dst for edge in edges]
    seen = {(edge.src, edge.role, edge.dst) for edge in edges}
    for start in dict.fromkeys(starts):
        for edge in ledger.walk(start, follow=lambda edge: edge.role not in _LATER):
            if (edge.src, edge.role, edge.dst) not in seen:
                seen.add((edge.src, edge.role, edge.dst))
                edges.append(edge)
    nodes = ledger.nodes({end for edge in edges for end in (edge.src, edge.dst)}) | {prediction.id: prediction}
    return Origin(nodes, edges, removed_nodes(nodes, workspace))


def sources_of(origin: Origin) -> list[Node]:
    """Where all ways end: files, folders and addresses, and trees of code, each by kind and name."""
    found = [node for node in origin.nodes.values() if node.kind in SOURCES]
    return sorted(found, key=lambda node: (SOURCES.index(node.kind), node.label, node.id))


def datasets_of(origin: Origin, model: str | None, served: Collection[str]) -> list[UsedDataset]:
    """The dataset versions that the model was made from, and those that features were read from, by name.

    Not the versions before those, which the walk has: `served` are the nodes of those that were read.
    """
    trained = _reached(origin.edges, model)
    found = [
        UsedDataset(
            version=node.label, id=node.id, content_digest=node.content_digest or "", trained=node.id in trained,
            served=node.id in served,
            removed_at=from_us(origin.removed[node.id]) if node.id in origin.removed else None,
        )
        for node in origin.nodes.values()
        if node.kind == "dataset_version" and (node.id in trained or node.id in served)
    ]  # fmt: skip
    return sorted(found, key=lambda each: each.version)


def run_of(origin: Origin, model: str, run_id: str | None, workspace: Workspace) -> ModelRun | None:
    """The run that made a model version, and the task of it."""
    makers = [origin.nodes[edge.dst] for edge in origin.edges if edge.src == model and edge.role == "made_by"]
    task = next((node for node in makers if node.kind == "task"), None)
    runs = [node.id for node in makers if node.kind == "run"]
    if task is not None:
        runs += [edge.dst for edge in origin.edges if edge.src == task.id and edge.role == "part_of"]
    wanted = next((each for each in [*runs, run_id] if each and _kind(origin, each) in ("run", "")), None)
    run = RunStore(workspace.database, workspace.ledger).get_many([wanted]).get(wanted) if wanted else None
    if run is None:
        return None
    return ModelRun(
        id=run.id, name=run.name, task=task.id if task else None, task_name=task.label if task else "", target=run.target,
        started_at=from_us(run.started_at), actor=run.actor, seed=run.seed, code_digest=run.code_digest,
        git_commit=run.git_commit, git_clean=None if run.git_commit is None else run.git_diff is None,
        environment_digest=run.environment_digest,
    )  # fmt: skip


def _kind(origin: Origin, node: str) -> str:
    return origin.nodes[node].kind if node in origin.nodes else ""


def _reached(edges: Sequence[Edge], start: str | None) -> set[str]:
    """What a node was made from, without the versions that a version only goes on from."""
    following: dict[str, list[str]] = {}
    for edge in edges:
        if edge.role != "follows":
            following.setdefault(edge.src, []).append(edge.dst)
    seen: set[str] = set()
    waiting = [start] if start else []
    while waiting:
        here = waiting.pop()
        if here not in seen:
            seen.add(here)
            waiting += following.get(here, ())
    return seen

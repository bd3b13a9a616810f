"""`mainspring lineage`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli.app import Command, Invocation
from mainspring.cli.tree import Tree, way
from mainspring.errors import InvalidError, NotFoundError, StorageError, close_names

if TYPE_CHECKING:
    from mainspring.ledger import Edge, Node
    from mainspring.workspace import Workspace

_SHORTEST_PREFIX = 6
_LOOKED_AT = 1000  # runs among which `latest` is the newest that is no replay


@click.command(cls=Command)
@click.argument("thing")
@click.argument("other", default="")
@click.option("--down", is_flag=True, help="Walk to what came from it, instead of what it came from.")
@click.option("--depth", type=click.IntRange(min=1), default=100, metavar="N", help="At most so many steps away.")
@click.option("--all", "everything", is_flag=True, help="Each of many that are alike, as the tasks of a mapped step.")
@click.pass_obj
def lineage(invocation: Invocation, thing: str, other: str, down: bool, depth: int, everything: bool) -> None:
    """Walk from THING to everything it came from; with OTHER, show a shortest way between the two.

    A thing is an endpoint, a model (`name/3`, `name@alias`), a dataset (`name`, `name/3`), a run (`latest`), or the id of a
    task, an artifact or anything else that was recorded, or a prefix of it.
    """
    workspace = invocation.workspace
    start = find_node(workspace, thing)
    if other:
        end = find_node(workspace, other)
        path = workspace.ledger.path(start, end)
        if path is None:
            start, path = end, workspace.ledger.path(end, start)
        if path is None:
            raise NotFoundError("way to", other, hint="Neither comes from the other.", owner=f"`{thing}`")
        nodes = workspace.ledger.nodes([start, *(edge.dst for edge in path)])
        invocation.show({"path": _edges(path), "nodes": _nodes(nodes)}, lambda: "\n".join(way(start, path, nodes)))
        return
    edges = _present(workspace, start, _walked(workspace, start, down=down), down=down)
    nodes = workspace.ledger.nodes({start} | {end for edge in edges for end in (edge.src, edge.dst)})
    tree = Tree(edges, nodes, down=down, everything=everything)
    invocation.show(
        {"start": start, "edges": _edges(edges), "nodes": _nodes(nodes)},
        lambda: "\n".join([*tree.lines(start, depth), *(() if down else tree.sources())]),
    )


def _walked(workspace: Workspace, start: str, *, down: bool) -> list[Edge]:
    """Every edge on the way. A run is what its tasks are: from it the walk goes on through each of them."""
    ledger = workspace.ledger
    edges = ledger.walk(start, "down" if down else "up")
    if down or ledger.get_node(start).kind != "run":
        return edges
    from mainspring.ledger import Edge

    # In the order of their ids, a mapped step comes before its items and what uses them.
    tasks = sorted(edge.src for edge in ledger.edges([start], "down") if edge.role == "part_of")
    holders = {edge.src: edge.dst for edge in ledger.edges(tasks) if edge.role == "part_of" and edge.dst != start}
    found = {(edge.src, edge.role, edge.dst): edge for edge in edges}
    for task in tasks:
        holder = holders.get(task, start)
        found[holder, "has", task] = Edge(holder, "has", task, None)
        for edge in ledger.walk(task):
            if edge.dst != start:
                found.setdefault((edge.src, edge.role, edge.dst), edge)
    return list(found.values())


def _present(workspace: Workspace, start: str, edges: list[Edge], *, down: bool) -> list[Edge]:
    """The edges without what endpoints served before, and without what only those led to."""
    if not any(edge.role == "binds" for edge in edges):
        return edges
    from mainspring.serving import list_endpoints

    served = {(endpoint.ledger_id, endpoint.version) for endpoint in list_endpoints(workspace)}
    following: dict[str, list[Edge]] = {}
    for edge in edges:
        if edge.role != "binds" or (edge.src, edge.dst) in served:
            following.setdefault(edge.dst if down else edge.src, []).append(edge)
    reached, line, kept = {start}, [start], []
    for here in line:
        for edge in following.get(here, ()):
            kept.append(edge)
            there = edge.src if down else edge.dst
            if there not in reached:
                reached.add(there)
                line.append(there)
    return kept


def find_node(workspace: Workspace, thing: str) -> str:
    """The node of the ledger that a name or id stands for.

    Raises:
        NotFoundError: it stands for nothing; the nearest names are given.
    """
    for look in (_by_name, _by_label, _by_reference, _by_id):
        found = look(workspace, thing)
        if found is not None:
            return found
    near = close_names(thing, [name for name, _ in _named(workspace)])
    raise NotFoundError("record", thing, near, "Name an endpoint, model, dataset, run, or an id.")


def _by_name(workspace: Workspace, thing: str) -> str | None:
    return next((ledger_id for name, ledger_id in _named(workspace) if name == thing), None)


def _by_label(workspace: Workspace, thing: str) -> str | None:
    """A source by the name that lineage shows; of several states of a file, the newest."""
    row = workspace.database.query_one(
        "SELECT id FROM node WHERE label = ? AND kind IN ('source_file', 'source_address') ORDER BY created_at DESC LIMIT 1",
        (thing,),
    )
    return None if row is None else str(row[0])


def _by_reference(workspace: Workspace, thing: str) -> str | None:
    from mainspring.data import get_dataset_version
    from mainspring.models import get_model_version

    if "/" not in thing and "@" not in thing:
        return None
    readers: list[Callable[[], Any]] = [
        lambda: get_model_version(thing, workspace),
        lambda: get_dataset_version(thing.replace("@", "/"), workspace),
    ]
    for read in readers:
        try:
            return str(read().ledger_id)
        except (NotFoundError, InvalidError):
            continue
    return None


def _by_id(workspace: Workspace, thing: str) -> str | None:
    from mainspring.runs import RunStore

    if thing == "latest":
        runs = RunStore(workspace.database, workspace.ledger)
        return next((run for run in runs.list(limit=_LOOKED_AT) if not run.replay_of), runs.get(thing)).id
    if len(thing) < _SHORTEST_PREFIX:
        return None
    rows = workspace.database.query(
        "SELECT id FROM node WHERE id >= ? AND id < ? OR content_digest = ? ORDER BY id LIMIT 2",
        (thing, thing + "~", thing),
    )
    if len(rows) > 1 and rows[0][0] != thing:
        raise InvalidError("id", thing, "a unique prefix", f"It fits {rows[0][0]} and {rows[1][0]}.")
    return str(rows[0][0]) if rows else None


def _named(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """What has a name, with its node in the ledger."""
    from mainspring.data import list_datasets
    from mainspring.models import list_models
    from mainspring.serving import list_endpoints

    with suppress(StorageError):  # here and below: a read-only workspace in which there was never one of these
        yield from ((endpoint.name, endpoint.ledger_id) for endpoint in list_endpoints(workspace))
    with suppress(StorageError):
        yield from ((version.name, version.ledger_id) for version in list_models(workspace))
    with suppress(StorageError):
        yield from ((version.dataset, version.ledger_id) for version in list_datasets(workspace))


def _edges(edges: list[Edge]) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(edge) for edge in edges]


def _nodes(nodes: dict[str, Node]) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(node) for node in nodes.values()]

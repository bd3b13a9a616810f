"""`mainspring lineage`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mainspring.cli.app import Command, Invocation
from mainspring.cli.records import iso, node_record
from mainspring.cli.tree import Tree, way
from mainspring.errors import InvalidError, NotFoundError, StorageError, close_names, listed

if TYPE_CHECKING:
    from mainspring.ledger import Edge, Node
    from mainspring.workspace import Workspace

_SHORTEST_PREFIX = 6


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
    from mainspring.data.removed import removed_nodes

    start = find_node(workspace, thing)
    if other:
        end = find_node(workspace, other)
        path = workspace.ledger.path(start, end)
        if path is None:
            start, path = end, workspace.ledger.path(end, start)
        if path is None:
            raise NotFoundError("way to", other, hint="Neither comes from the other.", owner=f"`{thing}`")
        nodes = workspace.ledger.nodes([start, *(edge.dst for edge in path)])
        gone = removed_nodes(nodes, workspace)
        shown = {"path": _edges(path), "nodes": _nodes(nodes, gone)}
        invocation.show(shown, lambda: "\n".join(way(start, path, nodes, gone)))
        return
    edges = _walked(workspace, start, down=down)
    nodes = workspace.ledger.nodes({start} | {end for edge in edges for end in (edge.src, edge.dst)})
    gone = removed_nodes(nodes, workspace)
    tree = Tree(edges, nodes, down=down, everything=everything, removed=gone)
    invocation.show(
        {"start": start, "edges": _edges(edges), "nodes": _nodes(nodes, gone)},
        lambda: "\n".join([*tree.lines(start, depth), *(() if down else tree.sources())]),
    )


def _walked(workspace: Workspace, start: str, *, down: bool) -> list[Edge]:
    """Every edge on the way, but those to what endpoints served before. A run is what its tasks are."""
    ledger, served = workspace.ledger, set[tuple[str, str]]()

    def is_present(edge: Edge) -> bool:
        if edge.role != "binds":
            return True
        if not served:
            from mainspring.serving import list_endpoints

            served.update((endpoint.ledger_id, endpoint.version) for endpoint in list_endpoints(workspace))
        return (edge.src, edge.dst) in served

    if down or ledger.get_node(start).kind != "run":
        return ledger.walk(start, "down" if down else "up", follow=is_present)
    return ledger.walk_run(start, follow=is_present)


def find_node(workspace: Workspace, thing: str) -> str:
    """The node of the ledger that a name or id stands for.

    Raises:
        NotFoundError: it stands for nothing; the nearest names are given.
    """
    for look in (_by_name, _by_label, _by_reference, _by_id):
        found = look(workspace, thing)
        if found is not None:
            return found
    names = [name for name, _ in _named(workspace)]
    near = close_names(thing, names)
    known = "" if near else f"Known by name: {listed(names)}. "
    raise NotFoundError("record", thing, near, f"{known}Name an endpoint, model, dataset, run, or an id.")


def _by_name(workspace: Workspace, thing: str) -> str | None:
    return next((ledger_id for name, ledger_id in _named(workspace) if name == thing), None)


def _by_label(workspace: Workspace, thing: str) -> str | None:
    """A source by the name that lineage shows; of several states of a file, the newest."""
    found = workspace.ledger.labelled(thing, ("source_file", "source_folder", "source_address"))
    return found[0].id if found else None


def _by_reference(workspace: Workspace, thing: str) -> str | None:
    from mainspring.data import get_dataset_version
    from mainspring.models import get_model_version

    if "/" not in thing and "@" not in thing:
        return None
    readers: list[Callable[[], Any]] = [
        lambda: get_model_version(thing, workspace),
        lambda: get_dataset_version(thing, workspace),
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
        return runs.get(thing).id
    if len(thing) < _SHORTEST_PREFIX:
        return None
    found = workspace.ledger.starting(thing) or workspace.ledger.same_content(thing)
    if len(found) > 1 and found[0].id != thing:
        raise InvalidError("id", thing, "a unique prefix", f"It fits {found[0].id} and {found[1].id}.")
    return found[0].id if found else None


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


def _nodes(nodes: dict[str, Node], removed: dict[str, int]) -> list[dict[str, Any]]:
    return [node_record(node) | {"removed_at": iso(removed.get(node.id))} for node in nodes.values()]

"""What the lineage names whose data is kept no longer: checkpoints and dataset versions that were let go."""

from __future__ import annotations

from collections.abc import Mapping

from mainspring.artifacts.record import ArtifactStore
from mainspring.data._store import DatasetStore
from mainspring.ledger import Node
from mainspring.workspace import Workspace


def removed_nodes(nodes: Mapping[str, Node], workspace: Workspace) -> dict[str, int]:
    """The nodes, by id, whose data was removed, and since when, in microseconds since 1970."""
    found: dict[str, int] = {}
    for kind, store in (("artifact", ArtifactStore), ("dataset_version", DatasetStore)):
        ids = [node.id for node in nodes.values() if node.kind == kind]
        if ids:  # else there may be no table of them
            found |= store(workspace.database, workspace.ledger).removed(ids)
    return found

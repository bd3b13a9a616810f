"""What a dataset version came from: how sources are named, and where they lead."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from blake3 import blake3

from mainspring.artifacts import codec_for
from mainspring.artifacts.record import ArtifactStore
from mainspring.data import dataset
from mainspring.ledger import within_task
from mainspring.workspace import Workspace


def test_a_file_that_a_package_ships_is_named_by_the_package(workspace: Workspace) -> None:
    file = Path(pl.__file__)
    version = dataset("t", workspace).commit(pl.DataFrame({"n": [1]}), source=file)
    assert [(source.uri, source.digest) for source in version.source] == [
        ("package:polars/__init__.py", blake3(file.read_bytes()).hexdigest())
    ]


def test_a_file_in_an_artifact_leads_to_the_task_that_made_it(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "t.csv").write_text("n\n1\n")
    store, codec = ArtifactStore(workspace.database, workspace.ledger), codec_for(folder)
    digest, encoded = codec.digest(folder), codec.encode(folder, workspace.blobs)
    first, second = (store.describe("raw", (digest, encoded, codec.preview(folder)), None) for _ in range(2))
    with workspace.database.transaction() as tx:
        store.add(tx, first, by_task="maker-1")
        store.add(tx, second, by_task="maker-2")
        workspace.ledger.edge(tx, "task-1", "uses:raw", first.id, "task-1")
    file = codec.decode(encoded, workspace.blobs) / "t.csv"
    with within_task("task-1"):
        used = dataset("t", workspace).commit(pl.DataFrame({"n": [1]}), source=file)
    edges = {(edge.src, edge.role, edge.dst) for edge in workspace.ledger.walk(used.id)}
    assert {(used.source[0].node, "lies_in", first.id), (first.id, "made_by", "maker-1")} <= edges
    assert second.id not in {end for _, _, end in edges}
    outside = dataset("u", workspace).commit(pl.DataFrame({"n": [1]}), source=file)
    assert workspace.ledger.path(outside.id, "maker-2") is not None

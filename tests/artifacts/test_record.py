"""The table of artifacts: what is kept of a value, and what a record that stands for content means."""

from __future__ import annotations

from pathlib import Path

import msgspec
import polars as pl
import pytest

from mainspring.artifacts import save
from mainspring.artifacts.record import ArtifactStore, gc_roots
from mainspring.data import dataset
from mainspring.errors import NotFoundError
from mainspring.workspace import Workspace, using


@pytest.fixture
def workspace(database_url: str, blob_url: str, tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path, overrides={"database": database_url, "blobs": blob_url})


def test_an_artifact_comes_back_as_it_was_recorded(workspace: Workspace) -> None:
    store = ArtifactStore(workspace.database, workspace.ledger)
    artifact = store.describe("numbers", save([1, 2, 3], workspace.blobs), [1, 2, 3])
    with workspace.database.transaction() as tx:
        store.add(tx, artifact, by_task=None)
    assert store.get(artifact.id) == artifact
    assert artifact.encoded.blob in set(gc_roots(workspace.database))
    assert workspace.ledger.get_node(artifact.id).content_digest == artifact.content_digest
    with pytest.raises(NotFoundError):
        store.get("0" * 32)


def test_a_version_means_its_content_not_when_it_was_recorded(workspace: Workspace) -> None:
    store = ArtifactStore(workspace.database, workspace.ledger)
    with using(workspace):
        version = dataset("numbers").commit(pl.DataFrame({"n": [1, 2]}))
        other = dataset("numbers").commit(pl.DataFrame({"n": [1, 3]}))
    later = msgspec.structs.replace(version, id="f" * 32, created_at=version.created_at + 1, number=7)
    described = [store.describe("v", save(each, workspace.blobs), each) for each in (version, later, other)]
    assert described[0].content_digest == described[1].content_digest != described[2].content_digest
    assert described[0].refers == version.id

"""A workspace on each backend, with its runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.runs import RunStore
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace


@pytest.fixture
def workspace(backend: Backend, tmp_path: Path) -> Iterator[Workspace]:
    where = {"database": backend.database_url, "blobs": backend.blob_url}
    with Workspace.open(tmp_path, overrides=where) as opened:
        yield opened


@pytest.fixture
def runs(workspace: Workspace) -> RunStore:
    return RunStore(workspace.database, workspace.ledger)

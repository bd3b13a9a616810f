"""A workspace on each pair of backends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace, using


@pytest.fixture
def workspace(backend: Backend, tmp_path: Path) -> Iterator[Workspace]:
    where = {"database": backend.database_url, "blobs": backend.blob_url, "online": backend.online}
    with Workspace.open(tmp_path, overrides=where) as opened, using(opened):
        yield opened

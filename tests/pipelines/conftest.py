"""A small project on each pair of backends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.testing.plugin import Backend
from mainspring.testing.workspaces import Lab, lab_in


@pytest.fixture
def lab(backend: Backend, tmp_path: Path) -> Iterator[Lab]:
    with lab_in(tmp_path / "project", backend.database_url, backend.blob_url, threads=1) as opened:
        yield opened

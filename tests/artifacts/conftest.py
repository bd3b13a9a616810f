"""A blob store in a folder, small enough to be obviously right."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.testing.codecs import FolderBlobs


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs")

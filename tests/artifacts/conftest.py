"""A blob store in a folder, small enough to be obviously right; generated values are a campaign of `make soak` too."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings

from mainspring.testing.codecs import FolderBlobs


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs")


@pytest.fixture(scope="session")
def shared_blobs(tmp_path_factory: pytest.TempPathFactory) -> FolderBlobs:
    """For tests of generated values: making a folder for each costs more than checking it."""
    return FolderBlobs(tmp_path_factory.mktemp("blobs"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if settings.get_current_profile_name() != "soak":
        return
    for item in items:
        if item.path.parent == Path(__file__).parent and is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("soak")

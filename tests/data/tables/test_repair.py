"""Tables with damaged blobs are made whole by committing the same rows again."""

from __future__ import annotations

import logging

import polars as pl
import pytest

from mainspring.data import DatasetVersion, dataset
from mainspring.data.reachable import versions_needing
from mainspring.data.tables import layout
from mainspring.data.tables.manifest import read_listing
from mainspring.errors import CorruptBlobError
from mainspring.workspace import Workspace
from tests.data.trees.folders import spoil

pytestmark = pytest.mark.one_backend("files of the local store are spoilt")
ROWS = pl.DataFrame({"n": range(100), "text": [f"row {number}" for number in range(100)]})


def damage(workspace: Workspace, version: DatasetVersion, part: int = 0) -> str:
    """Spoil a part, and notice it."""
    blob = read_listing(workspace.blobs, version.manifest).parts[part].blob
    spoil(workspace, blob, 9)
    with pytest.raises(CorruptBlobError):
        workspace.blobs.read(blob)
    return blob


@pytest.mark.parametrize("lazy", [False, True])
def test_the_same_rows_make_it_whole(workspace: Workspace, caplog: pytest.LogCaptureFixture, lazy: bool) -> None:
    rows = ROWS.lazy() if lazy else ROWS
    version = dataset("t").commit(rows)
    damage(workspace, version)
    with caplog.at_level(logging.WARNING):
        again = dataset("t").commit(rows)
    assert (again.id, again.to_polars().equals(ROWS)) == (version.id, True)
    assert "t/1: 1 blob found damaged before, now stored again" in caplog.text
    assert list(workspace.blobs.list_corrupt()) == []


def test_a_part_is_made_whole_for_all_versions_that_name_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "FOLD_BYTES", 0)
    first = dataset("t").commit(ROWS)
    second = dataset("t").append(ROWS)
    third = dataset("t").append(ROWS.head(7))
    assert len(read_listing(workspace.blobs, third.manifest).parts) == 3
    blob = damage(workspace, first)
    assert versions_needing(blob, workspace) == [first, second, third]
    again = dataset("t").commit(pl.concat([ROWS, ROWS, ROWS.head(7)]))
    assert (again.id, again.manifest) == (third.id, third.manifest)
    assert [version.to_polars().height for version in (first, second, third)] == [100, 200, 107 + 100]


def test_a_version_whose_part_can_not_be_made_whole_gets_another(workspace: Workspace) -> None:
    """The rows that were deleted from the part are not at hand."""
    first = dataset("t").commit(ROWS)
    second = dataset("t").delete(where="n < 3")
    blob = damage(workspace, second)
    again = dataset("t").commit(ROWS.tail(97))
    assert (again.id, again.manifest != second.manifest) == (second.id, True)
    assert again.to_polars().equals(ROWS.tail(97))
    assert versions_needing(blob, workspace) == [first]
    assert [event.kind for event in workspace.ledger.events(subject=second.id)][-1] == "dataset.repaired"

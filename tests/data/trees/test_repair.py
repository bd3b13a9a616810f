"""Blobs that lost bytes: what is intact is read, and adding the same content again makes the rest whole."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from mainspring.data import DatasetVersion, dataset
from mainspring.data.reachable import versions_needing
from mainspring.data.trees.manifest import read_chunks, read_listing
from mainspring.errors import CorruptBlobError, MainspringError
from mainspring.workspace import Workspace
from tests.data.trees.folders import content, rewrite, spoil, tree_of

pytestmark = pytest.mark.one_backend("files of the local store are spoilt")
FILES = {f"{number:02}": os.urandom(90 + number) for number in range(20)}


def pack_of(workspace: Workspace, version: DatasetVersion, path: str = "03") -> str:
    return read_listing(workspace.blobs, version.manifest).entries[path].home.hex()


def spoil_file(workspace: Workspace, version: DatasetVersion, path: str = "03") -> str:
    """Change a byte of a file in its pack."""
    entry = read_listing(workspace.blobs, version.manifest).entries[path]
    spoil(workspace, entry.home.hex(), entry.offset + 5)
    return entry.home.hex()


def notice(version: DatasetVersion) -> None:
    """Read all files, as far as that can be done."""
    for file in version.list_files():
        try:
            version.read_bytes(file.path)
        except MainspringError:
            continue


def read(version: DatasetVersion) -> dict[str, bytes]:
    return {file.path: version.read_bytes(file.path) for file in version.list_files()}


def test_what_is_intact_in_a_corrupt_pack_is_checked_out_and_the_rest_is_named(
    workspace: Workspace, tmp_path: Path
) -> None:
    version = dataset("x").add(content(tmp_path / "x", FILES | {"big": b"1" * 300_000}))
    pack = spoil_file(workspace, version)
    with pytest.raises(CorruptBlobError, match=r"`03` of x/1 can't be written, all else is in .*/out") as found:
        version.checkout(tmp_path / "out")
    assert found.value.digest == pack
    assert tree_of(tmp_path / "out") == {path: data for path, data in FILES.items() if path != "03"} | {
        "big": b"1" * 300_000
    }
    dataset("x").add(tmp_path / "x")
    assert version.checkout(tmp_path / "out").written == ("03",)


@pytest.mark.parametrize("name", ["x", "other"])
def test_a_pack_is_made_whole_by_a_file_at_hand(
    workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Other files of the pack are taken from what is left of it."""
    root = content(tmp_path / "x", FILES)
    first = dataset("x").add(root)
    rewrite(root / "07", b"changed")
    (root / "08").unlink()
    second = dataset("x").add(root)
    notice(second)
    spoil_file(workspace, first)
    notice(first)
    with caplog.at_level(logging.WARNING):
        again = dataset(name).add(root)
    assert f"{name}: 1 blob found damaged before, now stored again" in caplog.text
    assert again == second
    assert read(first) == FILES
    assert read(second) == read(again) == tree_of(root)
    assert list(workspace.blobs.list_corrupt()) == []


def test_a_pack_is_made_whole_by_files_of_other_names_in_another_folder(workspace: Workspace, tmp_path: Path) -> None:
    version = dataset("x").add(content(tmp_path / "x", FILES))
    spoil_file(workspace, version)
    notice(version)
    dataset("y").add(content(tmp_path / "y", {f"moved/{path}": data for path, data in FILES.items()}))
    assert read(version) == FILES


def test_a_pack_that_was_cut_off_is_made_whole(workspace: Workspace, tmp_path: Path) -> None:
    root = content(tmp_path / "x", FILES)
    version = dataset("x").add(root)
    path = Path(workspace.blobs.place) / pack_of(workspace, version)[:2] / pack_of(workspace, version)
    path.chmod(0o644)
    os.truncate(path, 700)
    notice(version)
    assert dataset("x").add(root).id == version.id
    assert read(version) == FILES


def test_a_version_whose_pack_can_not_be_made_whole_gets_another(workspace: Workspace, tmp_path: Path) -> None:
    root = content(tmp_path / "x", FILES)
    first = dataset("x").add(root)
    rewrite(root / "03", b"changed")
    second = dataset("x").add(root)
    pack = spoil_file(workspace, first)
    spoil_file(workspace, first, "04")
    notice(first)
    assert versions_needing(pack, workspace) == [first, second]
    again = dataset("x").add(root)
    assert (again.id, again.manifest != second.manifest) == (second.id, True)
    assert read(again) == tree_of(root)
    assert [str(each) for each in versions_needing(pack, workspace)] == ["x/1"]
    assert [event.kind for event in workspace.ledger.events(subject=second.id)][-1] == "dataset.repaired"
    with pytest.raises(CorruptBlobError, match="file `03`"):
        first.read_bytes("03")
    assert first.read_bytes("05") == FILES["05"]
    assert dataset("x").add(root).manifest == again.manifest


@pytest.mark.usefixtures("small_limits")
def test_blobs_of_every_other_kind_are_stored_again(workspace: Workspace, tmp_path: Path) -> None:
    files = {"whole": os.urandom(300_000), "large": bytes(2_000_000), "large2": os.urandom(2_000_000)}
    root = content(tmp_path / "x", files)
    version = dataset("x").add(root)
    entries = read_listing(workspace.blobs, version.manifest).entries
    chunk = read_chunks(workspace.blobs, entries["large2"].home)[2].digest
    bad = {entries["whole"].digest.hex(), chunk.hex(), entries["large"].home.hex(), version.manifest}
    for blob in bad:
        spoil(workspace, blob, 7)
        with pytest.raises(CorruptBlobError):
            workspace.blobs.read(blob)
    again = dataset("x").add(root)
    assert (again.id, read(again)) == (version.id, files)
    assert not bad & {info.digest for info in workspace.blobs.list_corrupt()}


def test_a_damaged_blob_that_nobody_noticed_is_stored_again_for_another_dataset(
    workspace: Workspace, tmp_path: Path
) -> None:
    root = content(tmp_path / "x", {"whole": os.urandom(300_000)})
    first = dataset("x").add(root)
    spoil(workspace, read_listing(workspace.blobs, first.manifest).entries["whole"].digest.hex(), 7)
    second = dataset("y").add(root)
    assert read(second) == read(first) == tree_of(root)

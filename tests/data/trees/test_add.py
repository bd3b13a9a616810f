"""A folder becomes a version: what is kept, what is read again, what is stored once."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from blake3 import blake3

from mainspring.data import dataset
from mainspring.data._store import DatasetStore
from mainspring.data.trees import archiver, chunks
from mainspring.data.trees.manifest import SNAPSHOT_EVERY, reachable_blobs, read_listing
from mainspring.errors import InvalidError, NotFoundError
from mainspring.ledger import current_actor
from mainspring.workspace import Workspace, collect
from tests.data.trees.folders import content, rewrite, stored_bytes, tree_of


def test_a_folder_comes_back_byte_for_byte(workspace: Workspace, folder: Path) -> None:
    version = dataset("cards").add(folder, note="first")
    assert (version.kind, version.number, version.files, version.note) == ("tree", 1, 6, "first")
    assert {file.path for file in version.list_files()} == set(tree_of(folder))
    for file in version.list_files():
        data = (folder / file.path).read_bytes()
        with version.open(file.path) as opened:
            assert opened.read() == data
        assert version.read_bytes(file.path) == data
        if not file.link:
            assert (file.digest, file.size_bytes) == (blake3(data).hexdigest(), len(data))
    by_path = {file.path: file for file in version.list_files()}
    assert by_path["run.sh"].executable
    assert not by_path["a/one.txt"].executable
    assert by_path["b/link"].link == "../a/one.txt"
    assert version.size_bytes == sum(file.size_bytes for file in version.list_files())


def test_nothing_changed_gives_the_newest_version(workspace: Workspace, folder: Path) -> None:
    first = dataset("cards").add(folder)
    assert dataset("cards").add(folder).id == first.id
    assert len(dataset("cards").versions()) == 1


def test_a_version_is_what_it_holds_not_where_it_lay(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    first = dataset("cards").add(folder)
    other = tmp_path / "elsewhere"
    content(other, tree_of(folder))
    (other / "b" / "link").unlink()
    (other / "b" / "link").symlink_to("../a/one.txt")
    (other / "run.sh").chmod(0o755)
    assert dataset("copy").add(other) == first
    (other / "run.sh").chmod(0o644)
    assert dataset("copy").add(other) != first


def test_replace_is_exactly_the_folder_and_update_adds_to_it(workspace: Workspace, tmp_path: Path) -> None:
    first, second = content(tmp_path / "x", {"a": b"1", "b": b"2"}), content(tmp_path / "y", {"b": b"3", "c": b"4"})
    cards = dataset("cards")
    cards.add(first)
    both = cards.add(second, mode="update")
    assert {file.path: both.read_bytes(file.path) for file in both.list_files()} == {"a": b"1", "b": b"3", "c": b"4"}
    assert [file.path for file in cards.add(second).list_files()] == ["b", "c"]


def test_into_a_folder_of_the_tree(workspace: Workspace, tmp_path: Path) -> None:
    cards = dataset("cards")
    cards.add(content(tmp_path / "x", {"a": b"1"}))
    version = cards.add(content(tmp_path / "y", {"b": b"2"}), mode="update", into="train/new/")
    assert [file.path for file in version.list_files()] == ["a", "train/new/b"]
    with pytest.raises(InvalidError, match=r"into: `\.\./x` is not a relative path"):
        cards.add(tmp_path / "y", into="../x")
    with pytest.raises(InvalidError, match="lies below `a`"):
        cards.add(tmp_path / "y", mode="update", into="a")


def test_a_lone_file_is_a_tree_of_one(workspace: Workspace, tmp_path: Path) -> None:
    file = content(tmp_path / "x", {"labels.csv": b"a,b\n"}) / "labels.csv"
    version = dataset("labels").add(file)
    assert [(f.path, f.media_type) for f in version.list_files()] == [("labels.csv", "text/csv")]


def test_files_are_deleted_by_path_folder_and_glob(workspace: Workspace, tmp_path: Path) -> None:
    names = ["a/1.png", "a/2.tmp", "a/b/3.tmp", "c", "d/4"]
    cards = dataset("cards")
    cards.add(content(tmp_path / "x", dict.fromkeys(names, b"x")))
    assert [f.path for f in cards.delete_files("**/*.tmp").list_files()] == ["a/1.png", "c", "d/4"]
    assert [f.path for f in cards.delete_files(["d", "c"]).list_files()] == ["a/1.png"]
    with pytest.raises(InvalidError, match=r"`a/1\.pgn` is not a file of `cards`\. Nearest: a/1\.png"):
        cards.delete_files("a/1.pgn")
    assert cards.latest().number == 3
    with pytest.raises(NotFoundError, match="No dataset `crads`"):
        dataset("crads").delete_files("a")


def test_an_empty_folder_is_an_empty_tree(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "empty" / "in").mkdir(parents=True)
    version = dataset("cards").add(tmp_path / "empty")
    assert (version.files, version.size_bytes, version.list_files()) == (0, 0, [])
    assert dataset("cards").add(content(tmp_path / "x", {"a": b""})).files == 1
    assert dataset("cards").add(tmp_path / "empty") == version


def test_equal_files_are_stored_once_and_unchanged_ones_never_again(workspace: Workspace, tmp_path: Path) -> None:
    rng = random.Random(1)
    files = {f"{number:03}": rng.randbytes(20_000) for number in range(100)}
    root = content(tmp_path / "x", files | {f"copy-{name}": data for name, data in files.items()})
    first = dataset("cards").add(root)
    assert first.parts == 1
    stored = stored_bytes(workspace)
    assert stored < 2_000_000 + 60_000
    (root / "003").write_bytes(rng.randbytes(20_001))
    second = dataset("cards").add(root)
    assert stored_bytes(workspace) - stored < 20_001 + 2_000
    assert second.read_bytes("003") == (root / "003").read_bytes()
    assert second.read_bytes("copy-003") == files["003"]
    (root / "003").rename(root / "renamed")
    stored = stored_bytes(workspace)
    assert dataset("cards").add(root).read_bytes("renamed") == (root / "renamed").read_bytes()
    assert stored_bytes(workspace) - stored < 2_000


@pytest.mark.parametrize("change", ["in place", "insertion", "append", "cut"])
@pytest.mark.usefixtures("small_limits")
def test_a_large_file_stores_only_what_changed(workspace: Workspace, tmp_path: Path, change: str) -> None:
    check_change(workspace, tmp_path, change)


def test_a_file_of_many_megabytes_stores_only_what_was_inserted(workspace: Workspace, tmp_path: Path) -> None:
    check_change(workspace, tmp_path, "insertion")


def check_change(workspace: Workspace, tmp_path: Path, change: str) -> None:
    """A changed file is stored again only where it changed, and read as it is."""
    rng, unit = random.Random(2), chunks.AVERAGE_BYTES
    data = rng.randbytes(archiver.LARGE_BYTES + 5 * unit)
    root = content(tmp_path / "x", {"big.bin": data})
    dataset("big").add(root)
    stored = stored_bytes(workspace)
    new = rng.randbytes(unit)
    at = 7 * unit + 123
    changed = {
        "in place": data[:at] + new + data[at + len(new) :],
        "insertion": data[:at] + new + data[at:],
        "append": data + new,
        "cut": data[: -len(new)],
    }[change]
    (root / "big.bin").write_bytes(changed)
    version = dataset("big").add(root)
    assert stored_bytes(workspace) - stored < len(new) + 2 * chunks.MOST_BYTES
    assert version.read_bytes("big.bin") == changed
    assert version.list_files()[0].digest == blake3(changed).hexdigest()
    with version.open("big.bin") as file:
        file.seek(at - 10)
        assert file.read(3 * unit) == changed[at - 10 : at - 10 + 3 * unit]
        assert file.seek(0, os.SEEK_END) == len(changed)
        assert file.read() == b""
    # The chunks are those of a first reading: what was stored before is no part of the cuts.
    fresh = dataset("fresh").add(content(tmp_path / "fresh", {"big.bin": changed}))
    listings = [read_listing(workspace.blobs, each.manifest).entries["big.bin"] for each in (version, fresh)]
    assert listings[0].home == listings[1].home


def test_a_long_history_is_read_from_few_manifests(workspace: Workspace, tmp_path: Path) -> None:
    root = content(tmp_path / "x", {f"{number:04}": str(number).encode() for number in range(60)})
    cards, wanted = dataset("cards"), {}
    for number in range(SNAPSHOT_EVERY + 5):
        rewrite(root / f"{number:04}", f"new {number}".encode())
        if number % 3 == 0:
            (root / f"{59 - number:04}").unlink()
        version = cards.add(root)
        wanted[version.number] = tree_of(root)
    for number, files in wanted.items():
        version = cards.version(number)
        assert {file.path: version.read_bytes(file.path) for file in version.list_files()} == files
        assert read_listing(workspace.blobs, version.manifest).depth < SNAPSHOT_EVERY


def test_what_a_version_reaches_is_in_the_store_and_collection_keeps_it(workspace: Workspace, tmp_path: Path) -> None:
    rng = random.Random(3)
    root = content(tmp_path / "x", {f"{n}": rng.randbytes(1_000) for n in range(5)} | {"mid": rng.randbytes(300_000)})
    first = dataset("cards").add(root)
    rewrite(root / "1", b"changed")
    second = dataset("cards").add(root)
    collect(workspace, grace_s=0)
    collect(workspace, grace_s=0)
    for version in (first, second):
        reached = reachable_blobs(workspace.blobs, version.manifest)
        assert all(workspace.blobs.exists(blob) for blob in reached)
        for file in version.list_files():
            version.read_bytes(file.path)
    rows = DatasetStore(workspace.database).database.query("SELECT blob FROM dataset_blob")
    assert {blob for (blob,) in rows} == reachable_blobs(workspace.blobs, first.manifest) | reachable_blobs(
        workspace.blobs, second.manifest
    )


def test_concurrent_updates_are_all_kept(workspace: Workspace, tmp_path: Path) -> None:
    roots = [content(tmp_path / f"x{n}", {f"{n}/{k}": f"{n} {k}".encode() for k in range(5)}) for n in range(6)]
    with ThreadPoolExecutor(len(roots)) as pool:
        list(pool.map(lambda root: dataset("cards", workspace).add(root, mode="update"), roots))
    version = dataset("cards").latest()
    assert (version.number, version.files) == (6, 30)
    assert all(version.read_bytes(f"{n}/{k}") == f"{n} {k}".encode() for n in range(6) for k in range(5))


def test_a_table_and_a_tree_are_told_apart(workspace: Workspace, folder: Path) -> None:
    import polars as pl

    table = dataset("t").commit(pl.DataFrame({"a": [1]}))
    with pytest.raises(InvalidError, match="`t/1` is not a tree"):
        dataset("t").add(folder)
    with pytest.raises(InvalidError, match="`t/1` is not a tree"):
        table.open("a")
    with pytest.raises(InvalidError, match="`cards/1` is not a table"):
        dataset("cards").add(folder).to_polars()


def test_the_folder_is_the_source_unless_another_is_named(workspace: Workspace, folder: Path) -> None:
    version = dataset("cards").add(folder)
    (source,) = version.source
    assert (source.kind, source.uri, source.digest) == ("source_folder", folder.as_uri(), version.content_digest)
    assert [edge.dst for edge in workspace.ledger.edges([version.id]) if edge.role == "read_from"] == [source.node]
    (file,) = dataset("cards").add(folder / "run.sh", mode="update", into="more").source
    assert (file.kind, file.uri) == ("source_file", (folder / "run.sh").as_uri())
    assert file.digest == blake3(b"#!/bin/sh\n").hexdigest()
    assert dataset("cards").add(folder, mode="update", into="again").source == version.source
    assert dataset("cards").add(content(workspace.scratch / "made", {"a": b"1"})).source == ()


def test_who_added_it_and_from_where_is_recorded(workspace: Workspace, folder: Path) -> None:
    version = dataset("cards").add(folder, source="https://example.org/cards.zip?token=s3cret")
    assert version.actor == str(current_actor())
    assert [source.kind for source in version.source] == ["source_address"]


def test_progress_counts_files_and_bytes(workspace: Workspace, tmp_path: Path) -> None:
    root = content(tmp_path / "x", {"a": b"x" * 10, "b": b"y" * 20})
    told: list[tuple[int, int, int]] = []
    dataset("cards").add(root, progress=lambda *each: told.append(each))
    assert told[-1] == (2, 30, 30)


def test_many_folders_deep(workspace: Workspace, tmp_path: Path) -> None:
    path = "/".join(["d"] * 400) + "/file"
    root = tmp_path / "x"
    os.makedirs(root / os.path.dirname(path))
    (root / path).write_bytes(b"deep")
    version = dataset("cards").add(root)
    assert version.read_bytes(path) == b"deep"
    version.checkout(tmp_path / "out")
    assert (tmp_path / "out" / path).read_bytes() == b"deep"


def test_globs_name_files(workspace: Workspace, folder: Path) -> None:
    version = dataset("cards").add(folder)
    assert [file.path for file in version.glob("**/*.txt")] == ["a/one.txt", "b/ünï.txt"]
    assert [file.path for file in version.glob("a")] == ["a/deep/two.bin", "a/one.txt"]
    assert [file.path for file in version.glob("*/[eu]*")] == ["b/empty"]

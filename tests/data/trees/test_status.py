"""Status and diff: what changed is seen, also within one tick of the clock; what didn't change is not read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mainspring.data import dataset
from mainspring.data.trees.copies import WorkingCopy
from mainspring.data.trees.index import read_index, write_index
from mainspring.data.trees.scan import place_of
from mainspring.data.trees.status import diff_trees, tree_status
from mainspring.errors import InvalidError, NotFoundError
from mainspring.workspace import Workspace
from tests.data.trees.folders import content


def shown(folder: Path, version: object) -> tuple[object, ...]:
    status = tree_status(folder, version)  # type: ignore[arg-type]  # a version, of whatever dataset
    return status.new, status.changed, status.removed, status.unchanged


def test_what_is_new_changed_and_gone_is_named(workspace: Workspace, folder: Path) -> None:
    version = dataset("cards").add(folder)
    assert shown(folder, version) == ((), (), (), 6)
    assert tree_status(folder, version).is_clean
    (folder / "new").write_text("new")
    (folder / "a" / "one.txt").write_bytes(b"two")
    (folder / "b" / "empty").unlink()
    (folder / "run.sh").chmod(0o644)
    (folder / "b" / "link").unlink()
    (folder / "b" / "link").symlink_to("../run.sh")
    assert shown(folder, version) == (("new",), ("a/one.txt", "b/link", "run.sh"), ("b/empty",), 2)
    assert not tree_status(folder, version).is_clean


def test_a_change_of_equal_size_in_the_same_instant_is_seen(workspace: Workspace, tmp_path: Path) -> None:
    root = content(tmp_path / "x", {"a": b"one"})
    version = dataset("cards").add(root)
    before = (root / "a").stat()
    with (root / "a").open("r+b") as file:
        file.write(b"two")
    os.utime(root / "a", ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert shown(root, version) == ((), ("a",), (), 0)


def test_a_file_that_became_a_link_or_back_is_changed(workspace: Workspace, tmp_path: Path) -> None:
    root = content(tmp_path / "x", {"a": b"b", "b": b"b"})
    version = dataset("cards").add(root)
    (root / "a").unlink()
    (root / "a").symlink_to("b")
    assert shown(root, version) == ((), ("a",), (), 1)


def test_unchanged_files_are_not_read(workspace: Workspace, folder: Path) -> None:
    version = dataset("cards").add(folder)
    copy = WorkingCopy(workspace, place_of(folder))
    # The times of the files are younger than the clock can tell apart, so the first look may read them; it notes them.
    for _ in range(200):
        tree_status(folder, version)
        copy = WorkingCopy(workspace, place_of(folder))
        if all(copy.index.files[path].is_now(stamp) for path, stamp in copy.found.items() if not stamp.is_link):
            break
    for path in copy.found:
        copy.digest(path)
    assert not copy.has_news


def test_the_index_is_safe_to_lose_and_to_spoil(workspace: Workspace, folder: Path) -> None:
    version = dataset("cards").add(folder)
    for file in (workspace.cache / "trees").iterdir():
        file.write_bytes(b"\x81 no index")
    assert shown(folder, version) == ((), (), (), 6)
    for file in (workspace.cache / "trees").iterdir():
        file.unlink()
    assert shown(folder, version) == ((), (), (), 6)
    assert dataset("cards").add(folder).id == version.id


def test_an_index_of_another_place_or_form_is_not_believed(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    dataset("cards").add(folder)
    index = read_index(workspace.cache, place_of(folder))
    assert index.files
    index.path = "elsewhere"
    write_index(workspace.cache, place_of(folder), index)
    assert read_index(workspace.cache, place_of(folder)).files == {}


def test_a_folder_that_is_gone_lacks_every_file(workspace: Workspace, tmp_path: Path) -> None:
    version = dataset("cards").add(content(tmp_path / "x", {"a": b"1"}))
    assert shown(tmp_path / "nowhere", version) == ((), (), ("a",), 0)
    with pytest.raises(NotFoundError, match="No folder"):
        dataset("cards").add(tmp_path / "nowhere")


def test_a_diff_names_added_removed_changed_and_renamed(workspace: Workspace, tmp_path: Path) -> None:
    root = content(tmp_path / "x", {"same": b"s", "old": b"moved", "gone": b"g", "edited": b"1", "sh": b"x", "e1": b""})
    first = dataset("cards").add(root)
    (root / "old").rename(root / "new")
    (root / "e1").rename(root / "e2")
    (root / "gone").unlink()
    (root / "edited").write_bytes(b"2")
    (root / "sh").chmod(0o755)
    (root / "added").write_bytes(b"a")
    second = dataset("cards").add(root)
    diff = diff_trees(first, second)
    assert [file.path for file in diff.added] == ["added", "e2"]
    assert [file.path for file in diff.removed] == ["e1", "gone"]
    assert [change.new.path for change in diff.changed] == ["edited", "sh"]
    assert [(change.old.path, change.new.path) for change in diff.renamed] == [("old", "new")]
    assert diff.unchanged == 1
    assert not diff.is_empty
    assert diff_trees(first, first).is_empty


def test_a_diff_with_a_table_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    import polars as pl

    tree = dataset("cards").add(content(tmp_path / "x", {"a": b""}))
    table = dataset("t").commit(pl.DataFrame({"a": [1]}))
    with pytest.raises(InvalidError, match="`t/1` is not a tree"):
        diff_trees(tree, table)

"""Checkouts: exact, never at the cost of anybody's edits, and without a way for edits into the store."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mainspring.data import dataset
from mainspring.data.trees import writing
from mainspring.data.trees.archiver import LARGE_BYTES
from mainspring.data.trees.status import tree_status
from mainspring.errors import InvalidError, NotAllowedError, StorageError
from mainspring.workspace import Workspace
from tests.data.trees.folders import content, rewrite, tree_of


def test_a_checkout_is_the_tree(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    version = dataset("cards").add(folder)
    done = version.checkout(tmp_path / "out")
    assert (len(done.written), done.removed, done.kept, done.left) == (6, (), 0, ())
    assert tree_of(tmp_path / "out") == tree_of(folder)
    assert os.access(tmp_path / "out" / "run.sh", os.X_OK)
    assert not os.access(tmp_path / "out" / "a" / "one.txt", os.X_OK)
    assert os.readlink(tmp_path / "out" / "b" / "link") == "../a/one.txt"
    assert tree_status(tmp_path / "out", version).is_clean
    assert dataset("cards").add(tmp_path / "out").id == version.id


def test_a_checkout_again_writes_nothing(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    version = dataset("cards").add(folder)
    version.checkout(tmp_path / "out")
    before = {path: path.lstat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    done = version.checkout(tmp_path / "out")
    assert (done.written, done.kept) == ((), 6)
    assert {path: path.lstat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    assert version.checkout(folder).kept == 6


def test_an_edit_of_a_checkout_never_reaches_the_store(workspace: Workspace, tmp_path: Path) -> None:
    files = {"small": b"s" * 10, "other": b"o", "middle": b"m" * 400_000, "large": b"l" * (LARGE_BYTES + 1)}
    version = dataset("cards").add(content(tmp_path / "x", files))
    for root in ("x", "out"):
        version.checkout(tmp_path / root)
        for path in files:
            with (tmp_path / root / path).open("r+b") as file:
                file.write(b"edited")
            assert (tmp_path / root / path).stat().st_nlink == 1
    assert {path: version.read_bytes(path) for path in files} == files


def test_going_from_version_to_version_leaves_exactly_that_version(workspace: Workspace, tmp_path: Path) -> None:
    cards, out = dataset("cards"), tmp_path / "out"
    states = [
        {"a": b"1", "d/b": b"2", "d/e/c": b"3"},
        {"a": b"1", "d": b"now a file"},
        {"a/x": b"now a folder", "d/b": b"2"},
    ]
    versions = []
    for number, state in enumerate(states):
        versions.append(cards.add(content(tmp_path / str(number), state)))
    for number in (0, 1, 2, 1, 0, 2, 0):
        versions[number].checkout(out)
        assert tree_of(out) == states[number]
        assert {path.name for path in out.rglob("*") if path.is_dir()} == {
            part for name in states[number] for part in name.split("/")[:-1]
        }


def test_changed_files_are_not_overwritten_but_named(workspace: Workspace, tmp_path: Path) -> None:
    cards, out = dataset("cards"), tmp_path / "out"
    first = cards.add(content(tmp_path / "1", {"a": b"1", "b": b"1", "c": b"1"}))
    second = cards.add(content(tmp_path / "2", {"a": b"2", "b": b"2"}))
    first.checkout(out)
    rewrite(out / "a", b"mine")
    rewrite(out / "c", b"mine too")
    (out / "untracked").write_bytes(b"u")
    before = tree_of(out)
    with pytest.raises(NotAllowedError, match=r"`a` would be lost.*--force"):
        second.checkout(out)
    assert tree_of(out) == before
    done = second.checkout(out, force=True)
    assert (done.written, done.removed, done.left) == (("a", "b"), (), ("c",))
    assert tree_of(out) == {"a": b"2", "b": b"2", "c": b"mine too", "untracked": b"u"}


def test_a_foreign_file_in_the_way_is_not_overwritten(workspace: Workspace, tmp_path: Path) -> None:
    version = dataset("cards").add(content(tmp_path / "1", {"a": b"1", "d/b": b"1"}))
    out = content(tmp_path / "out", {"a": b"theirs", "d": b"a file where a folder is to be"})
    with pytest.raises(NotAllowedError, match="`a`, `d` would be lost"):
        version.checkout(out)
    version.checkout(out, force=True)
    assert tree_of(out) == {"a": b"1", "d/b": b"1"}
    other = content(tmp_path / "other", {"a/theirs": b"x"})
    with pytest.raises(NotAllowedError, match="`a/theirs` would be lost"):
        version.checkout(other, force=True)


def test_files_that_are_right_already_are_taken_over(workspace: Workspace, tmp_path: Path) -> None:
    cards = dataset("cards")
    first = cards.add(content(tmp_path / "1", {"a": b"1", "b": b"1"}))
    second = cards.add(content(tmp_path / "2", {"a": b"2"}))
    out = content(tmp_path / "out", {"a": b"1", "b": b"1"})
    assert first.checkout(out).kept == 2
    second.checkout(out)
    assert tree_of(out) == {"a": b"2"}


def test_a_part_of_a_tree_is_checked_out_with_nothing_removed(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    version = dataset("cards").add(folder)
    done = version.checkout(tmp_path / "out", paths=["a", "**/*.sh"])
    assert done.written == ("a/deep/two.bin", "a/one.txt", "run.sh")
    version.checkout(tmp_path / "out", paths="b/empty")
    assert len(tree_of(tmp_path / "out")) == 4
    with pytest.raises(InvalidError, match=r"`nope` is not a file of `cards/1`"):
        version.checkout(tmp_path / "out", paths=["nope"])


def test_the_executable_bit_follows(workspace: Workspace, tmp_path: Path) -> None:
    root = content(tmp_path / "x", {"a": b"1"})
    first = dataset("cards").add(root)
    (root / "a").chmod(0o755)
    second = dataset("cards").add(root)
    out = tmp_path / "out"
    for version, wanted in ((first, False), (second, True), (first, False)):
        version.checkout(out)
        assert os.access(out / "a", os.X_OK) == wanted
        assert tree_status(out, version).is_clean


def test_a_link_that_was_added_is_a_versions(workspace: Workspace, tmp_path: Path) -> None:
    place = content(tmp_path / "x", {"a": b"a", "b": b"b"})
    (place / "current").symlink_to("a")
    first = dataset("cards").add(place)
    (place / "current").unlink()
    (place / "current").symlink_to("b")
    (place / "later").symlink_to("b")
    second = dataset("cards").add(place)
    done = first.checkout(place)
    assert (done.written, done.removed, os.readlink(place / "current")) == (("current",), ("later",), "a")
    second.checkout(place)
    (place / "current").unlink()
    (place / "current").symlink_to("later")
    with pytest.raises(NotAllowedError, match="`current` would be lost"):
        first.checkout(place)


def test_a_folder_that_is_a_version_is_replaced_without_an_index(workspace: Workspace, tmp_path: Path) -> None:
    place = content(tmp_path / "x", {"a": b"1", "b": b"2"})
    (place / "link").symlink_to("a")
    first = dataset("cards").add(place)
    rewrite(place / "a", b"3")
    (place / "c").write_bytes(b"4")
    second = dataset("cards").add(place)
    shutil.rmtree(workspace.cache)
    done = first.checkout(place)
    assert (done.written, done.removed, tree_of(place)["a"]) == (("a",), ("c",), b"1")
    moved = place.rename(tmp_path / "moved")
    assert second.checkout(moved).written == ("a", "c")
    shutil.rmtree(workspace.cache)
    rewrite(moved / "a", b"5")
    with pytest.raises(NotAllowedError, match="`a` would be lost"):
        first.checkout(moved)


def test_no_write_goes_through_a_link_in_the_folder(workspace: Workspace, tmp_path: Path) -> None:
    version = dataset("cards").add(content(tmp_path / "x", {"d/a": b"1"}))
    outside = content(tmp_path / "outside", {"a": b"theirs"})
    out = tmp_path / "out"
    out.mkdir()
    (out / "d").symlink_to(outside)
    with pytest.raises(NotAllowedError, match="`d` would be lost"):
        version.checkout(out)
    version.checkout(out, force=True)
    assert tree_of(outside) == {"a": b"theirs"}
    assert tree_of(out) == {"d/a": b"1"}


def test_leftovers_of_a_killed_checkout_are_swept_and_in_no_version(workspace: Workspace, tmp_path: Path) -> None:
    root = content(tmp_path / "x", {"a": b"1"})
    version = dataset("cards").add(root)
    out = content(tmp_path / "out", {".mainspring-4000000-1.part": b"half"})
    version.checkout(out)
    assert os.listdir(out) == ["a"]
    (out / ".mainspring-1-1.part").write_bytes(b"of a process that lives")
    assert dataset("cards").add(out).id == version.id


def test_names_that_differ_only_in_case_are_kept_apart_or_refused(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = content(tmp_path / "x", {"A": b"1"})
    if writing.folds_case(str(root)):  # a disk as macOS has it can't hold both
        return
    version = dataset("cards").add(content(root, {"a": b"2"}))
    version.checkout(tmp_path / "out")
    assert tree_of(tmp_path / "out") == {"A": b"1", "a": b"2"}
    # No test can rely on a disk that folds case, so that question alone is answered for it.
    monkeypatch.setattr("mainspring.data.trees.checkout.folds_case", lambda _folder: True)
    with pytest.raises(StorageError, match=r"takes `A`, `a` for one name.*--path"):
        version.checkout(tmp_path / "folding")
    assert tree_of(tmp_path / "folding") == {}
    version.checkout(tmp_path / "folding", paths=["A"])


@pytest.mark.one_backend("a disk is filled with a checkout, not a store")
def test_a_full_disk_loses_nothing_and_the_checkout_goes_on(
    workspace: Workspace, tmp_path: Path, small_disk: Path
) -> None:
    files = {f"{number:02}": os.urandom(100_000) for number in range(20)}
    version = dataset("cards").add(content(tmp_path / "x", files))
    with pytest.raises(StorageError, match="the disk is full"):
        version.checkout(small_disk / "out")
    written = tree_of(small_disk / "out")
    assert 0 < len(written) < 20
    assert all(files[name] == data for name, data in written.items())
    assert not [name for name in os.listdir(small_disk / "out") if name.startswith(".")]
    assert version.checkout(small_disk / "out", paths=list(written)).kept == len(written)


def test_progress_counts_files_and_bytes(workspace: Workspace, tmp_path: Path) -> None:
    version = dataset("cards").add(content(tmp_path / "x", {"a": b"x" * 10, "b": b"y" * 20}))
    told: list[tuple[int, int, int]] = []
    version.checkout(tmp_path / "out", progress=lambda *each: told.append(each))
    assert told == [(1, 10, 30), (2, 30, 30)]

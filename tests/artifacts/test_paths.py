"""Files and trees: content and names count, place and times don't; nothing leads out of a tree."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mainspring.artifacts import Encoded, compare, content_digest, load, save
from mainspring.artifacts.folders import paths_below
from mainspring.errors import CodecError, StorageError
from mainspring.testing.codecs import FolderBlobs, check_codec_laws
from mainspring.workspace import Workspace


def tree(root: Path, text: str = "one") -> Path:
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "a.csv").write_text(text)
    (root / "sub" / "b.csv").write_text("two")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "sub" / "link").symlink_to("../a.csv")
    return root


def test_paths_keep_the_laws(tmp_path: Path, blobs: FolderBlobs) -> None:
    whole = tree(tmp_path / "t")
    check_codec_laws(None, [whole, whole / "a.csv", whole / "sub" / "empty", [whole / "run.sh", 1]], blobs)


def test_place_and_times_make_no_difference(tmp_path: Path) -> None:
    one, other = tree(tmp_path / "one"), tree(tmp_path / "other" / "deep")
    os.utime(other / "a.csv", (1, 1))
    assert content_digest(one) == content_digest(other)
    assert compare(one, other).kind == "equal"


def test_content_names_and_modes_make_one(tmp_path: Path) -> None:
    digests = {content_digest(tree(tmp_path / "a")), content_digest(tree(tmp_path / "b", "changed"))}
    renamed, mode, more = tree(tmp_path / "c"), tree(tmp_path / "d"), tree(tmp_path / "e")
    (renamed / "a.csv").rename(renamed / "z.csv")
    (mode / "run.sh").chmod(0o644)
    (more / "sub" / "new").mkdir()
    assert len(digests | {content_digest(path) for path in (renamed, mode, more)}) == 5
    assert "`a.csv` is gone" in compare(tmp_path / "a", renamed).detail
    assert "`a.csv` differs" in compare(tmp_path / "a", tmp_path / "b").detail


def test_a_tree_comes_back_whole_and_read_only(tmp_path: Path, blobs: FolderBlobs) -> None:
    again = load(save(tree(tmp_path / "t"), blobs)[1], blobs)
    assert (again / "sub" / "link").read_text() == "one"
    assert (again / "sub" / "empty").is_dir()
    assert os.access(again / "run.sh", os.X_OK)
    assert not (again / "a.csv").stat().st_mode & 0o222


def test_a_file_keeps_its_name(tmp_path: Path, blobs: FolderBlobs) -> None:
    (tmp_path / "data.csv").write_text("x")
    again = load(save(tmp_path / "data.csv", blobs)[1], blobs)
    assert (again.name, again.read_text()) == ("data.csv", "x")


def test_a_link_through_a_link_is_refused(tmp_path: Path) -> None:
    # Each stays inside as text; together they lead out.
    root = tree(tmp_path / "t")
    (root / "sub" / "up").symlink_to("..")
    (root / "sub" / "bad").symlink_to("up/../outside")
    with pytest.raises(CodecError, match="through another link"):
        content_digest(root)


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "sub/../../outside"])
def test_a_link_out_of_the_tree_is_refused(target: str, tmp_path: Path) -> None:
    (tree(tmp_path / "t") / "bad").symlink_to(target)
    with pytest.raises(CodecError, match="leads out of the tree"):
        content_digest(tmp_path / "t")


def test_what_is_missing_or_no_file_is_named(tmp_path: Path, blobs: FolderBlobs) -> None:
    with pytest.raises(CodecError, match=r"does not exist.*Give a path to what is there"):
        content_digest(tmp_path / "missing")
    with pytest.raises(CodecError, match=r"does not exist.*Return a path to what is there"):
        save(tmp_path / "missing", blobs)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CodecError, match="neither a file"):
        content_digest(tmp_path)


BAD: list[list[dict[str, Any]]] = [
    [{"name": "../x", "kind": "file", "digest": "D"}],
    [{"name": "/x", "kind": "file", "digest": "D"}],
    [{"name": "a/../../x", "kind": "file", "digest": "D"}],
    [{"name": "", "kind": "directory"}],
    [{"name": "a\0b", "kind": "file", "digest": "D"}],
    [{"name": "l", "kind": "link", "target": "/tmp"}],
    [{"name": "l", "kind": "link", "target": "../.."}],
    [{"name": "l", "kind": "link", "target": "."}, {"name": "l/x", "kind": "file", "digest": "D"}],
    [{"name": "a/p", "kind": "link", "target": ".."}, {"name": "a/q", "kind": "link", "target": "p/../x"}],
    [{"name": "f", "kind": "file", "digest": "D"}, {"name": "f/x", "kind": "file", "digest": "D"}],
]


@pytest.mark.parametrize("entries", BAD, ids=lambda entries: repr(entries[-1]["name"]))
def test_a_manifest_that_leaves_its_folder_is_refused(entries: list[dict[str, Any]], blobs: FolderBlobs) -> None:
    content = blobs.put(b"x")
    filled = [{**entry, "digest": content} if "digest" in entry else entry for entry in entries]
    blob = blobs.put(msgspec.json.encode({"name": "", "is_file": False, "entries": filled}))
    with pytest.raises(CodecError):
        load(Encoded("path", blob, 1, (content,)), blobs)


def test_the_state_of_a_workspace_is_no_part_of_a_tree(tmp_path: Path, blobs: FolderBlobs) -> None:
    bare, whole = tree(tmp_path / "bare"), tree(tmp_path / "whole")
    with Workspace.open(whole) as workspace:
        workspace.blobs.put(b"something")
        assert content_digest(whole) == content_digest(bare)
        assert not (load(save(whole, blobs)[1], blobs) / ".mainspring").exists()
        for part in (whole / ".mainspring", Path(workspace.blobs.place), Path(workspace.database.place)):
            with pytest.raises(CodecError, match=f"`{part}` is the state of a workspace"):
                content_digest(part)
        made = tree(workspace.scratch / "run" / "made")
        assert content_digest(made) == content_digest(bare)


def test_a_path_that_the_disk_has_no_room_for_is_an_error_that_names_the_folder(
    small_disk: Path, tmp_path: Path, blobs: FolderBlobs
) -> None:
    (tmp_path / "big.bin").write_bytes(bytes(2_000_000))
    encoded = save(tmp_path / "big.bin", blobs)[1]
    with paths_below(small_disk / "decoded"), pytest.raises(StorageError, match=f"{small_disk}/decoded: .*full"):
        load(encoded, blobs)
    assert list((small_disk / "decoded").iterdir()) == []

"""A run's code as a tree: the same wherever it lies, verified when it is written out, never outside its target."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3

from mainspring.errors import CorruptBlobError, InvalidError, StorageError
from mainspring.pipelines.code.tree import materialise, read_tree, record
from mainspring.runs.code import CodeEntry, CodeTree
from tests.pipelines.projects import Sources


class Blobs:
    """Blobs in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def put(self, data: bytes | Path) -> str:
        body = data if isinstance(data, bytes) else data.read_bytes()
        self.kept[blake3(body).hexdigest()] = body
        return blake3(body).hexdigest()

    def read(self, digest: str) -> bytes:
        return self.kept[digest]


@pytest.fixture
def project(tmp_path: Path) -> Sources:
    found = Sources(tmp_path / "one", pkg__init="", pkg__steps="from . import a\ndef go(): return a", pkg__a="X = 1")
    (found.root / "conf").mkdir()
    (found.root / "conf" / "base.yaml").write_text("a: 1")
    (found.root / "tool.sh").write_text("#!/bin/sh")
    (found.root / "tool.sh").chmod(0o755)
    return found


def taken(project: Sources, blobs: Blobs) -> CodeTree:
    return record(project.root, project.fingerprinter().modules("pkg.steps"), ["conf", "tool.sh", "absent"], blobs)


def test_a_tree_written_out_equals_the_project(project: Sources, tmp_path: Path) -> None:
    blobs = Blobs()
    tree = taken(project, blobs)
    assert materialise(tree.manifest, blobs, tmp_path / "out") == tree
    names = ["conf/base.yaml", "pkg/__init__.py", "pkg/a.py", "pkg/steps.py", "tool.sh"]
    assert [entry.path for entry in tree.entries] == names
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (project.root / name).read_bytes()
    assert (tmp_path / "out" / "tool.sh").stat().st_mode & 0o100
    assert set(tree.blobs) == set(blobs.kept)
    copied = Sources(tmp_path / "out")
    assert copied.of("pkg.steps") == project.of("pkg.steps")


def test_the_digest_is_of_paths_and_contents_only(project: Sources, tmp_path: Path) -> None:
    old = taken(project, Blobs()).digest
    shutil.copytree(project.root, tmp_path / "two")
    (tmp_path / "two" / "tool.sh").chmod(0o644)
    assert taken(Sources(tmp_path / "two"), Blobs()).digest == old
    (tmp_path / "two" / "pkg" / "a.py").write_text("X = 2")
    assert taken(Sources(tmp_path / "two"), Blobs()).digest != old


@pytest.mark.parametrize("path", ["../out.py", "/etc/x.py", "a/../../x.py", "", "a\0b", "a\\b"])
def test_a_path_that_leaves_the_target_is_refused(path: str, tmp_path: Path) -> None:
    blobs = Blobs()
    manifest = blobs.put(msgspec.json.encode((CodeEntry(path, blobs.put(b"x"), 1, 0o644),)))
    with pytest.raises(InvalidError, match="code manifest"):
        materialise(manifest, blobs, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_link_in_the_target_is_not_followed(tmp_path: Path) -> None:
    blobs = Blobs()
    (tmp_path / "target").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "target" / "a").symlink_to(tmp_path / "elsewhere")
    manifest = blobs.put(msgspec.json.encode((CodeEntry("a/x.py", blobs.put(b"x"), 1, 0o644),)))
    with pytest.raises(InvalidError, match="not a link"):
        materialise(manifest, blobs, tmp_path / "target")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_corrupt_blob_is_refused(project: Sources, tmp_path: Path) -> None:
    blobs = Blobs()
    tree = taken(project, blobs)
    blobs.kept[tree.entries[-1].blob] = b"something else"
    with pytest.raises(CorruptBlobError, match=r"tool\.sh"):
        materialise(tree.manifest, blobs, tmp_path / "out")
    with pytest.raises(CorruptBlobError):
        read_tree(blobs.put(b"no manifest"), blobs)


def test_a_file_outside_the_project_can_not_be_recorded(project: Sources, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    with pytest.raises(InvalidError, match="inside the project"):
        record(project.root, [], ["../secret"], Blobs())


def test_a_target_that_holds_the_file_already_is_named(project: Sources, tmp_path: Path) -> None:
    blobs = Blobs()
    tree = taken(project, blobs)
    materialise(tree.manifest, blobs, tmp_path / "out")
    with pytest.raises(StorageError, match=r"base\.yaml"):
        materialise(tree.manifest, blobs, tmp_path / "out")

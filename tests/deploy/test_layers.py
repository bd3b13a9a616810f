"""Layers and bytecode are the same bytes whatever the machine does; and Python reads both."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mainspring.deploy.bytecode import bytecode_of
from mainspring.deploy.layers import Folder, write_layer
from mainspring.deploy.tree import File

NAMES = st.lists(st.sampled_from(["a", "b", "ab", "é", "x" * 120]), min_size=1, max_size=3).map("/".join)
SOURCE = b"NAMES = {'b', 'a', 'c'}\ndef f(x, y='text'): return x in {'one', 'two', 3} or y\nclass A: pass\n"
COMPILE = """
import sys, hashlib
from mainspring.deploy.bytecode import bytecode_of
from mainspring.deploy.tree import File
(found,) = bytecode_of({"m.py": File(sys.stdin.buffer.read())}, ["m.py"], "opt").values()
print(hashlib.sha256(found.read()).hexdigest())
"""


@given(st.dictionaries(NAMES, st.tuples(st.binary(max_size=40), st.booleans()), max_size=6))
def test_a_layer_depends_on_its_files_alone(files: dict[str, tuple[bytes, bool]]) -> None:
    import tempfile

    paths = {path: each for path, each in files.items() if not any(other.startswith(f"{path}/") for other in files)}
    tree = {path: File(data, program) for path, (data, program) in paths.items()}
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        layer = write_layer(tree, Path(first), "one")
        umask = os.umask(0o077)
        try:
            again = write_layer(dict(reversed(tree.items())), Path(second), "one")
        finally:
            os.umask(umask)
        assert layer == again
        (blob,) = Path(first).iterdir()
        assert layer.descriptor.digest == f"sha256:{hashlib.sha256(blob.read_bytes()).hexdigest()}"
        with tarfile.open(blob) as archive:
            read = {entry.name: (archive.extractfile(entry), entry.mode) for entry in archive if entry.isfile()}
            found = {path: (file.read() if file else b"", mode == 0o755) for path, (file, mode) in read.items()}
        assert found == paths


def test_a_file_on_the_disk_counts_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "file").chmod(0o600)
    os.utime(tmp_path / "file", (1, 1))
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    assert write_layer({"a": File(tmp_path / "file")}, blobs, "") == write_layer({"a": File(b"text")}, blobs, "")
    owned = write_layer({"a": File(b"text")}, blobs, "", folders={"b/c": Folder(7, 8, 0o770)})
    with tarfile.open(blobs / owned.descriptor.digest.removeprefix("sha256:")) as archive:
        assert [entry.name for entry in archive] == ["a", "b", "b/c"]
        assert (archive.getmember("b/c").uid, archive.getmember("b/c").gid) == (7, 8)
        assert archive.getmember("b").mode == 0o755


def test_bytecode_is_the_same_in_every_process(tmp_path: Path) -> None:
    found = {
        subprocess.run(
            [sys.executable, *more, "-c", COMPILE], input=SOURCE, env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, check=True,
        ).stdout
        for seed, more in (("1", []), ("2", ["-X", "utf8"]), ("random", ["-X", "dev"]))
    }  # fmt: skip
    assert len(found) == 1


def test_python_runs_it_without_the_source(tmp_path: Path) -> None:
    tree = {"m.py": File(SOURCE), "broken.py": File(b"def"), "text.txt": File(b"")}
    ((path, file),) = bytecode_of(tree, ["m.py", "broken.py", "absent.py"], "opt").items()
    assert path == f"__pycache__/m.{sys.implementation.cache_tag}.pyc"
    (tmp_path / "m.pyc").write_bytes(file.read())
    spec = importlib.util.spec_from_file_location("m", tmp_path / "m.pyc")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.f("one")
    assert module.f.__code__.co_filename == "/opt/m.py"

"""A distribution's files are the same from its installation and from its wheel; nothing that was changed gets in."""

from __future__ import annotations

import importlib.metadata
import io
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mainspring.deploy.distributions import installed_tree, own_tree, wheel_name, wheel_of, wheel_tree
from mainspring.deploy.tree import File, Tree
from mainspring.deploy.wheels import trees_of
from mainspring.errors import InvalidError, RebuildError
from tests.deploy.bases import MINOR

WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {}\n"


def contents(tree: Tree) -> dict[str, tuple[bytes, bool]]:
    return {path: (file.read(), file.is_program) for path, file in tree.items()}


def written_wheel(folder: Path, tag: str = "py3-none-any", **more: str) -> Path:
    """A wheel of `Some-Thing` 1.0, with a program, a script, and data beside what is imported."""
    info = "some_thing-1.0.dist-info"
    files = {
        "some_thing/__init__.py": File(b"answer = 42\n"), "some_thing/run": File(b"#!/bin/sh\n", is_program=True),
        f"{info}/METADATA": File(b"Metadata-Version: 2.1\nName: Some-Thing\nVersion: 1.0\n"),
        f"{info}/WHEEL": File(WHEEL.format(tag).encode()), f"{info}/RECORD": File(b""),
        "some_thing-1.0.data/purelib/other.py": File(b"other = 1\n"),
        "some_thing-1.0.data/scripts/some": File(b"#!python\n"), **{path: File(text.encode()) for path, text in more.items()},
    }  # fmt: skip
    record = "".join(f"{path},,\n" for path in files)
    path = folder / f"some_thing-1.0-{tag}.whl"
    path.write_bytes(wheel_of({**files, f"{info}/RECORD": File(record.encode())}))
    return path


def test_a_wheel_and_its_installation_are_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = written_wheel(tmp_path)
    site = tmp_path / "site-packages"
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-index",
        "--no-deps",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(command, check=True)
    monkeypatch.syspath_prepend(str(site))
    assert contents(installed_tree("some-thing")) == contents(wheel_tree(wheel))
    assert {"some_thing/__init__.py", "other.py"} < wheel_tree(wheel).keys()
    assert not [path for path in wheel_tree(wheel) if "scripts" in path or path.startswith("bin")]
    assert wheel_tree(wheel)["some_thing/run"].is_program


def test_what_was_changed_since_or_compiled_here_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site-packages"
    with zipfile.ZipFile(written_wheel(tmp_path)) as archive:
        archive.extractall(site)
    monkeypatch.syspath_prepend(str(site))
    info = site / "some_thing-1.0.dist-info"
    (info / "RECORD").write_text("some_thing/__init__.py,sha256=AAAA,12\n")
    with pytest.raises(RebuildError, match="was changed since"):
        installed_tree("some-thing")
    (info / "WHEEL").write_text(WHEEL.format("cp311-cp311-linux_x86_64"))
    with pytest.raises(RebuildError, match="compiled on this machine"):
        installed_tree("some-thing")
    (info / "RECORD").unlink()
    with pytest.raises(RebuildError, match="no RECORD"):
        installed_tree("some-thing")
    with pytest.raises(RebuildError, match="not installed"):
        installed_tree("nothing-of-this-name")


def test_what_is_no_wheel_is_refused(tmp_path: Path) -> None:
    text, bare = tmp_path / "a-1-py3-none-any.whl", tmp_path / "b-1-py3-none-any.whl"
    text.write_text("no archive")
    with zipfile.ZipFile(bare, "w") as archive:
        archive.writestr("b.py", "")
    for path in (text, bare, tmp_path / "missing.whl"):
        with pytest.raises(RebuildError, match="no wheel"):
            wheel_tree(path)


def test_a_name_outside_the_import_folder_is_left_out(tmp_path: Path) -> None:
    wheel = written_wheel(tmp_path, **{"../escape.py": "", "/absolute.py": "", "some_thing/__pycache__/x.pyc": ""})
    assert not [path for path in wheel_tree(wheel) if "escape" in path or "absolute" in path or "pycache" in path]


def test_a_wheel_is_the_same_bytes_and_installs(tmp_path: Path) -> None:
    tree = own_tree()
    assert wheel_of(tree) == wheel_of(dict(reversed([*tree.items()])))
    with zipfile.ZipFile(io.BytesIO(wheel_of(tree))) as archive:
        names = archive.namelist()
        assert {entry.external_attr >> 16 for entry in archive.infolist()} <= {
            stat.S_IFREG | 0o644,
            stat.S_IFREG | 0o755,
        }
    assert "mainspring/py.typed" in names
    assert [name for name in names if name.endswith("entry_points.txt")]
    assert not [name for name in names if "__pycache__" in name or "direct_url" in name]
    assert own_tree()["mainspring/__init__.py"].size_bytes > 0


def test_given_wheels_come_first_and_fit(tmp_path: Path) -> None:
    wheel = written_wheel(tmp_path)
    written_wheel(tmp_path, "cp39-cp39-manylinux_2_17_x86_64")
    written_wheel(tmp_path, f"cp{MINOR.replace('.', '')}-abi3-win_amd64")
    pins = {"some-thing": "1.0"}
    found = trees_of(pins, platform="linux/arm64", python=MINOR, cache=tmp_path / "cache", wheels=tmp_path)
    assert contents(found["some-thing"]) == contents(wheel_tree(wheel))
    with pytest.raises(InvalidError, match="folder of wheels"):
        trees_of(pins, platform="linux/amd64", python=MINOR, cache=tmp_path, wheels=tmp_path / "none")
    assert wheel_name(wheel) == ("some-thing", "1.0")


def test_what_is_installed_is_taken_in_the_pinned_version_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    version = importlib.metadata.version("click")
    from mainspring.deploy.needs import own_platform

    found = trees_of({"click": version}, platform=own_platform(), python=MINOR, cache=tmp_path)
    assert "click/__init__.py" in found["click"]
    with pytest.raises(RebuildError, match=r"click==0.1"):
        trees_of({"click": "0.1"}, platform=own_platform(), python=MINOR, cache=tmp_path)

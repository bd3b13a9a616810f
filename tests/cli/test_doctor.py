"""What is damaged is found, and named by what depends on it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from mainspring.cli.main import cli
from tests.cli.conftest import DATA_STEPS, STEPS, called, document, mainspring


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "steps.py").write_text(DATA_STEPS)
    (folder / "mainspring.toml").write_text("")
    assert mainspring("run", "-q", "steps.py:main", "--count", "3", cwd=folder).returncode == 0
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of a project that was run, to be damaged."""
    return shutil.copytree(made, tmp_path / "copy")


def blob_of(folder: Path, reference: str) -> Path:
    """The file with the first bytes of a step's result, or of a version's part."""
    shown = document("runs", "show", "latest", cwd=folder)
    (task,) = [task for task in shown["tasks"] if task["name"] == reference]
    return next(
        path
        for path in (folder / ".mainspring" / "blobs").rglob("*")
        if path.is_file() and path.stat().st_size == task["outputs"]["result"]["size_bytes"]
    )


def test_a_damaged_blob_is_named_with_the_step_run_and_version_it_belongs_to(folder: Path) -> None:
    path = blob_of(folder, "load")
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    called("doctor", cwd=folder)
    found = mainspring("doctor", "--blobs", cwd=folder)
    assert found.returncode == 1
    (line,) = [line for line in found.stdout.splitlines() if line.startswith("WRONG")]
    run = document("runs", cwd=folder)["runs"][0]["id"][:12]
    assert f"output `result` of step `load` in run {run} (main)" in line
    assert "dataset version numbers/1" in line


def test_a_run_that_meets_a_damaged_blob_says_so_in_a_short_line(folder: Path) -> None:
    path = blob_of(folder, "load")
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    source = folder / "steps.py"
    source.write_text(source.read_text().replace("return ms.dataset", "print(1)\n    return ms.dataset"))
    again = mainspring("run", "steps.py:main", "--count", "3", cwd=folder)
    assert again.returncode == 0, again.stderr
    (line,) = [line for line in again.stderr.splitlines() if "made again" in line]
    blob = re.search(r"result can't be read \((/[^ ]+), ([0-9a-f]{12})\); it is made again$", line)
    assert blob is not None, line
    assert path.name.startswith(blob[2])
    assert Path(blob[1]).is_relative_to(folder)
    called("doctor", "--blobs", cwd=folder)


def test_a_workspace_that_can_only_be_read_is_looked_at_all_the_same(folder: Path) -> None:
    state = folder / ".mainspring"
    subprocess.run(["mount", "--bind", str(state), str(state)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(state)], check=True)
        found = mainspring("doctor", "--blobs", cwd=folder)
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)
    assert found.returncode == 1
    assert re.search(r"WRONG  database: .* can be read, but not written \(.*not writable.*\); schemas: ", found.stdout)
    assert "nothing can be run or committed here" in found.stdout
    assert "ok     database file: intact" in found.stdout
    assert "that are named are there and intact" in found.stdout


def test_what_depends_on_each_of_many_blobs_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text(STEPS)
    (tmp_path / "mainspring.toml").write_text("")
    called("run", "-q", "steps.py:main", cwd=tmp_path)
    for path in (tmp_path / ".mainspring" / "blobs").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(b"spoilt")
    found = CliRunner().invoke(cli, ["-C", str(tmp_path), "doctor", "--blobs"])
    assert found.exit_code == 1
    for told, remedy in (
        (r"the log of step `load` in run \w+", "It can't be made again, and nothing else needs it"),
        (r"the recorded code or environment of run \w+ \(main\)", "A run of the same sources"),
        (r"output `result` of step `load` in run \w+ \(main\)", "A run with the same code and inputs"),
    ):
        assert re.search(f"on it depend: {told}\n +{remedy}", found.stdout), found.stdout
    kinds = r"\d with results, \d with recorded code or environments, 2 with logs"
    assert re.search(rf"WRONG  blobs: \d+ are corrupt or missing: {kinds}", found.stdout), found.stdout


def test_the_damaged_result_of_an_attempt_is_named_with_its_step_and_run(tried: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tried, folder)
    listed = document("runs", "checkpoints", "latest", cwd=folder)
    (kept,) = listed["checkpoints"]
    (blob,) = (folder / ".mainspring" / "blobs").rglob(f"*{kept['encoded']['blob'][6:]}")
    blob.chmod(0o644)
    blob.write_bytes(b"spoilt")
    found = CliRunner().invoke(cli, ["-C", str(folder), "doctor", "--blobs"])
    run = listed["run"][:12]
    assert f"checkpoint `state[1]` of attempt 1 of step `train` in run {run} (main)" in found.stdout

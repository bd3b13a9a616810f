"""Scratch folders go with who made them, and what a killed process left with the next one, but for what must not be lost."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mainspring.store.scratch import Scratch, drop_from_scratch, find_in_scratch

KILLED = """
import os, signal
from mainspring.store.scratch import Scratch
scratch = Scratch(keeps={keeps!r})
(scratch.path / "a.log").write_text("kept")
print(scratch.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def left(keeps: str) -> Path:
    """The folder of a process that was killed."""
    command = [sys.executable, "-c", KILLED.format(keeps=keeps)]
    return Path(subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout.strip())


def test_the_folders_of_killed_processes_go_with_the_next_one_but_for_those_with_what_must_not_be_lost() -> None:
    with Scratch() as used:
        plain, other, needed = left(""), left("b.*"), left("a.*")
        Scratch().close()
        assert [path.exists() for path in (used, plain, other, needed)] == [True, False, False, True]
    assert not used.exists()
    assert find_in_scratch("a.*") == needed / "a.log"
    drop_from_scratch("a.*")
    assert not needed.exists()
    assert find_in_scratch("a.*") is None


def test_what_must_not_be_lost_is_given_up_after_a_week() -> None:
    needed = left("a.*")
    for days, stays in ((6, True), (8, False)):
        at = needed.stat().st_mtime - days * 86_400
        os.utime(needed / "a.log", (at, at))
        Scratch().close()
        assert needed.exists() == stays


def test_a_folder_that_is_used_is_not_dropped() -> None:
    scratch = Scratch(keeps="a.*")
    (scratch.path / "a.log").touch()
    drop_from_scratch("a.*")
    assert scratch.path.exists()
    scratch.close()
    assert not scratch.path.exists()

"""What each attempt printed can be read: of one that was killed, and of one whose step was reused after it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import called, document, mainspring

KILLED = """
import os

import mainspring as ms


@ms.step
def work() -> int:
    print("kept" if not os.path.exists("second") else "again")
    if not os.path.exists("second"):
        open("second", "w").close()
        os.kill(os.getpid(), 9)
    return 1


@ms.pipeline
def main():
    return work()
"""

REUSED = """
from pathlib import Path

import mainspring as ms


@ms.step
def work(marker: str) -> int:
    print(f"it is {Path(marker).exists()}")
    if not Path(marker).exists():
        raise RuntimeError("not yet")
    return 1


@ms.pipeline
def main(marker: str):
    return work(marker)
"""


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A project whose run was killed in its step, after that had printed."""
    (tmp_path / "flow.py").write_text(KILLED)
    (tmp_path / "mainspring.toml").write_text('runner = "inline"\n[pipelines]\nmain = "flow:main"\n')
    command = [sys.executable, "-m", "mainspring", "run", "-q"]
    ran = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, timeout=60)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    return tmp_path


def states(folder: Path) -> list[str]:
    run = document("runs", "show", "latest", cwd=folder)
    step = document("runs", "show", "latest", "work", cwd=folder)["task"]
    (log,) = document("logs", "latest", cwd=folder)["logs"]
    return [run["run"]["state"], run["tasks"][0]["state"], step["state"], step["attempts"][-1]["state"], log["state"]]


def test_a_killed_attempt_is_interrupted_and_keeps_its_log(killed: Path) -> None:
    assert states(killed) == ["interrupted"] * 5
    assert re.search(r"work +interrupted", called("runs", "show", "latest", cwd=killed))
    assert called("logs", "latest", "work", cwd=killed) == "kept\n"
    doctor = called("doctor", cwd=killed)
    assert "nothing else has what 1 interrupted run printed" in doctor
    called("gc", cwd=killed)
    assert "safe to delete while nothing runs" in called("doctor", cwd=killed)
    assert mainspring("resume", "latest", cwd=killed).returncode == 0
    logs = document("logs", "latest", "work", "--attempts", cwd=killed)["logs"]
    assert [(each["attempt"], each["state"], each["text"]) for each in logs] == [
        (1, "lost", "kept\n"), (2, "succeeded", "again\n"),
    ]  # fmt: skip


def test_what_a_lost_attempt_printed_elsewhere_is_said(killed: Path) -> None:
    (killed / ".mainspring" / "scratch").rename(killed / "elsewhere")
    resumed = mainspring("resume", "latest", cwd=killed)
    assert "had printed is not here: its folder on this machine is gone" in resumed.stderr + resumed.stdout
    assert "what it printed is not here" in called("logs", "latest", "work", "--attempts", cwd=killed)


def test_the_failed_attempt_of_a_step_that_was_then_reused_is_told(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(REUSED)
    (tmp_path / "mainspring.toml").write_text('runner = "inline"\n[pipelines]\nmain = "flow:main"\n')
    marker = tmp_path.parent / f"{tmp_path.name}-marker"
    words = ("--marker", str(marker))
    called("run", "-q", *words, cwd=tmp_path, status=1)
    failed = document("runs", "show", "latest", cwd=tmp_path)["run"]["id"]
    marker.touch()
    called("run", "-q", *words, cwd=tmp_path)
    called("resume", failed, "-q", cwd=tmp_path)
    logs = document("logs", failed, "work", "--attempts", cwd=tmp_path)["logs"]
    assert [(each["run"] == failed, each["state"], each["text"].splitlines()[0]) for each in logs] == [
        (True, "failed", "it is False"), (False, "succeeded", "it is True"),
    ]  # fmt: skip
    assert called("logs", failed, "work", cwd=tmp_path) == "it is True\n"
    task: dict[str, Any] = document("runs", "show", failed, "work", cwd=tmp_path)["task"]
    assert (task["state"], task["wall_s"], task["cpu_s"], task["peak_bytes"]) == ("reused", None, None, None)
    shown = called("runs", "show", failed, "work", cwd=tmp_path)
    assert "1: failed (RuntimeError: not yet)" in shown
    assert not re.search(r"^(took|used) ", shown, re.MULTILINE)
    assert f"{failed[:12]} work --attempts" in shown


def test_times_in_what_attempts_had_and_made_are_texts_as_all_times_are(tried: Path) -> None:
    task = document("runs", "show", "latest", "train", cwd=tried)["task"]
    records = [each for attempt in task["attempts"] for each in (*attempt["had"], *attempt["made"])]
    lineage = document("lineage", "latest", cwd=tried)["nodes"]
    times = [each[name] for each in (*records, *lineage) for name in ("created_at", "removed_at")]
    assert any(time is not None for time in times[1::2])
    assert all(datetime.fromisoformat(time).tzinfo for time in times if time is not None)

"""`why` and `run --dry-run` say the same of what would run now; a recorded run is told by the states of its tasks."""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result

from tests.cli.conftest import call

SHORT = """
import mainspring as ms


@ms.step
def s(n: int) -> int:
    return n + 1


@ms.step
def u(n: int) -> int:
    return n + 2


@ms.pipeline
def main(n: int = 1):
    return s(n)
"""
MANY = """
import mainspring as ms


@ms.step
def many(n: int) -> list[int]:
    return list(range(n))


@ms.step
def each(item: int) -> int:
    return item * 2


@ms.pipeline
def main(n: int = 20):
    return each.map(many(n))
"""


def mainspring(*words: str, cwd: Path) -> Result:
    """A command in this process, with the file as it is now."""
    sys.modules.pop("pipe", None)
    importlib.invalidate_caches()
    return call(*words, cwd=cwd)


def tasks_of(*words: str, cwd: Path) -> list[dict[str, object]]:
    told = mainspring(*words, "--json", cwd=cwd)
    assert told.exit_code == 0, told.stdout
    return list(json.loads(told.stdout)["tasks"])


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """A project of one file, run once."""
    (tmp_path / "pipe.py").write_text(SHORT)
    assert mainspring("run", "pipe.py", cwd=tmp_path).exit_code == 0
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        ("return s(n)", "return s(7)", "1 would run, 0 would be reused."),
        ("n: int = 1", "n: int = 5", "1 would run, 0 would be reused."),
        ("return s(n)", "return u(s(n))", "1 would run, 1 would be reused."),
        ("return s(n)", "return u(s(n + 1))", "1 would run, 0 would be reused, 1 can't be known before."),
        ("return s(n)", "return s(n)", "0 would run, 1 would be reused."),
    ],
)
def test_why_and_a_dry_run_say_the_same(short: Path, old: str, new: str, counts: str) -> None:
    (short / "pipe.py").write_text(SHORT.replace(old, new))
    assert tasks_of("why", cwd=short) == tasks_of("run", "pipe.py", "--dry-run", cwd=short)
    assert counts in mainspring("why", cwd=short).stdout
    assert counts in mainspring("run", "pipe.py", "--dry-run", cwd=short).stdout


def test_a_step_that_is_gone_is_named(short: Path) -> None:
    (short / "pipe.py").write_text(SHORT.replace("return s(n)", "return u(n)"))
    shown = mainspring("why", cwd=short).stdout
    assert [line.split()[:2] for line in shown.splitlines()[2:]] == [["run", "u"], ["gone", "s"]]
    assert mainspring("why", "s", cwd=short).stdout.splitlines()[-1].split()[0] == "gone"


@pytest.mark.parametrize("word", ["pipe.py", "pipe.py:main", "none.py"])
def test_of_a_file_it_says_which_command_tells(short: Path, word: str) -> None:
    told = mainspring("why", word, cwd=short)
    assert (told.exit_code, told.stdout) == (1, "")
    assert f"`mainspring run {word} --dry-run` says why" in told.stderr


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def main", "def mian", "No pipeline `pipe:main`. Nearest: pipe:mian."),
        ("def main(", "def main((", "`pipe` is not Python"),
        ("import mainspring as ms", "import mainspring as ms\n1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_pipeline_that_cannot_be_imported_is_an_error_of_one_line(short: Path, old: str, new: str, said: str) -> None:
    (short / "pipe.py").write_text(SHORT.replace(old, new))
    told = mainspring("why", cwd=short)
    assert (told.exit_code, told.stdout) == (1, "")
    assert said in told.stderr
    assert len(told.stderr.splitlines()) == 1


def test_items_with_the_same_reason_share_a_row(tmp_path: Path) -> None:
    (tmp_path / "pipe.py").write_text(MANY)
    mainspring("run", "pipe.py", cwd=tmp_path)
    recorded = mainspring("why", "latest", cwd=tmp_path).stdout
    assert "In run" in recorded
    assert "21 ran, 0 reused" in recorded
    assert [line.split()[1] for line in recorded.splitlines()[2:]] == ["many", "each", "each[0…19]"]
    assert len(mainspring("why", "latest", "each", cwd=tmp_path).stdout.splitlines()) == 2 + 1 + 20
    present = mainspring("why", cwd=tmp_path).stdout
    assert "0 would run, 21 would be reused." in present
    assert [line.split()[1] for line in present.splitlines()[2:]] == ["many", "each", "each[0…19]"]
    assert len(mainspring("why", "each", cwd=tmp_path).stdout.splitlines()) == 2 + 1 + 20
    assert len(tasks_of("why", cwd=tmp_path)) == 22


def test_tasks_are_counted_by_their_state(tmp_path: Path) -> None:
    fifo, gate = tmp_path / "fifo", tmp_path / "gate"
    for pipe in (fifo, gate):
        subprocess.run(["mkfifo", str(pipe)], check=True)
    (tmp_path / "pipe.py").write_text(
        SHORT.replace("return n + 2", f"open({str(fifo)!r}, 'w').write('x'); open({str(gate)!r}).read(); return n")
        .replace("return s(n)", "return s(s(u(s(n))))")
    )  # fmt: skip
    command = [sys.executable, "-m", "mainspring", "run", "pipe.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        fifo.read_text()
        told = mainspring("why", "latest", cwd=tmp_path).stdout
        refused = mainspring("resume", "latest", cwd=tmp_path)
        driver.send_signal(signal.SIGINT)
        driver.wait(60)
    assert "1 ran, 0 reused, 1 running, 2 waiting." in told
    assert [line.split()[0] for line in told.splitlines()[2:]] == ["ran", "running", "waiting", "waiting"]
    assert (refused.exit_code, f"is running (process {driver.pid} here)" in refused.stderr) == (1, True)


def test_resume_says_that_the_recorded_code_is_used(short: Path) -> None:
    (short / "pipe.py").write_text(SHORT.replace("return n + 1", "raise ValueError(n)"))
    assert mainspring("run", "pipe.py", cwd=short).exit_code == 1
    (short / "pipe.py").write_text(SHORT)
    again = mainspring("resume", "latest", cwd=short)
    assert again.exit_code == 1
    assert "is used: pipe.py changed since; `mainspring run pipe:main` runs the present code" in again.stderr
    (note,) = json.loads(mainspring("resume", "latest", "--json", cwd=short).stdout)["notes"]
    assert "pipe.py changed since" in note


def test_replays_are_passed_over_by_latest(short: Path) -> None:
    for _ in range(2):
        replayed = mainspring("replay", "latest", cwd=short)
        assert (replayed.exit_code, replayed.stdout.split()[0]) == (0, "VERIFIED")
    newest = json.loads(mainspring("runs", "--json", cwd=short).stdout)["runs"][0]
    assert newest["kind"] == "replay"
    assert "a replay runs every step" in mainspring("why", newest["id"], cwd=short).stdout
    assert "no earlier result" in mainspring("why", "latest", cwd=short).stdout
    run = json.loads(mainspring("lineage", "latest", "--json", cwd=short).stdout)["start"]
    assert run == newest["replay_of"]

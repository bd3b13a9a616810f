"""What a terminal shows of a run: a live tree, colours unless NO_COLOR is set, and a clean stop on Ctrl-C."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import struct
import sys
import termios
from pathlib import Path

import click
import pytest

from mainspring.cli.live import LiveTree, shown_tree
from mainspring.pipelines.task import Task, TaskState
from tests.cli.conftest import call

STEPS = """
import sys
import mainspring as ms


@ms.step
def first(fifo: str) -> list[int]:
    ms.log_metric("loss", 0.25, step=3)
    print("halfway there")
    if fifo:
        with open(fifo) as file:
            file.read()
    return [1, 2, 3]


@ms.step
def each(n: int) -> int:
    return n


@ms.pipeline
def inner(values):
    return each.map(values)


@ms.pipeline
def main(fifo: str = ""):
    return inner(first(fifo))
"""


MANY = """
import mainspring as ms


@ms.step(may_fail=True)
def each(n: int) -> int:
    if n % 10 == 3:
        raise ValueError(f"no {n}")
    return n


@ms.step
def count(values: list[int]) -> int:
    return len(values)


@ms.pipeline
def main(size: int = 100):
    each.map(list(range(size)))
    return count([1, 2])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "steps.py").write_text(STEPS)
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


class Terminal:
    """The command line on a terminal of 24 × 80 that we hold the other end of."""

    def __init__(self, folder: Path, *words: str, **variables: str) -> None:
        self.text = ""
        kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "PYTHONHASHSEED")}
        command = [sys.executable, "-m", "mainspring", *words]
        self.pid, self.end = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(sys.executable, command, kept | {"TERM": "xterm-256color"} | variables)
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def until(self, wanted: str, within_s: float = 60) -> None:
        """Read until the plain text holds something."""
        while wanted not in self.plain and self._read(within_s):
            pass
        assert wanted in self.plain, self.text

    def status(self) -> int:
        """Read to the end and give the exit status."""
        while self._read(60):
            pass
        os.close(self.end)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    @property
    def plain(self) -> str:
        """What was written, without colours and movements."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.text)

    def _read(self, within_s: float) -> bool:
        if not select.select([self.end], [], [], within_s)[0]:
            return False
        try:
            data = os.read(self.end, 65_536)
        except OSError:  # Linux says so when the other end is closed
            return False
        self.text += data.decode("utf-8", "replace")
        return bool(data)


def test_a_terminal_shows_a_live_tree_and_a_summary(folder: Path) -> None:
    terminal = Terminal(folder, "run", "steps.py", "--fifo", str(folder / "fifo"), LANG="C.UTF-8")
    terminal.until("│ halfway there")
    terminal.until("loss 0.25  step 3")
    (folder / "fifo").write_text("go on")
    assert terminal.status() == 0
    assert "\x1b[32m" in terminal.text
    last = terminal.plain[terminal.plain.rindex("main ") :]
    assert re.search(r"✓ first .*\n\s+inner\s*\n\s+✓ each +3/3", last.replace("\r", ""))
    assert "succeeded" in last
    assert "4 ran" in last
    assert "mainspring runs show" in last
    assert terminal.text.count("\x1b[?25l") == terminal.text.count("\x1b[?25h") == 1  # the cursor is given back


def test_a_run_that_ends_at_once_draws_nothing(folder: Path) -> None:
    terminal = Terminal(folder, "run", "steps.py", LANG="C.UTF-8")
    assert terminal.status() == 0
    again = Terminal(folder, "run", "steps.py", LANG="C.UTF-8")
    assert again.status() == 0
    assert "↺ first" in again.plain
    assert "4 reused" in again.plain


def test_no_color_keeps_the_layout_and_a_dumb_terminal_gets_plain_lines(folder: Path) -> None:
    terminal = Terminal(folder, "run", "steps.py", NO_COLOR="1", LANG="C.UTF-8")
    assert terminal.status() == 0
    assert "✓ first" in terminal.plain
    assert not re.search(r"\x1b\[[\d;]*3\d[\d;]*m", terminal.text)
    terminal = Terminal(folder, "run", "steps.py", TERM="dumb", LANG="C.UTF-8")
    assert terminal.status() == 0
    assert "\x1b" not in terminal.text
    assert "first  reused" in terminal.text


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(folder: Path) -> None:
    terminal = Terminal(folder, "run", "steps.py", "--fifo", str(folder / "fifo"), LANG="C.UTF-8")
    terminal.until("│ halfway there")
    os.write(terminal.end, b"\x03")
    assert terminal.status() == 130
    assert "cancelled" in terminal.plain
    assert "mainspring resume" in terminal.plain
    assert "Traceback" not in terminal.plain


def test_a_long_list_is_told_in_tenths_and_each_failure(folder: Path) -> None:
    (folder / "many.py").write_text(MANY)
    ran = call("run", "many.py", cwd=folder)
    assert ran.exit_code == 0
    lines = ran.stderr.splitlines()
    told = [line for line in lines if " items: " in line]
    assert [line.split()[2] for line in told] == [str(10 * n) for n in range(1, 11)]
    assert told[-1].endswith("each  100 of 100 items: 90 ran, 10 failed")
    assert sum(line.startswith("each[") and "ValueError" in line for line in lines) == 10
    assert sum(line.startswith("✗ each[") for line in lines) == 5
    assert "✗ each: 5 more items failed" in lines
    assert not any("] each[" in line for line in lines)
    assert len(lines) < 60
    short = call("run", "many.py", "--size", "3", cwd=folder).stderr
    assert "each[2]  reused" in short


def test_the_live_tree_is_no_higher_than_it_may_be() -> None:
    names = [f"part{n // 3}/step{n}" for n in range(30)] + ["last"]
    tree = LiveTree(io.StringIO(), "mainspring", None)  # type: ignore[arg-type]  # no log is read
    for position, name in enumerate(names):
        state = TaskState.RUNNING if position % 4 == 0 else TaskState.SUCCEEDED
        task = Task(id=name, run="r", position=position, name=name, module="m", qualname="q", state=state, started_at=1)
        tree._add(task)
        tree.printed(name, f"line of {name}")
    for at_most in (5, 10, 21, 40, 80):
        lines = shown_tree(tree, at_most=at_most, output=True)
        assert len(lines) <= at_most + 1  # and the head
        assert not any("\n" in line for line in lines)
    assert "1 more step" not in click.unstyle("\n".join(shown_tree(tree, at_most=200)))

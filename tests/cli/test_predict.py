"""`mainspring predict` on a terminal says what it is at from its begin on, and what it waits for when it is interrupted."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LinearRegression

from mainspring.cli.main import cli
from mainspring.data import dataset
from mainspring.models import register
from mainspring.workspace import Workspace, using

ROWS = pl.DataFrame({"id": range(20), "x": [float(row) for row in range(20)]})
# Reading and answering wait until a file is there; parts have few rows.
SLOW = """
import sys, time
from pathlib import Path

from sklearn.linear_model import LinearRegression

from mainspring.cli.main import cli
from mainspring.serving.batch import inputs, prediction


def waits(name, call):
    def waiting(*given, **more):
        sys.stderr.write(f"waits to {name}\\n")
        while not Path(name).exists():
            time.sleep(0.01)
        return call(*given, **more)

    return waiting


inputs.BLOCK_ROWS = 7
prediction.read_input = waits("read", prediction.read_input)
LinearRegression.predict = waits("answer", LinearRegression.predict)
cli(sys.argv[1:])
"""


class Seen:
    """What a process shows on its terminal, and the process."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.process, self.terminal, self.text = process, terminal, ""

    def shows(self, text: str) -> bool:
        """Whether it shows so within some seconds."""
        until = time.monotonic() + 30
        while text not in self.text and time.monotonic() < until:
            try:
                self.text += os.read(self.terminal, 1_000).decode()
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:  # nobody writes to it any more
                break
        return text in self.text


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Seen]]:
    """A `mainspring predict` of twenty rows on a terminal, with more options."""
    with Workspace.open(tmp_path) as workspace, using(workspace):
        register(LinearRegression().fit(ROWS.select("x"), ROWS["x"]), "model", input_example=ROWS.select("x").head(2))
        dataset("rows").commit(ROWS)
    (terminal, other), begun = pty.openpty(), []
    os.set_blocking(terminal, False)

    def start(*options: str) -> Seen:
        command = [sys.executable, "-c", SLOW, "predict", "model/1", "--data", "rows", "--to", "out", *options]
        given = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
        begun.append(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=other, env=given))
        os.close(other)
        return Seen(begun[0], terminal)

    yield start
    for process in begun:
        process.kill()
        process.wait()
    os.close(terminal)


def test_what_it_is_at_is_shown_before_the_first_part_is_done(started: Callable[..., Seen], tmp_path: Path) -> None:
    seen = started("-j", "2")
    assert seen.shows("\x1b[2Kreading rows")
    (tmp_path / "read").touch()
    assert seen.shows("\x1b[2K0 of 20 rows")
    (tmp_path / "answer").touch()
    assert seen.process.wait(30) == 0


def test_an_interrupted_one_says_that_it_waits_for_the_parts_that_were_begun(
    started: Callable[..., Seen], tmp_path: Path
) -> None:
    (tmp_path / "read").touch()
    seen = started("-j", "2")
    assert seen.shows("waits to answer")
    assert seen.shows("0 of 20 rows")
    seen.process.send_signal(signal.SIGINT)
    assert seen.shows("\x1b[2Kstopping when the parts that were begun are done, 0 of 20 rows so far")
    assert seen.process.poll() is None
    (tmp_path / "answer").touch()
    assert seen.process.wait(30) == 130
    assert seen.shows("Interrupted.")


@pytest.mark.one_backend("the query isn't run")
def test_a_query_whose_datasets_are_not_named_is_told_how_to_name_them(tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text('name = "rows"\n')
    for query, said in (
        (
            "SELECT * FROM tx",
            "--query: `tx` is not a table that it has. Name the datasets of the query with `--from tx`.",
        ),
        ("SELECT nothing", "SQL: "),
    ):
        done = CliRunner().invoke(cli, ["-C", str(tmp_path), "predict", "fraud", "--query", query, "--to", "z"])
        assert done.exit_code == 1
        assert said in done.output
        assert ("--from" in done.output) == ("tx" in query)

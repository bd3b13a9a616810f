"""A project that was made and run once, by the command line itself, for tests that only look."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mainspring.cli.main import cli

Called = subprocess.CompletedProcess[str]

STEPS = """
import mainspring as ms


@ms.step
def load(count: int) -> list[int]:
    print(f"loading {count}")
    return list(range(count))


@ms.step
def power(base: int, exponent: int) -> int:
    return base**exponent


@ms.step
def total(values: list[int], fail: bool) -> int:
    print("adding")
    if fail:
        raise ValueError("they do not add up")
    return sum(values)


@ms.pipeline
def main(count: int = 3, exponent: int = 2, fail: bool = False):
    return {"total": total(power.map(load(count), exponent=exponent), fail)}


@ms.pipeline
def other(count: int = 1):
    return load(count)
"""

# A pipeline with a dataset between its steps, and a map beside it.
DATA_STEPS = """
import mainspring as ms
import polars as pl


@ms.step
def load(count: int) -> pl.DataFrame:
    return pl.DataFrame({"n": list(range(count))})


@ms.step
def keep(frame: pl.DataFrame):
    return ms.dataset("numbers").commit(frame)


@ms.step
def each(n: int) -> int:
    return n * n


@ms.step
def total(version, squares: list[int]) -> int:
    return sum(squares)


@ms.pipeline
def main(count: int = 60):
    return total(keep(load(count)), each.map(list(range(count))))


@ms.pipeline
def other():
    return load(7)
"""

# A step that makes something, fails, and goes on from its checkpoint when it is tried again.
TRIED = """
import mainspring as ms
import polars as pl


@ms.step(retries=1, backoff_s=0)
def train() -> int:
    kept = ms.checkpoints(keep_last=1)
    ms.log_metric("loss", 0.5)
    print("begun")
    if kept.latest() is None:
        for step in range(2):
            kept.save([step], step=step)
        ms.dataset("made").commit(pl.DataFrame({"a": [1]}))
        raise ValueError("the first time")
    kept.load(kept.latest())
    return 1


@ms.pipeline
def main():
    return train()
"""


def mainspring(*words: str, cwd: Path, **variables: str) -> Called:
    """Call the command line in a process of its own, which has the hash seed that it would start again for."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAINSPRING_")}
    return subprocess.run(
        [sys.executable, "-m", "mainspring", *words],
        cwd=cwd,
        env=kept | {"NO_COLOR": "1", "PYTHONHASHSEED": "0"} | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def call(*words: str, cwd: Path) -> Result:
    """Call the command line in this process, in a folder; much quicker than `mainspring`."""
    with chdir(cwd):
        return CliRunner().invoke(cli, words, prog_name="mainspring", env={"NO_COLOR": "1"})


def called(*words: str, cwd: Path, status: int = 0) -> str:
    """What a call that ends with this status prints: on stdout, or on stderr if the status is not 0."""
    ran = call(*words, cwd=cwd)
    assert ran.exit_code == status, ran.output
    return ran.stderr if status else ran.stdout


def document(*words: str, cwd: Path) -> Any:
    """The JSON document that a call prints."""
    return json.loads(called(*words, "--json", cwd=cwd))


@pytest.fixture(autouse=True)
def _forgotten(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What commands import of a project in this process is not there for tests of other projects."""
    yield
    made = str(tmp_path_factory.getbasetemp())
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(made):
            del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with pipelines in `steps.py` and no workspace yet."""
    (tmp_path / "steps.py").write_text(STEPS)
    (tmp_path / "mainspring.toml").write_text('[pipelines]\nmain = "steps:main"\nsmall = "steps:other"\n')
    return tmp_path


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two runs: one that succeeded, then one that failed. Not to be changed."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "steps.py").write_text(STEPS)
    (folder / "mainspring.toml").write_text('[pipelines]\nmain = "steps:main"\nsmall = "steps:other"\n')
    assert mainspring("run", "--note", "the first", cwd=folder).returncode == 0
    assert mainspring("run", "--fail", cwd=folder).returncode == 1
    return folder


@pytest.fixture
def look(ran: Path) -> Callable[..., Result]:
    """Call a command that only looks, in this process, on the project that was run."""

    def call(*words: str) -> Result:
        return CliRunner().invoke(cli, ["-C", str(ran), *words], prog_name="mainspring")

    return call


@pytest.fixture(scope="session")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose only step failed, when it had made something, and was tried again."""
    folder = tmp_path_factory.mktemp("tried")
    (folder / "flow.py").write_text(TRIED)
    (folder / "mainspring.toml").write_text('[pipelines]\nmain = "flow:main"\n')
    assert mainspring("run", "-q", "--runner", "inline", cwd=folder).returncode == 0
    return folder

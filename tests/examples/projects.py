"""An example as a user has it: a folder of its own, commands run in it, files edited."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import Result

from tests.cli.conftest import call
from tests.installed.environment import extras_of, with_extras

EXAMPLES = Path(__file__).parents[2] / "examples"
MADE = shutil.ignore_patterns(".mainspring", "__pycache__", "arrivals*", "figures")


def copied(name: str, folder: Path) -> Path:
    """An example as it is checked out, in a new folder."""
    shutil.copytree(EXAMPLES / name, folder, ignore=MADE)
    return folder


def called(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in the folder, without settings from outside, and with no more than its README says to install."""
    extras = list(extras_of(folder / "README.md").values())[-1] or "examples"  # of `make demo`
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAINSPRING_")}
    environment |= {"NO_COLOR": "1", **with_extras(extras)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def mainspring(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command, as it is typed there."""
    return called(folder, "-P", "-m", "mainspring", *arguments)


@contextmanager
def forgetting(folder: Path) -> Iterator[None]:
    """Forget what the block imports from there."""
    before = set(sys.modules)
    try:
        yield
    finally:
        for name in set(sys.modules) - before:
            if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]


def at_once(folder: Path, *arguments: str) -> Result:
    """A command in this process: for one that needs no process of its own."""
    with forgetting(folder):
        return call(*arguments, cwd=folder)


def document(folder: Path, *arguments: str) -> Any:
    """What a command answers to a program."""
    return json.loads(mainspring(folder, *arguments, "--json").stdout)


def edit(path: Path, old: str, new: str) -> None:
    """Put a text in place of one that has to be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))

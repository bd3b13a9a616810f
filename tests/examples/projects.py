"""An example as a user has it: a folder of its own, commands run in it, files edited."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

from click.testing import Result
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.cli.conftest import call

EXAMPLES = Path(__file__).parents[2] / "examples"
INSTALLED = Path(__file__).parent / "installed"
MADE = shutil.ignore_patterns(".mainspring", "__pycache__", "arrivals*", "figures")


def copied(name: str, folder: Path) -> Path:
    """An example as it is checked out, in a new folder."""
    shutil.copytree(EXAMPLES / name, folder, ignore=MADE)
    return folder


@cache
def hidden(extras: str) -> str:
    """Modules that the tests have, and whoever installs Mainspring with these extras doesn't."""
    met, open_ = set[tuple[str, str]](), {("mainspring", extra) for extra in extras.split(",")}
    while open_:
        met |= open_
        open_ = {each for name, extra in open_ for each in needed(name, extra)} - met
    brought = {name for name, _ in met}
    given = packages_distributions()
    return " ".join(name for name, by in given.items() if not brought & {canonicalize_name(each) for each in by})


def needed(name: str, extra: str) -> set[tuple[str, str]]:
    """The distributions that one needs here, each with an extra of it or none."""
    try:
        wanted = [Requirement(each) for each in requires(name) or ()]
    except PackageNotFoundError:
        return set()  # for another platform
    wanted = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": extra})]
    return {(canonicalize_name(each.name), extra) for each in wanted for extra in {"", *each.extras}}


def called(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in the folder, without settings from outside, and with no more than its README says to install."""
    said = re.search(r"pip install 'mainspring\[([\w,]+)\]'", (folder / "README.md").read_text())
    extras = said[1] if said else "examples"  # of `make demo`
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAINSPRING_")}
    environment |= {"NO_COLOR": "1", "PYTHONPATH": str(INSTALLED), "HIDDEN_MODULES": hidden(extras)}
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

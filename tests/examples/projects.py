"""An example as a user has it: a folder of its own, commands run in it, files edited."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import Result

from tests.cli.conftest import call


def called(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, in the folder, without settings from outside."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAINSPRING_")}
    environment |= {"NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def mainspring(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command, as it is typed there."""
    return called(folder, "-P", "-m", "mainspring", *arguments)


def at_once(folder: Path, *arguments: str) -> Result:
    """A command in this process, which forgets what it imports from there: for one that needs no process of its own."""
    before = set(sys.modules)
    try:
        return call(*arguments, cwd=folder)
    finally:
        for name in set(sys.modules) - before:
            if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]


def document(folder: Path, *arguments: str) -> Any:
    """What a command answers to a program."""
    return json.loads(mainspring(folder, *arguments, "--json").stdout)


def edit(path: Path, old: str, new: str) -> None:
    """Put a text in place of one that has to be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))

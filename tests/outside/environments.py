"""Environments of outside clients: one folder for each below `.outside`, made on demand from the pins beside this file."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.house.source import ROOT

PINS = Path(__file__).parent
HOME = ROOT / ".outside"
_INSTALL_S = 900
_CALL_S = 300


class Environment:
    """An environment whose programs are called as a user would, with nothing of ours on their path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def program(self, name: str) -> str:
        """The path of a program that is installed there."""
        return str(self.folder / "bin" / name)

    def run(self, *command: str, cwd: Path, timeout_s: int = _CALL_S) -> str:
        """Run a program; gives what it printed, and fails the test with that if the program failed."""
        environment = {
            "PATH": os.pathsep.join([str(self.folder / "bin"), "/usr/bin", "/bin"]), "HOME": str(cwd), "LC_ALL": "C.UTF-8",
            "DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true",
        }  # fmt: skip
        done = subprocess.run(
            [self.program(command[0]), *command[1:]], cwd=cwd, env=environment, text=True, capture_output=True,
            timeout=timeout_s, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.fail(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout


def with_ours_behind(folder: Path, *, without: str) -> dict[str, str]:
    """The variables of a process of a client's environment that has Mainspring, and what is installed beside it, behind all
    that is the client's, so that it has the versions that it pins. Its home is the folder; those that begin so are left out.
    """
    site = folder / "site"
    site.mkdir()
    behind = [str(ROOT / "src"), sysconfig.get_path("purelib")]
    (site / "sitecustomize.py").write_text(f"import sys\nsys.path += {behind!r}\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(without)}
    return kept | {"PYTHONPATH": str(site), "HOME": str(folder)}


def environment(name: str, *, over: Environment | None = None, pins: Path | None = None) -> Environment:
    """The environment of a client, made if there is none with its pins, which lie beside this file if it isn't said where.

    It sees also what is in the one that it lies over.
    """
    pins = pins or PINS / f"{name}.txt"
    folder, made = HOME / name, HOME / name / "made-from.txt"
    HOME.mkdir(exist_ok=True)
    with open(HOME / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists() or made.read_text() != pins.read_text():
            made.unlink(missing_ok=True)
            for command in (
                [sys.executable, "-m", "venv", "--clear", str(folder)],
                # No dependencies: the pins are all of them, so that a client of today is that of tomorrow.
                [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps", "-r", str(pins)],
            ):
                subprocess.run(command, check=True, timeout=_INSTALL_S)
            if over is not None:
                (_packages(folder) / "over.pth").write_text(f"{_packages(over.folder)}\n")
            made.write_text(pins.read_text())
    return Environment(folder)


def _packages(folder: Path) -> Path:
    """Where an environment's packages are."""
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))

"""Where `mainspring` and `python -m mainspring` begin."""

from __future__ import annotations

import os
import sys

_IMPORTS_STEPS = frozenset(("run", "resume", "replay", "why"))


def main() -> None:
    """Run the command line; commands that run steps, or foresee it, do so in a process whose hash seed is fixed."""
    if os.environ.get("PYTHONHASHSEED", "random") == "random" and not _IMPORTS_STEPS.isdisjoint(sys.argv[1:]):
        _start_again()
    from mainspring.cli.main import cli

    cli.main(prog_name="mainspring")


def _start_again() -> None:
    """Become the same program with the hash seed of every worker, which only a new interpreter takes."""
    options = [f"-W{option}" for option in sys.warnoptions]
    options += [f"-X{name}" if value is True else f"-X{name}={value}" for name, value in sys._xoptions.items()]
    program = [sys.executable, *options, "-P", "-m", "mainspring", *sys.argv[1:]]
    os.execve(sys.executable, program, os.environ | {"PYTHONHASHSEED": "0"})


if __name__ == "__main__":
    main()

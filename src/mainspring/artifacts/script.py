"""The script that runs: its file, and its name as a module, under which its classes are stored."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path

script: ContextVar[str] = ContextVar("script", default="__main__")  # for as long as the process works on a project


def script_file() -> str | None:
    """The file of the script that runs. A notebook is none, though `%run -i` leaves the name of a file in it."""
    main = vars(sys.modules["__main__"])
    file = main.get("__file__")
    return file if isinstance(file, str) and "get_ipython" not in main else None


def script_module(folders: Sequence[Path]) -> str | None:
    """The name under which the script that runs could be imported from one of these folders; None if it is in none."""
    file = script_file()
    if file is None:
        return None
    path = Path(file).resolve()
    for folder in reversed(folders):
        if path.is_relative_to(folder):
            parts = path.relative_to(folder).with_suffix("").parts
            return ".".join(parts) if all(part.isidentifier() for part in parts) else None
    return None

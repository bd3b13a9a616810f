"""The script that runs: its file, and its name as a module, under which its classes are stored."""

from __future__ import annotations

import sys
from contextvars import ContextVar

script: ContextVar[str] = ContextVar("script", default="__main__")  # for as long as the process works on a project


def script_file() -> str | None:
    """The file of the script that runs. A notebook is none, though `%run -i` leaves the name of a file in it."""
    main = vars(sys.modules["__main__"])
    file = main.get("__file__")
    return file if isinstance(file, str) and "get_ipython" not in main else None

"""The script that runs: its file, its name as a module, under which its classes are stored, and what it alone can find.

Invariant: a definition has one name in everything that is stored, which `home_of` gives.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from mainspring.errors import CodecError, shorten

script: ContextVar[str] = ContextVar("script", default="__main__")  # for as long as the process works on a project
_noted: ContextVar[list[str] | None] = ContextVar("_noted", default=None)


def script_file() -> str | None:
    """The file of the script that runs. A notebook is none, though `%run -i` leaves the name of a file in it."""
    main = vars(sys.modules["__main__"])
    file = main.get("__file__")
    return file if isinstance(file, str) and "get_ipython" not in main else None


def home_of(module: str, qualname: str) -> str:
    """The module under which a definition is stored: of `__main__` the one that the script is when it is imported.

    Within `found_elsewhere` it is noted if there is none.
    """
    home = script.get() if module == "__main__" else module
    noted = _noted.get()
    if noted is not None and is_here_alone(home):
        noted.append(f"{home}.{qualname}")
    return home


def is_here_alone(module: str) -> bool:
    """Whether a module has this name in this process alone, as `__main__` has.

    >>> [is_here_alone(name) for name in ("__main__", "__mp_main__", "flow")]
    [True, True, False]
    """
    return module.startswith("__") and module.endswith("__")


@contextmanager
def found_elsewhere(value: object) -> Iterator[None]:
    """Store a value in the block for other processes, which find the definitions in it by their names.

    Raises:
        CodecError: the block named one of the script or notebook that runs.
    """
    noted: list[str] = []
    token = _noted.set(noted)
    try:
        yield
    finally:
        _noted.reset(token)
    expect_elsewhere(value, noted)


def expect_elsewhere(value: object, names: Collection[str]) -> None:
    """Refuse a value for definitions in it that no other process finds, if there are such names.

    Raises:
        CodecError: there are.
    """
    if names:
        held = ", ".join(f"`{name}`" for name in sorted(set(names)))
        raise CodecError(
            f"`{shorten(value)}` holds {held}, of the script or notebook that runs, where no other process finds it. Move "
            "the definition to a module of the project, such as `net.py`, and import it from there; in a notebook, a cell "
            "that begins with `%%writefile net.py` makes the module."
        )

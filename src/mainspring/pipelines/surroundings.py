"""What of the process a step may change and no later step is to notice: environment variables and the working directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def surroundings_kept() -> Iterator[None]:
    """Put environment variables and working directory back at the end of the block. Module globals are left as they are."""
    variables, folder = _variables(), _folder()
    try:
        yield
    finally:
        if _variables() != variables:
            _put_back({os.fsdecode(name): os.fsdecode(value) for name, value in variables.items()})
        if folder is not None and _folder() != folder:
            with suppress(OSError):
                os.chdir(folder)


def _variables() -> dict[bytes, bytes]:
    # What `os.environ` stands on: a copy takes 1 µs, where one of the mapping itself decodes every name and value, 40 µs.
    data: dict[bytes, bytes] | None = getattr(os.environ, "_data", None)
    return dict(data) if data is not None else {os.fsencode(k): os.fsencode(v) for k, v in os.environ.items()}


def _put_back(variables: dict[str, str]) -> None:
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    for name, value in variables.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _folder() -> str | None:
    try:
        return os.getcwd()  # once or twice for every step: the `Path` would cost more than the call
    except OSError:  # it was removed
        return None

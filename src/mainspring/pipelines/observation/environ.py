"""Reads of `os.environ`, which raise no audit event, told to the current task.

The mapping's class is changed in place, so that `from os import environ` is seen too, whenever it was bound. Every way
to read (`[]`, `get`, `in`, `os.getenv`, a copy, a loop) ends in two methods.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from mainspring.pipelines.observation.watcher import Current


def install(current: Current) -> None:
    """Record this process's reads of environment variables from now on."""

    class RecordedEnviron(os._Environ):  # type: ignore[type-arg]  # not subscriptable at run time
        """`os.environ`, telling the current task what it reads."""

        def __getitem__(self, key: Any) -> Any:
            watcher = current()
            if watcher is not None:
                watcher.variable(os.fsdecode(key))
            return super().__getitem__(key)

        def __setitem__(self, key: Any, value: Any) -> None:
            super().__setitem__(key, value)
            watcher = current()
            if watcher is not None:
                watcher.set_variable(os.fsdecode(key))

        def __iter__(self) -> Iterator[Any]:
            watcher = current()
            if watcher is not None:
                watcher.variable("*")
            return super().__iter__()

    mappings: list[object] = [os.environ]
    if hasattr(os, "environb"):
        mappings.append(os.environb)
    for mapping in mappings:
        if type(mapping) is os._Environ:
            object.__setattr__(mapping, "__class__", RecordedEnviron)

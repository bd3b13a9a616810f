"""What rooms above do while a step runs that uses a library of theirs, such as a server for MLflow's clients.

A hook is an entry point of the group `mainspring.worker_hooks` with the library's name. It is looked for only once that library
is imported, so that other steps pay nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from types import ModuleType

import msgspec

from mainspring.pipelines.observation.imports import on_import
from mainspring.runs import RunLog
from mainspring.workspace import Workspace

GROUP = "mainspring.worker_hooks"
LIBRARIES = ("mlflow",)
_KEY = "worker hook"


class StepAtWork(msgspec.Struct, frozen=True):
    """The step that runs: where, as which task of which run, and what takes in what it logs."""

    workspace: Workspace
    task: str
    name: str
    run: str
    log: RunLog


End = Callable[[], None]
Hook = Callable[[StepAtWork], End]


@contextmanager
def hooks_ended() -> Iterator[Callable[[StepAtWork], None]]:
    """Gives what has the hook of each library that is loaded, or is imported, at work; all end with the block.

    What a hook changes while a library is imported counts as that import's, so the block is around whatever keeps that.
    """
    ends: list[End] = []

    def begin(step: StepAtWork) -> None:
        for library in LIBRARIES:
            on_import(library, _KEY, partial(_begin, library, step, ends))

    try:
        yield begin
    finally:
        for library in LIBRARIES:
            on_import(library, _KEY, _nothing)
        for end in reversed(ends):
            end()


def _begin(library: str, step: StepAtWork, ends: list[End], _: ModuleType) -> None:
    ends.extend(hook(step) for hook in _hooks(library))


def _nothing(_: ModuleType) -> None:
    """What is done where no step runs."""


@lru_cache
def _hooks(library: str) -> tuple[Hook, ...]:
    from importlib.metadata import entry_points

    return tuple(point.load() for point in entry_points(group=GROUP, name=library))

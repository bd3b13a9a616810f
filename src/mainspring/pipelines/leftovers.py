"""What a task finds in its process that its key doesn't answer for, left there by whatever ran before: values, memories.

Every runner asks here between the arguments and the call of a step. A map's items are all keyed before the first of them
runs, and a warm worker goes on in the modules of the step before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import msgspec

from mainspring.pipelines.code import declared
from mainspring.pipelines.code.facts import NOT_REUSABLE
from mainspring.pipelines.code.live import first_values
from mainspring.pipelines.code.probe import VALUE
from mainspring.pipelines.code.project import Project
from mainspring.pipelines.decision import Decider
from mainspring.pipelines.observation.imports import on_import
from mainspring.pipelines.observation.memories import Read, memories
from mainspring.pipelines.observation.watcher import unwatched
from mainspring.pipelines.task import Task

UNLIKE = " is not what it was in the run"
_OF_CALLS = ("(attributes)", "(wrapper)")
_SOURCE = "source "  # parts of functions that no module gives back


class Leftovers(msgspec.Struct, frozen=True):
    """`notes` say why a result can't be reused, one line each; `reads` are those that reached functions remember."""

    notes: list[str] = []
    reads: list[tuple[str, Read]] = []


def nothing_left(task: Task, function: Callable[..., Any]) -> Leftovers:  # noqa: ARG001  # stands in where nothing is cached
    """Where nobody looks."""
    return Leftovers()


def leftovers(decider: Decider, task: Task, function: Callable[..., Any]) -> Leftovers:
    """What of this process a task would get and its key doesn't have."""
    if not task.options.cache:
        return Leftovers()
    parts = decider.store.fingerprint_parts(task.fingerprint or "")
    live = decider.live(task)
    if live is not None:
        changed, differences = live.changes(parts)
        definitions = live.definitions() if memories() else set()
        reads = memories().of(lambda module, name: (id(module), name) in definitions)
    else:
        now = decider.fingerprint(task, function)
        changed = _changed(parts, now.parts)
        differences = list(now.differences)
        sources = {name[len(_SOURCE) :] for name in now.parts if name.startswith(_SOURCE)}
        reads = memories().of(lambda module, name: _is_among(module, name, sources))
    notes = [f"{name} is not what it was when the key of this step was made" for name in changed] + differences
    return Leftovers([f"{NOT_REUSABLE}{note}" for note in notes], list(reads))


def changed_by(decider: Decider, task: Task, function: Callable[..., Any]) -> list[str]:
    """What a step of a notebook changed of the values in its key, one line each: who reuses its result would not get that.

    What functions keep of their own calls, such as a counter, is no such thing.
    """
    if not task.options.cache or decider.live(task) is not None:
        return []
    now = decider.fingerprint(task, function).parts
    changed = _changed(decider.store.fingerprint_parts(task.fingerprint or ""), now)
    told = [name for name in changed if not name.endswith(_OF_CALLS)]
    return [f"{NOT_REUSABLE}the step changed {name}, which a later step may use" for name in told]


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    values = {name for name in now.keys() | before.keys() if name.startswith(VALUE)}
    return sorted(name[len(VALUE) :] for name in values if now.get(name) != before.get(name))


def unlike_the_original(decider: Decider, task: Task, function: Callable[..., Any]) -> Leftovers:  # noqa: ARG001  # stands in for `leftovers`
    """Which values a replayed step finds that its original did not: why it may differ, where both have a module."""
    original = decider.store.get(task.replay_of or task.id)
    live = decider.live(task) if original is not None and original.module == task.module else None
    if original is None or live is None:
        return Leftovers()
    changed, _ = live.changes(decider.store.fingerprint_parts(original.fingerprint or ""))
    return Leftovers([f"{VALUE}{name}{UNLIKE}" for name in changed])


def _is_among(module: ModuleType, name: str, sources: set[str]) -> bool:
    start = f"{module.__name__}.{name}"
    return any(source == start or source.startswith(f"{start}.") for source in sources)


def note_late_imports(project: Project, modules: Iterable[str]) -> None:
    """Have noted what these modules hold after their import, if it is a task that imports them.

    Whether that happened before another task was keyed depends on what was reused, and must not decide its key.
    """
    for name in modules:
        if name not in sys.modules:
            on_import(name, "values", partial(_note_first, project))


def _note_first(project: Project, module: ModuleType) -> None:
    if declared.project_root.get() is not None:  # a task runs
        with unwatched():
            first_values().note(project, module.__name__)

"""What functions of the project remember: a read behind `functools.cache`, or any decorator that may keep what it got.

Whoever gets such a result later reads nothing and yet depends on what was read, so each read is kept here with the names
through which it may be remembered. A function as it is written remembers nothing but in values, which `code.live` sees.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, NamedTuple

from mainspring.pipelines.code.contents import attribute_of, code_of
from mainspring.pipelines.code.layers import followed, layers
from mainspring.pipelines.code.reads import Kind
from mainspring.pipelines.observation.uncounted import is_library_code

_CALLER = "mainspring.pipelines.execution"  # calls steps: no frame further out is a step's
_MOST = 1_000  # reads of one function


class Read(NamedTuple):
    """A thing that was read; `path` is absolute, for files and folders."""

    kind: Kind
    name: str
    by: str
    path: str


class _Memory(NamedTuple):
    """An object that may remember, at a name at the top of a module or below it, and what it read."""

    module: ModuleType
    name: str
    holder: object
    reads: dict[tuple[str, str], Read]

    def is_kept(self) -> bool:
        """Whether the object is still there, and wasn't emptied."""
        present, found = followed(self.module, self.name)
        if not present or found is not self.holder or sys.modules.get(self.module.__name__) is not self.module:
            return False
        caches = _caches(found)
        return not caches or any(cache.cache_info().currsize for cache in caches)


class Memories:
    """The memories of one process."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], _Memory] = {}

    def __bool__(self) -> bool:
        return bool(self._known)

    def note(self, read: Read, frame: FrameType | None, root: str, holders: dict[CodeType, list[_Memory]]) -> None:
        """Keep a read for what of the project at `root` was called on the way to it. `holders` are those found before."""
        while frame is not None and frame.f_globals.get("__name__") != _CALLER:
            code = frame.f_code
            if code not in holders:
                is_ours = code.co_name != "<module>" and not is_library_code(code.co_filename, root)
                holders[code] = [self._memory(*found) for found in _holders(code, frame, root)] if is_ours else []
            for memory in holders[code]:
                if len(memory.reads) < _MOST:
                    memory.reads[read.kind, read.name] = read
            frame = frame.f_back

    def of(self, is_reached: Callable[[ModuleType, str], bool]) -> Iterator[tuple[str, Read]]:
        """The reads that may be remembered behind names at the top of a module, with the names of who remembers."""
        for memory in list(self._known.values()):
            if is_reached(memory.module, memory.name.partition(".")[0]) and memory.is_kept():
                yield from ((f"{memory.module.__name__}.{memory.name}", read) for read in list(memory.reads.values()))

    def _memory(self, module: ModuleType, name: str, holder: object) -> _Memory:
        known = self._known.get((id(module), name))
        if known is None or known.holder is not holder:
            known = self._known[id(module), name] = _Memory(module, name, holder, {})
        return known


@lru_cache(maxsize=1)
def memories() -> Memories:
    """Those of this process."""
    return Memories()


def _holders(code: CodeType, frame: FrameType, root: str) -> Iterator[tuple[ModuleType, str, object]]:
    """The objects through which modules of the project give what the code makes, but for the function itself."""
    home = sys.modules.get(str(frame.f_globals.get("__name__")))
    if home is not None and "<" not in code.co_qualname:
        present, found = followed(home, code.co_qualname)
        if present and _may_remember(found, code):
            yield home, code.co_qualname, found
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if module is home or (
            isinstance(file, str) and file.startswith(root + os.sep) and not is_library_code(file, root)
        ):
            yield from _wrappers(module, code)


def _wrappers(module: ModuleType, code: CodeType) -> Iterator[tuple[ModuleType, str, object]]:
    for name, value in list(vars(module).items()):
        inner = list(vars(value).items()) if isinstance(value, type) and value.__module__ == module.__name__ else []
        for below, item in [("", value), *((f".{attribute}", item) for attribute, item in inner)]:
            if any(code_of(each) is code for each in layers(item)) and _may_remember(item, code):
                yield module, f"{name}{below}", item


def _caches(value: object) -> list[Any]:
    """The caches of `functools` within an object."""
    return [
        item for item in layers(value) if attribute_of(item, "cache_info") and attribute_of(item, "cache_parameters")
    ]


def _may_remember(value: object, code: CodeType) -> bool:
    """Whether an object may keep what the function with this code gave: anything may, but what only calls it."""
    for item in layers(value):
        if isinstance(item, FunctionType):
            if item.__code__ is code:
                return False
            if not _only_calls(item):
                return True
        elif not (isinstance(item, (staticmethod, classmethod, property)) or _is_own(item)):
            return True
    return True


def _is_own(item: object) -> bool:
    return type(item).__module__.startswith("mainspring.")


def _only_calls(wrapper: FunctionType) -> bool:
    """Whether a wrapper has no place in which it could keep something: all that it holds are functions that have none."""
    held: list[object] = []
    with contextlib.suppress(ValueError):
        held = [cell.cell_contents for cell in wrapper.__closure__ or ()]
    kept = wrapper.__dict__.keys() - {"__wrapped__"}
    if not held or kept or wrapper.__defaults__ or wrapper.__kwdefaults__:
        return False
    is_known = wrapper.__code__.co_filename == contextlib.__file__ or not is_library_code(
        wrapper.__code__.co_filename, ""
    )
    return is_known and all(isinstance(each, FunctionType) and _is_empty(each) for each in held)


def _is_empty(function: FunctionType) -> bool:
    return not function.__closure__ or _only_calls(function)

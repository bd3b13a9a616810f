"""The one hook of imports: tells whoever asked that a module has just been loaded, or is about to be and then was.

A callback runs at the end of the module's own execution, before the import statement binds a name, so that what it
replaces in the module is what `from module import name` gets. A miss costs one dictionary look-up per import. Importing
the base classes of `importlib.abc` would cost six milliseconds, and they add nothing here.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Callback = Callable[[ModuleType], None]
Around = Callable[[], Callable[[], None]]


def on_import(module: str, key: str, callback: Callback) -> None:
    """Call `callback(module)` when the module is loaded, or now if it is loaded already.

    A later call with the same module and key replaces the earlier callback; without that, a callback stays for the
    life of the process and runs again if the module is loaded again.
    """
    finder = _installed()
    finder.callbacks.setdefault(module, {})[key] = callback
    loaded = sys.modules.get(module)
    if loaded is not None and not is_loading(loaded):
        callback(loaded)


def is_loading(module: ModuleType) -> bool:
    """Whether a module is being executed."""
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


@contextmanager
def around_imports(begin: Around) -> Iterator[None]:
    """In the block, call `begin()` before a module is executed for the first time, and what it gave after that.

    What that module imports in turn belongs to its own execution.
    """
    around = _installed().around
    around.append(begin)
    try:
        yield
    finally:
        around.remove(begin)


def _installed() -> _Finder:
    for finder in sys.meta_path:
        if isinstance(finder, _Finder):
            return finder
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    return finder


class _Finder:
    """Finds nothing itself: it lets the other finders work, and wraps the loader of a module somebody waits for."""

    def __init__(self) -> None:
        self.callbacks: dict[str, dict[str, Callback]] = {}
        self.around: list[Around] = []
        self.inside: set[int] = set()  # the threads that execute a module

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.callbacks and (not self.around or threading.get_ident() in self.inside):
            return None
        for finder in sys.meta_path:
            if finder is self:
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                    spec.loader = _NotifyingLoader(self, spec.loader, fullname)  # type: ignore[assignment]  # a loader by duck typing
                return spec
        return None

    @contextmanager
    def executing(self) -> Iterator[None]:
        """Tells those around of the outermost import of a thread."""
        thread = threading.get_ident()
        if thread in self.inside:
            yield
            return
        self.inside.add(thread)
        ends = [begin() for begin in self.around]
        try:
            yield
        finally:
            self.inside.discard(thread)
            for end in ends:
                end()


class _NotifyingLoader:
    """Stands for a module's loader until the module is executed, then steps aside."""

    def __init__(self, finder: _Finder, loader: Any, name: str) -> None:
        self._finder, self._loader, self._name = finder, loader, name

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        with self._finder.executing():
            self._loader.exec_module(module)
            for callback in list(self._finder.callbacks.get(self._name, {}).values()):
                callback(module)


# Python leaves its own frames out of the traceback of an import that fails, if no other stands between them.
_exec = _NotifyingLoader.exec_module
_exec.__code__ = _exec.__code__.replace(co_filename="<frozen importlib._bootstrap_external>")

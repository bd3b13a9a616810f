"""Functions of the project in definitions: recorded with the code that they reach, called from it when the project moved on.

The code of a definition is the recorded one for ever: a view that changed in the project keeps giving the models that
use its old version what they know.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from mainspring.errors import InvalidError
from mainspring.features.definitions.records import Python
from mainspring.pipelines.code.fingerprint import Fingerprinter
from mainspring.pipelines.code.inline import home_of
from mainspring.pipelines.code.tree import record
from mainspring.pipelines.observation.watcher import unwatched
from mainspring.pipelines.session import code_folder, source_roots
from mainspring.runs.environment import installed, snapshot
from mainspring.workspace import Workspace

# The environment is not the definition: the same function on another Python or library is the same feature.
_ENVIRONMENT = ("distribution ", "python", "platform", "threads", "hash seed")
_IMPORTING = Lock()  # `sys.modules` is the process's


class Functions:
    """The project's functions at one moment, and recorded ones. It keeps what it loaded."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.root = workspace.project.root.resolve()
        self._loaded: dict[tuple[str, str, str], Callable[..., Any]] = {}

    @cached_property
    def _fingerprinter(self) -> Fingerprinter:
        workspace = self.workspace
        return Fingerprinter(
            self.root, workspace.cache, snapshot(), 1,
            import_roots=source_roots(workspace, self.root), distributions=lambda: installed(workspace.cache),
        )  # fmt: skip

    def record(self, function: Callable[..., Any], where: str) -> Python:
        """A function as it is recorded, with the code that it reaches.

        Raises:
            InvalidError: it can't be found again by a module and a name.
            GraphError: a module that it reaches is not valid Python.
        """
        # A task that applies definitions is not watched here: what is read is code, which its own fingerprint reaches.
        with unwatched():
            return self._recorded(function, where)

    def _recorded(self, function: Callable[..., Any], where: str) -> Python:
        module, qualname = home_of(function)
        known = self._fingerprinter.project.find(module) is not None
        if "<" in qualname or module == "__main__" or not known:
            raise InvalidError(
                where, getattr(function, "__qualname__", repr(function)), "a function of a module of the project",
                "Define it with `def` at the top level of a module: servers load it from there.",
            )  # fmt: skip
        for each in self._fingerprinter.modules(module):
            if late := _late_import(each.path, self._is_ours):
                raise InvalidError(
                    where, f"{qualname} with an import of `{late}` inside a function of {each.path.name}",
                    "imports of the project's modules at the top level",
                    "When the function is called the project may have moved on.",
                )  # fmt: skip
        found = self._fingerprinter.of(module, qualname)
        parts = {name: digest for name, digest in found.parts.items() if not name.startswith(_ENVIRONMENT)}
        tree = record(self.root, self._fingerprinter.modules(module), found.files, self.workspace.blobs)
        return Python(module, qualname, parts, tree.manifest, tuple(sorted({tree.manifest, *tree.blobs})))

    def _is_ours(self, module: str) -> bool:
        return self._fingerprinter.project.find(module) is not None

    def load(self, recorded: Python) -> Callable[..., Any]:
        """The function as it was recorded.

        Raises:
            CorruptBlobError, NotFoundError: the recorded code is damaged or gone.
            InvalidError: it can't be imported here.
        """
        key = (recorded.code, recorded.module, recorded.qualname)
        if key not in self._loaded:
            folder = code_folder(self.workspace, recorded.code)
            roots = source_roots(self.workspace, folder)
            with _IMPORTING, _importing(roots, set(_modules_in(roots))):
                self._loaded[key] = _found(recorded)
        return self._loaded[key]


def _found(recorded: Python) -> Callable[..., Any]:
    from importlib import import_module

    try:
        found: Any = import_module(recorded.module)
        for name in recorded.qualname.split("."):
            found = getattr(found, name)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        place = f"{recorded.module}:{recorded.qualname}"
        raise InvalidError(
            "transform", place, "a function that can be imported from the recorded code", said
        ) from error
    return found  # type: ignore[no-any-return]  # a callable by its name


def _late_import(path: Path, is_ours: Callable[[str], bool]) -> str:
    """A module of the project that a function imports when it is called, or nothing."""
    tree = ast.parse(path.read_bytes(), str(path))
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    ]
    for node in (inner for function in functions for inner in ast.walk(function)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "."] if not node.level else ["." * node.level + (node.module or "")]
        for name in names:
            if name.startswith(".") or is_ours(name):
                return name
    return ""


def _modules_in(roots: list[Path]) -> Iterator[str]:
    """The outermost names of what can be imported from recorded code."""
    for path in (path for root in roots for path in root.iterdir()):
        if path.suffix == ".py" or path.is_dir():
            yield path.stem


@contextmanager
def _importing(roots: list[Path], names: set[str]) -> Iterator[None]:
    """Import from these folders alone what they have, beside what the process has imported under the same names."""
    ours = [name for name in sys.modules if name.partition(".")[0] in names]
    kept = {name: sys.modules.pop(name) for name in ours}
    path = list(sys.path)
    sys.path[:0] = [str(root) for root in roots]
    try:
        yield
    finally:
        sys.path[:] = path
        for name in [name for name in sys.modules if name.partition(".")[0] in names]:
            del sys.modules[name]
        sys.modules.update(kept)

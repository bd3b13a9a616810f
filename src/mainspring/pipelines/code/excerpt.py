"""The source of a step that no module gives back (of a notebook, `__main__`, a lambda, a closure) as a module of its own.

Invariant: the text defines the function with all it uses by name, or there is a sentence that says what is missing. What
else ran where it was defined is left out, so that a replay runs nothing that the step doesn't need.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePath
from types import FunctionType, ModuleType
from typing import Any

import msgspec
from blake3 import blake3

from mainspring.pipelines.code.contents import attribute_of
from mainspring.pipelines.code.layers import unwrapped
from mainspring.pipelines.code.origins import source_nodes

_FUTURE_ANNOTATIONS = 0x1000000
_LONGEST_CONSTANT = 100_000  # characters
_STEP = "recorded_step"
_INDEX = "recorded_steps.json"
_FILE = re.compile(r"recorded_[0-9a-f]{12}\.py")


class Excerpt(msgspec.Struct, frozen=True):
    """A module's name and text, the name of the step in it, and the modules that it imports; or the `problem`."""

    module: str = ""
    name: str = ""
    text: str = ""
    imports: list[str] = []
    problem: str = ""


class _Missing(Exception):  # noqa: N818  # no error: it ends the writing of an excerpt, here
    """What can't be written down, as a sentence."""


def files_of(excerpts: Mapping[int, Excerpt], root: str = "") -> dict[str, str]:
    """The files that keep excerpts, by path; modules stand below `root`, the index of calls by position beside it."""
    if not excerpts:
        return {}
    files = {f"{root}{each.module}.py": each.text for each in excerpts.values() if each.module}
    index = {position: msgspec.structs.replace(each, text="") for position, each in excerpts.items()}
    return files | {_INDEX: msgspec.json.encode(index).decode()}


def excerpts_in(folder: Path) -> dict[int, Excerpt]:
    """The excerpts that were kept in a folder, by the position of the call."""
    try:
        data = (folder / _INDEX).read_bytes()
    except FileNotFoundError:
        return {}
    return msgspec.json.decode(data, type=dict[int, Excerpt])


def is_of_excerpts(path: str) -> bool:
    """Whether a file of a code tree was written for excerpts, and so is no file of the project."""
    name = path.rpartition("/")[2]
    return name == _INDEX or _FILE.fullmatch(name) is not None


def excerpt_of(function: Callable[..., object], asked: Mapping[int, Collection[str]] | None = None) -> Excerpt:
    """The excerpt of a live function; `asked` are names that texts ask for, by the id of the function where they are."""
    writer = _Writer(asked or {})
    try:
        inner = _innermost(function)
        if not isinstance(inner, FunctionType):
            raise _Missing("It is no Python function.")
        writer.define(_STEP if inner.__name__ == "<lambda>" else inner.__name__, inner)
    except _Missing as missing:
        return Excerpt(problem=str(missing))
    name = next(reversed(writer.taken))
    future = ["from __future__ import annotations"] if inner.__code__.co_flags & _FUTURE_ANNOTATIONS else []
    text = "\n".join([*future, *writer.imports, *writer.lines]) + "\n"
    try:
        compile(text, name, "exec")
    except SyntaxError as error:  # as of `nonlocal`
        return Excerpt(problem=f"Its source can't stand by itself: {error.msg}.")
    module = f"recorded_{blake3(text.encode()).hexdigest(6)}"
    return Excerpt(module, name, text, sorted(writer.modules))


class _Writer:
    """Writes definitions, each after those that it uses."""

    def __init__(self, asked: Mapping[int, Collection[str]]) -> None:
        self.asked = asked
        self.taken: dict[str, object] = {}
        self.imports: list[str] = []
        self.lines: list[str] = []
        self.modules: set[str] = set()

    def define(self, name: str, function: FunctionType) -> None:
        """Write a function from its source under a name."""
        nodes = source_nodes(function)
        if len(nodes) != 1:
            raise _Missing(f"The source of `{name}` is not known." if not nodes else f"`{name}` shares its line.")
        (node,) = nodes
        self._open(name, function)
        scope, own = _scope(function), getattr(node, "name", name)
        self._open(own, function)
        for used in sorted(_used(node).union(self.asked.get(id(function), ()))):
            if used in scope and scope[used] is not function:
                self._take_from(function, used, scope[used])
        for path in sorted(_dotted(node, scope)):
            self._import(f"import {path}", path)
        text = ast.unparse(node)
        if isinstance(node, ast.Lambda):
            text = f"{name} = {text}"
        elif own != name:
            text = f"{text}\n\n{name} = {own}"
        self.lines.append(text)
        self.taken[name] = self.taken.pop(name)  # the last that is written is the last here

    def _take_from(self, function: FunctionType, name: str, value: Any) -> None:
        """Write a name that a function uses: of a closure or of `__main__` what it stands for, else where it is."""
        module = function.__module__
        is_held = module != "__main__" and module in sys.modules and name not in function.__code__.co_freevars
        if not is_held or isinstance(value, ModuleType) or _home(value):
            self.take(name, value)
        elif name not in self.taken:
            self._open(name, value)
            self._import(f"from {module} import {name}", module)

    def take(self, name: str, value: Any) -> None:
        """Write what a name stands for."""
        if name in self.taken:
            if _innermost(self.taken[name]) is not _innermost(value):
                raise _Missing(f"It uses two different things that are called `{name}`.")
            return
        inner = _innermost(value)
        home = _home(value)
        if isinstance(value, ModuleType):
            self._open(name, value)
            self._import(f"import {value.__name__} as {name}", value.__name__)
        elif home:
            self._open(name, value)
            self._import(f"from {home[0]} import {home[1]} as {name}", home[0])
        elif isinstance(inner, FunctionType):
            self.define(name, inner)
        elif isinstance(value, type):
            raise _Missing(f"It uses the class `{name}`, which no module holds.")
        else:
            self._open(name, value)
            self.lines.append(f"{name} = {self._constant(name, value)}")

    def _open(self, name: str, value: object) -> None:
        self.taken[name] = value

    def _import(self, line: str, module: str) -> None:
        self.modules.add(module)
        if line not in self.imports:
            self.imports.append(line)

    def _constant(self, name: str, value: Any) -> str:
        if isinstance(value, PurePath):
            self._import("import pathlib", "pathlib")
            return f"pathlib.Path({str(value)!r})"
        try:
            text = repr(value)
            if len(text) <= _LONGEST_CONSTANT and ast.literal_eval(text) == value and _is_plain(value):
                return text
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            pass  # no literal
        kind = type(value).__qualname__
        raise _Missing(
            f"It uses `{name}`, {'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}, which its source doesn't hold."
        )


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return type(value) is dict and all(_is_plain(each) for pair in value.items() for each in pair)
    if isinstance(value, (list, tuple, set)):
        return type(value) in (list, tuple, set) and all(map(_is_plain, value))
    return type(value) in (type(None), bool, int, float, complex, str, bytes, type(...))


def _innermost(value: Any) -> Any:
    """The function inside steps and decorators."""
    met: set[int] = set()
    while id(value) not in met:
        met.add(id(value))
        inner = unwrapped(value)
        value = inner[0] if inner else value
    return value


def _home(value: Any) -> tuple[str, str] | None:
    """Module and name under which something can be imported, if it can."""
    homes = {str(attribute_of(value, "__module__", "")), str(type(value).__module__).partition(".")[0]} - {"__main__"}
    names = [str(attribute_of(value, attribute, "")) for attribute in ("__qualname__", "__name__", "_name")]
    for module in sorted(homes):
        for name in names:
            if name.isidentifier() and attribute_of(sys.modules.get(module), name) is value:
                return module, name
    return None


def _scope(function: FunctionType) -> dict[str, object]:
    """What the names of a function stand for: its closure before its module."""
    found = dict(function.__globals__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue  # not bound yet
    return found


def _used(node: ast.AST) -> set[str]:
    """Names that a definition takes from where it stands: in its body those that it doesn't bind, elsewhere all."""
    outside: list[ast.AST] = []
    bound: set[str] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            outside += [*each.decorator_list, *([each.returns] if each.returns else [])]
            bound |= {each.name} if each is not node else set()
        if isinstance(each, ast.arguments):
            outside += [*each.defaults, *(default for default in each.kw_defaults if default)]
        if isinstance(each, ast.arg):
            bound.add(each.arg)
            outside += [each.annotation] if each.annotation else []
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            bound.add(each.id)
        if isinstance(each, ast.alias):
            bound.add((each.asname or each.name).partition(".")[0])
    bound -= {name for each in ast.walk(node) if isinstance(each, ast.Global) for name in each.names}
    free = _loaded([node]) - bound
    return free | _loaded(outside)


def _loaded(nodes: list[ast.AST]) -> set[str]:
    return {each.id for node in nodes for each in ast.walk(node) if isinstance(each, ast.Name)}


def _dotted(node: ast.AST, scope: dict[str, object]) -> set[str]:
    """Submodules that are reached through a module, as `a.b` in `a.b.c()`, which importing `a` alone needn't load."""
    found = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name):
            module = scope.get(each.value.id)
            path = f"{module.__name__}.{each.attr}" if isinstance(module, ModuleType) else ""
            if path in sys.modules:
                found.add(path)
    return found

"""Fingerprints of functions that no module can give back: from `__main__`, a notebook, a lambda, a closure.

Their source is found by their code object; the names in it are looked up in the live namespace, constants by value.
"""

from __future__ import annotations

import ast
import functools
import linecache
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MethodType,
    MethodWrapperType,
    ModuleType,
)
from uuid import UUID

from blake3 import blake3

from mainspring.errors import GraphError
from mainspring.pipelines.code.closure import Walk
from mainspring.pipelines.code.declared import place_of
from mainspring.pipelines.code.facts import NOT_REUSABLE, TABLES, LookUp
from mainspring.pipelines.code.live import unwrapped
from mainspring.pipelines.code.lookups import looked_up_by
from mainspring.pipelines.code.names import Collector, ModuleNames
from mainspring.pipelines.code.objects import code_digest, digest_of
from mainspring.pipelines.code.project import Project
from mainspring.pipelines.code.source import normalised
from mainspring.pipelines.code.state import TooLargeError, told_digest
from mainspring.pipelines.code.texts import ANY, asked_in, composed, names_in, texts_in

_OF_NAMES = frozenset({"typing", "types", "operator"})
"""Modules whose objects say in their representation all that they are."""
_BUILT_IN = (BuiltinFunctionType, MethodWrapperType)
_FOLLOWED = (FunctionType, type, *_BUILT_IN, MethodType, functools.partial, ModuleType)
_CONTAINERS = (list, tuple, dict, set, frozenset)
_ATOMS = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))
_BY_WORDS = (date, datetime, time, timedelta, timezone, Decimal, Fraction, UUID, range, re.Pattern)
_CONSTANTS = frozenset({*_ATOMS, *_BY_WORDS})
_DEEPEST = 20


def home_of(function: Callable[..., object]) -> tuple[str, str]:
    """Module and qualified name of the innermost function inside decorators."""
    inner = (unwrapped(function) or [function])[0]
    return getattr(inner, "__module__", None) or "", getattr(inner, "__qualname__", "<unnamed>")


class LiveWalk:
    """What a live function stands on: the walk through the project's sources, and what only exists in this process."""

    def __init__(self, project: Project, root: Path, content: Callable[[Path], str]) -> None:
        self.project = project
        self.root = root
        self.content = content
        self.walk = Walk(project)
        self.parts: dict[str, str] = {}
        self.notes: list[str] = []
        self.files: set[tuple[Path, str]] = set()
        self.seen: dict[int, object] = {}
        self.asked: dict[int, set[str]] = {}  # by the id of a function: names that texts ask for where it is
        self._kept: dict[tuple[int, str], object] = {}
        self._labels: dict[int, tuple[str, object]] = {}
        self._whiches: dict[int, tuple[str, object]] = {}
        self._sources: list[tuple[FunctionType | type, ModuleNames]] = []
        self._look_ups: list[tuple[FunctionType | type, ModuleNames, LookUp]] = []
        self._rebound: set[str] = set()

    def value(self, label: str, value: object, rest: tuple[str, ...]) -> None:
        """Take in a live value that the code calls `label`, and the attributes that it takes from it."""
        if isinstance(value, ModuleType):
            self._module(label, value.__name__, rest)
        elif isinstance(value, (*_BUILT_IN, _ufunc_type())):
            self._outside(label, value)
            holder = getattr(value, "__self__", None)  # of `get = CODES.get` or `is_code = re.compile("[A-Z]+").match`
            if isinstance(holder, (type, _ufunc_type())):
                self.value(f"{label}.__self__", holder, ())
            elif isinstance(holder, _CONTAINERS) or _is_constant(holder):
                self._keep(f"{label}.__self__", holder, holder)
        elif isinstance(value, MethodType):
            self.value(label, value.__func__, ())
            self.value(f"{label}.__self__", value.__self__, ())
        elif isinstance(value, functools.partial):
            self.value(label, value.func, ())
            self._keep(f"{label} (arguments)", value, [list(value.args), dict(value.keywords)])
            self._handed_on(value.func)
        elif isinstance(value, (FunctionType, type)):
            self._defined(label, value)
        elif not isinstance(value, (*_ATOMS, *_CONTAINERS)) and unwrapped(value):
            self.value(label, unwrapped(value)[0], ())
        else:
            self._keep(label, value, value)

    def _keep(self, label: str, holder: object, value: object) -> None:
        """Take in a plain value, once for what holds it and a name."""
        if (id(holder), label) in self._kept:
            return
        self._kept[id(holder), label] = holder
        self.walk.texts.take(asked_in(set(texts_in(value))))
        # In closures, a name may stand for several values.
        self._gather(f"value {label}", blake3(self._text(label, value).encode("utf-8", "replace")).hexdigest(16))

    def _gather(self, part: str, digest: str) -> None:
        """Add a digest to those of a part."""
        self.parts[part] = " ".join(sorted({digest, *self.parts.get(part, "").split()}))

    def settle(self) -> LiveWalk:
        """Take in all that is looked up in texts: what they ask for may hold further texts."""
        before = None
        while before != (before := self._size()):
            for each in list(self._look_ups):
                self._look_up(*each)
            self.walk.settle()
            for value, names in list(self._sources) if self.walk.wide else ():
                for kind, asked in list(self.walk.asked_everywhere(_names_of(value))):
                    self._ask(value, names, asked, kind)
        return self

    def _size(self) -> tuple[int, ...]:
        walk = self.walk
        reached = len(walk.texts), len(walk.open), len(walk.wide), len(walk.units)
        return (*reached, len(self._look_ups), len(self._rebound), len(self._kept), len(self.seen))

    def file_parts(self) -> list[str]:
        """Add the declared files to the parts; gives their names."""
        shown = []
        for home, written in sorted(self.files):
            path = place_of(written, home, self.root)
            shown.append(self.project.modules.shown(path))
            self.parts[f"file {shown[-1]}"] = self.content(path)
        return shown

    def _text(self, label: str, value: object) -> str:
        """A constant as canonical text; what is no constant is taken in by itself, or noted as not recordable."""
        if _is_constant(value):
            return _words_of(value)
        if id(value) in self._labels:
            return f"(again {self._labels[id(value)][0]})"
        self._labels[id(value)] = label, value
        if isinstance(value, Mapping):
            rows = [f"{self._text(label, key)}={self._text(f'{label}[{key!r}]', each)}" for key, each in value.items()]
            if (made := getattr(value, "default_factory", None)) is not None:
                rows.append(f"else {self._text(f'{label}.default_factory', made)}")
            return f"{type(value).__name__}{{{','.join(rows)}}}"
        if isinstance(value, (list, tuple)):
            return (
                f"{type(value).__name__}[{','.join(self._text(f'{label}[{n}]', each) for n, each in enumerate(value))}]"
            )
        if isinstance(value, (set, frozenset)):
            return f"{type(value).__name__}[{','.join(sorted(self._text(label, each) for each in value))}]"
        if isinstance(value, os.PathLike):
            return f"path:{os.fspath(value)!r}"
        if isinstance(value, _FOLLOWED) or unwrapped(value):
            self.value(label, value, ())
            self._handed_on(value)
            return f"<{self._which(value)}>"
        is_named = hasattr(value, "__qualname__") or type(value).__module__ in _OF_NAMES
        if callable(value) and (is_named or self._is_of_library(value)):
            self._outside(label, value)
            return repr(value) if type(value).__module__ in _OF_NAMES else f"<{label}>"
        self.notes.append(
            f"{NOT_REUSABLE}closure over `{label}` (of type {type(value).__qualname__}), which can't be recorded"
        )
        return f"<{type(value).__qualname__}>"

    def _is_of_library(self, value: object) -> bool:
        """Whether an installed module holds an object, such as `scipy.stats.norm`, where its class is defined."""
        module = sys.modules.get(type(value).__module__)
        if module is None or module.__name__ == "__main__" or self.project.owns(module.__name__):
            return False
        return any(each is value for each in list(vars(module).values()))

    def _handed_on(self, value: object) -> None:
        """Note a function of a library that looks names up in texts, and is called by a name that doesn't say so."""
        home, name = str(getattr(value, "__module__", "")), str(getattr(value, "__qualname__", ""))
        function = ast.Name(name.rpartition(".")[2])
        if kinds := looked_up_by(function, f"{home}.{name}") if home and not self.project.owns(home) else ():
            self.walk.wide |= {(kind, ANY) for kind in kinds}

    def _module(self, label: str, name: str, rest: tuple[str, ...]) -> None:
        if self.project.owns(name) and name != "__main__":
            self.walk.load(name).attribute(name, *rest)
        else:
            self.walk.externals.add(name.partition(".")[0])
        self.parts[f"import {label}"] = name

    def _outside(self, label: str, value: object) -> None:
        home = getattr(value, "__module__", None) or "builtins"
        self.walk.externals.add("duckdb" if home == "mainspring.data.etl.sql" else home.partition(".")[0])
        self.parts[f"import {label}"] = f"{home}.{getattr(value, '__qualname__', getattr(value, '__name__', label))}"

    def _defined(self, label: str, value: FunctionType | type) -> None:
        home, qualname = value.__module__, value.__qualname__
        if isinstance(known := getattr(value, "registry", None), MappingProxyType):  # of functools.singledispatch
            self._keep(f"{label}.registry", value, dict(known))
        if home == "__main__" or (self.project.owns(home) and "<" in qualname):
            if label != f"{home}.{qualname}":
                self._gather(f"import {label}", self._which(value).replace(" ", ""))
            if id(value) not in self.seen:
                self.seen[id(value)] = value
                self._source(value)
        elif self.project.owns(home):
            self.walk.load(home).reach(home, qualname.partition(".")[0])
            self.parts[f"import {label}"] = f"{home}.{qualname}"
        elif "<locals>" in qualname and isinstance(value, FunctionType) and hasattr(value, "__wrapped__"):
            self._outside(label, value)  # the wrapper that an installed decorator made
            self.value(label, value.__wrapped__, ())
        else:
            self._outside(label, value)

    def _source(self, value: FunctionType | type) -> None:
        name = f"{value.__module__}.{value.__qualname__}"
        nodes = source_nodes(value)
        if not nodes:
            self.notes.append(f"{NOT_REUSABLE}the source of {name} is not known")
            if isinstance(value, FunctionType):
                self.parts[f"code {name}"] = code_digest(value.__code__)
            return
        space = _namespace(value)
        names = _module_names(value.__module__, space)
        collector = _collected(names, nodes)
        self._gather(f"source {name}", _digest_of(nodes))  # several lambdas have one name
        self._load_imports(space)
        self._declared(collector, space)
        for reference in sorted(collector.references):
            self._reference(value, names, space, reference.split("."))
        self._ask(value, names, collector.formulas)
        self._rebound |= collector.assigned
        self.walk.texts.take(collector.asked)
        self._sources.append((value, names))
        self._look_ups += [(value, names, call) for call in collector.look_ups if not self._is_own(call, value)]
        if isinstance(value, type):
            self._given_later(name, value)
        if isinstance(value, FunctionType):
            for kind, given in (("defaults", value.__defaults__), ("keyword defaults", value.__kwdefaults__)):
                if given:
                    self.value(f"{name} ({kind})", given, ())

    def _which(self, value: object) -> str:
        """Which function or class is meant: its name, and of one that isn't found by it, its source and what it holds."""
        if id(value) not in self._whiches:
            self._whiches[id(value)] = "(itself)", value  # while it is looked at: a function may hold itself
            self._whiches[id(value)] = self._described(value), value
        return self._whiches[id(value)][0]

    def _described(self, value: object) -> str:
        if isinstance(value, MethodType):
            return f"{self._which(value.__func__)} of {self._held(value.__self__)}"
        if isinstance(value, functools.partial):
            return f"partial {self._which(value.func)} {self._held(value.args)} {self._held(value.keywords)}"
        if isinstance(value, _BUILT_IN) and not isinstance(value.__self__, (type(None), ModuleType)):
            return f"{_named(value)} of {self._held(value.__self__)}"
        if not isinstance(value, (FunctionType, type)):
            inner = unwrapped(value)
            return self._which(inner[0]) if inner and not isinstance(value, ModuleType) else _named(value)
        name = _named(value)
        if "<" not in name and _namespace(value).get(value.__qualname__) is value:
            return name
        given = (getattr(value, "__defaults__", None), getattr(value, "__kwdefaults__", None))
        held = [self._held(each) for each in (*_cells(value).values(), *given)]
        return f"{name} {_digest_of(source_nodes(value))} {digest_of(held)}"

    def _held(self, value: object, depth: int = 0) -> str:
        """What a function holds, as a text: the same in every process, of what isn't known its type alone."""
        if isinstance(value, _FOLLOWED) or depth > _DEEPEST:
            return self._which(value) if depth <= _DEEPEST else "(deeper)"
        kind = type(value).__qualname__
        if isinstance(value, Mapping):
            return f"{kind}{self._held([*value.items()], depth + 1)}"
        if isinstance(value, (list, tuple)):
            return f"{kind}[{','.join(self._held(each, depth + 1) for each in value)}]"
        if isinstance(value, (set, frozenset)):
            return f"{kind}{{{','.join(sorted(self._held(each, depth + 1) for each in value))}}}"
        if isinstance(value, os.PathLike):
            return f"path:{os.fspath(value)!r}"
        is_number = type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()
        is_named = type(value).__module__ in _OF_NAMES or isinstance(value, _ufunc_type())
        return _words_of(value) if is_number or is_named or _is_constant(value) else kind

    def _given_later(self, name: str, value: type) -> None:
        """Take in what a class has now, which statements behind its body may have set, or a file that its body read."""
        body = _names_set_in(source_nodes(value))
        is_made = type(value) is not type or any("__init_subclass__" in vars(each) for each in value.__mro__[:-1])
        self.walk.texts.take(asked_in(set(texts_in(dict(vars(value))))))
        own = f"{value.__qualname__}."
        for attribute, each in vars(value).items():
            each = getattr(each, "__func__", each)
            if isinstance(each, type) and each.__qualname__.startswith(own) and each.__module__ == value.__module__:
                self._given_later(f"{name}.{attribute}", each)
            if attribute.startswith("__") or (attribute.startswith("_") and attribute.endswith("_")):
                continue
            for function in (each.fget, each.fset) if isinstance(each, property) else (each,):
                if isinstance(function, (FunctionType, type, functools.partial)):
                    if not getattr(function, "__qualname__", "").startswith(own):
                        self.value(f"{name}.{attribute}", function, ())
                elif _is_plain(function, _FOLLOWED):
                    self._keep(f"{name}.{attribute}", value, function)
                elif not isinstance(function, property):
                    self._remember(
                        f"{name}.{attribute}",
                        value,
                        function,
                        is_of_body=is_made or attribute in body or attribute.startswith("_"),
                    )

    def _remember(self, label: str, holder: type, value: object, *, is_of_body: bool) -> None:
        """Take in the state of an object that a class holds; where nothing tells it, what its making says counts."""
        if (id(holder), label) in self._kept:
            return
        self._kept[id(holder), label] = holder
        try:
            digest, untold = told_digest(value, str(self.project.modules.root), self.project.owns)
        except TooLargeError:
            self.notes.append(f"{NOT_REUSABLE}`{label}` is too large to be compared")
            return
        self._gather(f"value {label}", digest)
        if untold and not is_of_body and not hasattr(type(value), "__get__"):  # which metaclasses and decorators set
            kinds = ", ".join(sorted(each.__qualname__ for each in untold))
            self.notes.append(
                f"{NOT_REUSABLE}`{label}` (of type {kinds}) was set behind its class, and can't be recorded"
            )
        for kind in sorted(self._own_classes(value, {}), key=_named):
            self.value(f"{label} ({kind.__qualname__})", kind, ())

    def _own_classes(self, value: object, seen: dict[int, object]) -> set[type]:
        """The classes of the notebook or the project that objects in a value have."""
        if id(value) in seen or isinstance(value, _FOLLOWED):
            return set()
        seen[id(value)] = value
        kind = type(value)
        found = {kind} if kind.__module__ == "__main__" or self.project.owns(kind.__module__) else set()
        inner: list[object] = [*value, *value.values()] if isinstance(value, Mapping) else []
        inner += value if isinstance(value, (list, tuple, set, frozenset)) else []
        inner += getattr(value, "__dict__", {}).values() if found else []
        return found.union(*(self._own_classes(each, seen) for each in inner))

    def _reference(
        self, value: FunctionType | type, names: ModuleNames, space: Mapping[str, object], chain: list[str]
    ) -> None:
        root, rest = chain[0], tuple(chain[1:])
        if "@" in root:
            found = next(each for each in names.imports if each.alias == root)
            self._module(root.partition("@")[0], found.module, (*([found.name] if found.name else []), *rest))
        elif root in _cells(value):
            self.value(root, _cells(value)[root], rest)
        elif value.__module__ != "__main__" and self.project.facts(value.__module__) is not None:
            self.walk.load(value.__module__).reach(value.__module__, *chain)
        elif root in space:
            self.value(f"{value.__module__}.{root}", space[root], rest)

    def _ask(self, value: FunctionType | type, names: ModuleNames, asked: Collection[str], kind: str = "") -> None:
        """Take in what names in texts stand for where a library looks them up."""
        space, cells = _namespace(value), _cells(value)
        is_sourced = value.__module__ != "__main__" and self.project.facts(value.__module__) is not None
        local = {found.alias for found in names.imports}
        for name in sorted(asked):
            root, dot, _ = name.partition(".")
            found = cells.get(root, space.get(root))
            if is_sourced and root not in cells and root not in local:
                self.walk.load(value.__module__).look_up(value.__module__, [name], kind).settle()
            elif root in local or (
                (root in cells or root in space) and not _is_none_of(kind, found, is_chain=bool(dot))
            ):
                self.asked.setdefault(id(value), set()).add(root)
                self._reference(value, names, space, name.split("."))

    def _look_up(self, value: FunctionType | type, names: ModuleNames, call: LookUp) -> None:
        """Take in what a call looks up in texts that are told; in others, any that are met may stand."""
        found = [composed(text, lambda name: self._told(value, names, name)) for text in call.texts]
        is_open = call.is_open or None in found
        bound = _names_of(value) | dict(call.own).keys()
        for kind in call.kinds:
            told = {name for texts in found for text in texts or () for name in names_in(text, kind)}
            self.walk.note_wide(call, kind, told, is_open=is_open)
            self._ask(value, names, call.at_top(told | (self.walk.texts.of(kind, bound) if is_open else set())), kind)

    def _told(self, value: FunctionType | type, names: ModuleNames, name: str) -> list[str] | None:
        """The text that a dotted name stands for where a live function is, unless that may become another."""
        root, *rest = name.split(".")
        local = next((each for each in names.imports if each.alias == root), None)
        found = sys.modules.get(local.module) if local is not None else _value_of(value, root)
        for attribute in ([local.name] if local is not None and local.name else []) + rest:
            found = vars(found).get(attribute) if isinstance(found, ModuleType) else None
        return [found] if type(found) is str and root not in self._rebound else None

    def _is_own(self, call: LookUp, value: FunctionType | type) -> bool:
        """Whether what a call in a live function calls is defined by the project or the notebook: its body is met itself."""
        found = _value_of(value, call.by) if call.by else None
        return isinstance(found, (FunctionType, type)) and (
            found.__module__ == "__main__" or self.project.owns(found.__module__)
        )

    def _load_imports(self, space: Mapping[str, object]) -> None:
        """Project modules that the namespace imported have run, so what they run counts."""
        for item in list(space.values()):
            home = item.__name__ if isinstance(item, ModuleType) else getattr(item, "__module__", None)
            if isinstance(home, str) and home != "__main__" and self.project.find(home) is not None:
                self.walk.load(home)

    def _declared(self, collector: Collector, space: Mapping[str, object]) -> None:
        if collector.problem:
            raise GraphError(f"{space.get('__file__', '<notebook>')}:{collector.problem}")
        source = space.get("__file__")
        home = Path(os.path.abspath(str(source))).parent if source else self.root
        self.files.update((home, path) for path in collector.files)
        self.walk.env.update(collector.env)
        for item in sorted(collector.dynamic):
            reason = item.partition(":")[2]
            self.notes.append(f"{NOT_REUSABLE}names can't be resolved: {reason}")


def _ufunc_type() -> type:
    numpy = sys.modules.get("numpy")
    found = getattr(numpy, "ufunc", BuiltinFunctionType)
    return found if isinstance(found, type) else BuiltinFunctionType


def _namespace(value: FunctionType | type) -> Mapping[str, object]:
    if isinstance(value, FunctionType):
        return value.__globals__
    home = sys.modules.get(value.__module__)
    return vars(home) if home is not None else {}


def _cells(value: FunctionType | type) -> dict[str, object]:
    if not isinstance(value, FunctionType) or not value.__closure__:
        return {}
    found: dict[str, object] = {}
    for name, cell in zip(value.__code__.co_freevars, value.__closure__, strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue  # not bound yet: a function that is still being defined
    return found


def _names_of(value: FunctionType | type) -> set[str]:
    return {*_namespace(value), *_cells(value)}


def _is_none_of(kind: str, value: object, *, is_chain: bool) -> bool:
    """Whether a value is none that a library takes from a text: a module alone, or as a table something that is called."""
    return (isinstance(value, ModuleType) and not is_chain) or (kind == TABLES and callable(value))


def _module_names(module: str, space: Mapping[str, object]) -> ModuleNames:
    """The aliases of a live namespace, so that `ms.step` is known whatever it is called there."""
    names = ModuleNames(module, package=False)
    for name, value in list(space.items()):
        if isinstance(value, ModuleType):
            names.aliases[name] = value.__name__
        elif isinstance(value, (FunctionType, type, BuiltinFunctionType)) and value.__module__ != module:
            home = "mainspring" if str(value.__module__).startswith("mainspring.") else value.__module__
            names.aliases[name] = f"{home}.{value.__qualname__}"
        else:
            names.defined.add(name)
    return names


def _names_set_in(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that statements anywhere in these nodes define, or set to more than a constant, such as `tokenizer = None`."""
    inner = [each for node in nodes for each in ast.walk(node)]
    defined = {each.name for each in inner if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}
    placed = {
        id(name)
        for each in inner
        if isinstance(each, (ast.Assign, ast.AnnAssign)) and isinstance(each.value, ast.Constant)
        for name in (each.targets if isinstance(each, ast.Assign) else [each.target])
    }
    names = (each for each in inner if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store))
    return defined | {each.id for each in names if id(each) not in placed}


def _is_constant(value: object) -> bool:
    return isinstance(value, _ATOMS) or type(value) in _CONSTANTS


def _is_plain(value: object, more: tuple[type, ...] = (), depth: int = 0) -> bool:
    """Whether a value holds nothing but constants, or `more`."""
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return depth < _DEEPEST and all(_is_plain(each, more, depth + 1) for each in value)
    return type(value) in _CONSTANTS or isinstance(value, more)


def _words_of(value: object) -> str:
    """A constant as a text; of a pattern, whose representation is cut, all that it is."""
    said = f"{value.pattern!r}, {value.flags}" if isinstance(value, re.Pattern) else repr(value)
    return f"{type(value).__name__}:{said}"


def _named(value: object) -> str:
    home = getattr(value, "__module__", None) or getattr(value, "__name__", None) or "builtins"
    return f"{home}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def _digest_of(nodes: Iterable[ast.AST]) -> str:
    text = "\0".join(normalised(node) for node in nodes)
    return blake3(text.encode("utf-8", "surrogatepass")).hexdigest(16)


def _collected(names: ModuleNames, nodes: Iterable[ast.AST]) -> Collector:
    collector = Collector(names)
    for node in nodes:
        collector.visit(node)
    return collector


def _value_of(value: FunctionType | type, name: str) -> object:
    """What a dotted name stands for where a live function is; None if that is nothing."""
    root, *rest = name.split(".")
    found = _cells(value).get(root, _namespace(value).get(root))
    for attribute in rest:
        found = getattr(found, "__dict__", {}).get(attribute)  # no code of theirs is run
    return found


def source_nodes(value: FunctionType | type) -> list[ast.AST]:
    """The definitions in the source that a live function or class may come from; several lambdas on a line are all."""
    if isinstance(value, type):
        return _class_nodes(value)
    code = value.__code__
    tree = _tree(code.co_filename, value.__globals__)
    return [node for node in ast.walk(tree) if _is_source_of(node, code)]


def _class_nodes(value: type) -> list[ast.AST]:
    """A class keeps no line number: its file is that of a method, of its module, or the latest cell that defines it."""
    space = _namespace(value)
    inner = (getattr(member, "__func__", getattr(member, "fget", member)) for member in vars(value).values())
    codes = (each.__code__ for each in inner if isinstance(each, FunctionType) and each.__module__ == value.__module__)
    files = [code.co_filename for code in codes if not code.co_filename.startswith("<string")]
    files += [str(space["__file__"])] if space.get("__file__") else []
    files += [name for name in reversed(linecache.cache) if name.startswith("<") or "ipykernel" in name]
    for name in files:
        found = [
            node
            for node in ast.walk(_tree(name, space))
            if isinstance(node, ast.ClassDef) and node.name == value.__name__
        ]
        if found:
            return list(found)
    return []


def _tree(filename: str, space: Mapping[str, object]) -> ast.Module:
    linecache.checkcache(filename)
    lines = linecache.getlines(filename, dict(space))
    try:
        return ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def _is_source_of(node: ast.AST, code: CodeType) -> bool:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        return node.name == code.co_name and first == code.co_firstlineno
    return isinstance(node, ast.Lambda) and code.co_name == "<lambda>" and node.lineno == code.co_firstlineno

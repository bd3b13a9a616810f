"""What an object holds, as a digest that is the same in every process: plain values, containers, records, functions.

Invariant: equal digests mean equal values, except for objects that nothing tells; these count by their class alone, and
are named. Paths inside the project are taken relative to it. Reading runs no code of the project.
"""

from __future__ import annotations

import functools
import marshal
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import (
    BuiltinFunctionType,
    CellType,
    ClassMethodDescriptorType,
    FunctionType,
    GenericAlias,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    UnionType,
    WrapperDescriptorType,
)
from typing import Any, NamedTuple

from blake3 import blake3

from mainspring.artifacts.script import script_file
from mainspring.pipelines.code.caches import is_cache, options_of
from mainspring.pipelines.code.contents import (
    ATOMS,
    CONTAINERS,
    Untold,
    attribute_of,
    base_content,
    fields_of,
    held_by_proxy,
    is_made,
    is_ufunc,
    is_words,
    library_content,
    module_of,
    words_of,
    wrapped_in,
)
from mainspring.pipelines.code.objects import code_digest

_PLAIN = frozenset({type(None), bool, int, float, complex, bytes, str})
_FAST = 64  # items from which a container of plain values is digested in one go
_MOST = 200_000  # objects
_MOST_FOREIGN = 2_000  # objects of libraries, where these are looked at for each task
_MOST_ORDERED = 2_000  # of them, where they decide the order of sets
_DESCRIPTORS = (
    WrapperDescriptorType,
    MethodDescriptorType,
    ClassMethodDescriptorType,
    GetSetDescriptorType,
    MemberDescriptorType,
)
_HOLDING = {
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    property: ("fget", "fset", "fdel"),
    functools.cached_property: ("func",),
    functools.singledispatchmethod: ("func", "dispatcher"),
    functools.partialmethod: ("func", "args", "keywords"),
    functools.partial: ("func", "args", "keywords"),
}
_SAID = ("__name__", "__doc__")
_Path = tuple[Any, str]
_Children = Iterable[tuple[str, object]]


class TooLargeError(Exception):
    """There is more below a value than is looked at for each task."""


class Told(NamedTuple):
    """The digest of a value, the classes of what is told by these alone, by the places where they are, and its texts."""

    digest: str
    untold: dict[str, type]
    texts: set[str]


class Definitions:
    """How functions, classes and modules in a value are told. By itself: by their names, and functions with their code.

    What `refer` gives stands for what it is given; None has a function told where it is held.
    """

    def refer(self, value: FunctionType | type | ModuleType) -> str | None:
        """What is written for a function, class or module."""
        if isinstance(value, FunctionType):
            return None
        return f"named {home_of_value(value)} {getattr(value, '__qualname__', '')}"

    def outside(self, value: object) -> None:
        """Note something else of an installed library."""

    def kept(self, cache: object) -> None:
        """Note what may keep something of its calls."""

    def apart(self, value: object) -> str:
        """A digest of all that a value reaches, by which equally named ones in a set are put in order."""
        return type(value).__qualname__

    def problems(self) -> list[str]:
        """What keeps results from being reused, of all that was told since this was asked last."""
        return []


class _Brief(Definitions):
    """Tells functions and classes by their names and code, for the order of a set."""

    def refer(self, value: FunctionType | type | ModuleType) -> str | None:
        code = code_digest(value.__code__) if isinstance(value, FunctionType) else ""
        return f"{home_of_value(value)} {getattr(value, '__qualname__', '')} {code}"


def is_immutable(value: object) -> bool:
    """Whether nothing can change a value while it is the same object."""
    if type(value) is tuple or type(value) is frozenset:
        return all(map(is_immutable, value))
    return type(value) in ATOMS


def state_digest(value: object, root: str, owns: Callable[[str], bool]) -> str:
    """The digest of a value that a module of the project at `root` holds; `owns` knows the project's module names.

    Raises:
        TooLargeError: it holds more objects than can be looked at for each task.
    """
    return told(value, root, owns).digest


def told(
    value: object,
    root: str,
    owns: Callable[[str], bool],
    definitions: Definitions | None = None,
    seen: dict[int, tuple[str, object]] | None = None,
    label: str = "",
    *,
    bulk: bool = True,
) -> Told:
    """The digest of a value, with what isn't told in it.

    Args:
        definitions: how functions and classes are told.
        seen: what was met before by its id, under its place and with the object; added to.
        label: what the value is called, for `seen` and the untold.
        bulk: whether tables, large arrays and fitted models are told; they are untold otherwise.

    Raises:
        TooLargeError: as `state_digest`.
    """
    hasher = blake3()
    writer = _Writer(hasher.update, root, owns, definitions or Definitions(), {} if seen is None else seen, label)
    writer.bulk = bulk
    writer.write(value)
    return Told(hasher.hexdigest(16), writer.untold, writer.texts)


class _Ordered:
    """How many objects of libraries were looked at to put sets in order, those within sets too."""

    foreign = 0


class _Writer:
    def __init__(
        self,
        put: Callable[[bytes], object],
        root: str,
        owns: Callable[[str], bool],
        definitions: Definitions,
        seen: dict[int, tuple[str, object]],
        label: str,
    ) -> None:
        self.put = put
        self.root = root
        self.owns = owns
        self.definitions = definitions
        self.seen = seen
        self.label = label
        self.bulk = True
        self.untold: dict[str, type] = {}
        self.texts: set[str] = set()
        self.open: frozenset[int] = frozenset()  # sets that are being put in order
        self.ordered = _Ordered()
        self._count = self._foreign = 0

    def text(self, text: str) -> None:
        data = text.replace(self.root, "<project>").encode("utf-8", "surrogatepass")
        self.put(len(data).to_bytes(4, "little") + data)

    def write(self, value: object) -> None:
        """Write a value and all below it, from a list of what is still to do: chains may be deeper than Python's stack."""
        pending: list[tuple[_Path, object]] = [((None, self.label), value)]
        while pending:
            path, each = pending.pop()
            children = self._one(path, each)
            if children:
                pending += [((path, name), child) for name, child in reversed(list(children))]

    def _one(self, path: _Path, value: Any) -> _Children:
        """Write what a value is, and give what it holds."""
        cls = type(value)
        if cls in ATOMS:
            if cls is str:
                self.texts.add(value)
            self.text(f"{cls.__name__}:{value!r}" if cls is not str else f"str:{value}")
            return ()
        if is_words(cls):
            self.text(words_of(value))
            return ()
        if cls is tuple and len(value) <= _FAST and all(type(each) in ATOMS for each in value):
            return self._container(tuple, value)  # whether equal constants are one object is no matter
        if issubclass(cls, (FunctionType, type, ModuleType)):
            said = self.definitions.refer(value)
            if said is not None:
                self.text(f"<{said}>")
                return ()
        if id(value) in self.seen:
            self.text(f"again {self.seen[id(value)][0]}")
            return ()
        self._count += 1
        if self._count > _MOST:
            raise TooLargeError
        self.seen[id(value)] = f"{self.label} {self._count}", value  # kept, so that its id is not given to another
        try:
            if cls in CONTAINERS:
                return self._container(cls, value)
            found = self._callable(value, cls)
            return self._instance(value, cls) if found is None else found
        except Untold:
            self.untold[_shown(path)] = cls
            return ()

    # containers

    def _container(self, kind: Any, value: Any, name: str = "") -> _Children:
        """A container as one of the kind that it derives from, whatever its class says of its contents."""
        self.text(f"{name or kind.__name__} {kind.__len__(value)}")
        if issubclass(kind, (set, frozenset)):
            return [("{…}", item) for item in self._in_order(value, list(kind.__iter__(value)))]
        if kind is dict:
            items = list(dict.items(value))
            flat = [key for key, _ in items] + [item for _, item in items]
        else:
            flat = list(kind.__iter__(value))
        if len(flat) > _FAST and set(map(type, flat)) <= _PLAIN and not self._mentions_root(flat):
            self.texts.update(each for each in flat if type(each) is str)
            self.put(marshal.dumps(flat, 2))  # version 2 knows neither references nor interned text
            return ()
        if kind is dict:
            return [each for key, item in items for each in (("{key}", key), (_subscript(key), item))]
        return [(f"[{place}]", item) for place, item in enumerate(flat)]

    def _in_order(self, holder: object, items: list[object]) -> list[object]:
        """The items of a set, in an order that what they are decides."""
        if len(items) < 2:
            return items
        rows = [(self._key(holder, item), item) for item in items]
        counts: dict[str, int] = {}
        for key, _ in rows:
            counts[key] = counts.get(key, 0) + 1
        rows = [(key + self.definitions.apart(item) if counts[key] > 1 else key, item) for key, item in rows]
        if self.ordered.foreign > _MOST_ORDERED:
            raise Untold
        return [item for _, item in sorted(rows, key=lambda row: row[0])]

    def _key(self, holder: object, item: object) -> str:
        if type(item) in ATOMS:
            return f"{type(item).__name__}:{item!r}"
        if id(item) in self.open or len(self.open) > _FAST or self.ordered.foreign > _MOST_ORDERED:
            return "open"
        hasher = blake3()
        writer = _Writer(hasher.update, self.root, self.owns, _Brief(), {}, "")
        writer.bulk, writer.ordered = self.bulk, self.ordered
        writer.open = self.open | {id(holder)}
        writer.seen.update((place, ("open", None)) for place in self.open)
        writer.seen[id(holder)] = "the set", holder
        writer.write(item)
        return hasher.hexdigest(16)

    def _mentions_root(self, items: Iterable[object]) -> bool:
        return any(type(item) is str and self.root in item for item in items)

    # functions and what wraps them

    def _callable(self, value: Any, cls: type) -> _Children | None:
        """What functions, methods and the objects around them hold; None for anything else."""
        if cls is FunctionType:
            self.text(f"function {home_of_value(value)}.{value.__qualname__} {code_digest(value.__code__)}")
            return [(" (held)", each) for each in (*given_to(value), list(value.__closure__ or ()))]
        if cls is CellType:
            return self._cell(value)
        if cls is MethodType:
            self.text("method")
            return [(".__func__", value.__func__), (".__self__", value.__self__)]
        if issubclass(cls, (BuiltinFunctionType, MethodWrapperType)):
            owner = value.__self__
            self.definitions.outside(value)
            self.text(f"method {attribute_of(value, '__module__')} {value.__qualname__}")
            return [] if owner is None or isinstance(owner, ModuleType) else [(".__self__", owner)]
        if issubclass(cls, _DESCRIPTORS):
            self.text(f"descriptor {cls.__name__} {value.__name__}")
            return []
        if is_ufunc(cls):
            self.definitions.outside(value)
            self.text(f"ufunc {value.__name__}")
            return self._untold_ufunc(value)
        for known, names in _HOLDING.items():
            if cls is known or (known is functools.partial and issubclass(cls, known)):
                self.text(f"{known.__name__}")
                return [(f".{name}", known_attribute(known, value, name)) for name in names]
        if cls in (GenericAlias, UnionType) or module_of(cls) == "typing":
            return self._hint(value, cls)
        if module_of(cls).startswith("mainspring.") and attribute_of(value, "function") is not None:
            self.text(cls.__qualname__)
            return [("", attribute_of(value, "function"))]
        wrapped = wrapped_in(value)
        if wrapped is not None and callable(value) and not self._is_own(cls):
            return self._wrapper(value, cls, wrapped)
        return None

    def _wrapper(self, value: Any, cls: type, wrapped: object) -> _Children:
        held = held_by_proxy(value)
        self.text(f"wrapper {cls.__qualname__}")
        if held:
            self.definitions.refer(sys.modules["wrapt"])
            return [(".__wrapped__", wrapped), *((f".{name}", each) for name, each in held.items())]
        self.definitions.outside(value)
        if is_cache(value):
            self.definitions.kept(value)
        return [(".__wrapped__", wrapped), *((" (options)", each) for each in options_of(value))]

    def _untold_ufunc(self, value: Any) -> _Children:
        if "(" in value.__name__:  # of numpy.frompyfunc, which doesn't give its function back
            self.untold[self.label] = type(value)
        return []

    def _cell(self, cell: CellType) -> _Children:
        try:
            held = cell.cell_contents
        except ValueError:
            self.text("empty cell")
            return []
        self.text("cell")
        return [("", held)]

    def _hint(self, value: Any, cls: type) -> _Children:
        """A type hint: what it is of, and its arguments."""
        arguments = attribute_of(value, "__args__") or ()
        if not arguments:
            self.text(f"hint {value!r}")
            return []
        self.text(f"hint {cls.__qualname__} {attribute_of(value, '_name')}")
        return [("", attribute_of(value, "__origin__")), ("", arguments), ("", attribute_of(value, "__metadata__"))]

    # objects

    def _is_own(self, cls: type) -> bool:
        """Whether a class is the project's or a notebook's, so that its objects are what their attributes are."""
        return module_of(cls) == "__main__" or self.owns(module_of(cls)) or is_made(cls)

    def _instance(self, value: Any, cls: type) -> _Children:
        self.text(self.definitions.refer(cls) or "")
        if self._is_own(cls):
            return self._contents(value, *base_content(value, cls), fields_of(value, public=False))
        if self.open and self.ordered.foreign > _MOST_ORDERED:
            raise Untold
        found = library_content(value, cls, bulk=self.bulk)
        self._foreign += found.fields
        self.ordered.foreign += found.fields and bool(self.open)
        if self._foreign > _MOST_FOREIGN and not self.bulk:
            raise Untold
        if found.definition is not None:
            self._known_by_name(found.definition)
        if found.text:
            self.text(found.text)
        if found.data:
            self.put(found.data)
        named = fields_of(value, public=found.public, is_own=False) if found.fields else {}
        return self._contents(value, found.kind, found.of_base, named)

    def _known_by_name(self, value: object) -> None:
        """Note a definition that its name tells, as it does that of an installed library."""
        home = str(attribute_of(value, "__module__"))
        if home == "__main__" or self.owns(home):
            raise Untold
        self.definitions.outside(value)

    def _contents(
        self, value: object, kind: type | None, of_base: Sequence[object], named: dict[str, object]
    ) -> list[tuple[str, object]]:
        """What is inside by the builtin class that an object derives from, and its attributes by name."""
        children: list[tuple[str, object]] = []
        if kind is not None:
            children += self._container(kind, value)
        children += [("", each) for each in of_base]
        self.text("\0".join(named))
        return children + [(f".{name}", item) for name, item in named.items()]


def given_to(function: FunctionType) -> Iterator[object]:
    """What a function was given when it was defined, or later: its defaults and attributes."""
    yield function.__defaults__
    yield function.__kwdefaults__
    yield attributes_given_to(function)
    yield function.__dict__.get("__wrapped__")


def attributes_given_to(function: FunctionType) -> dict[str, object]:
    """What a function was given as attributes, and its name and docstring where these are not those of its code."""
    plain = FunctionType(function.__code__, {}, closure=function.__closure__)
    found: dict[str, object] = {
        name: given for name in _SAID if (given := getattr(function, name)) != getattr(plain, name)
    }
    if function.__qualname__.rpartition(".")[2] != function.__code__.co_name:  # where it was compiled says nothing
        found["__qualname__"] = function.__qualname__
    return found | {name: item for name, item in function.__dict__.items() if name != "__wrapped__"}


def known_attribute(cls: type, value: object, name: str) -> object:
    """An attribute that a builtin class keeps, past whatever a subclass says of it."""
    return attribute_of(value, name) if name not in vars(cls) else vars(cls)[name].__get__(value)


def home_of_value(value: Any) -> str:
    """The module of a function or class; that of a script is the name it would be imported by, as a rule."""
    home = value.__name__ if isinstance(value, ModuleType) else str(value.__module__)
    if home != "__main__":
        return home
    file = script_file()
    return os.path.splitext(os.path.basename(file))[0] if file else home


def _subscript(key: object) -> str:
    return f"[{key!r}]" if type(key) in ATOMS else "[…]"


def _shown(path: _Path) -> str:
    names = []
    step: Any = path
    while step is not None:
        step, name = step
        names.append(name)
    return "".join(reversed(names))

"""What a module holds, as a digest that is the same in every process: plain values, containers, records, functions.

Invariant: equal digests mean equal values, except for objects of installed classes that neither a codec nor their text
describes; these count by their class alone. Paths inside the project are taken relative to it.
"""

from __future__ import annotations

import functools
import marshal
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AnySet
from contextlib import suppress
from types import (
    BuiltinFunctionType,
    CellType,
    FunctionType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

from blake3 import blake3

from mainspring.errors import MainspringError
from mainspring.pipelines.code.objects import code_digest

ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, type(Ellipsis), range})
_PLAIN = frozenset({type(None), bool, int, float, complex, bytes, str})
_CONTAINERS = (list, tuple, dict, set, frozenset)
# Objects of these modules say in their text what they are.
_TOLD_BY_TEXT = frozenset(
    "datetime decimal fractions uuid zoneinfo re ipaddress itertools numpy polars pandas pyarrow".split()
)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_FAST = 64  # items from which a container of plain values is digested in one go
_MOST = 200_000  # objects


class TooLargeError(Exception):
    """There is more below a value than is looked at for each task."""


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
    return told_digest(value, root, owns)[0]


def told_digest(value: object, root: str, owns: Callable[[str], bool]) -> tuple[str, set[type]]:
    """The digest of `state_digest`, and the classes whose objects count by these alone.

    Raises:
        TooLargeError: it holds more objects than can be looked at for each task.
    """
    hasher = blake3()
    writer = _Writer(hasher.update, root, owns)
    writer.write(value)
    return hasher.hexdigest(16), writer.untold


class _Writer:
    def __init__(self, put: Callable[[bytes], object], root: str, owns: Callable[[str], bool]) -> None:
        self.put = put
        self.root = root
        self.owns = owns
        self.untold: set[type] = set()
        self.seen: dict[int, int] = {}
        self.kept: list[object] = []

    def text(self, text: str) -> None:
        data = text.replace(self.root, "<project>").encode("utf-8", "surrogatepass")
        self.put(len(data).to_bytes(4, "little") + data)

    def write(self, value: object) -> None:
        cls = type(value)
        if cls in ATOMS:
            self.text(f"{cls.__name__}:{value!r}" if cls is not str else f"str:{value}")
            return
        if id(value) in self.seen:
            self.text(f"again {self.seen[id(value)]}")
            return
        if len(self.seen) > _MOST:
            raise TooLargeError
        self.seen[id(value)] = len(self.seen)
        self.kept.append(value)  # so that its id is not given to another
        if cls in _CONTAINERS:
            self._container(value)
        elif not self._callable(value):
            self._instance(value)

    def _container(self, value: Any) -> None:
        self.text(f"{type(value).__name__} {len(value)}")
        flat = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        if isinstance(value, (set, frozenset)):
            told = [told_digest(item, self.root, self.owns) for item in value]
            self.untold.update(*(untold for _, untold in told))
            for digest in sorted(digest for digest, _ in told):
                self.text(digest)
        elif len(flat) > _FAST and set(map(type, flat)) <= _PLAIN and not self._mentions_root(flat):
            self.put(marshal.dumps(list(flat), 2))  # version 2 knows neither references nor interned text
        elif isinstance(value, dict):
            for key, item in value.items():
                self.write(key)
                self.write(item)
        else:
            for item in value:
                self.write(item)

    def _mentions_root(self, items: Iterable[object]) -> bool:
        return any(type(item) is str and self.root in item for item in items)

    def _callable(self, value: Any) -> bool:
        """Functions, classes and modules, and what wraps them."""
        if isinstance(value, FunctionType):
            self.text(f"function {_home(value)}.{value.__qualname__} {code_digest(value.__code__)}")
            self.write(value.__defaults__)
            self.write(value.__kwdefaults__)
            self.write(list(value.__closure__ or ()))
        elif isinstance(value, CellType):
            try:
                self.write(value.cell_contents)
            except ValueError:
                self.text("empty cell")
        elif isinstance(value, (MethodType, BuiltinFunctionType)):
            self.text(f"method {value.__qualname__}")
            owner = getattr(value, "__self__", None)
            self.write(getattr(value, "__func__", None) if isinstance(value, MethodType) else value.__module__)
            self.write(owner if not isinstance(owner, ModuleType) else owner.__name__)
        elif isinstance(value, functools.partial):
            self.text("partial")
            for item in (value.func, value.args, value.keywords):
                self.write(item)
        elif isinstance(value, (type, ModuleType)):
            self.text(f"named {_home(value)} {getattr(value, '__qualname__', '')}")
        elif type(value).__module__.startswith("mainspring.") and hasattr(value, "function"):
            self.text(f"{type(value).__qualname__}")
            self.write(value.function)
        elif callable(value) and isinstance(getattr(value, "__wrapped__", None), FunctionType):
            self.text(f"wrapper {type(value).__qualname__}")
            self.write(value.__wrapped__)
        else:
            return False
        return True

    def _instance(self, value: Any) -> None:
        cls = type(value)
        self.text(f"{_home(cls)}.{cls.__qualname__}")
        top = cls.__module__.partition(".")[0]
        if isinstance(value, os.PathLike):
            self.text(os.fsdecode(value))
            return
        generator = _generator_state(value)
        if _is_flat_array(value):
            self.text(f"{value.dtype.descr} {value.shape}")
            self.put(value.tobytes())
        elif generator is not None:
            self.write(generator)
        elif isinstance(value, (Mapping, MappingProxyType)):
            self._container(dict(value))
            self._fields(value, public=True)
        elif isinstance(value, _CONTAINERS):
            self._container(next(kind for kind in _CONTAINERS if isinstance(value, kind))(value))
            self._fields(value, public=True)
        elif isinstance(value, AnySet) or cls.__qualname__ == "deque":
            self._container(list(value))
        elif self._is_record(cls, top) or _is_unfitted(value):
            self._fields(value, public=False)
        else:
            text = _described(value, top)
            if not text or cls.__qualname__ == "LazyFrame":  # whose text leaves out what it reads
                self.untold.add(cls)
            self.text(text)

    def _is_record(self, cls: type, top: str) -> bool:
        """Whether a value is what its attributes are: of a project's class, or a record of any."""
        if top == "__main__" or self.owns(cls.__module__):
            return True
        named = hasattr(cls, "__struct_fields__") or hasattr(cls, "__dataclass_fields__")
        return named or cls is SimpleNamespace or (top == "argparse" and cls.__qualname__ == "Namespace")

    def _fields(self, value: Any, *, public: bool) -> None:
        """The attributes of an instance by name, those of slots too."""
        fields = dict(getattr(value, "__dict__", {}))
        for cls in type(value).__mro__:
            slots = [name for name, item in vars(cls).items() if isinstance(item, MemberDescriptorType)]
            fields |= {name: getattr(value, name) for name in slots if hasattr(value, name)}
        for name in sorted(fields):
            if not (name.startswith("__") or (public and name.startswith("_"))):
                self.text(name)
                self.write(fields[name])


def _home(value: Any) -> str:
    """The module of a function or class; that of a script is the name it would be imported by, as a rule."""
    home = value.__name__ if isinstance(value, ModuleType) else str(value.__module__)
    if home != "__main__":
        return home
    file = getattr(sys.modules["__main__"], "__file__", None)
    return os.path.splitext(os.path.basename(file))[0] if file else home


def _is_flat_array(value: Any) -> bool:
    """Whether it is an array of numbers: there may be many small ones, and a codec takes its time for each."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray and value.dtype.kind in "biufcSUmM"


def _is_unfitted(value: Any) -> bool:
    """Whether it is an estimator that holds its parameters only; the codec of fitted ones takes seconds to import."""
    return hasattr(type(value), "get_params") and not any(name.endswith("_") for name in vars(value))


def _generator_state(value: Any) -> object:
    """The state of a generator of random numbers; None of anything else."""
    random, numpy = sys.modules.get("random"), sys.modules.get("numpy.random")
    if random is not None and isinstance(value, random.Random) and type(value).__name__ != "SystemRandom":
        return repr(value.getstate())
    if numpy is not None and isinstance(value, numpy.Generator):
        return _full_text(value.bit_generator.state)
    return _full_text(value.get_state(legacy=False)) if numpy and isinstance(value, numpy.RandomState) else None


def _full_text(state: Any) -> str:
    """A nested dict with arrays as text that leaves nothing out."""
    if isinstance(state, dict):
        return repr([(name, _full_text(item)) for name, item in state.items()])
    return repr(state.tolist()) if hasattr(state, "tolist") else repr(state)


def _described(value: Any, top: str) -> str:
    """The content digest of what a codec takes, the text of what has one, nothing of anything else."""
    from mainspring.artifacts import content_digest

    if type(value).__qualname__ != "LazyFrame" and top not in sys.stdlib_module_names:
        with suppress(MainspringError, TypeError, ValueError):
            return content_digest(value)
    if top not in _TOLD_BY_TEXT:
        return ""
    return _ADDRESS.sub("", repr(value))

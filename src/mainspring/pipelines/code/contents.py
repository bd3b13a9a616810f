"""What objects that are no plain values hold inside: by the builtin class they derive from, their codec, or their pickle.

Only for a closed list of types does the representation say all; an object of which nothing is told raises `Untold`.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, UserString, defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from threading import local
from types import (
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    SimpleNamespace,
)
from typing import Any, NamedTuple
from uuid import UUID

from mainspring.errors import MainspringError

ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented), range})
CONTAINERS = (list, tuple, dict, set, frozenset)
_WORDS = frozenset({date, datetime, time, timedelta, timezone, Decimal, Fraction, UUID, slice, re.Pattern})
_NAMED_WORDS = frozenset(
    {
        ("zoneinfo", "ZoneInfo"), ("torch", "dtype"), ("torch", "device"), ("torch", "Size"), ("typing", "TypeVar"),
        ("typing", "ParamSpec"), ("typing", "TypeVarTuple"), ("numpy.dtypes", ""), ("ipaddress", ""),
    }
)  # fmt: skip
_PICKLED = frozenset("numpy pandas polars pyarrow itertools operator builtins collections functools".split())
_RECORDS_OF = frozenset("dataclasses attr attrs pydantic pydantic_core annotated_types".split())
_UNREAD = frozenset({"__dict__", "__weakref__"})
_OF_COMPILED = (GetSetDescriptorType, MemberDescriptorType)
# Of wrapt: those that keep nothing beside what their classes show.
_PROXIES = ("FunctionWrapper", "BoundFunctionWrapper", "CallableObjectProxy")
# Of how, or where, an object of a library was used.
_REMEMBERED = frozenset("_cache _ufunc ns_resolver cls_ref _default_factory_takes_validated_data".split())
_SMALL = 1 << 16  # bytes, of which the content is taken for each task
_SCALARS = (bool, int, float, complex, str, bytes, bytearray)
_HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE: of a class statement, as a rule
_PYTHON_IN_EXPRESSION = (b"PLPYFN", b"PLPYUDF")


class Untold(Exception):  # noqa: N818  # no error: it says that nothing tells what an object is
    """Nothing tells what an object holds."""


class Content(NamedTuple):
    """What tells an object of a library: text, bytes, or objects; and a container of a kind, and its attributes."""

    text: str = ""
    data: bytes = b""
    kind: type | None = None
    of_base: Sequence[object] = ()
    public: bool = True
    fields: bool = False
    definition: object = None


def attribute_of(value: object, name: str, default: object = None) -> Any:
    """An attribute of any object; whatever a foreign `__getattr__` does, what it doesn't give is not there."""
    try:
        return getattr(value, name, default)
    except Exception:  # noqa: BLE001  # a foreign object may raise anything
        return default


def module_of(cls: type) -> str:
    """The module of a class; empty for one that keeps that of its objects there, as those of compiled functions do."""
    found: object = cls.__module__
    return found if isinstance(found, str) else ""


def dict_of(value: object) -> dict[str, Any]:
    """The attributes that an object itself keeps; none of one that keeps them elsewhere."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except Exception:  # noqa: BLE001  # as above
        return {}
    return found if isinstance(found, dict) else {}


def wrapped_in(value: object) -> Any:
    """What an object says that it wraps: by an attribute of its own, or by its class, as a proxy of wrapt's does."""
    if any(isinstance(vars(base).get("__wrapped__"), _OF_COMPILED) for base in type(value).__mro__):
        return attribute_of(value, "__wrapped__")
    return dict_of(value).get("__wrapped__")


def held_by_proxy(value: object) -> dict[str, object]:
    """What a proxy around a function holds beside it; empty for anything else.

    Raises:
        Untold: it may hold more, which it keeps apart: its `__dict__` is that of what it wraps.
    """
    cls = type(value)
    found = {name: item for base in cls.__mro__ for name, item in vars(base).items() if isinstance(item, _OF_COMPILED)}
    if "__wrapped__" not in found:
        return {}
    wrapt = sys.modules.get("wrapt")
    is_known = (module_of(cls), cls.__name__) == ("wrapt.decorators", "_AdapterFunctionWrapper")
    if not (is_known or any(cls is attribute_of(wrapt, name) for name in _PROXIES)):
        raise Untold
    return {name: attribute_of(value, name) for name in sorted(found) if not name.startswith("__")}


def code_of(value: object) -> CodeType | None:
    """The code of a function or method; nothing of an object that only answers to the name."""
    inner = value.__func__ if isinstance(value, MethodType) else value
    has_code = any("__code__" in vars(base) for base in type(inner).__mro__)
    found = attribute_of(inner, "__code__") if has_code else None
    return found if isinstance(found, CodeType) else None


def is_words(cls: type) -> bool:
    """Whether a representation says all that an object of this very class is."""
    return cls in _WORDS or ((module_of(cls), cls.__name__) in _NAMED_WORDS or (module_of(cls), "") in _NAMED_WORDS)


def words_of(value: Any) -> str:
    """A value of such a class as text."""
    if type(value) is re.Pattern:  # its representation is cut
        return f"Pattern:{value.pattern!r}, {value.flags}"
    return f"{type(value).__name__}:{value!r}"


def is_made(cls: type) -> bool:
    """Whether a class was made by a call, such as of `dataclasses.make_dataclass`, which leaves it without a module."""
    return module_of(cls) == "types" and cls.__flags__ & _HEAP != 0


def is_ufunc(cls: type) -> bool:
    """Whether it is the class of NumPy's functions of arrays."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and cls is getattr(numpy, "ufunc", None)


def fields_of(value: object, *, public: bool, is_own: bool = True) -> dict[str, object]:
    """The attributes that an object keeps, in their order, and those of slots; with `public`, but for `_private` ones.

    Of one whose class is a library's, what it remembers of its use, such as in one thread, is left out too.
    """
    skipped = _UNREAD if is_own else _UNREAD | _REMEMBERED
    fields = {name: item for name, item in dict_of(value).items() if type(name) is str}
    for cls in type(value).__mro__:
        for name, item in () if module_of(cls).startswith("pathlib") else vars(cls).items():  # which remembers there
            if type(item) is MemberDescriptorType and name not in _UNREAD:
                with suppress(AttributeError):
                    fields[name] = item.__get__(value)
    fields = {name: item for name, item in fields.items() if not (public and name.startswith("_"))}
    return {name: item for name, item in fields.items() if name not in skipped and (is_own or type(item) is not local)}


def base_content(value: Any, cls: type) -> tuple[type | None, Sequence[object]]:
    """What an object of a project's class holds by the builtin or library's class that it derives from.

    Gives the container that it is one of, and what else there is.

    Raises:
        Untold: that class keeps what nothing tells.
    """
    if _is_struct(cls):
        return None, [[attribute_of(value, name) for name in attribute_of(cls, "__struct_fields__")]]
    for base in cls.__mro__:
        if base in CONTAINERS:
            return base, ()
        read = _read_of(base)
        if read is not None:
            kind, inner = read
            return kind, inner(value)
        if base is not object and _keeps_unseen(base):
            return None, [_by_codec(value)]
    return None, ()


def _read_of(base: Any) -> tuple[type | None, Callable[[Any], Sequence[object]]] | None:
    """How to read what an object holds as one of a builtin class, past all that its own class says of it."""
    if base in _SCALARS:
        return None, lambda value: [base.__repr__(value)]
    if base is OrderedDict or base is defaultdict:
        return dict, lambda value: [attribute_of(value, "default_factory")] if base is defaultdict else []
    if base is deque:
        return None, lambda value: [list(deque.__iter__(value)), value.maxlen]
    if base in (datetime, date, time, timedelta, Decimal):
        return None, lambda value: [base.__reduce__(value)[1]]
    if base in (property, staticmethod, classmethod):
        names = ("fget", "fset", "fdel") if base is property else ("__func__",)
        return None, lambda value: [vars(base)[name].__get__(value) for name in names]
    if issubclass(base, PurePath) and module_of(base).startswith("pathlib"):
        return None, lambda value: [base.__str__(value)]
    if issubclass(base, BaseException) and not base.__flags__ & _HEAP:
        return None, lambda value: [vars(BaseException)["args"].__get__(value)]
    numpy = sys.modules.get("numpy")
    if numpy is not None and base is numpy.ndarray:
        return None, lambda value: list(base.__reduce__(value)[1:])
    return None


def _keeps_unseen(cls: type) -> bool:
    """Whether objects of a class keep more than a dict, slots and weak references show.

    One of compiled code may be a heap type too, and be no larger than a pointer.
    """
    base = cls.__base__ or object
    seen = sum(type(item) is MemberDescriptorType for item in vars(cls).values())
    seen += cls.__weakrefoffset__ > 0 and base.__weakrefoffset__ == 0
    seen += cls.__dictoffset__ not in (0, -1) and base.__dictoffset__ == 0  # -1: it lies before the object
    return not cls.__flags__ & _HEAP or cls.__basicsize__ - base.__basicsize__ > 8 * seen


def _is_struct(cls: type) -> bool:
    return module_of(type(cls)).startswith("msgspec") and type(attribute_of(cls, "__struct_fields__")) is tuple


def library_content(value: Any, cls: type, *, bulk: bool) -> Content:
    """What an object of an installed library's class holds; with `bulk`, tables, large arrays and fitted models too.

    Raises:
        Untold: nothing tells it.
    """
    top = module_of(cls).partition(".")[0]
    if cls is object or cls.__qualname__ == "LazyFrame":  # which doesn't say what it reads
        raise Untold
    if (top, cls.__name__) == ("msgspec", "Factory"):
        return Content(of_base=[value.factory])
    if (top, cls.__name__) == ("pandera", "Dispatcher"):  # to which its first use adds what pandera has for a library
        given = [each for each in value._function_registry.values() if not module_of(each).startswith("pandera.")]
        return Content(value._name, of_base=given)
    size = _size_of(value, cls)
    if not bulk and (size > _SMALL or _is_fitted(value, cls)) and not _is_named(value, cls):
        raise Untold
    if issubclass(cls, os.PathLike):
        return Content(os.fsdecode(value))
    if _is_flat_array(value, cls):
        return Content(f"{value.dtype.descr} {value.shape}", value.tobytes())
    generator = _generator_state(value)
    if generator is not None:
        return Content(of_base=[generator])
    container = _container_content(value, cls)
    if container is not None:
        return container
    if _is_struct(cls):
        return Content(of_base=[[attribute_of(value, name) for name in attribute_of(cls, "__struct_fields__")]])
    if _is_record(cls, top):
        return Content(fields=True, public=False)
    if _is_estimator(cls):
        return _estimator_content(value)
    if top not in sys.stdlib_module_names and (bulk or size):
        with suppress(Untold):
            return Content(_by_codec(value))
    return _opaque_content(value, cls, top)


def _size_of(value: Any, cls: type) -> float:
    """The bytes of an array, 0 of anything else; a table is as large as can be: it is an input, whatever its size."""
    if hasattr(cls, "columns"):
        return math.inf
    found = attribute_of(value, "nbytes" if hasattr(cls, "nbytes") else "estimated_size", 0)
    with suppress(Exception):
        return max(float(found() if callable(found) else found), float(found != 0))
    return math.inf


def _opaque_content(value: Any, cls: type, top: str) -> Content:
    """What the state by which it is copied, a name in its module, or its attributes tell of an object."""
    if top in _PICKLED:
        return _pickled_content(value)
    if top == "logging" and hasattr(cls, "getEffectiveLevel"):  # what it does is told to people
        return Content(value.name)
    if _is_named(value, cls) or (
        callable(value) and type(attribute_of(value, "__qualname__")) is str and not dict_of(value)
    ):
        return Content(f"{attribute_of(value, '__module__')} {attribute_of(value, '__qualname__')}", definition=value)
    if any(_keeps_unseen(base) for base in cls.__mro__[:-1] if base not in CONTAINERS and _read_of(base) is None):
        raise Untold
    kind, of_base = base_content(value, cls)
    return Content(kind=kind, of_base=of_base, fields=True, public=False)


def _by_codec(value: object) -> str:
    from mainspring.artifacts import content_digest

    try:
        return content_digest(value)
    except (MainspringError, TypeError, ValueError) as error:
        raise Untold from error


def _pickled_content(value: Any) -> Content:
    """The state by which a library copies its own objects, as far as it is data."""
    try:
        found = value.__reduce_ex__(4)
    except Exception as error:
        raise Untold from error
    if isinstance(found, str):
        return Content(found)
    call, arguments, *more = found
    state = more[0] if more else None
    if type(value).__qualname__ == "Expr" and (
        type(state) is not bytes or any(mark in state for mark in _PYTHON_IN_EXPRESSION)
    ):
        raise Untold
    items = [list(each) for each in more[1:3] if each is not None]
    return Content(of_base=[call, arguments, _without_caches(state), items])


def _without_caches(state: object) -> object:
    """A state without what is only remembered: it grows by use."""
    if type(state) is not dict:
        return state
    return {name: item for name, item in state.items() if name not in _REMEMBERED}


def _container_content(value: Any, cls: type) -> Content | None:
    if cls is MappingProxyType:
        return Content(of_base=[dict(value)])
    if cls is defaultdict:
        return Content(kind=dict, of_base=[value.default_factory])
    if cls in (OrderedDict, Counter):
        return Content(kind=dict, fields=True)
    if cls is deque:
        return Content(of_base=[list(value), value.maxlen])
    if cls in (UserDict, UserList, UserString):
        return Content(of_base=[value.data])
    if cls is ChainMap:
        return Content(of_base=[value.maps])
    if module_of(cls) == "builtins" and cls.__name__ in ("dict_keys", "dict_values", "dict_items", "bytearray"):
        return Content(of_base=[list(value)])
    kind = next((kind for kind in CONTAINERS if kind in cls.__mro__), None)
    return Content(kind=kind, fields=True) if kind is not None else None


def _is_record(cls: type, top: str) -> bool:
    """Whether an object is what its attributes are."""
    named = attribute_of(cls, "__dataclass_fields__") is not None or (top in _RECORDS_OF and cls.__flags__ & _HEAP)
    return (
        bool(named)
        or cls is SimpleNamespace
        or (top, cls.__qualname__) in (("argparse", "Namespace"), ("msgspec", "Meta"))
    )


def _is_estimator(cls: type) -> bool:
    return attribute_of(cls, "get_params") is not None


def _estimator_content(value: Any) -> Content:
    """Its parameters only, or by its codec; that of fitted ones takes seconds to import. Functions in it count too."""
    if not _is_fitted(value, type(value)):
        return Content(fields=True, public=False)
    return Content(_by_codec(value), of_base=_functions_within(value))


def _is_fitted(value: object, cls: type) -> bool:
    return _is_estimator(cls) and any(name.endswith("_") for name in dict_of(value))


def _functions_within(value: object) -> list[object]:
    found: list[object] = []
    pending, met = [value], set[int]()
    while pending:
        each = pending.pop()
        if id(each) in met:
            continue
        met.add(id(each))
        if isinstance(each, (FunctionType, type)):
            found.append(each)
        elif isinstance(each, (list, tuple)):
            pending += reversed(each)
        elif isinstance(each, dict):
            pending += reversed(list(each.values()))
        elif _is_estimator(type(each)):
            pending += [item for _, item in sorted(dict_of(each).items(), reverse=True)]
    return found


def _is_flat_array(value: Any, cls: type) -> bool:
    """Whether it is an array of numbers: there may be many small ones, and a codec takes its time for each."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and cls is numpy.ndarray and value.dtype.kind in "biufcSUmM"


def _is_named(value: object, cls: type) -> bool:
    """Whether an installed module holds an object, such as `scipy.stats.norm`, where its class is defined."""
    names = {module_of(cls), module_of(cls).partition(".")[0]}
    return any(
        each is value for name in names if name in sys.modules for each in list(vars(sys.modules[name]).values())
    )


def _generator_state(value: Any) -> object:
    """The state of a generator of random numbers; None of anything else."""
    random, numpy = sys.modules.get("random"), sys.modules.get("numpy.random")
    if random is not None and issubclass(type(value), random.Random) and type(value).__name__ != "SystemRandom":
        return repr(value.getstate())
    if numpy is not None and issubclass(type(value), numpy.Generator):
        return _full_text(value.bit_generator.state)
    return _full_text(value.get_state(legacy=False)) if numpy and issubclass(type(value), numpy.RandomState) else None


def _full_text(state: Any) -> str:
    """A nested dict with arrays as text that leaves nothing out."""
    if isinstance(state, dict):
        return repr([(name, _full_text(item)) for name, item in state.items()])
    return repr(state.tolist()) if hasattr(state, "tolist") else repr(state)

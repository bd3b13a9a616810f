"""Classes by name: how a Struct, dataclass, Enum or named tuple is stored, and which names are ever looked up again.

Invariant: decoding imports nothing but project modules, and gives back nothing but classes of these four kinds. A record is
its fields and whatever else was set on it; a class that holds more than attributes is refused.
"""

from __future__ import annotations

import enum
import sys
from functools import cached_property, lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import msgspec

from mainspring.artifacts.script import home_of, script
from mainspring.errors import CodecError


def is_record(cls: type) -> bool:
    """Whether values of the class are stored field by field: a Struct, a dataclass or a named tuple."""
    return (
        issubclass(cls, msgspec.Struct)
        or hasattr(cls, "__dataclass_fields__")
        or (issubclass(cls, tuple) and hasattr(cls, "_fields"))
    )


def field_names(cls: Any) -> tuple[str, ...]:
    """The stored fields of a record class, in order of declaration."""
    if issubclass(cls, msgspec.Struct):
        fields: tuple[str, ...] = cls.__struct_fields__
        return fields
    if issubclass(cls, tuple):
        names: tuple[str, ...] = cls._fields
        return names
    return tuple(name for name, field in cls.__dataclass_fields__.items() if field._field_type.name == "_FIELD")


def is_frozen(cls: Any) -> bool:
    """Whether no attribute of a record can be set, short of going behind its back; a `__dict__` can always be written to."""
    if cls.__dictoffset__:
        return False
    if issubclass(cls, msgspec.Struct):
        return bool(cls.__struct_config__.frozen)
    if issubclass(cls, tuple):
        return True
    # A subclass that isn't a frozen dataclass itself may set what its base knows nothing of.
    own = vars(cls).get("__dataclass_params__")
    return own is not None and bool(own.frozen)


def class_name(cls: type) -> str:
    """`module:qualname`, under which the class can be found again.

    Raises:
        CodecError: it can't, because it was defined inside a function, or something else has its name.

    >>> from fractions import Fraction
    >>> class_name(Fraction)
    'fractions:Fraction'
    """
    found: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not cls:
        raise CodecError(
            f"The class `{cls.__module__}.{cls.__qualname__}` can't be found again by its name. "
            "Define it at the top level of a module."
        )
    return _full_name(cls)


def _full_name(cls: type) -> str:
    return f"{home_of(cls.__module__, cls.__qualname__)}:{cls.__qualname__}"


def find_class(name: str) -> type:
    """The class of a stored name.

    Raises:
        CodecError: its module is not loaded and is not a project module, or the name is not a Struct, dataclass, named
            tuple or Enum.
    """
    module_name, _, qualname = name.partition(":")
    found: Any = _module(module_name, name)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type) or not (is_record(found) or issubclass(found, enum.Enum)):
        raise CodecError(f"`{name}` is not a Struct, dataclass, named tuple or Enum (any more), so it isn't loaded.")
    if _full_name(found) != name:
        raise CodecError(f"`{name}` names another class now, `{_full_name(found)}`.")
    return found


def _module(module_name: str, wanted: str) -> Any:
    if module_name == script.get():
        return sys.modules["__main__"]
    if module_name in sys.modules:
        return sys.modules[module_name]
    top = module_name.partition(".")[0]
    hint = f"Import the module `{module_name}` before loading a value of `{wanted}`."
    if not all(part.isidentifier() for part in module_name.split(".")) or top in sys.stdlib_module_names:
        raise CodecError(f"The module of `{wanted}` is not a project module, so it isn't imported. {hint}")
    try:
        spec = find_spec(top)
        places = [] if spec is None else [*(spec.submodule_search_locations or ()), spec.origin or ""]
        if not any(places):
            raise CodecError(f"The module of `{wanted}` is not importable here. {hint}")
        if any("site-packages" in place or "dist-packages" in place for place in places):
            raise CodecError(f"The module of `{wanted}` is not a project module, so it isn't imported. {hint}")
        return import_module(module_name)
    except ImportError as error:
        raise CodecError(f"The module of `{wanted}` can't be imported: {error}. {hint}") from error


def fields_of(value: object) -> dict[str, Any]:
    """A record's fields and their values.

    Raises:
        CodecError: a field was never set, or the class holds more than attributes.
    """
    cls: Any = type(value)
    check_record(cls)
    try:
        fields = {name: getattr(value, name) for name in field_names(cls)}
    except AttributeError as error:
        raise CodecError(f"A value of `{cls.__module__}.{cls.__qualname__}` has an unset field: {error}.") from error
    if isinstance(value, tuple) and len(value) != len(fields):
        raise CodecError(f"A value of `{cls.__module__}.{cls.__qualname__}` has items that are none of its fields.")
    return fields


def extras_of(value: object) -> dict[str, Any]:
    """What was set on a record beside its fields, e.g. in `__post_init__`, by name; cached properties are left out."""
    cls: Any = type(value)
    slots, cached = _beside_fields(cls)
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    names = getattr(value, "__dict__", None)
    if names:
        fields = field_names(cls)
        found |= {name: names[name] for name in names if name not in fields and name not in cached}
    return {name: found[name] for name in sorted(found)} if found else found


@lru_cache(maxsize=1024)
def _beside_fields(cls: type) -> tuple[tuple[str, ...], frozenset[str]]:
    """The slots of a class that are no fields, and its cached properties."""
    fields = field_names(cls)
    slots: list[str] = []
    cached: set[str] = set()
    for base in cls.__mro__:
        if base not in (msgspec.Struct, object):
            declared = vars(base).get("__slots__", ())
            names = [declared] if isinstance(declared, str) else [*declared]
            private = f"_{base.__name__.lstrip('_')}"  # as the compiler spells `__name`
            slots += [private + n if n.startswith("__") and not n.endswith("__") else n for n in names]
        cached |= {name for name, item in vars(base).items() if isinstance(item, cached_property)}
    plain = tuple(name for name in slots if name not in fields and name not in ("__dict__", "__weakref__"))
    return plain, frozenset(cached)


@lru_cache(maxsize=1024)
def check_record(cls: type) -> None:
    """Refuse a record class whose values hold more than attributes, as a list or an exception does.

    Raises:
        CodecError: it is such a class.
    """
    if issubclass(cls, msgspec.Struct) or (issubclass(cls, tuple) and not hasattr(cls, "__dataclass_fields__")):
        return
    try:
        object.__new__(cls)
    except TypeError as error:
        bases = [base.__qualname__ for base in cls.__mro__ if base.__module__ == "builtins" and base is not object]
        raise CodecError(
            f"The class `{cls.__module__}.{cls.__qualname__}` derives from `{bases[0] if bases else cls.__base__}`, whose "
            "contents are none of its fields. Hold them in a field instead."
        ) from error


def build_record(cls: Any, fields: dict[str, Any], extras: dict[str, Any]) -> Any:
    """A record of these fields and of what was set beside them.

    A dataclass or named tuple is filled without running its code. A Struct has to be called, with its `__post_init__`,
    but ends with what was stored.

    Raises:
        CodecError: the class declares other fields now, or refuses the values.
    """
    declared = field_names(cls)
    if set(declared) != set(fields):
        raise CodecError(
            f"The class `{cls.__module__}.{cls.__qualname__}` has the fields {sorted(declared)}, "
            f"but the stored value has {sorted(fields)}. Run what made it again."
        )
    check_record(cls)
    try:
        if issubclass(cls, msgspec.Struct):
            return _filled_struct(cls, fields, extras)
        is_tuple = issubclass(cls, tuple)
        value = tuple.__new__(cls, map(fields.get, declared)) if is_tuple else object.__new__(cls)
        for name, item in (extras if is_tuple else {**fields, **extras}).items():
            object.__setattr__(value, name, item)
        return value
    except (TypeError, ValueError, AttributeError) as error:
        raise CodecError(
            f"The class `{cls.__module__}.{cls.__qualname__}` refuses its stored fields: {error}."
        ) from error


def _filled_struct(cls: type[msgspec.Struct], fields: dict[str, Any], extras: dict[str, Any]) -> msgspec.Struct:
    value = cls(**fields)
    for name, item in fields.items():
        msgspec.structs.force_setattr(value, name, item)
    if hasattr(value, "__dict__"):
        value.__dict__.clear()
        value.__dict__.update(extras)
    return value

"""Classes by name: how a Struct, dataclass, Enum or named tuple is stored, and which names are ever looked up again.

Invariant: decoding imports nothing but project modules, and gives back nothing but classes of these four kinds.
"""

from __future__ import annotations

import enum
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import msgspec

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
    """Whether the fields of a record can't be set again."""
    if issubclass(cls, msgspec.Struct):
        return bool(cls.__struct_config__.frozen)
    return issubclass(cls, tuple) or bool(cls.__dataclass_params__.frozen)


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
    return f"{cls.__module__}:{cls.__qualname__}"


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
    if f"{found.__module__}:{found.__qualname__}" != name:
        raise CodecError(f"`{name}` names another class now, `{found.__module__}:{found.__qualname__}`.")
    return found


def _module(module_name: str, wanted: str) -> Any:
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
        CodecError: a field was never set.
    """
    cls = type(value)
    try:
        return {name: getattr(value, name) for name in field_names(cls)}
    except AttributeError as error:
        raise CodecError(f"A value of `{cls.__module__}.{cls.__qualname__}` has an unset field: {error}.") from error


def build_record(cls: type, fields: dict[str, Any]) -> Any:
    """A record of these fields; a dataclass is filled without running its `__init__`.

    Raises:
        CodecError: the class declares other fields now, or refuses the values.
    """
    declared = field_names(cls)
    if set(declared) != set(fields):
        raise CodecError(
            f"The class `{cls.__module__}.{cls.__qualname__}` has the fields {sorted(declared)}, "
            f"but the stored value has {sorted(fields)}. Run what made it again."
        )
    try:
        if issubclass(cls, (msgspec.Struct, tuple)):
            return cls(**fields)
        value = object.__new__(cls)
        for name, item in fields.items():
            object.__setattr__(value, name, item)
        return value
    except (TypeError, ValueError, AttributeError) as error:
        raise CodecError(
            f"The class `{cls.__module__}.{cls.__qualname__}` refuses its stored fields: {error}."
        ) from error

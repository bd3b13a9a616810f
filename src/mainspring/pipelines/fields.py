"""Records as hints name them: which fields a dataclass, Struct, named tuple or typed dict is made from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Generic, NotRequired, Required, TypeVar, get_args, get_origin, is_typeddict

import msgspec

from mainspring.pipelines.hints import kind_of, resolved_hints


class Field(msgspec.Struct, frozen=True):
    """One field: the argument that takes it, its key in JSON, and what is expected."""

    name: str
    key: str
    hint: Any
    required: bool


class Record(msgspec.Struct, frozen=True):
    """A class that is made from named fields; `in_order` also from a list of them. `tag` is a key with a fixed value.

    A typed dict has no values of its own kind: they are dicts.
    """

    kind: Any
    fields: tuple[Field, ...]
    in_order: bool = False
    is_dict: bool = False
    tag: tuple[str, Any] | None = None


def record_of(hint: Any) -> Record | None:
    """The record that a hint names; None if it names none.

    >>> from typing import NamedTuple
    >>> Point = NamedTuple("Point", [("x", int), ("y", int)])
    >>> [(field.name, field.hint) for field in record_of(Point).fields]
    [('x', <class 'int'>), ('y', <class 'int'>)]
    """
    kind: Any = kind_of(hint)
    if not isinstance(kind, type):
        return None
    if is_typeddict(kind):
        return Record(kind, tuple(_keys(kind, _hints(kind, hint))), is_dict=True)
    if issubclass(kind, msgspec.Struct):
        config = kind.__struct_config__
        tag = (config.tag_field, config.tag) if config.tag_field is not None else None
        return Record(kind, tuple(_struct_fields(kind, _hints(kind, hint))), in_order=config.array_like, tag=tag)
    if hasattr(kind, "__dataclass_fields__"):
        return Record(kind, tuple(_dataclass_fields(kind, _hints(kind, hint))))
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return Record(kind, tuple(_items(kind, _hints(kind, hint))), in_order=True)
    return None


def _items(kind: Any, hints: dict[str, Any]) -> Iterator[Field]:
    for name in kind._fields:
        yield Field(name, name, hints.get(name, Any), name not in kind._field_defaults)


def _keys(kind: Any, hints: dict[str, Any]) -> Iterator[Field]:
    for name, hint in hints.items():
        marker = get_origin(hint)
        # `__required_keys__` takes no notice of markers in annotations that are still text.
        required = marker is Required or (marker is not NotRequired and name in kind.__required_keys__)
        yield Field(name, name, get_args(hint)[0] if marker in (Required, NotRequired) else hint, required)


def _struct_fields(kind: Any, hints: dict[str, Any]) -> Iterator[Field]:
    names, defaults = kind.__struct_fields__, kind.__struct_defaults__
    defaults = (msgspec.NODEFAULT,) * (len(names) - len(defaults)) + defaults
    for name, key, default in zip(names, kind.__struct_encode_fields__, defaults, strict=True):
        yield Field(name, key, hints.get(name, Any), default is msgspec.NODEFAULT)


def _dataclass_fields(kind: Any, hints: dict[str, Any]) -> Iterator[Field]:
    from dataclasses import MISSING, InitVar

    for name, field in kind.__dataclass_fields__.items():
        if not field.init or field._field_type.name == "_FIELD_CLASSVAR":
            continue
        hint = hints.get(name, Any)
        required = field.default is MISSING and field.default_factory is MISSING
        yield Field(name, name, hint.type if isinstance(hint, InitVar) else hint, required)


def _hints(kind: Any, hint: Any) -> dict[str, Any]:
    """The hints of a class and its bases, resolved where each was written, with the arguments of a generic put in."""
    found: dict[str, Any] = {}
    for base in [kind] if is_typeddict(kind) else reversed(kind.__mro__):  # a typed dict has its bases' beside its own
        namespace = getattr(sys.modules.get(base.__module__), "__dict__", {}) | {base.__name__: base}
        found |= resolved_hints(vars(base).get("__annotations__", {}), namespace)
    arguments = _arguments(hint)
    return {name: _filled(each, arguments) for name, each in found.items()} if arguments else found


def _arguments(hint: Any) -> dict[Any, Any]:
    """What stands for each type variable of a generic class, also of those that it inherits from."""
    kind = kind_of(hint)
    known = dict(zip(getattr(kind, "__parameters__", ()), get_args(hint), strict=False))
    for base in getattr(kind, "__orig_bases__", ()):
        if get_origin(base) not in (None, Generic):
            known = _arguments(_filled(base, known)) | known
    return known


def _filled(hint: Any, arguments: dict[Any, Any]) -> Any:
    """A hint with its type variables replaced."""
    if isinstance(hint, TypeVar):
        return arguments.get(hint, hint)
    free = getattr(hint, "__parameters__", ()) if get_args(hint) else ()
    return hint[tuple(arguments.get(each, each) for each in free)] if free else hint

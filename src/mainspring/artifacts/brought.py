"""Which definitions a value brings along: a step that calls its methods depends on its class, though it names it nowhere."""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterator, Mapping
from typing import Any

_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray, range})
_GROUPS = (list, tuple, set, frozenset)
_DEEPEST = 200


def brought_by(value: object) -> tuple[str, ...]:
    """The classes of a value and of what is in it as `module:qualname`, sorted, without Python's own and Mainspring's.

    Functions that a record of Mainspring names by text, as a metric does, are among them, and the class of a codec that
    somebody registered.

    >>> from polars import Series
    >>> brought_by({"a": [1, Series()]}), brought_by(3)
    (('polars.series.series:Series',), ())
    """
    return () if type(value) in _PLAIN else tuple(sorted(set(_names(value, 0))))


def _names(value: Any, depth: int) -> Iterator[str]:
    cls = type(value)
    if cls in _PLAIN or depth > _DEEPEST:
        return
    items: Any = ()
    if isinstance(value, Mapping):
        items = [*value.keys(), *value.values()]
    elif isinstance(value, _GROUPS):
        items = value
    top = cls.__module__.partition(".")[0]
    if top == "mainspring":
        yield from (text for text in _fields(value) if type(text) is str and _is_reference(text))
    elif top not in sys.stdlib_module_names:
        yield f"{cls.__module__}:{cls.__qualname__}"
        if not isinstance(value, enum.Enum):
            yield from _codec(value)
    inner = [*items, *_fields(value)]
    if not set(map(type, inner)) <= _PLAIN:
        for item in inner:
            yield from _names(item, depth + 1)


def _fields(value: Any) -> list[object]:
    """What a record holds."""
    cls = type(value)
    names: Any = getattr(cls, "__struct_fields__", ()) or getattr(cls, "__dataclass_fields__", ())
    return [getattr(value, name, None) for name in names]


def _codec(value: object) -> Iterator[str]:
    from mainspring.artifacts.registry import codec_for
    from mainspring.errors import CodecError

    try:
        codec = type(codec_for(value))
    except CodecError:
        return
    if not codec.__module__.startswith("mainspring."):
        yield f"{codec.__module__}:{codec.__qualname__}"


def _is_reference(text: str) -> bool:
    module, colon, name = text.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *name.split(".")))

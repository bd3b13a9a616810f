"""Python values as JSON trees: plain ones as they are, all others as an object with a tag `$`.

Invariant: two values give the same text exactly if they mean the same: types count (1, 1.0 and True differ, so do a list and
a tuple), the sign of zero too, the order of a dict counts, that of a set doesn't; every NaN is one value.
"""

from __future__ import annotations

import datetime as dt
import enum
import math
import re
import sys
from base64 import b64decode, b64encode
from collections import Counter, OrderedDict
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from mainspring.artifacts._classes import (
    build_record,
    class_name,
    extras_of,
    fields_of,
    find_class,
    is_frozen,
    is_record,
)
from mainspring.errors import CodecError

Leaf = Callable[[object, str], int]
DEEPEST = 200

_ATOMS = (type(None), bool, int, float, str)
_FROZEN_SCALARS = frozenset(
    {*_ATOMS, complex, bytes, dt.datetime, dt.date, dt.time, dt.timedelta, dt.timezone, Decimal, UUID, range}
)
_NUMPY_SCALARS = "biufcMmU"
_OFFSET = re.compile(r"(-?\d+)us(?: (.*))?", re.DOTALL)


def is_numpy_scalar(value: object) -> bool:
    """Whether it is a NumPy number, bool, text or time that every machine has; asks without importing NumPy."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.generic) or value.dtype.kind not in _NUMPY_SCALARS:
        return False
    # A long double differs between machines.
    return value.dtype.kind not in "fc" or value.dtype.itemsize <= (8 if value.dtype.kind == "f" else 16)


def is_tree(value: object) -> bool:
    """Whether this module takes a value's outermost type (what is inside may still be a leaf)."""
    cls = type(value)
    return (
        cls in _FROZEN_SCALARS
        or cls in _WRITERS
        or isinstance(value, enum.Enum)
        or is_record(cls)
        or is_numpy_scalar(value)
    )


class Survey:
    """One walk that says whether a value is immutable throughout, and what in it needs a codec of its own."""

    def __init__(self, value: object) -> None:
        self.frozen = True
        self.leaves: list[object] = []
        self._walk(value, "$", 0)

    def _walk(self, value: Any, path: str, depth: int) -> None:
        cls = type(value)
        if cls in _FROZEN_SCALARS or isinstance(value, enum.Enum):
            return
        check_depth(depth)
        if cls in (list, dict, set, bytearray, OrderedDict, Counter):
            self.frozen = False
        if isinstance(value, dict) and cls in _WRITERS:
            for key, item in value.items():
                self._walk(key, path, depth + 1)
                self._walk(item, path, depth + 1)
        elif cls in (list, tuple, set, frozenset):
            for item in value:
                self._walk(item, path, depth + 1)
        elif is_numpy_scalar(value) or cls is bytearray:
            return
        elif is_record(cls):
            self.frozen = self.frozen and is_frozen(cls)
            for item in (*fields_of(value).values(), *extras_of(value).values()):
                self._walk(item, path, depth + 1)
        else:
            self.leaves.append(value)


def check_depth(depth: int) -> None:
    """Refuse what is nested without an end.

    Raises:
        CodecError: it is nested more than 200 levels deep.
    """
    if depth > DEEPEST:
        raise CodecError(f"The value is nested more than {DEEPEST} levels deep, or contains itself.")


class Writer:
    """Turns a value into a JSON-able tree. `leaf` takes what needs a codec of its own and says its number."""

    def __init__(self, leaf: Leaf) -> None:
        self.leaf = leaf

    def write(self, value: Any, path: str = "$", depth: int = 0) -> Any:
        """The tree of a value at a path.

        Raises:
            CodecError: it is nested too deeply, or something in it has no stored form.
        """
        cls = type(value)
        if cls is str:
            return value if _is_clean(value) else {"$": "str", "v": _base64(value.encode("utf-8", "surrogatepass"))}
        if value is None or cls is bool:
            return value
        if cls is int:
            return value if -(2**63) <= value < 2**64 else {"$": "int", "v": hex(value)}
        if cls is float:
            return value if math.isfinite(value) else {"$": "float", "v": repr(value).lstrip("+")}
        check_depth(depth)
        write = _WRITERS.get(cls)
        if write is not None:
            return write(self, value, path, depth + 1)
        if isinstance(value, enum.Enum):
            return _write_enum(value)
        if is_numpy_scalar(value):
            return _write_numpy(value)
        if is_record(cls):
            return _write_record(self, value, path, depth + 1)
        return {"$": "leaf", "v": self.leaf(value, path)}

    def items(self, values: Any, path: str, depth: int) -> list[Any]:
        """The trees of a sequence's items."""
        return [self.write(item, f"{path}[{i}]", depth) for i, item in enumerate(values)]


def to_text(tree: Any) -> bytes:
    """A tree as JSON text."""
    return msgspec.json.encode(tree)


def _is_clean(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, as file names have
        return False
    return True


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def _write_dict(writer: Writer, value: dict[Any, Any], path: str, depth: int) -> Any:
    if all(type(key) is str and _is_clean(key) for key in value) and "$" not in value:
        return {key: writer.write(item, f"{path}.{key}", depth) for key, item in value.items()}
    return {"$": "dict", "v": _pairs(writer, value, path, depth)}


def _pairs(writer: Writer, value: dict[Any, Any], path: str, depth: int) -> list[Any]:
    return [
        [writer.write(key, path, depth), writer.write(item, f"{path}[{key!r}]", depth)] for key, item in value.items()
    ]


def _write_set(_: Writer, value: Any, path: str, depth: int) -> Any:
    # In an order of its own, so that the text doesn't depend on the hash seed.
    plain = Writer(_refuse_in_set)
    return {"$": type(value).__name__, "v": sorted((plain.write(item, path, depth) for item in value), key=to_text)}


def _refuse_in_set(value: object, path: str) -> int:
    kind = type(value).__qualname__
    raise CodecError(f"At {path}: a set of `{kind}` has no canonical order. Use a list in an order of your own.")


def _write_datetime(value: dt.datetime) -> Any:
    zone, tree = value.tzinfo, {"$": "datetime", "v": value.replace(tzinfo=None, fold=0).isoformat()}
    if value.fold:
        tree["f"] = "1"
    if zone is not None:
        tree["z"] = zone_text(zone)
    return tree


def zone_text(zone: dt.tzinfo) -> str:
    """A time zone's stored form: its key, or its offset in microseconds, with its name if it was given one.

    Raises:
        CodecError: it is neither a `zoneinfo.ZoneInfo` with a key nor a `datetime.timezone`.

    >>> zone_text(dt.timezone(dt.timedelta(hours=1)))
    '3600000000us'
    """
    if type(zone) is dt.timezone:
        offset = zone.utcoffset(None)
        text = f"{offset // dt.timedelta(microseconds=1)}us"
        name = zone.tzname(None)
        return text if name == dt.timezone(offset).tzname(None) else f"{text} {name}"
    key = getattr(zone, "key", None) if type(zone).__module__ == "zoneinfo" else None
    if not isinstance(key, str) or _OFFSET.fullmatch(key):
        raise CodecError(
            f"The time zone `{zone!r}` has no stored form. Use zoneinfo.ZoneInfo or datetime.timezone instead."
        )
    return key


def _write_time(value: dt.time) -> Any:
    tree = {"$": "time", "v": value.replace(tzinfo=None, fold=0).isoformat()}
    if value.fold:
        tree["f"] = "1"
    if value.tzinfo is not None:
        tree["z"] = zone_text(value.tzinfo)
    return tree


def _write_record(writer: Writer, value: Any, path: str, depth: int) -> Any:
    def write(items: dict[str, Any]) -> dict[str, Any]:
        return {name: writer.write(item, f"{path}.{name}", depth) for name, item in items.items()}

    tree = {"$": "record", "c": class_name(type(value)), "v": write(fields_of(value))}
    extras = extras_of(value)
    return {**tree, "x": write(extras)} if extras else tree


def _write_enum(value: enum.Enum) -> Any:
    name = value.name if value.name in type(value).__members__ else None
    if name is not None:
        return {"$": "enum", "c": class_name(type(value)), "v": name}
    if isinstance(value, enum.Flag):
        return {"$": "flag", "c": class_name(type(value)), "v": hex(value.value)}
    raise CodecError(f"`{value!r}` is not a member of its own class.")


def _write_numpy(value: Any) -> Any:
    dtype = value.dtype.newbyteorder("<")
    data = value.astype(dtype)
    if dtype.kind in "fc":
        from mainspring.artifacts.numpy import with_one_nan

        data = with_one_nan(data.reshape(1))
    return {"$": "numpy", "t": dtype.str, "v": _base64(data.tobytes())}


_WRITERS: dict[type, Callable[[Writer, Any, str, int], Any]] = {
    list: lambda w, v, p, d: w.items(v, p, d),
    tuple: lambda w, v, p, d: {"$": "tuple", "v": w.items(v, p, d)},
    dict: _write_dict,
    OrderedDict: lambda w, v, p, d: {"$": "ordered", "v": _pairs(w, v, p, d)},
    Counter: lambda w, v, p, d: {"$": "counter", "v": _pairs(w, v, p, d)},
    set: _write_set,
    frozenset: _write_set,
    bytes: lambda w, v, p, d: {"$": "bytes", "v": _base64(v)},
    bytearray: lambda w, v, p, d: {"$": "bytearray", "v": _base64(v)},
    complex: lambda w, v, p, d: {"$": "complex", "v": [w.write(v.real), w.write(v.imag)]},
    range: lambda w, v, p, d: {"$": "range", "v": [w.write(x) for x in (v.start, v.stop, v.step)]},
    dt.datetime: lambda w, v, p, d: _write_datetime(v),
    dt.date: lambda w, v, p, d: {"$": "date", "v": v.isoformat()},
    dt.time: lambda w, v, p, d: _write_time(v),
    dt.timedelta: lambda w, v, p, d: {"$": "timedelta", "v": [v.days, v.seconds, v.microseconds]},
    dt.timezone: lambda w, v, p, d: {"$": "timezone", "v": zone_text(v)},
    Decimal: lambda w, v, p, d: {"$": "decimal", "v": str(v)},
    UUID: lambda w, v, p, d: {"$": "uuid", "v": v.hex},
}


class Reader:
    """Turns a tree back into the value; `leaf` gives the value of a number."""

    def __init__(self, leaf: Callable[[int], Any]) -> None:
        self.leaf = leaf

    def read(self, tree: Any) -> Any:
        """The value of a tree.

        Raises:
            CodecError: the tree is not one that `Writer` makes, or names a class that isn't loaded.
        """
        if isinstance(tree, list):
            return [self.read(item) for item in tree]
        if not isinstance(tree, dict):
            return tree
        tag = tree.get("$")
        if tag is None:
            return {key: self.read(item) for key, item in tree.items()}
        read = _READERS.get(tag)
        if read is None:
            raise CodecError(f"The stored value has an unknown tag `{tag}`; a newer version may have written it.")
        try:
            return read(self, tree)
        except CodecError:
            raise
        except (TypeError, ValueError, KeyError, ArithmeticError, AttributeError) as error:
            raise CodecError(f"The stored `{tag}` can't be read: {error}.") from error

    def items(self, tree: dict[str, Any]) -> list[Any]:
        """The values of a tagged sequence."""
        return [self.read(item) for item in tree["v"]]

    def pairs(self, tree: dict[str, Any]) -> list[tuple[Any, Any]]:
        """The values of tagged pairs."""
        return [(self.read(key), self.read(item)) for key, item in tree["v"]]


def read_zone(text: str) -> dt.tzinfo:
    """The time zone of a stored form."""
    found = _OFFSET.fullmatch(text)
    if found is not None:
        offset = dt.timedelta(microseconds=int(found[1]))
        return dt.timezone(offset) if found[2] is None else dt.timezone(offset, found[2])
    from zoneinfo import ZoneInfo

    return ZoneInfo(text)


def _zoned(tree: dict[str, Any], value: Any) -> Any:
    zone = read_zone(tree["z"]) if "z" in tree else None
    return value.replace(tzinfo=zone, fold=int(tree.get("f", 0)))


def _read_numpy(tree: dict[str, Any]) -> Any:
    import numpy as np

    dtype = np.dtype(tree["t"])
    if dtype.kind not in _NUMPY_SCALARS:
        raise CodecError(f"A stored NumPy scalar has the type `{dtype}`, which is not read.")
    return np.frombuffer(b64decode(tree["v"]), dtype)[0] if dtype.itemsize else dtype.type()


def _read_record(reader: Reader, tree: dict[str, Any]) -> Any:
    cls = find_class(tree["c"])
    if not is_record(cls):
        raise CodecError(f"`{tree['c']}` is not a record (any more), so it isn't loaded.")
    fields, extras = ({name: reader.read(item) for name, item in tree.get(part, {}).items()} for part in "vx")
    return build_record(cls, fields, extras)


def _read_enum(tree: dict[str, Any]) -> Any:
    cls = find_class(tree["c"])
    if not issubclass(cls, enum.Enum):
        raise CodecError(f"`{tree['c']}` is not an Enum (any more), so it isn't loaded.")
    if tree["$"] == "flag":
        return cls(int(tree["v"], 16))
    return cls[tree["v"]]


_READERS: dict[str, Callable[[Reader, dict[str, Any]], Any]] = {
    "str": lambda r, t: b64decode(t["v"]).decode("utf-8", "surrogatepass"),
    "int": lambda r, t: int(t["v"], 16),
    "float": lambda r, t: float(t["v"]),
    "tuple": lambda r, t: tuple(r.items(t)),
    "dict": lambda r, t: dict(r.pairs(t)),
    "ordered": lambda r, t: OrderedDict(r.pairs(t)),
    "counter": lambda r, t: Counter(dict(r.pairs(t))),
    "set": lambda r, t: set(r.items(t)),
    "frozenset": lambda r, t: frozenset(r.items(t)),
    "bytes": lambda r, t: b64decode(t["v"]),
    "bytearray": lambda r, t: bytearray(b64decode(t["v"])),
    "complex": lambda r, t: complex(*r.items(t)),
    "range": lambda r, t: range(*r.items(t)),
    "datetime": lambda r, t: _zoned(t, dt.datetime.fromisoformat(t["v"])),
    "date": lambda r, t: dt.date.fromisoformat(t["v"]),
    "time": lambda r, t: _zoned(t, dt.time.fromisoformat(t["v"])),
    "timedelta": lambda r, t: dt.timedelta(*t["v"]),
    "timezone": lambda r, t: read_zone(t["v"]),
    "decimal": lambda r, t: Decimal(t["v"]),
    "uuid": lambda r, t: UUID(t["v"]),
    "numpy": lambda r, t: _read_numpy(t),
    "enum": lambda r, t: _read_enum(t),
    "flag": lambda r, t: _read_enum(t),
    "record": _read_record,
    "leaf": lambda r, t: r.leaf(t["v"]),
}

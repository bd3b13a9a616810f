"""Keys of entities as bytes: the same entity is the same bytes, whatever type of column or JSON it came in.

A text is its UTF-8, a whole number 16 bytes (17 beyond 127 bits), a UUID its 16 bytes; each has its length before it if several
make a key, so that no two keys are one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mainspring.errors import InvalidError, WrongTypeError, counted
from mainspring.features.definitions.entity import Key, KeyType
from mainspring.features.history.uuids import uuid_bytes

if TYPE_CHECKING:
    import polars as pl

_INT_BYTES, _INT_BITS = 16, 128
_LENGTH_BYTES = 4
_REFUSED = (TypeError, ValueError, AttributeError, OverflowError)  # by what encodes a value


def entity_bytes(keys: Sequence[Key], values: Mapping[str, Any]) -> bytes:
    r"""One entity's key. `values` holds a value for each key, more are left alone.

    Raises:
        InvalidError: a key is missing or null.
        WrongTypeError: a value is of another type than its key.

    >>> entity_bytes((Key("carrier", "str"),), {"carrier": "UA"})
    b'UA'
    >>> entity_bytes((Key("carrier", "str"), Key("number", "int")), {"carrier": "UA", "number": 7})[:8]
    b'\x02\x00\x00\x00UA\x10\x00'
    """
    found = [_one(key, values.get(key.name)) for key in keys]
    return found[0] if len(found) == 1 else b"".join(map(_measured, found))


def entity_encoder(keys: Sequence[Key]) -> Callable[[Mapping[str, Any]], bytes]:
    """`entity_bytes` of these keys, made once and called for every entity."""
    if len(keys) > 1:
        return partial(entity_bytes, keys)
    name, encode = keys[0].name, _ENCODERS[keys[0].type]

    def one(values: Mapping[str, Any]) -> bytes:
        try:
            return encode(values[name])
        except (LookupError, *_REFUSED):
            return entity_bytes(keys, values)  # says what is wrong

    return one


def entities_bytes(keys: Sequence[Key], frame: pl.DataFrame) -> list[bytes]:
    """The key of each row of a frame, in its order; raises as `entity_bytes`, with the column."""
    columns = [_column(key, frame.get_column(key.name)) for key in keys]
    if len(columns) == 1:
        return columns[0]
    return [b"".join(map(_measured, row)) for row in zip(*columns, strict=True)]


def _column(key: Key, column: pl.Series) -> list[bytes]:
    if column.null_count():
        raise InvalidError(key.name, counted(column.null_count(), "null"), "a key in every row", "Drop these rows.")
    if key.type == "str" and column.dtype.to_python() is str:
        import polars as pl

        texts: list[bytes] = column.cast(pl.String).cast(pl.Binary).to_list()  # Polars' texts are UTF-8
        return texts
    encode = _ENCODERS[key.type]
    values: Iterable[Any] = column.cast(str) if column.dtype.to_python() is str else column
    try:
        if key.type == "int" and not column.dtype.is_integer():
            raise TypeError
        return [encode(value) for value in values]
    except _REFUSED as error:
        if key.type == "int" or column.dtype.to_python() not in (str, bytes, object):
            raise WrongTypeError(key.name, column.dtype, f"a column of keys of type {key.type}") from error
        for value in values:
            _one(key, value)  # raises with the one that is wrong
        raise


def _one(key: Key, value: Any) -> bytes:
    if value is None:
        raise InvalidError(key.name, "null", f"a key of type {key.type}")
    try:
        return _ENCODERS[key.type](value)
    except _REFUSED as error:
        raise WrongTypeError(key.name, value, f"a key of type {key.type}") from error


def _text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError
    return value.encode()


def _whole(value: Any) -> bytes:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    if value >> _INT_BITS - 1 == 1:
        return value.to_bytes(_INT_BYTES + 1, "little")  # of 128 bits without a sign
    return value.to_bytes(_INT_BYTES, "little", signed=True)


def _raw(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError
    return bytes(value)


def _measured(value: bytes) -> bytes:
    return len(value).to_bytes(_LENGTH_BYTES, "little") + value


_ENCODERS: dict[KeyType, Callable[[Any], bytes]] = {"str": _text, "int": _whole, "bytes": _raw, "uuid": uuid_bytes}

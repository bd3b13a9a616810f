"""What a model's own process is asked and answers: frames of MessagePack, in which columns keep their kinds.

Numbers of NumPy are their bytes; values that MessagePack has no form for are texts beside the name of their type.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import numpy as np

from mainspring.errors import WrongTypeError
from mainspring.models.signature import Columns

Frame = TypeVar("Frame")
_LENGTH_BYTES = 8
_MOST_READ_BYTES = 1 << 20
_MICROSECOND = timedelta(microseconds=1)
_NATIVE = frozenset({float, int, str, bool, bytes, type(None)})
_WIDEST = 1 << 64
_FLOATS, _LIST, _STRUCT = "floats", "list", "struct"


class Order(msgspec.Struct, frozen=True):
    """What a process answers for: a model version by its id on a runtime, in a project with these settings and folders."""

    root: str
    settings: dict[str, Any]
    folders: tuple[str, ...]
    version: str
    runtime: str


class Numbers(msgspec.Struct, frozen=True):
    """A column that is an array of NumPy."""

    dtype: str
    data: bytes


class Texts(msgspec.Struct, frozen=True):
    """A column with values of other kinds: for each None, or the name of its type and a text."""

    values: list[tuple[str, str] | None]


class Asked(msgspec.Struct, frozen=True):
    """Rows to be answered. With a `stream` the answer comes in parts, each asked for by that number; `ends` wants no more."""

    columns: dict[str, Numbers | list[Any]] = {}
    other: dict[str, Texts] = {}
    rows: int = 0
    stream: int = 0
    ends: bool = False


class Told(msgspec.Struct, frozen=True):
    """What a process says: the answers to rows or a part of one, or the type, text and place of what was raised.

    `where` is at what the model raised it, before it was asked anything; empty if it is no failure of the model.
    """

    answers: Any = None
    has_more: bool = False
    error: str = ""
    message: str = ""
    trace: str = ""
    where: str = ""


_KINDS: Mapping[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "timedelta": (timedelta, lambda value: str(value // _MICROSECOND), lambda text: int(text) * _MICROSECOND),
    "decimal": (Decimal, str, Decimal),
    "uuid": (UUID, str, UUID),
    "bool": (bool, str, lambda text: text == "True"),
    "int": (int, str, int),
    "float": (float, float.hex, float.fromhex),
    "str": (str, str, str),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
}
encode = msgspec.msgpack.Encoder().encode
_decoders: Mapping[type, Callable[[bytes], Any]] = {
    kind: msgspec.msgpack.Decoder(kind).decode for kind in (Order, Asked, Told)
}


def asked(columns: Columns, rows: int, names: tuple[str, ...], *, stream: int = 0) -> Asked:
    """Rows as they are sent, of these columns."""
    plain: dict[str, Numbers | list[Any]] = {}
    other: dict[str, Texts] = {}
    for name in names:
        values: Any = columns[name]
        if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
            plain[name] = Numbers(values.dtype.str, np.ascontiguousarray(values).tobytes())
            continue
        values = values.tolist() if hasattr(values, "tolist") else list(values)
        if {*map(type, values)} <= _NATIVE and not any(type(each) is int and not _fits(each) for each in values):
            plain[name] = values
        else:
            other[name] = Texts([None if value is None else _text(name, value) for value in values])
    return Asked(plain, other, rows, stream)


def columns_of(given: Asked) -> Columns:
    """The columns that were sent."""
    found: Columns = {}
    for name, values in given.columns.items():
        column: Any = np.frombuffer(values.data, values.dtype).copy() if isinstance(values, Numbers) else values
        found[name] = column
    for name, texts in given.other.items():
        found[name] = [*map(_value, texts.values)]
    return found


def _value(text: Sequence[str] | None) -> Any:
    """The value that was sent as the name of its type and a text."""
    if text is None:
        return None
    kind, told = text
    if kind == _FLOATS:
        return msgspec.json.decode(told)
    if kind == _LIST:
        return [*map(_value, msgspec.json.decode(told))]
    if kind == _STRUCT:
        return {name: _value(each) for name, each in msgspec.json.decode(told).items()}
    return _KINDS[kind][2](told)


def send(line: socket.socket, frame: Order | Asked | Told) -> None:
    """Send one frame; raises `OSError` if nobody is there."""
    send_encoded(line, encode(frame))


def send_encoded(line: socket.socket, data: bytes) -> None:
    """Send one frame as it was encoded; raises `OSError` if nobody is there."""
    line.sendall(len(data).to_bytes(_LENGTH_BYTES, "little"))
    line.sendall(data)


def receive(line: socket.socket, kind: type[Frame]) -> Frame:
    """The next frame; raises `EOFError` or `OSError` if nobody is there."""
    size = int.from_bytes(_exactly(line, _LENGTH_BYTES), "little")
    found: Frame = _decoders[kind](_exactly(line, size))
    return found


def _exactly(line: socket.socket, size: int) -> bytes:
    chunks: list[bytes] = []
    while size:
        chunk = line.recv(min(size, _MOST_READ_BYTES))
        if not chunk:
            raise EOFError("the other side is gone")
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def _fits(value: int) -> bool:
    return -(_WIDEST >> 1) <= value < _WIDEST


def _text(name: str, value: Any) -> tuple[str, str]:
    for kind, (of, to_text, _) in _KINDS.items():
        if type(value) is of or (isinstance(value, of) and of not in (int, float, str, bytes)):
            return kind, to_text(value)
    if isinstance(value, list | tuple) and {*map(type, value)} == {float} and math.isfinite(sum(value)):
        return _FLOATS, msgspec.json.encode(value).decode()  # an embedding
    if isinstance(value, list | tuple):
        return _LIST, msgspec.json.encode([None if each is None else _text(name, each) for each in value]).decode()
    if isinstance(value, dict):
        parts = {str(key): None if each is None else _text(name, each) for key, each in value.items()}
        return _STRUCT, msgspec.json.encode(parts).decode()
    raise WrongTypeError(
        name, value, "a value that a process can be sent: a number, text, time, bytes, UUID, list or dict"
    )

"""MLflow's JSON, which is that of its protobuf messages: routes, requests as typed records, and errors by their codes.

Numbers of 64 bits come as numbers or texts, what is no finite number as the texts NaN, Infinity and -Infinity. A field that
a message does not have is passed over, as a newer client may send it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

from mainspring.errors import (
    ConflictError,
    ExistsError,
    InvalidError,
    MainspringError,
    NotAllowedError,
    NotFoundError,
    NotServedError,
    StorageError,
    UnsupportedError,
    WrongTypeError,
)

if TYPE_CHECKING:
    from mainspring.server.mlflow.records import Records

Told = dict[str, Any]
_STATUS = {
    "RESOURCE_DOES_NOT_EXIST": 404, "ENDPOINT_NOT_FOUND": 404, "RESOURCE_ALREADY_EXISTS": 400,
    "INVALID_PARAMETER_VALUE": 400, "PERMISSION_DENIED": 403, "UNAUTHENTICATED": 401, "TEMPORARILY_UNAVAILABLE": 503,
    "RESOURCE_EXHAUSTED": 429, "NOT_IMPLEMENTED": 501, "INTERNAL_ERROR": 500,
}  # fmt: skip


_CODES: tuple[tuple[type[MainspringError], str], ...] = (
    (NotServedError, "ENDPOINT_NOT_FOUND"),
    (UnsupportedError, "NOT_IMPLEMENTED"),
    (NotFoundError, "RESOURCE_DOES_NOT_EXIST"),
    (ExistsError, "RESOURCE_ALREADY_EXISTS"),
    (InvalidError, "INVALID_PARAMETER_VALUE"),
    (WrongTypeError, "INVALID_PARAMETER_VALUE"),
    (ConflictError, "INVALID_PARAMETER_VALUE"),  # MLflow's code for a parameter that has another value
    (NotAllowedError, "PERMISSION_DENIED"),
    (StorageError, "TEMPORARILY_UNAVAILABLE"),
)


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """A request of no fields."""


class Pair(msgspec.Struct, frozen=True):
    """A tag, or a parameter."""

    key: str
    value: str = ""


class Route(msgspec.Struct, frozen=True):
    """An endpoint: what it is asked in, and what answers; `{name}` in the path is a field of what it is asked in."""

    method: str
    path: str
    asks: type[msgspec.Struct]
    act: Callable[[Records, Any], Told]
    version: str = "2.0"


def read(asks: type[Any], path: Mapping[str, str], query: bytes, body: bytes) -> Any:
    """What a request asks, from its path, its query and its body.

    Raises:
        InvalidError: it is no JSON object, lacks a field, or has one of another type.
    """
    given: dict[str, Any] = {}
    many = {field.encode_name for field in msgspec.structs.fields(asks) if field.default == ()}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="utf-8"):
        given[name] = [*given.get(name, ()), value] if name in many else value
    if body:
        try:
            told = msgspec.json.decode(body)
        except RecursionError as error:
            raise InvalidError("body", "arrays in arrays, too deep", "JSON that is nested less") from error
        except ValueError:
            told = _lenient(body)
        if not isinstance(told, dict):
            raise InvalidError("body", type(told).__name__, "a JSON object")
        given |= {name: value for name, value in told.items() if value is not None}
    try:
        return msgspec.convert({**given, **path}, asks, strict=False)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$.")
        raise InvalidError(place.rstrip("`") or "request", message, "what this endpoint takes") from error


def _lenient(body: bytes) -> Any:
    """JSON with bare NaN and Infinity, as Python's own writer has them."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidError("body", str(error), "JSON") from error


def refusal(error: MainspringError) -> tuple[str, int]:
    """MLflow's code and the HTTP status for an error of ours.

    >>> refusal(NotFoundError("run", "x"))
    ('RESOURCE_DOES_NOT_EXIST', 404)
    """
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "INTERNAL_ERROR")
    return code, _STATUS[code]


def number(value: float) -> float | str:
    """A double as protobuf's JSON has it.

    >>> number(1.5), number(float("-inf"))
    (1.5, '-Infinity')
    """
    if math.isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def pairs(values: Mapping[str, str]) -> list[Told]:
    """Tags or parameters, by key."""
    return [{"key": key, "value": value} for key, value in sorted(values.items())]


def mapped(given: tuple[Pair, ...]) -> dict[str, str]:
    """What pairs say; the last one of a key counts."""
    return {each.key: each.value for each in given}


def ms(at_us: int) -> int:
    """An instant in milliseconds."""
    return at_us // 1000


def paged(name: str, items: list[Told], cursor: str | None) -> Told:
    """A page of an answer."""
    return {name: items} | ({"next_page_token": cursor} if cursor else {})

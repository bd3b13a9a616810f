"""Entities: what features are about, and the keys by which one of them is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, cast, get_args
from uuid import UUID

import msgspec

from mainspring.errors import InvalidError, WrongTypeError, close_names
from mainspring.features.definitions.names import expect_name

KeyType = Literal["int", "str", "bytes", "uuid"]
_TYPES: dict[type, KeyType] = {int: "int", str: "str", bytes: "bytes", UUID: "uuid"}
Keys = str | Sequence[str] | Mapping[str, KeyType | type]


class Key(msgspec.Struct, frozen=True):
    """One column of an entity's key."""

    name: str
    type: KeyType


class Entity:
    """What features are about, e.g. a carrier, named by one key or by several together.

    `keys` is the column of the key (the entity's name if not given; text), several columns, or columns with their types:
    `int`, `str`, `bytes` or `uuid`, or the Python types.

    Raises:
        InvalidError: a name or a type can't be one.
        WrongTypeError: the keys are no names of columns.

    >>> Entity("carrier").keys
    (Key(name='carrier', type='str'),)
    >>> Entity("flight", {"carrier": str, "number": "int"}).keys[1]
    Key(name='number', type='int')
    """

    __slots__ = ("description", "keys", "name", "owner")

    def __init__(self, name: str, keys: Keys | None = None, *, description: str = "", owner: str = "") -> None:
        self.name = expect_name("entity", name)
        self.keys = _keys(name if keys is None else keys)
        self.description, self.owner = description, owner

    def __repr__(self) -> str:
        keys = ", ".join(f"{key.name}: {key.type}" for key in self.keys)
        return f"<entity {self.name} ({keys})>"


def _keys(given: Keys) -> tuple[Key, ...]:
    told: object = given  # whatever its type says
    if not isinstance(told, str | Mapping | Sequence) or not all(isinstance(each, str) for each in told):
        raise WrongTypeError("keys", given, "a column, several, or columns with their types", 'E.g. {"user": int}.')
    names = [given] if isinstance(given, str) else list(given)
    if not names or len(set(names)) < len(names):
        raise InvalidError("keys", names, "one column, or several different ones")
    types = dict(given) if isinstance(given, Mapping) else {}
    return tuple(Key(expect_name("key", name), _type(name, types.get(name, "str"))) for name in names)


def _type(name: str, given: KeyType | type) -> KeyType:
    found = _TYPES.get(given) if isinstance(given, type) else given
    if found in get_args(KeyType):
        return cast("KeyType", found)
    near = close_names(str(given), get_args(KeyType))
    hint = f"Nearest: {near[0]}." if near else ""
    raise InvalidError(f"keys.{name}", given, f"one of {', '.join(get_args(KeyType))}", hint)

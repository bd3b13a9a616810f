"""Refusing the values of secrets where they would be recorded, and a reference or nothing belongs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mainspring.errors import SecretError
from mainspring.secrets.known import SHORTEST_INSIDE, resolved_values, secret_values
from mainspring.secrets.names import names_secret
from mainspring.secrets.redaction import whole_number
from mainspring.secrets.reference import is_reference
from mainspring.secrets.shapes import SURE_SHAPES, has_shape


def refuse_value(place: str, name: str, value: object) -> None:
    """Refuse a secret's value in a place that is recorded, where a reference to it belongs.

    Raises:
        SecretError: the name says that the value is a secret, or it holds one: by its shape, such as a URL with a
            password, or because it was resolved or is in the environment.
    """
    if isinstance(value, str | dict | list | tuple) or _record_fields(value):
        _refuse(place, name, value, set())


def refuse_output(place: str, value: object) -> None:
    """Refuse a result that is, or holds, the value of a secret that was resolved in this process: it would be stored.

    Containers and records are walked; of other values, such as tables, what their `repr` shows is looked at. Where no
    secret was resolved it costs nothing.

    Raises:
        SecretError: place and reference are named, never the value.
    """
    if resolved_values() and (reference := _held(value, set())) is not None:
        raise SecretError(
            f"{place}: it holds the value of `{reference}`, which would be stored. Return what was made with the secret,"
            " and pass on the ms.Secret instead of its value."
        )


def refuse_name(place: str, name: str) -> None:
    """Refuse the name of something that is recorded if it holds the value of a secret that was resolved in this process.

    Raises:
        SecretError: place and reference are named, never the value.
    """
    if resolved_values() and (reference := _held_in_text(name)) is not None:
        raise SecretError(f"{place}: it holds the value of `{reference}`, which would be recorded. Name it without.")


def _held(value: object, met: set[int]) -> str | None:
    """The reference of the first secret that a value holds."""
    if value is None or isinstance(value, bool | int | float):
        return None
    if isinstance(value, str):
        return _held_in_text(value)
    if isinstance(value, bytes | bytearray):
        return _held_in_text(value.decode("utf-8", "replace"))
    if id(value) in met:
        return None
    met.add(id(value))
    inner = _parts(value)
    if inner is None:
        return _held_in_text(_shown(value))
    return next((found for item in inner if (found := _held(item, met)) is not None), None)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  # a class of somebody else may do anything
        return ""


def _parts(value: object) -> list[object] | None:
    """What a container or record holds; None for what is neither."""
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    fields = _record_fields(value)
    return [getattr(value, name, None) for name in fields] if fields else None


def _record_fields(value: object) -> Iterable[str]:
    """The names of the fields of a Struct, dataclass or named tuple; none for all else."""
    kind = type(value)
    found: Iterable[str] = getattr(kind, "__struct_fields__", ()) or getattr(kind, "__dataclass_fields__", ())
    return found or (getattr(kind, "_fields", ()) if isinstance(value, tuple) else ())


def _held_in_text(text: str) -> str | None:
    return next((reference for secret, reference in resolved_values().items() if _holds(text, secret)), None)


def _holds(text: str, secret: str) -> bool:
    return text == secret or (len(secret) >= SHORTEST_INSIDE and secret in text)


def _without(reference: str) -> str:
    """How to go on if what a reference leads to is no secret."""
    kind, _, name = reference.partition("/")
    return f", or start without the variable if it is no secret: `env -u {name} …`" if kind == "secret:env" else ""


def _refuse(place: str, name: str, value: object, met: set[int]) -> None:
    fields = _record_fields(value)
    if fields and id(value) not in met:
        met.add(id(value))  # records may lead back to themselves
        for field in fields:
            _refuse(place, field, getattr(value, field, None), met)
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse(place, str(key), item, met)
    elif isinstance(value, list | tuple) and not fields:
        for item in value:
            _refuse(place, name, item, met)
    elif isinstance(value, str) and value and not is_reference(value):
        _refuse_text(place, name, value)


def _refuse_text(place: str, name: str, value: str) -> None:
    if names_secret(name):
        raise SecretError(
            f"{place}: `{name}` is a secret by its name, and its value would be recorded. Give a reference,"
            " secret:env/NAME or secret:file/PATH (or give it another name, if it is none)."
        )
    for secret, reference in secret_values():
        if _holds(value, secret) and (not secret.isdigit() or re.search(whole_number(secret), value)):
            raise SecretError(
                f"{place}: `{name}` holds the value of `{reference}`, which would be recorded. Pass ms.Secret(…)"
                f"{_without(reference)}."
            )
    if has_shape(value, SURE_SHAPES):
        raise SecretError(
            f"{place}: `{name}` holds what has the shape of a secret, such as a key, a token or a URL with a password,"
            " which would be recorded. Pass ms.Secret(…), reveal it inside the step, and keep the rest apart from it"
            " (if it is none, let a step read or make it)."
        )

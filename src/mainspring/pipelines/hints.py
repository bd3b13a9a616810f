"""Type hints as a check of parameters, from Python and from text on a command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

from mainspring.errors import WrongTypeError
from mainspring.secrets import Secret

_PLAIN = (bool, int, float, str, type(None))
_EVIDENT = (bool, int, float, str, bytes, list, tuple, dict, set, frozenset)
_CONTAINERS = (list, dict, tuple, set, frozenset)


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The hints of a function, resolved; one that can't be resolved is left out."""
    namespace = getattr(sys.modules.get(function.__module__), "__dict__", {}) | function.__globals__
    hints = {}
    for name, hint in function.__annotations__.items():
        try:
            hints[name] = eval(hint, namespace) if isinstance(hint, str) else hint  # noqa: S307  # the user's own source
        except (NameError, AttributeError, TypeError):
            continue
    return hints


def checked_value(path: str, value: Any, hint: Any, *, strict: bool) -> Any:
    """A value that fits its hint; with `strict=False`, text is read as the hint says (`"3"` as 3).

    A hint that is no plain type, container or record of them isn't checked here: the step itself will see.

    Raises:
        WrongTypeError: it doesn't fit; path, value and hint are named.

    >>> checked_value("parameter `n`", "3", int, strict=False)
    3
    """
    if hint is None or hint is Any or isinstance(value, Secret):
        return value
    if hint is Secret:
        return Secret(value)
    if not _is_checkable(hint):
        return value
    if not strict and isinstance(value, str) and not _takes_text(hint):
        value = _parsed(value)
    try:
        return msgspec.convert(value, hint, strict=strict)
    except msgspec.ValidationError as error:
        raise WrongTypeError(path, value, shown(hint), _where(str(error))) from None


def shown(hint: Any) -> str:
    """A hint as people write it.

    >>> shown(int), shown(list[str]), shown(int | None)
    ('int', 'list[str]', 'int | None')
    """
    return hint.__qualname__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("NoneType", "None")


def check_arguments(step: str, function: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """Hold what a step receives against its hints, by kind: what is in a container is the step's own concern.

    Raises:
        WrongTypeError: a value is plainly of another type; step, parameter, value and hint are named.
    """
    hints = hints_of(function) if hasattr(function, "__code__") else {}
    for name, value in arguments.items():
        if name in hints and not _fits(value, hints[name]):
            raise WrongTypeError(f"Step `{step}`, parameter `{name}`", value, shown(hints[name]))


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value may be what a hint says; only what is plainly wrong is not."""
    if hint is None or hint is type(None):
        return value is None
    arguments, origin = get_args(hint), get_origin(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, argument) for argument in arguments)
    kind = origin or hint
    if not isinstance(kind, type) or (kind not in _EVIDENT and type(value) not in _EVIDENT):
        return True
    if kind is float:
        return hasattr(value, "__float__")
    if kind is int:
        return hasattr(value, "__index__")
    try:
        return isinstance(value, (list, tuple) if kind in (list, tuple) else kind)
    except TypeError:  # a protocol or a typed dict
        return True


def accepts(hint: Any, kind: type) -> bool:
    """Whether a hint names a type: alone, in a union or inside a container."""
    return hint is kind or any(accepts(argument, kind) for argument in get_args(hint))


def _is_checkable(hint: Any) -> bool:
    if isinstance(hint, type) and not get_args(hint):
        if hint in _PLAIN or hint in _CONTAINERS:
            return True
        import datetime
        import decimal
        import enum
        import uuid

        simple = (
            enum.Enum,
            msgspec.Struct,
            datetime.date,
            datetime.time,
            datetime.timedelta,
            decimal.Decimal,
            uuid.UUID,
        )
        return issubclass(hint, simple)
    origin = get_origin(hint)
    if origin is None:
        return hint is type(None)
    if str(origin) == "typing.Literal":
        return True
    return all(argument is ... or argument is None or _is_checkable(argument) for argument in get_args(hint))


def _takes_text(hint: Any) -> bool:
    return hint is str or str in get_args(hint)


def _parsed(text: str) -> Any:
    """Text that is JSON as its value, other text as it is: `--months [1,2]`, `--name abc`."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {"True": True, "False": False, "None": None}.get(text, text)


def _where(message: str) -> str:
    """Where in a nested value the trouble is, as msgspec says it."""
    _, at, path = message.partition(" - at `$")
    return f"The trouble is at `{path.rstrip('`')}`." if at and path.rstrip("`") else ""

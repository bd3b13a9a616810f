"""Type hints as a check of parameters, from Python and from text on a command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

from mainspring.errors import InvalidError, MainspringError, SecretError, WrongTypeError, article
from mainspring.secrets import Secret, is_reference

_PLAIN = (bool, int, float, str, type(None))
_EVIDENT = (bool, int, float, str, bytes, list, tuple, dict, set, frozenset)
_CONTAINERS = (list, dict, tuple, set, frozenset)
_NOTHING = ("None", "null", "")
_MOMENTS = {
    "date": ("a date", "YYYY-MM-DD"),
    "datetime": ("a time", "YYYY-MM-DDTHH:MM:SS, with a zone such as Z if it has one"),
    "time": ("a time of day", "HH:MM:SS"),
    "timedelta": ("a span of time", "ISO 8601, such as PT90S or P1D"),
}


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

    Text for a list is JSON or its only item; a list of texts, which a repeated option gives, is read item by item.
    A hint that is no plain type, container or record of them isn't checked here: the step itself will see.

    Raises:
        WrongTypeError: it doesn't fit; path, value and hint are named.
        InvalidError: it is none of the values that the hint lists, no date, or text that can't be read so.
        SecretError: a secret was given, where a reference to it belongs; it is not shown.

    >>> checked_value("parameter `n`", "3", int, strict=False)
    3
    >>> checked_value("parameter `tags`", "new", list[str], strict=False)
    ['new']
    """
    if hint is None or hint is Any or isinstance(value, Secret):
        return value
    if accepts(hint, Secret):
        return _secret(path, value, hint)
    if not _is_checkable(hint):
        return value
    given = value
    if not strict and isinstance(value, str | list):
        value = _read(value, hint)
    try:
        return msgspec.convert(value, hint, strict=strict)
    except msgspec.ValidationError as error:
        raise _misfit(path, given, hint, _where(str(error)), strict=strict) from None


def shown(hint: Any) -> str:
    """A hint as people write it.

    >>> shown(int), shown(list[str]), shown(int | None)
    ('int', 'list[str]', 'int | None')
    """
    if isinstance(hint, type) and not get_args(hint):
        return hint.__qualname__
    return str(hint).replace("NoneType", "None").replace("typing.", "")


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


def _secret(path: str, value: Any, hint: Any) -> Any:
    """Text as the secret that it refers to, also in a list; never the text itself in an error."""
    if isinstance(value, list | tuple) and hint is not Secret:
        return [_secret(path, item, hint) for item in value]
    if not isinstance(value, str) or accepts(hint, str):
        return value
    if not is_reference(value):
        raise SecretError(
            f"{path}: a secret is given as a reference, secret:env/NAME or secret:file/PATH, not as its value"
            " (which is not shown here, nor kept)."
        )
    return Secret(value)


def _read(value: Any, hint: Any) -> Any:
    """What text, or each of several, means where a hint stands, as far as it differs from what it is."""
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return _read_one_of(value, arguments)
    if isinstance(value, list):
        return [_read(item, arguments[0] if arguments else Any) for item in value] if _is_series(kind) else value
    if kind is str or not isinstance(value, str):
        return value
    if (members := _members(hint)) is not None:
        return members.get(value, _parsed(value))
    found = _parsed(value)
    if _is_series(kind) and not isinstance(found, list):
        return [_read(value, arguments[0] if arguments else Any)]
    return found


def _read_one_of(value: Any, hints: tuple[Any, ...]) -> Any:
    others = [hint for hint in hints if hint is not type(None)]
    if isinstance(value, str):
        if str in others:
            return value
        if len(others) < len(hints) and value in _NOTHING:
            return None
    return _read(value, others[0]) if len(others) == 1 else _parsed(value) if isinstance(value, str) else value


def _is_series(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, list | tuple | set | frozenset)


def _members(hint: Any) -> dict[str, Any] | None:
    """The values that a hint lists, by the text for each; None if it lists none."""
    if str(get_origin(hint)) == "typing.Literal":
        return {str(value): value for value in get_args(hint)}
    if not isinstance(hint, type) or get_args(hint):
        return None
    import enum

    if not issubclass(hint, enum.Enum):
        return None
    return {name: member.value for name, member in hint.__members__.items()} | {
        str(member.value): member.value for member in hint
    }


def _misfit(path: str, given: Any, hint: Any, where: str, *, strict: bool) -> MainspringError:
    """What is said of a value that doesn't fit."""
    members = _members(hint)
    if members is not None:
        listed = list(dict.fromkeys(str(value) for value in members.values()))
        return InvalidError(path, given, f"one of {', '.join(listed)}", where)
    if isinstance(given, str):
        for kind, (name, form) in _MOMENTS.items():
            if getattr(hint, "__qualname__", "") == kind and getattr(hint, "__module__", "") == "datetime":
                return InvalidError(path, given, f"{name} ({form})", where)
    if isinstance(given, str) and not strict:  # every option is text, so its type says nothing
        return InvalidError(
            path, given, article(shown(hint)) if isinstance(hint, type) else f"one of {shown(hint)}", where
        )
    return WrongTypeError(path, given, shown(hint), where)


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

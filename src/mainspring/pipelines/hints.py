"""Type hints of steps and pipelines: resolved, shown, and as a check by kind of what a step receives."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, ForwardRef, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from mainspring.errors import WrongTypeError

_EVIDENT = (bool, int, float, str, bytes, list, tuple, dict, set, frozenset)


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The hints of a function, resolved; one that can't be is as it is written, text or with a `ForwardRef` in it."""
    namespace = getattr(sys.modules.get(function.__module__), "__dict__", {}) | function.__globals__
    return resolved_hints(function.__annotations__, namespace)


def resolved_hints(hints: dict[str, Any], namespace: dict[str, Any]) -> dict[str, Any]:
    """Hints with the names in them looked up, each by itself, so that an unknown name costs no other hint.

    >>> resolved_hints({"a": "list[int]", "b": "Frame"}, {})
    {'a': list[int], 'b': 'Frame'}
    """
    resolved = {}
    for name, hint in hints.items():
        if isinstance(hint, type) and not get_args(hint):
            resolved[name] = hint
            continue
        try:
            resolved[name] = get_type_hints(_Annotated({name: hint}), namespace, include_extras=True)[name]
        except (NameError, AttributeError, TypeError, SyntaxError):
            resolved[name] = hint
    return resolved


class _Annotated:
    """What `get_type_hints` takes: something with annotations."""

    def __init__(self, annotations: dict[str, Any]) -> None:
        self.__annotations__ = annotations


def plain(hint: Any) -> Any:
    """The hint that a name stands for: of a `NewType`, a type alias, or a type variable with a bound or constraints.

    >>> from typing import NewType
    >>> plain(NewType("UserId", int))
    <class 'int'>
    """
    while True:
        if isinstance(hint, TypeVar):
            allowed = hint.__constraints__ or (hint.__bound__ or Any,)
            hint = Union[allowed]  # noqa: UP007  # a tuple of hints
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":  # of Python 3.12
            hint = hint.__value__
        else:
            return hint


def kind_of(hint: Any) -> Any:
    """The class of a hint, without the arguments in brackets."""
    return get_origin(hint) or hint


def members_of(hint: Any) -> dict[str, Any] | None:
    """The values that a hint lists, by the text for each; None if it lists none.

    >>> members_of(Literal["a", 1]), members_of(int)
    ({'a': 'a', '1': 1}, None)
    """
    if get_origin(hint) is Literal:
        return {str(getattr(value, "value", value)): value for value in get_args(hint)}
    if not isinstance(hint, type) or get_args(hint):
        return None
    import enum

    if not issubclass(hint, enum.Enum):
        return None
    return dict(hint.__members__) | {str(member.value): member for member in hint}


def choices(hint: Any) -> list[str]:
    """What a hint lists, or itself, as people write it; of a union that of each part.

    >>> choices(Literal["a", "b"] | int)
    ['a', 'b', 'int']
    """
    hint = plain(hint)
    if get_origin(hint) in (Union, UnionType):
        return list(dict.fromkeys(choice for part in get_args(hint) for choice in choices(part)))
    members = members_of(hint)
    if members is None:
        return [shown(hint)]
    return list(dict.fromkeys(str(getattr(member, "value", member)) for member in members.values()))


def is_unresolved(hint: Any) -> bool:
    """Whether a hint is a name that nobody knows at run time."""
    return isinstance(hint, str | ForwardRef)


def shown(hint: Any) -> str:
    """A hint as people write it.

    >>> shown(int), shown(list[str]), shown(int | None), shown("Frame")
    ('int', 'list[str]', 'int | None', 'Frame')
    """
    if isinstance(hint, ForwardRef):
        return hint.__forward_arg__
    if hasattr(hint, "__supertype__") or (isinstance(hint, type) and not get_args(hint)):
        return "None" if hint is type(None) else str(getattr(hint, "__qualname__", hint))
    return str(hint).replace("NoneType", "None").replace("typing.", "")


def check_arguments(step: str, function: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """Hold what a step receives against its hints, by kind: what is in a container is the step's own concern.

    Raises:
        WrongTypeError: a value is plainly of another type; step, parameter, value and hint are named.
    """
    hints = hints_of(function) if hasattr(function, "__code__") else {}
    for name, value in arguments.items():
        if name in hints and not fits(value, hints[name]):
            raise WrongTypeError(f"Step `{step}`, parameter `{name}`", value, shown(hints[name]))


def fits(value: Any, hint: Any) -> bool:
    """Whether a value may be what a hint says; only what is plainly wrong is not."""
    hint = plain(hint)
    if hint is None or hint is type(None):
        return value is None
    arguments, origin = get_args(hint), get_origin(hint)
    if origin in (Union, UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is Annotated:
        return fits(value, arguments[0])
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
    hint = plain(hint)
    return hint is kind or any(accepts(argument, kind) for argument in get_args(hint))

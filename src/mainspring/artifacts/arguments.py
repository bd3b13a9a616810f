"""What an object was made with, kept on it, so that a codec can make it again."""

from __future__ import annotations

from functools import wraps
from typing import Any, TypeVar

C = TypeVar("C", bound=type)
KEPT = "_mainspring_arguments"  # the attribute


def keep_arguments(cls: C) -> C:
    """Decorate a class, of PyTorch modules say, whose constructor's arguments are needed to build it again when it is loaded.

    They are kept as they were given: what the constructor or others change in them later is changed there, too.

    >>> from mainspring.artifacts import keep_arguments
    >>> @keep_arguments
    ... class Net:
    ...     def __init__(self, layers, *, rate=0.1): pass
    >>> kept_arguments(Net(3, rate=0.5))
    {'layers': 3, 'rate': 0.5}
    """
    from inspect import signature

    made = cls.__init__  # type: ignore[misc]  # what is wrapped is the class's own
    known = signature(made)

    @wraps(made)
    def make(self: Any, *args: Any, **kwargs: Any) -> None:
        if type(self).__init__ is make:  # else a subclass called it, with what it made of its own
            bound = known.bind(self, *args, **kwargs)
            given = dict(list(bound.arguments.items())[1:])
            object.__setattr__(self, KEPT, _flat(known, given))
        made(self, *args, **kwargs)

    cls.__init__ = make  # type: ignore[misc]  # the class itself is changed, not an instance of a subclass
    return cls


def kept_arguments(value: object) -> dict[str, Any] | None:
    """What `keep_arguments` kept of an object's making, by name; `*` are those without one. None if it kept nothing."""
    kept: dict[str, Any] | None = vars(value).get(KEPT)
    return kept


def _flat(known: Any, given: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, item in given.items():
        kind = known.parameters[name].kind
        if kind is known.parameters[name].VAR_POSITIONAL:
            found = {"*": [*found.values(), *item]}
        elif kind is known.parameters[name].VAR_KEYWORD:
            found |= item
        else:
            found[name] = item
    return found

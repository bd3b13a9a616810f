"""What skops would give back as something else, dumped as a call of its class, which skops loads by itself.

A member of an enum of the project; a number, text or tuple of a class of the project; a dict with keys that skops makes from
texts, such as False. Invariant: outside of our dumps, which `is_at_work` tells, skops is as it was.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from mainspring.artifacts.project import module_file
from mainspring.errors import CodecError, shorten

DICT = "builtins.dict"  # called with pairs

_Dump = Callable[[Any, Any], Any]


def extend_dispatch(is_at_work: Callable[[], bool]) -> None:
    """Tell skops how these are dumped."""
    from skops.io._utils import _get_state

    ways: dict[type, Callable[[_Dump], _Dump]] = {
        object: _numbers_and_texts, enum.Enum: _constants, tuple: _constants, dict: _mappings, list: _containers,
        set: _containers,
    }  # fmt: skip
    plain = {kind: _get_state.dispatch(kind) for kind in ways}
    for kind, way in ways.items():
        _get_state.register(kind)(_while(is_at_work, way(plain[kind]), plain[kind]))


def _while(is_at_work: Callable[[], bool], ours: _Dump, plain: _Dump) -> _Dump:
    return lambda value, context: ours(value, context) if is_at_work() else plain(value, context)


def _numbers_and_texts(plain: _Dump) -> _Dump:
    constant = _constants(plain)
    return lambda value, context: (constant if isinstance(value, str | int | float) else plain)(value, context)


def _constants(plain: _Dump) -> _Dump:
    def dump(value: Any, context: Any) -> Any:
        if not _is_of_project(type(value)) or _is_named_tuple(type(value)):
            return plain(value, context)
        if isinstance(value, enum.Enum):
            return _call(type(value), (value.value,), context)
        given = value.__getnewargs__()
        return _call(type(_bare(value, *given)), given, context)

    return dump


def _containers(plain: _Dump) -> _Dump:
    return lambda value, context: plain(_bare(value) if _is_of_project(type(value)) else value, context)


def _mappings(plain: _Dump) -> _Dump:
    contained = _containers(plain)

    def dump(value: Any, context: Any) -> Any:
        is_ours = _is_of_project(type(value))
        if all(map(_is_number_or_text, value)) or not (is_ours or type(value) is dict):
            return contained(value, context)
        return _call(type(value), ([*(_bare(value) if is_ours else value).items()],), context)

    return dump


def _call(cls: type, given: tuple[Any, ...], context: Any) -> dict[str, Any]:
    from skops.io._utils import get_state

    named = {"__class__": cls.__name__, "__module__": cls.__module__}
    return {**named, "__loader__": "ConstructorFromReduceNode", "content": get_state(given, context)}


def _is_of_project(cls: type) -> bool:
    """Whether a class is the project's; one of a library, such as that of the flags of `re`, is left to skops."""
    home = cls.__module__
    return home == "__main__" or (home != "builtins" and module_file(home) is not None)


def _is_named_tuple(cls: type) -> bool:
    return cls.__bases__ == (tuple,) and hasattr(cls, "_fields")


def _is_number_or_text(key: Any) -> bool:
    """Whether skops gives a key of a dict back: it makes one of its class from a text, and `bool("false")` is True."""
    import numpy as np

    return isinstance(key, str | int | float | np.integer | np.floating) and not isinstance(key, bool | enum.Enum)


def _bare(value: Any, *given: Any) -> Any:
    """A value of a class derived from a builtin one, of which that alone is stored, and its class called with `given`.

    Raises:
        CodecError: it has attributes besides, which that call doesn't make.
    """
    own = getattr(value, "__dict__", {})
    if own and own is not value and not _makes(type(value), given, own):
        names = ", ".join(f"`{name}`" for name in own)
        raise CodecError(
            f"`{shorten(value)}` is a `{type(value).__qualname__}` with attributes of its own ({names}), which would be "
            "lost. Make it a dataclass that holds the plain value beside them."
        )
    return value


def _makes(cls: type, given: tuple[Any, ...], attributes: dict[str, Any]) -> bool:
    """Whether a class that is called gives something with these attributes, as loading does."""
    try:
        return bool(vars(cls(*given)) == attributes)
    except Exception:  # noqa: BLE001  # of the project's class, or of values that can't be compared
        return False

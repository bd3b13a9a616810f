"""SciPy's distributions in what skops dumps: as a call of their constructor with what defines them, and only so.

As an object each holds the text of a function that it executes when its state is set. So no state is ever set: a dump that
holds one is rewritten to the call, whose arguments SciPy checks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import MethodType
from typing import Any

from mainspring.errors import CodecError

_FROZEN = {
    "scipy.stats._distn_infrastructure.rv_continuous_frozen": ("loc", "scale"),
    "scipy.stats._distn_infrastructure.rv_discrete_frozen": ("loc",),
}
_CALL = "ConstructorFromReduceNode"
_Node = dict[str, Any]
_dumping: ContextVar[bool] = ContextVar("_dumping", default=False)


def is_distribution(name: str) -> bool:
    """Whether this is the class of one of SciPy's own distributions, or of one with its parameters fixed."""
    return name.startswith("scipy.stats.") and (name in _FROZEN or name in _generators())


@contextmanager
def without_cycles() -> Iterator[None]:
    """While this lasts, skops dumps distributions as calls, and no method that an estimator holds of itself."""
    extend_skops()
    token = _dumping.set(True)
    try:
        yield
    finally:
        _dumping.reset(token)


def as_calls(node: Any) -> Any:
    """A schema of skops in which distributions are calls of their constructors.

    Raises:
        CodecError: one is stored as neither a call nor its whole state.
    """
    if isinstance(node, list):
        return [as_calls(each) for each in node]
    if not isinstance(node, dict):
        return node
    name = f"{node.get('__module__')}.{node.get('__class__')}"
    if "__loader__" in node and is_distribution(name) and node["__loader__"] != _CALL:
        try:
            node = _frozen_call(node, name) if name in _FROZEN else _generator_call(node, name)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise CodecError(f"The distribution `{name}` is not stored as skops stores one.") from error
    return {key: as_calls(each) for key, each in node.items()}


@cache
def _generators() -> dict[str, tuple[str, ...]]:
    """The classes of SciPy's distributions, each with the parameters of its constructor in order."""
    from inspect import signature

    import scipy.stats

    found = (
        value
        for value in vars(scipy.stats).values()
        if isinstance(value, scipy.stats.rv_continuous | scipy.stats.rv_discrete)
    )
    return {f"{type(each).__module__}.{type(each).__name__}": tuple(signature(type(each)).parameters) for each in found}


def _generator_call(node: _Node, name: str) -> _Node:
    params = _state(node)["_ctor_param"]["content"]
    return _call(node, [params.get(each, _json(None)) for each in _generators()[name]])


def _frozen_call(node: _Node, name: str) -> _Node:
    state = _state(node)
    dist = state["dist"]
    shapes = json.loads(_state(dist)["shapes"]["content"]) or ""
    names = [*shapes.replace(",", " ").split(), *_FROZEN[name]]
    given = {**dict(zip(names, state["args"]["content"], strict=False)), **state["kwds"]["content"]}
    filled = {"loc": _json(0), "scale": _json(1), **given}
    return _call(node, [dist, *(filled[each] for each in names)])


def _state(node: _Node) -> _Node:
    if node["__loader__"] != "ObjectNode":
        raise ValueError(node["__loader__"])
    found: _Node = node["content"]["content"]
    return found


def _call(node: _Node, arguments: list[_Node]) -> _Node:
    content = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": arguments}
    kept: _Node = {key: node[key] for key in ("__class__", "__module__", "__id__") if key in node}
    return {**kept, "__loader__": _CALL, "content": content}


def _json(value: object) -> _Node:
    return {
        "__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": json.dumps(value),
        "is_json": True,
    }  # fmt: skip


@cache
def extend_skops() -> None:
    """Tell skops, once, how this module dumps what it can't dump by itself; it asks only inside `without_cycles`.

    It replaces how estimators are dumped, so it comes before whatever else extends that.
    """
    from numpy.random.mtrand import _rand
    from scipy.stats import rv_continuous, rv_discrete
    from scipy.stats._distn_infrastructure import rv_frozen
    from sklearn.base import BaseEstimator
    from skops.io import _general
    from skops.io._utils import _get_state, get_module, get_state

    plain: Callable[[Any, Any], _Node] = _general.object_get_state

    def call(value: Any, arguments: tuple[Any, ...], context: Any) -> _Node:
        kind = type(value)
        names = {"__class__": kind.__name__, "__module__": get_module(kind)}
        return {**names, "__loader__": _CALL, "content": get_state(arguments, context)}

    def generator(value: Any, context: Any) -> _Node:
        name = f"{type(value).__module__}.{type(value).__name__}"
        if not _dumping.get() or name not in _generators():
            return plain(value, context)
        own = value._random_state if value._random_state is not _rand else None
        params = {**value._updated_ctor_param(), "seed": own}
        return call(value, tuple(params.get(each) for each in _generators()[name]), context)

    def frozen(value: Any, context: Any) -> _Node:
        if not _dumping.get():
            return plain(value, context)
        shapes, *fixed = value.dist._parse_args(*value.args, **value.kwds)
        count = len(_FROZEN.get(f"{type(value).__module__}.{type(value).__name__}", ()))
        return call(value, (value.dist, *shapes, *fixed[:count]), context)

    def estimator(value: Any, context: Any) -> _Node:
        # Histogram boosting that scores while it fits leaves `_raw_predict`, its own method, among its attributes.
        own = {key for key, each in vars(value).items() if isinstance(each, MethodType) and each.__self__ is value}
        own = {key for key in own if getattr(type(value), key, None) is vars(value)[key].__func__}
        if _dumping.get() and own:
            kept = {key: each for key, each in vars(value).items() if key not in own}
            value = object.__new__(type(value))
            vars(value).update(kept)
        return plain(value, context)

    for kind, dump in (
        (rv_continuous, generator),
        (rv_discrete, generator),
        (rv_frozen, frozen),
        (BaseEstimator, estimator),
    ):
        _get_state.register(kind)(dump)

"""Steps: Python functions that a pipeline can record, cache and send elsewhere, and that stay plain functions in tests."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from types import CodeType
from typing import Any, Generic, ParamSpec, TypeVar, overload

import msgspec

from mainspring.errors import GraphError, InvalidError, NotFoundError, close_names, counted, shorten
from mainspring.pipelines.graph import Binding, Output, current_graph, listed_items

P = ParamSpec("P")
R = TypeVar("R")
_POSITIONAL_ONLY_OR_VARIADIC = 0x04 | 0x08  # CO_VARARGS | CO_VARKEYWORDS


class StepOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a step is run. Of these only `outputs` and `ordered` are part of what it means; the tolerances are for replays."""

    outputs: tuple[str, ...] = ()
    retries: int = 0
    backoff_s: float = 1.0
    timeout_s: float | None = None
    memory_mb: int | None = None
    isolated: bool = False
    may_fail: bool = False
    cache: bool = True
    ordered: bool = True
    rtol: float = 0.0
    atol: float = 0.0

    @property
    def needs_isolation(self) -> bool:
        """Whether only a process of its own can keep what was asked for."""
        return self.isolated or self.timeout_s is not None or self.memory_mb is not None


class Step(Generic[P, R]):
    """A function with a place in pipelines. Outside a pipeline, calling it calls the function."""

    def __init__(self, function: Callable[P, R], options: StepOptions) -> None:
        self.parameters = parameters_of(function)
        functools.update_wrapper(self, function)
        self.function = function
        self.options = options
        self.module: str = function.__module__
        self.qualname: str = function.__qualname__
        self._name = self.qualname.rpartition(".")[2]

    @property
    def name(self) -> str:
        """The name from which tasks take theirs: the function's, unless `named` gave another."""
        return self._name

    def named(self, name: str) -> Step[P, R]:
        """The same step, whose next calls make tasks of this name.

        Raises:
            InvalidError: the name holds `/`, `[` or nothing, which have a meaning in names of tasks.

        >>> import mainspring as ms
        >>> @ms.step
        ... def load(table: str) -> str:
        ...     return table
        >>> load.named("load-weather").name
        'load-weather'
        """
        if not name or set(name) & set("/[]"):
            raise InvalidError(f"{self._name}.named", name, "a name without `/` and brackets")
        other = Step(self.function, self.options)
        other.module, other.qualname, other._name = self.module, self.qualname, name
        return other

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of its outputs; empty if it has one."""
        return self.options.outputs

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        graph = current_graph()
        if graph is None:
            return self.function(*args, **kwargs)
        return graph.call(self, self.bind(args, kwargs))  # type: ignore[return-value]  # an Output stands for R

    def map(self, over: Iterable[Any], **fixed: Any) -> list[R]:
        """Call the step once for each item of a list, which may be known only at run time.

        The item is the step's first parameter; `fixed` are the others. In a pipeline the result stands for a list, and
        what is given literally is taken as its list.

        Raises:
            InvalidError: in a pipeline, what is given has no items in an order.

        >>> import mainspring as ms
        >>> @ms.step
        ... def power(base: int, exponent: int) -> int:
        ...     return base**exponent
        >>> power.map([1, 2, 3], exponent=2)
        [1, 4, 9]
        """
        if not self.parameters:
            raise GraphError("`map` needs a step with at least one parameter", self.name)
        graph = current_graph()
        first = self.parameters[0].name
        if graph is None:
            return [self.function(**{first: item}, **fixed) for item in over]  # type: ignore[call-arg]  # bound by name
        if not isinstance(over, Output):
            over = listed_items(f"Step `{self.name}`, mapped over `{first}`", over)
        bound = self.bind((), {first: over, **fixed})
        return graph.call(self, bound, mapped=first)  # type: ignore[return-value]  # an Output stands for the list

    def bind(self, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments by parameter name, defaults left out.

        Raises:
            GraphError: too many, unknown or missing arguments; the step and parameter are named.
        """
        names = [parameter.name for parameter in self.parameters]
        if len(args) > len(names):
            takes = f"{counted(len(names), 'argument')} ({', '.join(names)})" if names else "no arguments"
            raise GraphError(f"takes {takes}, and {len(args)} {'was' if len(args) == 1 else 'were'} given", self.name)
        bound = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name not in names:
                raise GraphError(f"has no parameter `{name}`; it has {', '.join(names) or 'none'}", self.name)
            if name in bound:
                raise GraphError(f"got two values for parameter `{name}`", self.name)
            bound[name] = value
        missing = [p.name for p in self.parameters if p.required and p.name not in bound]
        if missing:
            raise GraphError(f"misses a value for parameter `{missing[0]}`", self.name)
        return bound

    def __repr__(self) -> str:
        return f"<step {self.module}:{self.qualname}>"


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of a step or pipeline: its name, and its default if it has one."""

    name: str
    required: bool
    default: Any = None


def parameters_of(function: Callable[..., Any]) -> tuple[Parameter, ...]:
    """The named parameters of a function (without `inspect`, whose import costs more than a small run).

    Raises:
        GraphError: it takes *args or **kwargs, so that what it depends on can't be named.
    """
    code = getattr(function, "__code__", None)
    if isinstance(code, CodeType) and code.co_flags & _POSITIONAL_ONLY_OR_VARIADIC and hasattr(function, "__wrapped__"):
        return parameters_of(function.__wrapped__)  # a wrapper takes what it wraps takes, as `inspect.signature` says
    if not isinstance(code, CodeType):
        raise GraphError(f"{_described(function)} is no Python function; decorate a `def` or a lambda")
    if code.co_flags & _POSITIONAL_ONLY_OR_VARIADIC or code.co_posonlyargcount:
        raise GraphError("takes *args, **kwargs or positional-only parameters; name each one", function.__qualname__)
    positional = code.co_varnames[: code.co_argcount]
    keyword = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    defaults = function.__defaults__ or ()
    with_default = dict(zip(positional[len(positional) - len(defaults) :], defaults, strict=True))
    with_default |= function.__kwdefaults__ or {}
    return tuple(Parameter(name, name not in with_default, with_default.get(name)) for name in (*positional, *keyword))


def _described(value: Any) -> str:
    if isinstance(value, functools.partial):
        inner = value.func
        return (
            f"A `functools.partial` of `{inner.__module__}.{getattr(inner, '__qualname__', type(inner).__qualname__)}`"
        )
    return f"`{shorten(value)}`"


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    outputs: Sequence[str] = (),
    retries: int = 0,
    backoff_s: float = 1.0,
    timeout_s: float | None = None,
    memory_mb: int | None = None,
    isolated: bool = False,
    may_fail: bool = False,
    cache: bool = True,
    ordered: bool = True,
    rtol: float = 0.0,
    atol: float = 0.0,
) -> Callable[[Callable[P, R]], Step[P, R]]: ...
def step(function: Callable[P, R] | None = None, /, **options: Any) -> Any:
    """Make a function a step.

    Args:
        outputs: names of several outputs; the function returns a tuple of as many values, or a dict with these keys.
        retries: how many more attempts after the first; each waits twice as long as the one before.
        backoff_s: the wait before the first retry, in seconds.
        timeout_s: wall time of one attempt, in seconds; enforced in a process of its own.
        memory_mb: resident memory of one attempt, in MiB; enforced in a process of its own.
        isolated: run in a process of its own, so that a crash fails this step alone.
        may_fail: when all attempts failed, the run goes on: steps that accept `ms.Failed` by their hint receive it,
            others that depend on it are skipped.
        cache: whether an earlier result may be reused.
        ordered: False for a table without an order; it is sorted canonically when digested.
        rtol, atol: the tolerance within which a replay counts as verified, for numbers that can't repeat exactly.

    >>> import mainspring as ms
    >>> @ms.step(retries=2, outputs=("low", "high"))
    ... def halves(values: list[int]) -> tuple[list[int], list[int]]:
    ...     return values[: len(values) // 2], values[len(values) // 2 :]
    >>> halves([1, 2, 3, 4])
    ([1, 2], [3, 4])
    """
    if function is not None:
        return Step(function, StepOptions())
    return functools.partial(_made, options=_checked(options))


def _made(function: Callable[P, R], options: StepOptions) -> Step[P, R]:
    return Step(function, options)


def _checked(options: dict[str, Any]) -> StepOptions:
    for name in options:
        if name not in StepOptions.__struct_fields__:
            raise NotFoundError("option of @step", name, close_names(name, StepOptions.__struct_fields__))
    options["outputs"] = tuple(options.get("outputs", ()))
    checked = StepOptions(**options)
    for name in ("retries", "backoff_s", "timeout_s", "memory_mb", "rtol", "atol"):
        value = getattr(checked, name)
        if value is not None and (not isinstance(value, int | float) or value < 0):
            raise InvalidError(f"@step({name}=…)", value, "a number of at least 0")
    if len(set(checked.outputs)) != len(checked.outputs):
        raise InvalidError("@step(outputs=…)", checked.outputs, "a list of different names")
    return checked


__all__ = ["Binding", "Parameter", "Step", "StepOptions", "parameters_of", "step"]

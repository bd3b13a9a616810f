"""The graph that a pipeline records: calls of steps, and what stands for their results until they exist."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, Protocol

import msgspec

from mainspring.errors import GraphError, InvalidError


class Literal(msgspec.Struct, frozen=True, tag="value"):
    """A value that JSON can hold as it is."""

    value: Any


class Stored(msgspec.Struct, frozen=True, tag="artifact"):
    """An artifact that exists."""

    artifact: str


class FromTask(msgspec.Struct, frozen=True, tag="output"):
    """What a task will have made: one output, or all of them if `output` is empty."""

    task: str
    output: str = ""


class Items(msgspec.Struct, frozen=True, tag="list"):
    """A list or tuple of bindings."""

    items: list[Binding]
    is_tuple: bool = False


class Entries(msgspec.Struct, frozen=True, tag="dict"):
    """A dict, as pairs of bindings: a key may be of any type."""

    entries: list[tuple[Binding, Binding]]


class SecretRef(msgspec.Struct, frozen=True, tag="secret"):
    """A secret by reference; the step receives a `Secret`."""

    reference: str


class Missing(msgspec.Struct, frozen=True, tag="failed"):
    """The result of a task whose failure is allowed; the step receives a `Failed`."""

    task: str
    error: str


Binding = Literal | Stored | FromTask | Items | Entries | SecretRef | Missing
_graph: ContextVar[Graph | None] = ContextVar("graph", default=None)


class Callee(Protocol):
    """What a graph needs to know of a step that is called."""

    @property
    def name(self) -> str:
        """The name from which the task takes its own."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of its outputs; empty if it has one."""
        ...


class Output:
    """Stands for a result while a pipeline is recorded. It can be passed on, unpacked and picked by name, nothing else."""

    __slots__ = ("names", "output", "task")

    def __init__(self, task: str, names: tuple[str, ...] = (), output: str = "") -> None:
        self.task = task
        self.names = names
        self.output = output

    def __iter__(self) -> Iterator[Output]:
        if not self.names:
            self._unknown("iterate over it")
        return iter([Output(self.task, (), name) for name in self.names])

    def __getitem__(self, key: str | int) -> Output:
        if isinstance(key, int) and -len(self.names) <= key < len(self.names):
            return Output(self.task, (), self.names[key])
        if key in self.names:
            return Output(self.task, (), str(key))
        return self._unknown(f"look up `{key}` in it")

    def __getattr__(self, name: str) -> Output:
        if name in self.names:
            return Output(self.task, (), name)
        if name.startswith("__"):
            raise AttributeError(name)
        return self._unknown(f"read `.{name}` of it")

    def __bool__(self) -> bool:
        return self._unknown("decide on it")

    def __len__(self) -> int:
        return len(self.names) if self.names else self._unknown("take its length")

    def _unknown(self, wish: str) -> NoReturn:
        if self.names and wish.startswith(("read", "look up")):
            raise GraphError(f"you can't {wish}: it has the outputs {', '.join(self.names)}", self.task)
        raise GraphError(
            f"its result is not known yet while the pipeline is recorded, so you can't {wish}. Do it in a step, or name"
            " several outputs by @step(outputs=…)",
            self.task,
        )

    def __repr__(self) -> str:
        return f"<output {self.output or 'of'} {self.task}>"

    def _compute(self, *_: object) -> NoReturn:
        self._unknown("compute with it")

    def _compare(self, *_: object) -> NoReturn:
        self._unknown("compare it")

    def __call__(self, *_: object, **__: object) -> NoReturn:
        self._unknown("call it")

    def __format__(self, _: str) -> NoReturn:
        self._unknown("format it as text")

    def __int__(self) -> NoReturn:
        self._unknown("take it as a number")

    __float__ = __index__ = __int__
    __str__ = __repr__
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _compute
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = _compute
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __neg__ = __pos__ = __abs__ = __invert__ = _compute
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _compare

    def __hash__(self) -> int:
        return self._unknown("put it into a set or use it as a key")


class Call(msgspec.Struct, frozen=True):
    """One call of a step: its task's name, the arguments, and the parameter it is mapped over, if it is."""

    name: str
    step: Any
    arguments: dict[str, Any]
    mapped: str | None


class Graph:
    """What a pipeline recorded, in the order of the calls; so it has no cycles."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._names: dict[str, int] = {}
        self._scope: list[str] = []
        self._open: list[object] = []

    def call(self, step: Callee, arguments: dict[str, Any], *, mapped: str | None = None) -> Output:
        """Record a call and give what stands for its result."""
        name = self._unused("/".join([*self._scope, step.name]))
        # A list that the pipeline changes after the call is, for the call, what it was then.
        self.calls.append(Call(name, step, {key: copied(value) for key, value in arguments.items()}, mapped))
        return Output(name, step.outputs)

    @contextmanager
    def within(self, pipeline: object, name: str) -> Iterator[None]:
        """Record the calls of a sub-pipeline under its name.

        Raises:
            GraphError: the pipeline is being recorded already, so it would never end.
        """
        if pipeline in self._open:
            raise GraphError(f"the pipeline `{name}` calls itself, directly or by way of another")
        self._open.append(pipeline)
        outermost = len(self._open) == 1
        if not outermost:
            self._scope.append(self._unused(name, scope=True))
        token = _graph.set(self)
        try:
            yield
        finally:
            _graph.reset(token)
            self._open.pop()
            if not outermost:
                self._scope.pop()

    def _unused(self, name: str, *, scope: bool = False) -> str:
        prefix = "/".join(self._scope) + "/" if scope and self._scope else ""
        candidate, number = prefix + name, self._names.get(prefix + name, 1)
        while candidate in self._names:
            number += 1
            candidate = f"{prefix}{name}-{number}"
        self._names[prefix + name] = number  # where to look on, so that many calls of one step stay quick
        self._names.setdefault(candidate, 1)
        return candidate[len(prefix) :]


def copied(value: Any) -> Any:
    """A value whose lists and dicts, at any depth, are new ones; everything else is as it was."""
    if type(value) is list:
        return [copied(item) for item in value]
    if type(value) is tuple:
        return tuple(copied(item) for item in value)
    return {key: copied(item) for key, item in value.items()} if type(value) is dict else value


def listed_items(place: str, over: Any) -> list[Any]:
    """The items of what a step is mapped over, in their order, which a set doesn't have.

    Raises:
        InvalidError: it is no list, nor anything that gives its items as one.

    >>> listed_items("place", range(3))
    [0, 1, 2]
    """
    if isinstance(over, list | tuple | range | KeysView | ValuesView | ItemsView | Iterator):
        return list(over)
    hint = "A set has no order; sorted(…) gives it one." if isinstance(over, set | frozenset) else ""
    raise InvalidError(place, over, "a list, tuple, range or the like", hint)


def current_graph() -> Graph | None:
    """The graph that is being recorded in this context, if one is."""
    return _graph.get()


def outside_graph() -> Any:
    """Suspend recording: inside a running step, calls of other steps are plain calls."""
    return _graph.set(None)

"""Pipelines: functions whose calls of steps make a graph. Plain Python, parameters are real values."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from mainspring.errors import GraphError
from mainspring.pipelines.graph import Call, Graph, current_graph
from mainspring.pipelines.hints import hints_of
from mainspring.pipelines.reading import checked_value
from mainspring.pipelines.step import Parameter, parameters_of
from mainspring.pipelines.surroundings import surroundings_kept
from mainspring.secrets import refuse_value

if TYPE_CHECKING:
    from mainspring.pipelines.results import RunResult

P = ParamSpec("P")
R = TypeVar("R")


class Pipeline(Generic[P, R]):
    """A function that wires steps. Called plainly it runs them plainly; `run()` records, caches and stores."""

    def __init__(self, function: Callable[P, R]) -> None:
        self.parameters: tuple[Parameter, ...] = parameters_of(function)
        functools.update_wrapper(self, function)
        self.function = function
        self.module: str = function.__module__
        self.qualname: str = function.__qualname__

    @property
    def name(self) -> str:
        """The function's name."""
        return self.qualname.rpartition(".")[2]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        graph = current_graph()
        if graph is None:
            return self.function(*args, **kwargs)
        with graph.within(self, self.name):
            return self.function(*args, **kwargs)

    def record(self, params: dict[str, Any], *, strict: bool = True) -> tuple[list[Call], Any, dict[str, Any]]:
        """The calls, what the function returned, and all parameters with their defaults.

        What the function sets in libraries, variables or the working directory is put back: no other process would have it.

        Raises:
            GraphError: it calls no step, calls itself, misses a parameter or gets one it doesn't have.
            WrongTypeError: a parameter doesn't fit its hint.
        """
        values = self._values(params, strict=strict)
        graph = Graph()
        with surroundings_kept(), graph.within(self, self.name):
            returned = self.function(**values)  # type: ignore[call-arg]  # bound by name
        if not graph.calls:
            raise GraphError(f"the pipeline `{self.name}` calls no step; decorate its functions with @ms.step")
        return graph.calls, returned, values

    def run(self, *, options: dict[str, Any] | None = None, **params: Any) -> RunResult:
        """Run it, recorded, in the workspace of the project here; `options` are those of `run_pipeline`.

        What steps print in this process is shown as it comes, each line behind its step's name; `options={"listener":
        Listener()}` keeps it quiet. It is in the log either way.

        Raises:
            StepError: a step failed; chained to what it raised.
        """
        from mainspring.pipelines.launch import run_pipeline
        from mainspring.pipelines.progress import Shown

        result = run_pipeline(self, params, **{"listener": Shown()} | (options or {}))
        result.raise_for_state()
        return result

    def _values(self, params: dict[str, Any], *, strict: bool) -> dict[str, Any]:
        from mainspring.errors import NotFoundError, close_names

        known = {parameter.name: parameter for parameter in self.parameters}
        for name in params:
            if name not in known:
                takes = f"takes {', '.join(f'`{each}`' for each in known)}" if known else "takes none"
                raise NotFoundError("parameter", name, close_names(name, known), f"Pipeline `{self.name}` {takes}.")
        hints = hints_of(self.function)
        values = {}
        for name, parameter in known.items():
            if name in params:
                values[name] = checked_value(f"parameter `{name}`", params[name], hints.get(name), strict=strict)
                refuse_value(f"pipeline `{self.name}`", name, params[name])  # as it is recorded, too
            elif parameter.required:
                raise GraphError(
                    f"the pipeline `{self.name}` misses a value for parameter `{name}`: give --{name} VALUE"
                )
            else:
                values[name] = parameter.default
            refuse_value(f"pipeline `{self.name}`", name, values[name])
        return values

    def __repr__(self) -> str:
        return f"<pipeline {self.module}:{self.qualname}>"


def pipeline(function: Callable[P, R], /) -> Pipeline[P, R]:
    """Make a function a pipeline.

    >>> import mainspring as ms
    >>> @ms.step
    ... def double(n: int) -> int:
    ...     return 2 * n
    >>> @ms.pipeline
    ... def main(n: int = 4) -> int:
    ...     return double(double(n))
    >>> main(1)
    4
    """
    return Pipeline(function)

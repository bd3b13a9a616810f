"""An objective: how it is called, what it gives back, and where another process finds it."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mainspring.artifacts.script import script_file
from mainspring.errors import InvalidError, NotFoundError, WrongTypeError
from mainspring.runs._rows import param_row
from mainspring.studies.records import Target
from mainspring.studies.space import Range

Objective = Callable[..., Any]
IN_WORKER = "MAINSPRING_STUDY"  # in the environment of a worker: the study it works for
_WORKER_MAIN = "__study_main__"


def target_of(objective: Objective) -> Target:
    """Where an objective is found again; a lambda, a closure and a partial are not, and run in this process only."""
    plain = getattr(objective, "function", objective)  # a step is called as its function
    qualname = getattr(plain, "__qualname__", f"<{type(plain).__qualname__}>")
    module = getattr(plain, "__module__", None) or "<unknown>"
    path = ""
    if module == "__main__":
        file = script_file()
        path = os.path.abspath(file) if file and os.path.exists(file) else ""
    return Target(module, qualname, path)


def find_objective(target: Target) -> Objective:
    """The objective, imported.

    Raises:
        NotFoundError: its module or its name in it is gone, or it never had one.
    """
    if not target.is_importable:
        raise NotFoundError("objective", str(target), hint="Give it a name in a module, or call `ms.study` with it.")
    try:
        found: Any = _script(target.path) if target.path else _module(target.module)
        for part in target.qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, OSError) as error:
        raise NotFoundError("objective", str(target), hint=f"{type(error).__name__}: {error}.") from error
    function: Objective = getattr(found, "function", found)
    return function


def _module(name: str) -> Any:
    from importlib import import_module

    return import_module(name)


def _script(path: str) -> Any:
    """A script as a module under another name, so that what it guards by `if __name__ == "__main__"` doesn't run."""
    if _WORKER_MAIN not in sys.modules:
        from importlib.util import module_from_spec, spec_from_file_location

        spec = spec_from_file_location(_WORKER_MAIN, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is no Python file")
        module = sys.modules[_WORKER_MAIN] = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[_WORKER_MAIN]
            raise
    return sys.modules[_WORKER_MAIN]


def check_arguments(objective: Objective, space: Mapping[str, Range] | None, inputs: Mapping[str, Any]) -> None:
    """Refuse an objective that can't be called with what the study gives it.

    Raises:
        WrongTypeError: it is no function.
        InvalidError: a parameter of it is given by nobody or twice, or it doesn't take one that is given.
    """
    if not callable(objective):
        raise WrongTypeError("objective", objective, "a function")
    for name in inputs:
        if name in (space or {}):
            raise InvalidError("inputs", name, "a name that `space` hasn't", "An input is the same in every trial.")
    try:
        names, accepts_any, needed = _parameters(objective)
    except (TypeError, ValueError):  # a callable of C code tells nothing
        return
    given = [*(space or {}), *inputs]
    by_position = names[:1] if space is None else [name for name in names if name == "trial"]
    unknown = [name for name in given if (name not in names and not accepts_any) or name in by_position]
    missing = [name for name in needed if name not in given and name not in by_position]
    called = getattr(objective, "__name__", "the objective")
    if unknown:
        raise InvalidError(
            called, unknown[0], "a parameter it leaves to the study", f"It has {', '.join(names) or 'none'}."
        )
    if missing:
        told = "Put it into `space` or `inputs`; one called `trial` is given the trial."
        raise InvalidError(called, missing[0], "a parameter that the study gives", told)


def takes_trial(objective: Objective, space: Mapping[str, Range] | None) -> bool:
    """Whether it is given the trial: always without a space, else if it has a parameter of that name."""
    try:
        return space is None or "trial" in _parameters(objective)[0]
    except (TypeError, ValueError):
        return space is None


def _parameters(objective: Objective) -> tuple[list[str], bool, list[str]]:
    """Names, whether any are taken, and those that must be given."""
    import inspect

    found = inspect.signature(objective).parameters.values()
    named = [each for each in found if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    needed = [each.name for each in named if each.default is each.empty]
    return [each.name for each in named], any(each.kind is each.VAR_KEYWORD for each in found), needed


def results_of(returned: Any, metrics: Sequence[str]) -> tuple[dict[str, float], dict[str, float | str]]:
    """What an objective returned, by metric: a number, one for each metric in their order, or a dict that has them all.

    What else a dict has comes second: numbers as such, everything else as text.

    Raises:
        WrongTypeError, InvalidError: it is none of these, or a metric of the study is NaN.
    """
    rest: dict[str, float | str] = {}
    if isinstance(returned, Mapping):
        missing = [name for name in metrics if name not in returned]
        if missing:
            raise InvalidError("the objective's result", sorted(map(str, returned)), f"one with `{missing[0]}`")
        named = {name: returned[name] for name in metrics}
        rest = {name: _number_or_text(value) for name, value in returned.items() if name not in metrics}
    else:
        listed = list(returned) if isinstance(returned, tuple | list) else [returned]
        if len(listed) != len(metrics):
            raise InvalidError(
                "the objective's result", returned, f"as many numbers as there are metrics, {len(metrics)}"
            )
        named = dict(zip(metrics, listed, strict=True))
    results = {name: _number(name, value) for name, value in named.items()}
    for name in metrics:
        if math.isnan(results[name]):
            raise InvalidError(f"metric `{name}`", "NaN", "a number")
    return results, rest


def _number(name: str, value: Any) -> float:
    if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
        raise WrongTypeError(f"metric `{name}`", value, "a number")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:  # an array of several numbers has `__float__`, too
        raise WrongTypeError(f"metric `{name}`", value, "a number") from error


def _number_or_text(value: Any) -> float | str:
    try:
        return _number("", value)
    except WrongTypeError:
        return param_row(value)[1]

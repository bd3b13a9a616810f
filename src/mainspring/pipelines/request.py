"""The parameters of a run: as they are shown, and as they were given, so that its pipeline can be recorded anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Any

import msgspec

from mainspring.artifacts.record import Artifact
from mainspring.errors import CodecError, ConflictError
from mainspring.pipelines.graph import Binding, Call, Literal
from mainspring.pipelines.task import RunRequest, Task
from mainspring.pipelines.values import Values, is_json
from mainspring.secrets import Secret, redact_value


def requested(
    request: RunRequest, given: dict[str, Any], params: dict[str, Any], calls: Sequence[Call], tasks: Sequence[Task],
    values: Values, keep: Callable[[Artifact], None],
) -> RunRequest:  # fmt: skip
    """The request with the parameters that were given, as they were: text stays text, to be read anew as hints say.

    What JSON can't hold becomes an artifact, unless a task has it.
    """
    bindings: dict[str, Binding] = {}
    paths, lost = [], []
    for name, raw in given.items():
        value = params[name]
        if is_json(raw):
            bindings[name] = Literal(raw)
            continue
        if isinstance(value, Path):
            paths.append(name)
            bindings[name] = values.bind(f"parameter `{name}`", str(value), keep)
            continue
        known = _binding_in(value, calls, tasks)
        try:
            bindings[name] = known or values.bind(f"parameter `{name}`", value, keep)
        except CodecError:  # a run needs no codec for what only its pipeline's function sees
            lost.append(name)
    return msgspec.structs.replace(request, given=bindings, paths=paths, lost=lost)


def parameters_in(request: RunRequest, values: Values) -> dict[str, Any]:
    """The parameters that were given, as values.

    Raises:
        ConflictError: one of them could not be kept.
        NotFoundError, CorruptBlobError: the bytes of one are gone or damaged.
    """
    if request.lost:
        raise ConflictError(
            f"The parameter `{request.lost[0]}` that the run was given can't be kept, so what would run with it isn't"
            " known here; `mainspring run --dry-run` says it."
        )
    given = {name: values.value(binding) for name, binding in request.given.items()}
    return given | {name: Path(given[name]) for name in request.paths}


def _binding_in(value: Any, calls: Sequence[Call], tasks: Sequence[Task]) -> Any:
    """The binding of a call's argument that is this very value."""
    for call, task in zip(calls, tasks, strict=True):
        for name, argument in call.arguments.items():
            if argument is value:
                return task.bindings[name]
    return None


def shown_params(values: dict[str, Any]) -> dict[str, Any]:
    """Parameters as they are recorded: as JSON, without secrets; what is no UTF-8 is escaped."""
    shown = {name: redact_value(name, msgspec.to_builtins(value, enc_hook=_as_text)) for name, value in values.items()}
    return {name: _escaped(value) for name, value in shown.items()}


def _escaped(value: object) -> object:
    if isinstance(value, dict):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _as_text(value: object) -> str:
    return str(value) if isinstance(value, PurePath | Secret | complex) else repr(value)

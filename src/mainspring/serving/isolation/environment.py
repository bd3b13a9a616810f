"""Which endpoints are answered by a process of their own, and by which interpreter.

Those that say so, and those whose model was registered with another release of its libraries than there is here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from mainspring.errors import RebuildError
from mainspring.models import ModelVersion
from mainspring.models.libraries import distributions_needed, release_differences
from mainspring.models.pickled import CODEC
from mainspring.pipelines.interpreter import Interpreter, rebuilt_interpreter, this_interpreter
from mainspring.runs import EnvironmentDifference, read_environment
from mainspring.runs.environment import Environment, Installed, installed
from mainspring.secrets import redact
from mainspring.serving.endpoint import Endpoint
from mainspring.workspace import Workspace

_log = logging.getLogger("mainspring.serving")
_SELF = "mainspring"
_STORES = ("postgres", "s3", "redis")
_MIB = 1 << 20


class Isolation(msgspec.Struct, frozen=True):
    """How a model's own process is run, and why it has one. `memory_bytes` is its limit, None if there is none."""

    interpreter: Interpreter
    memory_bytes: int | None
    reason: str


def isolation_of(endpoint: Endpoint, version: ModelVersion, workspace: Workspace) -> Isolation | None:
    """How a process of its own answers for an endpoint; None if this one does.

    Where only other releases of libraries ask for it, and the recorded ones can't be had, this process answers, with a warning.

    Raises:
        RebuildError: the endpoint is to be isolated, or a library of the model isn't here, and the recorded environment can't
            be had.
    """
    is_told = endpoint.isolated or endpoint.memory_mb > 0
    memory = endpoint.memory_mb * _MIB or None
    if version.environment is None or endpoint.runtime == "onnx":  # a graph is the same in all of onnxruntime
        return Isolation(this_interpreter(), memory, "as the endpoint says") if is_told else None
    lock, here = read_environment(workspace.blobs, version.environment, str(version)), installed(workspace.cache)
    differ = release_differences(version, lock, here, workspace.blobs)
    if not differ:
        return Isolation(this_interpreter(), memory, "as the endpoint says") if is_told else None
    reason = _told(differ)
    try:
        needed = _needed(version, lock, here, workspace)
        found = rebuilt_interpreter(lock, workspace.cache, needed=needed, asked_by=f"mainspring serve {endpoint.name}")
    except RebuildError as error:
        if is_told or any(each.here is None for each in differ):
            raise
        _log.warning("%s: %s was registered with %s. %s", endpoint.name, version, reason, redact(str(error)))
        return None
    return Isolation(found, memory, reason)


def other_releases(endpoint: Endpoint, version: ModelVersion, workspace: Workspace) -> str:
    """The releases that a model was registered with where others are here, which have it answered by a process of its own.

    Empty if there are none, or its graph answers, which is the same in all of onnxruntime.
    """
    if version.environment is None or endpoint.runtime == "onnx":
        return ""
    lock = read_environment(workspace.blobs, version.environment, str(version))
    return _told(release_differences(version, lock, installed(workspace.cache), workspace.blobs))


def own_distributions(lock: Environment, here: Installed) -> set[str]:
    """What Mainspring itself requires: always, and of the recorded distributions those by which it reaches its stores."""
    own = {
        requirement.partition("[")[0]
        for extra, requirement in here.requirements.get(_SELF, ())
        if not extra or (extra in _STORES and requirement.partition("[")[0] in lock.distributions)
    }
    return own | ({"psycopg-binary"} & lock.distributions.keys())


def _told(differ: Sequence[EnvironmentDifference]) -> str:
    return ", ".join(f"{each.name} {each.recorded} (here {each.here or 'none'})" for each in differ)


def _needed(version: ModelVersion, lock: Environment, here: Installed, workspace: Workspace) -> set[str] | None:
    """The distributions that answering needs, Mainspring's own among them; None, all that were recorded, where code of the
    project is called, which may import any.
    """
    encoded = version.encoded
    if encoded is None or encoded.brings or encoded.codec == CODEC:
        return None if lock.distributions.keys() & {"numpy", "msgspec"} else set()
    return {*own_distributions(lock, here), *distributions_needed(version, lock, here, workspace.blobs)}

"""The model that answers now: loaded, warmed up on its input example, and swapped whole when the endpoint moves."""

from __future__ import annotations

import time
from typing import Any

from mainspring.artifacts.project import importing_from
from mainspring.errors import depended_on
from mainspring.models import ModelVersion, Predictor, example_of, get_model_version
from mainspring.serving.endpoint import Endpoint, get_endpoint
from mainspring.workspace import Workspace

_WARM_CALLS = 3
_SLOW_S = 0.002


class Live:
    """A predictor ready to answer. Immutable: a request that began with it ends with it.

    `is_slow` says that a call takes long enough to be worth a thread, so that it doesn't hold up other requests.
    """

    def __init__(self, endpoint: Endpoint, version: ModelVersion, predictor: Predictor, example: list[Any]) -> None:
        self.endpoint = endpoint
        self.version = version
        self.predictor = predictor
        self.example = example
        self.name = str(version)
        self.header = self.name.encode()
        self.is_slow = _call_s(predictor, example) > _SLOW_S


def load_live(workspace: Workspace, name: str) -> Live:
    """Load what an endpoint serves now and warm it up.

    Raises:
        NotFoundError: no such endpoint.
        CorruptBlobError: the model's bytes no longer match their digest.
        CodecError: the model holds a definition that the project doesn't have.
    """
    endpoint = get_endpoint(name, workspace)
    version = get_model_version(endpoint.version, workspace)
    with importing_from(workspace.project.source_roots), depended_on(f"model version {version}, served by {name}"):
        predictor = Predictor.load(version, workspace.blobs)
    return Live(endpoint, version, predictor, example_of(version, workspace.blobs))


def _call_s(predictor: Predictor, example: list[Any]) -> float:
    """The seconds of one call on the example, once warm."""
    if not example:
        return 0.0
    taken = []
    for _ in range(_WARM_CALLS):
        began = time.perf_counter()
        predictor(example)
        taken.append(time.perf_counter() - began)
    return min(taken)

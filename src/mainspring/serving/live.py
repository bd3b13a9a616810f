"""The model that answers now: loaded, warmed up on its input example, and swapped whole when the endpoint moves."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from mainspring.errors import MainspringError
from mainspring.models import ModelVersion, example_of, get_model_version, inputs_of
from mainspring.secrets import redact
from mainspring.serving.endpoint import Endpoint, get_endpoint
from mainspring.serving.online import OnlinePredictor, load_predictor
from mainspring.workspace import Workspace

_log = logging.getLogger("mainspring.serving")
_WARM_CALLS = 3
_SLOW_S = 0.002


class Live:
    """A predictor ready to answer. Immutable: a request that began with it ends with it.

    `is_slow` says that a call takes long enough to be worth a thread, so that it doesn't hold up other requests;
    `reads_apart` the same of reading its features, which from another machine always is. `example` are records that it takes.
    """

    def __init__(
        self, endpoint: Endpoint, version: ModelVersion, predictor: OnlinePredictor, example: list[Any], *,
        is_remote: bool,
    ) -> None:  # fmt: skip
        self.endpoint = endpoint
        self.version = version
        self.predictor = predictor
        self.name = str(version)
        self.header = self.name.encode()
        self.example = inputs_of(example, predictor.takes)
        self.is_slow = _call_s(predictor.predictor, inputs_of(example, predictor.predictor.signature)) > _SLOW_S
        self.reads_apart = is_remote or _call_s(self._read, self.example) > _SLOW_S

    def _read(self, example: Sequence[Any]) -> None:
        """Read the example's features, if it has keys; what keeps that from succeeding may pass."""
        columns, problems = self.predictor.check(example)
        if not problems:
            try:
                self.predictor.fill(columns, len(example))
            except MainspringError as error:
                _log.warning("%s: the features of its example can't be read: %s", self.name, redact(str(error)))


def load_live(workspace: Workspace, name: str) -> Live:
    """Load what an endpoint serves now and warm it up; from then on a sample of the features that it reads is logged.

    Raises:
        NotFoundError: no such endpoint.
        CorruptBlobError: the model's bytes no longer match their digest.
        CodecError: the model holds a definition that the project doesn't have.
    """
    endpoint = get_endpoint(name, workspace)
    version = get_model_version(endpoint.version, workspace)
    predictor = load_predictor(endpoint, workspace=workspace)
    example = example_of(version, workspace.blobs)
    live = Live(endpoint, version, predictor, example, is_remote=workspace.online_folder is None)
    if predictor.reader is not None:
        from mainspring.features.parity import VectorLog

        predictor.log = workspace.keep("vectors", lambda: VectorLog(workspace))
    return live


def _call_s(call: Callable[[Sequence[Any]], Any], example: list[Any]) -> float:
    """The seconds of one call on the example, once warm."""
    if not example:
        return 0.0
    taken = []
    for _ in range(_WARM_CALLS):
        began = time.perf_counter()
        call(example)
        taken.append(time.perf_counter() - began)
    return min(taken)

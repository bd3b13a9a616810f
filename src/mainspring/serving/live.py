"""The model that answers now: loaded, warmed up on its input example, and swapped whole when the endpoint moves."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from mainspring.errors import MainspringError
from mainspring.models import ModelVersion, example_of, get_model_version, inputs_of
from mainspring.secrets import redact
from mainspring.serving.batching import SLOW_S, TIMEOUT_S, Batcher
from mainspring.serving.endpoint import Endpoint, expect_inside, named_endpoint
from mainspring.serving.feedback.intake import LabelIntake
from mainspring.serving.filling import Filling
from mainspring.serving.online import OnlinePredictor, load_predictor
from mainspring.serving.patience import telling
from mainspring.serving.predictions.log import PredictionLog, prediction_log
from mainspring.serving.predictions.record import Entry, Source
from mainspring.serving.protocols.inference import Inference
from mainspring.serving.protocols.invocations import Invocations
from mainspring.serving.warming import warmed_up
from mainspring.web.app import STUCK
from mainspring.workspace import Workspace

_log = logging.getLogger("mainspring.serving")
_WARM_CALLS = 5
AWAY = "away"
"""The trouble of a model whose own process is being started again."""


class Live:
    """A predictor ready to answer, in each of the protocols. A request that began with it ends with it.

    `batcher` answers; the features of at most `rows_at_hand` rows are read so quickly that no thread is worth it, those of a
    store on another machine never, and `features` counts those that were read, by status. `example` are records that it
    takes, and `holders` are the requests and streams that began with it and haven't ended. `log` is where its predictions are
    logged, None if they aren't, and `intake` takes their labels.
    """

    def __init__(
        self, endpoint: Endpoint, version: ModelVersion, predictor: OnlinePredictor, example: list[Any], *,
        intake: LabelIntake, timeout_s: float = TIMEOUT_S, log: PredictionLog | None = None,
    ) -> None:  # fmt: skip
        self.endpoint = endpoint
        self.version = version
        self.predictor = predictor
        self.name = str(version)
        self.header = self.name.encode()
        self.example = inputs_of(example, predictor.takes)
        model = predictor.predictor
        given = inputs_of(example, model.signature)
        columns, _ = model.check(given)
        with telling(f"{self.name} is still being warmed up for {endpoint.name}"):
            call_s = _call_s(lambda rows: warmed_up(self.name, lambda: model.answer(columns, len(rows))), given)
        names = [field.name for field in model.signature.inputs]
        self.log, self.intake = log, intake
        self.features: Counter[str] = Counter()
        self.holders = 0
        self._replaced = 0  # processes of those that answered before
        self.write = None if log is None else partial(log.write, Source.of(endpoint, predictor))
        give_up = model.give_up if self.is_isolated else None
        self.inference = Inference(predictor.takes, model.signature)
        self.invocations = Invocations(predictor.takes, predictor.check)
        reader = predictor.reader
        is_quick = reader is not None and not reader.is_remote and _call_s(self._read, self.example) <= SLOW_S
        self.rows_at_hand = reader.quick_rows if reader is not None and is_quick else 0
        self.filling = None if reader is None else Filling(self.name, predictor)
        self.batcher = Batcher(
            model.answer, names, call_s=call_s, timeout_s=timeout_s, fill=self.filling, log=self.write, give_up=give_up,
            name=self.name,
        )  # fmt: skip

    @property
    def is_isolated(self) -> bool:
        """Whether the model is in a process of its own."""
        return self.predictor.predictor.restarts is not None

    @property
    def restarts(self) -> int | None:
        """How often the model's own process was replaced, also by those that answered before; None if it has none."""
        own = self.predictor.predictor.restarts
        return None if own is None else self._replaced + own

    def trouble(self, away_s: float = 0.0) -> str:
        """Why no requests are to be sent to it: it is `stuck`, or has been `away` for so long; empty if they are."""
        if not self.batcher.hanging.is_healthy:
            return STUCK
        return AWAY if self.predictor.predictor.away_s > away_s else ""

    def count(self, entry: Entry) -> Mapping[str, int] | None:
        """Count the features that were read for a request, and tell how many by status; None if the model takes none."""
        if entry.filled is None:
            return None
        for status, number in entry.filled.statuses.items():
            self.features[status] += number
        return entry.filled.statuses

    def go_on(self, before: Live) -> None:
        """Count from where the one stopped that answered before the endpoint moved."""
        self.features = before.features  # which the requests that began with it add to
        self.batcher.hanging.go_on(before.batcher.hanging)
        self._replaced = before._replaced + (before.predictor.predictor.restarts or 0)
        self.intake.go_on(before.intake)

    def close(self) -> None:
        """Answer no more: end the model's thread, and its own process if it has one."""
        self.batcher.close()
        self.predictor.close()

    def _read(self, example: Sequence[Any]) -> None:
        """Read the example's features, if it has keys; what keeps that from succeeding may pass."""
        columns, problems = self.predictor.check(example)
        if not problems:
            try:
                self.predictor.fill(columns, len(example))
            except MainspringError as error:
                _log.warning("%s: the features of its example can't be read: %s", self.name, redact(str(error)))


def load_live(workspace: Workspace, name: str, *, timeout_s: float = TIMEOUT_S) -> Live:
    """Load what an endpoint serves now and warm it up; from then on a sample of the features that it reads is logged.

    Raises:
        NotFoundError: no such endpoint.
        NotAllowedError: a service that runs outside answers for it.
        CorruptBlobError: the model's bytes no longer match their digest.
        CodecError: the model holds a definition that the project doesn't have.
        ModelError: the model failed on its example.
        UnavailableError: its own process can't load it.
        InvalidError: its own process holds more than its limit as soon as it is warm.
    """
    endpoint = named_endpoint(name, workspace)
    expect_inside(endpoint)
    version = get_model_version(endpoint.version, workspace)
    with telling(f"{version} is still being loaded for {name}"):
        predictor = load_predictor(endpoint, workspace=workspace)
    example = example_of(version, workspace.blobs)
    log = prediction_log(workspace) if endpoint.log != "off" else None
    intake = LabelIntake(endpoint, workspace)
    live = Live(endpoint, version, predictor, example, intake=intake, timeout_s=timeout_s, log=log)
    if predictor.reader is not None and not {*predictor.reader.request, *predictor.reader.names} & {*endpoint.redact}:
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

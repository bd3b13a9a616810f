"""The HTTP face of an endpoint, as a raw ASGI application: predictions, health, metrics, a description.

A request is answered by the model that was live when it was read. What is wrong with it is said in JSON, with its id.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

from mainspring.errors import MainspringError, StorageError, WrongTypeError
from mainspring.models.signature import Columns
from mainspring.secrets import redact
from mainspring.serving.endpoint import EndpointStore
from mainspring.serving.live import Live, load_live
from mainspring.serving.online import Filled
from mainspring.serving.page import describe, page_of
from mainspring.streams.wire import time_us
from mainspring.web.app import JSON, MOST_ENTITIES, READS, Answer, Headers, Request, RequestError, WebApp, encode
from mainspring.web.body import read_json
from mainspring.web.metrics import Counted, Metrics, counter, gauge
from mainspring.workspace import Workspace

if TYPE_CHECKING:
    from mainspring.features import FeatureReader

_log = logging.getLogger("mainspring.serving")
_FORMS = 'Expected {"records": [{...}]}, a list of records, or one record.'
_MANY_ROWS = 256
_READERS = 16  # threads that wait for a store on another machine
_RETRY = ((b"retry-after", b"1"),)
_PREDICTIONS = Counted(
    "/predict",
    "predict_seconds",
    "Time from a prediction's request to its answer.",
    "predictions_total",
    "Rows predicted.",
)


class ServingApp(WebApp):
    """An ASGI application that answers for one endpoint and follows it when it moves.

    Features of a few rows that aren't read within `features_timeout_s` are a 503, whatever the store's own patience is. In a
    `replay` of recorded traffic a request says in `Feature-Time` as of when its features are read; otherwise that is now.
    `max_entities` is how many rows a request may have whose features are read.
    """

    methods: ClassVar[dict[str, bytes]] = WebApp.methods | {"/": READS, "/predict": b"POST"}

    def __init__(
        self, workspace: Workspace, endpoint: str, *, poll_s: float = 1.0, features_timeout_s: float = 5.0,
        replay: bool = False, max_entities: int = MOST_ENTITIES, **limits: Any,
    ) -> None:  # fmt: skip
        self.workspace = workspace
        self.endpoint = endpoint
        self.live: Live = load_live(workspace, endpoint)
        self._readers = ThreadPoolExecutor(_READERS, "features")
        self._features_timeout_s, self._replay, self._max_entities = features_timeout_s, replay, max_entities
        self._statuses: Counter[str] = Counter()
        super().__init__(Metrics({"endpoint": endpoint}, _PREDICTIONS), **limits)
        self._endpoints = EndpointStore(workspace.database)
        self._poll_s = poll_s

    async def respond(self, route: str, request: Request) -> Answer:
        """Answer an admitted request."""
        if route == "/predict":
            return await self._predict(request)
        if route == "/":
            told = describe(self.live, with_token=self.has_token)
            if b"text/html" in request.headers.get(b"accept", b""):
                return Answer(page_of(told).encode(), b"text/html; charset=utf-8")
            return Answer(encode(told))
        return await super().respond(route, request)

    def told(self) -> Sequence[str]:
        """The version that answers."""
        version = self.live.version
        labels = {"endpoint": self.endpoint, "model": version.name, "version": str(version.number)}
        lines = gauge("mainspring_model_info", "The model version that answers.", [(labels, 1)])
        if self._statuses:
            counts = [({"endpoint": self.endpoint, "status": each}, n) for each, n in sorted(self._statuses.items())]
            lines += counter("mainspring_features_total", "Features that were read for predictions, by status.", counts)
        if self.live.predictor.log is not None:
            about, dropped = "Sampled vectors that are too large for their log.", self.live.predictor.log.dropped
            lines += counter("mainspring_vectors_dropped_total", about, [({"endpoint": self.endpoint}, dropped)])
        return lines

    def headers(self) -> Headers:
        """The version that answers."""
        return ((b"x-model-version", self.live.header),)

    def chores(self) -> list[Coroutine[Any, Any, None]]:
        """Besides, the endpoint is followed."""
        return [self._follow(), *super().chores()]

    async def settle(self) -> None:
        """Wait for no store any longer."""
        self._readers.shutdown(wait=False, cancel_futures=True)

    async def _predict(self, request: Request) -> Answer:
        if request.kind != JSON:
            raise RequestError(415, "Send JSON, uncompressed, with `Content-Type: application/json`.")
        body = await self.body(request)
        live = self.live
        columns, count = live.predictor.decode(body) or self._checked(live, body)
        reader = live.predictor.reader
        filled = Filled(columns) if reader is None else await self._filled(live, reader, columns, count, request)
        try:
            if live.is_slow or count > _MANY_ROWS:
                answers = await asyncio.to_thread(live.predictor.predictor.answer, filled.columns, count)
            else:
                answers = live.predictor.predictor.answer(filled.columns, count)
        except Exception as error:
            raise _failed(request, live.name, error) from error
        answer: dict[str, Any] = {"predictions": answers, "model_version": live.name, "id": request.id.decode()}
        if reader is not None:
            answer["features"] = filled.statuses
        return Answer(encode(answer), rows=count)

    async def _filled(
        self, live: Live, reader: FeatureReader, columns: Columns, count: int, request: Request
    ) -> Filled:
        """What the model takes, with the features that are read for it."""
        if count > self._max_entities:
            raise RequestError(
                422, f"{count:,} rows; features are read for at most {self._max_entities:,} in one request."
            )
        fill, request_id, at_us = live.predictor.fill, request.id.decode(), self._asked_at(request)
        try:
            if live.reads_apart or reader.is_slow(count):
                async with asyncio.timeout(self._features_timeout_s if count <= _MANY_ROWS else None):
                    loop = asyncio.get_running_loop()
                    filled = await loop.run_in_executor(self._readers, fill, columns, count, request_id, at_us)
            else:
                filled = fill(columns, count, request_id, at_us)
        except (StorageError, TimeoutError) as error:
            _log.warning("request %s: %s", request_id, redact(str(error)) or "the features were not read in time")
            raise RequestError(503, "The features can't be read now. Send the request again.", _RETRY) from error
        except WrongTypeError as error:  # a value of the request that its declared type can't hold
            raise RequestError(422, str(error)) from error
        except Exception as error:
            raise _failed(request, f"reading the features of {live.name}", error) from error
        if filled.problems:
            raise RequestError(422, str(filled.problems[0]), problems=filled.problems)
        for status, number in filled.statuses.items():
            self._statuses[status] += number
        return filled

    def _asked_at(self, request: Request) -> int | None:
        """The instant that a request is a replay of; None is now."""
        given = request.headers.get(b"feature-time", b"").decode("latin-1")
        if not given:
            return None
        if not self._replay:
            said = "Features are read as of now. A server that replays traffic takes `Feature-Time`: serve it with --replay."
            raise RequestError(422, said)
        try:
            return time_us(given)
        except MainspringError as error:
            raise RequestError(422, f"Feature-Time: {error}") from error

    def _checked(self, live: Live, body: bytes) -> tuple[Columns, int]:
        """Any form of body, looked at with care: the way for what the quick one doesn't take, and for its errors."""
        records = self._records(live, body)
        columns, problems = live.predictor.check(records)
        if problems:
            raise RequestError(422, str(problems[0]), problems=problems)
        return columns, len(records)

    def _records(self, live: Live, body: bytes) -> list[Any]:
        given = read_json(body)
        if isinstance(given, dict):
            is_record = not given or any(field.name in given for field in live.predictor.takes.inputs)
            given = [given] if is_record else given.get("records")
        if not isinstance(given, list):
            raise RequestError(422, f"{_FORMS} GET / shows one.")
        return given

    async def _follow(self) -> None:
        """Look each second whether the endpoint moved; the new model is loaded and warm before it answers."""
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await asyncio.to_thread(self.follow)
            except Exception as error:  # noqa: BLE001  # what answers now goes on answering, whatever the next one does
                _log.warning("%s stays on %s: %s", self.endpoint, self.live.name, redact(str(error)))

    def follow(self) -> None:
        """Swap to what the endpoint serves, if it moved.

        Raises:
            MainspringError: the database, or the new model, can't be read.
        """
        row = self._endpoints.find(self.endpoint)
        if row is None:
            raise MainspringError("the endpoint is gone")
        if row.generation != self.live.endpoint.generation:
            self.live = load_live(self.workspace, row.name)


def _failed(request: Request, what: str, error: Exception) -> RequestError:
    """The answer to a request at which code of the project failed."""
    _log.error("request %s: %s failed", request.id.decode(), what, exc_info=error)
    text = f"{what} failed on this request ({type(error).__name__}). The log of the server has more."
    return RequestError(500, text)

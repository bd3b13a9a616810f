"""The HTTP face of an endpoint, as a raw ASGI application: predictions, health, metrics, a description.

A request is answered by the model that was live when it was read. What is wrong with it is said in JSON, with its id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, ClassVar

from mainspring.errors import MainspringError
from mainspring.models.signature import Columns
from mainspring.secrets import redact
from mainspring.serving.endpoint import EndpointStore
from mainspring.serving.live import Live, load_live
from mainspring.serving.page import describe, page_of
from mainspring.web.app import JSON, READS, Answer, Headers, Request, RequestError, WebApp, encode
from mainspring.web.body import read_json
from mainspring.web.metrics import Counted, Metrics, gauge
from mainspring.workspace import Workspace

_log = logging.getLogger("mainspring.serving")
_FORMS = 'Expected {"records": [{...}]}, a list of records, or one record.'
_MANY_ROWS = 256
_PREDICTIONS = Counted(
    "/predict",
    "predict_seconds",
    "Time from a prediction's request to its answer.",
    "predictions_total",
    "Rows predicted.",
)


class ServingApp(WebApp):
    """An ASGI application that answers for one endpoint and follows it when it moves."""

    methods: ClassVar[dict[str, bytes]] = WebApp.methods | {"/": READS, "/predict": b"POST"}

    def __init__(self, workspace: Workspace, endpoint: str, *, poll_s: float = 1.0, **limits: Any) -> None:
        self.workspace = workspace
        self.endpoint = endpoint
        self.live: Live = load_live(workspace, endpoint)
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
        return gauge("mainspring_model_info", "The model version that answers.", [(labels, 1)])

    def headers(self) -> Headers:
        """The version that answers."""
        return ((b"x-model-version", self.live.header),)

    def chores(self) -> list[Coroutine[Any, Any, None]]:
        """Besides, the endpoint is followed."""
        return [self._follow(), *super().chores()]

    async def _predict(self, request: Request) -> Answer:
        if request.kind != JSON:
            raise RequestError(415, "Send JSON, uncompressed, with `Content-Type: application/json`.")
        body = await self.body(request)
        live = self.live
        columns, count = live.predictor.decode(body) or self._checked(live, body)
        try:
            if live.is_slow or count > _MANY_ROWS:
                answers = await asyncio.to_thread(live.predictor.answer, columns, count)
            else:
                answers = live.predictor.answer(columns, count)
        except Exception as error:
            _log.exception("request %s: %s failed", request.id.decode(), live.name)
            text = f"{live.name} failed on this request ({type(error).__name__}). The log of the server has more."
            raise RequestError(500, text) from error
        answer = {"predictions": answers, "model_version": live.name, "id": request.id.decode()}
        return Answer(encode(answer), rows=count)

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
            is_record = not given or any(field.name in given for field in live.predictor.signature.inputs)
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

"""The HTTP face of endpoints, as a raw ASGI application: predictions in several protocols, health, metrics, descriptions.

A request is answered by the model that was live when it was read. What is wrong with it is said in JSON, with its id.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from threading import Lock
from typing import Any, ClassVar

from mainspring.errors import (
    MainspringError,
    StorageError,
    close_names,
    shorten,
)
from mainspring.models.signature import Columns
from mainspring.secrets import redact
from mainspring.serving.batching import MANY_ROWS, TIMEOUT_S
from mainspring.serving.endpoint import Endpoint, EndpointStore
from mainspring.serving.failures import refusal_of, said_by
from mainspring.serving.feedback.wire import expect_taken, read_labels
from mainspring.serving.figures import figures
from mainspring.serving.filling import Filling, unread
from mainspring.serving.hanging import OwnThread
from mainspring.serving.live import AWAY, Live, load_live
from mainspring.serving.openapi import document
from mainspring.serving.page import describe, page_of
from mainspring.serving.predictions.record import LOADTEST, Entry
from mainspring.serving.protocols.call import Call, Outcome
from mainspring.serving.protocols.inference import HEADER_LENGTH
from mainspring.serving.protocols.paths import (
    FEEDBACK,
    INFER,
    INVOCATIONS,
    MODEL,
    MODEL_READY,
    PREDICT,
    Place,
    place_of,
)
from mainspring.serving.protocols.records import read_records, write_records
from mainspring.serving.staying import Staying
from mainspring.serving.streaming import KINDS, Form, StreamedAnswer, Streams, forms_of
from mainspring.streams.wire import time_us
from mainspring.web.app import JSON, MOST_ENTITIES, READS, STUCK, Answer, Request, WebApp, encode
from mainspring.web.metrics import Counted, Metrics
from mainspring.web.parameters import prefers_page
from mainspring.web.request_error import RequestError
from mainspring.workspace import Workspace

_log = logging.getLogger("mainspring.serving")
_READERS = 16  # threads that wait for a store on another machine
_LOADERS = 8  # threads at once that load what endpoints moved to, and have not done so for long
_LONG_S = 30.0
_AWAY_S = 5.0  # an ordinary replacement of a model's process takes less
_RETRY = ((b"retry-after", b"1"),)
_POST = b"POST"
_HEALTH = "/v2/health/"
_SMALL_BYTES = 16_384  # of labels, whose check takes about a millisecond
_LARGE_BYTES = 65_536  # of records, whose check takes about a millisecond if nothing is wrong with them
_MANY_ANSWERS = 4_096  # written in about a millisecond
_OVERDUE_S = 0.25
ROLE = b"mainspring-role"
"""The header in which a load test says that it is one."""
_HTML = b"text/html; charset=utf-8"
_PREDICTIONS = Counted(
    frozenset({PREDICT, INVOCATIONS, INFER}),
    "predict_seconds",
    "Time from a prediction's request to its answer.",
    "predictions_total",
    "Rows predicted.",
)


class _Load:
    """What loads the version that an endpoint serves as of a generation."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.generation, self._began_at = endpoint.generation, time.monotonic()

    def passed_s(self) -> float:
        """For how long it has been loading."""
        return time.monotonic() - self._began_at


class ServingApp(WebApp):
    """An ASGI application that answers for endpoints and follows each when it moves. The first is that of paths without a name.

    Features of a few rows that aren't read within `features_timeout_s` are a 503, whatever the store's own patience is, and an
    answer that the model doesn't give within `timeout_s` is a 504. In a `replay` of recorded traffic a request says in
    `Feature-Time` as of when its features are read; otherwise that is now. `max_entities` is how many rows a request may have
    whose features are read. `routes` are paths that a platform asks, each with ours that answers it.
    """

    methods: ClassVar[dict[str, bytes]] = WebApp.methods | {
        "/": READS, "/docs": READS, "/openapi.json": READS, "/ping": READS, "/version": READS, PREDICT: _POST,
        INVOCATIONS: _POST, FEEDBACK: _POST, "/v2": READS, "/v2/health/live": READS, "/v2/health/ready": READS, MODEL: READS,
        MODEL_READY: READS, INFER: _POST,
    }  # fmt: skip
    probes = WebApp.probes | {"/ping", "/v2/health/live", "/v2/health/ready"}
    single = WebApp.single | {HEADER_LENGTH, ROLE, b"feature-time", b"x-model-version", b"x-route-key"}

    def __init__(
        self, workspace: Workspace, *endpoints: str, poll_s: float = 1.0, features_timeout_s: float = 5.0,
        timeout_s: float = TIMEOUT_S, replay: bool = False, max_entities: int = MOST_ENTITIES,
        routes: Mapping[str, str] | None = None, **limits: Any,
    ) -> None:  # fmt: skip
        self.workspace = workspace
        self._routes = dict(routes or {})
        self._timeout_s = timeout_s
        self.live = {name: load_live(workspace, name, timeout_s=timeout_s) for name in endpoints}
        self._readers = ThreadPoolExecutor(_READERS, "features")
        self._streams = Streams()
        self._features_timeout_s, self._replay, self._max_entities = features_timeout_s, replay, max_entities
        super().__init__(Metrics({"endpoint": endpoints[0]} if len(endpoints) == 1 else {}, _PREDICTIONS), **limits)
        self._endpoints = EndpointStore(workspace.database)
        self._poll_s = poll_s
        self._loads: dict[str, _Load] = {}
        self._staying = {name: Staying(poll_s) for name in endpoints}
        self._first = endpoints[0]
        self._retired: list[Live] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._swapping, self._is_settled = Lock(), False
        self._asks: dict[str, Callable[[Live, Request], Awaitable[Answer]]] = {
            PREDICT: self._predict, INFER: self._infer, INVOCATIONS: self._invoke, FEEDBACK: self._take_labels,
            MODEL: self._tell, MODEL_READY: self._tell_ready,
        }  # fmt: skip

    def route(self, path: str) -> str:
        """The route that a path belongs to."""
        return self._place(path).route

    def _place(self, path: str) -> Place:
        return place_of(self._routes.get(path, path))

    async def respond(self, route: str, request: Request) -> Answer:
        """Answer an admitted request."""
        ask = self._asks.get(route)
        if ask is not None:
            live = self._asked(request, self._place(request.path))
            live.holders += 1  # from here on it isn't closed, though the endpoint moves
            try:
                return await ask(live, request)
            finally:
                live.holders -= 1
        if route in ("/", "/docs", "/openapi.json"):
            return self._description(route, request)
        if route == "/v2":
            return Answer(encode({"name": "mainspring", "version": _version(), "extensions": ["binary_tensor_data"]}))
        if route.startswith(_HEALTH):
            is_ok = route.endswith("live") or self.is_ready()
            return Answer(encode({route.removeprefix(_HEALTH): is_ok}), status=200 if is_ok else 503)
        if route == "/version":
            return Answer(_version().encode(), b"text/plain; charset=utf-8")
        return await super().respond(route, request)

    def trouble(self) -> str:
        """Besides, `stuck` if a model hangs, and `away` if one has had no process for longer than it takes to replace it."""
        found = {live.trouble(_AWAY_S) for live in self.live.values()}
        return super().trouble() or next((each for each in (STUCK, AWAY) if each in found), "")

    def told(self) -> Sequence[str]:
        """The versions that answer, and what became of features and threads."""
        return figures(self.live, {name: load.passed_s() for name, load in [*self._loads.items()]})

    def chores(self) -> list[Coroutine[Any, Any, None]]:
        """Besides, the endpoints are followed, and calls that take too long are given up."""
        return [self._follow(), self._give_up(), *super().chores()]

    async def settle(self) -> None:
        """Wait for no store and no model any longer, nor for what is being loaded."""
        with self._swapping:
            self._is_settled = True
        self._readers.shutdown(wait=False, cancel_futures=True)
        await self._streams.close()
        retired, self._retired = self._retired, []
        closing = [asyncio.to_thread(live.close) for live in (*self.live.values(), *retired)]
        await asyncio.gather(*closing, *self._closing)

    async def _predict(self, live: Live, request: Request) -> Answer:
        if request.kind != JSON:
            raise RequestError(415, "Send JSON, with `Content-Type: application/json`.")
        call = await self._read(request, read_records, live.predictor)
        form = _form_for(live, request)
        if form is not None:
            return await self._stream(live, call, request, form)
        outcome = await self._outcome(live, call, request)
        return self._signed(live, await _written(call, write_records, call, outcome, live.name), outcome)

    async def _stream(self, live: Live, call: Call, request: Request, form: Form) -> Answer:
        """The answer to a record, in parts as the model makes them."""
        if call.rows != 1:
            raise RequestError(422, f"{call.rows:,} records; an answer in parts is of one.")
        entry = self._entry(call, request)
        columns = call.columns
        told: dict[str, Any] = {"model_version": live.name, "id": entry.request_id}
        if live.filling is not None:
            columns = await self._fill(live, live.filling, entry, request)
            told["features"] = live.count(entry)
        stream = self._streams.begin(live, columns)
        parts = StreamedAnswer(stream, form, entry, told, self._timeout_s, live.write)
        return Answer(b"", form.kind, rows=1, headers=((b"x-model-version", live.header),), parts=parts)

    async def _infer(self, live: Live, request: Request) -> Answer:
        call = await self._read(request, live.inference.read, request.headers.get(HEADER_LENGTH))
        outcome = await self._outcome(live, call, request)
        told = self._place(request.path).name, str(live.version.number)
        return self._signed(live, await _written(call, live.inference.write, call, outcome, *told), outcome)

    async def _invoke(self, live: Live, request: Request) -> Answer:
        call = await self._read(request, live.invocations.read, request.kind, request.parameters)
        outcome = await self._outcome(live, call, request)
        return self._signed(live, await _written(call, live.invocations.write, call, outcome), outcome)

    async def _read(self, request: Request, read: Callable[..., Call], *told: Any) -> Call:
        """What a request asks, as `read` makes it of its body; a large one is read in a thread, and holds up no other."""
        body = await self.body(request)
        return read(body, *told) if len(body) <= _LARGE_BYTES else await asyncio.to_thread(read, body, *told)

    async def _take_labels(self, live: Live, request: Request) -> Answer:
        body = await self.body(request)
        records = enumerate(read_labels(body, request.kind))
        take = partial(live.intake, records, "http")
        try:  # what takes longer than a few predictions holds none up
            taken = take() if len(body) <= _SMALL_BYTES else await asyncio.to_thread(take)
        except StorageError as error:
            _log.warning("request %s: %s", request.id.decode(), redact(str(error)))
            raise RequestError(503, "Labels can't be logged now. Send all of them again.", _RETRY) from error
        return Answer(encode(expect_taken(taken) | {"id": request.id.decode()}))

    async def _tell(self, live: Live, request: Request) -> Answer:
        name = self._place(request.path).name
        return Answer(encode(live.inference.metadata(name, [str(live.version.number)])))

    async def _tell_ready(self, live: Live, request: Request) -> Answer:
        is_ready = not (super().trouble() or live.trouble())
        told = {"name": self._place(request.path).name, "ready": is_ready}
        return Answer(encode(told), status=200 if is_ready else 503)

    def _description(self, route: str, request: Request) -> Answer:
        if route == "/openapi.json":
            return Answer(encode(document([*self.live.values()], with_token=self.has_token, version=_version())))
        told = [describe(live, with_token=self.has_token) for live in self.live.values()]
        if route == "/docs" or prefers_page(request.headers.get(b"accept", b"")):
            return Answer(page_of(told).encode(), _HTML)
        return Answer(encode(told[0] | ({"endpoints": told} if len(told) > 1 else {})))

    def _asked(self, request: Request, place: Place) -> Live:
        """The model that a request is for.

        Raises:
            RequestError: 404, no such endpoint or version here; 409, another version answers now than the one demanded.
        """
        live = self.live.get(place.name or self._first)
        if live is None:
            near = close_names(place.name, list(self.live))
            said = f"There is no endpoint `{shorten(place.name, 60)}` here{f', nearest: {near[0]}' if near else ''}."
            raise RequestError(404, said)
        number = str(live.version.number)
        if place.version and place.version not in (number, live.name):
            raise RequestError(
                404, f"`{live.endpoint.name}` answers with version {number}, not {shorten(place.version, 20)}."
            )
        demanded = request.headers.get(b"x-model-version")
        if demanded is not None and demanded.decode("latin-1") not in (number, live.name):
            said = f"`{live.endpoint.name}` answers with {live.name} now, not with {shorten(demanded.decode('latin-1'), 40)}."
            raise RequestError(409, said)
        return live

    async def _outcome(self, live: Live, call: Call, request: Request) -> Outcome:
        """The answers to a call, with the features that are read for it."""
        entry = self._entry(call, request)
        if live.filling is not None and not self._is_filled_in_batch(live, call, request):
            await self._fill(live, live.filling, entry, request)
        if not call.rows:
            return Outcome([], entry.request_id, live.count(entry))
        try:
            answers = await live.batcher.answer(call.columns, call.rows, entry, is_alone=self.is_alone())
        except RequestError:
            raise
        except (Exception, SystemExit) as error:
            raise refusal_of(error, entry.request_id, live.name) from error
        return Outcome(answers, entry.request_id, live.count(entry), entry.first)

    def _entry(self, call: Call, request: Request) -> Entry:
        """What is answered and logged of a call."""
        route_key = request.headers.get(b"x-route-key", b"").decode("latin-1")
        role = self._role(request) if ROLE in request.headers else ""
        return Entry(request.id.decode(), route_key, time.perf_counter(), call.columns, call.rows, role)

    @staticmethod
    def _role(request: Request) -> str:
        """The role that a request claims: that of a load test, and no other."""
        given = request.headers[ROLE].decode("latin-1")
        if given != LOADTEST:
            raise RequestError(
                422, f"Mainspring-Role: `{shorten(given, 40)}` is not `{LOADTEST}`, the only one to claim."
            )
        return LOADTEST

    @staticmethod
    def _signed(live: Live, answer: Answer, outcome: Outcome) -> Answer:
        """An answer with the version that gave it, and the id of its first prediction."""
        told = ((b"x-prediction-id", outcome.first.encode()),) if outcome.first else ()
        headers = ((b"x-model-version", live.header), *told, *answer.headers)
        return Answer(answer.body, answer.kind, answer.status, answer.rows, headers=headers)

    def _is_filled_in_batch(self, live: Live, call: Call, request: Request) -> bool:
        """Whether the features of a call are read where it is answered, with those of the calls that are answered with it."""
        return 0 < call.rows <= min(live.rows_at_hand, self._max_entities) and b"feature-time" not in request.headers

    async def _fill(self, live: Live, filling: Filling, entry: Entry, request: Request) -> Columns:
        """What the model takes, with the features that are read for it; where that may take long in a thread."""
        if entry.rows > self._max_entities:
            raise RequestError(
                422, f"{entry.rows:,} rows; features are read for at most {self._max_entities:,} in one request."
            )
        at_us = self._asked_at(request) if b"feature-time" in request.headers else None
        if entry.rows <= live.rows_at_hand:
            return filling.one(entry, at_us)
        work = asyncio.get_running_loop().run_in_executor(self._readers, filling.one, entry, at_us)
        try:
            return await asyncio.wait_for(work, self._features_timeout_s if entry.rows <= MANY_ROWS else None)
        except TimeoutError as error:
            raise unread(error, entry.request_id) from error

    def _asked_at(self, request: Request) -> int | None:
        """The instant that a request is a replay of; None is now."""
        given = request.headers[b"feature-time"].decode("latin-1")
        if not given:
            return None
        if not self._replay:
            said = "Features are read as of now. A server that replays traffic takes `Feature-Time`: serve it with --replay."
            raise RequestError(422, said)
        try:
            return time_us(given)
        except MainspringError as error:
            raise RequestError(422, f"Feature-Time: {error}") from error

    async def _give_up(self) -> None:
        """Give up the calls that take too long, and close what nobody asks any more."""
        while True:
            await asyncio.sleep(min(_OVERDUE_S, self._timeout_s / 4))
            for live in (*self.live.values(), *self._retired):
                live.batcher.end_overdue()
            for live in [each for each in self._retired if not each.holders]:
                self._retired.remove(live)
                closing = asyncio.create_task(asyncio.to_thread(live.close))
                self._closing.add(closing)  # apart, since a process may take its time
                closing.add_done_callback(self._closing.discard)

    async def _follow(self) -> None:
        """Look each second whether endpoints moved; each loads its new model by itself, and holds up no other.

        One that moves again while it loads begins anew beside that. A load that takes long counts no more among those that
        may be under way at once, since it may never end.
        """
        while True:
            await asyncio.sleep(self._poll_s)
            for name in self.live:
                quick = [each for each in [*self._loads.values()] if each.passed_s() < _LONG_S]
                row = await asyncio.to_thread(self._due, name) if len(quick) < _LOADERS else None
                before = self._loads.get(name)
                if row is None or (before is not None and before.generation == row.generation):
                    continue
                load = self._loads[name] = _Load(row)
                thread = OwnThread("models")  # the server's end waits for none
                thread.submit(copy_context().run, self._try, name, load)
                thread.end()

    def _due(self, name: str) -> Endpoint | None:
        """The endpoint, if what it moved to is to be loaded now."""
        staying = self._staying[name]
        try:
            row = self._moved(name)
        except BaseException as error:  # noqa: BLE001  # what answers now goes on answering, whatever keeps it from being read
            if staying.is_unread(said := _reason(error)):
                self._say_why(name, said)
            return None
        return row if staying.is_due(self.live[name].endpoint.generation if row is None else row.generation) else None

    def _try(self, name: str, load: _Load) -> None:
        """Load what an endpoint moved to; what keeps it from there is said, and it is tried again later."""
        staying = self._staying[name]
        try:
            self.follow(name, lambda: self._loads.get(name) is load)
        except BaseException as error:  # noqa: BLE001  # what answers now goes on answering, whatever the next one raises
            if self._loads.get(name) is load and staying.failed(said := _reason(error)):
                self._say_why(name, f"{said.rstrip('.')}. It is tried again in {staying.pause_s:g} s.")
        finally:
            if self._loads.get(name) is load:
                del self._loads[name]

    def _say_why(self, name: str, said: str) -> None:
        if not self._is_settled:  # what it reads may be closed by then
            _log.warning("%s stays on %s: %s", name, self.live[name].name, said)

    def _moved(self, name: str) -> Endpoint | None:
        """The endpoint, if it serves something else than what answers."""
        row = self._endpoints.find(name)
        if row is None:
            raise MainspringError("the endpoint is gone")
        return row if row.generation != self.live[name].endpoint.generation else None

    def follow(self, name: str, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Swap to what an endpoint serves, if it moved; the new model is loaded and warm before it answers.

        What is loaded only when the server has ended, or it is no longer wanted, is closed.

        Raises:
            MainspringError: the database, or the new model, can't be read.
        """
        row = self._moved(name)
        if row is None:
            return
        made = load_live(self.workspace, row.name, timeout_s=self._timeout_s)
        with self._swapping:
            if not self._is_settled and is_wanted():
                before = self.live[name]
                made.go_on(before)
                self.live[name] = made
                self._retired.append(before)  # requests that began with it end with it, and then it is closed
                return
        made.close()


def _reason(error: BaseException) -> str:
    return redact(said_by(error)) or type(error).__name__


def _form_for(live: Live, request: Request) -> Form | None:
    """The form in which a request takes its answer best; None is one piece.

    Raises:
        RequestError: 406, the model answers in none that it takes.
    """
    for form in forms_of(request.headers.get(b"accept", b"")):
        if form is None or live.predictor.predictor.streams:
            return form
    streams = live.predictor.predictor.streams
    kinds = " or ".join(f"`Accept: {kind}`" for kind in (KINDS if streams else KINDS[:1]))
    raise RequestError(406, f"{live.name} answers in one piece{', or in parts' * streams}. Send {kinds}.")


async def _written(call: Call, write: Callable[..., Answer], *told: Any) -> Answer:
    """The answer to a call; one of many rows is written in a thread."""
    return write(*told) if call.rows <= _MANY_ANSWERS else await asyncio.to_thread(write, *told)


def _version() -> str:
    from mainspring import __version__

    return __version__

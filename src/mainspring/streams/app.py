"""Takes events over HTTP: what is answered is kept. Requests that come at one time are appended together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, ClassVar

from mainspring.errors import InvalidError, MainspringError
from mainspring.secrets import redact
from mainspring.streams.event import Appended, Event, check_events
from mainspring.streams.log import EventLog
from mainspring.streams.wire import DOCUMENTS, LINES, events_of, lines_of, records_of
from mainspring.web.app import JSON, READS, Answer, Request, WebApp, encode
from mainspring.web.body import read_json
from mainspring.web.metrics import Counted, Metrics, gauge
from mainspring.web.request_error import RequestError

_log = logging.getLogger("mainspring.streams")
_ROUTE = "/events/{stream}"
_TAKEN = Counted(
    frozenset({_ROUTE}),
    "append_seconds",
    "Time from a request with events to its answer.",
    "events_total",
    "New events appended.",
)
_FORMS = {
    "POST /events/STREAM": 'an event {"id": ..., "time": ..., "type": ..., "data": {...}}, of which only data is needed; '
    "a list of them; lines of them (application/x-ndjson); or CloudEvents 1.0 in JSON, one or a batch",
    "answer": '{"events": [{"id", "offset", "is_new"}], "duplicates"}; what was answered is kept',
    "GET /health, /live, /ready, /metrics": "for probes and Prometheus",
}
_RETRY = ((b"retry-after", b"1"),)
_PROBLEMS = 100
_MOST_TOLD = 256  # streams in the metrics: clients name them, and a series stays for ever where it is scraped to
_Waiting = dict[str, list[tuple[list[Event], asyncio.Future[list[Appended]]]]]


class StreamsApp(WebApp):
    """An ASGI application in front of a log."""

    methods: ClassVar[dict[str, bytes]] = WebApp.methods | {"/": READS, _ROUTE: b"POST"}

    def __init__(self, log: EventLog, **limits: Any) -> None:
        super().__init__(Metrics({}, _TAKEN), **limits)
        self._log = log
        self._ends: dict[str, int] = {}
        self._waiting: _Waiting = {}
        self._appending: asyncio.Task[None] | None = None

    def route(self, path: str) -> str:
        """`/events/…` is one route."""
        return _ROUTE if path.startswith("/events/") else path

    async def respond(self, route: str, request: Request) -> Answer:
        """Answer an admitted request."""
        if route == _ROUTE:
            return await self._take(request)
        if route == "/":
            return Answer(encode(_FORMS))
        return await super().respond(route, request)

    def told(self) -> Sequence[str]:
        """How far the streams go that were appended to here; of many those that were last."""
        ends = [({"stream": name}, end) for name, end in sorted(self._ends.items())]
        return gauge("mainspring_stream_offset", "The last offset that was appended here.", ends)

    async def settle(self) -> None:
        """Wait for what is being appended."""
        if self._appending is not None:
            await self._appending

    async def _take(self, request: Request) -> Answer:
        kind = request.kind.decode("latin-1")
        if kind not in DOCUMENTS + LINES:
            raise RequestError(
                415, f"Send {', '.join((JSON.decode(), LINES[0]))} or CloudEvents in JSON, uncompressed."
            )
        body = await self.body(request)
        records = (
            lines_of(body, read_json) if kind in LINES else records_of(read_json(body, "an event or a list of events"))
        )
        events, problems = events_of(records)
        if problems:
            raise RequestError(422, problems[0], problems=problems[:_PROBLEMS])
        stream = request.path.removeprefix("/events/")
        try:
            check_events(stream, events)
        except InvalidError as error:
            raise RequestError(422, str(error), problems=[str(error)]) from error
        try:
            appended = await self._append(stream, events) if events else []
        except MainspringError as error:
            _log.warning("request %s: %s", request.id.decode(), redact(str(error)))
            raise RequestError(
                503,
                "The log can't be written now, so nothing of this is acknowledged. Send it again with the same ids.",
                _RETRY,
            ) from error
        new = sum(each.is_new for each in appended)
        answer = {"events": appended, "duplicates": len(appended) - new, "id": request.id.decode()}
        return Answer(encode(answer), rows=new)

    async def _append(self, stream: str, events: list[Event]) -> list[Appended]:
        future: asyncio.Future[list[Appended]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(stream, []).append((events, future))
        if self._appending is None or self._appending.done():
            self._appending = asyncio.create_task(self._append_waiting())
        return await future

    async def _append_waiting(self) -> None:
        """Append what waits, stream by stream, until nothing does."""
        while self._waiting:
            stream = next(iter(self._waiting))
            waiting = self._waiting.pop(stream)
            try:
                together = [event for events, _ in waiting for event in events]
                appended = await asyncio.to_thread(self._log.append, stream, together)
            except Exception as error:  # noqa: BLE001  # whatever it is, each of those who wait is told
                for _, future in waiting:
                    if not future.done():
                        future.set_exception(error)
                continue
            self._ends[stream] = max(self._ends.pop(stream, 0), *(each.offset for each in appended))
            if len(self._ends) > _MOST_TOLD:
                del self._ends[next(iter(self._ends))]
            start = 0
            for events, future in waiting:
                if not future.done():
                    future.set_result(appended[start : start + len(events)])
                start += len(events)

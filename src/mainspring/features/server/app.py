"""The HTTP face of features, as a raw ASGI application in the shape of Feast's feature server.

Reads are answered by the versions of definitions that are newest, or that a request names. Errors about what was asked are
in Feast's shape, so that its clients raise their own exceptions with our text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, ClassVar

import msgspec

from mainspring.errors import InvalidError, MainspringError, NotAllowedError, NotFoundError, WrongTypeError
from mainspring.features.definitions.records import ServiceRecord
from mainspring.features.online.vector import Vector
from mainspring.features.parity.log import VectorLog
from mainspring.features.parity.recorded import parity_lines
from mainspring.features.server.catalogue import Catalogue, Entry, Wanted
from mainspring.features.server.description import describe, page_of
from mainspring.features.server.shapes import (
    MaterializeRequest,
    OnlineRequest,
    PushRequest,
    WriteRequest,
    entities_of,
    online_answer,
    read_body,
)
from mainspring.features.server.writing import materialize_views, push_rows, write_features
from mainspring.secrets import redact
from mainspring.web.app import JSON, MOST_ENTITIES, READS, Answer, Request, WebApp, encode
from mainspring.web.metrics import Counted, Metrics, counter, gauge
from mainspring.web.parameters import prefers_page
from mainspring.web.request_error import RequestError
from mainspring.workspace import Workspace

_log = logging.getLogger("mainspring.features")
_READ = "/get-online-features"
_FEATURES = Counted(
    frozenset({_READ}), "features_seconds", "Time from a request for features to its answer.", "feature_vectors_total",
    "Vectors read.",
)  # fmt: skip
_WRITES: dict[str, tuple[type[msgspec.Struct], Callable[[Any, Workspace], dict[str, Any]]]] = {
    "/push": (PushRequest, push_rows),
    "/write-to-online-store": (WriteRequest, write_features),
    "/materialize": (MaterializeRequest, materialize_views),
    "/materialize-incremental": (MaterializeRequest, materialize_views),
}
_FEAST_CLASSES = {
    "feature service": "FeatureServiceNotFoundException", "feature view": "FeatureViewNotFoundException",
    "push source": "PushSourceNotFoundException",
}  # fmt: skip
_OF_BODIES = (400, 415, 422)  # what is no JSON, or of another shape
_RETRY = ((b"retry-after", b"1"),)
_READERS = 32  # threads that may wait for a store
_PARITY_POLLS = 15


class FeaturesApp(WebApp):
    """An ASGI application that serves the features of a workspace, for at most `max_entities` in a request."""

    methods: ClassVar[dict[str, bytes]] = (
        WebApp.methods | {"/": READS, _READ: b"POST"} | dict.fromkeys(_WRITES, b"POST")
    )

    def __init__(
        self, workspace: Workspace, *, poll_s: float = 1.0, max_entities: int = MOST_ENTITIES, **limits: Any
    ) -> None:
        super().__init__(Metrics({}, _FEATURES), **limits)
        self._workspace, self._poll_s, self._max_entities = workspace, poll_s, max_entities
        self._catalogue = Catalogue(workspace)
        self._vectors = workspace.keep("vectors", lambda: VectorLog(workspace))
        self._pool = ThreadPoolExecutor(_READERS, "features")
        self._not_live = 0
        self._parity: list[str] = []

    async def respond(self, route: str, request: Request) -> Answer:
        """Answer an admitted request."""
        if route == "/":
            return await self._describe(request)
        if route != _READ and route not in _WRITES:
            return await super().respond(route, request)
        try:
            return await (self._read(request) if route == _READ else self._write(route, request))
        except (NotFoundError, InvalidError, WrongTypeError, NotAllowedError) as error:
            return _refused(error)
        except MainspringError as error:
            _log.warning("request %s: %s", request.id.decode(), redact(str(error)))
            raise RequestError(503, f"Try again later: {redact(str(error))}", _RETRY) from error
        except RequestError as refused:
            if refused.status in _OF_BODIES:
                return _told(refused.status, "FeastError", str(refused))
            raise
        except Exception as error:
            _log.exception("request %s failed", request.id.decode())
            text = f"This request failed ({type(error).__name__}). The log of the server has more."
            raise RequestError(500, text) from error

    def told(self) -> Sequence[str]:
        """How many vectors were answered without the store, and what the newest verifications found."""
        about = "Vectors answered as declared for an outage of the online store."
        lines = gauge("mainspring_feature_vectors_not_live", about, [({}, self._not_live)])
        about = "Sampled vectors that are too large for their log."
        return [
            *lines, *counter("mainspring_vectors_dropped_total", about, [({}, self._vectors.dropped)]), *self._parity,
        ]  # fmt: skip

    def chores(self) -> list[Coroutine[Any, Any, None]]:
        """Besides, new versions of definitions are followed."""
        return [self._follow(), *super().chores()]

    async def settle(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False)

    async def _read(self, request: Request) -> Answer:
        asked = await self._body(request, OnlineRequest)
        wanted = Wanted.of(asked)
        entry = self._catalogue.find(wanted) or await self._threaded(self._catalogue.make, wanted)
        count = max(map(len, asked.entities.values()), default=0)
        if count > self._max_entities:
            told = f"at most {self._max_entities:,} in one request"
            raise InvalidError("entities", f"{count:,} of them", told, "Ask in several.")
        given = asked, entry, request.id.decode(), self._vectors
        answer, vectors = (
            await self._threaded(_answered, *given) if count > entry.reader.quick_rows else _answered(*given)
        )
        self._not_live += sum(not each.is_live for each in vectors)
        return answer

    async def _write(self, route: str, request: Request) -> Answer:
        kind, act = _WRITES[route]
        asked = await self._body(request, kind)
        return Answer(encode(await asyncio.to_thread(act, asked, self._workspace)))

    async def _describe(self, request: Request) -> Answer:
        services = await self._threaded(self._catalogue.services)
        told = describe([each.record for each in services if isinstance(each.record, ServiceRecord)])
        if prefers_page(request.headers.get(b"accept", b"")):
            return Answer(page_of(told).encode(), b"text/html; charset=utf-8")
        return Answer(encode(told))

    async def _body(self, request: Request, kind: type[Any]) -> Any:
        if request.kind != JSON:
            raise RequestError(415, "Send JSON, uncompressed, with `Content-Type: application/json`.")
        return read_body(await self.body(request), kind)

    async def _threaded(self, act: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, act, *given)

    async def _follow(self) -> None:
        """Look each second whether definitions have new versions, and now and then what was verified."""
        for number in count():
            await asyncio.sleep(self._poll_s)
            try:
                await self._threaded(self._catalogue.follow)
                if number % _PARITY_POLLS == 0:
                    self._parity = await self._threaded(parity_lines, self._workspace)
            except Exception as error:  # noqa: BLE001  # what answers now goes on answering
                _log.warning("features stay at their versions: %s", redact(str(error)))


def _answered(asked: OnlineRequest, entry: Entry, request_id: str, log: VectorLog) -> tuple[Answer, list[Vector]]:
    reader = entry.reader
    entities = entities_of(asked.entities, reader.request)
    if entry.is_kept and log.share:
        vectors = log.read(reader, entities, [f"{request_id}-{row}" for row in range(len(entities))])
    else:
        vectors = reader.read(entities)
    answer = online_answer(asked.entities, reader.request, entry.names, entry.fields, vectors)
    if asked.include_feature_view_version_metadata:
        views = [{"name": view.name, "version": view.number} for view in reader.views]
        answer["metadata"]["feature_view_metadata"] = views
    return Answer(encode(answer), rows=len(vectors)), vectors


def _refused(error: MainspringError) -> Answer:
    """What is wrong with a request, as Feast's clients read it: a text that is JSON in itself."""
    name = "FeastError"
    if isinstance(error, NotFoundError):
        name = _FEAST_CLASSES.get(error.kind, "FeastObjectNotFoundException")
    is_name = isinstance(error, NotFoundError) and error.kind not in ("entity column", "column")
    return _told(404 if is_name else 422, name, str(error))


def _told(status: int, name: str, message: str) -> Answer:
    told = {"module": "feast.errors", "class": name, "message": message}
    return Answer(encode(encode(told).decode()), status=status)

"""The HTTP face of an endpoint, as a raw ASGI application: predictions, health, metrics, a description.

A request is answered by the model that was live when it was read. What is wrong with it is said in JSON, with its id.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec

from mainspring.errors import MainspringError
from mainspring.ledger import new_id
from mainspring.models.signature import Columns
from mainspring.secrets import redact
from mainspring.serving.endpoint import EndpointStore
from mainspring.serving.live import Live, load_live
from mainspring.serving.metrics import CONTENT_TYPE, Metrics
from mainspring.serving.page import describe, page_of
from mainspring.workspace import Workspace

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Scope = dict[str, Any]

_log = logging.getLogger("mainspring.serving")
_JSON = b"application/json"
_METHODS = {"/": b"GET, HEAD", "/predict": b"POST", "/metrics": b"GET, HEAD"} | dict.fromkeys(
    ("/health", "/live", "/ready"), b"GET, HEAD"
)
_OPEN = ("/health", "/live", "/ready")  # for probes, which bear no token
_FORMS = 'Expected {"records": [{...}]}, a list of records, or one record.'
_LONGEST_ID = 128
_OVERDUE = 0.0
_MANY_ROWS = 256


class RequestError(Exception):
    """A request that is not answered as asked: a status, what is wrong, and more to say."""

    def __init__(self, status: int, error: str, headers: tuple[tuple[bytes, bytes], ...] = (), **more: Any) -> None:
        super().__init__(error)
        self.status, self.headers = status, headers
        self.body = {"error": error, **more}


class ServingApp:
    """An ASGI application that answers for one endpoint and follows it when it moves.

    `token`, if not empty, must be borne by every request but the probes.
    """

    def __init__(
        self,
        workspace: Workspace,
        endpoint: str,
        *,
        token: str = "",
        max_body_bytes: int = 16 << 20,
        read_timeout_s: float = 30.0,
        poll_s: float = 1.0,
    ) -> None:
        self.workspace = workspace
        self.live: Live = load_live(workspace, endpoint)
        self.metrics = Metrics(endpoint)
        self.is_draining = False
        self._endpoints = EndpointStore(workspace.database)
        self._token = token.encode()
        self._max_body_bytes, self._read_timeout_s, self._poll_s = max_body_bytes, read_timeout_s, poll_s
        self._reading: dict[asyncio.Task[Any] | None, float] = {}
        self._decode = msgspec.json.Decoder().decode
        self._encode = msgspec.json.Encoder().encode

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request, or the life of the server."""
        if scope["type"] == "lifespan":
            await self._live_through(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, path = time.perf_counter(), scope["path"]
        headers = dict(scope["headers"])
        request_id = _request_id(headers)
        self.metrics.in_flight += 1
        rows, status, extra = 0, 200, ()
        try:
            self._admit(scope["method"], path, headers)
            if path == "/predict":
                body, rows = await self._predict(headers, receive, request_id)
                kind = _JSON
            else:
                status, kind, body = self._tell(path, headers)
        except RequestError as refused:
            status, kind, extra = refused.status, _JSON, refused.headers  # type: ignore[assignment]  # begins empty
            body = self._encode(refused.body | {"id": request_id.decode()})
        except (ConnectionError, asyncio.CancelledError):
            status = 499  # the client is gone; nobody reads an answer
            raise
        finally:
            self.metrics.in_flight -= 1
            if status == 499:
                self.metrics.count(path if path in _METHODS else "other", status, time.perf_counter() - began)
        answer = [
            (b"content-type", kind), (b"content-length", b"%d" % len(body)), (b"x-request-id", request_id),
            (b"x-model-version", self.live.header), *extra,
        ]  # fmt: skip
        await send({"type": "http.response.start", "status": status, "headers": answer})
        await send({"type": "http.response.body", "body": body})
        self.metrics.count(path if path in _METHODS else "other", status, time.perf_counter() - began, rows)

    def _admit(self, method: str, path: str, headers: dict[bytes, bytes]) -> None:
        methods = _METHODS.get(path)
        if methods is None:
            raise RequestError(404, f"There is no {path[:100]} here. See GET / for what there is.")
        if method.encode() not in methods.split(b", "):
            raise RequestError(405, f"{path} takes {methods.decode()}.", ((b"allow", methods),))
        if self._token and path not in _OPEN:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
                raise RequestError(
                    401, "This needs `Authorization: Bearer TOKEN`.", ((b"www-authenticate", b"Bearer"),)
                )

    async def _predict(self, headers: dict[bytes, bytes], receive: Receive, request_id: bytes) -> tuple[bytes, int]:
        kind = headers.get(b"content-type", _JSON).partition(b";")[0].strip().lower()
        if kind != _JSON or headers.get(b"content-encoding", b"identity") != b"identity":
            raise RequestError(415, "Send JSON, uncompressed, with `Content-Type: application/json`.")
        body = await self._body(headers, receive)
        live = self.live
        columns, count = live.predictor.decode(body) or self._checked(live, body)
        try:
            if live.is_slow or count > _MANY_ROWS:
                answers = await asyncio.to_thread(live.predictor.answer, columns, count)
            else:
                answers = live.predictor.answer(columns, count)
        except Exception as error:
            _log.exception("request %s: %s failed", request_id.decode(), live.name)
            text = f"{live.name} failed on this request ({type(error).__name__}). The log of the server has more."
            raise RequestError(500, text) from error
        answer = {"predictions": answers, "model_version": live.name, "id": request_id.decode()}
        return self._encode(answer), count

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        limit = self._max_body_bytes
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > limit:
            raise self._too_large()
        chunks, size = [], 0
        # A timer for each request would cost 8 µs; the overdue are looked for by the clock of `_end_overdue` instead.
        reader = asyncio.current_task()
        self._reading[reader] = time.monotonic() + self._read_timeout_s
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionResetError("the client went away before its request was complete")
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                if size > limit:
                    raise self._too_large()
                if not message.get("more_body"):
                    return b"".join(chunks) if len(chunks) > 1 else chunks[0]
        except asyncio.CancelledError:
            if self._reading.get(reader) != _OVERDUE:
                raise
            if reader is not None:
                reader.uncancel()
            said = f"The body did not arrive within {self._read_timeout_s:g} s."
            raise RequestError(408, said, ((b"connection", b"close"),)) from None
        finally:
            self._reading.pop(reader, None)

    def _too_large(self) -> RequestError:
        said = f"The body is larger than {self._max_body_bytes:,} bytes."
        return RequestError(413, said, ((b"connection", b"close"),))

    async def _end_overdue(self) -> None:
        """End the reading of bodies that don't arrive."""
        while True:
            await asyncio.sleep(min(1.0, self._read_timeout_s / 4))
            now = time.monotonic()
            for reader, until in list(self._reading.items()):
                if reader is not None and _OVERDUE < until < now:
                    self._reading[reader] = _OVERDUE
                    reader.cancel()

    def _checked(self, live: Live, body: bytes) -> tuple[Columns, int]:
        """Any form of body, looked at with care: the way for what the quick one doesn't take, and for its errors."""
        records = self._records(live, body)
        columns, problems = live.predictor.check(records)
        if problems:
            raise RequestError(422, str(problems[0]), problems=problems)
        return columns, len(records)

    def _records(self, live: Live, body: bytes) -> list[Any]:
        try:
            given = self._decode(body)
        except (ValueError, RecursionError) as error:
            raise RequestError(400, f"This is not JSON: {_not_finite(body) or str(error)[:200]}") from error
        if isinstance(given, dict):
            is_record = not given or any(field.name in given for field in live.predictor.signature.inputs)
            given = [given] if is_record else given.get("records")
        if not isinstance(given, list):
            raise RequestError(422, f"{_FORMS} GET / shows one.")
        return given

    def _tell(self, path: str, headers: dict[bytes, bytes]) -> tuple[int, bytes, bytes]:
        if path == "/metrics":
            version = self.live.version
            return (
                200,
                CONTENT_TYPE,
                self.metrics.text({"model": version.name, "version": str(version.number)}).encode(),
            )
        if path == "/":
            told = describe(self.live, with_token=bool(self._token))
            if b"text/html" in headers.get(b"accept", b""):
                return 200, b"text/html; charset=utf-8", page_of(told).encode()
            return 200, _JSON, self._encode(told)
        ready = path == "/live" or not self.is_draining
        return (200 if ready else 503), _JSON, self._encode({"status": "ok" if ready else "draining"})

    async def _live_through(self, receive: Receive, send: Send) -> None:
        chores: list[asyncio.Task[None]] = []
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                chores = [asyncio.create_task(self._follow()), asyncio.create_task(self._end_overdue())]
                await send({"type": "lifespan.startup.complete"})
            else:
                for chore in chores:
                    chore.cancel()
                    with suppress(asyncio.CancelledError):
                        await chore
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _follow(self) -> None:
        """Look each second whether the endpoint moved; the new model is loaded and warm before it answers."""
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await asyncio.to_thread(self.follow)
            except Exception as error:  # noqa: BLE001  # what answers now goes on answering, whatever the next one does
                _log.warning("%s stays on %s: %s", self.metrics.endpoint, self.live.name, redact(str(error)))

    def follow(self) -> None:
        """Swap to what the endpoint serves, if it moved.

        Raises:
            MainspringError: the database, or the new model, can't be read.
        """
        row = self._endpoints.find(self.metrics.endpoint)
        if row is None:
            raise MainspringError("the endpoint is gone")
        if row.generation != self.live.endpoint.generation:
            self.live = load_live(self.workspace, row.name)


def _not_finite(body: bytes) -> str:
    """Where a body holds `NaN` or an infinity, which Python's own writer of JSON lets through; empty if nowhere."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    at: list[tuple[str, Any]] = [("", given)]
    while at:
        path, value = at.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return f"{path or 'the body'} is {value} or too large for a number. Send null for what is missing."
        if isinstance(value, dict):
            at += [(f"{path}.{key}".lstrip("."), each) for key, each in reversed(value.items())]
        elif isinstance(value, list):
            at += [(f"{path}[{place}]", each) for place, each in reversed([*enumerate(value)])]
    return ""


def _request_id(headers: dict[bytes, bytes]) -> bytes:
    """The caller's id if it is one, else a new one."""
    given = headers.get(b"x-request-id", b"")
    if 0 < len(given) <= _LONGEST_ID and all(33 <= byte < 127 for byte in given):
        return given
    return new_id().encode()

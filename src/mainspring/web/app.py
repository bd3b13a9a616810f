"""A raw ASGI application without its routes: it admits requests, reads bodies within limits, answers, and counts.

What is wrong with a request is said in JSON, with the request's id. Probes need no token.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import os
import time
import zlib
from collections.abc import Collection, Coroutine, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, BinaryIO, ClassVar
from urllib.parse import urlsplit

import msgspec

from mainspring.config import is_loopback
from mainspring.ledger import Actor, new_id
from mainspring.web.metrics import CONTENT_TYPE, Metrics
from mainspring.web.parameters import fields_of, parameters_of
from mainspring.web.request_error import Headers, RequestError
from mainspring.web.siblings import Siblings
from mainspring.web.streaming import GONE, Parts, Receive, Send, send_parts, stopped

Scope = dict[str, Any]

JSON = b"application/json"
READS = b"GET, HEAD"
_PROBES = ("/health", "/live", "/ready")
STUCK = "stuck"
"""The trouble of a process that only another one in its place mends."""
MOST_ENTITIES = 10_000
"""How many entities a request may name whose features are read, unless a server is told otherwise."""
_LONGEST_ID = 128
_PACKED_BYTES = 1 << 14  # unpacked at once: of these, what is behind a member is copied for each member
_QUICK_BYTES = 1 << 13  # are unpacked in less time than it takes to hand them to a thread
_QUICK_UNPACKED_BYTES = 1 << 16
_MOST_MEMBERS = 1_000  # a file of bgzip has one for each 64 KiB
_PART_BYTES = 1 << 20
_OVERDUE = 0.0
_GZIP = 16 + zlib.MAX_WBITS
_WINDOWS = {b"gzip": _GZIP, b"x-gzip": _GZIP, b"deflate": zlib.MAX_WBITS}
_PLAIN = (b"", b"identity")
_SENDERS = (b"host", b"origin")
_LAST = ((b"connection", b"close"),)
encode = msgspec.json.Encoder().encode


class Request:
    """A request whose body was not read yet; `actor` is who sent it, where a server knows people."""

    __slots__ = ("actor", "headers", "id", "method", "path", "query", "receive")

    def __init__(
        self, path: str, headers: dict[bytes, bytes], receive: Receive, method: str = "GET", query: bytes = b""
    ) -> None:
        self.path, self.headers, self.receive, self.method, self.query = path, headers, receive, method, query
        self.id = _request_id(headers)
        self.actor: Actor | None = None

    @property
    def kind(self) -> bytes:
        """The media type of the body, JSON if none is named."""
        given = self.headers.get(b"content-type", JSON)
        return JSON if given == JSON else given.partition(b";")[0].strip().lower()

    @property
    def parameters(self) -> dict[str, str]:
        """What `Content-Type` tells beside the media type, such as `charset`, by names in lower case."""
        return parameters_of(self.headers.get(b"content-type", b"").decode("latin-1"))


class Answer(msgspec.Struct, frozen=True):
    """What is answered; `rows` is how much work that was, for the counters. A `file` is sent for the body, and closed, and so
    are `parts`, as they are made.
    """

    body: bytes
    kind: bytes = JSON
    status: int = 200
    rows: int = 0
    file: BinaryIO | None = None
    headers: Headers = ()
    parts: Parts | None = None


class WebApp:
    """An ASGI application. A subclass adds to `methods` and answers its routes in `respond`.

    `token`, if not empty, must be borne by every request but the probes. `methods` are the routes with what they take; `probes`
    are those that say whether the server lives, or is ready. `single` are headers that have one value, all others are lists.
    `is_behind` declares that a platform authenticates whoever asks. `under_way` are the requests that its server has read and
    not answered, if that says.
    """

    methods: ClassVar[dict[str, bytes]] = {"/metrics": READS} | dict.fromkeys(_PROBES, READS)
    probes: ClassVar[frozenset[str]] = frozenset(_PROBES)
    single: ClassVar[frozenset[bytes]] = frozenset(
        (b"authorization", b"content-length", b"content-md5", b"content-type", b"host", b"origin", b"x-request-id")
    )

    def __init__(
        self, metrics: Metrics, *, token: str = "", max_body_bytes: int = 16 << 20, read_timeout_s: float = 30.0,
        is_behind: bool = False,
    ) -> None:  # fmt: skip
        self.metrics = metrics
        self.is_draining = False
        self.siblings: Siblings | None = None
        self.has_token = bool(token)
        self._token = token.encode()
        self._is_behind = is_behind
        self._max_body_bytes, self.read_timeout_s = max_body_bytes, read_timeout_s
        self._reading: dict[asyncio.Task[Any] | None, float] = {}
        self._taken = {route: frozenset(methods.decode().split(", ")) for route, methods in self.methods.items()}
        self.under_way: Collection[Any] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request, or the life of the server."""
        if scope["type"] == "lifespan":
            await self._live_through(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    def route(self, path: str) -> str:
        """The route that a path belongs to: itself, unless routes have parameters."""
        return path

    async def respond(self, route: str, request: Request) -> Answer:
        """Answer an admitted request; raises `RequestError` for what is wrong with it."""
        if route == "/metrics":
            counted = self.counted()
            return Answer((self.siblings.text(counted) if self.siblings else counted).encode(), CONTENT_TYPE)
        trouble = "" if request.path == "/live" else self.trouble()
        return Answer(encode({"status": trouble or "ok"}), status=503 if trouble else 200)

    def is_ready(self) -> bool:
        """Whether requests are to be sent here."""
        return not self.trouble()

    def trouble(self) -> str:
        """Why no requests are to be sent here, in a word; empty if they are."""
        return "draining" if self.is_draining else ""

    def told(self) -> Sequence[str]:
        """More lines of `/metrics`."""
        return ()

    def counted(self) -> str:
        """What this process counted, in the text form of Prometheus."""
        return self.metrics.text(self.told())

    def headers(self) -> Headers:
        """Headers of every answer; a server that drains answers each connection for the last time."""
        return _LAST if self.is_draining else ()

    def refusal(self, refused: RequestError) -> dict[str, Any]:
        """What is said of a request that is not answered as asked."""
        return refused.body

    def chores(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on for as long as the server runs."""
        return [self._end_overdue()]

    async def settle(self) -> None:
        """End what was begun, when the last request is answered."""

    def is_alone(self) -> bool:
        """Whether the request that is being answered is the only one that came."""
        return self.under_way is not None and len(self.under_way) == 1

    async def admit(self, request: Request) -> None:
        """Refuse a request, unless for a probe, that bears no token where one is needed, or that a page of another site sent.

        Raises:
            RequestError: 401 it lacks the token, 403 it comes from elsewhere.
        """
        if self._token:
            if not hmac.compare_digest(borne(request.headers), self._token):
                raise unauthenticated("This needs `Authorization: Bearer TOKEN`.")
            return
        for each in () if self._is_behind else _SENDERS:
            sender = request.headers.get(each)
            if sender is not None and not _is_of_here(sender):
                said = "Without a token this answers to the names of this machine alone: 127.0.0.1, localhost. Set serve_token."
                raise RequestError(403, said)

    async def body(self, request: Request) -> bytes:
        """The body of a request, whole, and unpacked if it is compressed.

        Raises:
            RequestError: 413 too large, also unpacked; 408 it did not arrive in time; 415 packed as nothing known; 400 damaged.
            ConnectionError: the client is gone.
        """
        body = await self._arrived(request)
        coding = request.headers.get(b"content-encoding", b"").strip().lower()
        return body if coding in _PLAIN else await self._inflated(body, coding)

    async def _arrived(self, request: Request) -> bytes:
        limit = self._max_body_bytes
        announced = request.headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > limit:
            raise self._too_large()
        chunks, size = [], 0
        # A timer for each request would cost 8 µs; the overdue are looked for by the clock of `_end_overdue` instead.
        reader = asyncio.current_task()
        self._reading[reader] = time.monotonic() + self.read_timeout_s
        try:
            while True:
                message = await request.receive()
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
            said = f"The body did not arrive within {self.read_timeout_s:g} s."
            raise RequestError(408, said, ((b"connection", b"close"),)) from None
        finally:
            self._reading.pop(reader, None)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        query = scope.get("query_string", b"")
        lines = scope["headers"]
        request = Request(scope["path"], dict(lines), receive, scope["method"], query)
        route = self.route(request.path)
        counted = route if route in self.methods else "other"
        is_work = route not in self.probes and route != "/metrics"  # whoever looks at the load is no part of it
        self.metrics.in_flight += is_work
        try:
            if len(request.headers) < len(lines):
                request.headers = fields_of(lines, self.single)
            self._expect_served(request.method, route)
            if route not in self.probes:
                await self.admit(request)
            answer = await self.respond(route, request)
        except (RequestError, asyncio.CancelledError) as error:
            refused = error if isinstance(error, RequestError) else stopped()  # cancelled, the server waits no longer
            told = encode(self.refusal(refused) | {"id": request.id.decode()})
            answer = Answer(told, status=refused.status, headers=refused.headers)
        except ConnectionError:  # the client is gone; nobody reads an answer
            self.metrics.count(counted, GONE, time.perf_counter() - began)
            return
        finally:
            self.metrics.in_flight -= is_work
        if answer.parts is not None:
            await self._send_live(answer, answer.parts, request, send)
            self.metrics.count(counted, answer.parts.status, time.perf_counter() - began, answer.rows)
            return
        body, status, file = answer.body, answer.status, answer.file
        size = len(body) if file is None else os.fstat(file.fileno()).st_size
        headers = [
            (b"content-type", answer.kind), (b"content-length", b"%d" % size), (b"x-request-id", request.id),
            *self.headers(), *answer.headers,
        ]  # fmt: skip
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if file is not None:
            await _send_file(file, send)
        await send({"type": "http.response.body", "body": body})
        self.metrics.count(counted, status, time.perf_counter() - began, answer.rows)

    async def _send_live(self, answer: Answer, parts: Parts, request: Request, send: Send) -> None:
        """Send an answer while it is made."""
        self.metrics.in_flight += 1
        try:
            headers = [
                (b"content-type", answer.kind), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"),
                (b"x-request-id", request.id), *self.headers(), *answer.headers,
            ]  # fmt: skip
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send_parts(parts, request.receive, send)
        finally:
            self.metrics.in_flight -= 1
            parts.end()

    def _expect_served(self, method: str, route: str) -> None:
        taken = self._taken.get(route)
        if taken is None:
            raise RequestError(404, f"There is no {route[:100]} here. See GET / for what there is.")
        if method not in taken:
            methods = self.methods[route]
            raise RequestError(405, f"{route} takes {methods.decode()}.", ((b"allow", methods),))

    async def _inflated(self, body: bytes, coding: bytes) -> bytes:
        """A compressed body, which is never unpacked beyond the limit; what may take long keeps no other request waiting."""
        if coding not in _WINDOWS:
            raise RequestError(
                415, "Send bodies as they are, or packed by gzip or deflate, as `Content-Encoding` says."
            )
        window, most = _WINDOWS[coding], self._max_body_bytes + 1
        quick = min(most, _QUICK_UNPACKED_BYTES)
        try:
            found = _unpacked(body, window, quick) if len(body) <= _QUICK_BYTES else None
            if found is None or len(found) == quick < most:  # it may hold more
                found = await asyncio.to_thread(_unpacked, body, window, most)
        except (zlib.error, EOFError) as error:
            raise RequestError(400, f"The body is not what `Content-Encoding` says: {error}.") from error
        if len(found) > self._max_body_bytes:
            raise self._too_large()
        return found

    def _too_large(self) -> RequestError:
        said = f"The body is larger than {self._max_body_bytes:,} bytes."
        return RequestError(413, said, ((b"connection", b"close"),))

    async def _end_overdue(self) -> None:
        """End the reading of bodies that don't arrive."""
        while True:
            await asyncio.sleep(min(1.0, self.read_timeout_s / 4))
            now = time.monotonic()
            for reader, until in list(self._reading.items()):
                if reader is not None and _OVERDUE < until < now:
                    self._reading[reader] = _OVERDUE
                    reader.cancel()

    async def _live_through(self, receive: Receive, send: Send) -> None:
        chores: list[asyncio.Task[None]] = []
        while True:
            try:
                message = await receive()
            except asyncio.CancelledError:  # a second signal ends the loop, and nobody is told of a shutdown
                return
            if message["type"] == "lifespan.startup":
                chores = [asyncio.create_task(chore) for chore in self.chores()]
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.settle()
                for chore in chores:
                    chore.cancel()
                    with suppress(asyncio.CancelledError):
                        await chore
                await send({"type": "lifespan.shutdown.complete"})
                return


def borne(headers: dict[bytes, bytes]) -> bytes:
    """The token that a request bears, or b"": of `Bearer`, or the password of `Basic`, as clients without tokens send it.

    A browser adds passwords that it knows to what a page of another site sends, which names its origin: those don't count.

    >>> borne({b"authorization": b"Bearer t0p"}), borne({b"authorization": b"Basic bWU6dDBw"})
    (b't0p', b't0p')
    """
    scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return given.strip()
    if scheme.lower() == b"basic" and b"origin" not in headers:
        with suppress(ValueError):
            return base64.b64decode(given, validate=True).partition(b":")[2]
    return b""


def unauthenticated(said: str) -> RequestError:
    """What refuses a request that bears no token which admits."""
    return RequestError(401, said, ((b"www-authenticate", b"Bearer"),))


def _unpacked(body: bytes, window: int, most: int) -> bytes:
    """What a body holds in gzip or deflate, at most so many bytes of it.

    Gzip may have several members, one behind the other (RFC 1952, section 2.2). What unpacks a member has the interpreter's
    lock while it begins, so there is an end to their number.

    Raises:
        zlib.error, EOFError: it is neither, or ends too early.
        RequestError: 400, it has too many members.
    """
    unpacking, found, members = zlib.decompressobj(window), bytearray(), 1
    for start in range(0, len(body), _PACKED_BYTES):
        part = body[start : start + _PACKED_BYTES]
        while part:
            if unpacking.eof:
                members += 1
                if members > _MOST_MEMBERS:
                    raise RequestError(
                        400, f"The body has more than {_MOST_MEMBERS:,} members of gzip. Pack it as one."
                    )
                unpacking = zlib.decompressobj(window)
            found += unpacking.decompress(part, most - len(found))
            if len(found) >= most:
                return bytes(found)
            part = unpacking.unused_data
    if not unpacking.eof:
        raise EOFError("it ends too early")
    return bytes(found)


async def _send_file(file: BinaryIO, send: Send) -> None:
    """Send what a file holds, a part at a time, and close it."""
    with file:
        while part := await asyncio.to_thread(file.read, _PART_BYTES):
            await send({"type": "http.response.body", "body": part, "more_body": True})


@lru_cache(256)
def _is_of_here(sender: bytes) -> bool:
    """Whether a Host or Origin names this machine: a page of another site reaches the loopback through a browser on it."""
    text = sender.decode("latin-1")
    with suppress(ValueError):
        return is_loopback(urlsplit(text if "//" in text else f"//{text}").hostname or "")
    return False


def _request_id(headers: dict[bytes, bytes]) -> bytes:
    """The caller's id if it is one, else a new one."""
    given = headers.get(b"x-request-id", b"")
    if 0 < len(given) <= _LONGEST_ID and all(33 <= byte < 127 for byte in given):
        return given
    return new_id().encode()

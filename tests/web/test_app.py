"""What every server shares, asked as an ASGI server asks: who is admitted, what a body may be, what is counted."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import socket
import time
import zlib
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

import pytest

from mainspring.web import Answer, Metrics, Request, WebApp, read_json
from mainspring.web.metrics import Counted
from mainspring.web.server import Aside


class Echo(WebApp):
    """Says what it was told, on `/echo/NAME`."""

    methods: ClassVar[dict[str, bytes]] = WebApp.methods | {"/echo/{name}": b"POST"}

    def __init__(self, **limits: Any) -> None:
        work = Counted(frozenset({"/echo/{name}"}), "echo_seconds", "Time.", "echoes_total", "Echoes.")
        super().__init__(Metrics({"app": "echo"}, work), **limits)

    def route(self, path: str) -> str:
        return "/echo/{name}" if path.startswith("/echo/") else path

    async def respond(self, route: str, request: Request) -> Answer:
        if route == "/echo/{name}":
            return Answer(json.dumps(read_json(await self.body(request))).encode(), rows=1)
        return await super().respond(route, request)


class Late(Echo):
    """Reads what it was told, and never answers."""

    async def respond(self, route: str, request: Request) -> Answer:
        await super().respond(route, request)
        return await asyncio.Future()


class Answered(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: bytes


async def ask(
    app: WebApp, path: str, *chunks: bytes, method: str = "POST", complete: bool = True, **headers: str
) -> Answered:
    """One request; without `complete` the last chunk never comes."""
    waiting = [{"type": "http.request", "body": each, "more_body": True} for each in chunks]
    if complete:
        waiting.append({"type": "http.request", "body": b""})
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop(0)
        return await asyncio.Future()  # for ever

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await app({"type": "http", "path": path, "method": method, "headers": named}, receive, send)
    return Answered(sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"])


async def living(app: WebApp, *requests: Any) -> list[Answered]:
    """Answers, while the server lives."""
    messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    messages.put_nowait({"type": "lifespan.startup"})

    async def send(_: dict[str, Any]) -> None:
        pass

    life = asyncio.create_task(app({"type": "lifespan"}, messages.get, send))
    answers = [await each for each in requests]
    messages.put_nowait({"type": "lifespan.shutdown"})
    await life
    return answers


def test_a_loop_that_ends_without_a_shutdown_is_no_error() -> None:
    """So it ends at a second signal, with nothing written of it."""

    async def ended() -> list[str]:
        said: list[str] = []
        messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        messages.put_nowait({"type": "lifespan.startup"})

        async def send(message: dict[str, Any]) -> None:
            said.append(message["type"])
            life.cancel()

        life = asyncio.create_task(Echo()({"type": "lifespan"}, messages.get, send))
        await life
        return said

    assert asyncio.run(ended()) == ["lifespan.startup.complete"]


def test_a_route_with_a_parameter_is_counted_as_one() -> None:
    app = Echo()
    first = asyncio.run(ask(app, "/echo/a", b"[1,", b" 2]", x_request_id="mine"))
    assert (first.status, first.body, first.headers[b"x-request-id"]) == (200, b"[1, 2]", b"mine")
    assert asyncio.run(ask(app, "/echo/b", b"{}")).status == 200
    assert asyncio.run(ask(app, "/nowhere", method="GET")).status == 404
    text = asyncio.run(ask(app, "/metrics", method="GET")).body.decode()
    assert 'mainspring_requests_total{app="echo",path="/echo/{name}",code="200"} 2' in text
    assert 'mainspring_requests_total{app="echo",path="other",code="404"} 1' in text
    assert 'mainspring_echoes_total{app="echo"} 2' in text


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"host": "localhost:5000"}, 200), ({"host": "[::1]:5000", "origin": "http://127.0.0.1:3000"}, 200),
     ({"host": "evil.example:5000"}, 403), ({"host": "localhost", "origin": "https://evil.example"}, 403),
     ({"host": "127.0.0.1.evil.example"}, 403), ({"origin": "null"}, 403), ({"host": "[::1"}, 403)],
)  # fmt: skip
def test_without_a_token_only_this_machine_is_answered_whatever_a_browser_was_shown(
    headers: dict[str, Any], status: int
) -> None:
    answered = asyncio.run(ask(Echo(), "/echo/x", b"{}", **headers))
    assert answered.status == status
    assert asyncio.run(ask(Echo(token="t0p"), "/echo/x", b"{}", authorization="Bearer t0p", **headers)).status == 200


def test_all_but_probes_need_the_token() -> None:
    app = Echo(token="hunter22")
    for path in ("/health", "/live", "/ready"):
        assert asyncio.run(ask(app, path, method="GET")).status == 200
    assert asyncio.run(ask(app, "/metrics", method="GET")).status == 401
    assert asyncio.run(ask(app, "/echo/a", b"1", authorization="Bearer hunter2")).status == 401
    assert asyncio.run(ask(app, "/echo/a", b"1", authorization="bearer hunter22")).status == 200


@pytest.mark.parametrize(("status", "chunks"), [(400, [b'{"a": NaN}']), (413, [b" " * 60, b" " * 60])])
def test_what_is_wrong_with_a_body_is_said(status: int, chunks: list[bytes]) -> None:
    refused = asyncio.run(ask(Echo(max_body_bytes=100), "/echo/a", *chunks))
    assert refused.status == status
    assert json.loads(refused.body)["id"] == refused.headers[b"x-request-id"].decode()


def test_a_body_that_does_not_arrive_is_given_up() -> None:
    app = Echo(read_timeout_s=0.02)
    (late,) = asyncio.run(living(app, ask(app, "/echo/a", b"[", complete=False)))
    assert (late.status, late.headers[b"connection"]) == (408, b"close")


@pytest.mark.parametrize("sent", [b"2\r\n[1\r\n", b"3\r\n[1]\r\n0\r\n\r\n"])
def test_what_has_no_answer_when_a_server_waits_no_longer_is_told_so(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    app = Late()
    server = Aside(app)
    server._server._drain_s = 0.1
    url = urlsplit(server.address)
    with socket.create_connection((url.hostname or "", url.port or 0), timeout=10) as link:
        link.sendall(b"POST /echo/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n%s" % sent)
        while not app.metrics.in_flight:
            time.sleep(0.01)
        server.close()
        head, _, body = b"".join(iter(lambda: link.recv(1 << 16), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    told = json.loads(body)
    assert told["error"] == "The server stopped before the answer was whole. Ask again."
    named = dict(line.split(b": ", 1) for line in head.splitlines()[1:])
    assert (named[b"content-type"], named[b"x-request-id"]) == (b"application/json", told["id"].encode())
    assert (named[b"retry-after"], named[b"connection"]) == (b"1", b"close")
    assert 'code="503"} 1' in app.counted()
    assert "Traceback" not in caplog.text


def test_a_draining_server_says_so_and_lives() -> None:
    app = Echo()
    app.is_draining = True
    assert asyncio.run(ask(app, "/health", method="GET")).status == 503
    assert asyncio.run(ask(app, "/live", method="GET")).status == 200


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)  # the time of day would give each process of the suite other tests


@pytest.mark.parametrize(("packed", "status"), [
    pytest.param(_gzip(b"[1,") + _gzip(b"") * 998 + _gzip(b"2]"), 200, id="many members"),
    pytest.param(_gzip(b"[1,") + _gzip(b"") * 999 + _gzip(b"2]"), 400, id="too many members"),
    pytest.param(_gzip(b"[1," + b" " * 100_000 + b"2]"), 200, id="small, but not what it holds"),
    pytest.param(zlib.compress(b"[1,2]"), 200, id="deflate"),
    pytest.param(_gzip(b"[1,2]") + _gzip(b" ")[:-1], 400, id="cut short"),
    pytest.param(_gzip(b"[1,2]") + b"behind", 400, id="garbage behind"),
    pytest.param(_gzip(b" " * 500) + _gzip(b" " * 525), 413, id="beyond the limit"),
    pytest.param(b"", 400, id="empty"),
])  # fmt: skip
def test_a_packed_body_may_have_many_members_and_is_never_unpacked_beyond_the_limit(packed: bytes, status: int) -> None:
    coding = "deflate" if packed[:1] == b"x" else "gzip"
    answered = asyncio.run(
        ask(Echo(max_body_bytes=1_024 if status == 413 else 1 << 24), "/echo/a", packed, content_encoding=coding)
    )
    assert answered.status == status
    assert status != 200 or json.loads(answered.body) == [1, 2]


@pytest.mark.parametrize("held", [b" " * (10 << 20), random.Random(0).randbytes(100_000).hex().encode()])
def test_while_a_packed_body_is_unpacked_others_are_answered(held: bytes) -> None:
    """Whether it is the packed body that is large, or what it holds."""
    app, answered = Echo(), list[str]()

    async def told(path: str, *chunks: bytes, **headers: Any) -> None:
        status = (await ask(app, path, *chunks, method="POST" if chunks else "GET", **headers)).status
        answered.append(f"{path} {status}")

    async def both() -> None:
        await asyncio.gather(told("/echo/a", _gzip(b'"%s"' % held), content_encoding="gzip"), told("/health"))

    asyncio.run(both())
    assert answered == ["/health 200", "/echo/a 200"]


@pytest.mark.parametrize(("coding", "is_packed"), [("", False), ("Identity", False), ("x-gzip", True), ("GZIP", True)])
def test_a_coding_goes_by_each_of_its_names_and_an_empty_one_is_none(coding: str, is_packed: bool) -> None:
    body = _gzip(b"[1]") if is_packed else b"[1]"
    answered = asyncio.run(ask(Echo(), "/echo/a", body, content_encoding=coding))
    assert (answered.status, answered.body) == (200, b"[1]")

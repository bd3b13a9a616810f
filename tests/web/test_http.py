"""What strangers do to a server's sockets: slowly, without end, half-closed, in numbers, and as no HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import struct
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, closing, suppress
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from mainspring.web import Answer, Request
from mainspring.web.http import MOST_HEAD_BYTES, Connection, Exchange
from mainspring.web.server import Aside, serve_aside
from tests.web.test_app import Echo

HEAD = b"POST /echo/a HTTP/1.1\r\nHost: localhost\r\n"


class Place(NamedTuple):
    host: str
    port: int

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=10)

    def told(self, *parts: bytes) -> bytes:
        """All that is answered to what is sent, until the server closes."""
        with self.connect() as link:
            for part in parts:
                link.sendall(part)
            return rest(link)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with serve_aside(Echo(read_timeout_s=0.2)) as address:
        url = urlsplit(address)
        yield Place(url.hostname or "", url.port or 0)


def rest(link: socket.socket) -> bytes:
    with closing(link.makefile("rb")) as answer:
        return answer.read()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def refusal(answer: bytes) -> dict[str, str]:
    """What is said of a request that did not come as far as the application."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json\r\n" in head
    assert b"connection: close" in head
    told: dict[str, str] = json.loads(body)
    assert b"x-request-id: %s\r\n" % told["id"].encode() in head
    return told


def is_well(place: Place) -> bool:
    sent = HEAD + b"Content-Length: 3\r\nConnection: close\r\n\r\n[1]"
    return place.told(sent).endswith(b"[1]")


def test_a_head_that_does_not_end_in_time_is_a_408(place: Place) -> None:
    # Over a second: the server looks once in one, for all of them.
    with ExitStack() as stack:
        links = [stack.enter_context(place.connect()) for _ in range(3)]
        for link, sent in zip(links, (HEAD + b"X-Slow: ", b"PO", b"\r\n"), strict=True):
            link.sendall(sent)
        told = [rest(link) for link in links]
        assert [status(each) for each in told] == [408, 408, 408]
        assert {refusal(each)["error"] for each in told} == {
            "The request's line and headers did not arrive within 0.2 s."
        }


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"BREW / HTTP/1.1\r\n\r\n", "This is no HTTP/1.1: Invalid method encountered."),
        (b"\x16\x03\x01\x02\x00", "This is no HTTP/1.1: Invalid method encountered."),
        (
            HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "This is no HTTP/1.1: Transfer-Encoding can't be present with Content-Length.",
        ),
        (HEAD + b"Content-Length: x\r\n\r\n", "This is no HTTP/1.1: Invalid character in Content-Length."),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            "This is no HTTP/1.1: Invalid character in chunk size.",
        ),
        (b"GET /ready HTTP/1.1\r\n\r\n", "A request of HTTP/1.1 names its `Host` once; this one does 0 times."),
        (
            b"GET /ready HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "A request of HTTP/1.1 names its `Host` once; this one does 2 times.",
        ),
    ],
    ids=["method", "tls", "two lengths", "length", "chunk", "no host", "two hosts"],
)
def test_what_the_parser_refuses_is_said_in_json(place: Place, sent: bytes, said: str) -> None:
    answer = place.told(sent)
    assert status(answer) == 400
    assert refusal(answer)["error"] == said
    assert is_well(place)


@pytest.mark.parametrize(
    ("sent", "refused", "said"),
    [
        (b"GET /ready HTTP/0.9\r\n\r\n", 505, "This answers to HTTP/1.1 and HTTP/1.0, not to HTTP/0.9."),
        (b"GET /ready HTTP/2.0\r\nHost: a\r\n\r\n", 505, "This answers to HTTP/1.1 and HTTP/1.0, not to HTTP/2.0."),
        (
            HEAD.replace(b"1.1", b"2.0") + b"Content-Length: 3\r\n\r\n[1]", 505,
            "This answers to HTTP/1.1 and HTTP/1.0, not to HTTP/2.0.",
        ),
        (
            HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n3\r\n[1]\r\n0\r\n\r\n", 501,
            "A `Transfer-Encoding` of gzip, chunked is not understood here, only chunked.",
        ),
        (
            HEAD + b"Transfer-Encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n3\r\n[1]\r\n0\r\n\r\n", 501,
            "A `Transfer-Encoding` of gzip, chunked is not understood here, only chunked.",
        ),
    ],
    ids=["0.9", "2.0", "2.0 with a body", "gzip", "gzip on a line of its own"],
)  # fmt: skip
def test_what_is_another_http_than_is_spoken_here_is_said(place: Place, sent: bytes, refused: int, said: str) -> None:
    answer = place.told(sent)
    assert (status(answer), refusal(answer)["error"]) == (refused, said)
    assert is_well(place)


def test_chunks_go_by_their_name_in_capitals(place: Place) -> None:
    sent = HEAD + b"Transfer-Encoding: Chunked \r\nConnection: close\r\n\r\n3\r\n[1]\r\n0\r\n\r\n"
    assert place.told(sent).endswith(b"[1]")


def test_a_request_of_http_1_0_needs_no_host(place: Place) -> None:
    assert status(place.told(b"GET /ready HTTP/1.0\r\n\r\n")) == 200


def test_a_body_that_does_not_come_in_time_is_a_408(place: Place) -> None:
    assert status(place.told(HEAD + b"Content-Length: 9\r\n\r\n[1,")) == 408
    assert status(place.told(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\n[1,")) == 408


@pytest.mark.parametrize(
    "flood",
    [
        HEAD + b"X-Long: " + b"a" * 70_000,
        HEAD + b"X-Long: " + b"a" * 70_000 + b"\r\n\r\n",
        HEAD + b"".join(b"X-%d: a\r\n" % each for each in range(10_000)) + b"\r\n",
        b"POST /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["endless", "long", "many", "path"],
)
def test_a_head_that_is_too_large_is_a_431(place: Place, flood: bytes) -> None:
    answer = place.told(flood)
    assert status(answer) == 431
    assert "longer than 65,536 bytes" in refusal(answer)["error"]
    assert is_well(place)


def test_long_bodies_are_no_heads(place: Place) -> None:
    body = b'"' + b"a" * 300_000 + b'"'
    with place.connect() as link:
        for _ in range(3):
            link.sendall(HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            answer = b""
            while not answer.endswith(body):
                answer += link.recv(1 << 20)


def test_a_client_that_closes_its_half_is_answered(place: Place) -> None:
    with place.connect() as link:
        link.sendall(HEAD + b"Content-Length: 3\r\n\r\n[1]")
        link.shutdown(socket.SHUT_WR)
        assert rest(link).endswith(b"[1]")
    for cut in (b"Content-Length: 9\r\n\r\n[1]", b"Transfer-Encoding: chunked\r\n\r\n3\r\n[1", b"X-Cut: "):
        with place.connect() as link:
            link.sendall(HEAD + cut)
            link.shutdown(socket.SHUT_WR)
            answer = rest(link)
            assert status(answer) == 400
            assert refusal(answer)["error"] == "The request ended before all of it had come."
    with place.connect() as link:
        link.shutdown(socket.SHUT_WR)
        assert rest(link) == b""  # nothing was begun
    assert is_well(place)


ONE = HEAD + b"Content-Length: 3\r\n\r\n[%d]"
LONG = HEAD + b"X-Long: " + b"a" * 70_000
HOSTLESS = b"GET /ready HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    ("behind", "refused"),
    [
        (b"BAD\r\n\r\n", 400), (HOSTLESS, 400), (LONG + b"a" * 400_000, 431), (LONG + b"\r\n\r\n", 431), (HEAD, 408),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\n[3]\r\nzz\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ],
    ids=["method", "no host", "endless", "long", "late", "chunk", "address"],
)  # fmt: skip
def test_what_was_asked_before_is_answered_before_a_refusal(place: Place, behind: bytes, refused: int) -> None:
    with place.connect() as link:
        with suppress(ConnectionError):  # it was closed before all was sent
            link.sendall(ONE % 1 + ONE % 2 + behind)
        *answered, last = replies(received(link))
    assert [(status(each), each[-3:]) for each in answered] == [(200, b"[1]"), (200, b"[2]")]
    assert status(last) == refused
    assert refusal(last)["error"]
    assert not any(b"connection: close" in each for each in answered)


def test_what_was_asked_as_a_whole_is_answered_though_the_next_is_cut(place: Place) -> None:
    for cut in (HEAD, (ONE % 3)[:-2], b"PO"):
        with place.connect() as link:
            link.sendall(ONE % 1 + ONE % 2 + cut)
            link.shutdown(socket.SHUT_WR)
            *answered, last = replies(rest(link))
        assert [each[-3:] for each in answered] == [b"[1]", b"[2]"]
        assert refusal(last)["error"] == "The request ended before all of it had come."


def replies(told: bytes) -> list[bytes]:
    return re.split(rb"(?=HTTP/1\.1 \d)", told)[1:]


class Late(Echo):
    """Says what it was told when it may, also what follows the first part of an answer in parts."""

    status, patience_s = 200, 10.0

    def __init__(self) -> None:
        super().__init__()
        self.may = threading.Event()

    async def respond(self, route: str, request: Request) -> Answer:
        answer = await super().respond(route, request)
        if request.path == "/echo/late":
            await asyncio.to_thread(self.may.wait, 10)
        return Answer(b"", parts=self) if request.path == "/echo/parts" else answer

    async def made(self) -> AsyncGenerator[bytes, None]:
        yield b"first"
        await asyncio.to_thread(self.may.wait, 10)
        yield b"last"

    def cut(self) -> bytes:
        return b"cut"

    def end(self) -> None:
        pass


def test_a_refusal_waits_for_an_answer_that_is_being_sent_in_parts() -> None:
    app = Late()
    with serve_aside(app) as address:
        url = urlsplit(address)
        with Place(url.hostname or "", url.port or 0).connect() as link:
            link.sendall((ONE % 1).replace(b"/a", b"/parts") + ONE % 2)
            begun = b""
            while b"first" not in begun:
                begun += link.recv(1 << 16)
            link.sendall(b"BAD\r\n\r\n")
            link.settimeout(0.2)
            with pytest.raises(TimeoutError):
                link.recv(1)
            link.settimeout(10)
            app.may.set()
            parts, whole, last = replies(begun + rest(link))
    assert parts.endswith(b"\r\n\r\n5\r\nfirst\r\n4\r\nlast\r\n0\r\n\r\n")
    assert whole.endswith(b"[2]")
    assert refusal(last)["error"] == "This is no HTTP/1.1: Invalid method encountered."


def test_nothing_is_read_behind_what_is_refused() -> None:
    app = Late()
    with serve_aside(app) as address:
        url = urlsplit(address)
        with Place(url.hostname or "", url.port or 0).connect() as link:
            link.sendall((ONE % 1).replace(b"/a", b"/late") + ONE % 2 + b"BAD\r\n\r\n")
            link.settimeout(1)
            with pytest.raises(TimeoutError):
                link.sendall(b"a" * (64 << 20))
            app.may.set()
            link.settimeout(10)
            *answered, last = replies(received(link))
    assert [each[-3:] for each in answered] == [b"[1]", b"[2]"]
    assert status(last) == 400


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\n[1]\r\n0\r\n"


@pytest.mark.parametrize("trailer", [b"Host: evil.example", b"Content-Encoding: gzip", b"X-Request-Id: other"])
def test_fields_behind_a_body_are_no_headers(place: Place, trailer: bytes) -> None:
    for parts in ([CHUNKED + trailer + b"\r\n\r\n"], [CHUNKED, trailer + b"\r\n\r\n"]):
        answer = place.told(*parts)
        assert (status(answer), answer[-3:]) == (200, b"[1]")
        assert b"other" not in answer


@pytest.mark.parametrize("endless", [b"X: " + b"a" * 1_000 + b"\r\n", b"X: " + b"a" * 1_000, b"5;" + b"e" * 1_000])
def test_what_follows_a_body_without_end_is_refused(place: Place, endless: bytes) -> None:
    begun = CHUNKED if endless.startswith(b"X") else CHUNKED.removesuffix(b"0\r\n")
    with place.connect() as link, suppress(ConnectionError):
        link.sendall(begun + endless)
        for _ in range(10):  # 300 KB
            link.sendall((endless if endless.endswith(b"\n") else b"a" * 1_000) * 30)
            if sent := received_now(link):
                assert status(sent) == 431
                return
    raise AssertionError("it was taken")


def received_now(link: socket.socket) -> bytes:
    """What has come, after a moment."""
    link.settimeout(0.01)
    with suppress(TimeoutError):
        return link.recv(1 << 16)
    return b""


def received(link: socket.socket) -> bytes:
    """What came until the end, which is a reset if the server left something unread."""
    told = b""
    with suppress(ConnectionResetError):
        while part := link.recv(1 << 16):
            told += part
    return told


def test_a_client_that_leaves_with_requests_unanswered_leaves_no_word(caplog: pytest.LogCaptureFixture) -> None:
    app = Late()
    with serve_aside(app) as address:
        url = urlsplit(address)
        place = Place(url.hostname or "", url.port or 0)
        one = HEAD.replace(b"/a", b"/late") + b"Content-Length: 3\r\n\r\n[1]"
        for sent in (one + one[:-2], one * 3):
            for is_reset in (False, True):
                with place.connect() as link:
                    link.sendall(sent)
                    assert is_well(place)
                    if is_reset:
                        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                assert is_well(place)
        app.may.set()
        assert is_well(place)
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"Content-Type: text/plain\r\nContent-Type: application/json\r\n", 400),
        (b"Content-Type: text/plain\r\nContent-Type: text/plain\r\n", 200),
        (b"Authorization: Bearer a\r\nX-Other: a\r\nAuthorization: Bearer b\r\n", 400),
        (b"Content-Encoding: gzip\r\nContent-Encoding: identity\r\n", 415),
        (b"Accept: text/csv\r\nAccept: application/json\r\n", 200),
    ],
    ids=["two types", "one type twice", "two tokens", "two codings", "list"],
)
def test_lines_of_one_header_are_a_list_or_alike(place: Place, lines: bytes, expected: int) -> None:
    answer = place.told(HEAD + lines + b"Connection: close\r\nContent-Length: 3\r\n\r\n[1]")
    assert status(answer) == expected
    if expected == 400:
        assert b"has one value; this request gives it several" in answer


def test_idle_connections_hold_up_nobody(place: Place) -> None:
    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(place.connect())
        assert is_well(place)


def test_requests_in_a_row_are_answered_in_a_row(place: Place) -> None:
    one = HEAD + b"Content-Length: 3\r\n\r\n[%d]"
    last = HEAD + b"Connection: close\r\nContent-Length: 3\r\n\r\n[9]"
    told = place.told(b"".join(one % each for each in range(5)) + last)
    assert [told.index(b"[%d]" % each) for each in (0, 1, 2, 3, 4, 9)] == sorted(
        told.index(b"[%d]" % each) for each in (0, 1, 2, 3, 4, 9)
    )


@pytest.mark.parametrize("offer", [b"h2c", b"websocket", b"TLS/1.3"])
@pytest.mark.parametrize(
    "body", [b"Content-Length: 3\r\n\r\n[%d]", b"Transfer-Encoding: chunked\r\n\r\n3\r\n[%d]\r\n0\r\n\r\n"]
)
def test_offers_of_another_protocol_are_not_taken_and_cost_no_body(place: Place, offer: bytes, body: bytes) -> None:
    one = HEAD + b"Connection: keep-alive, Upgrade\r\nUpgrade: %s\r\n" % offer + body
    last = HEAD + b"Connection: close\r\nContent-Length: 3\r\n\r\n[9]"
    sent = b"".join(one % each for each in range(3)) + last
    for parts in ([sent], [sent[at : at + 7] for at in range(0, len(sent), 7)]):
        told = place.told(*parts)
        assert [each.endswith(b"[%d]" % number) for each, number in zip(answers(told), (0, 1, 2, 9), strict=True)] == [
            True
        ] * 4
    assert (
        status(place.told(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n"))
        == 404
    )


def answers(told: bytes) -> list[bytes]:
    return [b"HTTP/1.1 200" + each for each in told.split(b"HTTP/1.1 200")[1:]]


def test_a_long_head_behind_another_request_is_a_431(place: Place) -> None:
    first = HEAD + b"Content-Length: 3\r\n\r\n[1]"
    for cut in (len(first), len(first) + 40_000):
        sent = first + HEAD + b"X-Long: " + b"a" * 70_000 + b"\r\n\r\n"
        assert b" 431 " in place.told(sent[:cut], sent[cut:])


def test_a_connection_that_is_silent_after_its_answer_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.web.server._KEEP_ALIVE_S", 0.05)
    with serve_aside(Echo()) as address:
        url = urlsplit(address)
        answer = Place(url.hostname or "", url.port or 0).told(HEAD + b"Content-Length: 3\r\n\r\n[1]")
    assert answer.endswith(b"[1]")
    assert b"connection: close" not in answer


MUCH = b"a" * (8 << 20)
TOO_LARGE = HEAD + b"Content-Length: 20000000\r\n\r\n"


@pytest.mark.parametrize(
    ("begun", "refused"),
    [
        (TOO_LARGE, 413), (HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffff9\r\n" + b"a" * 2_000, 413), (LONG, 431),
        (b"BAD\r\n\r\n", 400), (HOSTLESS, 400),
    ],
    ids=["announced", "chunks", "head", "method", "no host"],
)  # fmt: skip
def test_a_client_that_sends_on_though_it_is_refused_gets_the_answer(begun: bytes, refused: int) -> None:
    with serve_aside(Echo(max_body_bytes=1_000)) as address:
        url = urlsplit(address)
        with Place(url.hostname or "", url.port or 0).connect() as link:
            link.sendall(begun)
            threading.Event().wait(0.05)  # by then it is refused
            link.sendall(MUCH)
            assert status(rest(link)) == refused
            link.sendall(MUCH)  # though it was told of the end


def test_a_client_that_sends_without_end_is_heard_for_a_while(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, most, part in ((60.0, 1 << 20, MUCH), (0.1, 1 << 40, b"a")):
        monkeypatch.setattr("mainspring.web.http._PARTING_S", limit)
        monkeypatch.setattr("mainspring.web.http._MOST_PARTING_BYTES", most)
        with place.connect() as link:
            link.sendall(TOO_LARGE)
            assert status(rest(link)) == 413
            with suppress(ConnectionError):
                for _ in range(500):
                    link.sendall(part)
                    threading.Event().wait(0.01)
                raise AssertionError("it was heard without end")


def test_a_server_that_stops_hears_nobody_out() -> None:
    server = Aside(Echo())
    url = urlsplit(server.address)
    with Place(url.hostname or "", url.port or 0).connect() as link:
        link.sendall(TOO_LARGE)
        assert status(rest(link)) == 413
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < 1


class Wire:
    """A transport, a gate of writes and a log, which keep what comes."""

    write_paused = False

    def __init__(self) -> None:
        self.written, self.is_closed = b"", False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True


async def sent_by(kind: Any, method: str, keep_alive: bool, messages: list[Any]) -> Any:
    wire, ended = Wire(), []
    made = kind(
        {"method": method}, wire, wire, logging.getLogger(), logging.getLogger(), False, [(b"date", b"today")],
        asyncio.Event(), False, keep_alive, lambda: ended.append(True),
    )  # fmt: skip
    failure = None
    try:
        for message in messages:
            await made.send(message)
    except RuntimeError as error:
        failure = str(error)
    return failure, wire.is_closed, made.response_complete, made.message_event.is_set(), ended, wire.written


HEADERS = [
    (b"content-length", b"3"), (b"content-length", b"4"), (b"content-type", b"text/plain"), (b"connection", b"close"),
    (b"connection", b"keep-alive"), (b"x-id", b"7"), (b"transfer-encoding", b"chunked"), (b"x-name", "Zoë".encode()),
    (b"x-split", b"a\r\nx-more: b"), (b"x-null", b"\0"), (b"Content-Length", b"3"),
]  # fmt: skip


@given(
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    keep_alive=st.booleans(),
    headers=st.lists(st.sampled_from(HEADERS), max_size=4),
    parts=st.lists(st.sampled_from([b"", b"abc", b"a"]), max_size=3),
)
def test_an_answer_is_what_uvicorn_makes_of_it(
    method: str, keep_alive: bool, headers: list[tuple[bytes, bytes]], parts: list[bytes]
) -> None:
    messages: list[Any] = [{"type": "http.response.start", "status": 200, "headers": headers}]
    messages += [{"type": "http.response.body", "body": part, "more_body": True} for part in parts[:-1]]
    messages += [{"type": "http.response.body", "body": part} for part in parts[-1:]]
    *ours, written = asyncio.run(sent_by(Exchange, method, keep_alive, messages))
    *theirs, expected = asyncio.run(sent_by(RequestResponseCycle, method, keep_alive, messages))
    assert ours == theirs or not parts  # a head alone is kept back
    assert written == expected or not parts


def test_of_an_answer_that_fails_before_its_body_the_failure_alone_is_told() -> None:
    begun = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]}
    failed = {"type": "http.response.start", "status": 500, "headers": [(b"connection", b"close")]}
    messages = [begun, failed, {"type": "http.response.body", "body": b"sorry"}]
    failure, is_closed, is_complete, *_, written = asyncio.run(sent_by(Exchange, "GET", True, messages))
    assert (failure, is_closed, is_complete) == (None, True, True)
    assert written.startswith(b"HTTP/1.1 500 ")
    assert written.count(b"HTTP/1.1") == 1


class Line(Wire):
    """The transport of a connection that somebody writes to by hand."""

    def get_extra_info(self, name: str) -> None:
        return None

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        pass

    resume_reading = write_eof = pause_reading


async def told_to(*packets: bytes) -> bytes:
    """What is answered to these packets."""
    line = Line()
    connection = Connection(uvicorn.Config(Echo(), log_config=None), ServerState(), {})
    connection.connection_made(line)  # type: ignore[arg-type]  # as much of a transport as is used
    for packet in packets:
        if not line.is_closed:
            connection.data_received(packet)
    while connection.is_answering():
        await asyncio.sleep(0)
    return line.written


BEFORE = {
    "nothing": b"",
    "a body": HEAD + b"Content-Length: 6\r\n\r\n[\r\n\r\n]",
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n0\r\nX-Behind: a\r\n\r\n",
    "no body": b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an offer": HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\n[1]",
}
PADDED = {
    "value": lambda length: b"X: " + b"a" * (length - 5) + b"\r\n",
    "spaces": lambda length: b"X:" + b" " * (length - 5) + b"a\r\n",
    "many": lambda length: b"X:\r\n" * (length // 4 - 1) + b"X:" + b"a" * (length % 4) + b"\r\n",
}


@given(
    before=st.sampled_from(sorted(BEFORE)),
    padded=st.sampled_from(sorted(PADDED)),
    beyond=st.integers(-3, 3),
    cuts=st.lists(st.integers(-9, 9) | st.integers(0, 70_000), max_size=4),
)
def test_a_head_is_too_long_wherever_its_packets_are_cut(
    before: str, padded: str, beyond: int, cuts: list[int]
) -> None:
    first, line, end = BEFORE[before], b"POST /echo/a HTTP/1.1\r\n", b"Host:localhost\r\nContent-Length:3\r\n\r\n"
    head = line + PADDED[padded](MOST_HEAD_BYTES + beyond - len(line + end)) + end
    assert len(head) == MOST_HEAD_BYTES + beyond
    sent = first + head + b"[1]"
    at = sorted({0, len(sent), *(min(max(len(first) + cut, 0), len(sent)) for cut in cuts)})
    packets = [sent[begin:ending] for begin, ending in pairwise(at)]
    assert status(replies(asyncio.run(told_to(*packets)))[-1]) == (200 if beyond <= 0 else 431)

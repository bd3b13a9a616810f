"""What strangers do to a server's sockets: slowly, without end, half-closed, in numbers, and as no HTTP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from mainspring.web.server import serve_aside
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


def is_well(place: Place) -> bool:
    sent = HEAD + b"Content-Length: 3\r\nConnection: close\r\n\r\n[1]"
    return place.told(sent).endswith(b"[1]")


def test_a_head_that_does_not_end_in_time_is_a_408(place: Place) -> None:
    # Over a second: the server looks once in one, for all of them.
    with ExitStack() as stack:
        links = [stack.enter_context(place.connect()) for _ in range(3)]
        for link, sent in zip(links, (HEAD + b"X-Slow: ", b"PO", b"\r\n"), strict=True):
            link.sendall(sent)
        assert [status(rest(link)) for link in links] == [408, 408, 408]


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
    with place.connect() as link:
        try:
            link.sendall(flood)
            answer = rest(link)
        except (ConnectionResetError, BrokenPipeError):  # it was closed before all was sent
            answer = b""
    assert answer == b"" or status(answer) == 431
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
    with place.connect() as link:
        link.sendall(HEAD + b"Content-Length: 9\r\n\r\n[1]")
        link.shutdown(socket.SHUT_WR)
        assert rest(link) == b""
    assert is_well(place)


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

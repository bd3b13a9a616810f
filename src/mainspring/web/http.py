"""uvicorn's connections, with limits that it lacks: what precedes a body has an end and comes in time, or is refused.

What waits for its time is looked through once a second: a timer for each request would cost more than its parsing. An answer
in one piece is written in one piece.
"""

from __future__ import annotations

from asyncio import Transport
from collections import deque
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from mainspring.ledger import new_id
from mainspring.web.app import JSON, encode
from mainspring.web.request_error import RequestError

MOST_HEAD_BYTES = 1 << 16
"""Of the first line and the headers of a request."""
_PARTING_S = 2.0
"""How long a client is heard that was answered before it had sent all: most send a body that is too large in less."""
_MOST_PARTING_BYTES = 1 << 26  # of four bodies that are just taken, and read away in some 20 ms
_BLANK_LINE = b"\r\n\r\n"  # nothing else ends a head, or a body in chunks
_LENGTH = b"content-length"
_CODING = b"transfer-encoding"
_VERSIONS = ("1.1", "1.0")
_START = "http.response.start"


class Exchange(RequestResponseCycle):
    """A request and its answer. The head of an answer whose length is known is kept back until its body can go with it."""

    head: dict[str, Any] | None = None
    ends_by_close = False

    async def send(self, message: Any) -> None:
        """As uvicorn sends it, which looks at each header by itself."""
        head, self.head = self.head, None
        if message["type"] == _START:  # a head that was kept back is none: what failed behind it is told instead
            if not self.response_started and _has_length(message):
                self.head = message
                return
        elif head is not None:
            if self._is_whole(message) and self._write(head, message["body"]):
                return
            await super().send(head)  # type: ignore[arg-type]  # uvicorn's type of messages
        if message["type"] == _START and not self.response_started and self.scope.get("http_version") == "1.0":
            self.ends_by_close, self.chunked_encoding = True, False  # it knows no chunks (RFC 9112, section 6.1)
        elif self.ends_by_close:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)

    def _is_whole(self, message: dict[str, Any]) -> bool:
        """Whether this is all of a body, which can be written now."""
        is_open = not self.disconnected and not self.flow.write_paused and self.scope["method"] != "HEAD"
        return is_open and message["type"] == "http.response.body" and not message.get("more_body")

    def _write(self, head: dict[str, Any], body: bytes) -> bool:
        """Write an answer and end the exchange; False if there is anything in the headers that uvicorn is to look at."""
        headers = [*self.default_headers, *head["headers"]]
        lines = [STATUS_LINE[head["status"]], *(b"%s: %s\r\n" % header for header in headers)]
        text = b"".join(lines)
        is_plain = text.isascii() and text.count(b"\n") == text.count(b"\r") == len(lines) and b"\0" not in text
        lower = text.lower()
        if not is_plain or not self.keep_alive or b"\ncontent-length: %d\r" % len(body) not in lower:
            return False
        if (
            b"\nconnection:" in lower or b"\ntransfer-encoding:" in lower
        ):  # what says more of a connection than one answer
            return False
        self.transport.write(b"%s\r\n%s" % (text, body))
        self.waiting_for_100_continue, self.expected_content_length = False, 0
        self.response_started = self.response_complete = True
        self.message_event.set()
        self.on_response()
        return True


def _has_length(head: dict[str, Any]) -> bool:
    return any(name == _LENGTH for name, _ in head["headers"])


class _Way:
    """A transport that leaves it to `close` how it is closed; from then on it is closing."""

    def __init__(self, transport: Transport, close: Callable[[], None]) -> None:
        self._transport, self.close = transport, close
        self.write = transport.write
        self.is_parting = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self.is_parting or self._transport.is_closing()


class Connection(HttpToolsProtocol):
    """A connection. A request's line and headers that are too long are a 431, and that don't come in time a 408.

    Fields behind a body are passed over: they are not to be taken for headers (RFC 9110, section 6.5.1).
    What is no HTTP, names no host or ends in its midst is a 400. All of these are said in JSON, as by the application, and
    behind the answers to what was asked before; nothing more is read until then, and the connection is closed.
    A client that may still be sending then gets the answer with its end, and is heard for a while: closing what holds unread
    bytes would take the answer from it (RFC 9112, section 9.6).
    Offers of another protocol are not taken (RFC 9110, section 7.8): the request is answered as one without.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._running: RequestResponseCycle | None = None  # what was begun last
        self._is_head = True  # what comes next precedes a body
        self._is_offer = False  # the request that is being read offers another protocol
        self._fed = 0  # bytes of the head so far
        self._left: int | None = None  # bytes of the body that are still to come; None if its length isn't known
        self._seam = b""  # the last bytes that were parsed, in which a blank line may have begun
        self._dry = 0  # bytes that came since the last ones of a body
        self._has_body = False  # whether the last piece held some
        self._since: float | None = None
        self._is_half = False  # the client has closed its half
        self._is_stopping = False
        self._parted_at, self._heard = 0.0, 0
        self._last: bytes | None = None  # what is written when all that was asked is answered, if that is the end

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn itself does
        self._link, self._way = transport, _Way(transport, self._part)
        super().connection_made(self._way)  # type: ignore[arg-type]  # it has all that a transport has
        self._since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Parse what came in pieces that end where a head or a body does: how long a head is doesn't hang on the packets."""
        if self._way.is_parting:
            self._heard += len(data)
            if self._heard > _MOST_PARTING_BYTES:
                self._link.close()
            return
        start, size = 0, len(data)
        while start < size and self._last is None:
            if self._left:
                piece = data[start : start + self._left]
                self._left -= len(piece)
                self._parse(piece)
            elif piece := data[start : self._piece_end(data, start)]:
                self._take(piece)
            else:
                self._refuse(_too_long())
                return
            start += len(piece)

    def _piece_end(self, data: bytes, start: int) -> int:
        """Where a head, or a part of a body of unknown length, ends; at its start if that would make a head too long."""
        begun = (self._seam + data[start : start + 3]).find(_BLANK_LINE) if self._seam else -1
        at = start + begun - len(self._seam) if begun >= 0 else data.find(_BLANK_LINE, start)
        end = at + len(_BLANK_LINE) if begun >= 0 or at >= 0 else len(data)
        return min(end, start + MOST_HEAD_BYTES - self._fed) if self._is_head else end

    def _take(self, piece: bytes) -> None:
        self._has_body = False
        if self._is_head:
            if not self._fed:
                self._since = self.loop.time()
            self._fed += len(piece)
        self._parse(piece)
        self._seam = b"" if piece.endswith(_BLANK_LINE) else (self._seam + piece[-3:])[-3:]
        if self._is_head or self._has_body or self._left is not None:
            self._dry = 0
            return
        self._dry += len(piece)
        if self._dry > MOST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(_too_long())

    def on_body(self, body: bytes) -> None:
        self._has_body = True
        super().on_body(body)

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's signature; uvicorn's own answers nothing
        """Keep a connection that its client has closed for writing until all that it asked for as a whole is answered."""
        self._is_half = True
        if self.is_parting:
            return False
        if self._is_cut():
            self._refuse(RequestError(400, "The request ended before all of it had come."))
        else:
            self._end(b"")
        return not self.transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget(self._unanswered())
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        hosts, length = 0, None
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == _LENGTH:
                length = value
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):  # RFC 9112, section 3.2
            # The parser ends, and tells of this as the context of its own error.
            raise RequestError(400, f"A request of HTTP/1.1 names its `Host` once; this one does {hosts} times.")
        if length is None:  # the parser refuses a length beside a coding
            self._expect_known_coding()
        self._is_offer = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if not self._is_offer:
            super().on_headers_complete()
            # RFC 9110, section 15.6.6. To ask the parser a second time, and earlier, would cost most of a microsecond; as it is
            # the exchange has begun, and is forgotten with the connection's end.
            version = self.scope["http_version"]
            if version not in _VERSIONS:
                raise RequestError(505, f"This answers to HTTP/1.1 and HTTP/1.0, not to HTTP/{version}.")
            self._is_head, self._left = False, None if length is None else int(length)
            self.headers = []  # to which fields behind the body are added: they are none of the request's
            self.cycle.__class__ = Exchange  # uvicorn makes its own, which did nothing yet

    def _expect_known_coding(self) -> None:
        """Refuse a body that is packed on its way: only chunks are taken apart (RFC 9112, section 6.1)."""
        lines = [value for name, value in self.headers if name == _CODING]
        if lines and (given := b", ".join(lines)).strip().lower() != b"chunked":
            said = given[:60].decode("latin-1")
            raise RequestError(501, f"A `Transfer-Encoding` of {said} is not understood here, only chunked.")

    def on_message_complete(self) -> None:
        if self._is_offer:
            return
        super().on_message_complete()
        self._is_head, self._fed, self._left = True, 0, None
        self._since = None if self.is_answering() else self.loop.time()

    def on_response_complete(self) -> None:
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        if self._last is not None:
            self.transport.write(self._last)
            self.transport.close()
            return
        self.flow.resume_reading()
        if not self._fed:
            self._since = self.loop.time()  # instead of uvicorn's timer

    def end_if_overdue(self, head_s: float, silence_s: float) -> None:
        """Close a connection whose request doesn't come: it began over `head_s` ago, or nothing came for `silence_s`.

        One whose client was answered before it had sent all is closed, too, when that is long enough ago.
        """
        if self.is_parting and self.loop.time() > self._parted_at + _PARTING_S:
            self._link.close()
        if self._since is None or self.is_answering() or self.transport.is_closing():
            return
        waited = self.loop.time() - self._since
        if self._is_head and self._fed and waited > head_s:
            self._refuse(RequestError(408, f"The request's line and headers did not arrive within {head_s:g} s."))
        elif waited > silence_s:
            self.transport.close()

    def shutdown(self) -> None:
        """Close at once unless a request is being answered; a server that stops hears nobody out."""
        self._is_stopping = True
        if self.is_parting:
            self._link.close()
        else:
            super().shutdown()

    @property
    def is_parting(self) -> bool:
        """Whether all is answered, and the client is heard out."""
        return self._way.is_parting

    def is_answering(self) -> bool:
        """Whether a request that was begun has no answer yet."""
        cycle: Any = self.cycle  # None before the first request, whatever its annotation says
        return cycle is not None and not cycle.response_complete

    def is_quiet(self, silence_s: float) -> bool:
        """Whether nothing is asked, and nothing has come for so long."""
        if self._since is None or self._fed or self.is_answering() or self.transport.is_closing():
            return False
        return self.loop.time() - self._since >= silence_s

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _unanswered(self) -> list[RequestResponseCycle]:
        """What was asked and has no answer yet, in order: uvicorn itself knows only the last."""
        asked = [self._running, *(cycle for cycle, _ in reversed(self.pipeline))]
        return [each for each in asked if each is not None and not (each.response_complete or each.disconnected)]

    def _forget(self, asked: list[RequestResponseCycle]) -> None:
        """Write no answers to these, and begin none of them."""
        for each in asked:
            each.disconnected = True
            each.message_event.set()
        self.pipeline = deque(each for each in self.pipeline if not each[0].disconnected)

    def _end(self, last: bytes) -> None:
        """Answer in order what was asked as a whole, write what comes last, and close. Nothing more is read."""
        if self._last is not None or self.transport.is_closing():
            return
        self._last = last
        self._forget([each for each in self._unanswered() if each.more_body])  # their rest won't come
        asked = self._unanswered()
        if not asked:
            self.transport.write(last)
            self.transport.close()
            return
        self.cycle = asked[-1]
        self.cycle.keep_alive = self.cycle.keep_alive and last != b""
        self.flow.resume_reading()  # which uvicorn does behind each answer: now it has nothing left to resume
        self.transport.pause_reading()

    def _part(self) -> None:
        """Close, or if the client may still be sending, end what it is sent and read on."""
        is_sent = self._is_head and not self._fed and not self.pipeline and self._last is None
        if self._is_half or self._is_stopping or is_sent or self._link.is_closing():
            self._link.close()
        elif not self.is_parting:
            self._way.is_parting, self._parted_at = True, self.loop.time()
            self._link.write_eof()
            self.flow.resume_reading()
            self._link.resume_reading()  # `_end` stops it by itself

    def _parse(self, piece: bytes) -> None:
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserError as error:
            why = error.__context__ or error  # what was raised in a method that the parser called
            self._refuse(why if isinstance(why, RequestError) else RequestError(400, f"This is no HTTP/1.1: {why}."))
        except httptools.HttpParserUpgrade:
            if self._is_offer:
                self._parse(self._without_offer())

    def _without_offer(self) -> bytes:
        """The head that was read, without its offer, for a parser that is new."""
        line = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = (b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade")
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        return b"".join([line, *lines, b"\r\n"])

    def _is_cut(self) -> bool:
        """Whether what was begun last is not whole, and nothing is said to it yet."""
        return self._fed > 0 if self._is_head else self.is_answering() and not self.cycle.response_started

    def _refuse(self, refused: RequestError) -> None:
        """End with the answer to what doesn't come as far as the application, unless something is said to it already."""
        self._end(self._said(refused) if self._is_cut() else b"")

    def _said(self, refused: RequestError) -> bytes:
        told = new_id()
        body = encode(refused.body | {"id": told})
        headers = [
            *self.server_state.default_headers, (b"content-type", JSON), (b"content-length", b"%d" % len(body)),
            (b"x-request-id", told.encode()), (b"connection", b"close"),
        ]  # fmt: skip
        lines = [STATUS_LINE[refused.status], *(b"%s: %s\r\n" % header for header in headers)]
        return b"%s\r\n%s" % (b"".join(lines), body)


def _too_long() -> RequestError:
    return RequestError(431, f"The request's line and headers are longer than {MOST_HEAD_BYTES:,} bytes.")

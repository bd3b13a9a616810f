"""uvicorn's connections, with limits that it lacks: what precedes a body has an end and comes in time, or is refused.

What waits for its time is looked through once a second: a timer for each request would cost more than its parsing.
"""

from __future__ import annotations

from asyncio import Transport
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 1 << 16
"""Of the first line and the headers of a request."""
_REFUSALS = {408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class Connection(HttpToolsProtocol):
    """A connection. A request's line and headers that are too long are a 431, and that don't come in time a 408.

    Offers of another protocol are not taken (RFC 9110, section 7.8): the request is answered as one without.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_head = True  # what comes next precedes a body
        self._is_offer = False  # the request that is being read offers another protocol
        self._head_bytes = self._fed = 0
        self._since: float | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn itself does
        super().connection_made(transport)
        self._since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        if self._is_head:
            if not self._fed:
                self._since = self.loop.time()
            self._fed += len(data)
        self._unset_keepalive_if_required()
        while data:
            data = self._parsed(data)
        if self._is_head and self._fed > MOST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431)

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's signature; uvicorn's own answers nothing
        """Keep a connection that its client has closed for writing until what it asked for is answered."""
        if self.transport.is_closing() or not self._is_answering() or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        return True

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_offer = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if not self._is_offer:
            self._is_head = False
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self._is_offer:
            return
        self._is_head, self._head_bytes, self._fed, self._since = True, 0, 0, None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        if self._head_bytes > MOST_HEAD_BYTES:
            self._refuse(431)
        else:
            super().send_400_response(msg)

    def end_if_overdue(self, head_s: float, silence_s: float) -> None:
        """Close a connection whose request doesn't come: it began over `head_s` ago, or nothing came for `silence_s`."""
        if not self._is_head or self._since is None or self._is_answering() or self.transport.is_closing():
            return
        waited = self.loop.time() - self._since
        if self._fed and waited > head_s:
            self._refuse(408)
        elif waited > silence_s:
            self.transport.close()

    def _parsed(self, data: bytes) -> bytes:
        """Parse what came; gives what is to be parsed next, as what follows an offer is the other protocol to the parser."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        except httptools.HttpParserUpgrade as upgrade:
            if self._is_offer:
                return self._without_offer() + data[upgrade.args[0] :]
        return b""

    def _without_offer(self) -> bytes:
        """The head that was read, without its offer, for a parser that is new."""
        line = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = (b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade")
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        self._head_bytes = 0
        return b"".join([line, *lines, b"\r\n"])

    def _is_answering(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, whatever its annotation says
        return cycle is not None and not cycle.response_complete

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MOST_HEAD_BYTES:
            raise ValueError("the request's head is too large")  # the parser ends, and `send_400_response` is called

    def _refuse(self, status: int) -> None:
        reason = _REFUSALS[status]
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (status, reason, len(reason), reason)
        )
        self.transport.close()

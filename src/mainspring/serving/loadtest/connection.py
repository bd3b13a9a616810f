"""A keep-alive connection of HTTP/1.1, with one request at a time: bytes out, a status in."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from httptools import HttpParserError, HttpResponseParser


class Answers(Protocol):
    """Who is told what became of a request."""

    def answered(self, lane: Lane, outcome: str, *, stays: bool = True) -> None:
        """The whole answer is there; a lane that doesn't stay is lost next."""
        ...

    def lost(self, lane: Lane) -> None:
        """The connection is gone."""
        ...


class Lane(Protocol):
    """What carries a request at a time."""

    def send(self, request: bytes) -> None:
        """Send the whole request at once."""
        ...

    def close(self) -> None:
        """Carry no more; `lost` is told."""
        ...


Connect = Callable[[Answers], Awaitable[Lane]]


class Connection(asyncio.Protocol):
    """A lane over a socket."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._parser: Any = HttpResponseParser(self)
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""
        self._transport = transport

    def send(self, request: bytes) -> None:
        """Send the whole request at once."""
        self._transport.write(request)

    def close(self) -> None:
        """Drop the socket."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read on in the answer."""
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            self.close()

    def on_message_complete(self) -> None:
        """The parser has a whole answer."""
        stays = self._parser.should_keep_alive()
        self._answers.answered(self, str(self._parser.get_status_code()), stays=stays)
        if not stays:
            self.close()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Tell that it is gone."""
        self._answers.lost(self)


def connector(host: str, port: int, *, tls: bool = False) -> Connect:
    """What opens connections to a server.

    Raises (when it is called):
        OSError: nothing answers there.
    """
    context = ssl.create_default_context() if tls else None

    async def connect(answers: Answers) -> Lane:
        loop = asyncio.get_running_loop()
        _, lane = await loop.create_connection(lambda: Connection(answers), host, port, ssl=context)
        return lane

    return connect

"""An answer that is sent in parts while it is made: no faster than the client takes them, and not at all once it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, Protocol

from mainspring.web.request_error import RequestError

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
_LAST_S = 0.5  # a server that ends waits no longer for who reads slowly
GONE = 499
"""The status by which an answer is counted whose client went away."""


class Parts(Protocol):
    """An answer in parts. `status` tells, at the end, what became of it; a client has `patience_s` to take a part."""

    status: int
    patience_s: float

    def made(self) -> AsyncGenerator[bytes, None]:
        """The parts, each made when it is asked for; closed as soon as nobody asks any more."""

    def cut(self) -> bytes:
        """The last part instead of those that are missing, where the server ends before they are made."""

    def end(self) -> None:
        """Let go of what makes them; called once, whether or not one was asked for."""


def stopped() -> RequestError:
    """What is said where the server ends before an answer is whole."""
    said = "The server stopped before the answer was whole. Ask again."
    return RequestError(503, said, ((b"retry-after", b"1"),))


async def send_parts(parts: Parts, receive: Receive, send: Send) -> None:
    """Send the parts, and nothing more once the client is gone; then the connection is not used again.

    If this is cancelled, the client is told by a last part that the answer was cut.

    The body of the request was read.
    """
    gone = asyncio.ensure_future(_departure(receive))
    try:
        async with aclosing(parts.made()) as made:
            while (part := await _next(made, gone)) != b"":
                if part is None:
                    await send({"type": "http.response.body", "body": b""})
                    return
                async with asyncio.timeout(parts.patience_s):
                    await send({"type": "http.response.body", "body": part, "more_body": True})
    except asyncio.CancelledError:  # the server ends, and waits no longer
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_S):
                await send({"type": "http.response.body", "body": parts.cut()})
        return
    except TimeoutError:  # it doesn't read what it asked for
        pass
    finally:
        gone.cancel()
    parts.status = GONE


async def _next(made: AsyncGenerator[bytes, None], gone: asyncio.Future[None]) -> bytes | None:
    """The next part; None at the end, and nothing if the client is gone."""
    coming: asyncio.Future[bytes | None] = asyncio.ensure_future(anext(made, None))
    waited: set[asyncio.Future[Any]] = {coming, gone}
    try:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not coming.done():
            coming.cancel()
            await asyncio.wait({coming})
    return b"" if gone.done() or coming.cancelled() else coming.result()


async def _departure(receive: Receive) -> None:
    """Wait until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass

"""Answers in parts, as models give them that yield: each part is an event, and the last one tells the id.

Invariant: the whole answer is logged before the last event goes out. What ends earlier is no prediction and is not logged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from mainspring.models.predictor import whole
from mainspring.models.signature import Columns
from mainspring.secrets import redact
from mainspring.serving.failures import raised_by, refusal_of
from mainspring.serving.hanging import OwnThread, Question
from mainspring.serving.live import Live
from mainspring.serving.predictions.ids import ids_from
from mainspring.serving.predictions.record import Entry
from mainspring.web.app import JSON, encode
from mainspring.web.parameters import ranked
from mainspring.web.request_error import RequestError
from mainspring.web.streaming import stopped

_log = logging.getLogger("mainspring.serving")
MOST_STREAMS = 32
"""Answers that are made in parts at once in one process, each in a thread."""
_RETRY = ((b"retry-after", b"1"),)
_CLOSING_S = 1.0
_END: Any = object()


class Form(NamedTuple):
    """How events are written: the media type, and what makes bytes of a kind of event and what it tells."""

    kind: bytes
    write: Callable[[str, Any], bytes]


def _event(kind: str, told: Any) -> bytes:
    name = b"" if kind == "part" else b"event: %s\n" % kind.encode()
    return b"%sdata: %s\n\n" % (name, encode({"part": told} if kind == "part" else told))


def _line(kind: str, told: Any) -> bytes:
    return encode({"part": told} if kind == "part" else {kind: told}) + b"\n"


FORMS = (Form(b"text/event-stream", _event), Form(b"application/x-ndjson", _line))
_BY_KIND: dict[str, Form | None] = {JSON.decode(): None} | {form.kind.decode(): form for form in FORMS}
KINDS = tuple(_BY_KIND)
"""Of answers, the first in one piece, the others in parts."""


@lru_cache(maxsize=256)  # asked for each request, of a few values
def forms_of(accept: bytes) -> tuple[Form | None, ...]:
    """The forms in which an answer is taken, the best first; None is one piece.

    >>> [form and form.kind for form in forms_of(b"text/event-stream, */*;q=0.1")]
    [b'text/event-stream', None, b'application/x-ndjson']
    """
    return tuple(_BY_KIND[kind] for kind in ranked(accept, KINDS))


class Streams:
    """The answers of one application that are made in parts, each in a thread of its own. One that hangs stays `open`."""

    def __init__(self) -> None:
        self.open = 0
        self.closing: set[asyncio.Future[Any]] = set()

    def begin(self, live: Live, columns: Columns) -> Stream:
        """Make the parts of an answer to one row, each when it is asked for. Whatever becomes of it, it is to be ended.

        Raises:
            RequestError: 503, so many are being made that there is no thread for it.
        """
        if self.open >= MOST_STREAMS:
            raise RequestError(503, "So many answers are being streamed that this one is not begun. Ask later.", _RETRY)
        return Stream(self, live, live.predictor.predictor.stream(columns))

    async def close(self) -> None:
        """Wait until the generators are closed that are being closed, but for none that hangs."""
        if self.closing:
            await asyncio.wait(self.closing, timeout=_CLOSING_S)


class Stream:
    """The parts of one answer, made one after another in a thread; the model is held until its generator is closed."""

    def __init__(self, streams: Streams, live: Live, parts: Generator[Any, None, None]) -> None:
        self._streams, self._live, self._parts = streams, live, parts
        self._thread = OwnThread("stream")
        self._work: asyncio.Future[Any] | None = None
        streams.open += 1
        live.holders += 1

    async def next(self) -> Any:
        """The next part, or `_END`.

        Raises:
            RequestError: 504, it isn't made in time; the model is asked for nothing more when it is.
            Exception: what the model raised, or one that tells of it if the event loop would take it for its own.
        """
        made: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        timeout_s = self._live.batcher.hanging.timeout_s

        def late() -> None:
            if not made.done():
                said = f"The model did not make the next part within {timeout_s:g} s."
                made.set_exception(RequestError(504, said))

        def back(work: asyncio.Future[Any]) -> None:
            error = None if work.cancelled() else work.exception()
            if made.done():  # nobody waits any longer
                return
            if work.cancelled():
                made.cancel()
            elif error is not None:
                made.set_exception(error)
            else:
                made.set_result(work.result())

        self._ask(Question(time.monotonic(), late), next, self._parts, _END).add_done_callback(back)
        return await made

    def end(self) -> None:
        """Ask for nothing more: the generator is closed in its thread, once it has made what it is making."""
        if self._work is None:
            self._close()
        else:
            self._work.add_done_callback(lambda _: self._close())

    def _ask(self, question: Question, ask: Callable[..., Any], *told: Any) -> asyncio.Future[Any]:
        """Ask the model something in a thread; it is given up if that takes too long."""
        hanging = self._live.batcher.hanging
        self._work = asyncio.get_running_loop().run_in_executor(self._thread, ask, *told)
        hanging.begin(question)
        self._work.add_done_callback(lambda _: hanging.end(question))
        return self._work

    def _close(self) -> None:
        closing = self._ask(Question(time.monotonic()), self._parts.close)
        self._thread.end()
        self._streams.closing.add(closing)
        closing.add_done_callback(self._closed)

    def _closed(self, closing: asyncio.Future[Any]) -> None:
        self._streams.closing.discard(closing)
        self._streams.open -= 1
        self._live.holders -= 1
        if not closing.cancelled() and (error := closing.exception()) is not None:
            _log.warning("a model that was asked for nothing more raised %s", redact(repr(raised_by(error))))


class StreamedAnswer:
    """One answer as it is sent: parts, then the event that tells the id, or the one that tells what went wrong.

    `log` takes the request with its whole answer, and gives it its id.
    """

    def __init__(
        self, stream: Stream, form: Form, entry: Entry, told: dict[str, Any], patience_s: float,
        log: Callable[[Sequence[tuple[Entry, Sequence[Any]]]], None] | None,
    ) -> None:  # fmt: skip
        self.status, self.patience_s = 200, patience_s
        self._stream, self._form, self._entry, self._told, self._log = stream, form, entry, told, log

    async def made(self) -> AsyncGenerator[bytes, None]:
        """The events."""
        parts: list[Any] = []
        try:
            while (part := await self._stream.next()) is not _END:
                parts.append(part)
                yield self._form.write("part", part)
            if self._log is not None:
                self._log([(self._entry, [whole(parts)])])
            ids = {"ids": ids_from(self._entry.first, 1)} if self._entry.first else {}
            yield self._form.write("end", self._told | ids)
        except Exception as error:  # noqa: BLE001  # a model may raise anything; it is told to who asked
            yield self._form.write("error", self._failure(error))

    def cut(self) -> bytes:
        """The event that tells of the server's end."""
        return self._form.write("error", self._failure(stopped()))

    def end(self) -> None:
        """Ask the model for nothing more."""
        self._stream.end()

    def _failure(self, error: Exception) -> dict[str, Any]:
        refused = refusal_of(error, self._entry.request_id, self._told["model_version"])
        self.status = refused.status
        return {"error": refused.body["error"], "status": refused.status, "id": self._entry.request_id}

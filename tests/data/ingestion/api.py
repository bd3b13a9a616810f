"""A JSON API on this machine: a list of answers for each path, and what was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit


class Asked(NamedTuple):
    """A request."""

    path: str
    params: dict[str, str]
    headers: dict[str, str]


class Answer(NamedTuple):
    """What is answered; `text` instead of a document if it is none."""

    document: Any = None
    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    text: str = ""


class Api:
    """`answer` is asked for each request."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Answer] = lambda _: Answer([])


@contextmanager
def api() -> Iterator[Api]:
    """A server for the block."""
    found = Api()

    class Requests(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = Asked(parts.path, dict(parse_qsl(parts.query)), dict(self.headers))
            found.asked.append(asked)
            answer = found.answer(asked)
            body = (answer.text or json.dumps(answer.document)).encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

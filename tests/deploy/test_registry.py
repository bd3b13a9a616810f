"""References as people write them, and a registry on the loopback that gives a token, redirects, lies and goes away."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mainspring.deploy.base import Base, library_of, read_base
from mainspring.deploy.layers import write_layer
from mainspring.deploy.layout import MANIFEST
from mainspring.deploy.needs import own_platform
from mainspring.deploy.registry import Reference
from mainspring.deploy.tree import File
from mainspring.errors import InvalidError, NotFoundError, StorageError, UnavailableError
from tests.deploy.bases import MINOR, PROGRAM, digest_of, document_of, empty_base


@pytest.mark.parametrize(
    ("text", "full"),
    [("python", "docker.io/library/python:latest"), ("user/app:1", "docker.io/user/app:1"),
     ("localhost:5000/a/b:x", "localhost:5000/a/b:x"), ("quay.io/a/b", "quay.io/a/b:latest"),
     (f"python:3@sha256:{'0' * 64}", f"docker.io/library/python:3@sha256:{'0' * 64}")],
)  # fmt: skip
def test_a_reference_is_read_as_people_write_it(text: str, full: str) -> None:
    assert str(Reference.parse(text)) == full
    assert Reference.parse(full) == Reference.parse(text)


@pytest.mark.parametrize("text", ["", "UPPER", "a b", "a:", "a/../b", "-a", "a@md5:00", "a:t@sha256:00", "a:x/y"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        Reference.parse(text)


class Registry(ThreadingHTTPServer):
    """Gives one layout, to those who bear its token."""

    def __init__(self, layout: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.layout, self.asked = layout, list[str]()
        self.manifest: str = document_of(layout / "index.json")["manifests"][0]["digest"]
        self.lies = False

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.server_port}/base"


class Answers(BaseHTTPRequestHandler):
    server: Registry

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path
        self.server.asked.append(path)
        if path.startswith("/token?"):
            return self.give(200, b'{"token": "t0p"}')
        if path.startswith("/store/"):  # another place, which is not to see the token
            is_seen = "Authorization" in self.headers
            return self.give(500, b"") if is_seen else self.give(200, self.blob(path.rpartition("/")[2]))
        if self.headers.get("Authorization") != "Bearer t0p":
            where = f'Bearer realm="http://127.0.0.1:{self.server.server_port}/token",service="s",scope="pull"'
            return self.give(401, b"", **{"WWW-Authenticate": where})
        kind, _, name = path.removeprefix("/v2/base/").partition("/")
        if kind == "manifests" and name in ("1", self.server.manifest):
            return self.give(200, self.blob(self.server.manifest), **{"Content-Type": MANIFEST})
        if kind == "blobs" and name.startswith("sha256:"):
            return self.give(307, b"", Location=f"http://localhost:{self.server.server_port}/store/{name}")
        return self.give(404, b"{}")

    def blob(self, digest: str) -> bytes:
        data = (self.server.layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()
        return data + b" " if self.server.lies else data

    def give(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(empty_base(tmp_path / "layout")) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def pulled(reference: str, folder: Path) -> Base:
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    return read_base(reference, own_platform(), MINOR, folder / "cache", folder / "blobs")


def test_an_image_is_pulled_with_a_token_and_kept(registry: Registry, tmp_path: Path) -> None:
    base = pulled(f"{registry.name}:1", tmp_path / "a")
    assert (base.digest, base.name) == (registry.manifest, f"{registry.name}:1")
    assert base.python == f"/usr/local/bin/python{MINOR}"
    for layer in base.layers:
        data = (tmp_path / "a" / "blobs" / layer.digest.removeprefix("sha256:")).read_bytes()
        assert digest_of(data) == layer.digest
    registry.asked.clear()
    pinned = pulled(f"{registry.name}@{registry.manifest}", tmp_path / "a")
    assert (pinned.layers, registry.asked) == (base.layers, [])


def test_the_sources_of_pythons_library_are_those_of_the_last_layer_without_bytecode(tmp_path: Path) -> None:
    folder = f"usr/local/lib/python{MINOR}"
    compiled = f"__pycache__/has.{sys.implementation.cache_tag}.pyc"
    layers = [
        {
            "json/__init__.py": b"old",
            "json/gone.py": b"x",
            "re/a.py": b"x",
            "has.py": b"x",
            "kept.py": b"kept",
            "other.py": b"x",
        },
        {"json/__init__.py": b"new", "json/.wh.gone.py": b"", ".wh.re": b"", compiled: b"x"},
    ]
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    written = [
        write_layer({f"{folder}/{path}": File(data) for path, data in each.items()}, blobs, "") for each in layers
    ]
    base = Base("", "", {}, tuple(each.descriptor for each in written), f"/{PROGRAM}", frozenset())
    wanted = ["json/__init__.py", "json/gone.py", "re/a.py", "has.py", "kept.py", "absent.py"]
    found, sources = library_of(base, blobs, wanted)
    assert found == folder
    assert {path: file.read() for path, file in sources.items()} == {"json/__init__.py": b"new", "kept.py": b"kept"}


def test_what_is_not_there_or_lies_is_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="base:2"):
        pulled(f"{registry.name}:2", tmp_path / "a")
    registry.lies = True
    with pytest.raises(StorageError, match="hash to"):
        pulled(f"{registry.name}@{registry.manifest}", tmp_path / "b")
    assert not [path for path in (tmp_path / "b" / "cache").rglob("*") if path.name == registry.manifest[7:]]


def test_a_registry_that_is_away_is_said_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="--base PATH"):
        pulled("127.0.0.1:9/base:1", tmp_path)

"""Pytest fixtures for tests that must hold on both pairs of backends. Register with `pytest_plugins`.

`backend` gives each test a fresh pair of URLs, once SQLite with local files and LMDB, once PostgreSQL with S3 and
Redis. A test marked `one_backend("reason")` runs on the first only, or on the one it names with `name="postgres"`; so does
a parameter with that mark.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from mainspring.testing.services import S3, Postgres, Redis, postgres_server, redis_server, s3_server

if TYPE_CHECKING:
    from mainspring.testing.workspaces import Lab


class Backend(NamedTuple):
    """URLs of a database, a blob store and an online store that no other test uses."""

    name: str
    database_url: str
    blob_url: str
    online: str


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "one_backend(reason, name='sqlite'): runs on this one only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `backend` on both pairs, unless it says why not."""
    if "backend" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("one_backend")
    if marker is not None and not marker.args:
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: `one_backend` needs a reason")
    names = [marker.kwargs.get("name", "sqlite")] if marker else ["sqlite", "postgres"]
    metafunc.parametrize("backend", names, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out a marked parameter on the pair that it doesn't name."""
    items[:] = [item for item in items if _belongs(item)]


def _belongs(item: pytest.Item) -> bool:
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    names = {marker.kwargs.get("name", "sqlite") for marker in item.iter_markers("one_backend")}
    return not names or params.get("backend") in {None, *names}


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """One PostgreSQL server for the whole run, shared by the workers of pytest-xdist."""
    shared = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        shared = shared.parent
    with postgres_server(shared / "postgres") as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """One S3 server for each worker."""
    with s3_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """One Redis server for each worker."""
    with redis_server() as server:
        yield server


@pytest.fixture
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """A fresh database, blob store and online store."""
    if request.param == "sqlite":
        folder = tmp_path / "workspace"
        return Backend("sqlite", f"sqlite://{folder}/state.db", f"file://{folder}/blobs", f"lmdb://{folder}/online")
    postgres: Postgres = request.getfixturevalue("postgres")
    s3: S3 = request.getfixturevalue("s3")
    redis: Redis = request.getfixturevalue("redis")
    return Backend("postgres", postgres.url(), s3.url(), redis.url())


@pytest.fixture
def lab(backend: Backend, tmp_path: Path) -> Iterator[Lab]:
    """A small project with a workspace on the pair."""
    from mainspring.testing.workspaces import lab_in

    urls = backend.database_url, backend.blob_url
    with lab_in(tmp_path / "project", *urls, online=backend.online, threads=1) as opened:
        yield opened


@pytest.fixture
def database_url(backend: Backend) -> str:
    """The database of the pair."""
    return backend.database_url


@pytest.fixture
def blob_url(backend: Backend) -> str:
    """The blob store of the pair."""
    return backend.blob_url

"""A workspace's server, asked as an ASGI server asks it, and what it answered as a client reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mainspring.server import ServerApp
from mainspring.testing.plugin import Backend
from mainspring.testing.workspaces import lab_in
from mainspring.workspace import Workspace


class Client:
    """A client of the server."""

    def __init__(self, workspace: Workspace, **options: Any) -> None:
        self.workspace = workspace
        self.app = ServerApp(workspace, **options)

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            app: Any = self.app
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await client.request(method, path, **request)

        return asyncio.run(asked())

    def get(self, path: str, /, **params: Any) -> Any:
        return self.ask("GET", f"/api/2.0/mlflow/{path}", params=params).json()

    def post(self, path: str, /, *, method: str = "POST", **fields: Any) -> Any:
        return self.ask(method, f"/api/2.0/mlflow/{path}", json=fields).json()

    def file(self, method: str, path: str, content: bytes = b"") -> httpx.Response:
        return self.ask(method, f"/api/2.0/mlflow-artifacts/artifacts/{path}", content=content)

    def run(self, **fields: Any) -> str:
        run_id: str = self.post("runs/create", **fields)["run"]["info"]["run_id"]
        return run_id


@pytest.fixture
def workspace(tmp_path: Path, backend: Backend) -> Iterator[Workspace]:
    with lab_in(tmp_path, backend.database_url, backend.blob_url) as lab:
        yield lab.workspace


@pytest.fixture
def client(workspace: Workspace) -> Client:
    return Client(workspace)

"""A server of features whose Redis is killed and started again: each service answers as declared, and as before afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.features import Entity, FeatureService, FeatureView, apply, materialize
from mainspring.testing.services import Redis, redis_server
from mainspring.workspace import Workspace, using

HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)


@pytest.fixture
def redis() -> Iterator[Redis]:
    with redis_server() as server:
        yield server


@pytest.fixture
def client(redis: Redis, tmp_path: Path) -> Iterator[httpx.Client]:
    (tmp_path / "mainspring.toml").write_text(f'online = "{redis.url()}"\n')
    view = FeatureView("weather", entity=Entity("origin"), source="weather", event_time="at", features=["wind", "gust"])
    with Workspace.open(tmp_path) as workspace, using(workspace):
        dataset("weather").commit(
            pl.DataFrame({"origin": ["EWR", "JFK"], "at": [HOUR_AGO] * 2, "wind": [5, 6], "gust": [1.5, 2.5]})
        )
        apply(
            FeatureService("strict", [view]),
            FeatureService("usual", [view], outage="defaults", defaults={"wind": 0}),
            FeatureService("lasting", [view], outage="last_known"),
        )
        materialize("weather")
    command = [sys.executable, "-m", "mainspring", "features", "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        with httpx.Client(base_url=json.loads(server.stdout.readline())["url"], timeout=20) as opened:
            yield opened
        server.terminate()
    assert server.returncode == 0


def test_an_outage_is_answered_as_declared_and_ends_by_itself(client: httpx.Client, redis: Redis) -> None:
    def ask(service: str, *origins: str) -> httpx.Response:
        return client.post("/get-online-features", json={"feature_service": service, "entities": {"origin": origins}})

    def told(service: str, *origins: str) -> list[tuple[list[Any], list[str]]]:
        found = ask(service, *origins).raise_for_status().json()
        return [(each["values"], each["statuses"]) for each in found["results"][1:]]

    present = [([5], ["PRESENT"]), ([1.5], ["PRESENT"])]
    assert [told(service, "EWR") for service in ("strict", "usual", "lasting")] == [present] * 3
    redis.kill()
    refused = ask("strict", "EWR")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert "the server can't be reached" in refused.json()["error"]
    assert told("usual", "EWR") == [([0], ["DEFAULT"]), ([None], ["UNAVAILABLE"])]
    assert told("lasting", "EWR", "JFK") == [
        ([5, None], ["LAST_KNOWN", "UNAVAILABLE"]), ([1.5, None], ["LAST_KNOWN", "UNAVAILABLE"])
    ]  # fmt: skip
    read_at, never = ask("lasting", "EWR", "JFK").json()["metadata"]["outage"]["read_at"]
    assert datetime.fromisoformat(read_at) > HOUR_AGO
    assert never is None
    assert "mainspring_feature_vectors_not_live 5" in client.get("/metrics").text
    row = {"origin": ["EWR"], "at": [HOUR_AGO.isoformat()], "wind": [1], "gust": [1.0]}
    assert client.post("/push", json={"push_source_name": "weather", "df": row}).status_code == 503
    assert client.get("/health").status_code == 200
    redis.start()
    assert [told(service, "EWR") for service in ("strict", "usual", "lasting")] == [present] * 3
    assert "outage" not in ask("lasting", "EWR").json()["metadata"]

"""A real server process whose model reads its features, from LMDB and from Redis: keys in, statuses out, and faults."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, chdir, contextmanager
from typing import Any, NamedTuple

import httpx
import polars as pl
import pytest
from click.testing import CliRunner

from mainspring.cli.main import cli
from mainspring.features import apply, verify
from mainspring.serving import bind
from mainspring.testing.processes import start_server
from mainspring.testing.services import Redis, redis_server
from mainspring.workspace import Workspace, using
from tests.serving.flights import ANSWER, INPUTS, REQUEST, late, service

TWICE = (pl.col("wind") * 2).alias("twice")
PROGRAM = """
from mainspring.serving import serve
from mainspring.workspace import Workspace
serve(Workspace.open(), "delays", port=0, max_entities=400, on_ready=lambda address: print(address, flush=True))
"""


class Running(NamedTuple):
    client: httpx.Client
    workspace: Workspace
    redis: Redis | None

    def predict(self, *records: Any) -> httpx.Response:
        return self.client.post("/predict", json={"records": records})


@pytest.fixture(scope="module", params=["lmdb", "redis"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server()) if request.param == "redis" else None
        online = f"{redis.url()}&timeout_s=0.3" if redis else f"lmdb://{folder}/online"
        (folder / "mainspring.toml").write_text(f'online = "{online}"\nvectors_share = 1.0\n')
        workspace = stack.enter_context(Workspace.open(folder))
        stack.enter_context(using(workspace))
        late()
        bind("delays", "delay@production", version="delay/1")
        process, address = start_server(PROGRAM, folder)
        client = stack.enter_context(httpx.Client(base_url=address, timeout=20))
        yield Running(client, workspace, redis)
        process.terminate()
        process.communicate()


def test_keys_are_enough_and_statuses_are_told(served: Running) -> None:
    answer = served.predict(REQUEST, REQUEST | {"origin": "XXX"}).json()
    assert answer["predictions"] == pytest.approx([ANSWER, ANSWER - 6])
    assert answer["features"] == {"PRESENT": 7, "NOT_FOUND": 1}
    assert len(served.predict(*[REQUEST] * 300).json()["predictions"]) == 300
    assert served.predict().json()["features"] == {}
    refused = served.predict(*[REQUEST] * 401)
    assert (refused.status_code, "at most 400 in one request" in refused.json()["error"]) == (422, True)
    told = served.client.get("/metrics").text
    assert 'mainspring_features_total{endpoint="delays",status="NOT_FOUND"} 1' in told
    assert "# TYPE mainspring_features_total counter" in told
    assert 'mainspring_vectors_dropped_total{endpoint="delays"} 0' in told


def test_what_is_wrong_with_keys_is_named_by_its_path(served: Running) -> None:
    for change, problem in (
        ({"flight": "x"}, '[0].flight: "x" is a str, expected a whole number'),
        ({"origin": None}, "[0].origin: null, expected text"),
        ({"wind": 1}, "[0].wind: a feature, which is read by the keys"),
        ({"leaves_at": "9999-12-31T23:59:59-05:00"}, "is in no year from 1 to 9999 in UTC"),
    ):
        refused = served.predict(REQUEST | change)
        assert (refused.status_code, problem in refused.json()["error"]) == (422, True)
    missing = served.predict({"origin": "EWR"})
    assert [each["path"] for each in missing.json()["problems"]] == [f"[0].{name}" for name in [*REQUEST][1:]]


def test_the_server_tells_what_a_request_holds(served: Running) -> None:
    told = served.client.get("/").json()
    assert [each["name"] for each in told["inputs"]] == list(REQUEST)
    assert told["features"] == {"service": "late/1", "names": INPUTS[:-1], "overrides": False}
    assert served.client.post("/predict", json=told["example"]).status_code == 200
    page = served.client.get("/", headers={"Accept": "text/html"}).text
    assert "reads wind, dest_wind, seats, hour of late/1" in page
    assert "<td>leaves_at</td>" in page
    with chdir(served.workspace.project.root):
        listed = CliRunner().invoke(cli, ["endpoints", "--json"]).stdout
        assert json.loads(listed)["endpoints"][0]["features"]["service"] == "late/1"
        for words in (["endpoints"], ["models", "show", "delay"]):
            assert "late/1 by origin, dest, carrier, flight, leaves_at" in CliRunner().invoke(cli, words).stdout


def test_definitions_change_under_a_server_and_overrides_are_switched_on(served: Running) -> None:
    with using(served.workspace):
        changed = apply(service(TWICE)).changes[0]
        assert [str(use) for use in changed.uses] == ["delay/1 (by late/1, served by delays)"]
        bind("delays", overrides=True)
        while served.predict(REQUEST | {"wind": 6}).status_code == 422:
            time.sleep(0.01)
        answer = served.predict(REQUEST | {"wind": 6}, REQUEST).json()
        assert answer["predictions"] == pytest.approx([ANSWER + 1, ANSWER])
        assert answer["features"] == {"PRESENT": 7, "OVERRIDDEN": 1}
        bind("delays", overrides=False)
        while served.predict(REQUEST | {"wind": 6}).status_code == 200:
            time.sleep(0.01)


def test_served_vectors_are_logged_with_the_ids_of_their_requests_and_verified(served: Running) -> None:
    answered = served.predict(REQUEST, REQUEST).json()["id"]
    written = b"".join(path.read_bytes() for path in served.workspace.segments.rglob("*") if path.is_file())
    assert all(f"{answered}-{row}".encode() in written for row in (0, 1))
    report = verify("late", workspace=served.workspace)
    assert report.passed
    assert report.vectors >= 2


@pytest.mark.parametrize("served", ["redis"], indirect=True)
def test_a_store_that_is_away_is_a_503_until_it_is_back(served: Running) -> None:
    """Killed, and then stopped: it answers nobody, and what needs it waits no longer than it should; all else goes on."""
    redis = served.redis
    assert redis is not None
    redis.kill()
    refused = served.predict(REQUEST)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert "features can't be read now" in refused.json()["error"]
    redis.start()
    back(served)
    with stopped(redis), ThreadPoolExecutor(8) as clients:
        waiting = [clients.submit(served.predict, REQUEST) for _ in range(40)]
        while not all(each.done() for each in waiting):
            assert served.client.get("/live").status_code == 200
        assert {each.result().status_code for each in waiting} == {503}
    back(served)


@contextmanager
def stopped(redis: Redis) -> Iterator[None]:
    redis.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        redis.signal(signal.SIGCONT)


def back(served: Running) -> None:
    while served.predict(REQUEST).status_code != 200:
        time.sleep(0.01)

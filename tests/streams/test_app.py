"""A real server that takes events: what it answers is kept, and what it refuses leaves no trace."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from mainspring.errors import NotAllowedError
from mainspring.streams import EventLog, log_at, open_log, serve
from mainspring.streams.app import StreamsApp
from mainspring.testing.processes import start_server
from mainspring.testing.services import Redis
from mainspring.workspace import Workspace

PROGRAM = """
from mainspring.streams import serve
from mainspring.workspace import Workspace
serve(Workspace.open(), port=0, max_body_bytes=100_000, on_ready=lambda address: print(address, flush=True))
"""
CLOUD = {"specversion": "1.0", "id": "1", "source": "/a", "type": "t", "data": {"x": 1}}


class Running(NamedTuple):
    process: subprocess.Popen[str]
    client: httpx.Client
    log: EventLog

    def connect(self) -> socket.socket:
        url = self.client.base_url
        return socket.create_connection((url.host, url.port or 80), timeout=10)

    def ids(self, stream: str) -> list[str]:
        return [event.id for event in self.log.read(stream)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("taking")
    (folder / "mainspring.toml").write_text('name = "taking"\n')
    process, address = start_server(PROGRAM, folder)
    with Workspace.open(folder) as workspace, httpx.Client(base_url=address, timeout=20) as client:
        yield Running(process, client, open_log(workspace))
    process.terminate()
    process.communicate()


def test_events_of_every_form_are_kept_and_told(running: Running) -> None:
    client = running.client
    one = client.post(
        "/events/s", json={"id": "a", "time": "2026-01-01T00:00:00Z", "data": {}}, headers={"X-Request-Id": "mine"}
    )
    assert one.json() == {"events": [{"id": "a", "offset": 1, "is_new": True}], "duplicates": 0, "id": "mine"}
    many = client.post("/events/s", json=[{"id": "a", "data": {"other": 1}}, {"id": "b", "data": {}}]).json()
    assert (many["duplicates"], [each["offset"] for each in many["events"]]) == (1, [1, 2])
    lines = b'{"id": "c", "data": {}}\n\n{"id": "d", "data": {}}\n'
    assert client.post("/events/s", content=lines, headers={"Content-Type": "application/x-ndjson"}).status_code == 200
    for kind, body in (("cloudevents", CLOUD), ("cloudevents-batch", [CLOUD | {"id": "2"}])):
        sent = client.post("/events/s", json=body, headers={"Content-Type": f"application/{kind}+json; charset=utf-8"})
        assert sent.status_code == 200
    assert running.ids("s") == ["a", "b", "c", "d", "/a#1", "/a#2"]
    made = client.post("/events/made", json={"data": {}}).json()["events"][0]["id"]
    assert running.ids("made") == [made]
    assert client.post("/events/none", json=[]).json()["events"] == []


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, b"", "The body is empty, expected an event or a list of events."),
        (400, b'{"data": {"x": NaN}}', "data.x is nan"),
        (422, b'[{"data": {}}, {"data": {}, "time": null}]', "[1].time: `None`"),
        (422, b'{"x": 1}', "[0].x: `1` is not a field of an event"),
        (422, b'{"time": 1795286135, "data": {}}', "The unit of a number can't be told"),
        (422, b'[{"data": {}}, {"id": "a\\u0000b", "data": {}}]', "[1].id"),
        (413, b" " * 100_001, "larger than 100,000 bytes"),
    ],
    ids=range(7),
)
def test_a_bad_request_leaves_no_trace(running: Running, status: int, body: bytes, message: str) -> None:
    answer = running.client.post("/events/bad", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, message in answer.json()["error"]) == (status, True)
    assert running.ids("bad") == []


def test_other_names_and_kinds_are_refused(running: Running) -> None:
    assert running.client.post("/events/a/b", json={"data": {}}).status_code == 422
    assert running.client.post("/events/", json={"data": {}}).status_code == 422
    assert running.client.post("/events/s", content=b"x", headers={"Content-Type": "text/csv"}).status_code == 415
    assert running.client.get("/events/s").status_code == 405
    assert running.client.get("/nowhere").status_code == 404
    assert "POST /events/STREAM" in running.client.get("/").json()


def test_a_torn_request_appends_nothing(running: Running) -> None:
    whole = b'{"id": "whole", "data": {}}\n'
    head = b"POST /events/torn HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
    for sent in (
        head + b"Content-Length: 500\r\n\r\n" + whole,
        head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(whole) + whole + b"\r\n",
    ):
        with running.connect() as link:
            link.sendall(sent)
    with running.connect() as link:  # answered only when what came before was read
        link.sendall(
            head + b"Content-Length: %d\r\n\r\n" % (len(whole) - 1) + whole.replace(b"whole", b"last")[:-1] + b" "
        )
        assert b"200 OK" in link.recv(4096)
    assert running.ids("torn") == ["last"]


def test_requests_at_one_time_are_all_kept(running: Running) -> None:
    def post(number: int) -> list[dict[str, Any]]:
        body = [{"id": f"{number}", "data": {}}, {"id": "shared", "data": {}}]
        found: list[dict[str, Any]] = running.client.post("/events/crowd", json=body).json()["events"]
        return found

    with ThreadPoolExecutor(8) as pool:
        answers = [each for answer in pool.map(post, range(40)) for each in answer]
    at = {event.id: event.offset for event in running.log.read("crowd")}
    assert all(at[each["id"]] == each["offset"] for each in answers)
    assert sum(each["is_new"] for each in answers) == len(at) == 41


def test_metrics_count_events(running: Running) -> None:
    running.client.post("/events/counted", json=[{"id": "a", "data": {}}, {"id": "a", "data": {}}])
    text = running.client.get("/metrics").text
    assert 'mainspring_stream_offset{stream="counted"} 1' in text
    assert 'mainspring_requests_total{path="/events/{stream}",code="200"}' in text


def test_streams_that_clients_invent_are_told_of_as_long_as_they_are_few(tmp_path: Path) -> None:
    async def post(app: StreamsApp, stream: str) -> None:
        scope = {
            "type": "http", "http_version": "1.1", "method": "POST", "path": f"/events/{stream}", "scheme": "http",
            "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")], "query_string": b"",
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b'{"data": {}}', "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            assert message.get("status", 200) == 200

        await app(scope, receive, send)

    async def post_all(app: StreamsApp) -> None:
        for number in (0, *range(260), 4):
            await post(app, f"s{number}")

    log = log_at(f"sqlite://{tmp_path}/streams.db")
    app = StreamsApp(log)
    asyncio.run(post_all(app))
    told = [line for line in app.told() if line.startswith("mainspring_stream_offset{")]
    assert len(told) == 256
    assert 'mainspring_stream_offset{stream="s4"} 2' in told, "what was appended to last"
    log.close()


def test_what_was_answered_before_a_kill_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text('serve_token = "secret:env/TAKE_SECRET"\n')
    process, address = start_server(PROGRAM, tmp_path, TAKE_SECRET="hunter22")
    assert httpx.post(f"{address}/events/s", json={"data": {}}).status_code == 401
    with httpx.Client(base_url=address, headers={"Authorization": "Bearer hunter22"}) as client:
        for number in range(20):
            assert client.post("/events/s", json={"id": str(number), "data": {}}).status_code == 200
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with Workspace.open(tmp_path) as workspace:
        assert [event.id for event in open_log(workspace).read("s")] == [str(number) for number in range(20)]


def test_off_loopback_a_token_is_needed(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace, pytest.raises(NotAllowedError, match="needs authentication"):
        serve(workspace, host="0.0.0.0", port=0)


def test_a_log_that_cant_be_written_is_unavailable_until_it_can(tmp_path: Path) -> None:
    server = Redis(tmp_path)
    url = f"{server.url('a')}&timeout_s=0.3"
    process, address = start_server(PROGRAM, tmp_path, MAINSPRING_STREAMS=url)
    with httpx.Client(base_url=address, timeout=20) as client:
        assert client.post("/events/s", json={"id": "a", "data": {}}).status_code == 200
        server.kill()
        refused = client.post("/events/s", json={"id": "b", "data": {}})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "nothing of this is acknowledged" in refused.json()["error"]
        server.start()
        assert client.post("/events/s", json={"id": "b", "data": {}}).status_code == 200
    process.terminate()
    assert process.wait() == 0
    process.communicate()
    assert [event.id for event in log_at(url).read("s")] == ["a", "b"]
    server.kill()

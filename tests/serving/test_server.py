"""A real server process: what it answers, what it refuses and how, that it follows its endpoint and drains."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

from mainspring.errors import ConfigError, ModelError, NotAllowedError, NotFoundError
from mainspring.models import Field, Signature, register
from mainspring.serving import bind, serve
from mainspring.serving.worker import Failure
from mainspring.testing.processes import start_server
from mainspring.workspace import Workspace, using

# A model whose call can be made to last, or to fail: at 13 it raises, at 100 it takes a second.
PROGRAM = """
import sys, time
from mainspring.serving import serve
from mainspring.testing.processes import start_server
from mainspring.workspace import Workspace
from sklearn.linear_model import LinearRegression
plain = LinearRegression.predict
def predict(self, rows):
    if rows[0, 0] == 13: raise ValueError("unlucky")
    if rows[0, 0] == 14: return plain(self, rows) * float("nan")
    if rows[0, 0] == 100: time.sleep(1)
    return plain(self, rows)
LinearRegression.predict = predict
serve(Workspace.open(), "delays", port=0, max_body_bytes=100_000, on_ready=lambda address: print(address, flush=True))
"""
pytestmark = pytest.mark.one_backend("the server reads both through the doors that have their own suites")


class Running(NamedTuple):
    process: subprocess.Popen[str]
    client: httpx.Client
    workspace: Workspace

    def connect(self) -> socket.socket:
        url = self.client.base_url
        return socket.create_connection((url.host, url.port or 80), timeout=10)


def registered(slope: float) -> None:
    model: Any = LinearRegression().fit(np.array([[0.0], [1.0]]), np.array([0.0, slope]))
    register(model, "line", input_example=pl.DataFrame({"x": [1.0]}))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "mainspring.toml").write_text('name = "served"\n')
    with Workspace.open(folder) as workspace, using(workspace):
        registered(2.0)
        bind("delays", "line@production", version="line/1")
        process, address = start_server(PROGRAM, folder)
        with httpx.Client(base_url=address, timeout=20) as client:
            yield Running(process, client, workspace)
        process.terminate()
        process.communicate()


@pytest.mark.parametrize("body", [{"records": [{"x": 1}, {"x": 2.5}]}, [{"x": 1}, {"x": 2.5}]])
def test_records_are_answered_in_order(running: Running, body: object) -> None:
    answer = running.client.post("/predict", json=body, headers={"X-Request-Id": "mine"})
    assert answer.status_code == 200
    told = answer.json()
    assert len(told.pop("ids")) == 2
    assert told == {"predictions": pytest.approx([2.0, 5.0]), "model_version": "line/1", "id": "mine"}
    assert (answer.headers["x-model-version"], answer.headers["x-request-id"]) == ("line/1", "mine")


def test_one_bare_record_none_and_many_are_answered(running: Running) -> None:
    assert running.client.post("/predict", json={"x": 3}).json()["predictions"] == pytest.approx([6.0])
    assert running.client.post("/predict", json=[]).json()["predictions"] == []
    assert len(running.client.post("/predict", json=[{"x": 1}] * 5000).json()["predictions"]) == 5000


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            400,
            b"",
            'The body is empty, expected {"records": [{...}]}, a list of records, or one record; GET / shows one.',
        ),
        (400, b" \n", "The body is empty"),
        (400, b'{"records": [', "This is not JSON"),
        (400, b'[{"x": 1}, {"x": NaN}]', "This is not JSON: [1].x is nan"),
        (400, b'{"records": [{"x": -Infinity}]}', "This is not JSON: records[0].x is -inf"),
        (422, b'{"recs": [{"x": 1}]}', '[0].recs: unknown column. Expected {"records": [{...}]}'),
        (422, b'{"X": [1, 2]}', '[0].X: unknown column. Expected {"records": [{...}]}'),
        (422, b'{"records": {"x": 1}}', 'Expected {"records": [{...}]}'),
        (400, b"\xff\xfe", "This is not JSON"),
        (400, b"[" * 50_000, "This is not JSON"),
        (422, b'[{"x": "a"}]', '[0].x: "a" is a str, expected a number'),
        (400, b'[{"x": 1}, {"x": 1e999}]', "[1].x is inf or too large"),
        (422, b'[{"x": 1}, {"y": 1}]', "[1].y: unknown column"),
        (422, b"3", "Expected"),
        (422, b"[3]", "[0]: 3 is not a record of columns"),
        (413, b" " * 100_001, "larger than 100,000 bytes"),
        (500, b'[{"x": 13}]', "line/1 failed on this request (ValueError)"),
        (500, b'[{"x": 14}]', "line/1 failed on this request (InvalidError)"),
    ],
    ids=range(18),
)
def test_a_bad_request_is_answered_with_what_is_wrong(running: Running, status: int, body: bytes, message: str) -> None:
    answer = running.client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert message in answer.json()["error"]
    assert answer.json()["id"] == answer.headers["x-request-id"]
    assert running.client.post("/predict", json=[{"x": 1}]).status_code == 200


def test_unknown_paths_methods_and_kinds_are_refused(running: Running) -> None:
    assert running.client.get("/nope").status_code == 404
    refused = running.client.get("/predict")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert running.client.post("/predict", content=b"x=1", headers={"Content-Type": "text/plain"}).status_code == 415
    packed = {"Content-Type": "application/json", "Content-Encoding": "br"}
    assert running.client.post("/predict", content=b"\x1f\x8b", headers=packed).status_code == 415
    assert len(running.client.get("/live", headers={"X-Request-Id": "x" * 500}).headers["x-request-id"]) == 32


def test_health_and_description(running: Running) -> None:
    for path in ("/health", "/live", "/ready"):
        assert running.client.get(path).json() == {"status": "ok"}
        assert running.client.head(path).content == b""
    told = running.client.get("/").json()
    assert (told["endpoint"], told["model_version"], told["inputs"][0]["name"]) == ("delays", "line/1", "x")
    assert running.client.post("/predict", json=told["example"]).status_code == 200
    page = running.client.get("/", headers={"Accept": "text/html,application/xml;q=0.9,*/*;q=0.8"})
    assert "<h1>delays · line/1</h1>" in page.text
    assert running.client.get("/", headers={"Accept": "text/html;q=0.5, application/json"}).json() == told


def test_metrics_are_text_that_prometheus_reads(running: Running) -> None:
    running.client.post("/predict", json=[{"x": 1}])
    text = running.client.get("/metrics").text
    line = re.compile(r'[a-z_]+(\{([a-z_]+="[^"\\\n]*",?)*\})? [0-9.e+-]+|# (HELP|TYPE) [a-z_]+ .+')
    assert [each for each in text.splitlines() if not line.fullmatch(each)] == []
    buckets = [int(each.rpartition(" ")[2]) for each in text.splitlines() if "_bucket" in each]
    assert buckets == sorted(buckets)
    assert f'mainspring_predict_seconds_count{{endpoint="delays"}} {buckets[-1]}' in text
    assert 'mainspring_model_info{endpoint="delays",model="line",version="1"} 1' in text


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"\x16\x03\x01\x02\x00" * 50,
    ],
)
def test_what_is_no_http_is_closed(running: Running, sent: bytes) -> None:
    with running.connect() as link:
        link.sendall(sent)
        answer = b"".join(iter(lambda: link.recv(4096), b""))
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
    assert running.client.get("/live").status_code == 200


def test_a_client_that_leaves_half_way_harms_nobody(running: Running) -> None:
    with running.connect() as link:
        link.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n[{"
        )
    with running.connect() as link:
        link.sendall(b'POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n[{"x": 1}]')
        link.shutdown(socket.SHUT_WR)
        link.recv(4096)
    assert running.client.post("/predict", json=[{"x": 1}]).status_code == 200


def test_a_chunked_body_over_the_limit_is_refused(running: Running) -> None:
    body = (b" " * 10_000 for _ in range(20))
    assert (
        running.client.post("/predict", content=body, headers={"Content-Type": "application/json"}).status_code == 413
    )


def answers_as(client: httpx.Client, version: str) -> None:
    while client.post("/predict", json=[{"x": 1}]).json()["model_version"] != version:
        time.sleep(0.01)


def test_the_server_follows_its_endpoint_and_drains(tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text('serve_token = "secret:env/SERVE_SECRET"\n')
    with Workspace.open(tmp_path) as workspace, using(workspace):
        registered(2.0)
        bind("delays", "line@production", version="line/1")
        process, address = start_server(PROGRAM, tmp_path, SERVE_SECRET="hunter22")
        assert httpx.get(f"{address}/ready").status_code == 200
        for wrong in ({}, {"Authorization": "Bearer hunter2"}, {"Authorization": "Basic hunter22"}):
            assert httpx.post(f"{address}/predict", json=[{"x": 1}], headers=wrong).status_code == 401
        with httpx.Client(base_url=address, headers={"Authorization": "Bearer hunter22"}, timeout=20) as client:
            answers_as(client, "line/1")
            registered(3.0)
            bind("delays", version="line/2")
            answers_as(client, "line/2")
            late: list[httpx.Response] = []
            asking = threading.Thread(target=lambda: late.append(client.post("/predict", json=[{"x": 100}])))
            asking.start()
            while (
                'in_flight{endpoint="delays"} 2' not in httpx.get(f"{address}/metrics", headers=client.headers).text
                and asking.is_alive()
            ):
                pass
            process.send_signal(signal.SIGTERM)
            asking.join()
    _, errors = process.communicate(timeout=20)
    assert late[0].json()["predictions"] == pytest.approx([300.0])
    assert (process.returncode, "hunter22" in errors) == (0, False)


def test_what_keeps_a_server_from_starting_is_said_before_it_listens(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace, using(workspace):
        with pytest.raises(NotFoundError, match="No endpoint `delays`"):
            serve(workspace, "delays", port=0)
        with pytest.raises(NotAllowedError, match="needs authentication"):
            serve(workspace, "delays", host="0.0.0.0", port=0)
        model: Any = LinearRegression().fit(np.array([[0.0], [1.0]]), np.array([0.0, 1.0]))
        register(model, "line", signature=Signature((Field("x", "f64"),)))
        bind("delays", "line@production", version="line/1")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(ConfigError, match="can't be listened on"):
                serve(workspace, "delays", port=taken.getsockname()[1])


@pytest.mark.parametrize(
    "raised", [RuntimeError("no luck"), SystemExit(3), KeyboardInterrupt("not asked for"), BaseException("it is one")]
)
def test_what_a_model_raises_at_its_warm_up_is_told_as_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise raised

    with Workspace.open(tmp_path) as workspace, using(workspace):
        registered(1.0)
        bind("delays", "line@production", version="line/1")
        monkeypatch.setattr(LinearRegression, "predict", fail)
        with pytest.raises(
            ModelError, match=f"line/1 failed at its warm-up: {type(raised).__name__}: {raised}"
        ) as caught:
            serve(workspace, "delays", port=0)
        failure = Failure.of(caught.value)
        assert (failure.code, failure.text) == ("model_failed", str(caught.value))
        assert "in fail" in failure.trace


def test_a_token_is_a_reference_never_the_value(tmp_path: Path) -> None:
    with Workspace.open(tmp_path, overrides={"serve_token": "hunter22"}) as workspace:
        with pytest.raises(ConfigError, match="secret reference") as refused:
            serve(workspace, "delays", host="0.0.0.0", port=0)
    assert "hunter22" not in str(refused.value)


def test_a_server_loads_polars_only_for_models_that_need_it() -> None:
    program = "import sys, mainspring.serving.app; sys.exit('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

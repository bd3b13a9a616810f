"""Models that yield answer in parts: as fast as they are read, as long as somebody reads, and logged before the end is told."""

from __future__ import annotations

import gc
import http.client
import importlib
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np
import polars as pl
import pytest

from mainspring.artifacts.project import importing_from
from mainspring.errors import InvalidError, WrongTypeError
from mainspring.models import Field, Signature, register
from mainspring.models.predictor import Predictor
from mainspring.serving import bind, load_predictor
from mainspring.serving.app import ServingApp
from mainspring.serving.predictions import get_prediction
from mainspring.web.server import Aside, serve_aside
from mainspring.workspace import Workspace, using

# What it does beside answering is told by files in the folder, so that it is seen from whatever process it runs in.
MODULE = """
import asyncio
import concurrent.futures
from pathlib import Path
from threading import Event
from sklearn.base import BaseEstimator

class Odd(Exception):
    def __str__(self):
        raise RuntimeError("no text")

class Mute(BaseException):
    __str__ = Odd.__str__

GO = Event()
RAISED = [
    KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, concurrent.futures.CancelledError, StopIteration,
    StopAsyncIteration, ValueError, Odd, Mute,
]
TORN = chr(0xd800)  # half of a pair, which UTF-8 has no form for

class Teller(BaseEstimator):
    def __init__(self, folder=""):
        self.folder = folder

    def predict(self, rows):
        (count,) = rows["count"].to_list()
        made = 0
        try:
            while made != count:
                if made == 1 and count == -2: raise ValueError("unlucky")
                if made == 1 and count == -5: GO.wait(20)
                if made == 1 and count <= -20: raise RAISED[-20 - count](f"bad {chr(0)} {TORN} thing")
                if made == 1 and count == -10: yield TORN
                if made == 1 and count == -12: yield 10**30
                if made == 1 and count == -13: yield {"a": [-10**30]}
                if made == 1 and count == -11: yield {"a": [TORN]}
                made += 1
                Path(self.folder, "made").write_text(str(made))
                yield f"word {made} " if count != -3 else "x" * 100_000
        finally:
            Path(self.folder, f"closed{count}").touch()
            if count == -6: raise KeyboardInterrupt

class Plain(BaseEstimator):
    def predict(self, rows):
        return [0.0] * len(rows)
"""
EVENTS, LINES = "text/event-stream", "application/x-ndjson"
pytestmark = pytest.mark.one_backend("the server reads both through the doors that have their own suites")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("told")
    (folder / "telling.py").write_text(MODULE)
    sys.path.insert(0, str(folder))
    try:
        with Workspace.open(folder) as opened, using(opened), importing_from([folder]):
            module: Any = importlib.import_module("telling")
            register(module.Teller(str(folder)), "teller", input_example=pl.DataFrame({"count": [2]}))
            register(module.Plain(), "plain", input_example=pl.DataFrame({"count": [2]}))
            for name in ("teller", "plain"):
                bind(name, f"{name}@production", version=f"{name}/1")
            yield opened
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("telling", None)


@pytest.fixture(scope="module")
def address(workspace: Workspace) -> Iterator[str]:
    with serve_aside(ServingApp(workspace, "teller", "plain", timeout_s=0.4)) as found:
        yield found


@contextmanager
def asked(address: str, count: object, accept: str, path: str = "/predict") -> Iterator[http.client.HTTPResponse]:
    link = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
    body = msgspec.json.encode(count if isinstance(count, list) else [{"count": count}])
    link.request("POST", path, body, {"Content-Type": "application/json", "Accept": accept})
    try:
        yield link.getresponse()
    finally:
        link.close()


def told(answer: http.client.HTTPResponse) -> list[Any]:
    return [msgspec.json.decode(line) for line in answer.read().splitlines()]


def got(address: str, path: str) -> tuple[int, str]:
    link = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
    link.request("GET", path)
    answer = link.getresponse()
    text = answer.read().decode()
    link.close()
    return answer.status, text


def streamed(address: str, count: int) -> tuple[list[Any], Any]:
    """The parts and the last event, once the model's process is up."""
    while True:
        with asked(address, count, LINES) as answer:
            *parts, last = told(answer)
        if last.get("error", {}).get("status") != 503:
            return parts, last
        threading.Event().wait(0.02)


def failures(address: str) -> int:
    """How many requests were answered by a 500."""
    found = re.search(r'requests_total{.*code="500".*} (\d+)', got(address, "/metrics")[1])
    return int(found[1]) if found else 0


def until(file: Path) -> None:
    while not file.exists():
        threading.Event().wait(0.01)


def test_parts_are_events_and_the_last_one_tells_the_id_of_what_is_logged(address: str, workspace: Workspace) -> None:
    with asked(address, 3, f"{EVENTS}, */*") as answer:
        assert (answer.status, answer.headers["Content-Type"], answer.headers["X-Model-Version"]) == (
            200,
            EVENTS,
            "teller/1",
        )
        *parts, end, rest = answer.read().decode().split("\n\n")
    assert parts == [f'data: {{"part":"word {each} "}}' for each in (1, 2, 3)]
    name, _, data = end.partition("\ndata: ")
    last = msgspec.json.decode(data)
    assert (name, rest, last["model_version"], last["id"]) == (
        "event: end",
        "",
        "teller/1",
        answer.headers["X-Request-Id"],
    )
    assert get_prediction(last["ids"][0], workspace)["output"] == "word 1 word 2 word 3 "


def test_parts_are_lines_of_json(address: str) -> None:
    with asked(address, 2, LINES, "/predict/teller") as answer:
        *parts, end = told(answer)
    assert parts == [{"part": "word 1 "}, {"part": "word 2 "}]
    assert end["end"]["ids"]
    with asked(address, 0, LINES) as answer:
        assert [*told(answer)[0]] == ["end"]


def test_a_client_that_knows_no_chunks_gets_the_parts_until_the_connection_ends(address: str) -> None:
    url, body = urlsplit(address), b'{"count": 2}'
    with socket.create_connection((url.hostname or "", url.port or 0), timeout=20) as link:
        head = f"POST /predict HTTP/1.0\r\nContent-Type: application/json\r\nAccept: {LINES}\r\n"
        link.sendall(b"%sContent-Length: %d\r\n\r\n%s" % (head.encode(), len(body), body))
        with link.makefile("rb") as answer:
            told_head, _, lines = answer.read().partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in told_head.lower()
    assert [list(msgspec.json.decode(line)) for line in lines.splitlines()] == [["part"], ["part"], ["end"]]


def test_a_model_that_answers_in_parts_alone_is_refused_where_it_is_registered(workspace: Workspace) -> None:
    class Alone:
        def predict_stream(self, rows: Any) -> Iterator[Any]:
            yield rows

    with pytest.raises(WrongTypeError, match="a model with a `predict` method"):
        register(Alone(), "alone", input_example=pl.DataFrame({"count": [2]}), workspace=workspace)


def test_the_description_tells_of_parts_where_there_are_some(address: str) -> None:
    link = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
    link.request("GET", "/openapi.json")
    paths = msgspec.json.decode(link.getresponse().read())["paths"]
    link.close()
    kinds = {
        path: {*paths[path]["post"]["responses"]["200"]["content"]} for path in ("/predict/teller", "/predict/plain")
    }
    assert kinds == {"/predict/teller": {"application/json", EVENTS, LINES}, "/predict/plain": {"application/json"}}


def test_without_asking_for_parts_the_answer_is_one_piece(address: str) -> None:
    with asked(address, 3, "application/json") as answer:
        assert msgspec.json.decode(answer.read())["predictions"] == ["word 1 word 2 word 3 "]


@pytest.mark.parametrize(
    ("path", "rows", "status", "said"),
    [
        ("/predict/plain", [{"count": 1}], 406, "answers in one piece"),
        ("/predict", [{"count": 1}, {"count": 2}], 422, "2 records; an answer in parts is of one"),
        ("/predict", [{"count": "x"}], 422, "expected a whole number"),
    ],
)
def test_what_can_not_be_streamed_is_refused(address: str, path: str, rows: list[Any], status: int, said: str) -> None:
    with asked(address, rows, EVENTS, path) as answer:
        assert answer.status == status
        assert said in msgspec.json.decode(answer.read())["error"]


JSON, NEVER = "application/json", "nothing"


def test_lines_of_accept_are_one_list(address: str) -> None:
    link = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
    link.putrequest("POST", "/predict/teller")
    body = b'[{"count": 1}]'
    for name, value in (("Accept", LINES), ("Accept", f"{JSON};q=0.1"), ("Content-Length", str(len(body)))):
        link.putheader(name, value)
    link.endheaders(body)
    assert link.getresponse().headers["Content-Type"] == LINES
    link.close()


@pytest.mark.parametrize(
    ("accept", "of_parts", "of_one_piece"),
    [
        (f"{JSON}, {EVENTS}", JSON, JSON),
        (f"{EVENTS}, {JSON}", EVENTS, JSON),
        (f"{LINES}, {EVENTS}, {JSON};q=0.9", LINES, JSON),
        (f"{EVENTS};q=0.5, {LINES};q=0.7", LINES, NEVER),
        (f"{EVENTS};q=0.5, */*;q=0.8", JSON, JSON),
        (f"{EVENTS}, */*", EVENTS, JSON),
        (f"*/*, {EVENTS}", EVENTS, JSON),
        (f"{EVENTS};q=0, */*", JSON, JSON),
        (f"{JSON};q=0, */*;q=0.1", EVENTS, NEVER),
        (f"{JSON}; q=0.000", NEVER, NEVER),
        ("application/*", JSON, JSON),
        ("application/*;q=0.2, text/*;q=0.3", EVENTS, JSON),
        (f'text/html;x=", {EVENTS};q=1", {JSON};charset=utf-8;Q=0.1', JSON, JSON),
        (f"text/html, {JSON};q=high", JSON, JSON),
        ("text/html", NEVER, NEVER),
        ("*", JSON, JSON),
        ("", JSON, JSON),
    ],
)
def test_the_form_is_the_one_that_is_accepted_best_of_those_that_the_model_has(
    address: str, accept: str, of_parts: str, of_one_piece: str
) -> None:
    for path, kind in (("/predict/teller", of_parts), ("/predict/plain", of_one_piece)):
        with asked(address, 1, accept, path) as answer:
            body = answer.read().decode()
            assert (answer.status, answer.headers["Content-Type"]) == ((406, JSON) if kind is NEVER else (200, kind))
            assert kind is not NEVER or "answers in one piece" in body


@pytest.mark.parametrize(("count", "status", "said"), [(-2, 500, "ValueError"), (-5, 504, "next part within 0.4 s")])
def test_what_goes_wrong_is_the_last_event_and_is_not_logged(
    address: str, count: int, status: int, said: str, workspace: Workspace
) -> None:
    go: threading.Event = sys.modules["telling"].GO
    go.clear()
    with asked(address, count, LINES) as answer:
        part, last = told(answer)
    go.set()
    until(Path(workspace.project.root) / f"closed{count}")
    assert part == {"part": "word 1 "}
    assert (last["error"]["status"], said in last["error"]["error"]) == (status, True)
    assert last["error"]["id"] == answer.headers["X-Request-Id"]


FAILS = [*range(-13, -9), *range(-29, -19)]
"""Parts that have no form, and what a model may raise that is more than an error, or whose text has none."""


@pytest.mark.parametrize("count", FAILS)
def test_whatever_a_model_raises_or_yields_is_the_last_event_and_ends_no_server(address: str, count: int) -> None:
    before = failures(address)
    with asked(address, count, LINES) as answer:
        part, last = told(answer)
    assert (part, last["error"]["status"]) == ({"part": "word 1 "}, 500)
    assert count != -20 or "(KeyboardInterrupt)" in last["error"]["error"]
    while failures(address) != before + 1:
        threading.Event().wait(0.01)
    assert streamed(address, 1)[0] == [{"part": "word 1 "}]


def test_whatever_a_model_raises_that_is_asked_for_nothing_more_ends_no_server(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    app = ServingApp(workspace, "teller")
    with serve_aside(app) as address:
        with asked(address, -6, LINES) as answer:
            assert answer.readline()
        until(Path(workspace.project.root) / "closed-6")
        while app._streams.open:
            threading.Event().wait(0.01)
        assert streamed(address, 1)[0] == [{"part": "word 1 "}]
    assert "asked for nothing more raised KeyboardInterrupt()" in caplog.text
    assert app.live["teller"].holders == 0


@pytest.mark.journey  # a process loads its model
def test_whatever_a_model_raises_or_yields_in_a_process_of_its_own_does_not_end_it(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    bind("robust", "teller@robust", version="teller/1", isolated=True)
    with serve_aside(ServingApp(workspace, "robust")) as address:
        for count in FAILS:
            parts, last = streamed(address, count)
            assert (parts, last["error"]["status"]) == ([{"part": "word 1 "}], 500)
            with asked(address, count, "application/json") as answer:
                assert answer.status == 500
        with asked(address, -6, LINES) as answer:
            assert answer.readline()
        while "asked for nothing more raised ModelError" not in caplog.text:
            threading.Event().wait(0.01)
        assert streamed(address, 1)[0] == [{"part": "word 1 "}]
        assert 'mainspring_model_processes_replaced_total{endpoint="robust"} 0' in got(address, "/metrics")[1]


def test_what_a_server_that_stops_waits_for_no_longer_is_told_so(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    go: threading.Event = sys.modules["telling"].GO
    go.clear()
    app = ServingApp(workspace, "teller")
    server = Aside(app)
    server._server._drain_s = 0.1
    with asked(server.address, -5, LINES) as answer:
        assert answer.readline()
        closing = threading.Thread(target=server.close)
        closing.start()
        (last,) = told(answer)
    go.set()
    closing.join()
    assert (last["error"]["status"], last["error"]["error"][:18]) == (503, "The server stopped")
    assert last["error"]["id"] == answer.headers["X-Request-Id"]
    assert "CancelledError" not in caplog.text
    assert re.search('requests_total{.*code="503"', app.counted())


@pytest.mark.parametrize("count", [-1, -3])
def test_a_client_that_leaves_or_does_not_read_stops_the_generator(
    address: str, workspace: Workspace, count: int
) -> None:
    folder = Path(workspace.project.root)
    with asked(address, count, EVENTS) as answer:
        assert answer.readline().startswith(b"data: ")
        if count == -3:  # its parts are large: they wait for whoever reads, and then nobody does
            until(folder / "closed-3")
            made = int((folder / "made").read_text())
            assert made < 1_000
    until(folder / f"closed{count}")
    link = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
    counted = ""
    while 'code="499"' not in counted:
        link.request("GET", "/metrics")
        counted = link.getresponse().read().decode()
    link.close()


@pytest.mark.journey  # a process loads its model
def test_a_process_of_its_own_streams_too_and_stops_when_nobody_reads(workspace: Workspace) -> None:
    bind("apart", "teller@apart", version="teller/1", isolated=True)
    predictor = load_predictor("apart", workspace=workspace)
    model = predictor.predictor
    try:
        assert [*model.stream({"count": [2]})] == ["word 1 ", "word 2 "]
        endless = model.stream({"count": [-7]})
        assert [next(endless), next(endless)] == ["word 1 ", "word 2 "]
        assert predictor([{"count": 1}]) == ["word 1 "]
        endless.close()
        assert (Path(workspace.project.root) / "closed-7").exists()
    finally:
        predictor.close()


@pytest.mark.journey  # a process loads its model
def test_a_process_that_hangs_in_streams_is_replaced_each_time(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    bind("hung", "teller@hung", version="teller/1", isolated=True)
    with serve_aside(ServingApp(workspace, "hung", timeout_s=0.4)) as address:
        for _ in range(4):
            parts, last = streamed(address, -5)
            assert (parts, last["error"]["status"]) == ([{"part": "word 1 "}], 504)
        parts, last = streamed(address, 2)
        assert (parts, [*last]) == ([{"part": "word 1 "}, {"part": "word 2 "}], ["end"])
        with asked(address, 3, "application/json") as answer:
            assert (answer.status, b"word 3" in answer.read()) == (200, True)
        counted = got(address, "/metrics")[1]
        assert 'mainspring_model_processes_replaced_total{endpoint="hung"} 4' in counted
        assert 'mainspring_stuck_total{endpoint="hung"} 0' in counted
        assert got(address, "/ready")[0] == 200
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_threads_that_hang_in_streams_count_until_they_come_back(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    go: threading.Event = sys.modules["telling"].GO
    go.clear()
    with serve_aside(ServingApp(workspace, "teller", timeout_s=0.4)) as address:
        for hang in (1, 2, 3):
            parts, last = streamed(address, -5)
            assert (parts, last["error"]["status"]) == ([{"part": "word 1 "}], 504)
            assert f'mainspring_stuck_total{{endpoint="teller"}} {hang}' in got(address, "/metrics")[1]
            assert got(address, "/ready")[0] == (200 if hang < 3 else 503)
        assert streamed(address, 1)[0] == [{"part": "word 1 "}]
        with asked(address, 3, "application/json") as answer:
            assert (answer.status, b"word 3" in answer.read()) == (200, True)
        go.set()
        while got(address, "/ready")[0] != 200:
            threading.Event().wait(0.01)
        assert 'mainspring_stuck_total{endpoint="teller"} 3' in got(address, "/metrics")[1]
    assert "teller/1 hangs: it has not answered for 0.4 s" in caplog.text


def test_parts_are_plain_values() -> None:
    class Counter:
        def predict(self, _rows: Any) -> Any:
            return np.array([0.0])

        def predict_stream(self, rows: Any) -> Iterator[Any]:
            yield {"n": np.array([1, 2]), "at": np.float64(rows[0, 0])}
            yield 2
            yield object()

    predictor = Predictor(Counter(), Signature((Field("n", "f64"),)), "numpy")
    parts = predictor.stream({"n": [0.5]})
    assert [next(parts), next(parts)] == [{"n": [1, 2], "at": 0.5}, 2]
    with pytest.raises(TypeError, match="parts that JSON has a form for"):
        next(parts)
    assert predictor([{"n": 1}]) == [0.0]
    with pytest.raises(InvalidError):
        predictor([{"n": "x"}])

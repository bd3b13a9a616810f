"""A version that was moved from goes on for what began with it, within the limits of time, and is closed after that."""

from __future__ import annotations

import importlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import polars as pl
import psutil
import pytest

from mainspring.artifacts.project import importing_from
from mainspring.models import register
from mainspring.serving import bind
from mainspring.serving.app import ServingApp
from mainspring.serving.isolation import IsolatedPredictor
from mainspring.serving.live import Live, load_live
from mainspring.serving.patience import telling
from mainspring.web.server import Aside, serve_aside
from mainspring.workspace import Workspace, using

# At -5 it hangs; a stream ends when there is the file that it is told.
MODULE = """
from pathlib import Path
from threading import Event
from time import sleep
from sklearn.base import BaseEstimator

GO = Event()

class Times(BaseEstimator):
    def __init__(self, factor=1, file=""):
        self.factor, self.file = factor, file

    def predict(self, rows):
        sleep(0.003)
        if -5 in rows["x"].to_list(): GO.wait(20)
        return [self.factor * each for each in rows["x"]]

    def predict_stream(self, rows):
        yield self.factor
        while not Path(self.file).exists():
            sleep(0.01)
            yield 0
"""
LIMIT_S = 0.4
pytestmark = pytest.mark.one_backend("the server reads both through the doors that have their own suites")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("moved")
    (folder / "multiplying.py").write_text(MODULE)
    sys.path.insert(0, str(folder))
    try:
        with Workspace.open(folder) as opened, using(opened), importing_from([folder]):
            module: Any = importlib.import_module("multiplying")
            for factor in (1, 2):
                model = module.Times(factor, str(folder / "ends"))
                register(model, "times", input_example=pl.DataFrame({"x": [2.0]}))
            yield opened
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("multiplying", None)


@pytest.fixture
def go() -> Iterator[threading.Event]:
    """Ends what hangs."""
    event: threading.Event = sys.modules["multiplying"].GO
    event.clear()
    yield event
    event.set()


@contextmanager
def serving(workspace: Workspace, name: str, *, isolated: bool = False) -> Iterator[tuple[ServingApp, httpx.Client]]:
    bind(name, f"times@{name}", version="times/1", isolated=isolated)
    app = ServingApp(workspace, name, timeout_s=LIMIT_S, poll_s=0.05)
    with serve_aside(app) as address, httpx.Client(base_url=address, timeout=20) as client:
        yield app, client


def move(name: str, client: httpx.Client) -> None:
    """To the other version, and on until nothing that is done in turns is left to be done for the one before."""
    bind(name, version="times/2")
    while client.post("/predict", json={"x": 1}).json()["model_version"] != "times/2":
        time.sleep(0.01)
    time.sleep(LIMIT_S)


@contextmanager
def begun(app: ServingApp, client: httpx.Client, x: int) -> Iterator[Callable[[], bytes]]:
    """A request of which the server has half; gives what sends the rest, and returns the whole answer."""
    address, body = urlsplit(str(client.base_url)), msgspec.json.encode({"x": x})
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=20) as link:
        head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(
            body
        )
        link.sendall(head + body[:1])
        while not app.metrics.in_flight:
            time.sleep(0.01)

        def finish() -> bytes:
            link.sendall(body[1:])
            return b"".join(iter(lambda: link.recv(4096), b""))

        yield finish


def test_what_began_with_a_version_that_was_moved_from_has_a_limit_too(
    workspace: Workspace, go: threading.Event
) -> None:
    with serving(workspace, "late") as (app, client), begun(app, client, 3) as answered, begun(app, client, -5) as hung:
        move("late", client)
        answer = answered()
        assert b"200 OK" in answer
        assert b'"predictions":[3.0],"model_version":"times/1"' in answer
        assert b"504" in hung().splitlines()[0]
        while app._retired:
            time.sleep(0.01)
        go.set()


def test_limits_hold_while_a_server_drains(workspace: Workspace, go: threading.Event) -> None:
    bind("drains", "times@drains", version="times/1")
    app = ServingApp(workspace, "drains", timeout_s=LIMIT_S, poll_s=0.05)
    server = Aside(app)
    closing = threading.Thread(target=server.close)
    with httpx.Client(base_url=server.address, timeout=20) as client, begun(app, client, -5) as hung:
        move("drains", client)
        with begun(app, client, -5) as second:
            closing.start()
            while not app.is_draining:
                time.sleep(0.01)
            assert [b"504" in each().splitlines()[0] for each in (hung, second)] == [True, True]
    go.set()
    closing.join()


def test_what_a_model_was_given_up_on_is_counted_on_when_its_endpoint_moves(
    workspace: Workspace, go: threading.Event
) -> None:
    counted = 'mainspring_stuck_total{endpoint="counted"} 1\n'
    with serving(workspace, "counted") as (_, client):
        assert client.post("/predict", json={"x": -5}).status_code == 504
        while counted not in client.get("/metrics").text:
            time.sleep(0.01)
        move("counted", client)
        assert counted in client.get("/metrics").text
        go.set()


def test_a_version_that_takes_its_time_to_close_holds_up_no_limit(
    workspace: Workspace, go: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    with serving(workspace, "slow") as (app, client):
        monkeypatch.setattr(app.live["slow"], "close", lambda: closed.append(go.wait(10)))
        move("slow", client)
        assert client.post("/predict", json={"x": -5}).status_code == 504
        assert closed == []
        go.set()
    assert closed == [True]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, ValueError])
def test_an_endpoint_that_loads_for_long_or_fails_at_it_holds_up_no_other(
    workspace: Workspace, go: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    raised: type[BaseException],
) -> None:  # fmt: skip
    loads: list[str] = []

    def load(given: Workspace, name: str, **more: Any) -> Live:
        loads.append(name)
        if name == "long":
            go.wait(10)
            raise raised
        return load_live(given, name, **more)

    for name in ("long", "other"):
        bind(name, f"times@{name}", version="times/1")
    app = ServingApp(workspace, "long", "other", timeout_s=LIMIT_S, poll_s=0.05)
    monkeypatch.setattr("mainspring.serving.app.load_live", load)
    with serve_aside(app) as address, httpx.Client(base_url=address, timeout=20) as client:
        bind("long", version="times/2")
        while not loads:
            time.sleep(0.01)
        bind("other", version="times/2")
        while client.post("/predict/other", json={"x": 1}).json()["model_version"] != "times/2":
            time.sleep(0.01)
        assert loads == ["long", "other"]
        go.set()
        while f"long stays on times/1: {raised.__name__}" not in caplog.text:
            time.sleep(0.01)
        assert client.post("/predict/long", json={"x": 1}).json()["model_version"] == "times/1"


def test_what_can_not_be_loaded_is_tried_ever_less_often_until_the_endpoint_moves_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loads: list[float] = []

    def load(given: Workspace, name: str, **more: Any) -> Live:
        loads.append(time.monotonic())
        if len(loads) < 5:
            raise ValueError("no luck")
        return load_live(given, name, **more)

    with serving(workspace, "unlucky") as (app, client):
        monkeypatch.setattr("mainspring.serving.app.load_live", load)
        bind("unlucky", version="times/2")
        while caplog.text.count("unlucky stays on times/1: no luck. It is tried again in 0.") < 4:
            time.sleep(0.01)
        pauses = [after - before for before, after in pairwise(loads)]
        assert all(taken >= pause for taken, pause in zip(pauses, (0.05, 0.1, 0.2), strict=True))
        app._staying["unlucky"]._until = float("inf")
        bind("unlucky", version="times/1")
        bind("unlucky", version="times/2")
        while client.post("/predict", json={"x": 1}).json()["model_version"] != "times/2":
            time.sleep(0.01)


def test_a_load_that_hangs_is_told_and_is_passed_over_when_the_endpoint_moves_on(
    workspace: Workspace, go: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loads: list[str] = []
    late: list[Live] = []

    def load(given: Workspace, name: str, **more: Any) -> Live:
        loads.append(name)
        if len(loads) > 1:
            return load_live(given, name, **more)
        with telling("times/2 is still being loaded"):
            go.wait(20)
        late.append(load_live(given, name, **more))
        return late[0]

    monkeypatch.setattr("mainspring.serving.patience.FIRST_S", 0.05)
    with serving(workspace, "hangs") as (app, client):
        monkeypatch.setattr("mainspring.serving.app.load_live", load)
        bind("hangs", version="times/2")
        while "times/2 is still being loaded" not in caplog.text:
            time.sleep(0.01)
        assert 'mainspring_model_loading_seconds{endpoint="hangs"} 0.' in client.get("/metrics").text
        time.sleep(0.2)
        assert loads == ["hangs"]  # what it moved to is being loaded, once
        bind("hangs", version="times/1")
        bind("hangs", version="times/2")
        while client.post("/predict", json={"x": 1}).json()["model_version"] != "times/2":
            time.sleep(0.01)
        answers, closed = app.live["hangs"], list[Live]()
        close = Live.close

        def noted(live: Live) -> None:
            closed.append(live)
            close(live)

        monkeypatch.setattr(Live, "close", noted)
        go.set()
        while not (late and late[0] in closed):
            time.sleep(0.01)
        assert app.live["hangs"] is answers
        assert "mainspring_model_loading_seconds" not in client.get("/metrics").text
    assert "stays on" not in caplog.text


def test_loads_that_hang_keep_no_other_endpoint_from_following(
    workspace: Workspace, go: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []

    def load(given: Workspace, name: str, **more: Any) -> Live:
        loads.append(name)
        if name == "endless":
            go.wait(20)
        return load_live(given, name, **more)

    for name in ("endless", "next"):
        bind(name, f"times@{name}", version="times/1")
    app = ServingApp(workspace, "endless", "next", timeout_s=LIMIT_S, poll_s=0.05)
    monkeypatch.setattr("mainspring.serving.app.load_live", load)
    monkeypatch.setattr("mainspring.serving.app._LOADERS", 1)
    monkeypatch.setattr("mainspring.serving.app._LONG_S", 0.3)
    with serve_aside(app) as address, httpx.Client(base_url=address, timeout=20) as client:
        bind("endless", version="times/2")
        while not loads:
            time.sleep(0.01)
        began = time.monotonic()
        bind("next", version="times/2")
        while client.post("/predict/next", json={"x": 1}).json()["model_version"] != "times/2":
            time.sleep(0.01)
        assert time.monotonic() - began > 0.2
        assert client.post("/predict/endless", json={"x": 1}).json()["model_version"] == "times/1"
        go.set()


def test_a_model_whose_process_is_away_is_not_ready_and_its_server_only_if_that_lasts(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gone", "here"):
        bind(name, f"times@{name}", version="times/1")
    app = ServingApp(workspace, "gone", "here", timeout_s=LIMIT_S, poll_s=0.05)
    with serve_aside(app) as address, httpx.Client(base_url=address, timeout=20) as client:
        model = app.live["gone"].predictor.predictor

        def statuses() -> list[int]:
            return [
                client.get(path).status_code for path in ("/v2/models/gone/ready", "/v2/models/here/ready", "/ready")
            ]

        assert statuses() == [200, 200, 200]
        monkeypatch.setattr(type(model), "away_s", property(lambda each: 2.0 if each is model else 0.0))
        assert statuses() == [503, 200, 200]
        monkeypatch.setattr(type(model), "away_s", property(lambda each: 6.0 if each is model else 0.0))
        assert statuses() == [503, 200, 503]
        assert client.get("/ready").json() == {"status": "away"}
        assert client.get("/live").status_code == 200
        assert client.get("/v2/health/ready").status_code == 503


@pytest.mark.parametrize("fails", [False, True])
def test_the_end_waits_for_no_load_and_what_comes_of_it_is_closed_without_a_word(
    workspace: Workspace, go: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    fails: bool,
) -> None:  # fmt: skip
    loading: list[threading.Thread] = []
    made: list[Live] = []

    def load(given: Workspace, name: str, **more: Any) -> Live:
        loading.append(threading.current_thread())
        go.wait(10)
        if fails:
            raise ValueError("the database is closed")
        made.append(load_live(given, name, **more))
        return made[0]

    with serving(workspace, f"ends-{fails}".lower()) as (app, _):
        monkeypatch.setattr("mainspring.serving.app.load_live", load)
        (name,) = app.live
        bind(name, version="times/2")
        while not loading:
            time.sleep(0.01)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    (thread,) = loading
    assert thread.is_alive()
    assert thread.daemon  # so that the process doesn't wait either
    closed: list[Live] = []
    monkeypatch.setattr(Live, "close", lambda live: closed.append(live))
    go.set()
    thread.join(10)
    assert closed == made
    assert len(made) == (not fails)
    assert app.live[name].name == "times/1"
    assert "stays on" not in caplog.text
    monkeypatch.undo()
    for live in made:
        live.close()


@pytest.mark.journey  # processes load their models
def test_a_process_answers_what_began_with_it_and_ends_after_that(workspace: Workspace) -> None:
    folder = Path(workspace.project.root)
    with (
        serving(workspace, "apart", isolated=True) as (app, client),
        begun(app, client, 3) as answered,
        client.stream("POST", "/predict", json={"x": 1}, headers={"Accept": "application/x-ndjson"}) as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines) == '{"part":1}'
        model = app.live["apart"].predictor.predictor
        assert isinstance(model, IsolatedPredictor)
        process = model.process.pid
        assert process is not None
        move("apart", client)
        (folder / "ends").touch()
        *parts, end = (msgspec.json.decode(line) for line in lines)
        assert {each["part"] for each in parts} == {0}
        assert end["end"]["model_version"] == "times/1"
        assert psutil.pid_exists(process)
        assert b'"predictions":[3.0],"model_version":"times/1"' in answered()
        while psutil.pid_exists(process):
            time.sleep(0.01)

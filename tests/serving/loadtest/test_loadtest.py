"""Load tests over real sockets: what a server that stalls shows, what is sent, what is said of it, and that it is kept."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

from mainspring.data import dataset
from mainspring.errors import InvalidError, NotFoundError, UnavailableError
from mainspring.models import register
from mainspring.serving import ServingApp, bind
from mainspring.serving.loadtest import (
    Limit,
    LoadReport,
    Measured,
    Step,
    keep_load_test,
    limit_of,
    list_load_tests,
    load_test,
    posts,
    ramp,
    records_of,
    server_at,
)  # fmt: skip
from mainspring.serving.loadtest.processes import cpu_of_port
from mainspring.serving.predictions import find_prediction, scan_predictions
from mainspring.web.server import serve_aside
from mainspring.workspace import Workspace

pytestmark = pytest.mark.one_backend(
    "what is kept is a row of text; the server reads through doors with suites of their own"
)


def measured(rate: float, p99_s: float, **more: Any) -> Measured:
    quantiles = {"p50": p99_s / 2, "p90": p99_s, "p99": p99_s, "p99.9": p99_s, "max": p99_s}
    count = int(rate)
    told: dict[str, Any] = {"quantiles_s": quantiles, "outcomes": {"200": count}, "mean_s": p99_s / 2}
    told |= {"server_cores": 0.5, "driver_cores": 0.1, "late_s": 0.0}
    return Measured(rate=rate, requests=count, took_s=1.0, **(told | more))


def report_of(*steps: Measured, limits: tuple[Limit, ...] = (), version: str = "") -> LoadReport:
    return LoadReport(
        endpoint="line", url="http://here", version=version, at=1, rows=1, connections=1, limits=limits, steps=steps,
        planned=len(steps),
    )  # fmt: skip


@pytest.fixture
def line(workspace: Workspace) -> Iterator[str]:
    model: Any = LinearRegression().fit(np.array([[0.0], [1.0]]), np.array([0.0, 2.0]))
    register(model, "line", input_example=pl.DataFrame({"x": [1.0]}))
    bind("line", "line@production", version="line/1")
    with serve_aside(ServingApp(workspace, "line")) as url:
        yield url


class Stalling(BaseHTTPRequestHandler):
    """Answers each request, after `pauses_s` by its number; one at a time."""

    protocol_version = "HTTP/1.1"
    pauses_s: ClassVar[dict[int, float]]
    bodies: ClassVar[list[bytes]]
    turn: ClassVar[threading.Lock]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.turn:
            self.bodies.append(body)
            time.sleep(self.pauses_s.get(len(self.bodies), 0.0))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def stalling() -> Iterator[tuple[type[Stalling], str]]:
    kind = type("Once", (Stalling,), {"bodies": [], "pauses_s": {}, "turn": threading.Lock()})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield kind, f"http://127.0.0.1:{server.server_port}/score"
        server.shutdown()
        thread.join()


def test_a_real_stall_shows_in_all_that_was_due_within_it(stalling: tuple[type[Stalling], str]) -> None:
    kind, url = stalling
    kind.pauses_s = {12: 0.3}  # the first request is the one that tries the server
    target = server_at(url)
    (found,) = load_test(target, posts(target, [{"x": 1}]), [Step(100, 0.4)], connections=4).steps
    # Of 40 requests the 11th stalls for 300 ms, in which 29 others are due: half of all wait for at least 100 ms.
    assert found.outcomes == {"200": 40}
    assert found.quantiles_s["max"] >= 0.3
    assert found.quantiles_s["p50"] >= 0.1


def test_an_address_with_a_path_gets_the_lines_as_they_are(
    stalling: tuple[type[Stalling], str], tmp_path: Path
) -> None:
    kind, url = stalling
    (tmp_path / "lines").write_text('{"a": 1}\n\n[{"b": 2}]\n')
    target = server_at(url)
    load_test(target, posts(target, records_of(target, file=tmp_path / "lines")), [Step(100, 0.04)], connections=1)
    assert set(kind.bodies) == {b'{"a":1}', b'{"b":2}'}
    assert len(kind.bodies) == 5


@pytest.mark.parametrize("protocol", ["records", "oip"])
def test_an_endpoint_is_asked_with_its_example(line: str, protocol: Any) -> None:
    target = server_at(line)
    requests = posts(target, records_of(target), protocol=protocol, rows=3)
    assert target.endpoint == "line"
    assert len(requests) == 1
    report = load_test(target, requests, [Step(200, 0.05)], rows=3, connections=2)
    assert (report.version, report.steps[0].outcomes) == ("line/1", {"200": 10})
    assert report.steps[0].server_cores is None or report.steps[0].server_cores >= 0
    assert not report.broken(report.steps[0])
    answer = target.ask(requests[0]).body
    if protocol == "records":
        assert json.loads(answer)["predictions"] == pytest.approx([2.0] * 3)
    else:
        assert np.frombuffer(answer[-24:]).tolist() == pytest.approx([2.0] * 3)


def test_what_a_load_test_asked_is_logged_apart(workspace: Workspace, line: str) -> None:
    target = server_at(line)
    load_test(target, posts(target, records_of(target)), [Step(100, 0.04)], connections=1)
    assert scan_predictions("line").collect().height == 0
    asked = scan_predictions("line", role="loadtest").collect()
    assert asked["role"].to_list() == ["loadtest"] * 5
    assert find_prediction(asked["id"][0], workspace) == asked.row(0, named=True)


def test_a_report_is_kept_with_the_version_that_answered(workspace: Workspace, line: str) -> None:
    target = server_at(line)
    requests = posts(target, records_of(target))
    report = load_test(target, requests, [Step(100, 0.02)], protocol="records", connections=1)
    assert list_load_tests("line/1") == []
    made = keep_load_test(report)
    assert list_load_tests("line@production") == [report]
    assert report.conditions == "protocol records, 1 row a request, 1 connection, no limits"
    older = msgspec.to_builtins(report)
    del older["protocol"]
    assert msgspec.convert(older, LoadReport).conditions == "1 row a request, 1 connection, no limits"
    assert workspace.ledger.nodes([made])[made].kind == "load test"
    with pytest.raises(NotFoundError):
        keep_load_test(report_of(measured(10, 0.1), version="else/1"))


def test_what_is_refused_at_once_is_said_and_nothing_is_driven(line: str, tmp_path: Path) -> None:
    target = server_at(line)
    with pytest.raises(InvalidError, match=r"first request: `422`.*unknown column"):
        load_test(target, posts(target, [{"y": 1}]), [Step(1e4, 100)])
    with pytest.raises(InvalidError, match=r"records\.x"):
        posts(target, [{"x": "text"}], protocol="oip")
    (tmp_path / "bad").write_text('{"x": 1}\n{')
    with pytest.raises(InvalidError, match="bad, line 2"):
        records_of(target, file=tmp_path / "bad")
    with pytest.raises(NotFoundError):
        records_of(target, file=tmp_path / "none")


def test_of_a_long_file_and_a_dataset_the_first_are_sent_and_all_are_counted(line: str, tmp_path: Path) -> None:
    target = server_at(line)
    (tmp_path / "lines").write_text('{"x": 0}\n' * 998 + "[1, 2, 3, 4]\n\n" + '{"x": 5}\n [6, 7]\n')
    found = records_of(target, file=tmp_path / "lines")
    assert (found[-3:], len(found), found.total) == ([{"x": 0}, 1, 2], 1_000, 1_005)
    dataset("rows").append(pl.DataFrame({"x": [1.0] * 1_001}))
    found = records_of(target, dataset="rows")
    assert (len(found), found.total, records_of(target).total) == (1_000, 1_001, None)


@pytest.mark.parametrize("more", [{}, {"logged": True}])
def test_an_endpoint_that_the_server_has_not_is_said_with_the_nearest(line: str, more: dict[str, Any]) -> None:
    with pytest.raises(NotFoundError) as caught:
        records_of(server_at(line, endpoint="lime"), **more)
    assert str(caught.value) == f"{line} has no endpoint `lime`. Nearest: line."


def test_a_server_that_is_not_there_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    here = f"http://127.0.0.1:{port}"
    said = rf"nothing answers at 127\.0\.0\.1:{port} \(Connection refused\)\. Start a server there"
    for asked in (lambda: server_at(here), lambda: server_at(here, endpoint="line").ask(b"")):
        with pytest.raises(UnavailableError, match=said):
            asked()
    for url in ("ftp://here", "http://", "http://a:b", "http://user:pw@here", "http://here/a b"):
        with pytest.raises(InvalidError):
            server_at(url)


def test_a_limit_ends_the_ramp_and_the_step_before_is_the_capacity(stalling: tuple[type[Stalling], str]) -> None:
    kind, url = stalling
    target = server_at(url)
    kind.pauses_s = {4: 0.3}
    steps = ramp(50, 150, steps=3, duration_s=0.06)
    report = load_test(target, posts(target, [1]), steps, limits=[limit_of("max=290ms")], connections=1)
    assert (len(report.steps), report.planned) == (2, 3)
    assert report.best == report.steps[0]


def test_capacity_cores_and_servers_follow_from_the_last_step_within_the_limits() -> None:
    limits = (limit_of("p99=50ms"),)
    report = report_of(measured(100, 0.01), measured(200, 0.04), measured(300, 0.2), limits=limits)
    assert (report.capacity_per_s, report.per_core_per_s, report.is_bounded) == (200.0, 400.0, True)
    assert (report.servers(1_000, headroom=0.5), report.servers(1, headroom=0.5)) == (10, 1)
    assert report.in_flight_target(headroom=0.5) == pytest.approx(200 * 0.5 * 0.02)
    assert report.facts()["load_capacity_per_s"].value == 200
    assert report.facts()["load_p99_ms"].value == pytest.approx(40)
    assert "One server answers 200 requests a second within p99<=50ms, 400 a second and core." in report.advice()
    assert "1,000 requests a second need 10 of them with 50% headroom." in report.advice(rate=1_000, headroom=0.5)
    unbounded = report_of(measured(100, 0.01)).advice(rate=1_000, headroom=0.5)
    assert "at least 100" in unbounded[0]
    assert "need at most 20 of them" in unbounded[1]
    assert unbounded[2:] == ["No limit broke: what to scale on is told by a test up to a rate at which one does."]
    assert report_of(measured(100, 0.01)).in_flight_target() is None


def test_without_a_step_within_the_limits_nothing_is_promised() -> None:
    report = report_of(measured(100, 0.2), limits=(limit_of("p50=1ms"),))
    assert (report.best, report.capacity_per_s, report.facts()["load_p99_ms"].value) == (None, None, None)
    assert report.advice() == ["No step was within the limits: p50<=1ms."]
    with pytest.raises(InvalidError):
        report.servers(10)
    silent = measured(10, 0.1, quantiles_s={}, outcomes={"503": 10}, mean_s=None)
    assert report_of(silent, limits=(limit_of("p99=1s"),)).best is None
    assert report_of(silent, limits=(limit_of("errors=99%"),)).best is None


def test_a_driver_that_is_the_bottleneck_or_was_held_up_is_said() -> None:
    busy, late = ({"driver_cores": 0.95}, {"driver_cores": 0.08, "late_s": 0.05})
    assert (
        "bottleneck: in the step of 100/s it was busy for 95% of a core"
        in report_of(measured(100, 0.1, **busy)).advice()[0]
    )
    said = report_of(measured(100, 0.1, **late)).advice()[0]
    assert (
        "held up: in the step of 100/s it sent 1 of 100 requests 50.0 ms late or later, though it was busy for 8%"
        in said
    )


def test_of_several_steps_in_which_the_driver_was_held_up_the_worst_is_told() -> None:
    steps = [measured(100, 0.1, late_s=0.164), measured(200, 0.1, late_s=0.021), measured(300, 0.1)]
    report = report_of(*steps)
    assert report.driver_limits
    assert "in the step of 100/s it sent 1 of 100 requests 164.0 ms late" in report.advice()[0]
    busy = report_of(*steps, measured(400, 0.1, driver_cores=0.9), measured(500, 0.1, late_s=0.2)).advice()[0]
    assert "in the step of 400/s it was busy for 90% of a core" in busy
    assert not report_of(*steps[2:]).driver_limits


@pytest.mark.parametrize("steps", [1, 4])
def test_the_page_holds_the_chart_and_what_was_said(steps: int, tmp_path: Path) -> None:
    report = report_of(*[measured(100 * (n + 1), 0.01 * (n + 1)) for n in range(steps)], limits=(limit_of("p99=90ms"),))
    page = report.write_html(tmp_path / "page.html", rate=500).read_text()
    assert "<svg" in page
    assert "p99&lt;=90ms" in page
    assert not re.search(r"<script|https?://(?!www\.w3\.org/2000/svg)", page)


@pytest.mark.parametrize("text", ["", "p99", "p99=", "p99=5", "p98=5ms", "errors=1ms", "p99=..ms", "p99=-1ms"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        limit_of(text)


@pytest.mark.parametrize("rates", [(0, 1), (-1, 1), (1, float("nan")), (1, float("inf")), (1e9, 1e9), (10, 5), (5, 5)])
def test_what_is_no_ramp_is_refused(rates: tuple[float, float]) -> None:
    with pytest.raises(InvalidError):
        ramp(*rates, steps=3, duration_s=10)


def test_a_ramp_that_does_not_rise_is_told_so() -> None:
    with pytest.raises(InvalidError, match=r"^ramp: `10:5` is not two rates of which the second is higher\.$"):
        ramp(10, 5, steps=2, duration_s=1)


def test_cpu_is_that_of_who_listens_and_all_that_it_started(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    lines = ["head", " 0: 0100007F:1F90 0:0 0A 0:0 0:0 0 0 0 77", " 1: 0100007F:1F90 0:0 01 0:0 0:0 0 0 0 78"]
    (tmp_path / "net" / "tcp").write_text("\n".join(lines))
    for pid, parent, ticks, inode in ((10, 1, 100, 77), (11, 10, 50, 5), (12, 11, 25, 6), (13, 1, 1_000, 78)):
        (tmp_path / str(pid) / "fd").mkdir(parents=True)
        (tmp_path / str(pid) / "fd" / "3").symlink_to(f"socket:[{inode}]")
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a (b) c) S {parent} {'0 ' * 9}{ticks} 0 0 0")
    assert cpu_of_port(8080, tmp_path) == pytest.approx(175 / os.sysconf("SC_CLK_TCK"))
    assert cpu_of_port(8081, tmp_path) is None

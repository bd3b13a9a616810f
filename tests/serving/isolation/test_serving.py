"""A server whose model has a process of its own answers while that is started again, and leaves none behind."""

from __future__ import annotations

import http.client
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import psutil
import pytest

from mainspring.artifacts.project import importing_from
from mainspring.models import load_model, register
from mainspring.serving import bind
from mainspring.workspace import Workspace, using
from tests.serving.lines import Load, Server, make_project, served

pytestmark = [
    pytest.mark.journey,
    pytest.mark.one_backend("the server reads both through the doors that have their own suites"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("isolated")
    make_project(made)
    with Workspace.open(made) as workspace, using(workspace):
        bind("lines", isolated=True)
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with served(folder, timeout_s=0.5) as running:
        yield running


def until_answered(server: Server) -> int:
    """The process that answers, once one does."""
    while (found := server.ask(-1))[0] != 200:
        threading.Event().wait(0.05)
    return int(found[1]["predictions"][0])


@pytest.mark.parametrize(("asked", "status"), [(-4, 503), (-6, 503), (-5, 504)])
def test_a_call_that_ends_its_process_or_hangs_is_told_and_others_are_answered_again(
    server: Server, asked: float, status: int
) -> None:
    before = until_answered(server)
    assert before != server.process.pid
    link = http.client.HTTPConnection(server.host, server.port, timeout=20)
    link.request("POST", "/predict", msgspec.json.encode([{"x": asked}]))
    answer = link.getresponse()
    answer.read()
    assert (answer.status, answer.headers["Retry-After"] is not None) == (status, status == 503)
    assert until_answered(server) != before
    assert server.ask(3)[1]["predictions"] == pytest.approx([6.0])
    assert server.get("/ready")[0] == 200
    assert 'processes_replaced_total{endpoint="lines"}' in server.get("/metrics")[1]
    link.close()


def test_what_it_raises_is_one_answer_and_it_goes_on(server: Server) -> None:
    before = until_answered(server)
    status, said = server.ask(-2)
    assert (status, "ValueError" in said["error"]) == (500, True)
    assert until_answered(server) == before


def test_workers_have_processes_of_their_own_and_a_server_that_ends_leaves_none(folder: Path) -> None:
    with served(folder, workers=2) as running:
        models = running.pids(2)
        assert all(psutil.pid_exists(each) for each in models)
    assert not any(psutil.pid_exists(each) for each in models)
    with served(folder) as running:
        model = until_answered(running)
        running.process.kill()
        psutil.wait_procs([psutil.Process(model)] if psutil.pid_exists(model) else [], timeout=20)
    assert not psutil.pid_exists(model)


def test_the_process_answers_until_that_of_the_next_version_does(folder: Path) -> None:
    with Workspace.open(folder) as workspace, using(workspace), served(folder) as running, Load(running, 2) as load:
        load.wait(20)
        with importing_from([folder]):
            model = load_model("line/1")
            model.fit(np.array([[0.0], [2.0]]), np.array([0.0, 4.0]))
            register(model, "line", input_example=pl.DataFrame({"x": [2.0]}))
        sys.modules.pop("crooked")
        bind("lines", version="line/2")
        while running.ask(1)[1]["model_version"] != "line/2":
            load.wait(1)
        load.wait(20)
    assert (load.wrong, load.lost) == ([], [])

"""Several processes behind one socket: what becomes of one is no matter of the clients of the others."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from mainspring.errors import NotFoundError, UnavailableError
from mainspring.serving import serve
from mainspring.testing.processes import start_server
from mainspring.workspace import Workspace, using
from tests.serving.lines import Load, Server, make_project, served

COMMAND = "import sys; from mainspring.__main__ import main; sys.argv = ['mainspring', *{arguments}]; main()"
FEW_TRIES = "import mainspring.serving.supervisor as supervisor; supervisor.MOST_TRIES = 1"
pytestmark = [
    pytest.mark.journey,
    pytest.mark.one_backend("the server reads both through the doors that have their own suites"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("workers")
    make_project(made)
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with served(folder, workers=2) as running:
        yield running


def counted(server: Server) -> dict[str, int]:
    """The rows that each worker predicted."""
    lines = re.findall(
        r'^mainspring_predictions_total\{worker="(\d)",.*\} (\d+)$', server.get("/metrics")[1], re.MULTILINE
    )
    return {worker: int(rows) for worker, rows in lines}


def test_each_worker_answers_and_any_tells_what_all_counted(server: Server) -> None:
    assert len(server.pids(2)) == 2
    before = sum(counted(server).values())
    assert [server.ask(each, each + 1)[1]["predictions"] for each in range(20)] == [
        pytest.approx([2.0 * each, 2.0 * each + 2]) for each in range(20)
    ]
    while sum(counted(server).values()) < before + 40:  # of the others they are a second old
        pass
    assert set(counted(server)) == {"0", "1"}
    text = server.get("/metrics")[1]
    assert len(re.findall(r"^# TYPE mainspring_predictions_total ", text, re.MULTILINE)) == 1


def test_a_killed_worker_is_replaced_and_harms_no_connection_but_its_own(server: Server) -> None:
    before = server.pids(2)
    with Load(server) as load:
        load.wait(200)
        os.kill(min(before), signal.SIGKILL)
        while len(server.pids(2) - before) < 1:
            pass
        load.wait(200)
    assert load.wrong == []
    assert len(load.lost) <= 6  # at most one of each client, which was in its hands or went into its connection


@pytest.mark.slow  # several processes load their models
def test_workers_replaced_one_by_one_under_load_lose_no_request(server: Server) -> None:
    before = server.pids(2)
    with Load(server) as load:
        load.wait(200)
        server.process.send_signal(signal.SIGHUP)
        for pid in before:
            while psutil.pid_exists(pid):
                load.wait(1)
        load.wait(200)
    assert (load.wrong, load.lost) == ([], [])
    assert not server.pids(2) & before


def test_a_model_that_ends_its_process_ends_one_request(server: Server) -> None:
    before = server.pids(2)
    for asked in (-4, -6):
        with pytest.raises(OSError):  # noqa: PT011  # how a connection breaks has several names
            server.ask(asked)
        assert server.ask(3)[1]["predictions"] == pytest.approx([6.0])
    while len(server.pids(2) & before):
        pass


@pytest.mark.parametrize(("asked", "said"), [(-2, "ValueError"), (-3, "failed on this request")])
def test_a_model_that_raises_or_answers_too_many_rows_fails_one_request(server: Server, asked: int, said: str) -> None:
    code, told = server.ask(asked)
    assert (code, said in told["error"]) == (500, True)
    assert server.ask(3)[1]["predictions"] == pytest.approx([6.0])


@pytest.mark.slow  # several processes load their models
def test_workers_leave_when_their_parent_is_killed(folder: Path) -> None:
    with served(folder, workers=2) as running:
        workers = running.pids(2)
        running.process.kill()
        psutil.wait_procs([psutil.Process(each) for each in workers if psutil.pid_exists(each)], timeout=20)
        assert not any(psutil.pid_exists(each) for each in workers)
        with pytest.raises(ConnectionRefusedError):
            running.connect()


@pytest.mark.slow  # several processes load their models
def test_a_worker_that_hangs_is_replaced(folder: Path) -> None:
    # Over a second: a worker says each second that it lives.
    with served(folder, workers=1, timeout_s=0.1, patience_s=1.5) as running:
        (before,) = running.pids(1)
        with pytest.raises(OSError):  # noqa: PT011  # how a connection breaks has several names
            running.ask(-5)
        assert running.pids(1) != {before}


def test_a_server_of_the_command_line_outlives_the_process_that_answers(folder: Path) -> None:
    process, told = start_server(COMMAND.format(arguments=["serve", "lines", "--port", "0", "--json"]), folder)
    url = urlsplit(json.loads(told)["url"])
    running = Server(process, url.hostname or "", url.port or 0)
    try:
        (before,) = running.pids(1)
        with pytest.raises(OSError):  # noqa: PT011  # how a connection breaks has several names
            running.ask(-4)
        assert running.pids(1).isdisjoint({before, process.pid})
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.slow  # several processes load their models
def test_workers_that_can_not_start_end_the_server_with_what_they_said(tmp_path: Path) -> None:
    make_project(tmp_path)
    with Workspace.open(tmp_path) as workspace, using(workspace):
        with pytest.raises(NotFoundError, match="No endpoint `other`"):
            serve(workspace, "other", port=0, workers=2)
        with served(tmp_path, workers=1, first=FEW_TRIES) as running:
            (worker,) = running.pids(1)
            (tmp_path / "crooked.py").write_text("")
            with pytest.raises(UnavailableError, match="no `Line` at its top level"):
                serve(workspace, "lines", port=0, workers=1)
            os.kill(worker, signal.SIGKILL)
            _, said = running.process.communicate(timeout=60)
        assert running.process.returncode == 1
        assert "no `Line` at its top level" in said

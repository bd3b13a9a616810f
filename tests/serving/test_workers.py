"""Several processes behind one socket: what becomes of one is no matter of the clients of the others."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psutil
import pytest

from mainspring.errors import NotFoundError, WorkerError
from mainspring.serving import serve
from mainspring.serving.predictions import find_prediction
from mainspring.serving.supervisor import figures_folder
from mainspring.serving.worker import Order
from mainspring.testing.processes import start_server
from mainspring.workspace import Workspace, using
from tests.serving.lines import Load, Server, make_project, served

COMMAND = "import sys; from mainspring.__main__ import main; sys.argv = ['mainspring', *{arguments}]; main()"
FEW_TRIES = "import mainspring.serving.supervisor as supervisor; supervisor.MOST_TRIES = 1"
SLOW_CALLS = "import os; os.environ['LINES_CALL'] = 'time.sleep(0.005)'"  # so that each is made in a thread
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


@contextmanager
def hanging(server: Server, asked: int, told: Path) -> Iterator[http.client.HTTPConnection]:
    """The connection of a request that hangs meanwhile; it makes a file before it does."""
    with closing(http.client.HTTPConnection(server.host, server.port)) as link:
        link.request("POST", "/predict", b'[{"x": %d}]' % asked, {"Content-Type": "application/json"})
        while not told.exists():
            time.sleep(0.01)
        yield link


def assert_ended(*pids: int) -> None:
    """Wait for the end of processes, which are not ours to wait for."""
    psutil.wait_procs([psutil.Process(each) for each in pids if psutil.pid_exists(each)], timeout=20)
    assert not any(psutil.pid_exists(each) for each in pids)


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
        time.sleep(0.01)
    assert set(counted(server)) == {"0", "1"}
    text = server.get("/metrics")[1]
    assert len(re.findall(r"^# TYPE mainspring_predictions_total ", text, re.MULTILINE)) == 1


def test_a_killed_worker_is_replaced_and_harms_no_connection_but_its_own(server: Server) -> None:
    before = server.pids(2)
    with Load(server) as load:
        load.wait(200)
        os.kill(min(before), signal.SIGKILL)
        while len(server.pids(2) - before) < 1:
            time.sleep(0.01)
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


@pytest.mark.slow  # two processes load their models, one after the other
def test_what_sighup_does_is_told(folder: Path) -> None:
    with served(folder, workers=1) as server:
        before = server.pids(1)
        server.process.send_signal(signal.SIGHUP)
        while server.pids(1) == before:
            time.sleep(0.05)
        server.process.terminate()
        _, said = server.process.communicate(timeout=60)
    assert said.splitlines()[:2] == [
        "SIGHUP: all workers are replaced, one after another", "worker 1 takes the place of worker 0",
    ]  # fmt: skip


def test_a_model_that_ends_its_process_ends_one_request(server: Server) -> None:
    before = server.pids(2)
    for asked in (-4, -6):
        with pytest.raises(OSError):  # noqa: PT011  # how a connection breaks has several names
            server.ask(asked)
        assert server.ask(3)[1]["predictions"] == pytest.approx([6.0])
    while len(server.pids(2) & before):
        time.sleep(0.01)


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
        assert_ended(*workers)
        with pytest.raises(ConnectionRefusedError):
            running.connect()


@pytest.mark.slow  # processes that hang are given up after seconds
@pytest.mark.parametrize(
    ("first", "asked"),
    [("", -5), ("", -7), (SLOW_CALLS, -5)],
    ids=["in the event loop", "in C code that holds the interpreter", "in a thread"],
)
def test_a_worker_whose_model_hangs_ends_with_its_parent(folder: Path, first: str, asked: int) -> None:
    with served(folder, first=first, workers=1, timeout_s=0.5, patience_s=1.0) as running:
        (worker,) = running.pids(1)
        with hanging(running, asked, folder / f"hangs-{worker}"):
            running.process.kill()
            assert_ended(worker)
        with pytest.raises(ConnectionRefusedError):
            running.connect()


@pytest.mark.slow  # processes that hang are given up after seconds
@pytest.mark.parametrize(("first", "patience_s"), [("", 1), (SLOW_CALLS, 5)], ids=["in the event loop", "in a thread"])
def test_a_server_whose_model_hangs_ends_soon_after_the_time_limit(folder: Path, first: str, patience_s: int) -> None:
    with served(folder, first=first, workers=1, timeout_s=0.5, patience_s=patience_s) as running:
        (worker,) = running.pids(1)
        with hanging(running, -5, folder / f"hangs-{worker}"):
            running.process.terminate()
            _, said = running.process.communicate(timeout=15)  # a drain may take 36 s
        assert running.process.returncode == 0
        assert said.count("hangs and is killed") == (0 if first else 1)


def test_a_server_that_answers_itself_ends_though_its_model_hangs_in_a_thread(folder: Path) -> None:
    with served(folder, first=SLOW_CALLS, timeout_s=0.5) as running:
        assert running.ask(-5)[0] == 504
        running.process.terminate()
        running.process.communicate(timeout=15)
        assert running.process.returncode == 0


@pytest.mark.slow  # processes that hang are given up after seconds
def test_a_server_that_stops_waits_for_what_hangs_as_long_as_its_setting_says(folder: Path) -> None:
    with served(folder, first="import os; os.environ['MAINSPRING_SERVE_DRAIN_S'] = '0'", workers=1) as running:
        (worker,) = running.pids(1)
        with hanging(running, -5, folder / f"hangs-{worker}"):
            running.process.terminate()
            _, said = running.process.communicate(timeout=15)  # the time limit is 30 s
        assert running.process.returncode == 0
        assert said.count("did not leave in time and is killed") == 1


@pytest.mark.slow  # several processes load their models
@pytest.mark.parametrize("workers", [None, 1, 2])
def test_a_server_that_stops_is_not_ready_and_answers_what_comes_until_it_is_done(
    folder: Path, workers: int | None
) -> None:
    for name in ("waits", "goes-on"):
        (folder / name).unlink(missing_ok=True)
    with served(folder, first=SLOW_CALLS, workers=workers) as running:
        kept = http.client.HTTPConnection(running.host, running.port, timeout=20)
        with closing(kept), hanging(running, -8, folder / "waits") as link:
            kept.request("GET", "/ready")
            assert kept.getresponse().read() == b'{"status":"ok"}'
            running.process.terminate()
            is_last = False
            while not is_last:
                kept.request("GET", "/ready")
                answer = kept.getresponse()
                is_last = answer.headers["Connection"] == "close"
                assert (answer.status, answer.read()) == (
                    (503, b'{"status":"draining"}') if is_last else (200, b'{"status":"ok"}')
                )
            assert running.get("/health")[0] == 503
            with closing(http.client.HTTPConnection(running.host, running.port, timeout=20)) as late:
                late.request("POST", "/predict", b'[{"x": 3}]', {"Content-Type": "application/json"})
                (folder / "goes-on").touch()
                assert [link.getresponse().status, late.getresponse().status] == [200, 200]
        assert running.process.wait(15) == 0
        with pytest.raises(ConnectionRefusedError):
            running.connect()


@pytest.mark.slow  # several processes load their models
@pytest.mark.parametrize("workers", [None, 1, 2])
def test_clients_that_go_when_a_server_is_not_ready_lose_no_request(folder: Path, workers: int | None) -> None:
    with served(folder, workers=workers) as running:
        with Load(running, clients=12) as load:
            load.wait(200)
            running.process.terminate()
            while running.get("/ready")[0] == 200:
                time.sleep(0.01)
            load.wait(200)
        assert (load.wrong, load.lost) == ([], [])
        assert running.process.wait(15) == 0


@pytest.mark.slow  # what hangs is waited for
@pytest.mark.parametrize("workers", [None, 1])
def test_who_comes_to_a_server_that_goes_on_stopping_is_answered_or_refused(folder: Path, workers: int | None) -> None:
    for name in ("waits", "goes-on"):
        (folder / name).unlink(missing_ok=True)
    with served(folder, first=SLOW_CALLS, workers=workers) as running:
        with hanging(running, -8, folder / "waits") as link:
            running.process.terminate()
            with suppress(ConnectionRefusedError):
                while running.get("/ready")[0] in (200, 503):
                    time.sleep(0.01)
            assert running.process.poll() is None
            (folder / "goes-on").touch()
            assert link.getresponse().status == 200
        assert running.process.wait(15) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [None, 1])
def test_a_second_signal_breaks_off_what_the_first_lets_end(
    folder: Path, workers: int | None, number: signal.Signals
) -> None:
    for name in ("waits", "goes-on"):
        (folder / name).unlink(missing_ok=True)
    with served(folder, first=SLOW_CALLS, workers=workers) as running:
        with closing(http.client.HTTPConnection(running.host, running.port)) as link:
            link.request("POST", "/predict", b'[{"x": 4}]', {"Content-Type": "application/json"})
            answered = link.getresponse().headers["x-prediction-id"]
        with hanging(running, -8, folder / "waits") as link:  # it waits until the process ends
            running.process.send_signal(number)
            with suppress(OSError):  # it listens no more
                while running.get("/ready")[0] != 503:
                    time.sleep(0.01)
            running.process.send_signal(number)
            link.sock.settimeout(10)
            try:
                with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
                    link.getresponse()
            finally:
                (folder / "goes-on").touch()  # else a server that is wrong never ends
        _, said = running.process.communicate(timeout=10)
    assert (running.process.returncode, said) == (0, "")
    with Workspace.open(folder) as workspace:
        assert find_prediction(answered, workspace) is not None


def test_a_worker_that_has_no_parent_any_more_does_nothing() -> None:
    order = Order(
        root="", settings={}, folders=[], endpoints=[], options={}, host=None, number=0, listener=-1, link=-1, figures="",
        silence_s=1.0, parent=0,
    )  # fmt: skip
    program = [sys.executable, "-m", "mainspring.serving.worker"]
    assert subprocess.run(program, input=msgspec.msgpack.encode(order), check=False).returncode == 0


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
            with pytest.raises(WorkerError, match=r"^The .*no `Line` at its top level") as caught:
                serve(workspace, "lines", port=0, workers=1)
            assert caught.value.code == "codec"
            os.kill(worker, signal.SIGKILL)
            _, said = running.process.communicate(timeout=60)
        assert running.process.returncode == 1
        assert "no `Line` at its top level" in said


@pytest.mark.parametrize(
    ("raised", "said"),
    [("RuntimeError('no luck')", "RuntimeError: no luck"), ("SystemExit(3)", "SystemExit: 3")],
)
def test_what_a_model_raises_at_its_warm_up_is_told_with_its_code(folder: Path, raised: str, said: str) -> None:
    environment = os.environ | {"LINES_CALL": f"raise {raised}"}
    program = [sys.executable, "-m", "mainspring", "serve", "lines", "--port", "0"]

    def told(*arguments: str) -> tuple[str, str]:
        command = [*program[:3], *arguments, *program[3:], "--json"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        return done.stdout, done.stderr

    out, err = told()
    message = f"line/1 failed at its warm-up: {said}"
    assert (json.loads(out), err) == ({"error": {"code": "model_failed", "message": message}}, "")
    if "3" not in said:
        assert "crooked.py" in told("-v")[1]


def test_figures_have_a_folder_wherever_one_can_be_written_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with ExitStack() as stack:
        own, other = (figures_folder(tmp_path / each, stack) for each in ("new/serving", "file/serving"))
        assert own is not None
        assert own.parent == tmp_path / "new" / "serving"
        assert other is not None
        assert other.parent == Path(tempfile.gettempdir())
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
        assert figures_folder(tmp_path / "file" / "serving", stack) is None
    assert not own.exists()


def test_a_server_without_a_folder_that_can_be_written_answers(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    first = f"import tempfile; tempfile.tempdir = '{tmp_path}/file'\n"
    first += "from pathlib import Path; from mainspring.workspace import Workspace as W\n"
    first += f"W.cache = Path('{tmp_path}/file')\n"
    with served(folder, first=first, workers=1) as running:
        assert running.ask(3)[1]["predictions"] == pytest.approx([6.0])
        assert sum(counted(running).values()) == 1


def test_a_server_whose_reader_is_gone_answers_and_says_where(folder: Path) -> None:
    program = [sys.executable, "-m", "mainspring", "serve", "lines", "--port", "0"]
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(program, cwd=folder, stdout=writing, stderr=subprocess.PIPE, text=True) as process:
        os.close(writing)
        assert process.stderr is not None
        url = urlsplit(process.stderr.readline().split()[-1])
        assert Server(process, url.hostname or "", url.port or 0).ask(3)[0] == 200
        process.terminate()
        assert process.communicate()[1] == ""
    assert process.returncode == 0

"""A model in a process of its own answers as it would here, and whatever becomes of the process, who asks is told at once."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from mainspring.errors import InvalidError, MainspringError, ModelAwayError, ModelError, UnavailableError
from mainspring.pipelines.interpreter import Interpreter
from mainspring.serving import OnlinePredictor, bind, load_predictor
from mainspring.serving.isolation import IsolatedPredictor
from mainspring.serving.isolation import process as isolation
from mainspring.serving.isolation.process import ModelProcess
from mainspring.serving.isolation.wire import send
from mainspring.workspace import Workspace, using
from tests.serving.lines import make_project

pytestmark = pytest.mark.one_backend("the process opens the workspace through the doors that have their own suites")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("isolated")
    make_project(folder)
    with Workspace.open(folder) as opened, using(opened):
        bind("lines", isolated=True, memory_mb=4_000)
        yield opened


@pytest.fixture(scope="module")
def predictor(workspace: Workspace) -> Iterator[OnlinePredictor]:
    found = load_predictor("lines", workspace=workspace)
    yield found
    found.close()


def process_of(predictor: OnlinePredictor) -> ModelProcess:
    assert isinstance(predictor.predictor, IsolatedPredictor)
    return predictor.predictor.process


def asked(predictor: OnlinePredictor, value: float) -> float:
    """The answer, from the process that stands in the place of one that ended if need be."""
    while True:
        try:
            (found,) = predictor([{"x": value}])
        except ModelAwayError:
            threading.Event().wait(0.02)  # leaves the process that starts a processor
            continue
        return float(found)  # type: ignore[arg-type]  # a number


def test_another_process_answers_and_this_one_checks(predictor: OnlinePredictor) -> None:
    assert predictor([{"x": 1}, {"x": 2.5}]) == pytest.approx([2.0, 5.0])
    assert asked(predictor, -1) == process_of(predictor).pid != os.getpid()
    with pytest.raises(ValueError, match="unknown column"):
        predictor([{"y": 1}])


def test_what_the_model_raises_comes_with_its_type_and_its_place(predictor: OnlinePredictor) -> None:
    with pytest.raises(ModelError, match="line/1 failed in its own process: ValueError: unlucky") as caught:
        predictor([{"x": -2}])
    assert (caught.value.kind, "in predict" in caught.value.trace) == ("ValueError", True)
    with pytest.raises(ModelError, match="answers of shape"):
        predictor([{"x": -3}])
    assert predictor([{"x": 3}]) == pytest.approx([6.0])


@pytest.mark.parametrize(
    ("value", "kind", "said"), [(-9, "KeyboardInterrupt", "\\ud800"), (-10, "OverflowError", "ints")]
)
def test_neither_what_ends_processes_nor_what_can_not_be_sent_ends_it(
    predictor: OnlinePredictor, value: float, kind: str, said: str
) -> None:
    asked(predictor, 1)
    before = process_of(predictor).pid
    with pytest.raises(ModelError, match=kind) as caught:
        predictor([{"x": value}])
    assert (caught.value.kind, said in caught.value.trace) == (kind, True)
    assert predictor([{"x": 3}]) == pytest.approx([6.0])
    assert process_of(predictor).pid == before


@pytest.mark.parametrize("end", [-4, *(pytest.param(each, marks=pytest.mark.journey) for each in (-6, "killed"))])
def test_a_process_that_ends_is_told_and_replaced(
    predictor: OnlinePredictor, end: float | str, caplog: pytest.LogCaptureFixture
) -> None:
    before, replaced = process_of(predictor).pid, process_of(predictor).replaced
    assert before is not None
    if isinstance(end, str):
        os.kill(before, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(before)] if psutil.pid_exists(before) else [], timeout=10)
    else:
        with pytest.raises(ModelAwayError, match="its process ended on this request") as caught:
            predictor([{"x": end}])
        assert caught.value.retry_s >= 1
    with caplog.at_level(logging.WARNING):
        assert asked(predictor, 3) == pytest.approx(6.0)
    assert process_of(predictor).pid != before
    assert process_of(predictor).replaced == replaced + 1


def test_who_waits_between_two_questions_hangs_in_no_model(predictor: OnlinePredictor) -> None:
    process = process_of(predictor)
    before = process.pid
    thread = threading.Thread(target=asked, args=(predictor, 3))
    with process._calls:  # as whoever was asked last has it until the next is
        thread.start()
        until = time.monotonic() + 5
        while not predictor.predictor.give_up(0) and time.monotonic() < until:
            time.sleep(0.01)
        assert predictor.predictor.give_up(0)
    thread.join(20)
    assert not predictor.predictor.give_up(0)
    assert process.pid == before


@pytest.mark.journey  # a process loads its model
def test_a_call_that_hangs_is_ended_with_its_process(predictor: OnlinePredictor) -> None:
    process, told = process_of(predictor), list[str]()
    before = process.pid

    def ask() -> None:
        with pytest.raises(ModelAwayError) as caught:
            predictor([{"x": -5}])
        told.append(str(caught.value))

    thread = threading.Thread(target=ask)
    thread.start()
    while process._asked_at is None:  # the call is on its way
        pass
    assert predictor.predictor.give_up(3_600)
    assert (process.pid, told) == (before, [])  # it has not taken so long
    assert predictor.predictor.give_up(0)
    thread.join(20)
    assert "ended" in told[0]
    assert not predictor.predictor.give_up(0)  # it is asked nothing
    assert asked(predictor, 3) == pytest.approx(6.0)
    assert process.pid != before


@pytest.mark.journey  # processes load their model
def test_one_that_holds_too_much_once_warm_is_refused_and_one_later_replaced_as_others_are(
    workspace: Workspace, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind("lines", memory_mb=1)
    with pytest.raises(
        InvalidError, match=r"memory of line/1: `1 MiB` is not enough: it holds [1-9]\d* MiB once it is"
    ):
        load_predictor("lines", workspace=workspace)
    bind("lines", memory_mb=4_000)
    found = load_predictor("lines", workspace=workspace)
    process = process_of(found)
    process._young = 7  # of those before it
    monkeypatch.setattr("mainspring.serving.isolation.process._YOUNG_S", 0.0)  # this one counts as old
    with caplog.at_level(logging.WARNING, "mainspring.serving"), monkeypatch.context() as leaks:
        leaks.setattr("mainspring.serving.isolation.process.rss_bytes", lambda _: (4_000 << 20) + 1)
        while not process.replaced:
            threading.Event().wait(0.02)
        assert 0 < found.predictor.away_s < 20
    assert "holds 4,000 MiB, more than its limit of 4,000 MiB, and is replaced" in caplog.text
    assert asked(found, 3) == pytest.approx(6.0)
    assert process._retry_s == 1  # without the pause of those that end young
    assert found.predictor.away_s == 0
    pid = process.pid
    found.close()
    assert pid is None or not psutil.pid_exists(pid)
    assert found.predictor.away_s > 0
    with pytest.raises(ModelAwayError):
        found([{"x": 1}])


@pytest.mark.journey  # a process loads its model
@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("raise ValueError('not warm')", "line/1 failed at its warm-up: ValueError: not warm"),
        ("raise KeyboardInterrupt", "line/1 failed at its warm-up: KeyboardInterrupt"),
        ("os._exit(7)", "line/1: its process ended with status 7 before it was ready"),
        (
            "os.write(2, b'oh'); os._exit(7)",
            "line/1: its process ended with status 7 before it was ready; the log has more",
        ),
    ],
)
def test_what_keeps_a_process_from_being_ready_is_told(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, does: str, said: str
) -> None:
    monkeypatch.setenv("LINES_CALL", does)
    with pytest.raises(MainspringError) as caught:
        load_predictor("lines", workspace=workspace)
    assert str(caught.value).removesuffix(".") == said


@pytest.mark.journey  # a process loads its model
def test_a_process_that_takes_too_long_to_start_is_ended(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.serving.isolation.process._START_S", 0.05)
    with pytest.raises(UnavailableError, match=r"^line/1: its process isn't ready within 0.05 s\.$"):
        load_predictor("lines", workspace=workspace)


def test_a_process_that_is_closed_while_it_is_made_is_ended(
    predictor: OnlinePredictor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sleeps = tmp_path / "sleeps"
    sleeps.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeps.chmod(0o755)
    process = ModelProcess("line/1", process_of(predictor)._order, Interpreter(str(sleeps), ("x",)))
    closing = threading.Thread(target=process.close)

    class Slow(isolation._Child):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            closing.start()
            closing.join(0.2)  # it finds no process that it could end, and waits

    monkeypatch.setattr(isolation, "_Child", Slow)
    with pytest.raises(UnavailableError, match="was ended by SIGKILL before it was ready"):
        process.start()
    closing.join(10)
    assert not closing.is_alive()


BEGUN = """
import os, sys
import msgspec
from mainspring.serving.isolation.process import _MODULE, _Child
from mainspring.serving.isolation.wire import Order, send
order = msgspec.json.decode(sys.argv[1], type=Order)
child = _Child([sys.executable, "-m", _MODULE], dict(os.environ), order.root, "line/1")
send(child.line, order)
print(child.process.pid, flush=True)
os._exit(0)
"""
HANGS = "open('hangs', 'w').close(); time.sleep(3600)"


@pytest.mark.journey  # a process is made
def test_a_process_that_is_just_being_made_ends_with_the_one_that_serves(predictor: OnlinePredictor) -> None:
    order = process_of(predictor)._order
    path = os.pathsep.join([*order.folders, *filter(None, sys.path)])
    program = [sys.executable, "-c", BEGUN, msgspec.json.encode(order).decode()]
    environment = os.environ | {"LINES_CALL": HANGS, "PYTHONPATH": path}
    made = psutil.Process(int(subprocess.run(program, env=environment, check=True, capture_output=True).stdout))
    try:
        made.wait(60)
    finally:
        if made.is_running():
            made.kill()


@pytest.mark.journey  # a process loads its model
def test_a_process_whose_model_hangs_at_its_warm_up_ends_with_its_line(predictor: OnlinePredictor) -> None:
    order = process_of(predictor)._order
    environment = os.environ | {"LINES_CALL": HANGS, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = isolation._Child([sys.executable, "-m", isolation._MODULE], environment, order.root, "line/1")
    try:
        send(child.line, order)
        hangs = Path(order.root) / "hangs"
        while not hangs.exists():
            assert child.process.poll() is None
            threading.Event().wait(0.05)
        child.line.shutdown(socket.SHUT_RDWR)
        assert child.process.wait(30) == 0
    finally:
        child.end()


@pytest.mark.journey  # a process loads its model
def test_a_process_that_can_not_load_its_model_says_why(workspace: Workspace) -> None:
    module = Path(workspace.project.root) / "crooked.py"
    text = module.read_text()
    try:
        module.write_text("")
        with pytest.raises(
            UnavailableError, match=r"line/1: its own process can't load it: .*no `Line` at its top level"
        ):
            load_predictor("lines", workspace=workspace)
    finally:
        module.write_text(text)

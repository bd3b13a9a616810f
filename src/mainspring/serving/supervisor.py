"""Several workers on one listening socket: started, watched, replaced and led out by a parent that answers nothing itself.

The parent listens once and hands the socket on, so that whatever becomes of a worker, clients that wait to be accepted are
accepted by the others. (With `SO_REUSEPORT` each listener has a queue of its own, which is reset when it closes.) A worker is
replaced when it died, hung or says that its model is stuck, and all are, one after another, on SIGHUP; what replaces a living
one is ready before that leaves.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from mainspring.artifacts.project import import_folders
from mainspring.errors import WorkerError
from mainspring.pipelines.seeds import threads_environment
from mainspring.serving.endpoint import expect_inside, named_endpoint
from mainspring.serving.worker import Failure, Order
from mainspring.web.server import LINGER_S, drain_of
from mainspring.web.siblings import figures_of
from mainspring.workspace import Workspace

_log = logging.getLogger("mainspring.serving")
_MODULE = "mainspring.serving.worker"
MOST_TRIES = 5
"""Workers in a row that may die before they are ready, while no other answers, until the server gives up."""
_YOUNG_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 30.0
_LOOK_S = 1.0
_BEAT_S = 1.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class _Worker:
    """A worker process as its parent knows it. `until` is when it is killed, if it is leaving."""

    def __init__(self, number: int, process: subprocess.Popen[bytes], line: socket.socket) -> None:
        self.number, self.process, self.line = number, process, line
        self.began = self.heard = time.monotonic()
        self.is_ready = False
        self.until: float | None = None
        self.replaces: _Worker | None = None
        self.failure: Failure | None = None
        self.is_killed = False
        self.is_silent = False  # it closed its end of the line
        self._read = b""

    def messages(self) -> Iterator[str]:
        """What it said since it was last asked."""
        with suppress(BlockingIOError, ConnectionError):
            said = self.line.recv(65_536)
            self.is_silent = not said
            self._read += said
        *whole, self._read = self._read.split(b"\n")
        yield from (each.decode() for each in whole)


class Supervisor:
    """`count` workers that answer for endpoints on `listener`.

    A worker that says nothing for `silence_s` hangs: its event loop doesn't turn.
    """

    def __init__(
        self, workspace: Workspace, endpoints: Sequence[str], listener: socket.socket, count: int, *,
        host: str | None, options: dict[str, Any], silence_s: float,
    ) -> None:  # fmt: skip
        self._workspace, self._endpoints, self._listener = workspace, list(endpoints), listener
        self._count, self._host, self._options, self._silence_s = count, host, options, silence_s
        self._drain_s = drain_of(workspace.project.settings)
        self._workers: list[_Worker] = []
        self._due: list[_Worker] = []  # living ones that are to be replaced, the first one first
        self._selector = selectors.DefaultSelector()
        self._signalled: list[int] = []
        self._unready = self._quick = 0  # deaths in a row before a worker was ready, or soon after
        self._not_before = 0.0
        self._was_ready = self._is_stopping = False

    def run(self, on_ready: Callable[[], None]) -> None:
        """Keep the workers up until SIGTERM or SIGINT; `on_ready` is called once, when all are ready for the first time.

        A second one of these signals ends them at once.

        Raises:
            NotFoundError: no such endpoint.
            NotAllowedError: a service that runs outside answers for one.
            WorkerError: the workers don't start; what the last one said.
        """
        for name in self._endpoints:
            expect_inside(named_endpoint(name, self._workspace))
        with ExitStack() as stack:
            self._figures = figures_folder(self._workspace.cache / "serving", stack)
            if self._figures is None and self._count > 1:
                _log.warning("no folder can be written: each worker tells at /metrics what it counted itself")
            stack.callback(self._kill)
            stack.enter_context(self._signals())
            while not (self._is_stopping and not self._workers):
                if not self._is_stopping:
                    self._fill()
                if not self._was_ready and sum(each.is_ready for each in self._workers) >= self._count:
                    self._was_ready = True
                    on_ready()
                self._listen_to_all()
                self._obey()
                self._bury()
                self._end_overdue()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals wake the loop, and are obeyed in it."""
        told, telling = socket.socketpair()
        told.setblocking(False)
        telling.setblocking(False)
        before = {each: signal.signal(each, lambda number, _: self._signalled.append(number)) for each in _SIGNALS}
        was = signal.set_wakeup_fd(telling.fileno(), warn_on_full_buffer=False)
        self._selector.register(told, selectors.EVENT_READ)
        try:
            yield
        finally:
            self._selector.unregister(told)
            signal.set_wakeup_fd(was)
            for number, handler in before.items():
                signal.signal(number, handler)
            told.close()
            telling.close()

    def _listen_to_all(self) -> None:
        """Wait until something happens, and hear it."""
        for key, _ in self._selector.select(_LOOK_S if time.monotonic() >= self._not_before else _FIRST_PAUSE_S):
            worker = key.data
            if worker is None:
                with suppress(BlockingIOError):
                    key.fileobj.recv(4096)  # type: ignore[union-attr]  # the socket that signals wake
                continue
            for message in worker.messages():
                worker.heard = time.monotonic()
                self._heard(worker, message)
            if worker.is_silent:
                self._selector.unregister(worker.line)

    def _heard(self, worker: _Worker, message: str) -> None:
        kind, _, text = message.partition(" ")
        if kind == "ready":
            worker.is_ready = True
            self._unready = 0
            if worker.replaces is not None:
                _log.warning("worker %d takes the place of worker %d", worker.number, worker.replaces.number)
                self._lead_out(worker.replaces)
        elif kind == "error":
            worker.failure = msgspec.json.decode(text, type=Failure)
        elif kind == "stuck" and worker.until is None and worker not in self._due:
            _log.warning("worker %d is stuck and is replaced", worker.number)
            self._due.append(worker)

    def _obey(self) -> None:
        while self._signalled:
            number = self._signalled.pop(0)
            if number == signal.SIGHUP:
                _log.warning("SIGHUP: all workers are replaced, one after another")
                self._due += [each for each in self._workers if each.until is None and each not in self._due]
            elif number in (signal.SIGTERM, signal.SIGINT):
                for worker in self._workers:
                    worker.process.send_signal(signal.SIGKILL if self._is_stopping else signal.SIGTERM)
                    worker.until = time.monotonic() + self._drain_s + _BEAT_S
                self._is_stopping = True
                self._listener.close()  # so that the last worker's end of listening is that of the socket

    def _bury(self) -> None:
        """Forget who has ended, and note it if nobody told them to."""
        for worker in [each for each in self._workers if each.process.poll() is not None]:
            for message in worker.messages():
                self._heard(worker, message)
            self._forget(worker)
            if worker.until is None and not self._is_stopping:
                self._mourn(worker)

    def _mourn(self, worker: _Worker) -> None:
        now = time.monotonic()
        is_young = now - worker.began < _YOUNG_S
        self._quick = self._quick + 1 if is_young or not worker.is_ready else 0
        if self._quick > 1:  # the first is replaced at once
            self._not_before = now + min(_FIRST_PAUSE_S * 2 ** min(self._quick, 20), _LONGEST_PAUSE_S)
        how = _ending(worker.process.returncode)
        if worker.is_ready:
            _log.warning("worker %d %s; another takes its place", worker.number, how)
            return
        self._unready += 1
        if worker.replaces is not None and worker.replaces in self._due:
            self._due.remove(worker.replaces)  # a living one is worth more; one that is stuck says so again
        answers = any(each.is_ready for each in self._workers)
        if not answers and (self._unready >= MOST_TRIES or not self._was_ready):
            raise _error_of(worker.failure) if worker.failure else WorkerError(f"A worker {how} before it was ready.")
        said = f": {worker.failure.text}" if worker.failure else ""
        _log.warning("worker %d %s before it was ready%s", worker.number, how, said)

    def _end_overdue(self) -> None:
        now = time.monotonic()
        for worker in [each for each in self._workers if not each.is_killed]:
            is_overdue = worker.until is not None and now > worker.until
            if is_overdue or (worker.is_ready and now - worker.heard > self._silence_s):
                how = "did not leave in time" if is_overdue else "hangs"
                _log.warning("worker %d %s and is killed", worker.number, how)
                worker.process.kill()
                worker.is_killed = True

    def _fill(self) -> None:
        """Start what is missing, or what replaces the next one that is due."""
        if time.monotonic() < self._not_before:
            return
        staying = [each for each in self._workers if each.until is None]
        self._due = [each for each in self._due if each in staying]
        plain = [each for each in staying if each.replaces is None or each.replaces.until is not None]
        for _ in range(self._count - len(plain)):
            self._start(None)
        if self._due and all(each.is_ready for each in self._workers if each.until is None):
            self._start(self._due[0])

    def _start(self, replaces: _Worker | None) -> None:
        taken = {each.number for each in self._workers}
        number = next(each for each in range(len(taken) + 1) if each not in taken)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        settings = self._workspace.project.settings
        order = Order(
            root=str(self._workspace.project.root), folders=[str(each) for each in import_folders.get()],
            settings={name: each.value for name, each in settings.origins.items()}, endpoints=self._endpoints,
            options=self._options, host=self._host, number=number, listener=self._listener.fileno(),
            link=theirs.fileno(), figures=str(self._figures or ""), silence_s=self._silence_s, parent=os.getpid(),
        )  # fmt: skip
        threads = (int(settings.threads) or os.cpu_count() or 1) // self._count
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", _MODULE], stdin=subprocess.PIPE, pass_fds=(order.listener, order.link),
            env=threads_environment(max(1, threads)) | os.environ
            | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            process_group=0,  # Ctrl-C is for the parent, which then tells them
        )  # fmt: skip
        theirs.close()
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin as orders:
            orders.write(msgspec.msgpack.encode(order))
        worker = _Worker(number, process, ours)
        worker.replaces = replaces
        self._workers.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _lead_out(self, worker: _Worker) -> None:
        """Have a worker leave once its connections have their last answers."""
        worker.until = time.monotonic() + self._drain_s + LINGER_S + _BEAT_S
        with suppress(OSError):
            worker.line.shutdown(socket.SHUT_WR)

    def _forget(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        for each in self._workers:
            if each.replaces is worker:
                each.replaces = None
        with suppress(KeyError):
            self._selector.unregister(worker.line)
        worker.line.close()
        if self._figures is not None:
            with suppress(OSError):  # the disk became read-only meanwhile
                figures_of(self._figures, worker.number).unlink(missing_ok=True)

    def _kill(self) -> None:
        for worker in [*self._workers]:
            worker.process.kill()
            worker.process.wait()
            self._forget(worker)
        self._selector.close()


def figures_folder(preferred: Path, stack: ExitStack) -> Path | None:
    """A folder for the time of the stack: an image may have none for temporary files, and a machine a workspace that can't be
    written; None if there is neither.
    """
    for place in (preferred, None):
        with suppress(OSError):
            if place is not None:
                place.mkdir(parents=True, exist_ok=True)
            made = tempfile.TemporaryDirectory(dir=place, ignore_cleanup_errors=True)
            return Path(stack.enter_context(made))
    return None


def _error_of(failure: Failure) -> WorkerError:
    error = WorkerError(failure.text, failure.code)
    error.add_note(f"In the worker:\n{failure.trace}")
    return error


def _ending(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

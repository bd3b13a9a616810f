"""A model's own process, kept up: started, asked one question at a time, watched, and replaced when it dies, hangs or leaks.

Invariant: whatever the model does, who asks gets an answer or an error at once after the process has ended.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count

from mainspring.errors import InvalidError, MainspringError, ModelAwayError, ModelError, UnavailableError
from mainspring.pipelines.interpreter import Interpreter
from mainspring.runners.resources import rss_bytes
from mainspring.secrets import redact
from mainspring.serving.isolation.wire import Asked, Order, Told, receive, send
from mainspring.serving.patience import telling

_log = logging.getLogger("mainspring.serving")
_MODULE = "mainspring.serving.isolation.worker"
_LOOK_S = 0.1
_START_S = 900.0  # a large model from a slow disk; what takes longer hangs, and is worth another try
_GRACE_S = 2.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 30.0
_YOUNG_S = 10.0
_MIB = 1 << 20


class _Child:
    """One process, from its start to its end."""

    def __init__(self, program: Sequence[str], environment: dict[str, str], folder: str, name: str) -> None:
        self.line, theirs = socket.socketpair()
        self.number, self._began_at = next(_numbers), time.monotonic()
        self.has_said = False
        with theirs:
            self.process = subprocess.Popen(
                [*program, str(theirs.fileno()), str(os.getpid())], pass_fds=(theirs.fileno(),), env=environment, cwd=folder,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for who serves, and a kill reaches what the model has started
            )  # fmt: skip
        self._reader = threading.Thread(target=self._pass_on, args=(name,), name="stderr", daemon=True)
        self._reader.start()

    def is_old(self) -> bool:
        """Whether it lived so long that the next may be started at once."""
        return time.monotonic() - self._began_at > _YOUNG_S

    def kill(self) -> None:
        """End it at once; whoever waits for its answer is told."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def end(self, grace_s: float = 0.0) -> None:
        """Let it end by itself within a time, then kill it, and forget it."""
        with suppress(OSError):
            self.line.shutdown(socket.SHUT_RDWR)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(grace_s)
        self.kill()
        self.process.wait()
        self._reader.join(_GRACE_S)
        self.line.close()

    def _pass_on(self, name: str) -> None:
        """Its last words, and those before, are for the log."""
        assert self.process.stderr is not None
        with self.process.stderr as said:
            for text in said:
                self.has_said = True
                _log.warning("%s: %s", name, redact(text.decode(errors="replace").rstrip()))


class ModelProcess:
    """A process that answers for one model version, called `name`, for any number of threads.

    One that holds more than `memory_bytes` is replaced. Used as a context it ends at the end of the block.
    """

    def __init__(self, name: str, order: Order, interpreter: Interpreter, *, memory_bytes: int | None = None) -> None:
        self.name, self._order, self._interpreter, self._memory_bytes = name, order, interpreter, memory_bytes
        self.replaced = 0
        self.streams = False
        self._child: _Child | None = None
        self._away_at = time.monotonic()
        self._calls = threading.Lock()
        self._asked_at: float | None = None
        self._asking: set[int] = set()  # the threads that ask, or wait until another has its answer
        self._looks, self._began, self._ends = threading.Event(), threading.Event(), threading.Event()
        self._refusal: Exception | None = None
        self._starting: _Child | None = None
        self._retry_s, self._young = 1.0, 0
        self._watcher: threading.Thread | None = None

    def start(self) -> None:
        """Start it, and wait until its model is loaded and warm; from then on it is kept up.

        Raises:
            UnavailableError: it doesn't start; what it said.
            ModelError: the model failed at its warm-up.
            InvalidError: it holds more than its limit as soon as it is warm.
        """
        # The kernel ends a process with the thread that started it, so all are started by the one that watches them.
        self._watcher = threading.Thread(target=self._watch, name=f"watches {self.name}", daemon=True)
        self._watcher.start()
        self._began.wait()
        if self._refusal is not None:
            raise self._refusal

    @property
    def pid(self) -> int | None:
        """The process that answers now."""
        child = self._child
        return None if child is None else child.process.pid

    @property
    def away_s(self) -> float:
        """For how long no process has been there to answer; 0 if one is."""
        return 0.0 if self._child is not None else time.monotonic() - self._away_at

    @property
    def child(self) -> int:
        """The number of the process that answers now; 0 if none does. A process that replaces another has a new one."""
        child = self._child
        return 0 if child is None else child.number

    def ask(self, asked: Asked, *, child: int | None = None) -> Told:
        """What it answers, of the `child` that is meant if only that one can.

        Raises:
            ModelError: the model raised something.
            ModelAwayError: the process ended meanwhile, or another is being started.
        """
        with self._noted(), self._calls:
            now = self._child
            if now is None or child not in (None, now.number):
                raise ModelAwayError(self.name, "its process is being started again", self._retry_s)
            self._asked_at = time.monotonic()
            try:
                send(now.line, asked)
                told = receive(now.line, Told)
            except (EOFError, OSError) as error:
                if self._child is now:
                    self._is_away()
                self._looks.set()
                now.kill()
                raise ModelAwayError(self.name, "its process ended on this request", self._retry_s) from error
            finally:
                self._asked_at = None
        if told.error:
            raise ModelError(self.name, told.error, told.message, told.trace)
        return told

    def end_stream(self, stream: int, child: int) -> None:
        """Have the model make no more parts of an answer; what keeps that from reaching it has ended them.

        Raises:
            ModelError: the model raised something.
        """
        with suppress(ModelAwayError):
            self.ask(Asked(stream=stream, ends=True), child=child)

    def give_up(self, after_s: float) -> bool:
        """End the process, if one question has taken it so long; another takes its place. Whether somebody asks it now.

        Between two questions that is so, too: who waits for the second hangs in no model.
        """
        child, asked_at = self._child, self._asked_at
        if child is not None and asked_at is not None and asked_at + after_s < time.monotonic():
            _log.warning("%s: its process doesn't answer and is replaced", self.name)
            child.kill()
        return bool(self._asking)

    def close(self) -> None:
        """End the process, after what it has begun if that is done in two seconds."""
        self._ends.set()
        self._looks.set()
        starting = self._starting
        if starting is not None:
            starting.kill()
        if self._watcher is not None:
            self._watcher.join()
        self._watcher = None

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """This thread asks, from its wait for the answers to others on."""
        asking = threading.get_ident()
        self._asking.add(asking)
        try:
            yield
        finally:
            self._asking.discard(asking)

    def _watch(self) -> None:
        """Keep a process up until the end."""
        try:
            child: _Child | None = self._started()
        except Exception as error:  # noqa: BLE001  # it is raised by who waits for the start
            self._refusal = error
            return
        finally:
            self._began.set()
        while not self._ends.is_set():
            self._looks.wait(_LOOK_S)
            self._looks.clear()
            if child is not None and self._is_well(child):
                continue
            if child is not None:
                self._is_away()
                self._young = 0 if child.is_old() else self._young
                child.end()
                self.replaced += 1
            child = None if self._ends.is_set() else self._replacement()
        self._child = None
        if child is not None:
            if self._calls.acquire(timeout=_GRACE_S):
                self._calls.release()
            child.end(_GRACE_S)

    def _is_well(self, child: _Child) -> bool:
        code = child.process.poll()
        if code is not None or self._child is not child:
            _log.warning("%s: its process %s and is replaced", self.name, _ending(code))
            return False
        held = self._too_much(child)
        if held:
            said = "%s: its process holds %s, more than its limit of %s, and is replaced"
            _log.warning(said, self.name, _mebibytes(held), _mebibytes(self._memory_bytes or 0))
        return not held

    def _too_much(self, child: _Child) -> int:
        """How many bytes a process holds if that is more than its limit, else 0."""
        held = 0 if self._memory_bytes is None else rss_bytes(child.process.pid)
        return held if self._memory_bytes is not None and held > self._memory_bytes else 0

    def _is_away(self) -> None:
        """Note that no process answers from now on."""
        if self._child is not None:
            self._child, self._away_at = None, time.monotonic()

    def _replacement(self) -> _Child | None:
        """Another process, after a pause that grows while they end young; None if it doesn't start, or all is to end."""
        pause_s = min(_FIRST_PAUSE_S * 2**self._young, _LONGEST_PAUSE_S) if self._young else 0.0
        self._young = min(self._young + 1, 20)
        self._retry_s = max(1.0, pause_s)
        if self._ends.wait(pause_s):
            return None
        try:
            with telling(f"{self.name}: its process is still being started"):
                return self._started()
        except (MainspringError, OSError) as error:
            _log.warning("%s", redact(str(error)))
            return None

    def _started(self) -> _Child:
        """A process that is ready, which answers from now on.

        Raises:
            UnavailableError: it doesn't start; what it said.
            ModelError: the model failed at its warm-up.
            InvalidError: it holds more than its limit as soon as it is warm.
        """
        folders = os.pathsep.join(self._order.folders)
        if self._interpreter.paths is None:
            folders = os.pathsep.join(dict.fromkeys([*self._order.folders, *filter(None, sys.path)]))
        program = [self._interpreter.program, "-P", "-m", _MODULE]
        child = self._starting = _Child(program, os.environ | {"PYTHONPATH": folders}, self._order.root, self.name)
        if self._ends.is_set():  # `close` may not have seen it
            child.kill()
        try:
            child.line.settimeout(_START_S)
            send(child.line, self._order)
            told = receive(child.line, Told)
            child.line.settimeout(None)
        except TimeoutError as error:
            child.end()
            raise UnavailableError(self.name, f"its process isn't ready within {_START_S:g} s") from error
        except (EOFError, OSError) as error:
            child.end(_GRACE_S)  # what ends by itself has a moment to, so that its own end is told
            how = f"its process {_ending(child.process.returncode)} before it was ready"
            raise UnavailableError(self.name, f"{how}{'; the log has more' * child.has_said}") from error
        finally:
            self._starting = None
        if told.error:
            child.end(_GRACE_S)
            if told.where:
                raise ModelError(self.name, told.error, told.message, told.trace, where=told.where)
            raise UnavailableError(self.name, f"its own process can't load it: {told.message.rstrip('.')}")
        held = self._too_much(child)
        if held:
            child.end()
            limit, needs = _mebibytes(self._memory_bytes or 0), _mebibytes(held)
            raise InvalidError(f"memory of {self.name}", limit, f"enough: it holds {needs} once it is warm")
        self.streams = bool(told.answers)
        self._child = child
        return child


def _ending(code: int | None) -> str:
    if code is None:
        return "doesn't answer"
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


def _mebibytes(size: int) -> str:
    return f"{size // _MIB:,} MiB"


_numbers = count(1)

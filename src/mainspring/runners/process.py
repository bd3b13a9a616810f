"""A worker process under supervision: orders go in by a pipe, answers come back by another, limits are watched from outside.

Invariant: whatever the work does — segfault, `os._exit`, allocate, hang — its supervisor learns how it ended, and a worker
never outlives its supervisor.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from mainspring.errors import StorageError
from mainspring.runners.order import Exit, WorkOrder
from mainspring.runners.resources import peak_bytes, rss_bytes

_MEMORY_POLL_S = 0.02
_GRACE_S = 2.0
_START_S = 120.0  # imports from a slow disk, of a cold environment
_MIB = 1 << 20
READY = b"ready"


class ChildProcess:
    """One warm worker. Takes one order at a time.

    The program is told the numbers of its two pipes by `MAINSPRING_ORDERS` and `MAINSPRING_ANSWERS`; it says `ready` on a
    line once it has started, reads one order a line as JSON and answers each with its id on a line. When the orders end,
    it ends. The time that an order may take is counted from when the program was ready for it.
    """

    def __init__(self, program: Sequence[str], *, environment: Mapping[str, str], folder: Path) -> None:
        self._program = list(program)
        self._environment = dict(environment)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._orders = self._answers = -1
        self._buffer = b""
        self._is_ready = False
        self.order: WorkOrder | None = None
        self._started_at = self._checked_at = 0.0
        self._peak = 0

    @property
    def answers(self) -> int:
        """The file descriptor that becomes readable when something happened."""
        return self._answers

    @property
    def pid(self) -> int | None:
        """The worker's process id, if it runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the worker unless it runs; it warms up while the caller goes on."""
        if self._process is not None and self._process.poll() is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        orders_read, self._orders = os.pipe()
        self._answers, answers_write = os.pipe()
        environment = self._environment | {
            "MAINSPRING_ORDERS": str(orders_read),
            "MAINSPRING_ANSWERS": str(answers_write),
        }
        try:
            # A session of its own: Ctrl-C goes to the supervisor only, and a kill reaches what the work has started.
            self._process = subprocess.Popen(
                self._program, env=environment, cwd=self._folder, pass_fds=(orders_read, answers_write),
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise StorageError(self._program[0], f"the worker can't be started ({error.strerror})") from error
        finally:
            os.close(orders_read)
            os.close(answers_write)
        self._buffer, self._is_ready = b"", False

    def submit(self, order: WorkOrder) -> None:
        """Give the worker an order, starting it if needed."""
        self.start()
        self.order = order
        self._started_at = self._checked_at = time.monotonic()
        self._peak = 0
        with suppress(BrokenPipeError):  # it died just now: `poll` will say how
            os.write(self._orders, msgspec.json.encode(order) + b"\n")

    def due_s(self) -> float:
        """How long the caller may wait before `poll` has to look at the limits again."""
        if self.order is None:
            return 3600.0
        left = 3600.0
        if self.order.timeout_s is not None:
            left = self._started_at + self._limit_s(self.order.timeout_s) - time.monotonic()
        if self.order.memory_bytes is not None:
            left = min(left, _MEMORY_POLL_S)
        return max(left, 0.0)

    def poll(self) -> Exit | None:
        """How the order ended, if it did. Enforces the limits."""
        order = self.order
        if order is None:
            return None
        if self._answered(order):
            return self._ended(order, "done", "")
        process = self._process
        if process is not None and process.poll() is not None:
            return self._ended(order, *_described(process.returncode))
        elapsed = time.monotonic() - self._started_at
        if order.timeout_s is not None and elapsed > self._limit_s(order.timeout_s):
            slow = f"it ran longer than its limit of {order.timeout_s:g} s"
            told = slow if self._is_ready else f"its worker didn't start within {_START_S:g} s"
            self.kill()
            return self._ended(order, "timeout", told)
        if order.memory_bytes is not None and self._over(order.memory_bytes):
            self.kill()
            peak, limit = self._peak / _MIB, order.memory_bytes / _MIB
            return self._ended(order, "memory", f"it used {peak:,.0f} MiB, its limit is {limit:,.0f} MiB")
        return None

    def kill(self) -> None:
        """End the worker and everything it has started, at once."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._close_pipes()

    def abandon(self) -> None:
        """Kill the same without waiting, as this process is about to end."""
        if (process := self._process) is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Let an idle worker end by itself; kill it if it doesn't within two seconds."""
        process = self._process
        if process is None:
            return
        if self._orders >= 0:
            os.close(self._orders)
            self._orders = -1
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
        self.kill()

    def cancel(self) -> Exit | None:
        """Kill it if it has an order, and say how that ended."""
        return None if self.order is None else self._ended(self.order, "cancelled", "it was cancelled")

    def _answered(self, order: WorkOrder) -> bool:
        while select.select([self._answers], [], [], 0)[0]:
            data = os.read(self._answers, 65536)
            if not data:
                break
            self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        if READY in lines:
            self._is_ready, self._started_at = True, time.monotonic()
        return order.id.encode() in lines

    def _limit_s(self, timeout_s: float) -> float:
        return timeout_s if self._is_ready else _START_S

    def _over(self, limit: int) -> bool:
        pid = self.pid
        if pid is None:
            return False
        self._peak = max(self._peak, rss_bytes(pid))
        return self._peak > limit

    def _ended(self, order: WorkOrder, kind: str, message: str) -> Exit:
        pid = self.pid
        if kind == "done" and pid is not None:
            self._peak = max(self._peak, peak_bytes(pid))
        elif kind != "done":
            self.kill()
        self.order = None
        return Exit(
            order=order.id, kind=kind, message=message, wall_s=time.monotonic() - self._started_at,
            peak_bytes=self._peak or None,
        )  # fmt: skip

    def _close_pipes(self) -> None:
        for pipe in (self._orders, self._answers):
            if pipe >= 0:
                os.close(pipe)
        self._orders = self._answers = -1


def _described(code: int) -> tuple[str, str]:
    """The kind and words for a process that ended while it had an order.

    >>> _described(-11), _described(3)
    (('signal', 'its process was ended by SIGSEGV'), ('exit', 'its process ended with exit code 3'))
    """
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return "signal", f"its process was ended by {name}"
    return "exit", f"its process ended with exit code {code}"

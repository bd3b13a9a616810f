"""The detached runner: for each order a process in an empty folder that knows only a database URL and a blob URL.

It is the contract of a cluster without a cluster: nothing is shared but the two URLs, the worker keeps its own lease, and
this side learns of the end from the database alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from mainspring.errors import StorageError
from mainspring.runners.order import Exit, WorkOrder
from mainspring.store.scratch import Scratch

_POLL_S = 0.02
_GRACE_S = 1.0
# Workers that were left because they had not ended, until they have: an ended child that nobody asks for stays a zombie.
_left: set[subprocess.Popen[bytes]] = set()


class DetachedRunner:
    """Starts `program(order)`; `ended(order)` asks the database whether the work is over or its lease has run out."""

    name = "detached"

    def __init__(
        self,
        size: int,
        program: Callable[[WorkOrder], Sequence[str]],
        ended: Callable[[WorkOrder], Exit | None],
        *,
        environment: Mapping[str, str],
    ) -> None:
        self._size = max(size, 1)
        self._program = program
        self._ended = ended
        self._environment = dict(environment)
        self._running: dict[str, tuple[WorkOrder, subprocess.Popen[bytes], Scratch]] = {}
        self._leaving: list[Scratch] = []

    @property
    def free(self) -> int:
        """How many more processes may be started."""
        return self._size - len(self._running)

    def submit(self, order: WorkOrder) -> None:
        """Start a process for it."""
        scratch = Scratch(keeps=_logs_of(order))
        _left.difference_update([each for each in list(_left) if each.poll() is not None])  # a copy: other threads add
        try:
            process = subprocess.Popen(
                self._program(order), cwd=scratch.path, env=self._environment | {"TMPDIR": str(scratch.path)},
                stdin=subprocess.DEVNULL, start_new_session=True, pass_fds=(scratch.lock,),
            )  # fmt: skip
        except OSError as error:
            raise StorageError(str(scratch.path), f"the worker can't be started ({error.strerror})") from error
        self._running[order.id] = (order, process, scratch)

    def wait(self, timeout_s: float) -> list[Exit]:
        """Ask the database about each order until one ended or the time is over."""
        until = time.monotonic() + timeout_s
        while True:
            exits = []
            for order, process, _ in list(self._running.values()):
                finished = process.poll() is not None
                found = self._ended(order)
                if found is None and finished:
                    found = Exit(
                        order=order.id, kind="lost", message=f"its worker ended ({process.returncode}) unrecorded"
                    )
                if found is not None:
                    exits.append(found)
                    self._leave(order.id, kill=False, unrecorded=found.kind == "lost")
            if exits or not self._running or time.monotonic() >= until:
                return exits
            time.sleep(_POLL_S)

    def cancel(self) -> list[Exit]:
        """End the processes and what they have started."""
        exits = [Exit(order=order_id, kind="cancelled", message="it was cancelled") for order_id in self._running]
        self.abandon()
        for order_id in list(self._running):
            self._leave(order_id, kill=True, unrecorded=True)
        return exits

    def abandon(self) -> None:
        """Tell the processes to end their workers and themselves; their leases run out, or are taken over."""
        for _, process, _ in list(self._running.values()):
            with suppress(ProcessLookupError, PermissionError):
                process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """End what still runs."""
        self.cancel()

    def _leave(self, order_id: str, *, kill: bool, unrecorded: bool) -> None:
        order, process, scratch = self._running.pop(order_id)
        self._leaving.append(scratch)  # it goes with this runner
        try:
            process.wait(_GRACE_S)
            stopped = False
        except subprocess.TimeoutExpired:
            stopped = not kill  # its end is in the database, but one whose lease ran out may still be stopped
        if stopped:
            _left.add(process)
        else:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if unrecorded:
            _bring_logs(order, scratch.path)
        if not stopped:
            self._leaving.remove(scratch)
            scratch.close()


def _logs_of(order: WorkOrder) -> str:
    return f"{Path(order.log_path).name}*"


def _bring_logs(order: WorkOrder, folder: Path) -> None:
    """Copy what a worker printed to where whoever gave the order looks for it."""
    import shutil

    target = Path(order.log_path).parent
    try:
        for path in folder.glob(_logs_of(order)):
            shutil.copy2(path, target / path.name)
    except OSError as error:
        raise StorageError(str(target), f"what a step printed can't be kept ({error.strerror})") from error

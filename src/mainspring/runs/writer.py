"""Writes metric points behind the caller's back: a bounded queue, and one thread that writes in groups, for all runs.

Invariant: a point leaves the queue when it is committed, so nothing is dropped but what an attempt logged that lost its lease,
which is asked once for a group. A full queue makes callers wait. What goes wrong is raised where points are logged or flushed
next, and tried again meanwhile.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
import weakref
from collections import deque
from itertools import islice

from mainspring.errors import LeaseLostError
from mainspring.runs.metrics import Metric, Metrics
from mainspring.store import Database, Fences, current_fences
from mainspring.workspace import Workspace

MOST = 100_000  # points that wait
GROUP = 5_000  # points in one transaction
_LINGER_S = 0.05  # in which more points may come to be written together
_RETRY_S = 1.0
_NAME = "metric writer"


class PointsWait(UserWarning):
    """Points are logged faster than they can be written, so that logging waits."""


class PointsDropped(UserWarning):
    """Points were logged by an attempt of a step that had lost its lease, so they are not kept."""


class PointWriter:
    """The queue and the thread of a workspace in this process. Ask `writer_of` for it.

    `leases` is the database that the leases are in to which the points of a fenced block are held.
    """

    def __init__(self, metrics: Metrics, leases: Database | None = None, *, most: int = MOST) -> None:
        self._metrics = metrics
        self.leases = leases
        self._most = most
        self.waits = 0
        """How often logging waited for room in the queue."""
        self.dropped = 0
        """How many points were not kept, as their attempt had lost its lease."""
        self.after_fork()
        _writers.add(self)

    def after_fork(self) -> None:
        """Begin with nothing: what waited in the parent is the parent's to write, and its thread is not here."""
        self._changed = threading.Condition(threading.RLock())
        self._queue: deque[tuple[str, Metric, Fences]] = deque()
        self._put = self._written = self._untold = 0
        self._error: Exception | None = None
        self._is_urgent = self._is_closed = False
        self._thread: threading.Thread | None = None

    def put(self, series: str, point: Metric) -> None:
        """Have a point written; waits only while the queue is full.

        Raises:
            StorageError: points could not be written. They wait and are tried again, this one too unless the queue is full.
        """
        with self._changed:
            if len(self._queue) >= self._most:
                self._wait_for_room()
            self._queue.append((series, point, current_fences()))
            self._put += 1
            waiting = len(self._queue)
            if waiting == 1 or waiting == GROUP:
                self._wake()
            if self._error is not None:
                self._raise()

    def flush(self) -> None:
        """Wait until every point that was put before is committed, or dropped; then it survives a kill.

        Raises:
            StorageError: they could not be written; they wait and are tried again.
        """
        with self._changed:
            wanted = self._put
            if self._written < wanted:
                self._error, self._is_urgent = None, True
                self._wake()
            while self._written < wanted:
                if self._error is not None:
                    self._raise()
                self._wait()
            untold, self._untold = self._untold, 0
        if untold:
            warnings.warn(
                f"Not kept, as the attempt of a step that logged them had lost its lease: {untold:,} points of metrics.",
                PointsDropped,
                stacklevel=3,
            )

    def close(self) -> None:
        """Write what waits and end the thread."""
        try:
            self.flush()
        finally:
            with self._changed:
                self._is_closed = True
                thread, self._thread = self._thread, None
                self._changed.notify_all()
            if thread is not None:
                thread.join()

    def _wait_for_room(self) -> None:
        self.waits += 1
        if self.waits == 1:
            warnings.warn(
                f"{self._most:,} metric points wait to be written: logging now waits for the disk. Log less often,"
                " or several metrics at once.",
                PointsWait,
                stacklevel=4,
            )
        while len(self._queue) >= self._most:
            self._is_urgent = True
            self._wake()
            if self._error is not None:
                self._raise()
            self._wait()

    def _wait(self) -> None:
        """Wait for the thread to get on; where there is none, write instead."""
        if self._thread is None:
            self._write_group()
        else:
            self._changed.wait()

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _wake(self) -> None:
        """Have the thread look at the queue. At the end of a process none can be started: then whoever flushes writes."""
        if self._thread is None:
            self._is_closed = False
            thread = threading.Thread(target=self._write_on, name=_NAME, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return
            self._thread = thread
            _flush_with_child_process(self)
        self._changed.notify_all()

    def _write_on(self) -> None:
        with self._changed:
            while not self._is_closed:
                if not self._queue:
                    self._is_urgent = False
                    self._changed.wait()
                    continue
                self._changed.wait_for(self._is_pressing, _LINGER_S)
                if not self._write_group() and not self._is_closed:
                    self._is_urgent = False
                    self._changed.wait_for(self._is_pressing_again, _RETRY_S)

    def _is_pressing(self) -> bool:
        return self._is_urgent or self._is_closed or len(self._queue) >= GROUP

    def _is_pressing_again(self) -> bool:
        return self._is_urgent or self._is_closed

    def _write_group(self) -> bool:
        """Write the points that wait longest, without the lock meanwhile; whether it went well."""
        group = list(islice(self._queue, GROUP))
        dropped, error = self._unlocked(group)
        if error is None:
            for _ in group:
                self._queue.popleft()
            self._written += len(group)
            self.dropped += dropped
            self._untold += dropped
        self._error = error
        self._changed.notify_all()
        return error is None

    def _unlocked(self, group: list[tuple[str, Metric, Fences]]) -> tuple[int, Exception | None]:
        """Write points while others log; gives how many were dropped, and what went wrong."""
        self._changed.release()
        try:
            lost = {fences for fences in {each[2] for each in group} if self._is_lost(fences)}
            points: dict[str, list[Metric]] = {}
            for series, point, fences in group:
                if fences not in lost:
                    points.setdefault(series, []).append(point)
            if points:
                self._metrics.append_many(points)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is raised to who logs
            return 0, error
        finally:
            self._changed.acquire()
        return len(group) - sum(map(len, points.values())), None

    def _is_lost(self, fences: Fences) -> bool:
        try:
            if self.leases is not None:
                self.leases.hold_to(fences)
        except LeaseLostError:
            return True
        return False


def writer_of(workspace: Workspace) -> PointWriter:
    """The one writer of a workspace in this process, closed with the workspace."""
    return workspace.keep(_NAME, lambda: PointWriter(Metrics(workspace.metrics), workspace.database))


def flush_points(workspace: Workspace) -> None:
    """Wait until every point that anybody in this process logged to a workspace is written; raises as `flush` does."""
    for writer in list(_writers):
        if writer.leases is workspace.database:
            writer.flush()


def _flush_with_child_process(writer: PointWriter) -> None:
    """A child process of `multiprocessing` ends without atexit."""
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(writer, writer.flush, exitpriority=100)


_writers: weakref.WeakSet[PointWriter] = weakref.WeakSet()


def _in_child() -> None:
    for writer in list(_writers):
        writer.after_fork()


os.register_at_fork(after_in_child=_in_child)

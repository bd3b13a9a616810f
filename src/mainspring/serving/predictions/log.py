"""The log of predictions: what is answered is in it first.

One writer each process, whose name is in the ids that it gives and in the names of its segments. The records of a batch are
one write, and ids and records come in the same order.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mainspring import clock
from mainspring.errors import StorageError, WrongTypeError, counted
from mainspring.ledger import is_sampled
from mainspring.secrets import redact
from mainspring.serving.predictions.ids import PredictionIds
from mainspring.serving.predictions.record import Entry, Source, records_of
from mainspring.store import SegmentWriter
from mainspring.web.request_error import RequestError
from mainspring.workspace import Workspace

FOLDER = "predictions"
_RETRY = ((b"retry-after", b"1"),)
_log = logging.getLogger("mainspring.serving")


class PredictionLog:
    """This process's part of a workspace's log, for all its threads; a forked child has one of its own.

    `counts` are the rows that were `logged` and, where that is best effort, those that were answered `unlogged`, by endpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts: Counter[tuple[str, str]] = Counter()
        self._begin()
        _logs.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._ids = PredictionIds()
        self._writer = SegmentWriter(self.folder, self._ids.writer)

    @property
    def writer(self) -> str:
        """Its name in ids."""
        return self._ids.writer

    def write(self, source: Source, calls: Sequence[tuple[Entry, Sequence[Any]]]) -> None:
        """Give the rows of answered requests their ids, and write those in the sample, so that they outlive this process.

        Raises:
            RequestError: 503, the disk is full or the folder not writable, and the log is required; 413, a row is too large.
        """
        try:
            self.append(source, calls)
        except (StorageError, WrongTypeError) as error:
            self._failed(source, error, sum(entry.rows for entry, _ in calls))

    def append(self, source: Source, calls: Sequence[tuple[Entry, Sequence[Any]]]) -> None:
        """The same, whatever the endpoint says of a log that can't be written.

        Raises:
            StorageError: the disk is full or the folder not writable; nothing of them is kept.
            WrongTypeError: a row is larger than a record may be.
        """
        now_us, now = clock.now_us(), time.perf_counter()
        records: list[bytes] = []
        rows = 0
        with self._lock:
            for entry, outputs in calls:
                entry.first = self._ids.take(entry.rows, now_us)
                if source.is_whole or is_sampled(entry.first, source.limit):
                    latency_us = None if entry.began is None else int((now - entry.began) * 1e6)
                    records += records_of(entry, source, now_us, latency_us, outputs)
                    rows += entry.rows
            self._writer.append(records)
        self.counts[source.endpoint, "logged"] += rows

    def _failed(self, source: Source, error: Exception, rows: int) -> None:
        _log.warning("%s: %s not logged: %s", source.endpoint, counted(rows, "prediction"), redact(str(error)))
        if not source.is_required:
            self.counts[source.endpoint, "unlogged"] += rows
            return
        if isinstance(error, WrongTypeError):
            raise RequestError(413, str(error)) from error
        said = "The prediction can't be logged now, and this endpoint answers only what is. Send the request again."
        raise RequestError(503, said, _RETRY) from error

    def rotate(self) -> None:
        """End the segment, so that it can be compacted; the next record begins another."""
        self._writer.close()

    def close(self) -> None:
        """End the log of this process."""
        self._writer.close()


_logs: weakref.WeakSet[PredictionLog] = weakref.WeakSet()


def _in_child() -> None:
    """Before any thread of the child logs: two that began it would write ids of one into the segment of another."""
    for log in list(_logs):
        log._begin()


os.register_at_fork(after_in_child=_in_child)


def predictions_folder(workspace: Workspace) -> Path:
    """Where this machine's segments lie."""
    return workspace.segments / FOLDER


def prediction_log(workspace: Workspace) -> PredictionLog:
    """The log of this process, closed with the workspace."""
    return workspace.keep(FOLDER, lambda: PredictionLog(predictions_folder(workspace)))

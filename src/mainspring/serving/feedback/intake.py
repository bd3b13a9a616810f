"""Labels taken in: what is right is in the log of this process before anything is answered, what is wrong is told by place.

A label has the id that it is given, or one of its content, so that what comes again changes nothing.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring import clock
from mainspring.errors import InvalidError, counted
from mainspring.models import Problem
from mainspring.serving.endpoint import Endpoint, named_endpoint
from mainspring.serving.feedback.checking import LabelCheck
from mainspring.serving.feedback.record import Labels, records_of
from mainspring.store import SegmentWriter
from mainspring.workspace import Workspace, current_workspace

if TYPE_CHECKING:
    from mainspring.serving.feedback.tables import Table

FOLDER = "feedback"
MOST_PROBLEMS = 100
_AT_ONCE = 10_000


class Taken(msgspec.Struct, frozen=True):
    """What became of records: so many labels `accepted`, which outlive this process, and so many `refused`.

    `problems` are those of the first hundred that were refused; `empty` are rows of a table that have no label.
    """

    accepted: int
    refused: int = 0
    empty: int = 0
    problems: tuple[Problem, ...] = ()

    def expect_all(self) -> Taken:
        """This, if nothing was refused.

        Raises:
            InvalidError: something was; the rest is logged nevertheless.
        """
        if self.refused:
            given = f"{self.refused:,} of {counted(self.refused + self.accepted, 'record')}"
            said = "; ".join(str(each) for each in self.problems[:5])
            empty = f" {counted(self.empty, 'row')} without a label." if self.empty else ""
            raise InvalidError("labels", given, "what the endpoint takes", f"{said}. Logged: {self.accepted:,}.{empty}")
        return self


class FeedbackLog:
    """This process's part of a workspace's log of labels, for all its threads."""

    def __init__(self, folder: Path) -> None:
        self._writer = SegmentWriter(folder)

    def write(self, labels: Labels) -> None:
        """Write labels, so that they outlive this process.

        Raises:
            StorageError: the disk is full or the folder not writable; nothing of them is kept.
        """
        if labels.ids:
            self._writer.append(records_of(labels))

    def rotate(self) -> None:
        """End the segment, so that it can be compacted; the next label begins another."""
        self._writer.close()

    def close(self) -> None:
        """End the log of this process."""
        self._writer.close()


class LabelIntake:
    """Takes labels of one endpoint in, as it is declared now; for any number of threads."""

    def __init__(self, endpoint: Endpoint, workspace: Workspace) -> None:
        self.endpoint = endpoint
        self.check = LabelCheck(endpoint, workspace)
        self._log = feedback_log(workspace)
        self._lock = threading.Lock()
        self._counts = Counter[str]()

    def __call__(self, records: Iterable[tuple[int, Any]], source: str) -> Taken:
        """Log the records, given with their places, that are right, and say what is wrong with the others.

        Raises:
            StorageError: the log can't be written. What was written before is kept, and changes nothing if it comes again.
        """
        accepted = refused = 0
        problems: list[Problem] = []
        for batch in batched(records):
            checked = self.check(batch, clock.now_us(), source)
            self._log.write(checked.labels)
            accepted, refused = accepted + len(checked.labels.ids), refused + len(checked.problems)
            problems += checked.problems[: MOST_PROBLEMS - len(problems)]
        with self._lock:
            self._counts.update(accepted=accepted, refused=refused)
        return Taken(accepted, refused, problems=tuple(problems))

    @property
    def counts(self) -> list[tuple[str, int]]:
        """How many labels were `accepted` and `refused` so far."""
        return [(outcome, self._counts[outcome]) for outcome in ("accepted", "refused")]

    def go_on(self, before: LabelIntake) -> None:
        """Count from where another stopped, which the endpoint had before it moved."""
        with self._lock:
            self._counts.update(before._counts)


def log_labels(
    endpoint: str, labels: Any, *, columns: Mapping[str, str] | None = None, source: str = "python",
    workspace: Workspace | None = None,
) -> Taken:  # fmt: skip
    """Log labels of an endpoint's predictions: what is right, before it is said what is wrong.

    `labels` are records as `POST /feedback` takes them, or a table (Polars, pandas, Arrow) with columns of their names;
    `columns` says which column of a table is which field, such as `{"label": "arr_delay"}`. Its other columns are left alone,
    and so are rows without a label.

    Raises:
        NotFoundError: no such endpoint.
        InvalidError: a record is no label of the endpoint; every other one is logged. Or a table lacks a column.
        StorageError: the log can't be written. Labels that come again change nothing.
    """
    workspace = workspace or current_workspace()
    intake = LabelIntake(named_endpoint(endpoint, workspace), workspace)
    if isinstance(labels, list | tuple):
        return intake(enumerate(labels), source).expect_all()
    from mainspring.serving.feedback.tables import read_table

    return log_table(intake, read_table(labels, intake.check, columns or {}), source).expect_all()


def log_table(intake: LabelIntake, table: Table, source: str) -> Taken:
    """Log the labels of a table."""
    taken = intake(table.records, source)
    return msgspec.structs.replace(taken, empty=table.empty)


def batched(records: Iterable[tuple[int, Any]]) -> Iterator[list[tuple[int, Any]]]:
    """The same, so many at a time."""
    left = iter(records)
    while batch := list(islice(left, _AT_ONCE)):
        yield batch


def feedback_folder(workspace: Workspace) -> Path:
    """Where this machine's segments lie."""
    return workspace.segments / FOLDER


def feedback_log(workspace: Workspace) -> FeedbackLog:
    """The log of this process, closed with the workspace."""
    return workspace.keep(FOLDER, lambda: FeedbackLog(feedback_folder(workspace)))

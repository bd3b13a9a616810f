"""Rows on their way into a dataset, held to its checks as the dataset is at the instant in which they are committed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol

import polars as pl

from mainspring.artifacts.spool import Spool
from mainspring.data._store import DatasetStore, Extra
from mainspring.data.commit import commit_onto
from mainspring.data.draft import Draft, Wanted
from mainspring.data.tables.lazy import LazyDraft
from mainspring.data.tables.rows import FrameDraft
from mainspring.data.tables.united import UnitedDraft
from mainspring.data.validation.quarantine import Table, parted
from mainspring.data.validation.recorded import recording
from mainspring.data.validation.report import Report
from mainspring.data.validation.validation import validate
from mainspring.data.version import DatasetVersion, Source
from mainspring.errors import InvalidError, NotAllowedError, counted
from mainspring.ledger import current_replay, current_task
from mainspring.store import Transaction
from mainspring.workspace import Workspace, using

_log = logging.getLogger(__name__)
_SET_APART = "set_apart_from"
"""The edge from a version of rows that were set apart to the version that the others went into."""
_OF_VERSIONS = ("unique", "compare_previous")
"""Checks that look at the version before, so that they are made anew when there is another one."""


class Drafting(Protocol):
    """How rows become a version."""

    def __call__(self, rows: Table, /) -> Draft:
        """A draft of these rows."""
        ...


class Admission:
    """Rows, and the checks that decide which of them go into a dataset. Close it when they are committed.

    `behind` says that they go behind the newest version, in place of its rows with the same key if `replacing` names one;
    checks see it so. Rows to set apart go behind those of the dataset `quarantine`, in the transaction of the others.
    `origin` says where the rows are from.
    """

    def __init__(
        self, name: str, rows: Table, checks: object, workspace: Workspace, *, behind: bool, quarantine: str = "",
        replacing: tuple[str, ...] = (), origin: str = "",
    ) -> None:  # fmt: skip
        self.name, self.rows, self.checks, self.workspace = name, rows, checks, workspace
        self.behind, self.quarantine, self.replacing = behind, quarantine, replacing
        self.subject = f"{name}, rows of {origin}" if origin else name
        self.report: Report | None = None
        self._head: DatasetVersion | None = None
        self._base: DatasetVersion | None = None
        self._good: Table = rows
        self._bad: Table | None = None
        self._count = 0
        self._stack = ExitStack()
        self._store = DatasetStore(workspace.database, workspace.ledger)

    def judge(self, head: DatasetVersion | None) -> Report:
        """Hold the rows to the checks as rows for a dataset whose newest version this is.

        Raises:
            InvalidError: a check stops the rows, or some are to be set apart and no dataset for them is named.
        """
        if self.report is not None and (head == self._head or not self._looks_at_versions):
            return self.report
        self.close()  # what an earlier judgement left on disk
        self.report = None
        before, previous = (head, None) if self.behind else (None, head)
        with using(self.workspace):
            report = validate(
                self.rows, self.checks, subject=self.subject, previous=previous, behind=before, replacing=self.replacing
            )
            report.raise_for_stop()
            self._good, self._bad, self._count = self.rows, None, 0
            if any(result.check.severity == "quarantine" for result in report.failed):
                self._good, self._bad, self._count = parted(report, self.rows, self.replacing, self._stack)
                self._expect_quarantine(report)
        self.report, self._head = report, head
        return report

    def _expect_quarantine(self, report: Report) -> None:
        told = f"{self._count:,} of {report.rows:,} rows"
        another = f"quarantine={self.name + '-quarantine'!r}"
        if self.quarantine in ("", self.name):
            raise InvalidError(self.name, told, "free of rows to set apart", f"Name a dataset for them: {another}.")
        head = self._store.head(self.quarantine)
        if head is not None and head.kind != "table":
            hint = f"{told} of {self.name} are to be set apart there. Name another dataset for them: {another}."
            raise InvalidError("quarantine", self.quarantine, "a table", hint)

    @property
    def apart(self) -> Table | None:
        """The rows that are set apart, until this is closed; None if there are none."""
        return self._bad

    @property
    def _looks_at_versions(self) -> bool:
        assert self.report is not None
        return any(one.check.kind in _OF_VERSIONS and not one.check.dataset for one in self.report.results)

    def commit(
        self, drafting: Drafting | None = None, *, sources: tuple[Source, ...], note: str, extracted_us: int,
        extra: Sequence[Extra] = (), about: Sequence[Extra] = (), once: bool = False,
    ) -> DatasetVersion:  # fmt: skip
        """Make a version of the rows that may go in, and one of those set apart, with the report, in one transaction.

        `drafting` says how rows become a version, if not as they are. The rows are judged anew whenever another writer was
        faster; `extra` and `about` are as for `Wanted`, `once` as for `commit_onto`. Raises as `judge` and `commit_draft` do.
        """
        made: tuple[Report, list[Wanted]] | None = None

        def make(head: DatasetVersion | None) -> list[Wanted]:
            nonlocal made
            report = self.judge(head)
            self._base = head
            if made is None or made[0] is not report:
                made = report, self._wanted(report, drafting or self._draft, sources, note, extra, about)
            return made[1]

        version, *apart = commit_onto(self.workspace, self.name, make, extracted_us=extracted_us, once=once)
        self._expect_as_recorded(version, apart)
        assert self.report is not None
        if self._count and self._count == self.report.rows:
            rows = counted(self._count, "row")
            _log.warning("all %s of %s were set apart: the version gets none of them", rows, self.subject)
        return version

    def _wanted(
        self, report: Report, drafting: Drafting, sources: tuple[Source, ...], said: str, extra: Sequence[Extra],
        about: Sequence[Extra],
    ) -> list[Wanted]:  # fmt: skip
        own_version: list[DatasetVersion] = []

        def note(_: Transaction, version: DatasetVersion) -> None:
            own_version[:] = [version]

        def link(tx: Transaction, version: DatasetVersion) -> None:
            if self._is_made(own_version[0]):
                self._store.ledger.edge(tx, version.id, _SET_APART, own_version[0].id, current_task())

        draft = self._kept(drafting(self._good))
        recorded = recording(self._store, report)
        own = Wanted(self.name, draft, self.behind, sources, said, [*extra, note], [*about, recorded])
        if self._bad is None:
            return [own]
        failed = {result.check.name for result in report.failed if result.check.severity == "quarantine"}
        told = f"of {self.name}: {', '.join(sorted(failed))}"
        bad = self._kept(UnitedDraft(self.quarantine, self._bad, self.workspace.blobs))
        return [own, Wanted(self.quarantine, bad, behind=True, sources=sources, note=told, about=[link, recorded])]

    def _expect_as_recorded(self, version: DatasetVersion, apart: list[DatasetVersion]) -> None:
        """In a replay, go on only if what was set apart is what was set apart then, when the others made this version."""
        replay = current_replay()
        if replay is None or version.made_by != replay.task or not self._is_made(version):
            return
        edges = self._store.ledger.edges([version.id], "down")
        if {each.id for each in apart} != {edge.src for edge in edges if edge.role == _SET_APART}:
            raise NotAllowedError(
                f"A replay commits nothing, and other rows than now were set apart when {version} was made: it differs."
            )

    def _is_made(self, version: DatasetVersion) -> bool:
        """Whether the rows made it, rather than found it unchanged."""
        return self._base is None or version.id != self._base.id

    def _draft(self, rows: Table) -> Draft:
        if isinstance(rows, pl.DataFrame):
            return FrameDraft(self.name, rows, self.workspace.blobs)
        lazy = rows if isinstance(rows, pl.LazyFrame | Spool) else rows.scan()
        return LazyDraft(self.name, lazy, self.workspace.blobs)

    def _kept(self, draft: Draft) -> Draft:
        """A draft that is closed with this."""
        if isinstance(draft, LazyDraft | UnitedDraft):
            self._stack.callback(draft.close)
        return draft

    def close(self) -> None:
        """Let go of what was computed on disk."""
        self._stack.close()

    def __enter__(self) -> Admission:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

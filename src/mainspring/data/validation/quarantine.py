"""Rows that fail, set apart: from a report, and on the way into a dataset."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
import polars as pl

from mainspring.data.tables.frames import as_polars
from mainspring.data.validation.conditions import failing
from mainspring.data.validation.references import keys_of
from mainspring.data.validation.report import CheckResult, Report
from mainspring.data.validation.validation import validate
from mainspring.data.version import DatasetVersion
from mainspring.errors import InvalidError

REASONS = "quarantine_reasons"


class Table(Protocol):
    """What is known here of the dataset that rows are committed to, and of the one for those set apart."""

    name: str

    def commit(self, frame: Any, *, note: str = "") -> DatasetVersion:
        """Make a version of these rows."""
        ...

    def append(self, frame: Any, *, note: str = "") -> DatasetVersion:
        """Make a version with these rows behind the newest."""
        ...


def divided(report: Report, table: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of a table that no check of severity `quarantine` fails on, and the others with their reasons."""
    report.raise_for_stop()
    frame = as_polars(table)
    if frame.height != report.rows:
        raise InvalidError("table", f"{frame.height:,} rows", f"the one of {report.rows:,} rows that was validated")
    if REASONS in frame.columns:
        raise InvalidError("columns", REASONS, "free for the reasons", "Rename or drop the column.")
    failed = [result for result in report.failed if result.check.severity == "quarantine"]
    if not failed:
        return frame, frame.clear().with_columns(pl.lit(None, pl.List(pl.String)).alias(REASONS))
    flags = frame.select(_failing(result, frame).fill_null(False).alias(str(at)) for at, result in enumerate(failed))
    bad = flags.select(pl.any_horizontal(pl.all())).to_series()
    names = [pl.when(pl.col(str(at))).then(pl.lit(result.check.name)) for at, result in enumerate(failed)]
    reasons = flags.filter(bad).select(pl.concat_list(names).list.drop_nulls().alias(REASONS))
    return frame.filter(~bad), pl.concat([frame.filter(bad), reasons], how="horizontal")


def _failing(result: CheckResult, frame: pl.DataFrame) -> pl.Expr:
    check = result.check
    if check.kind == "in_dataset":  # the version that it was held to, not the newest by now
        check = msgspec.structs.replace(check, dataset=result.against)
        return failing(check, frame.schema, keys_of(check)[0])
    return failing(check, frame.schema)


def admit(
    name: str, frame: Any, checks: Any, apart: Table | None, previous: DatasetVersion | None
) -> tuple[pl.DataFrame, Report]:
    """The rows that may go into a dataset, once those that may not are in the dataset for them.

    Those set apart are committed first, as rows behind its newest version: a process that is killed in between leaves
    them there without the others, and the next try adds them again. None is lost.

    Raises:
        InvalidError: a check stops the table, or rows are to be set apart and no dataset for them is named; nothing was
            committed.
    """
    report = validate(frame, checks, subject=name, previous=previous)
    report.raise_for_stop()
    good, bad = report.split(frame)
    if bad.height:
        if apart is None or apart.name == name:
            raise InvalidError(
                name, f"{bad.height:,} of {report.rows:,} rows", "free of rows to set apart",
                f"Name a dataset for them: quarantine={name + '-quarantine'!r}.",
            )  # fmt: skip
        _set_apart(apart, bad, name)
    return good, report


def _set_apart(other: Table, rows: pl.DataFrame, name: str) -> None:
    names = ", ".join(sorted({reason for reasons in rows[REASONS].to_list() for reason in reasons}))
    try:
        other.append(rows, note=f"of {name}: {names}")
    except InvalidError:  # rows of other columns can't stand behind those before them, which stay in their version
        other.commit(rows, note=f"of {name}, with other columns than before: {names}")

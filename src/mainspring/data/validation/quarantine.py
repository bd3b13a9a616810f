"""Rows that fail, set apart: from a report, and on the way into a dataset.

Of rows on disk the batches are divided one after the other; only checks that look at other rows hold their columns in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec
import polars as pl

from mainspring.data._store import DatasetStore
from mainspring.data.tables.manifest import read_listing
from mainspring.data.tables.memory import StoredRows
from mainspring.data.tables.widening import wider
from mainspring.data.validation.conditions import failing, formula
from mainspring.data.validation.expressions import is_row_wise
from mainspring.data.validation.references import keys_of, keys_taken, looked_up
from mainspring.data.validation.report import CheckResult, Report
from mainspring.data.validation.rows import Rows
from mainspring.data.validation.validation import validate
from mainspring.data.version import DatasetVersion
from mainspring.data.widening import widen
from mainspring.errors import InvalidError, counted
from mainspring.store.scratch import Scratch
from mainspring.workspace import Workspace

_log = logging.getLogger(__name__)
REASONS = "quarantine_reasons"
Table = pl.DataFrame | pl.LazyFrame | StoredRows


class Target(Protocol):
    """What is known here of a dataset that rows are committed to."""

    name: str
    workspace: Workspace

    def append(self, frame: Any, *, note: str = "") -> DatasetVersion:
        """Make a version with these rows behind the newest."""
        ...


def divided(report: Report, table: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of a table that no check of severity `quarantine` fails on, and the others with their reasons."""
    report.raise_for_stop()
    pieces = list(_pieces(report, Rows(table), ()))
    if len(pieces) == 1:
        return pieces[0]
    return pl.concat([good for good, _ in pieces]), pl.concat([bad for _, bad in pieces])


@contextmanager
def admitted(
    name: str, table: Table, checks: Any, apart: Target | None, *, previous: DatasetVersion | None = None,
    behind: DatasetVersion | None = None, replacing: tuple[str, ...] = (), fits: Callable[[Any], None] | None = None,
    origin: str = "",
) -> Iterator[tuple[Table, Report]]:  # fmt: skip
    """The rows that may go into a dataset, once those that may not are in the dataset for them.

    Those set apart are committed first, as rows behind its newest version: a process that is killed in between leaves
    them there without the others, and the next try adds them again. None is lost. `fits` is asked before whether the rest
    can be committed. `previous`, `behind` and `replacing` are those of `validate`; `origin` says where the rows are from.

    Raises:
        InvalidError: a check stops the table, or rows are to be set apart and no dataset for them is named; nothing was
            committed.
    """
    subject = f"{name}, rows of {origin}" if origin else name
    report = validate(table, checks, subject=subject, previous=previous, behind=behind, replacing=replacing)
    report.raise_for_stop()
    failed = [result for result in report.failed if result.check.severity == "quarantine"]
    with ExitStack() as stack:
        if failed:
            good, bad, count = _parted(report, table, replacing, stack)
            if apart is None or apart.name == name:
                raise InvalidError(
                    name, f"{count:,} of {report.rows:,} rows", "free of rows to set apart",
                    f"Name a dataset for them: quarantine={name + '-quarantine'!r}.",
                )  # fmt: skip
            if fits is not None:
                fits(good)
            _set_apart(apart, bad, name, ", ".join(sorted({result.check.name for result in failed})))
            table = good
            if count == report.rows:
                _log.warning(
                    "all %s of %s were set apart: the version gets none of them", counted(count, "row"), subject
                )
        elif fits is not None:
            fits(table)
        yield table, report


def _parted(report: Report, table: Table, replacing: tuple[str, ...], stack: ExitStack) -> tuple[Table, Table, int]:
    """The rows that pass, the others, and how many those are; in files if they came from disk."""
    rows = Rows(table)
    if rows.is_whole:
        ((good, bad),) = _pieces(report, rows, replacing)
        return good, bad, bad.height
    folder, count = stack.enter_context(Scratch()), 0
    for at, (good, bad) in enumerate(_pieces(report, rows, replacing)):
        count += bad.height
        good.write_parquet(folder / f"good-{at:06}.parquet")
        bad.write_parquet(folder / f"bad-{at:06}.parquet")
    return _scanned(folder, "good"), _scanned(folder, "bad"), count


def _scanned(folder: Path, kind: str) -> pl.LazyFrame:
    return pl.scan_parquet(sorted(folder.glob(f"{kind}-*.parquet")), glob=False, hive_partitioning=False)


def _pieces(report: Report, rows: Rows, replacing: tuple[str, ...]) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """The rows batch by batch, each as those that pass and the others, with their reasons."""
    if REASONS in rows.schema:
        raise InvalidError("columns", REASONS, "free for the reasons", "Rename or drop the column.")
    if isinstance(rows.table, pl.DataFrame) and rows.table.height != report.rows:
        raise InvalidError(
            "table", f"{rows.table.height:,} rows", f"the one of {report.rows:,} rows that was validated"
        )
    failed = [result for result in report.failed if result.check.severity == "quarantine"]
    flags = [_flag(result, rows, replacing) for result in failed]
    start = 0
    for batch in rows.batches():
        flagged = pl.DataFrame(
            [
                (flag[start : start + batch.height] if isinstance(flag, pl.Series) else batch.select(flag).to_series())
                .fill_null(False)
                .alias(str(at))
                for at, flag in enumerate(flags)
            ]
        )
        start += batch.height
        yield _divided(batch, flagged, [result.check.name for result in failed])


def _divided(batch: pl.DataFrame, flags: pl.DataFrame, checks: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    if not checks:
        return batch, batch.clear().with_columns(pl.lit(None, pl.List(pl.String)).alias(REASONS))
    bad = flags.select(pl.any_horizontal(pl.all())).to_series()
    names = [pl.when(pl.col(str(at))).then(pl.lit(name)) for at, name in enumerate(checks)]
    reasons = flags.filter(bad).select(pl.concat_list(names).list.drop_nulls().alias(REASONS))
    return batch.filter(~bad), pl.concat([batch.filter(bad), reasons], how="horizontal")


def _flag(result: CheckResult, rows: Rows, replacing: tuple[str, ...]) -> pl.Expr | pl.Series:
    """What is true in the rows that fail; of a check that looks at other rows, for all of them at once."""
    check, keys = result.check, None
    if check.kind == "in_dataset":  # the version that it was held to, not the newest by now
        keys = keys_of(msgspec.structs.replace(check, dataset=result.against))[0]
    elif check.kind == "unique" and result.against:
        keys = keys_taken(check, rows.table.lazy(), looked_up(result.against), replacing)[0]
    flag = failing(check, rows.schema, keys)
    looks_around = check.kind in ("unique", "increasing") or (
        check.kind == "expression" and not is_row_wise(formula(check.formula))
    )
    if not looks_around or rows.is_whole:
        return flag
    return rows.table.lazy().select(flag.alias("flag")).collect(engine="in-memory").to_series()


def _set_apart(apart: Target, rows: Table, name: str, checks: str) -> None:
    note = f"of {name}: {checks}"
    try:
        apart.append(rows, note=note)
    except InvalidError:  # they have other columns than those before them
        apart.append(_joined(apart, rows, f"{note}; rows of other columns come"), note=note)


def _joined(apart: Target, rows: Table, note: str) -> pl.LazyFrame:
    """The rows, and those that are there already, with the columns of both."""
    head = DatasetStore(apart.workspace.database, apart.workspace.ledger).head(apart.name)
    parts = read_listing(apart.workspace.blobs, head.manifest).parts if head is not None else ()
    known = pl.read_parquet_schema(apart.workspace.blobs.path(parts[0].blob)) if parts else pl.Schema()
    frame = rows.scan() if isinstance(rows, StoredRows) else rows.lazy()
    given = frame.collect_schema()
    types = {column: _united(known.get(column), given.get(column)) for column in {**known, **given}}
    widen(apart.name, types, apart.workspace, note=note, as_text=True)
    return frame.select(
        pl.col(column).cast(dtype) if column in given else pl.lit(None, dtype).alias(column)
        for column, dtype in types.items()
    )


def _united(known: pl.DataType | None, given: pl.DataType | None) -> pl.DataType:
    """The type that holds the values of both: text where no other does."""
    one, other = known or pl.Null(), given or pl.Null()
    found = wider(one, other)
    if found is None and (one.is_nested() or other.is_nested()):
        return one  # which no text says; the append names the column
    return found or pl.String()

"""Rows that fail, divided from those that pass, by a report.

Of rows on disk the batches are divided one after the other; only checks that look at other rows hold their columns in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from mainspring.data.tables.memory import StoredRows
from mainspring.data.validation.conditions import failing
from mainspring.data.validation.expressions import formula, is_row_wise
from mainspring.data.validation.references import keys_of, keys_taken, looked_up
from mainspring.data.validation.report import CheckResult, Report
from mainspring.data.validation.rows import Rows
from mainspring.errors import InvalidError
from mainspring.store.scratch import Scratch

REASONS = "quarantine_reasons"
Table = pl.DataFrame | pl.LazyFrame | StoredRows


def divided(report: Report, table: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of a table that no check of severity `quarantine` fails on, and the others with their reasons."""
    report.raise_for_stop()
    pieces = list(_pieces(report, Rows(table), ()))
    if len(pieces) == 1:
        return pieces[0]
    return pl.concat([good for good, _ in pieces]), pl.concat([bad for _, bad in pieces])


def parted(report: Report, table: Table, replacing: tuple[str, ...], stack: ExitStack) -> tuple[Table, Table, int]:
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

"""Validation: all checks in one Polars select; failing rows are looked for in a second pass, if any."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import polars as pl

from mainspring.artifacts.table import schema_of
from mainspring.data.tables.frames import as_polars
from mainspring.data.validation.checks import Check
from mainspring.data.validation.report import CheckResult, Report
from mainspring.data.version import DatasetVersion
from mainspring.errors import InvalidError, WrongTypeError, close_names, shorten

_EXAMPLES = 5


def validate(table: Any, checks: Iterable[Check], *, subject: str = "") -> Report:
    """Hold a table, or a dataset version, to its checks.

    A check that can't be applied (its column is missing, or of a type it doesn't fit) has failed, with a message.

    >>> from mainspring.data import check
    >>> frame = pl.DataFrame({"carrier": ["UA", None], "delay": [3, 4000]})
    >>> print(validate(frame, [check.not_null("carrier"), check.between("delay", -120, 1440, severity="warn")]))
    table: 0 of 2 checks passed on 2 rows
      STOP  carrier is not null: 1 row fails (50 %)
      warn  delay between -120 and 1440: 1 row fails (50 %)
    """
    if isinstance(table, DatasetVersion):
        subject = subject or str(table)
        table = table.to_polars()
    frame = as_polars(table)
    wanted = list(checks)
    for one in wanted:
        if not isinstance(one, Check):
            raise WrongTypeError("checks", one, "a Check, e.g. check.not_null('column')")
    counts = _counts(frame, wanted)
    results = tuple(_result(frame, one, counts[at]) for at, one in enumerate(wanted))
    return Report(subject or "table", frame.height, results)


def failing_rows(frame: pl.DataFrame, check: Check) -> pl.DataFrame:
    """The rows that fail a check of rows."""
    expression = _failing(frame, check)
    if expression is None:
        raise InvalidError("check", check.name, "a check of single rows")
    return frame.filter(expression.fill_null(False))


def _counts(frame: pl.DataFrame, checks: list[Check]) -> dict[int, int | str]:
    """How many rows fail each check, or why that can't be said."""
    counts: dict[int, int | str] = {}
    expressions: dict[str, pl.Expr] = {}
    for at, check in enumerate(checks):
        try:
            if (problem := _problem(frame, check)) is not None:
                counts[at] = problem
                continue
            expression = _failing(frame, check)
        except (pl.exceptions.PolarsError, InvalidError, TypeError, ValueError) as error:
            counts[at] = _said(error)
            continue
        if expression is None:
            counts[at] = 0
        else:
            expressions[str(at)] = expression.sum().alias(str(at))
    return counts | _counted(frame, expressions)


def _counted(frame: pl.DataFrame, expressions: dict[str, pl.Expr]) -> dict[int, int | str]:
    if not expressions:
        return {}
    try:
        row = frame.select(*expressions.values()).row(0)
    except pl.exceptions.PolarsError as error:
        if len(expressions) == 1:
            return {int(next(iter(expressions))): _said(error)}
        # One that can't be applied must not take the others with it, so each is counted alone.
        found: dict[int, int | str] = {}
        for at, expression in expressions.items():
            found |= _counted(frame, {at: expression})
        return found
    return {int(at): int(value or 0) for at, value in zip(expressions, row, strict=True)}


def _problem(frame: pl.DataFrame, check: Check) -> str | None:
    """Why a check has failed before any row is looked at."""
    for column in check.columns:
        if column not in frame.columns:
            near = close_names(column, frame.columns)
            return f"there is no column `{column}`{f' (nearest: {near[0]})' if near else ''}"
    if check.kind == "row_count":
        low, high = check.low, check.high
        if (low is not None and frame.height < low) or (high is not None and frame.height > high):
            return f"the table has {frame.height:,} rows"
    if check.kind == "dtype":
        kind = schema_of(frame.select(check.columns[0]))[0][1]
        if kind != check.dtype:
            return f"the column is {kind}"
    if check.kind == "expression":
        (given,) = frame.lazy().select(_formula(check.formula)).collect_schema().dtypes()
        if given not in (pl.Boolean, pl.Null):
            return f"the expression gives {given}, not true or false"
    return None


def _failing(frame: pl.DataFrame, check: Check) -> pl.Expr | None:
    """An expression that is true in failing rows; null counts as passing. None: nothing is asked of single rows."""
    if check.kind in ("row_count", "dtype"):
        return None
    if check.kind == "expression":
        return _formula(check.formula).not_()
    if check.kind == "unique":
        keys = pl.col(check.columns[0]) if len(check.columns) == 1 else pl.struct(check.columns)
        return keys.is_duplicated()
    column = pl.col(check.columns[0])
    if check.kind == "not_null":
        return column.is_null()
    if check.kind == "is_in":
        return column.is_in(list(check.values)).not_()
    if check.kind == "matches":
        return column.cast(pl.String).str.contains(check.pattern).not_()
    return _outside(column, check, frame.schema[check.columns[0]])


def _outside(column: pl.Expr, check: Check, dtype: pl.DataType) -> pl.Expr:
    bounds = []
    if check.low is not None:
        bounds.append(column < check.low)
    if check.high is not None:
        bounds.append(column > check.high)
    if dtype.is_float() and check.high is None:
        bounds.append(column.is_nan())  # Polars orders NaN above every number
    failing: pl.Expr = bounds[0]
    for bound in bounds[1:]:
        failing = failing | bound
    return failing


def _formula(text: str) -> pl.Expr:
    if text.startswith("{"):
        return pl.Expr.deserialize(io.StringIO(text), format="json")
    return pl.sql_expr(text)


def _result(frame: pl.DataFrame, check: Check, count: int | str) -> CheckResult:
    if isinstance(count, str):
        return CheckResult(check, False, 0, 0.0, count)
    if not count:
        return CheckResult(check, True, 0, 0.0)
    rows = failing_rows(frame, check).head(_EXAMPLES)
    shown = rows.select(check.columns) if check.columns else rows
    examples = tuple({name: _plain(value) for name, value in row.items()} for row in shown.iter_rows(named=True))
    return CheckResult(check, False, count, count / frame.height, "", examples)


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float) else shorten(str(value))


def _said(error: Exception) -> str:
    return f"it can't be applied: {shorten(str(error), 160)}"

"""Validation: all checks in one Polars select for each batch of rows; what fails is looked at a second time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from mainspring.data.validation.checks import Check
from mainspring.data.validation.comparison import PreviousValidator
from mainspring.data.validation.conditions import failing
from mainspring.data.validation.declared import declared
from mainspring.data.validation.expressions import formula, is_row_wise
from mainspring.data.validation.references import keys_of, keys_taken, previous_of, rows_added
from mainspring.data.validation.report import CheckResult, Report
from mainspring.data.validation.rows import BATCH_ROWS, Rows
from mainspring.data.validation.validators import (
    CountValidator,
    DistinctValidator,
    FreshValidator,
    IncreasingValidator,
    PatternValidator,
    RowValidator,
    UniqueValidator,
    Validator,
    ValueValidator,
    WalkedValidator,
    said,
    standing,
)  # fmt: skip
from mainspring.data.version import DatasetVersion, expect_version
from mainspring.errors import MainspringError

_FAULTS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, MainspringError, TypeError, ValueError)
_OF_ROWS = {"unique": UniqueValidator, "matches": PatternValidator, "increasing": IncreasingValidator}


def validate(
    table: Any, checks: Any, *, subject: str = "", previous: Any = None, key: str | Sequence[str] = (),
    behind: DatasetVersion | None = None, replacing: str | Sequence[str] = (), batch_rows: int = BATCH_ROWS,
) -> Report:  # fmt: skip
    """Hold a table, or a dataset version, to its checks.

    `table` is a Polars, pandas or Arrow table; a lazy one, or a large version, is walked over in batches of
    `batch_rows`. `checks` are Checks, a Schema, or a schema of pandera or dataframely. `previous` is what
    `compare_previous` compares with, if not the version's parent; `key` names columns to show in every example. A check
    that can't be applied (its column is missing, or of a type it doesn't fit) has failed, with a message.

    `behind` is the version that these rows are to be put behind, in place of its rows with the same key if `replacing`
    names one. Then `unique` holds of both together, and counts these rows only; `compare_previous` compares these rows with
    all of that version's, but their number with how many that version had added.

    >>> from mainspring.data import check
    >>> frame = pl.DataFrame({"carrier": ["UA", None], "delay": [3, 4000]})
    >>> print(validate(frame, [check.not_null("carrier"), check.between("delay", -120, 1440, severity="warn")]))
    table: 0 of 2 checks passed on 2 rows
      STOP  carrier is not null: 1 row fails (50 %)
      warn  delay between -120 and 1440: 1 row fails (50 %)
    """
    if behind is not None:
        expect_version(behind, "behind")
    if isinstance(table, DatasetVersion):
        subject = subject or str(table)
        previous = previous_of(table) if previous is None else previous
    rows = Rows(table, batch_rows)
    wanted, notes = declared(checks, rows.schema)
    shown, replaced = ((names,) if isinstance(names, str) else tuple(names) for names in (key, replacing))
    validators = [_validator(one, rows, _Others(previous, behind, replaced), shown) for one in wanted]
    height = 0
    for batch in rows.batches():
        height += batch.height
        _ask(batch, validators)
    results = tuple(_finished(validator, rows, height) for validator in validators)
    return Report(subject or "table", height, results, notes).about(rows.table)


def failing_rows(frame: pl.DataFrame, check: Check) -> pl.DataFrame:
    """The rows that fail a check of rows."""
    keys = keys_of(check)[0] if check.kind == "in_dataset" else None
    return frame.filter(failing(check, frame.schema, keys).fill_null(False))


class _Others(NamedTuple):
    """The other tables that checks may speak of."""

    previous: Any
    behind: DatasetVersion | None
    replacing: tuple[str, ...]

    def compared(self, check: Check, *, is_whole: bool) -> PreviousValidator:
        """The comparison with the version that a check names, or with the one before."""
        default = self.behind if self.previous is None else self.previous
        before, against = previous_of(check.dataset) if check.dataset else default, check.dataset
        table: Rows | int | None = None
        if isinstance(before, DatasetVersion):
            against = str(before)
            if check.measure == "rows":
                table = before.rows if before is not self.behind else rows_added(before)
        if table is None and before is not None:
            table = Rows(before)
        return PreviousValidator(check, table, against, is_whole=is_whole)

    def keys(self, check: Check, rows: Rows) -> tuple[pl.DataFrame | None, str]:
        """The keys that a check of rows speaks of, and the version that they are of."""
        if check.kind == "unique" and self.behind is not None:
            return keys_taken(check, rows.table.lazy(), self.behind, self.replacing)
        return keys_of(check) if check.kind == "in_dataset" else (None, "")


def _validator(check: Check, rows: Rows, others: _Others, key: tuple[str, ...]) -> Validator:
    if check.optional and any(column not in rows.schema for column in check.columns):
        return Validator(check)
    try:
        if (problem := standing(check, rows.schema)) is not None:
            return Validator(check, problem)
        if check.kind == "row_count":
            return CountValidator(check)
        if check.kind == "fresh":
            return FreshValidator(check)
        if check.kind == "compare_previous":
            return others.compared(check, is_whole=rows.is_whole)
        if check.kind == "distinct":
            return DistinctValidator(check, rows.schema)
        if check.kind in ("dtype", "only_columns", "column_order"):
            return Validator(check)
        if check.kind == "expression" and _is_of_one_value(check, rows.schema):
            return ValueValidator(check)
        if check.kind == "expression" and not rows.is_whole and not is_row_wise(formula(check.formula)):
            return WalkedValidator(check, rows.schema, key)
        keys, against = others.keys(check, rows)
        validator = _OF_ROWS.get(check.kind, RowValidator)(check, rows.schema, key, keys, against)
        if isinstance(validator, UniqueValidator):
            validator.is_walked = not rows.is_whole
        return validator
    except _FAULTS as error:
        return Validator(check, said(error))


def _is_of_one_value(check: Check, schema: pl.Schema) -> bool:
    """Whether an expression gives one value however many rows there are: also where there is none."""
    if is_row_wise(expression := formula(check.formula)) and expression.meta.root_names():
        return False
    try:
        return pl.DataFrame(schema=schema).select(expression).height == 1
    except _FAULTS:  # what can't be applied says so where it is asked of rows
        return False


def _ask(batch: pl.DataFrame, validators: list[Validator]) -> None:
    """Ask all of a batch in one select."""
    asked = [(validator, validator.asks(batch)) for validator in validators if not validator.message]
    flat = [expression for _, expressions in asked for expression in expressions]
    if not flat:
        return
    try:
        values = batch.select(each.alias(str(at)) for at, each in enumerate(flat)).row(0)
    except _FAULTS as error:
        if len(asked) == 1:
            asked[0][0].message = said(error)
            return
        # One that can't be applied must not take the others with it, so each is asked alone.
        for validator, _ in asked:
            _ask(batch, [validator])
        return
    at = 0
    for validator, expressions in asked:
        validator.take(values[at : at + len(expressions)], batch)
        at += len(expressions)


def _finished(validator: Validator, rows: Rows, height: int) -> CheckResult:
    try:
        return validator.finish(rows, height)
    except _FAULTS as error:
        validator.message = said(error)
        return validator.result(False)

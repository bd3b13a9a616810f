"""The check of a table against a signature, column by column: what a request with the same records would be told.

Numbers, texts and booleans are checked as whole columns; what those leave open is asked of `Field.check`, value by value, so
that both ways take the same and say the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from mainspring.errors import NotFoundError, close_names
from mainspring.models import Field, Problem
from mainspring.models.signature import FLOATS, INTEGERS, Columns
from mainspring.serving.batch.files import separator_hint

_EXACT_INTEGERS = ("i8", "i16", "i32", "i64")


class Checked(NamedTuple):
    """The columns as the model gets them, and what is wrong, by row; of a row that is wrong the values mean nothing."""

    columns: Columns
    problems: dict[int, list[Problem]]


def expect_columns(names: Sequence[str], fields: Sequence[Field], table: str) -> None:
    """Go on only with a table that has every column that is taken.

    Raises:
        NotFoundError: it lacks one; the nearest are named.
    """
    for field in fields:
        if field.name not in names:
            near = [each if each == each.strip() else f'"{each}"' for each in close_names(field.name, names)]
            hint = f"The model takes it, and {table} hasn't.{separator_hint(names)}"
            raise NotFoundError("column", field.name, near, hint)


def check_table(frame: pl.DataFrame, fields: Sequence[Field]) -> Checked:
    """The columns of a table that has them all; problems are told by the row's place and the column.

    >>> check_table(pl.DataFrame({"n": [1, None, 3]}), [Field("n", "f64")]).problems
    {1: [Problem(path='n', message='null, expected a number')]}
    """
    columns: Columns = {}
    problems: dict[int, list[Problem]] = {}
    for field in fields:
        series = frame.get_column(field.name)
        if _is_plain(series, field):
            columns[field.name] = _values(series.cast(pl.Float64))
            continue
        good, typed = _vectorised(series, field)
        if good is None:
            columns[field.name] = _checked_singly(series.to_list(), field, problems)
            continue
        if not good.all():
            bad = (~good).arg_true()
            said = series.gather(bad).to_list()
            for row, value in zip(bad.to_list(), said, strict=True):
                problems.setdefault(row, []).append(Problem(field.name, field.check(value)[1]))
        columns[field.name] = _values(typed)
    return Checked(columns, problems)


def _is_plain(series: pl.Series, field: Field) -> bool:
    """Whether all of a column are finite floats for one: told by its sum, which is neither if one of them isn't."""
    if field.dtype != "f64" or series.dtype not in (pl.Float32, pl.Float64) or series.null_count():
        return False
    return math.isfinite(series.sum())


def _checked_singly(values: Sequence[object], field: Field, problems: dict[int, list[Problem]]) -> Sequence[object]:
    found = []
    for row, given in enumerate(values):
        value, wrong = field.check(given)
        found.append(value)
        if wrong:
            problems.setdefault(row, []).append(Problem(field.name, wrong))
    return found


def _vectorised(series: pl.Series, field: Field) -> tuple[pl.Series | None, pl.Series]:
    """Which rows fit, and the values in the model's type; None where only single values can be judged."""
    dtype = series.dtype
    if field.dtype in FLOATS and (dtype.is_integer() or dtype.is_float()):
        # A wider integer is rounded once, as `float` does.
        typed = series.cast(pl.Float64).fill_nan(None)
        fits = typed.is_finite() & (typed.abs() <= FLOATS[field.dtype])
    elif field.dtype in _EXACT_INTEGERS and dtype.is_integer() and dtype not in (pl.Int128, pl.UInt64):
        bits, _ = INTEGERS[field.dtype]
        typed = series.cast(pl.Int64)
        fits = (typed >= -(1 << bits - 1)) & (typed <= (1 << bits - 1) - 1)
    elif (field.dtype in ("str", "cat") and dtype in (pl.String, pl.Categorical, pl.Enum)) or (
        field.dtype == "bool" and dtype == pl.Boolean
    ):
        typed = series if dtype == pl.Boolean else series.cast(pl.String)
        fits = typed.is_not_null() if not field.nullable else pl.repeat(True, typed.len(), eager=True)
    else:
        return None, series
    return fits.fill_null(field.nullable), typed


def _values(typed: pl.Series) -> Sequence[object]:
    """As an array, where a list of its values would make the same one; else as that list, whose nulls are None."""
    if typed.null_count() or not typed.dtype.is_numeric():
        return typed.to_list()
    values: Any = typed.to_numpy()
    return values  # type: ignore[no-any-return]  # a column of numbers is an array

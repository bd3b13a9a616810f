"""Which rows each fold along time trains on and is tested on; a border belongs to what comes before it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from mainspring.data.splits.time import require_time_type, require_times
from mainspring.errors import InvalidError

Array = np.ndarray[Any, np.dtype[Any]]
_PER_SECOND = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def time_folds(times: pl.Series, folds: int, test: Any, gap: Any, train: Any) -> Iterator[tuple[pl.Series, pl.Series]]:
    """The rows to train on and to test on, as masks, of each fold; raises `InvalidError` if there are none."""
    require_time_type(times.name, times.dtype)
    require_times(times)
    values = _units(times)
    span, skipped, reach = (
        _in_units(each, times, name) for each, name in ((test, "test"), (gap, "gap"), (train, "train"))
    )
    for number, (border, end) in enumerate(_borders(values, folds, span), 1):
        known = border - (skipped or 0)
        trained = values <= known
        if reach is not None:
            trained &= values > known - reach
        tested = (values > border) & (values <= end)
        for rows, what in ((trained, "train"), (tested, "test")):
            if not rows.any():
                hint = "Take fewer folds, or other spans."
                raise InvalidError("folds", folds, f"folds with rows: fold {number} has none to {what} on", hint)
        yield pl.Series(trained), pl.Series(tested)


def _units(times: pl.Series) -> Array:
    """Each time as a number of the column's own units: those of a decimal are its last digit's."""
    if times.dtype.is_float():
        return times.to_numpy()
    try:
        return times.to_physical().cast(pl.Int64).to_numpy()
    except pl.exceptions.InvalidOperationError as error:
        raise InvalidError(times.name, str(times.dtype), "a column of times or numbers within 64 bits") from error


def _borders(values: Array, folds: int, span: Any) -> list[tuple[Any, Any]]:
    """Where each test part begins (exclusive) and ends (inclusive)."""
    if not len(values):
        raise InvalidError("folds", folds, "folds with rows: the table has none")
    if span is not None:
        last = values.max()
        return [(last - (folds - number) * span, last - (folds - number - 1) * span) for number in range(folds)]
    ordered = np.sort(values)
    ends = [ordered[-(-len(ordered) * block // (folds + 1)) - 1] for block in range(1, folds + 2)]
    return list(pairwise(ends))


def _in_units(span: Any, times: pl.Series, name: str) -> Any:
    """A span as a number of the column's own units; whole for whole ones.

    Raises:
        InvalidError: it is a `timedelta` for numbers or a number for times, or not a whole number of the units.
    """
    if span is None:
        return None
    if times.dtype.is_temporal() != isinstance(span, timedelta):
        wanted = "a timedelta" if times.dtype.is_temporal() else "a number"
        raise InvalidError(name, span, f"{wanted}, as `{times.name}` is {times.dtype}")
    if not isinstance(span, timedelta):
        if not isinstance(times.dtype, pl.Decimal):
            return span
        scaled = Decimal(str(span)).scaleb(times.dtype.scale)
        return int(scaled) if scaled == scaled.to_integral_value() else float(scaled)
    if times.dtype == pl.Date:
        if span % timedelta(days=1):
            raise InvalidError(name, span, f"a number of days, as `{times.name}` is of dates")
        return span.days
    unit = getattr(times.dtype, "time_unit", "ns")
    return span // timedelta(microseconds=1) * _PER_SECOND[unit] // 1_000_000

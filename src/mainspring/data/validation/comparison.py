"""Comparison with the version before: one measure of both, in the select that all checks share."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from mainspring.data.validation.checks import Check
from mainspring.data.validation.report import CheckResult
from mainspring.data.validation.rows import Rows
from mainspring.data.validation.validators import EXAMPLES, Validator, plain
from mainspring.errors import listed

_SAMPLE_VALUES = 2_000_000


class Measure:
    """What is measured of a table, batch by batch: rows, nulls, mean and variance, a quantile, categories."""

    def __init__(self, check: Check, *, is_whole: bool) -> None:
        self.check = check
        self.is_whole = is_whole
        self.rows = self.nulls = self.count = 0
        self.mean = self.squares = 0.0
        self.quantile: float | None = None
        self.values: set[Any] = set()
        self._sample: list[pl.Series] = []
        self._stride = 1

    def asks(self) -> list[pl.Expr]:
        """The aggregates of a batch."""
        if not self.check.columns:
            return [pl.len()]
        column = pl.col(self.check.columns[0])
        if self.check.measure == "nulls":
            return [pl.len(), column.null_count()]
        if self.check.measure == "categories":
            return [pl.len(), column.drop_nulls().unique().implode()]
        present = column.cast(pl.Float64).drop_nulls().drop_nans()
        numbers = [pl.len(), present.len(), present.mean(), present.var(ddof=0)]
        if self.check.measure == "quantile" and self.is_whole:
            return [*numbers, present.quantile(self.check.quantile)]
        if self.check.measure == "quantile":
            return [*numbers, present.gather_every(self._stride).implode()]
        return numbers

    def take(self, values: tuple[Any, ...]) -> None:
        """Add those of a batch."""
        self.rows += values[0]
        if self.check.measure == "nulls":
            self.nulls += values[1]
        elif self.check.measure == "categories":
            self.values.update(values[1])
        elif self.check.measure != "rows":
            self._add_moments(*values[1:4])
            if self.check.measure == "quantile":
                self._add_quantile(values[4])

    def _add_moments(self, count: int, mean: float | None, variance: float | None) -> None:
        # Chan, Golub, LeVeque (1983): variances of parts, added without cancellation.
        if not count or mean is None or variance is None:
            return
        both, shift = self.count + count, mean - self.mean
        self.squares += variance * count + shift * shift * self.count * count / both
        self.mean += shift * count / both
        self.count = both

    def _add_quantile(self, value: Any) -> None:
        if self.is_whole:
            self.quantile = value
            return
        self._sample.append(pl.Series(value, dtype=pl.Float64))
        if sum(len(part) for part in self._sample) > _SAMPLE_VALUES:
            self._sample = [pl.concat(self._sample).gather_every(2)]
            self._stride *= 2
        self.quantile = None

    @property
    def value(self) -> float | None:
        """The mean or quantile; None of a column without values."""
        if self.check.measure == "mean":
            return self.mean if self.count else None
        if self.quantile is None and self._sample:
            found = pl.concat(self._sample).quantile(self.check.quantile)
            self.quantile = None if found is None else float(found)
        return self.quantile

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0


def measured(check: Check, rows: Rows) -> Measure:
    """What a check measures, of a whole table."""
    measure = Measure(check, is_whole=rows.is_whole)
    for batch in rows.batches(list(check.columns) or None):
        measure.take(batch.select(each.alias(str(n)) for n, each in enumerate(measure.asks())).row(0))
    return measure


class PreviousValidator(Validator):
    """A measure against that of the version before, or a count of rows; there need not be one."""

    def __init__(self, check: Check, before: Rows | int | None, against: str, *, is_whole: bool) -> None:
        super().__init__(check)
        self.against = against
        self.now = Measure(check, is_whole=is_whole)
        self.before: Measure | None = None
        if isinstance(before, int):
            self.before = Measure(check, is_whole=True)
            self.before.rows = before
        elif before is not None:
            self.before = measured(check, before)

    def asks(self, batch: pl.DataFrame) -> list[pl.Expr]:  # noqa: ARG002  # the same for each
        """What is measured."""
        return self.now.asks()

    def take(self, values: tuple[Any, ...], batch: pl.DataFrame) -> None:  # noqa: ARG002  # the values are enough
        """Add the measures of a batch."""
        self.now.take(values)

    def finish(self, rows: Rows, height: int) -> CheckResult:  # noqa: ARG002  # the measures are enough
        """Compare."""
        if self.message:
            return self.result(False)
        if self.before is None:
            self.message = "there is no version before"
            return self.result(True)
        if self.check.measure == "categories":
            return self._compare_categories(self.now.values, self.before.values)
        changed, text = self._changed(self.now, self.before)
        # An exact share such as 10 of 100 must not fail a limit of 0.1 by the last bit of a quotient.
        passed = changed <= self.check.change * (1 + 1e-12) + 1e-15
        if not passed:
            self.message = text
        return self.result(passed)

    def _changed(self, now: Measure, before: Measure) -> tuple[float, str]:
        """By how much it differs, and in words."""
        if self.check.measure == "rows":
            share = abs(now.rows / before.rows - 1) if before.rows else (math.inf if now.rows else 0.0)
            return share, f"{now.rows:,} rows, {before.rows:,} before"
        if self.check.measure == "nulls":
            shares = [each.nulls / each.rows if each.rows else 0.0 for each in (now, before)]
            return abs(shares[0] - shares[1]), f"{100 * shares[0]:.3g} % null, {100 * shares[1]:.3g} % before"
        if now.value is None or before.value is None:
            missing = now.value is None and before.value is None
            return 0.0 if missing else math.inf, "the column has no values" + (
                " now" if now.value is None else " before"
            )
        shift = abs(now.value - before.value)
        deviations = 0.0 if not shift else shift / before.deviation if before.deviation else math.inf
        told = f"{now.value:.4g}, {before.value:.4g} before: {deviations:.3g} standard deviations"
        return deviations, told

    def _compare_categories(self, now: set[Any], before: set[Any]) -> CheckResult:
        new = sorted(now - before, key=str)
        share = len(new) / len(before) if before else float(bool(new))
        passed = share <= self.check.change
        if not passed:
            self.message = f"{len(new):,} new: {listed([str(value) for value in new], 5)}"
        column = self.check.columns[0]
        return self.result(passed, examples=[{column: plain(value)} for value in new[:EXAMPLES]])

"""Validators: what each check asks of a batch of rows, what it has seen so far, and what it finds in the end.

A validator's expressions go into the one select that all of them share; only what fails is looked at a second time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from typing import Any

import polars as pl

from mainspring import clock
from mainspring.artifacts.table import schema_of
from mainspring.data.validation.checks import Check
from mainspring.data.validation.conditions import failing, fitted, mismatched
from mainspring.data.validation.declaration import span
from mainspring.data.validation.expressions import columns_of, formula
from mainspring.data.validation.report import CheckResult
from mainspring.data.validation.rows import Rows
from mainspring.errors import close_names, counted, shorten

EXAMPLES = 5
_SAMPLE_ROWS = 20_000
_WORTH_GROUPING_ROWS = 100_000
# Of 5 M texts: with up to some hundreds of distinct ones grouping takes 0.6 of a short regex's time on each, with some
# thousands (the hash table leaves the cache) 1.1 of it, with a long regex 1.4.
_WORTH_GROUPING_VALUES = 512
_BUCKET_BYTES = 128 << 20


class Validator:
    """A check that is asked nothing of single rows: it has failed with a message, or holds."""

    against = ""

    def __init__(self, check: Check, message: str = "") -> None:
        self.check = check
        self.message = message

    def asks(self, batch: pl.DataFrame) -> list[pl.Expr]:  # noqa: ARG002  # what the subclasses look at
        """The aggregates that it wants of a batch."""
        return []

    def take(self, values: tuple[Any, ...], batch: pl.DataFrame) -> None:
        """Take the values of its aggregates."""

    def finish(self, rows: Rows, height: int) -> CheckResult:  # noqa: ARG002  # what the subclasses look at
        """What was found, after the last batch."""
        return self.result(not self.message)

    def result(self, passed: bool, failing: int = 0, share: float = 0.0, examples: Any = ()) -> CheckResult:
        """The record of what was found."""
        return CheckResult(self.check, passed, failing, share, self.message, tuple(examples), self.against)


class CountValidator(Validator):
    """How many rows there are."""

    def finish(self, rows: Rows, height: int) -> CheckResult:  # noqa: ARG002  # the count is enough
        """Hold the count to its bounds."""
        low, high = self.check.low, self.check.high
        if (low is not None and height < low) or (high is not None and height > high):
            self.message = f"the table has {counted(height, 'row')}"
        return self.result(not self.message)


class ValueValidator(Validator):
    """An expression of one value for the whole table, such as `avg(x) > 1`, which no single row passes or fails."""

    def finish(self, rows: Rows, height: int) -> CheckResult:  # noqa: ARG002  # it is asked of all rows at once
        """Passed if it is true, or null."""
        if self.check.severity == "quarantine":
            self.message = "it has one value for the whole table, so no rows can be set apart: it may `stop` or `warn`"
            return self.result(False)
        wrong = rows.table.lazy().select(formula(self.check.formula).not_()).collect(engine="streaming").item()
        if wrong:
            self.message = "it is false of the table"
        return self.result(not wrong)


class FreshValidator(Validator):
    """How old the newest time is."""

    newest: datetime | None = None

    def asks(self, batch: pl.DataFrame) -> list[pl.Expr]:  # noqa: ARG002  # the same for each
        """The newest time."""
        return [pl.col(self.check.columns[0]).max()]

    def take(self, values: tuple[Any, ...], batch: pl.DataFrame) -> None:  # noqa: ARG002  # the value is enough
        """Keep the newest so far."""
        found = values[0]
        if isinstance(found, date) and not isinstance(found, datetime):
            found = datetime.combine(found, time())
        if isinstance(found, datetime):
            found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
            self.newest = found if self.newest is None else max(found, self.newest)

    def finish(self, rows: Rows, height: int) -> CheckResult:  # noqa: ARG002  # the newest time is enough
        """Hold the newest time to the clock."""
        if self.newest is None:
            self.message = self.message or "the column has no time"
        elif (clock.now() - self.newest).total_seconds() > self.check.within_s:
            age = clock.now() - self.newest
            self.message = f"the newest is {self.newest.isoformat()}, {span(age)} ago"
        return self.result(not self.message)


class DistinctValidator(Validator):
    """Which of the wanted values there are, and one that isn't wanted."""

    def __init__(self, check: Check, schema: pl.Schema) -> None:
        super().__init__(check)
        dtype = schema[check.columns[0]]
        self.wanted = dict.fromkeys(fitted(value, dtype) for value in check.values)
        self.met: set[Any] = set()
        self.other: tuple[Any, ...] = ()

    def asks(self, batch: pl.DataFrame) -> list[pl.Expr]:  # noqa: ARG002  # the same for each
        """The wanted values, and the first other one."""
        column = pl.col(self.check.columns[0]).drop_nulls()
        is_wanted = column.is_in(list(self.wanted))
        return [column.filter(is_wanted).unique().implode(), column.filter(is_wanted.not_()).head(1).implode()]

    def take(self, values: tuple[Any, ...], batch: pl.DataFrame) -> None:  # noqa: ARG002  # the values are enough
        """Keep what was met."""
        self.met.update(values[0])
        self.other = self.other or tuple(values[1])

    def finish(self, rows: Rows, height: int) -> CheckResult:  # noqa: ARG002  # what was met is enough
        """Hold what was met to what is wanted."""
        missing = [str(value) for value in self.wanted if value not in self.met]
        found = [f"there is also {shorten(value)}" for value in self.other]
        if missing:
            found.append(f"there is no {', '.join(missing[:5])}{', …' if len(missing) > 5 else ''}")
        self.message = self.message or "; ".join(found)
        return self.result(not self.message)


class RowValidator(Validator):
    """How many rows fail, with the first few of them."""

    def __init__(self, check: Check, schema: pl.Schema, key: tuple[str, ...] = (), keys: pl.DataFrame | None = None,
                 against: str = "") -> None:  # fmt: skip
        super().__init__(check)
        self.failing = 0
        self.examples: list[dict[str, Any]] = []
        self.against = against
        self.keys = keys
        self.expression = failing(check, schema, keys)
        named = check.columns or columns_of(self.expression) or tuple(schema)
        self.shown = tuple(dict.fromkeys([*(name for name in key if name in schema), *named]))

    def asks(self, batch: pl.DataFrame) -> list[pl.Expr]:  # noqa: ARG002  # the same for each
        """How many rows fail."""
        return [self.expression.sum()]

    def take(self, values: tuple[Any, ...], batch: pl.DataFrame) -> None:
        """Count, and look for examples if there is something to see."""
        count = int(values[0] or 0)
        self.failing += count
        if count and len(self.examples) < EXAMPLES:
            self.exemplify(batch)

    def exemplify(self, batch: pl.DataFrame) -> None:
        """Take examples from a batch in which rows fail."""
        found = batch.lazy().filter(self.expression.fill_null(False)).select(self.shown)
        self.examples += plain_rows(found.head(EXAMPLES - len(self.examples)).collect())

    def finish(self, rows: Rows, height: int) -> CheckResult:  # noqa: ARG002  # the counts are enough
        """Passed if no row failed."""
        share = self.failing / height if height else 0.0
        return self.result(not self.failing and not self.message, self.failing, share, self.examples)


class WalkedValidator(RowValidator):
    """An expression, which may look at other rows (`over`, `shift`): over batches it is left to Polars' streaming."""

    def asks(self, batch: pl.DataFrame) -> list[pl.Expr]:  # noqa: ARG002  # asked in the end
        """Nothing of a batch."""
        return []

    def take(self, values: tuple[Any, ...], batch: pl.DataFrame) -> None:
        """Nothing of a batch."""

    def finish(self, rows: Rows, height: int) -> CheckResult:
        """Count what was not asked of batches."""
        if isinstance(rows.table, pl.LazyFrame):
            (count,) = rows.table.select(self.expression.sum()).collect(engine="streaming").row(0)
            self.failing = int(count or 0)
            if count:
                found = rows.table.filter(self.expression.fill_null(False)).select(self.shown).head(EXAMPLES)
                self.examples = plain_rows(found.collect(engine="streaming"))
        return super().finish(rows, height)


class PatternValidator(RowValidator):
    """A pattern, held to each distinct text where there are few of them."""

    def asks(self, batch: pl.DataFrame) -> list[pl.Expr]:
        """How many rows fail, each text tried once if that is cheaper."""
        name = self.check.columns[0]
        if not repeats(batch, name):
            return super().asks(batch)
        counts = pl.col(name).value_counts()
        wrong = mismatched(counts.struct.field(name), batch.schema[name], self.check.pattern)
        return [counts.struct.field("count").filter(wrong).sum()]


class IncreasingValidator(RowValidator):
    """Order of rows, from each batch to the next: a batch is looked at behind the last value before it."""

    last: pl.DataFrame | None = None

    def asks(self, batch: pl.DataFrame) -> list[pl.Expr]:
        """How many rows fall, and the last value."""
        name = self.check.columns[0]
        column = pl.col(name)
        before = column.forward_fill().shift()
        if self.last is not None and self.last.height:
            before = before.fill_null(pl.lit(self.last[name][0], dtype=batch.schema[name]))
        self.expression = column <= before if self.check.closed == "none" else column < before
        return [self.expression.sum(), column.drop_nulls().last()]

    def take(self, values: tuple[Any, ...], batch: pl.DataFrame) -> None:
        """Count, and keep the last value."""
        super().take(values[:1], batch)
        if values[1] is not None:
            name = self.check.columns[0]
            self.last = pl.DataFrame({name: [values[1]]}, schema={name: batch.schema[name]})


class UniqueValidator(RowValidator):
    """Keys: distinct ones are counted, which is cheap; only if they are too few are the rows looked for.

    `keys` are those that stand already in the version that the rows are put behind: a row with one of them fails, too.
    Over several batches hashes of the keys are compared, in parts that memory has room for, and then the rows of those
    that repeat.
    """

    rest = 0
    is_walked = False  # over several batches, where the keys of one say nothing yet

    def asks(self, batch: pl.DataFrame) -> list[pl.Expr]:  # noqa: ARG002  # the same for each
        """How many rows there are beyond the distinct keys."""
        if self.is_walked:
            return []
        keys = pl.col(self.check.columns[0]) if len(self.check.columns) == 1 else pl.struct(self.check.columns)
        return [keys.len() - keys.n_unique()]

    def take(self, values: tuple[Any, ...], batch: pl.DataFrame) -> None:  # noqa: ARG002  # looked at in the end
        """Remember that there is something to look for."""
        self.rest += sum(int(value or 0) for value in values)

    def finish(self, rows: Rows, height: int) -> CheckResult:
        """Count the rows that share their key."""
        if rows.is_whole:
            if self.rest or (self.keys is not None and self.keys.height):
                (batch,) = rows.batches()
                super().take(batch.select(self.expression.sum()).row(0), batch)
        else:
            self._look_in_parts(rows, height)
        return super().finish(rows, height)

    def _look_in_parts(self, rows: Rows, height: int) -> None:
        """Find the keys whose hashes repeat, then look at the rows of those alone."""
        keys = pl.struct(self.check.columns)
        hashed = keys.hash(seed=7)
        taken = None if self.keys is None else self.keys.select(hashed.alias("hash"))["hash"]
        for _, twice in repeated_hashes(rows, {"": keys}, height, taken):
            if len(twice):
                self._look_at(rows, hashed, twice.unique(), 2 * len(twice))

    def _look_at(self, rows: Rows, hashed: pl.Expr, suspects: pl.Series, at_most_rows: int) -> None:
        columns = list(dict.fromkeys([*self.shown, *self.check.columns]))
        sample = next(iter(rows.batches(columns)))
        row_bytes = sample.estimated_size() / max(sample.height, 1) + 16
        chunks = int(at_most_rows * row_bytes * 3 // _BUCKET_BYTES) + 1
        for chunk in range(chunks):
            looked_for = suspects.gather_every(chunks, chunk)
            suspicious = hashed.is_in(looked_for.implode())
            keys = pl.concat([batch.filter(suspicious) for batch in rows.batches(columns)])
            super().take(keys.select(self.expression.sum()).row(0), keys)


def repeated_hashes(
    rows: Rows, keys: Mapping[str, pl.Expr], height: int, taken: pl.Series | None = None
) -> Iterator[tuple[str, pl.Series]]:
    """The hashes (seed 7) that keys of rows share, by the name of the key: in parts that memory has room for, each equal
    hash in one of them. Those of keys that are `taken` already are all given.
    """
    parts = height * len(keys) * 24 // _BUCKET_BYTES + 1  # eight bytes each, as many again twice to sort them
    columns = list(dict.fromkeys(name for key in keys.values() for name in key.meta.root_names()))
    hashes = [key.hash(seed=7).alias(name) for name, key in keys.items()]
    for part in range(parts):
        found: dict[str, list[pl.Series]] = {name: [] for name in keys}
        for batch in rows.batches(columns):
            for values in batch.select(hashes).iter_columns():
                found[values.name].append(values.filter(values % parts == part))
        for name in keys:
            values = pl.concat(found.pop(name)).sort()
            twice = values.filter(values == values.shift())
            yield name, twice if taken is None else pl.concat([twice, taken.filter(taken % parts == part)])


def repeats(batch: pl.DataFrame, name: str) -> bool:
    """Whether a column has few distinct values for its rows, by Chao's estimate from a sample."""
    if batch.height < _WORTH_GROUPING_ROWS:
        return False
    counts = batch[name].gather_every(batch.height // _SAMPLE_ROWS).value_counts()["count"]
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    estimate = counts.len() + once * once / (2 * max(twice, 1))
    return estimate <= _WORTH_GROUPING_VALUES


def standing(check: Check, schema: pl.Schema) -> str | None:
    """Why a check has failed before any row is looked at."""
    for column in check.columns:
        if column not in schema:
            near = close_names(column, list(schema))
            return f"there is no column `{column}`{f' (nearest: {near[0]})' if near else ''}"
    if check.kind == "dtype":
        kind = schema_of(pl.DataFrame(schema={check.columns[0]: schema[check.columns[0]]}))[0][1] if check.dtype else ""
        return f"the column is {kind}" if kind != check.dtype else None
    if check.kind == "only_columns":
        others = [name for name in schema if name not in check.values]
        return f"there {'are' if len(others) > 1 else 'is'} also {', '.join(map(repr, others[:5]))}" if others else None
    if check.kind == "column_order":
        found = [name for name in schema if name in check.values]
        wrong = [pair for pair in zip(found, sorted(found, key=check.values.index), strict=True) if pair[0] != pair[1]]
        return f"{wrong[0][0]!r} stands where {wrong[0][1]!r} is expected" if wrong else None
    if check.kind == "expression":
        (given,) = pl.LazyFrame(schema=schema).select(formula(check.formula)).collect_schema().dtypes()
        return f"the expression gives {given}, not true or false" if given not in (pl.Boolean, pl.Null) else None
    if check.kind == "fresh" and not schema[check.columns[0]].is_temporal():
        return f"the column is {schema[check.columns[0]]}, not a time"
    return None


def plain_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows as examples."""
    return [{name: plain(value) for name, value in row.items()} for row in frame.iter_rows(named=True)]


def plain(value: object) -> object:
    """A value as an example in a report: what JSON holds, else text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float) else shorten(str(value))


def said(error: Exception) -> str:
    """Why a check can't be applied."""
    return f"it can't be applied: {shorten(str(error), 160)}"

"""Checks as records: what must hold of a table. `validate` compiles them into one Polars select.

Nulls pass every check but `not_null` (two rows of nulls are equal to `unique`); a NaN is a value, and it is in no range.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec

from mainspring.data.validation.declaration import expect_formula, expect_order, expect_pattern, short_type, span
from mainspring.data.validation.expressions import serialised
from mainspring.data.version import DatasetVersion, expect_version
from mainspring.errors import InvalidError, counted, listed

if TYPE_CHECKING:
    import polars as pl

Severity = Literal["stop", "quarantine", "warn"]
Kind = Literal[
    "not_null", "unique", "between", "is_in", "not_in", "matches", "length", "decimals", "increasing", "in_dataset",
    "expression", "row_count", "dtype", "only_columns", "column_order", "distinct", "fresh", "compare_previous",
]  # fmt: skip
Bound = Any  # a number, text, or time that compares with the column
Columns = str | list[str] | tuple[str, ...]
Closed = Literal["both", "left", "right", "none"]
Kept = Literal["none", "first", "last"]
Measured = Literal["rows", "nulls", "mean", "quantile", "categories"]
OF_TABLES = ("row_count", "dtype", "only_columns", "column_order", "distinct", "fresh", "compare_previous")


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that must hold. The fields behind `optional` belong to single kinds.

    If one fails: with severity `stop` `Report.raise_for_stop` raises, `quarantine` sets the failing rows apart in
    `Report.split`, `warn` is only reported. An `optional` check passes if its column isn't there. `nan` says how a NaN
    counts, if not as a value outside of every range: as `missing`, or as the `largest` number.
    """

    kind: Kind
    name: str
    columns: tuple[str, ...] = ()
    severity: Severity = "stop"
    optional: bool = False
    low: Bound = None
    high: Bound = None
    closed: Closed = "both"
    values: tuple[Any, ...] = ()
    pattern: str = ""
    dtype: str = ""
    formula: str = ""
    keep: Kept = "none"
    nan: Literal["", "missing", "largest"] = ""
    dataset: str = ""
    dataset_columns: tuple[str, ...] = ()
    within_s: float = 0.0
    measure: str = ""
    change: float = 0.0
    quantile: float = 0.5

    def __post_init__(self) -> None:
        if self.severity not in get_args(Severity):
            raise InvalidError("severity", self.severity, "`stop`, `quarantine` or `warn`")
        if self.severity == "quarantine" and self.kind in OF_TABLES:
            raise InvalidError(
                "severity", self.severity, f"`stop` or `warn` for `{self.kind}`", "It speaks of no single rows."
            )

    @property
    def is_of_rows(self) -> bool:
        """Whether it holds of single rows, so that those that fail can be told."""
        return self.kind not in OF_TABLES


class check:  # noqa: N801  # read as `check.not_null("dep_time")`
    """Makes checks.

    >>> check.between("share", 0, 1).name
    'share between 0 and 1'
    """

    @staticmethod
    def not_null(column: str, *, nan: bool = True, severity: Severity = "stop") -> Check:
        """Every row has a value; with `nan=False` a NaN is none."""
        return _made("not_null", f"{column} is not null", column, severity, nan="" if nan else "missing")

    @staticmethod
    def unique(columns: Columns, *, keep: Kept = "none", severity: Severity = "stop") -> Check:
        """No two rows agree in all of these columns.

        Every row that shares its key counts as failing, or all but the `first` or `last` one.
        """
        if keep not in get_args(Kept):
            raise InvalidError("keep", keep, "`none`, `first` or `last`")
        return _made("unique", f"{', '.join(_names(columns))} unique", columns, severity, keep=keep)

    @staticmethod
    def between(
        column: str, low: Bound = None, high: Bound = None, *, closed: Closed = "both", severity: Severity = "stop"
    ) -> Check:
        """Every value is at least `low` and at most `high`; a bound may be left out.

        `closed` says which bounds are values themselves, `left` the lower one. Times may be given as ISO text.
        """
        if low is None and high is None:
            raise InvalidError(f"check.between({column!r})", "no bound", "a lower bound, an upper one, or both")
        if closed not in get_args(Closed):
            raise InvalidError("closed", closed, listed(get_args(Closed)))
        expect_order(f"check.between({column!r})", low, high)
        least = "at least" if closed in ("both", "left") else "more than"
        most = "at most" if closed in ("both", "right") else "less than"
        if low is not None and high is not None and closed == "both":
            limits = f"between {low} and {high}"
        else:
            bounds = [f"{least} {low}"] * (low is not None) + [f"{most} {high}"] * (high is not None)
            limits = " and ".join(bounds)
        return _made("between", f"{column} {limits}", column, severity, low=low, high=high, closed=closed)

    @staticmethod
    def is_in(column: str, values: Iterable[Any], *, severity: Severity = "stop") -> Check:
        """Every value is one of these."""
        allowed = _values(values)
        return _made("is_in", f"{column} in [{_few(allowed)}]", column, severity, values=allowed)

    @staticmethod
    def not_in(column: str, values: Iterable[Any], *, severity: Severity = "stop") -> Check:
        """No value is one of these."""
        banned = _values(values)
        return _made("not_in", f"{column} not in [{_few(banned)}]", column, severity, values=banned)

    @staticmethod
    def matches(column: str, pattern: str, *, severity: Severity = "stop") -> Check:
        """Every text contains a match of a regular expression (Rust's syntax); anchor it with `^` and `$`."""
        expect_pattern(pattern)
        return _made("matches", f"{column} matches {pattern}", column, severity, pattern=pattern)

    @staticmethod
    def length(
        column: str, at_least: int | None = None, at_most: int | None = None, *, severity: Severity = "stop"
    ) -> Check:
        """Every text has so many characters, every list so many items."""
        name = f"length of {column} {_limits('check.length()', at_least, at_most)}"
        return _made("length", name, column, severity, low=at_least, high=at_most)

    @staticmethod
    def decimals(column: str, at_most: int, *, severity: Severity = "stop") -> Check:
        """Every number has at most so many places behind the point, as it is written in decimal."""
        return _made("decimals", f"{column} at most {counted(at_most, 'decimal')}", column, severity, high=at_most)

    @staticmethod
    def increasing(column: str, *, strictly: bool = False, severity: Severity = "stop") -> Check:
        """No value is below the one in the rows before it; with `strictly`, nor equal to it."""
        name = f"{column} {'strictly ' if strictly else ''}increasing"
        return _made("increasing", name, column, severity, closed="none" if strictly else "both")

    @staticmethod
    def in_dataset(
        columns: Columns,
        dataset: str | DatasetVersion,
        its_columns: Columns | None = None,
        *,
        severity: Severity = "stop",
    ) -> Check:
        """Every key is one of a dataset's: `dataset` is a name (its newest version), `name/3`, `name/tag` or a version.

        The version that it was held to is in the result. A key with a null in it passes.
        """
        dataset = _reference("dataset", dataset)
        keys, theirs = _names(columns), _names(columns if its_columns is None else its_columns)
        if len(keys) != len(theirs):
            raise InvalidError("its_columns", theirs, f"as many columns as {listed(keys)}")
        name = f"{', '.join(keys)} in {dataset}" + ("" if keys == theirs else f" ({', '.join(theirs)})")
        return _made("in_dataset", name, keys, severity, dataset=dataset, dataset_columns=theirs)

    @staticmethod
    def expression(name: str, formula: str | pl.Expr, *, severity: Severity = "stop") -> Check:
        """An expression is true, or null, in every row: SQL (`"arrived > departed"`) or Polars.

        One of a single value (`"avg(delay) < 60"`) is of the whole table, so that it can't set rows apart.

        Raises:
            InvalidError: it is no expression, or calls a function of Python or of a plugin, which no record can hold.
        """
        text = formula if isinstance(formula, str) else serialised(formula)
        expect_formula(text)
        return _made("expression", name, (), severity, formula=text)

    @staticmethod
    def row_count(at_least: int | None = None, at_most: int | None = None, *, severity: Severity = "stop") -> Check:
        """The table has so many rows."""
        name = _limits("check.row_count()", at_least, at_most, "row")
        return _made("row_count", name, (), severity, low=at_least, high=at_most)

    @staticmethod
    def dtype(column: str, dtype: Any, *, severity: Severity = "stop") -> Check:
        """The column has this type: a Polars type, or its short name (`i64`, `str`, `datetime[us]`)."""
        short = short_type(dtype, column)
        return _made("dtype", f"{column} is {short}", column, severity, dtype=short)

    @staticmethod
    def only_columns(columns: Columns, *, severity: Severity = "stop") -> Check:
        """The table has no columns but these."""
        return _made("only_columns", f"no columns but {_few(_names(columns))}", (), severity, values=_names(columns))

    @staticmethod
    def column_order(columns: Columns, *, severity: Severity = "stop") -> Check:
        """Those of these columns that the table has stand in this order, whatever others stand among them."""
        return _made("column_order", f"columns in order: {_few(_names(columns))}", (), severity, values=_names(columns))

    @staticmethod
    def distinct(column: str, values: Iterable[Any], *, severity: Severity = "stop") -> Check:
        """The values that the column holds are these and no others, each at least once."""
        wanted = _values(values)
        return _made("distinct", f"{column} holds each of [{_few(wanted)}]", column, severity, values=wanted)

    @staticmethod
    def fresh(column: str, within: timedelta, *, severity: Severity = "stop") -> Check:
        """The newest time in the column is at most so long ago, by the domain's clock.

        A date counts as its first instant; times without a zone are UTC. A column without any value fails.
        """
        if within <= timedelta():
            raise InvalidError("within", within, "a span of time, e.g. timedelta(days=2)")
        return _made("fresh", f"{column} within {span(within)}", column, severity, within_s=within.total_seconds())

    @staticmethod
    def compare_previous(
        measure: Measured, column: str = "", *, change: float = 0.0, quantile: float = 0.5,
        against: str | DatasetVersion = "",
        severity: Severity = "stop",
    ) -> Check:  # fmt: skip
        """What is measured differs from the version before, or `against` (one, or `name/3`), by at most `change`.

        `rows`: their count, as a share of the count before. `nulls`: their share in the column, as a difference of
        shares. `mean`, `quantile`: in standard deviations of the version before. `categories`: how many values of the
        column weren't there before, as a share of those that were. Passes where there is no version before.

        Rows that are appended or upserted are compared with all rows of the version before, so that a broken month shows
        as such; only `rows` is then their number as against how many rows the version before had added.
        """
        against = _reference("against", against)
        if measure not in get_args(Measured):
            raise InvalidError("measure", measure, listed(get_args(Measured)))
        if change < 0:
            raise InvalidError("change", change, "0 or more")
        if not 0 <= quantile <= 1:
            raise InvalidError("quantile", quantile, "a number from 0 to 1")
        if (measure == "rows") == bool(column):
            raise InvalidError("column", column, "none for `rows`, and a column's name for anything else")
        what = {"quantile": f"quantile {quantile:g} of {column}", "rows": "rows"}.get(measure, f"{measure} of {column}")
        unit = "standard deviations" if measure in ("mean", "quantile") else ""
        limit = f"{change:g} {unit}" if unit else f"{100 * change:g} %"
        return _made(
            "compare_previous", f"{what} within {limit} of {against or 'the version before'}", column, severity,
            measure=measure, change=change, quantile=quantile, dataset=against,
        )  # fmt: skip


def _reference(path: str, given: str | DatasetVersion) -> str:
    """A version as a check keeps it: by its name."""
    if isinstance(given, str):
        return given
    expect_version(given, path)
    return str(given)


def _made(kind: Kind, name: str, columns: Columns, severity: Severity, **rest: Any) -> Check:
    of_none = kind in ("row_count", "expression", "only_columns", "column_order") or rest.get("measure") == "rows"
    names = _names(columns) if columns or not of_none else ()  # a table may name a column by an empty text
    if not of_none and not names:
        raise InvalidError("columns", columns, "the name of a column")
    return Check(kind=kind, name=name, columns=names, severity=severity, **rest)


def _names(columns: Columns) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(columns)


def _values(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(values) if isinstance(values, set | frozenset) else values)


def _few(values: tuple[Any, ...]) -> str:
    return ", ".join(map(str, values[:6])) + (", …" if len(values) > 6 else "")


def _limits(where: str, at_least: int | None, at_most: int | None, noun: str = "") -> str:
    if at_least is None and at_most is None:
        raise InvalidError(where, "no bound", "`at_least`, `at_most`, or both")
    expect_order(where, at_least, at_most)
    limits = [f"at least {at_least:,}"] if at_least is not None else []
    limits += [f"at most {at_most:,}"] if at_most is not None else []
    last = at_most if at_most is not None else at_least
    return " and ".join(limits) + (f" {noun if last == 1 else noun + 's'}" if noun else "")

"""Checks as records: what must hold of a table. `validate` compiles them into one Polars select.

Nulls pass every check but `not_null`; a NaN is a value, and it is in no range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from mainspring.errors import InvalidError

if TYPE_CHECKING:
    import polars as pl

Severity = Literal["stop", "warn"]
Kind = Literal["not_null", "unique", "between", "is_in", "matches", "row_count", "dtype", "expression"]
Bound = Any  # a number, text, or time that compares with the column


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that must hold. `low`, `high`, `values`, `pattern`, `dtype` and `formula` belong to single kinds.

    A failed check of severity `stop` makes `Report.raise_for_stop` raise; one of `warn` is only reported.
    """

    kind: Kind
    name: str
    columns: tuple[str, ...] = ()
    severity: Severity = "stop"
    low: Bound = None
    high: Bound = None
    values: tuple[Any, ...] = ()
    pattern: str = ""
    dtype: str = ""
    formula: str = ""


class check:  # noqa: N801  # read as `check.not_null("dep_time")`
    """Makes checks.

    >>> check.between("share", 0, 1).name
    'share between 0 and 1'
    """

    @staticmethod
    def not_null(column: str, *, severity: Severity = "stop") -> Check:
        """Every row has a value."""
        return _made("not_null", f"{column} is not null", (column,), severity)

    @staticmethod
    def unique(columns: str | list[str] | tuple[str, ...], *, severity: Severity = "stop") -> Check:
        """No two rows agree in all of these columns; every row that shares its key counts as failing."""
        keys = (columns,) if isinstance(columns, str) else tuple(columns)
        return _made("unique", f"{', '.join(keys)} unique", keys, severity)

    @staticmethod
    def between(column: str, low: Bound = None, high: Bound = None, *, severity: Severity = "stop") -> Check:
        """Every value is at least `low` and at most `high`; a bound may be left out."""
        if low is None and high is None:
            raise InvalidError(f"check.between({column!r})", "no bound", "a lower bound, an upper one, or both")
        limits = f"between {low} and {high}" if low is not None and high is not None else (
            f"at least {low}" if high is None else f"at most {high}"
        )  # fmt: skip
        return _made("between", f"{column} {limits}", (column,), severity, low=low, high=high)

    @staticmethod
    def is_in(column: str, values: Any, *, severity: Severity = "stop") -> Check:
        """Every value is one of these."""
        allowed = tuple(sorted(values) if isinstance(values, set | frozenset) else values)
        shown = ", ".join(map(str, allowed[:6])) + (", …" if len(allowed) > 6 else "")
        return _made("is_in", f"{column} in [{shown}]", (column,), severity, values=allowed)

    @staticmethod
    def matches(column: str, pattern: str, *, severity: Severity = "stop") -> Check:
        """Every text contains a match of a regular expression (Rust's syntax); anchor it with `^` and `$`."""
        return _made("matches", f"{column} matches {pattern}", (column,), severity, pattern=pattern)

    @staticmethod
    def row_count(at_least: int | None = None, at_most: int | None = None, *, severity: Severity = "stop") -> Check:
        """The table has so many rows."""
        if at_least is None and at_most is None:
            raise InvalidError("check.row_count()", "no bound", "`at_least`, `at_most`, or both")
        limits = [f"at least {at_least:,}"] if at_least is not None else []
        limits += [f"at most {at_most:,}"] if at_most is not None else []
        return _made("row_count", f"{' and '.join(limits)} rows", (), severity, low=at_least, high=at_most)

    @staticmethod
    def dtype(column: str, dtype: Any, *, severity: Severity = "stop") -> Check:
        """The column has this type: a Polars type, or its short name (`i64`, `str`, `datetime[us]`)."""
        short = dtype if isinstance(dtype, str) else _short(dtype, column)
        return _made("dtype", f"{column} is {short}", (column,), severity, dtype=short)

    @staticmethod
    def expression(name: str, formula: str | pl.Expr, *, severity: Severity = "stop") -> Check:
        """An expression is true, or null, in every row: SQL (`"arrived > departed"`) or Polars."""
        text = formula if isinstance(formula, str) else formula.meta.serialize(format="json")
        return _made("expression", name, (), severity, formula=text)


def _made(kind: Kind, name: str, columns: tuple[str, ...], severity: Severity, **rest: Any) -> Check:
    if severity not in ("stop", "warn"):
        raise InvalidError("severity", severity, "`stop` or `warn`")
    if kind not in ("row_count", "expression") and (not columns or not all(columns)):
        raise InvalidError("columns", columns, "the name of a column")
    return Check(kind=kind, name=name, columns=columns, severity=severity, **rest)


def _short(dtype: Any, column: str) -> str:
    import polars as pl

    from mainspring.artifacts.table import schema_of

    return schema_of(pl.DataFrame(schema={column: dtype}))[0][1]

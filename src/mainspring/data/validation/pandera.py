"""Schemas of pandera, on Polars or pandas, as ours. What can't be expressed is named in the schema's notes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import polars as pl

from mainspring.artifacts.table import schema_of
from mainspring.data.validation.checks import Check, Closed, check
from mainspring.data.validation.schema import Column, Schema
from mainspring.errors import CodecError, InvalidError, WrongTypeError

_PANDAS_TYPES = {
    "object": "", "str": "str", "string": "str", "string[python]": "str", "string[pyarrow]": "str", "boolean": "bool",
    "bool": "bool", "category": "cat", "datetime64[ns]": "datetime[ns]", "datetime64[us]": "datetime[us]",
    "datetime64[ms]": "datetime[ms]", "timedelta64[ns]": "duration[ns]", "timedelta64[us]": "duration[us]",
    **{f"{sign}int{bits}": f"{sign[:1] or 'i'}{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{f"{sign}Int{bits}": f"{sign[:1].lower() or 'i'}{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **{f"{letter}loat{bits}": f"f{bits}" for letter in "fF" for bits in (32, 64)},
}  # fmt: skip


def schema_from(given: Any, columns: Sequence[str] = ()) -> Schema:
    """A `DataFrameSchema` or `DataFrameModel` as a Schema.

    `columns` are those of the table that it is for, which a column with `regex=True` is matched with. Rows that a check
    counts here are those that pandera lists as failure cases. The notes name parsers, coercion, custom functions and
    whatever else isn't checked.

    Raises:
        WrongTypeError: this is no such schema.
    """
    schema = given.to_schema() if isinstance(given, type) and hasattr(given, "to_schema") else given
    if not hasattr(schema, "columns") or not hasattr(schema, "checks"):
        raise WrongTypeError("schema", given, "a DataFrameSchema or a DataFrameModel of pandera")
    notes = _Notes(type(schema).__module__)
    found = [
        _column(each, column, notes)
        for name, column in schema.columns.items()
        for each in _names(str(name), column, columns, notes)
    ]
    own = [built for one in schema.checks for built in _built("", one, notes)]
    if getattr(schema, "ordered", False):
        own.append(check.column_order([column.name for column in found]))
    own += _unique_keys(schema.unique)
    _note_rest(schema, notes)
    return Schema(
        name=schema.name or "", columns=tuple(found), checks=tuple(own), other_columns=schema.strict is not True,
        notes=tuple(notes.texts),
    )  # fmt: skip


class _Notes:
    """What isn't checked, in words; `origin` is the module of the schema's class."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.texts: list[str] = []

    def add(self, column: str, what: str) -> None:
        self.texts.append(f"{column}: {what}" if column else what)


def _names(name: str, column: Any, columns: Iterable[str], notes: _Notes) -> list[str]:
    """The columns that one of the schema speaks of."""
    if not getattr(column, "regex", False):
        return [name]
    matching = [each for each in columns if re.match(name, each)]
    if not matching:
        notes.add(name, "no column matches this pattern")
    return matching


def _column(name: str, column: Any, notes: _Notes) -> Column:
    checks = [] if column.nullable else [check.not_null(name, nan=False)]
    if column.unique:
        checks.append(check.unique(name, keep=_keep(getattr(column, "report_duplicates", "all"))))
    for one in column.checks:
        checks += _built(name, one, notes)
    if getattr(column, "coerce", False):
        notes.add(name, "coerce: values are taken as they are")
    if getattr(column, "default", None) is not None:
        notes.add(name, "default: missing values stay missing")
    if getattr(column, "parsers", None):
        notes.add(name, "parsers: values are taken as they are")
    if getattr(column, "drop_invalid_rows", False):
        notes.add(name, "drop_invalid_rows: use severity `quarantine`")
    return Column(
        name=name, dtype=_dtype(name, column.dtype, notes), optional=not column.required, checks=tuple(checks)
    )


def _dtype(name: str, dtype: Any, notes: _Notes) -> str:
    """A column type in our words; empty if any will do."""
    if dtype is None:
        return ""
    kind = getattr(dtype, "type", dtype)
    try:
        if isinstance(kind, pl.DataType) or (isinstance(kind, type) and issubclass(kind, pl.DataType)):
            return schema_of(pl.DataFrame(schema={name: kind}))[0][1]
    except (CodecError, pl.exceptions.PolarsError, TypeError):
        notes.add(name, f"type {dtype}")
        return ""
    if str(dtype) not in _PANDAS_TYPES:
        notes.add(name, f"type {dtype}")
    return _PANDAS_TYPES.get(str(dtype), "")


def _built(column: str, one: Any, notes: _Notes) -> list[Check]:
    """A check of pandera's as ours."""
    name, given = str(one.name), dict(one.statistics or {})
    build = _BUILD.get(name)
    if build is None or not column or one.groupby is not None or one.element_wise:
        notes.add(column, f"check {name}: it is a function" if column else f"check {name} of the whole table")
        return []
    if name == "str_matches" and "pandas" in notes.origin:
        given["pattern"] = f"(?:{_text(given['pattern'])})"  # pandera on Polars puts a bare `^` before alternatives
    if not one.ignore_na:
        notes.add(column, f"check {name}: ignore_na=False; nulls pass")
    try:
        built = build(column, given)
    except InvalidError as error:
        notes.add(column, f"check {name}: {error}")
        return []
    return [msgspec.structs.replace(built, severity="warn")] if one.raise_warning else [built]


def _unique_keys(keys: Any) -> list[Check]:
    """Uniqueness of several columns together: one key, or a list of keys."""
    if not keys:
        return []
    if isinstance(keys, str):
        return [check.unique(keys)]
    return (
        [check.unique(list(keys))]
        if all(isinstance(key, str) for key in keys)
        else [check.unique(list(key)) for key in keys]
    )


def _keep(duplicates: str) -> Any:
    return {"exclude_first": "first", "exclude_last": "last"}.get(duplicates, "none")


def _note_rest(schema: Any, notes: _Notes) -> None:
    if schema.strict == "filter":
        notes.add("", "strict='filter': other columns stay")
    if getattr(schema, "index", None) is not None:
        notes.add("", "index: a table has none here")
    if getattr(schema, "coerce", False):
        notes.add("", "coerce: values are taken as they are")
    if getattr(schema, "parsers", None):
        notes.add("", "parsers: values are taken as they are")
    if getattr(schema, "drop_invalid_rows", False):
        notes.add("", "drop_invalid_rows: use severity `quarantine`")
    if getattr(schema, "add_missing_columns", False):
        notes.add("", "add_missing_columns: none is added")
    if getattr(schema, "unique_column_names", False):
        notes.add("", "unique_column_names: a Polars table has no others")


def _between(column: str, low: Any, high: Any, closed: Closed) -> Check:
    # pandera compares as Polars does, in whose order NaN is the largest number.
    return msgspec.structs.replace(check.between(column, low, high, closed=closed), nan="largest")


def _in_range(column: str, given: dict[str, Any]) -> Check:
    low, high = given.get("include_min", True), given.get("include_max", True)
    closed: Closed = "both" if low and high else "left" if low else "right" if high else "none"
    return _between(column, given["min_value"], given["max_value"], closed)


def _text(pattern: Any) -> str:
    return str(getattr(pattern, "pattern", pattern))


def _starting(pattern: str) -> str:
    return pattern if pattern.startswith("^") else f"^{pattern}"


def _length(column: str, given: dict[str, Any]) -> Check:
    exact = given.get("exact_value")
    low, high = (given.get("min_value"), given.get("max_value")) if exact is None else (exact, exact)
    return check.length(column, low, high)


_BUILD: dict[str, Callable[[str, dict[str, Any]], Check]] = {
    "equal_to": lambda column, given: check.is_in(column, [given["value"]]),
    "not_equal_to": lambda column, given: check.not_in(column, [given["value"]]),
    "greater_than": lambda column, given: _between(column, given["min_value"], None, "none"),
    "greater_than_or_equal_to": lambda column, given: _between(column, given["min_value"], None, "both"),
    "less_than": lambda column, given: _between(column, None, given["max_value"], "none"),
    "less_than_or_equal_to": lambda column, given: _between(column, None, given["max_value"], "both"),
    "in_range": _in_range,
    "isin": lambda column, given: check.is_in(column, sorted(given["allowed_values"], key=repr)),
    "notin": lambda column, given: check.not_in(column, sorted(given["forbidden_values"], key=repr)),
    "str_matches": lambda column, given: check.matches(column, _starting(_text(given["pattern"]))),
    "str_contains": lambda column, given: check.matches(column, _text(given["pattern"])),
    "str_startswith": lambda column, given: check.matches(column, "^" + re.escape(given["string"])),
    "str_endswith": lambda column, given: check.matches(column, re.escape(given["string"]) + "$"),
    "str_length": _length,
    "unique_values_eq": lambda column, given: check.distinct(column, sorted(given["values"], key=repr)),
}

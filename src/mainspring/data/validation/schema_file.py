"""Schemas as TOML: `[columns.NAME]` with type and checks by their names, `[[checks]]` for those of several columns."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import msgspec
import tomli_w

from mainspring.data.validation.checks import Check, Kind, check
from mainspring.data.validation.declaration import short_type
from mainspring.data.validation.schema import Column, Schema
from mainspring.errors import InvalidError, MainspringError, NotFoundError, StorageError, close_names

# The keys of a check of each kind in a file, with the fields that they fill. The first may stand for all of them.
_KEYS: dict[str, dict[str, str]] = {
    "not_null": {},
    "unique": {"keep": "keep"},
    "between": {"low": "low", "high": "high", "closed": "closed"},
    "is_in": {"values": "values"},
    "not_in": {"values": "values"},
    "matches": {"pattern": "pattern"},
    "length": {"at_least": "low", "at_most": "high"},
    "decimals": {"at_most": "high"},
    "increasing": {"strictly": "closed"},
    "in_dataset": {"dataset": "dataset", "its_columns": "dataset_columns"},
    "expression": {"formula": "formula", "name": "name"},
    "row_count": {"at_least": "low", "at_most": "high"},
    "dtype": {"dtype": "dtype"},
    "only_columns": {"names": "values"},
    "column_order": {"names": "values"},
    "distinct": {"values": "values"},
    "fresh": {"within_hours": "within_s"},
    "compare_previous": {"measure": "measure", "change": "change", "quantile": "quantile", "against": "dataset"},
}
_ALWAYS = {"severity": "severity", "optional": "optional", "nan": "nan"}
_COLUMN_KEYS = ("type", "nullable", "optional")
_LISTED = ("row_count", "only_columns", "column_order", "dtype", "expression", "compare_previous")
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "low": ((int, float), "a number"), "high": ((int, float), "a number"), "pattern": ((str,), "text"),
    "formula": ((str,), "text"), "name": ((str,), "text"), "values": ((list,), "a list"), "dataset": ((str,), "text"),
    "within_s": ((int, float), "a number of hours"), "change": ((int, float), "a number"),
    "quantile": ((int, float), "a number from 0 to 1"), "optional": ((bool,), "true or false"),
}  # fmt: skip
# Lists as `tomli_w` writes them, an item a line; no text goes over several lines there.
_LISTS = re.compile(r"^(?P<key>\S+) = \[\n(?P<items>(?: {4}[^\s\[{].*,\n)+)\]$", re.MULTILINE)
_LINE_LETTERS = 120
_HEADER = """\
# What this table must be. Edit it: a check is `key = value`, or `key = { …, severity = "stop" | "quarantine" | "warn" }`.
"""


def load_schema(path: Path) -> Schema:
    """Read a schema file; raises as `Schema.load` does."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        hint = "`mainspring data propose DATASET` writes one."
        raise NotFoundError("schema file", str(path), hint=hint) from error
    except OSError as error:
        raise StorageError(str(path), f"it can't be read ({error.strerror or error})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidError(str(path), str(error), "TOML") from error
    return _read(document, path.name)


def schema_text(schema: Schema) -> str:
    """A schema as TOML."""
    document: dict[str, Any] = {"name": schema.name} if schema.name else {}
    document["other_columns"] = schema.other_columns
    document["columns"] = {}
    elsewhere: list[Check] = []
    for column in schema.columns:
        table: dict[str, Any] = {"type": column.dtype} if column.dtype else {}
        table["nullable"] = column.nullable
        if column.optional:
            table["optional"] = True
        for one in column.checks:
            if one.columns != (column.name,) or one.kind in table or one.kind in ("expression", "compare_previous"):
                elsewhere.append(msgspec.structs.replace(one, optional=column.optional))
            else:
                table[one.kind] = _shortest(one)
        document["columns"][column.name] = table
    checks = [_written(one, with_columns=True) for one in (*elsewhere, *schema.checks)]
    if checks:
        document["checks"] = checks
    notes = "".join(f"# Not checked: {' '.join(note.split())}\n" for note in schema.notes)
    return f"{_HEADER}{notes}\n{_LISTS.sub(_on_one_line, tomli_w.dumps(document))}"


def _on_one_line(written: re.Match[str]) -> str:
    """A list of plain values in one line, if there is room for it."""
    items = (line.strip().removesuffix(",") for line in written["items"].removesuffix("\n").split("\n"))
    line = f"{written['key']} = [{', '.join(items)}]"
    return line if len(line) <= _LINE_LETTERS else written[0]


def _shortest(one: Check) -> Any:
    """A check behind its key: the value alone where that says all."""
    written = _written(one, with_columns=False)
    keys = list(_KEYS[one.kind])
    if not written:
        return True
    if one.kind == "between" and written.keys() == {"low", "high"}:
        return [written["low"], written["high"]]
    return written[keys[0]] if list(written) == keys[:1] and one.kind != "between" else written


def _written(one: Check, *, with_columns: bool) -> dict[str, Any]:
    fresh = Check(kind=one.kind, name="")
    found: dict[str, Any] = {}
    if with_columns:
        found["check"] = one.kind
        if one.columns:
            found["columns"] = list(one.columns)
    for key, field in (_KEYS[one.kind] | _ALWAYS).items():
        value = getattr(one, field)
        if value == getattr(fresh, field):
            continue
        if key == "strictly":
            value = True
        elif key == "within_hours":
            value = value / 3600
        elif key == "its_columns" and value == one.columns:
            continue
        found[key] = list(value) if isinstance(value, tuple) else value
    return found


def _read(document: dict[str, Any], where: str) -> Schema:
    _expect_keys(document, ("name", "other_columns", "columns", "checks"), where)
    columns, checks = document.get("columns", {}), document.get("checks", [])
    if not isinstance(columns, dict):
        raise InvalidError(f"{where} columns", columns, "tables such as `[columns.NAME]`")
    if not isinstance(checks, list):
        raise InvalidError(f"{where} checks", checks, "tables such as `[[checks]]`")
    return Schema(
        name=_typed(document, "name", str, "", where),
        columns=tuple(_column(name, table, f"{where} [columns.{name}]") for name, table in columns.items()),
        checks=tuple(_listed_check(table, f"{where} [[checks]] {at}") for at, table in enumerate(checks, 1)),
        other_columns=_typed(document, "other_columns", bool, True, where),
    )


def _column(name: str, table: Any, where: str) -> Column:
    if not isinstance(table, dict):
        raise InvalidError(where, table, "a table of keys, e.g. `type` and `nullable`")
    _expect_keys(table, [*_COLUMN_KEYS, *(kind for kind in _KEYS if kind not in _LISTED)], where)
    checks = []
    for kind, value in table.items():
        if kind in _COLUMN_KEYS or value is False:
            continue
        checks.append(_check(kind, (name,), _arguments(kind, value, f"{where} {kind}"), f"{where} {kind}"))
    return Column(
        name=name, dtype=_type(table, where), nullable=_typed(table, "nullable", bool, True, where),
        optional=_typed(table, "optional", bool, False, where), checks=tuple(checks),
    )  # fmt: skip


def _type(table: dict[str, Any], where: str) -> str:
    name: str = _typed(table, "type", str, "", where)
    try:
        return short_type(name, "type") if name else ""
    except InvalidError as error:
        raise error.at(f"{where} type") from error


def _arguments(kind: str, value: Any, where: str) -> dict[str, Any]:
    """The keys of a check, from whichever form it is written in."""
    if value is True:
        return {}
    if isinstance(value, dict):
        return value
    if kind == "between":
        if not isinstance(value, list) or len(value) != 2:
            raise InvalidError(where, value, "two bounds `[low, high]`, or `{ low = … }`")
        return {"low": value[0], "high": value[1]}
    if not _KEYS[kind]:
        raise InvalidError(where, value, "true, false, or a table of keys")
    return {next(iter(_KEYS[kind])): value}


def _listed_check(table: Any, where: str) -> Check:
    kinds = get_args(Kind)
    if not isinstance(table, dict) or table.get("check") not in kinds:
        given = table.get("check", "") if isinstance(table, dict) else table
        near = ", ".join(close_names(str(given), kinds))
        hint = f"Nearest: {near}." if near else f"Kinds: {', '.join(kinds)}."
        raise InvalidError(f"{where} check", given, "a kind of check", hint)
    columns = table.get("columns", [])
    columns = [columns] if isinstance(columns, str) else columns
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise InvalidError(f"{where} columns", columns, "a list of names")
    rest = {key: value for key, value in table.items() if key not in ("check", "columns")}
    return _check(table["check"], tuple(columns), rest, where)


def _check(kind: str, columns: tuple[str, ...], given: dict[str, Any], where: str) -> Check:
    _expect_keys(given, [*_KEYS[kind], *_ALWAYS], where)
    fields = _KEYS[kind] | _ALWAYS
    for key, value in given.items():
        types, words = _TYPES.get(fields[key], ((object,), ""))
        if kind != "between" and not isinstance(value, types):
            raise InvalidError(f"{where} {key}", value, words)
    rest = {key: given[key] for key in ("optional", "nan") if key in given}
    arguments = {key: value for key, value in given.items() if key not in rest}
    try:
        return msgspec.structs.replace(_FACTORIES[kind](columns, arguments), **rest)
    except InvalidError as error:
        raise error.at(f"{where} {error.path}" if error.path in given else where) from error
    except (TypeError, KeyError, IndexError) as error:
        if isinstance(error, MainspringError):
            raise
        wanted = ", ".join(f"`{key}`" for key in _KEYS[kind]) or "a column"
        raise InvalidError(where, given, f"complete: `{kind}` takes {wanted}") from error


def _expect_keys(given: dict[str, Any], known: Iterable[str], where: str) -> None:
    known = list(known)
    for key in given:
        if key not in known:
            near = close_names(key, known)
            hint = f"Nearest: {', '.join(near)}." if near else f"Known: {', '.join(known)}."
            raise InvalidError(where, key, "a key that is known here", hint)


def _typed(table: dict[str, Any], key: str, kind: type, default: Any, where: str) -> Any:
    value = table.get(key, default)
    if not isinstance(value, kind):
        raise InvalidError(f"{where} {key}", value, "true or false" if kind is bool else "text")
    return value


def _of_one(name: str) -> Callable[[tuple[str, ...], dict[str, Any]], Check]:
    return lambda columns, given: getattr(check, name)(columns[0], **given)


_FACTORIES: dict[str, Callable[[tuple[str, ...], dict[str, Any]], Check]] = {
    **{kind: _of_one(kind) for kind in (
        "not_null", "between", "is_in", "not_in", "matches", "length", "decimals", "increasing", "dtype",
        "distinct",
    )},
    "unique": lambda columns, given: check.unique(columns, **given),
    "in_dataset": lambda columns, given: check.in_dataset(columns, **given),
    "expression": lambda _, given: check.expression(**{"name": given["formula"], **given}),
    "row_count": lambda _, given: check.row_count(**given),
    "only_columns": lambda _, given: check.only_columns(given.pop("names"), **given),
    "column_order": lambda _, given: check.column_order(given.pop("names"), **given),
    "fresh": lambda columns, given: check.fresh(columns[0], timedelta(hours=given.pop("within_hours")), **given),
    "compare_previous": lambda columns, given: check.compare_previous(
        given.pop("measure"), columns[0] if columns else "", **given
    ),
}  # fmt: skip

"""Schemas of dataframely as ours: types, nulls and keys as such, every other rule as the expression that it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from mainspring.artifacts.table import schema_of
from mainspring.data.validation.checks import Check, check
from mainspring.data.validation.schema import Column, Schema
from mainspring.errors import CodecError, InvalidError, WrongTypeError

_OURS = ("nullability", "unique")  # the rules that have checks of their own


def schema_from(given: Any, columns: Sequence[str] = ()) -> Schema:  # noqa: ARG001  # the signature of every adapter
    """A class of dataframely's `Schema` as a Schema; a row fails a check where it fails the rule.

    Raises:
        WrongTypeError: this is no such class.
    """
    if not (isinstance(given, type) and hasattr(given, "columns") and hasattr(given, "primary_key")):
        raise WrongTypeError("schema", given, "a Schema class of dataframely")
    notes: list[str] = []
    found = [_column(name, column, notes) for name, column in given.columns().items()]
    checks = _rules(given, notes)
    if given.primary_key():
        checks.insert(0, check.unique(given.primary_key()))
    return Schema(name=given.__name__, columns=tuple(found), checks=tuple(checks), notes=tuple(notes))


def _column(name: str, column: Any, notes: list[str]) -> Column:
    checks = [check.unique(name)] if getattr(column, "unique", False) else []
    for rule, expression in column.validation_rules(pl.col(name)).items():
        if rule not in _OURS:
            checks += _expression(f"{name} {rule}", expression, notes)
    try:
        dtype = schema_of(pl.DataFrame(schema={name: column.dtype}))[0][1]
    except (CodecError, pl.exceptions.PolarsError, TypeError):
        notes.append(f"{name}: type {column.dtype}")
        dtype = ""
    return Column(name=name, dtype=dtype, nullable=bool(column.nullable), checks=tuple(checks))


def _rules(given: Any, notes: list[str]) -> list[Check]:
    """The rules over several columns; those of groups say `over` in their expression."""
    checks: list[Check] = []
    for name, rule in given._schema_validation_rules().items():
        if name != "primary_key":
            checks += _expression(name, rule.expr, notes)
    return checks


def _expression(name: str, expression: pl.Expr, notes: list[str]) -> list[Check]:
    try:
        return [check.expression(name, expression)]
    except (pl.exceptions.PolarsError, InvalidError):
        notes.append(f"{name}: it calls a function of Python")
        return []

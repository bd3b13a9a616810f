"""What people hand in as checks: Checks, a Schema, or a schema of another library, as Checks and what they leave out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

from mainspring.data.validation.checks import Check
from mainspring.data.validation.schema import Schema
from mainspring.errors import WrongTypeError

# The distribution whose schemas they are, and the adapter that reads them.
_ADAPTERS = {"pandera": "mainspring.data.validation.pandera", "dataframely": "mainspring.data.validation.dataframely"}


def declared(checks: Any, columns: Iterable[str] = ()) -> tuple[list[Check], tuple[str, ...]]:
    """The checks, and in words what of a schema can't be checked; `columns` are those of the table.

    Raises:
        WrongTypeError: these are no checks.
    """
    if isinstance(checks, Schema):
        return checks.all_checks(), checks.notes
    origin = _origin(checks)
    if origin in _ADAPTERS:
        schema: Schema = import_module(_ADAPTERS[origin]).schema_from(checks, list(columns))
        return schema.all_checks(), schema.notes
    if not isinstance(checks, Iterable):
        raise WrongTypeError("checks", checks, "checks, a Schema, or a schema of pandera or dataframely")
    wanted: list[Check] = []
    notes: list[str] = []
    for one in checks:
        if isinstance(one, Check):
            wanted.append(one)
        elif isinstance(one, Schema) or _origin(one) in _ADAPTERS:
            more, left_out = declared(one, columns)
            wanted += more
            notes += left_out
        else:
            raise WrongTypeError("checks", one, "a Check, e.g. check.not_null('column')")
    return wanted, tuple(notes)


def _origin(value: object) -> str:
    """The distribution that a class, or an object's class, comes from; of a subclass, that of its bases."""
    if isinstance(value, Check | str | Sequence):
        return ""
    classes = value.__mro__ if isinstance(value, type) else type(value).__mro__
    return next((root for each in classes if (root := each.__module__.partition(".")[0]) in _ADAPTERS), "")

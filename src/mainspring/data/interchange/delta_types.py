"""Which types a Delta table has, how its schema names them, and what becomes of those that it lacks."""

from __future__ import annotations

from typing import Any

import polars as pl

from mainspring.errors import InvalidError

_NAMES = {
    pl.Int8: "byte", pl.Int16: "short", pl.Int32: "integer", pl.Int64: "long", pl.Float32: "float", pl.Float64: "double",
    pl.Boolean: "boolean", pl.String: "string", pl.Binary: "binary", pl.Date: "date",
}  # fmt: skip
# Delta has no unsigned integers. Its `byte` is signed, so 200 needs the next wider type.
_WIDER = {pl.UInt8: pl.Int16, pl.UInt16: pl.Int32, pl.UInt32: pl.Int64, pl.UInt64: pl.Int64}


def as_delta(frame: pl.LazyFrame, subject: str) -> tuple[pl.LazyFrame, tuple[tuple[str, str], ...]]:
    """A frame in types that Delta has, and the columns that were cast, each with its new type.

    Wider integers for unsigned ones, text for categories, lists for arrays, microseconds and UTC for other instants.

    Raises:
        InvalidError: a column has a type that Delta has nothing for, or a value that the type there can't hold.
    """
    schema = frame.collect_schema()
    if not schema:
        raise InvalidError(subject, "no columns", "a table that Delta can hold")
    targets = {name: _target(dtype, f"{subject}.{name}") for name, dtype in schema.items()}
    cast = {name: dtype for name, dtype in targets.items() if dtype != schema[name]}
    for name, dtype in cast.items():
        _check_values(frame, name, schema[name], dtype, subject)
    return frame.with_columns(pl.col(name).cast(dtype) for name, dtype in cast.items()) if cast else frame, tuple(
        (name, str(dtype)) for name, dtype in cast.items()
    )


def delta_schema(schema: pl.Schema) -> dict[str, Any]:
    """A schema of types that Delta has, as its protocol writes it (Delta transaction protocol, "Schema Serialization Format").

    >>> delta_schema(pl.Schema({"n": pl.Int16}))["fields"]
    [{'name': 'n', 'type': 'short', 'nullable': True, 'metadata': {}}]
    """
    fields = [{"name": name, "type": _named(dtype), "nullable": True, "metadata": {}} for name, dtype in schema.items()]
    return {"type": "struct", "fields": fields}


def _named(dtype: Any) -> Any:
    if isinstance(dtype, pl.Struct):
        return delta_schema(pl.Schema({field.name: field.dtype for field in dtype.fields}))
    if isinstance(dtype, pl.List):
        return {"type": "array", "elementType": _named(dtype.inner), "containsNull": True}
    if isinstance(dtype, pl.Datetime):
        return "timestamp" if dtype.time_zone else "timestamp_ntz"
    if isinstance(dtype, pl.Decimal):
        return f"decimal({dtype.precision},{dtype.scale})"
    return _NAMES[dtype.base_type()]


def _target(dtype: Any, subject: str) -> Any:
    base = dtype.base_type()
    if base in _NAMES or base == pl.Decimal:
        return dtype
    if base in _WIDER:
        return _WIDER[base]()
    if base in (pl.Categorical, pl.Enum):
        return pl.String()
    if base == pl.Datetime:
        return pl.Datetime("us", "UTC" if dtype.time_zone else None)
    if base in (pl.List, pl.Array):
        return pl.List(_target(dtype.inner, subject))
    if base == pl.Struct:
        return pl.Struct({field.name: _target(field.dtype, f"{subject}.{field.name}") for field in dtype.fields})
    raise InvalidError(
        subject, str(dtype), "a type that Delta Lake has", "Cast the column, e.g. to text, and commit it."
    )


def _check_values(frame: pl.LazyFrame, name: str, dtype: Any, target: Any, subject: str) -> None:
    """Refuse what a cast would change or can't do, before anything is written."""
    if not _may_lose(dtype):
        return
    column = pl.col(name)
    try:
        changed = frame.select((column.cast(target).cast(dtype).ne_missing(column)).any()).collect().item()
    except pl.exceptions.PolarsError:
        changed = True
    if changed:
        raise InvalidError(
            f"{subject}.{name}", str(dtype), f"a column whose values fit `{target}`", "Cast it first, and commit it."
        )


def _may_lose(dtype: Any) -> bool:
    if isinstance(dtype, pl.List | pl.Array):
        return _may_lose(dtype.inner)
    if isinstance(dtype, pl.Struct):
        return any(_may_lose(field.dtype) for field in dtype.fields)
    return dtype == pl.UInt64 or (isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns")

"""Column types by their names: the words in which schemas are shown, read as types, so that they can be declared, too."""

from __future__ import annotations

import json
import re
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from mainspring.artifacts.table import schema_of
from mainspring.errors import InvalidError, close_names

_PLAIN: dict[str, pl.DataType] = {
    "str": pl.String(), "bool": pl.Boolean(), "i8": pl.Int8(), "i16": pl.Int16(), "i32": pl.Int32(), "i64": pl.Int64(),
    "i128": pl.Int128(), "u8": pl.UInt8(), "u16": pl.UInt16(), "u32": pl.UInt32(), "u64": pl.UInt64(),
    "f32": pl.Float32(), "f64": pl.Float64(), "date": pl.Date(), "time": pl.Time(), "datetime": pl.Datetime("us"),
    "duration": pl.Duration("us"), "bin": pl.Binary(), "binary": pl.Binary(), "cat": pl.Categorical(), "null": pl.Null(),
} | {short: getattr(pl, name)() for name, short in (("UInt128", "u128"), ("Float16", "f16")) if hasattr(pl, name)}  # fmt: skip
_EXAMPLES = ("decimal[10, 2]", "datetime[us, UTC]", "duration[us]", "list[i64]")
_UNITS = ("ns", "us", "ms")


def named_type(name: str, path: str) -> pl.DataType:
    """The type of a name, as datasets show it (`decimal[38, 2]`) or in short (`datetime[UTC]`); `path` is for the error.

    Raises:
        InvalidError: no type is called so.

    >>> named_type("decimal[10,2]", "types.price"), named_type('list[struct{"a": i64}]', "types.trips")
    (Decimal(precision=10, scale=2), List(Struct({'a': Int64})))
    """
    try:
        return _read(name.strip())
    except (ValueError, TypeError, KeyError, OverflowError, pl.exceptions.PolarsError) as error:
        near = close_names(name, [*_PLAIN, *_EXAMPLES])
        hint = (
            f"Nearest: {', '.join(near)}."
            if near
            else f"There are {', '.join(_PLAIN)}, and such as {', '.join(_EXAMPLES)}."
        )
        raise InvalidError(path, name, "the name of a column's type", hint) from error


def name_of_type(dtype: pl.DataType) -> str:
    """The name of a type: what `named_type` reads.

    >>> name_of_type(pl.List(pl.Struct({"a": pl.Int64()})))
    'list[struct{"a": i64}]'
    """
    return schema_of(pl.DataFrame(schema={"v": dtype}))[0][1]


def _read(name: str) -> pl.DataType:
    if name in _PLAIN:
        return _PLAIN[name]
    if name.startswith("struct{") and name.endswith("}"):
        return pl.Struct(_fields(name[7:-1]))
    match = re.fullmatch(r"([a-z]+)\[(.*)\]", name, re.DOTALL)
    if match is None:
        raise ValueError(name)
    kind, inner = match.groups()
    if kind == "list":
        return pl.List(_read(inner.strip()))
    if kind == "array":
        item, _, size = inner.rpartition(",")
        return pl.Array(_read(item.strip()), int(size))
    if kind == "enum":
        return pl.Enum(json.loads(f"[{inner}]"))
    if kind == "cat":
        label, namespace, physical = json.loads(f"[{inner}]")
        return pl.Categorical(pl.Categories(label, namespace, _PLAIN[physical]))
    return _measured(kind, [part.strip() for part in inner.split(",")])


def _measured(kind: str, parts: list[str]) -> pl.DataType:
    """A type of numbers or times with what stands in its brackets."""
    if kind == "decimal":
        precision, scale = map(int, parts)
        if not 0 <= scale <= precision <= 38 or not precision:
            raise ValueError(parts)
        return pl.Decimal(precision, scale)
    unit: Any = parts.pop(0) if parts[0] in _UNITS else "us"
    if kind == "duration" and not parts:
        return pl.Duration(unit)
    if kind != "datetime" or len(parts) > 1:
        raise ValueError(kind)
    return pl.Datetime(unit, ZoneInfo(parts[0]).key if parts else None)


def _fields(text: str) -> dict[str, pl.DataType]:
    """The fields of a struct, whose names are JSON."""
    fields: dict[str, pl.DataType] = {}
    while text := text.strip():
        name, end = json.JSONDecoder().raw_decode(text)
        text = text[end:].strip().removeprefix(":")
        at = _end_of_type(text)
        fields[name] = _read(text[:at].strip())
        text = text[at + 1 :]
    return fields


def _end_of_type(text: str) -> int:
    """Where the comma is that ends a type at the beginning of a text; its length if none does."""
    depth = 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[\]{},]', text):
        sign = match.group()
        if sign == "," and not depth:
            return match.start()
        depth += (sign in "[{") - (sign in "]}")
    return len(text)

"""What a model takes and gives: columns with types, and the check of one value.

The null rule: a column takes null (and NaN, which is the same here) exactly if it had one in the table the signature was
inferred from. A whole number passes for a float; nothing else is converted.
"""

from __future__ import annotations

import math
import re
import sys
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal
from uuid import UUID

import msgspec

from mainspring.clock import duration_of
from mainspring.errors import article, close_names, counted, shorten
from mainspring.foreign import read_foreign

OutputKind = Literal["number", "label", "probability", "probabilities"]
Columns = dict[str, Sequence[Any]]
INTEGERS = {f"{sign}{bits}": (bits, sign == "i") for sign in "iu" for bits in (8, 16, 32, 64, 128)}
FLOATS = {"f16": 65504.0, "f32": (2 - 2**-23) * 2.0**127, "f64": sys.float_info.max}  # the largest of each
_PARSED: dict[str, tuple[type, Callable[[str], Any]]] = {
    "uuid": (UUID, UUID), "bin": (bytes, lambda text: b64decode(text, validate=True)), "time": (time, time.fromisoformat),
    "duration": (timedelta, duration_of),
}  # fmt: skip


_LISTS = re.compile(r"(?:list\[(.+)\]|array\[(.+),\s*(\d+)\])", re.DOTALL)
_DECIMAL = re.compile(r"decimal\[(\d+),\s*(\d+)\]")
_WIDEST = {"ns": timedelta(microseconds=((1 << 63) - 1) // 1_000), "us": timedelta(microseconds=(1 << 63) - 1)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZONED = re.compile(r"\[(?![nmu]s\]|[nmu]s,\s*None\])")


class Problem(msgspec.Struct, frozen=True):
    """What is wrong at one place of a request: a path such as `[3].dep_delay`, and a sentence."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class Field(msgspec.Struct, frozen=True):
    """A column: its name, its type in the words of table digests (`i64`, `f64`, `str`, …), and whether it takes null."""

    name: str
    dtype: str
    nullable: bool = False

    @property
    def expects(self) -> str:
        """What a value of it is, for people."""
        if self.dtype in INTEGERS:
            return "a whole number"
        if self.dtype in FLOATS:
            return "a number"
        if self.dtype == "bool":
            return "true or false"
        if self.dtype == "date" or self.dtype.startswith("datetime"):
            return "a date" if self.dtype == "date" else "a time (ISO 8601)"
        if self.fields is not None:
            return f"an object of {', '.join(f'`{each.name}`: {each.expects}' for each in self.fields.values())}"
        if self.item is not None:
            return f"a list{'' if self.size is None else f' of {self.size:,}'}, each {self.item.expects}"
        if self.dtype.startswith("decimal"):
            return "a decimal (text or number)"
        return _EXPECTED.get(self.dtype.partition("[")[0], "text")

    @property
    def item(self) -> Field | None:
        """What a list or array holds, also null; None of what is neither."""
        found = _LISTS.fullmatch(self.dtype)
        return Field(self.name, (found[1] or found[2]).strip(), nullable=True) if found else None

    @property
    def size(self) -> int | None:
        """How many items an array has; None of what is none."""
        found = _LISTS.fullmatch(self.dtype)
        return int(found[3]) if found and found[3] else None

    @property
    def fields(self) -> dict[str, Field] | None:
        """The fields of a struct, each of which may be null; None of what is none."""
        return _fields_of(self.dtype) if self.dtype.startswith("struct{") else None

    @property
    def sample(self) -> Any:
        """A value that it takes, as JSON has it.

        >>> [Field("x", dtype).sample for dtype in ("i8", "f64", "datetime[us, UTC]", 'enum["a", "b"]', "array[f32, 3]")]
        [0, 0.0, '2000-01-01T00:00:00Z', 'a', [0.0, 0.0, 0.0]]
        """
        if self.dtype.startswith("enum"):
            return next(iter(msgspec.json.decode(self.dtype.removeprefix("enum"))), None)
        if self.dtype.startswith("datetime"):
            return "2000-01-01T00:00:00Z" if _ZONED.search(self.dtype) else "2000-01-01T00:00:00"
        if self.dtype in INTEGERS:
            return 0
        if self.dtype in FLOATS:
            return 0.0
        if self.fields is not None:
            return {name: each.sample for name, each in self.fields.items()}
        if self.item is not None:
            return [self.item.sample] * (2 if self.size is None else self.size)
        return _SAMPLES.get(self.dtype.partition("[")[0], "text")

    def check(self, value: Any) -> tuple[Any, str]:
        """A value as the model gets it, and what is wrong with it (nothing: an empty text)."""
        if value is None or (type(value) is float and math.isnan(value)):
            return None, "" if self.nullable else f"null, expected {self.expects}"
        if self.dtype == "bool":
            return value, "" if type(value) is bool else self._wrong(value)
        if self.dtype in FLOATS:
            return self._float(value)
        if self.dtype in INTEGERS:
            return self._integer(value)
        if self.dtype == "date" or self.dtype.startswith("datetime"):
            return self._time(value)
        if self.dtype.partition("[")[0] in _PARSED:
            return self._parsed(value)
        if _LISTS.fullmatch(self.dtype) or self.dtype.startswith("struct{"):
            return self._composed(value)
        if self.dtype.startswith("decimal"):
            return self._decimal(value)
        if self.dtype.startswith("enum") and isinstance(value, str):
            known = msgspec.json.decode(self.dtype.removeprefix("enum"))
            if value in known:
                return value, ""
            near = close_names(value, known)
            return None, f'"{shorten(value, 40)}" is none of its categories{f", nearest: {near[0]}" if near else ""}'
        return value, "" if isinstance(value, str) else self._wrong(value)

    def _float(self, value: Any) -> tuple[Any, str]:
        if type(value) not in (int, float):
            return None, self._wrong(value)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            return number, f"{shorten(str(value), 40)} is not a finite number"
        fits = abs(number) <= FLOATS[self.dtype]
        return number, "" if fits else f"{shorten(str(value), 40)} does not fit {self.dtype}"

    def _integer(self, value: Any) -> tuple[Any, str]:
        if type(value) is not int:
            return None, self._wrong(value)
        bits, signed = INTEGERS[self.dtype]
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        return value, "" if low <= value <= high else f"{shorten(str(value), 40)} does not fit {self.dtype}"

    def _time(self, value: Any) -> tuple[Any, str]:
        kind = date if self.dtype == "date" else datetime
        try:
            found = value if type(value) is kind else kind.fromisoformat(value)
        except (TypeError, ValueError):
            return None, self._wrong(value)
        if not isinstance(found, datetime):
            return found, ""
        try:
            known = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        except OverflowError:  # before the year 1, or after 9999, where only its zone has it
            return None, f"{shorten(str(value), 40)} is in no year from 1 to 9999 in UTC"
        kept = known if _ZONED.search(self.dtype) else known.replace(tzinfo=None)
        return kept, self._too_far(value, known - _EPOCH)

    def _parsed(self, value: Any) -> tuple[Any, str]:
        kind, parse = _PARSED[self.dtype.partition("[")[0]]
        try:
            found = value if isinstance(value, kind) else parse(value)
        except (TypeError, ValueError, AttributeError):
            return None, self._wrong(value)
        if isinstance(found, timedelta):
            return found, self._too_far(value, found)
        if isinstance(found, time) and found.tzinfo is not None:
            if found.utcoffset() != timedelta(0):
                said = f"{shorten(value, 40)} has a zone, expected {self.expects} without one, or in UTC (`Z`)"
                return None, said
            found = found.replace(tzinfo=None)
        return found, ""

    def _too_far(self, value: Any, span: timedelta) -> str:
        """What is wrong with an instant or a duration that integers of the type's unit can't count; nothing: an empty text."""
        widest = _WIDEST.get(self.dtype.partition("[")[2][:2], timedelta.max)
        return "" if abs(span) <= widest else f"{shorten(str(value), 40)} does not fit {self.dtype}"

    def _decimal(self, value: Any) -> tuple[Any, str]:
        if type(value) not in (Decimal, int, float, str):
            return None, self._wrong(value)
        try:
            number = Decimal(str(value))
        except ArithmeticError:
            return None, self._wrong(value)
        if not number.is_finite():
            return None, self._wrong(value)
        told = _DECIMAL.fullmatch(self.dtype)
        digits, scale = (int(told[1]), int(told[2])) if told else (38, 0)
        exponent = int(number.normalize().as_tuple().exponent)
        fits = not number or (-exponent <= scale and number.adjusted() < digits - scale)
        return number, "" if fits else f"{shorten(str(value), 40)} does not fit {self.dtype}"

    def _composed(self, value: Any) -> tuple[Any, str]:
        """A list, an array or a struct, part by part; where a protocol has nothing but texts, of its JSON."""
        if isinstance(value, str | bytes):
            try:
                value = read_foreign(value)
            except ValueError:
                return None, self._wrong(value)
        if (fields := self.fields) is not None:
            return self._struct(value, fields)
        item = self.item
        assert item is not None
        given = value.tolist() if hasattr(value, "tolist") else value.to_list() if hasattr(value, "to_list") else value
        if not isinstance(given, list | tuple):
            return None, self._wrong(value)
        if self.size not in (None, len(given)):
            return None, f"it has {counted(len(given), 'item')}, expected {self.expects}"
        if item.dtype in FLOATS and {*map(type, given)} <= {float}:  # an embedding, seen whole
            most = max(map(abs, given), default=0.0)
            if most <= FLOATS[item.dtype] and math.isfinite(sum(given)):
                return list(given), ""
        found = []
        for place, each in enumerate(given):
            made, wrong = item.check(each)
            if wrong:
                return None, f"item {place:,}: {wrong}"
            found.append(made)
        return found, ""

    def _struct(self, value: Any, fields: Mapping[str, Field]) -> tuple[Any, str]:
        if not isinstance(value, dict) or not value.keys() <= fields.keys():
            return None, self._wrong(value)
        found = {}
        for name, field in fields.items():
            found[name], wrong = field.check(value.get(name))
            if wrong:
                return None, f"`{name}`: {wrong}"
        return found, ""

    def _wrong(self, value: Any) -> str:
        if isinstance(value, str):
            shown = value if value.isprintable() and len(value) <= 40 else shorten(value, 40)
            return f'"{shown}" is a str, expected {self.expects}'
        return f"{shorten(value, 40)} is {article(type(value).__name__)}, expected {self.expects}"


_EXPECTED = {
    "uuid": "a UUID", "bin": "bytes (base64)", "time": "a time of day (ISO 8601)", "duration": "a duration (ISO 8601)",
}  # fmt: skip
_SAMPLES = {
    "bool": False, "date": "2000-01-01", "uuid": str(UUID(int=0)), "bin": "", "decimal": "0", "time": "00:00:00",
    "duration": "PT0S",
}  # fmt: skip


@lru_cache(maxsize=256)
def _fields_of(dtype: str) -> dict[str, Field]:
    from mainspring.data.tables.nested import fields_of
    from mainspring.data.tables.type_names import name_of_type, named_type

    known = fields_of(named_type(dtype, "signature"))
    return {name: Field(name, name_of_type(kind), nullable=True) for name, kind in known.items()}


class Output(msgspec.Struct, frozen=True):
    """What a prediction is: a number; a label; the probability of `classes[1]`; or one for each of the classes."""

    kind: OutputKind
    classes: tuple[str | int | float | bool, ...] = ()


class Signature(msgspec.Struct, frozen=True):
    """The columns that a model takes, in order, and what it gives for each record."""

    inputs: tuple[Field, ...]
    output: Output = Output("number")

    @classmethod
    def infer(cls, frame: Any, *, output: Output | None = None) -> Signature:
        """From a table as the model was fitted with: a column with a null or NaN in it takes null.

        >>> import polars as pl
        >>> Signature.infer(pl.DataFrame({"delay": [1.5, None], "carrier": ["UA", "AA"]})).inputs[0]
        Field(name='delay', dtype='f64', nullable=True)
        """
        from mainspring.artifacts.table import schema_of
        from mainspring.data import as_polars

        table = as_polars(frame, drop_index=True)
        fields = []
        for (name, dtype), series in zip(schema_of(table), table.get_columns(), strict=True):
            nan = dtype in FLOATS and bool(series.is_nan().any())
            fields.append(Field(name, dtype, bool(series.null_count()) or nan))
        return cls(tuple(fields), output or Output("number"))


def plain(values: Any) -> Sequence[Any]:
    """A column's values as Python's own, if they are NumPy's."""
    own: Sequence[Any] = values.tolist() if hasattr(values, "tolist") else values
    return own

"""What a model takes and gives: columns with types, and the check of one value.

The null rule: a column takes null (and NaN, which is the same here) exactly if it had one in the table the signature was
inferred from. A whole number passes for a float; nothing else is converted.
"""

from __future__ import annotations

import math
import re
import sys
from base64 import b64decode
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from mainspring.errors import article, close_names, shorten

OutputKind = Literal["number", "label", "probability", "probabilities"]
Columns = dict[str, Sequence[Any]]
INTEGERS = {f"{sign}{bits}": (bits, sign == "i") for sign in "iu" for bits in (8, 16, 32, 64, 128)}
FLOATS = {"f32": (2 - 2**-23) * 2.0**127, "f64": sys.float_info.max}  # the largest of each
_PARSED: dict[str, tuple[type, Callable[[str], Any]]] = {
    "uuid": (UUID, UUID), "bin": (bytes, lambda text: b64decode(text, validate=True)),
}  # fmt: skip


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
        return {"uuid": "a UUID", "bin": "bytes (base64)"}.get(self.dtype, "text")

    @property
    def sample(self) -> Any:
        """A value that it takes, as JSON has it.

        >>> [Field("x", dtype).sample for dtype in ("i8", "f64", "date", "datetime[us, UTC]", 'enum["a", "b"]')]
        [0, 0.0, '2000-01-01', '2000-01-01T00:00:00Z', 'a']
        """
        if self.dtype.startswith("enum"):
            return next(iter(msgspec.json.decode(self.dtype.removeprefix("enum"))), None)
        if self.dtype.startswith("datetime"):
            return "2000-01-01T00:00:00Z" if _ZONED.search(self.dtype) else "2000-01-01T00:00:00"
        if self.dtype in INTEGERS:
            return 0
        if self.dtype in FLOATS:
            return 0.0
        return {"bool": False, "date": "2000-01-01", "uuid": str(UUID(int=0)), "bin": ""}.get(self.dtype, "text")

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
        if self.dtype in _PARSED:
            return self._parsed(value)
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
        if type(value) is kind:
            return value, ""
        try:
            return kind.fromisoformat(value), ""
        except (TypeError, ValueError):
            return None, self._wrong(value)

    def _parsed(self, value: Any) -> tuple[Any, str]:
        kind, parse = _PARSED[self.dtype]
        if isinstance(value, kind):
            return value, ""
        try:
            return parse(value), ""
        except (TypeError, ValueError, AttributeError):
            return None, self._wrong(value)

    def _wrong(self, value: Any) -> str:
        if isinstance(value, str):
            return f'"{shorten(value, 40)}" is a str, expected {self.expects}'
        return f"{shorten(value, 40)} is {article(type(value).__name__)}, expected {self.expects}"


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

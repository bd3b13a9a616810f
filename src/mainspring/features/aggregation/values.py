"""The values that aggregates take: a column's type, and its values as the plain ones that folds and stored tiles hold.

Dates are days, times and durations microseconds, decimals unscaled integers; −0.0 is 0.0 and every NaN the same one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any, Literal

import msgspec

from mainspring.errors import InvalidError, WrongTypeError

Family = Literal["int", "float", "bool", "text", "bytes", "date", "datetime", "duration", "decimal", "any"]
Plain = int | float | bool | str | bytes | None

_PATTERNS: tuple[tuple[str, Family], ...] = (
    (r"[iu](8|16|32|64)", "int"), (r"f(16|32|64)", "float"), (r"bool", "bool"), (r"str|cat.*|enum.*", "text"),
    (r"bin|binary", "bytes"), (r"date", "date"), (r"datetime.*", "datetime"), (r"duration.*", "duration"),
    (r"decimal.*", "decimal"),
)  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
_MOST_PLACES = 18  # a power of ten that a 64-bit integer holds
_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])


class ValueType(msgspec.Struct, frozen=True):
    """A column's type as aggregates see it.

    `name` is the type of the results that are values of the column, in the words of schemas: times and durations have
    microseconds whatever the column's unit, categories are text. `scale` is a decimal's number of places.
    """

    name: str
    family: Family
    scale: int = 0

    def plain(self, value: object, column: str) -> Plain:
        """A value of an event as it is folded and stored; None stays None.

        Python's own values and, as JSON has no others, ISO texts for dates and times, texts for decimals; integers are
        days or microseconds where the type is a time.

        Raises:
            WrongTypeError: the value is of another type.
            InvalidError: the type can't hold it.
        """
        if value is None:
            return None
        try:
            return _PLAIN[self.family](value, self)
        except (TypeError, AttributeError) as error:
            raise WrongTypeError(column, value, f"a value of type {self.name}") from error
        except (ValueError, ArithmeticError) as error:
            raise InvalidError(column, value, f"a value of type {self.name}") from error

    def python(self, value: Plain) -> object:
        """The Python value of a plain one."""
        if value is None:
            return None
        shown = _PYTHON.get(self.family)
        return shown(value, self) if shown else value

    def number(self, value: Any) -> Any:
        """Plain numbers as floats: a decimal is its integer as a float over a power of ten; also of arrays."""
        return value / float(10**self.scale) if self.scale else value


def value_type(name: str) -> ValueType:
    """The type of values in a column whose type is called so by schemas (`i64`, `datetime[ns, UTC]`).

    >>> value_type("datetime[ns, UTC]").name, value_type("list[i64]").family
    ('datetime[us, UTC]', 'any')
    """
    family: Family = next((family for pattern, family in _PATTERNS if re.fullmatch(pattern, name, re.DOTALL)), "any")
    if family == "text":
        return ValueType("str", family)
    if family == "decimal":
        scale = int(name.rstrip("]").rpartition(",")[2])
        return ValueType(name, family if scale <= _MOST_PLACES else "any", scale)
    if family in ("datetime", "duration"):
        name = re.sub(r"\[(ns|ms|us)", "[us", name)
    return ValueType(name, family)


def _int(value: Any, kind: ValueType) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    bits = int(kind.name[1:])
    low, high = (0, 2**bits) if kind.name[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    if not low <= value < high:
        raise ValueError
    return value


def _float(value: Any, kind: ValueType) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError
    if kind.name == "f64":
        return float(value) + 0.0
    import numpy as np  # narrow floats are few: only they pay for it

    with np.errstate(over="ignore"):
        return float(np.dtype(f"{kind.name[0]}{int(kind.name[1:]) // 8}").type(value)) + 0.0


def _of(*types: type) -> Callable[[Any, ValueType], Any]:
    def checked(value: Any, _kind: ValueType) -> Any:
        if not isinstance(value, types):
            raise TypeError
        return value

    return checked


def _date(value: Any, _kind: ValueType) -> int:
    if isinstance(value, str):
        value = date.fromisoformat(value)
    if isinstance(value, bool | datetime):
        raise TypeError
    return value if isinstance(value, int) else int(value.toordinal() - _EPOCH_DAY)


def _datetime(value: Any, _kind: ValueType) -> int:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        return _int(value, _WIDE)
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND


def _duration(value: Any, _kind: ValueType) -> int:
    return value // _MICROSECOND if isinstance(value, timedelta) else _int(value, _WIDE)


def _decimal(value: Any, kind: ValueType) -> int:
    if isinstance(value, bool | float):
        raise TypeError
    return _int(int(Decimal(value).scaleb(kind.scale, _EXACT).to_integral_exact(context=_EXACT)), _WIDE)


def _zoned(value: Any, kind: ValueType) -> datetime:
    at = _EPOCH + timedelta(microseconds=value)
    zone = kind.name.rstrip("]").partition(",")[2].strip()
    if not zone:
        return at.replace(tzinfo=None)
    from zoneinfo import ZoneInfo

    return at.astimezone(ZoneInfo(zone))


_WIDE = ValueType("i64", "int")
_PLAIN: dict[Family, Callable[[Any, ValueType], Plain]] = {
    "int": _int, "float": _float, "bool": _of(bool), "text": _of(str), "bytes": _of(bytes), "date": _date,
    "datetime": _datetime, "duration": _duration, "decimal": _decimal, "any": lambda _value, _kind: True,
}  # fmt: skip
_PYTHON: dict[Family, Callable[[Any, ValueType], object]] = {
    "float": lambda value, _kind: math.nan if value != value else value,
    "date": lambda value, _kind: date.fromordinal(value + _EPOCH_DAY),
    "datetime": _zoned,
    "duration": lambda value, _kind: timedelta(microseconds=value),
    "decimal": lambda value, kind: Decimal(value).scaleb(-kind.scale, _EXACT),
}

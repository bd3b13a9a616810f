"""The check of records against a signature: a fast way for what is plainly right, a slow one that names every problem."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from mainspring.errors import close_names, shorten
from mainspring.models.signature import FLOATS, Columns, Problem, Signature

MOST_PROBLEMS = 20
_NUMBERS = {float, int}
Getter = Callable[[Any], tuple[Any, ...]]


class RecordCheck:
    """Checks records; what depends on the signature alone is worked out once."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self._names = [field.name for field in signature.inputs]
        self._known = frozenset(self._names)
        self._all = _getter(self._names)
        self._floats = _getter([field.name for field in signature.inputs if field.dtype in FLOATS])
        self._narrow = [
            (field.name, FLOATS[field.dtype]) for field in signature.inputs if field.dtype in ("f16", "f32")
        ]
        self._groups = [
            (_getter(names), {kind})
            for kind, names in (
                (int, [field.name for field in signature.inputs if field.dtype == "i64"]),
                (str, [field.name for field in signature.inputs if field.dtype in ("str", "cat")]),
                (bool, [field.name for field in signature.inputs if field.dtype == "bool"]),
            )
            if names
        ]
        plain = (*FLOATS, "i64", "str", "cat", "bool")
        self._is_plain = bool(self._names) and all(field.dtype in plain for field in signature.inputs)

    def __call__(self, records: Sequence[Any]) -> tuple[Columns, list[Problem]]:
        """Records as columns, and what is wrong with them (at most 20 problems, in order of the records)."""
        if self._is_plain and records:
            try:
                if all(map(self._fits, records)):
                    columns = map(list, zip(*map(self._all, records), strict=True))
                    return dict(zip(self._names, columns, strict=True)), []
            except (KeyError, TypeError, IndexError, OverflowError):
                return self._slowly(records)
        return self._slowly(records)

    def _fits(self, record: Any) -> bool:
        """Whether every value is plainly right; what is merely possible is looked at the slow way."""
        if type(record) is not dict or len(record) != len(self._names):
            return False
        floats = self._floats(record)
        if not set(map(type, floats)) <= _NUMBERS or not all(map(math.isfinite, floats)):
            return False
        if not all(abs(record[name]) <= most for name, most in self._narrow):
            return False
        for getter, kinds in self._groups:
            values = getter(record)
            if set(map(type, values)) != kinds:
                return False
            if int in kinds and not -(1 << 63) <= min(values) <= max(values) < 1 << 63:
                return False
        return True

    def _slowly(self, records: Sequence[Any]) -> tuple[Columns, list[Problem]]:
        columns: dict[str, list[Any]] = {field.name: [] for field in self.signature.inputs}
        problems: list[Problem] = []
        for number, record in enumerate(records):
            if len(problems) >= MOST_PROBLEMS:
                break
            if not isinstance(record, dict):
                problems.append(Problem(f"[{number}]", f"{shorten(record, 40)} is not a record of columns"))
                continue
            problems += self._unknown(number, record)
            for field in self.signature.inputs:
                if field.name not in record:
                    problems.append(Problem(f"[{number}].{field.name}", f"missing, expected {field.expects}"))
                    continue
                value, wrong = field.check(record[field.name])
                columns[field.name].append(value)
                if wrong:
                    problems.append(Problem(f"[{number}].{field.name}", wrong))
        return dict(columns), problems[:MOST_PROBLEMS]

    def _unknown(self, number: int, record: dict[Any, Any]) -> list[Problem]:
        problems = []
        for name in record:
            if name not in self._known:
                missing = [each for each in self._names if each not in record]
                near = close_names(str(name), missing or self._names)
                said = f"unknown column{f', nearest: {near[0]}' if near else ''}"
                problems.append(Problem(f"[{number}].{shorten(str(name), 40)}", said))
        return problems[:MOST_PROBLEMS]


def _getter(names: list[str]) -> Getter:
    """The values of some keys as a tuple; `itemgetter` alone gives a bare value for one key."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda record: tuple(record[name] for name in names)

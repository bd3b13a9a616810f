"""The check of labels: a record that is wrong is refused by itself, with the place and the value."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from mainspring.errors import MainspringError, NotFoundError, close_names, listed, shorten
from mainspring.foreign import read_foreign
from mainspring.models import Field, Problem, Signature, expect_model, get_model_version
from mainspring.models.signature import FLOATS, INTEGERS
from mainspring.serving.endpoint import Endpoint
from mainspring.serving.feedback.record import Labels, label_id, stored_key
from mainspring.serving.predictions.record import storable
from mainspring.streams.wire import time_us
from mainspring.workspace import Workspace

ID, PREDICTION, KEY, LABEL, EVENT_AT, KNOWN_AT = FIELDS = ("id", "prediction", "key", "label", "event_at", "known_at")
SKEW_US = 300_000_000
"""How far a clock may be ahead of this one: what is said to be known later than that is a mistake."""
_LONGEST = 200  # characters of an id that is given
_LONGEST_TEXT = 100_000
_NAMED = {"True": True, "False": False}  # as Python and pandas write them
_TRUTHS = {"true": True, "false": False}
_WHOLE = re.compile(r"[-+]?[0-9]{1,40}")
_FLOAT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?|[-+]?inf(inity)?", re.IGNORECASE)
_PREDICTION = re.compile(r"[0-9a-f]{32}")
_INSTANTS = "a time such as 2026-01-31T09:00:00Z"
_NUMBER = "is a number, whose unit can't be told; expected a datetime, or " + _INSTANTS
_CLASSES = {bool: "bool", int: "i64", float: "f64", str: "str"}


class Checked(NamedTuple):
    """The labels that are right, and what is wrong with the other records."""

    labels: Labels
    problems: list[Problem]


class _Refused(Exception):  # noqa: N818  # it never leaves this file
    """What is wrong with a record, at a place in it."""


class LabelCheck:
    """Checks labels of an endpoint; what depends on the endpoint alone is worked out once."""

    def __init__(self, endpoint: Endpoint, workspace: Workspace) -> None:
        self.endpoint, self.key = endpoint.name, endpoint.labels.key
        signature = _signature(endpoint, workspace)
        self.label = _label_field(endpoint, signature)
        inputs = signature.inputs if signature else ()
        self.key_fields = {field.name: field for field in inputs if field.name in self.key}

    def __call__(
        self, records: Iterable[tuple[int, Any]], now_us: int, source: str, *, known_us: int | None = None
    ) -> Checked:
        """Records, with their places, as labels. Those that don't say when they were known were at `known_us`, or now."""
        known_us = now_us if known_us is None else known_us
        rows: list[tuple[Any, ...]] = []
        problems: list[Problem] = []
        for place, record in records:
            try:
                rows.append(self._row(record, now_us, known_us))
            except _Refused as error:
                path, said = error.args
                problems.append(Problem(f"[{place}]{f'.{path}' if path else ''}", said))
        ids, predictions, keys, values, event_us, known = zip(*rows, strict=True) if rows else ((),) * 6
        columns = zip(*keys, strict=True) if rows else [()] * len(self.key)
        named = {name: list(column) for name, column in zip(self.key, columns, strict=True)}
        return Checked(
            Labels(self.endpoint, now_us, source, ids, predictions, named, values, event_us, known), problems
        )

    def _row(self, record: Any, now_us: int, known_us: int) -> tuple[Any, ...]:
        if not isinstance(record, dict):
            raise _Refused("", f"{shorten(record, 40)} is not a record: expected {{{', '.join(FIELDS)}}}")
        for name in record:
            if name not in FIELDS and name not in self.key:
                near = close_names(str(name), [*FIELDS, *self.key])
                raise _Refused(shorten(str(name), 40), f"unknown field{f', nearest: {near[0]}' if near else ''}")
        prediction, key = self._target(record)
        value = self._value(record)
        event, known = _instant(record, EVENT_AT), _instant(record, KNOWN_AT)
        if known is not None and known > now_us + SKEW_US:
            raise _Refused(KNOWN_AT, f"{shorten(record[KNOWN_AT], 40)} is in the future: nothing is known before it is")
        given = record.get(ID)
        if ID in self.key or given is None:
            given = label_id(self.endpoint, prediction, key, value, event, known)
        elif not isinstance(given, str) or not 0 < len(given) <= _LONGEST:
            raise _Refused(ID, f"{shorten(given, 40)} is not text of 1 to {_LONGEST} characters")
        known = known_us if known is None else known
        return given, prediction, key, value, known if event is None else event, known

    def _target(self, record: Mapping[str, Any]) -> tuple[str | None, tuple[Any, ...]]:
        """The prediction that a record names, or else the values of its key."""
        prediction, nested = record.get(PREDICTION), record.get(KEY) if KEY not in self.key else None
        if prediction is not None and PREDICTION not in self.key:
            if nested is not None:
                raise _Refused(KEY, "a label names its prediction or has a key, not both")
            if not isinstance(prediction, str) or _PREDICTION.fullmatch(prediction) is None:
                raise _Refused(PREDICTION, f"{shorten(prediction, 40)} is not an id of 32 hexadecimal digits")
            return prediction, (None,) * len(self.key)
        if not self.key:
            said = "missing: this endpoint declares no `label_key`, so that a label names its prediction"
            raise _Refused(PREDICTION, said)
        path, values = "", record
        if nested is not None:
            path, values = f"{KEY}.", nested
            if not isinstance(nested, dict):
                raise _Refused(KEY, f"{shorten(nested, 40)} is not {{{', '.join(self.key)}}}")
            for name in nested:
                if name not in self.key:
                    raise _Refused(f"{KEY}.{shorten(str(name), 40)}", f"not of the key: {listed(list(self.key))}")
        return None, tuple(self._key_value(values, name, path) for name in self.key)

    def _key_value(self, values: Mapping[str, Any], name: str, path: str) -> Any:
        value, field = values.get(name), self.key_fields.get(name)
        if value is None or value != value:  # NaN alone is not itself
            raise _Refused(f"{path}{name}", f"{'null' if name in values else 'missing'}, expected a value of the key")
        if field is not None:
            value, wrong = field.check(value)
            if wrong:
                raise _Refused(f"{path}{name}", wrong)
            return stored_key(value, field.dtype)
        if isinstance(value, list | dict) or (isinstance(value, str) and len(value) > _LONGEST_TEXT):
            raise _Refused(f"{path}{name}", f"{shorten(value, 40)} is not a plain value")
        return stored_key(value)

    def _value(self, record: Mapping[str, Any]) -> Any:
        if LABEL not in record:
            raise _Refused(LABEL, f"missing, expected {self.label.expects if self.label else 'a value'}")
        value = record[LABEL]
        if self.label is not None:
            value, wrong = self.label.check(value)
        else:
            is_plain = isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
            wrong = "" if is_plain else f"{shorten(value, 40)} is not a number, text, true or false"
        if isinstance(value, str) and len(value) > _LONGEST_TEXT:
            wrong = f"{len(value):,} characters, expected at most {_LONGEST_TEXT:,}"
        if wrong:
            raise _Refused(LABEL, wrong)
        return storable(value)


def from_text(text: str, dtype: str) -> Any:
    """What stands in a file without types, or was typed, as a value of a type; a text that is none of it stays as it is.

    Without a type it is a number, true or false as JSON writes these, or else the text.

    >>> from_text("True", "bool"), from_text("7", "i64"), from_text("7", "f64"), from_text("7", "str"), from_text("007", "")
    (True, 7, 7.0, '7', '007')
    """
    if dtype == "bool":
        return _TRUTHS.get(text.lower(), text)
    if dtype in INTEGERS:
        return int(text) if _WHOLE.fullmatch(text) else text
    if dtype in FLOATS:
        return None if text.lower() == "nan" else float(text) if _FLOAT.fullmatch(text) else text
    if dtype:
        return text
    try:
        value = read_foreign(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text


def key_from_text(text: str, dtype: str) -> Any:
    """The same of a key, which without a type is a number, true or false only as programs write these.

    JSON and Polars, or Python and pandas, which have `17.0` of a number that may be missing, `1e-05` and `True`.

    >>> key_from_text("1.1", ""), key_from_text("17.0", ""), key_from_text("1.10", ""), key_from_text("12e4", "")
    (1.1, 17.0, '1.10', '12e4')
    """
    if dtype:
        return from_text(text, dtype)
    value = _NAMED.get(text, from_text(text, ""))
    return value if text in (str(value), msgspec.json.encode(value).decode()) else text


def _instant(record: Mapping[str, Any], name: str) -> int | None:
    given = record.get(name)
    if given is None:
        return None
    if isinstance(given, int | float):
        raise _Refused(name, f"{shorten(given, 40)} {_NUMBER}")
    try:
        at_us = time_us(given)
    except (MainspringError, OverflowError):
        raise _Refused(name, f"{shorten(given, 40)} is not {_INSTANTS}") from None
    if not 0 <= at_us < 1 << 53:
        raise _Refused(name, f"{shorten(given, 40)} is not {_INSTANTS}, from 1970 on")
    return at_us


def _signature(endpoint: Endpoint, workspace: Workspace) -> Signature | None:
    """What the version that answers now takes and gives; None for a service that runs outside."""
    if endpoint.is_outside:
        return None
    try:
        return expect_model(get_model_version(endpoint.version, workspace))[1]
    except NotFoundError:
        return None


def _label_field(endpoint: Endpoint, signature: Signature | None) -> Field | None:
    """What a label of an endpoint is: as it declares, or as its model's answers are; None if neither says."""
    declared = endpoint.labels.type
    if not declared and signature is not None:
        kinds = {type(each) for each in signature.output.classes}
        declared = "f64" if signature.output.kind == "number" else _CLASSES[kinds.pop()] if len(kinds) == 1 else ""
    return Field(LABEL, declared) if declared else None

"""Events as others write them: our own form, `{"id": …, "time": …, "data": {…}}`, or CloudEvents 1.0 in JSON.

A CloudEvent is identified by its source and id together, so both make our id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from mainspring import clock
from mainspring.errors import InvalidError, MainspringError, WrongTypeError, close_names
from mainspring.foreign import read_foreign
from mainspring.streams.event import Event, event_of

LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl")
DOCUMENTS = ("application/json", "application/cloudevents+json", "application/cloudevents-batch+json")
_FIELDS = ("id", "time", "data", "type")
_SPEC = "specversion"


def events_of(records: Iterable[Any]) -> tuple[list[Event], list[str]]:
    """The events of decoded records, and what is wrong with the others, each with the path of its record."""
    events, problems = [], []
    for place, record in enumerate(records):
        try:
            events.append(_event(record))
        except MainspringError as error:
            separator = "" if getattr(error, "path", "") == "" else "."
            problems.append(f"[{place}]{separator}{error}")
    return events, problems


def records_of(document: Any) -> list[Any]:
    """The records of a document: itself, or its items if it is a list."""
    return document if isinstance(document, list) else [document]


def lines_of(body: bytes, decode: Callable[[bytes], Any]) -> list[Any]:
    """The records of a text with one JSON value a line; blank lines count for nothing."""
    return [decode(line) for line in body.splitlines() if line.strip()]


def read_records(body: bytes) -> list[Any]:
    """The records of a file: one JSON document, or one on each line.

    Raises:
        InvalidError: it is neither; the line is named.
    """
    try:
        return records_of(read_foreign(body))
    except ValueError:
        pass
    records = []
    for number, line in enumerate(body.splitlines(), 1):
        if line.strip():
            try:
                records.append(read_foreign(line))
            except ValueError as error:
                raise InvalidError(f"line {number}", line.decode(errors="replace"), f"JSON ({error})") from error
    return records


def read_events(body: bytes) -> list[Event]:
    """The events of a file, in any of the forms.

    Raises:
        InvalidError: what is wrong first, with its place.
    """
    events, problems = events_of(read_records(body))
    if problems:
        more = f" {len(problems) - 1:,} more are wrong." if problems[1:] else ""
        raise InvalidError("events", problems[0], "an event", more.strip())
    return events


def time_us(value: Any) -> int:
    """The instant, in microseconds since 1970, of a datetime, a date (midnight), or ISO 8601 text (without a zone in UTC).

    Raises:
        WrongTypeError: it is none of these, such as a number, whose unit can't be told.
        InvalidError: the text is no time.

    >>> time_us("1970-01-01T01:00:00+01:00"), time_us("1970-01-02")
    (0, 86400000000)
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidError("time", value, "a time such as 2026-01-31T09:00:00Z") from None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        hint = "The unit of a number can't be told: make it a datetime, or text." if is_number else ""
        raise WrongTypeError("time", value, "a time such as 2026-01-31T09:00:00Z", hint)
    return clock.to_us(value if value.tzinfo else value.replace(tzinfo=UTC))


def _event(record: Any) -> Event:
    if not isinstance(record, dict):
        raise WrongTypeError("", record, 'an event: {"id": …, "time": …, "data": {…}}')
    is_cloud = _SPEC in record
    if is_cloud:
        record = _of_cloud(record)
    elif unknown := sorted(record.keys() - set(_FIELDS)):
        near = close_names(unknown[0], _FIELDS)
        raise InvalidError(
            unknown[0],
            record[unknown[0]],
            f"a field of an event: {', '.join(_FIELDS)}",
            *(f"Nearest: {each}." for each in near[:1]),
        )
    for name in ("id", "type"):
        if not isinstance(record.get(name, ""), str):
            raise WrongTypeError(name, record[name], "text")
    if record.get("id") == "":
        raise InvalidError("id", "", "text of at least one character; without an id one is made")
    if "data" not in record:
        raise InvalidError("data", ", ".join(record) or "{}", 'an event with `data`, e.g. {"data": {"delay": 3}}')
    at_us = time_us(record["time"]) if "time" in record else None
    return event_of(record.get("data"), id=record.get("id", ""), time_us=at_us, type=record.get("type", ""))


def _of_cloud(record: Mapping[str, Any]) -> dict[str, Any]:
    if record[_SPEC] != "1.0":
        raise InvalidError(_SPEC, record[_SPEC], "1.0, the CloudEvents that are understood")
    for name in ("id", "source", "type"):
        if not isinstance(record.get(name), str) or not record[name]:
            raise WrongTypeError(name, record.get(name), "text, which every CloudEvent has")
    if "data_base64" in record:
        raise InvalidError("data_base64", record["data_base64"], "data as a JSON object in `data`")
    found = {"id": f"{record['source']}#{record['id']}", "type": record["type"], "data": record.get("data", {})}
    return found | ({"time": record["time"]} if "time" in record else {})


def shown(event: Event) -> dict[str, Any]:
    """An event as a document. A time that no datetime can show, in a log of before it was refused, is in microseconds."""
    named = {"type": event.type} if event.type else {}
    return {
        "offset": event.offset, "id": event.id, "time": _moment(event.time_us),
        "received": clock.from_us(event.received_us), **named, "data": msgspec.Raw(event.payload),
    }  # fmt: skip


def _moment(at_us: int) -> datetime | int:
    return clock.from_us(at_us) if clock.FIRST_US <= at_us <= clock.LAST_US else at_us

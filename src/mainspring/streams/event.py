"""What a stream holds: events, each with an id by which a repetition is known, in the order in which the log took them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from mainspring import clock
from mainspring.errors import InvalidError, WrongTypeError
from mainspring.ledger import new_id

LONGEST_ID = 256
LARGEST_PAYLOAD_BYTES = 1 << 20
_STREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Event(msgspec.Struct, frozen=True):
    """Something that happened: the id by which its producer repeats it, when it happened, and a JSON object as bytes.

    `offset` is its place in the stream, from 1 on without gaps, and `received_us` the time at which the log took it, which
    never falls from one offset to the next; both are 0 until then. `type` is the producer's word for its kind.
    """

    id: str
    time_us: int
    payload: bytes
    type: str = ""
    received_us: int = 0
    offset: int = 0

    @property
    def data(self) -> dict[str, Any]:
        """The payload, decoded."""
        return _decode(self.payload)


class Appended(msgspec.Struct, frozen=True):
    """Where an event stands. Not `is_new`: the log had one of that id, which is at this offset and stays as it was."""

    id: str
    offset: int
    is_new: bool


class Stream(msgspec.Struct, frozen=True):
    """A named sequence of events: the offset of its last one, and the one up to which events were trimmed (0 if none)."""

    name: str
    end: int
    trimmed: int
    received_us: int


def event_of(data: Any, *, id: str = "", time_us: int | None = None, type: str = "") -> Event:  # noqa: A002  # the words of CloudEvents
    """An event of a JSON-like object; an id is made if none is given, and the time is the present.

    Raises:
        WrongTypeError: `data` is not a dict, or holds what JSON has no form for.

    >>> event_of({"delay": 3}, id="a", time_us=5).data
    {'delay': 3}
    """
    if not isinstance(data, dict):
        raise WrongTypeError("data", data, "an object, e.g. {'delay': 3}")
    try:
        payload = msgspec.json.encode(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise WrongTypeError("data", data, f"what JSON can hold ({error})") from error
    return Event(id or new_id(), clock.now_us() if time_us is None else time_us, payload, type)


def check_events(stream: str, events: Sequence[Event]) -> None:
    """Refuse what a log can't keep as it is.

    Raises:
        InvalidError: the stream's name, or an event's id, time or size; the path says which.
    """
    if _STREAM.fullmatch(stream) is None:
        raise InvalidError("stream", stream, "a name of letters, digits, `.`, `_` and `-`, 128 at most")
    for place, event in enumerate(events):
        if not 0 < len(event.id) <= LONGEST_ID or _CONTROL.search(event.id):
            raise InvalidError(f"[{place}].id", event.id, f"text of 1 to {LONGEST_ID} characters without control ones")
        if len(event.type) > LONGEST_ID or _CONTROL.search(event.type):
            raise InvalidError(f"[{place}].type", event.type, f"text of at most {LONGEST_ID} characters")
        if not clock.FIRST_US <= event.time_us <= clock.LAST_US:
            raise InvalidError(f"[{place}].time", event.time_us, clock.SHOWN, "Is it in nanoseconds?")
        if len(event.payload) > LARGEST_PAYLOAD_BYTES:
            size = f"{len(event.payload):,} bytes"
            raise InvalidError(f"[{place}].data", size, f"at most {LARGEST_PAYLOAD_BYTES:,} bytes of JSON")

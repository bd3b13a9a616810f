"""A stream of events as the source of features: what its events hold."""

from __future__ import annotations

from collections.abc import Mapping

from mainspring.errors import InvalidError
from mainspring.features.definitions.names import expect_name
from mainspring.streams.columns import OWN


class Stream:
    """Events of one kind. What was read of them is kept in the dataset of the same name.

    `fields` are the columns of their data with types, in the words of schemas. Beside them each has `event_id`,
    `event_time`, `received_at`, and `event_offset`, its place in the stream.

    Raises:
        InvalidError: a name or type can't be one, or a field is called like one of those.

    >>> Stream("arrivals", {"carrier": "str", "delay": "f64"}).fields["delay"]
    'f64'
    """

    __slots__ = ("description", "fields", "name", "owner")

    def __init__(self, name: str, fields: Mapping[str, str], *, description: str = "", owner: str = "") -> None:
        self.name, self.fields = expect_name("stream", name), dict(fields)
        self.description, self.owner = description, owner
        if not fields:
            raise InvalidError("fields", "{}", "the columns of an event's data with their types")
        if taken := [each for each in fields if each in OWN]:
            raise InvalidError(f"fields.{taken[0]}", taken[0], f"a name other than {', '.join(OWN)}")

    def __repr__(self) -> str:
        return f"<stream {self.name} ({', '.join(self.fields)})>"

"""One page of a listing, and the cursor that leads to the next: opaque text, the place of the last record shown.

A cursor names a place in an order, not a number of records, so records that are added meanwhile shift nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from mainspring.errors import InvalidError

MOST = 50_000
Item = TypeVar("Item")


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """Records, and the cursor of what comes behind them; None at the end. It is iterated as its records are.

    >>> list(Page([1, 2])), len(Page([1, 2])), Page([1, 2]).cursor
    ([1, 2], 2, None)
    """

    items: list[Item]
    cursor: str | None = None

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def to_cursor(place: Sequence[Any]) -> str:
    """The cursor of a place: the values that order records there, texts, numbers or None."""
    encoded = json.dumps(list(place))  # msgspec has no infinities
    return base64.urlsafe_b64encode(encoded.encode()).decode()


def from_cursor(cursor: str, length: int) -> list[Any]:
    """The place that a cursor names, of so many values.

    Raises:
        InvalidError: no cursor of this order; only one that a page gave is.

    >>> from_cursor(to_cursor([0.5, "run"]), 2)
    [0.5, 'run']
    """
    try:
        place = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise InvalidError("cursor", cursor, "one that a page of this search gave") from error
    plain = (str, int, float, type(None))
    if not isinstance(place, list) or len(place) != length or not all(isinstance(value, plain) for value in place):
        raise InvalidError("cursor", cursor, "one that a page of this search gave")
    return place


def checked_limit(limit: int) -> int:
    """Refuse a length of a page that is none."""
    if not 1 <= limit <= MOST:
        raise InvalidError("limit", limit, f"a whole number from 1 to {MOST:,}")
    return limit

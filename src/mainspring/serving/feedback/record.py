"""What is logged of labels: those of one endpoint that came together, by column, with the instants that say which counts.

A record explains itself: it names the columns of its keys. It is written whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from blake3 import blake3

from mainspring.serving.predictions.record import storable
from mainspring.store.frames import LARGEST_RECORD_BYTES

_ID_BYTES = 16


class Labels(msgspec.Struct, frozen=True, array_like=True):
    """Labels by column. One has the id of its prediction, or none and a value for each column of `keys`.

    `event_us` is when what it tells happened, `known_us` when that was known, `logged_us` when they came here, by `source`.
    """

    endpoint: str
    logged_us: int
    source: str
    ids: Sequence[str]
    predictions: Sequence[str | None]
    keys: Mapping[str, Sequence[Any]]
    values: Sequence[Any]
    event_us: Sequence[int]
    known_us: Sequence[int]


_encode = msgspec.msgpack.Encoder(enc_hook=str).encode
decode = msgspec.msgpack.Decoder(Labels).decode


def label_id(endpoint: str, *told: Any) -> str:
    """The id of a label that was given none: the same for the same that is told, and for nothing else."""
    return blake3(_encode((endpoint, *told))).hexdigest(length=_ID_BYTES)


def stored_key(value: Any, dtype: str = "") -> Any:
    """A value of a key whose type is declared, as it is kept: equal ones alike, however a label spells them.

    A time without a zone is of that of its type, or of UTC, as in a table; a duration is its microseconds; a decimal has no
    zeros at its end.

    >>> stored_key(timedelta(minutes=1)), stored_key(Decimal("12.30")), stored_key(time(8, 30))
    (60000000, '12.3', '08:30:00')
    """
    if isinstance(value, datetime) and value.tzinfo is None:
        zone = dtype.partition(", ")[2].rstrip("]")
        return value.replace(tzinfo=ZoneInfo(zone) if zone else UTC).astimezone(UTC)
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if isinstance(value, time):
        return value.isoformat("microseconds").rstrip("0").rstrip(".")
    if isinstance(value, Decimal):
        text = f"{value:f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text
    return storable(value)


def records_of(labels: Labels) -> list[bytes]:
    """Labels as bytes, in as many records as their size takes. A label alone is far smaller than a record may be."""
    data = _encode(labels)
    if len(data) <= LARGEST_RECORD_BYTES or len(labels.ids) == 1:
        return [data]
    middle = len(labels.ids) // 2
    return [*records_of(_part(labels, slice(0, middle))), *records_of(_part(labels, slice(middle, None)))]


def _part(labels: Labels, part: slice) -> Labels:
    by_row = {name: getattr(labels, name)[part] for name in ("ids", "predictions", "values", "event_us", "known_us")}
    keys = {name: values[part] for name, values in labels.keys.items()}
    return msgspec.structs.replace(labels, keys=keys, **by_row)

"""What is logged of labels: those of one endpoint that came together, by column, with the instants that say which counts.

A record explains itself: it names the columns of its keys. It is written whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from blake3 import blake3

from mainspring.serving.predictions.keys import NARROW, held, plain_key, rounded
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
_decode_value = msgspec.msgpack.Decoder().decode


def label_id(endpoint: str, *told: Any) -> str:
    """The id of a label that was given none: the same for the same that is told, and for nothing else."""
    return blake3(_encode((endpoint, *told))).hexdigest(length=_ID_BYTES)


def stored_key(value: Any, dtype: str = "") -> Any:
    """A value of a key, as it is kept, of the type that is declared, if one is: equal ones alike, however a label spells them.

    It is the value that the type holds, as in the log of predictions; a duration is its microseconds; a decimal has no zeros
    at its end.

    >>> stored_key(timedelta(minutes=1), "duration[us]"), stored_key(Decimal("12.30"), "decimal[10, 2]")
    (60000000, '12.3')
    >>> stored_key(time(8, 30), "time"), stored_key(0.10000000149011612, "f32")
    ('08:30:00', 0.1)
    """
    if dtype in NARROW:
        return rounded(value, dtype)
    return _logged(_spelt(held(value, dtype)) if dtype else plain_key(value))


def _spelt(value: Any) -> Any:
    """A value of a declared type in the one form that stands for all that are equal to it."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if isinstance(value, time):
        return value.isoformat("microseconds").rstrip("0").rstrip(".")
    if isinstance(value, Decimal):
        text = f"{value:f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text
    return value


def _logged(value: Any) -> Any:
    """A value as the log gives it again, also where it isn't written to it first."""
    plain = storable(value)
    return plain if isinstance(plain, str | int | float) else _decode_value(_encode(plain))


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

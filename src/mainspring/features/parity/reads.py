"""Logged reads as columns: those of one version of a service together, with what each view reflected at each of them."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from mainspring.data.tables.type_names import named_type
from mainspring.features.definitions.entity import KeyType
from mainspring.features.definitions.frames import typed_frame
from mainspring.features.definitions.records import Part, ServiceRecord
from mainspring.features.online.packing import python_type
from mainspring.features.online.watermark import Watermark, read_watermark
from mainspring.features.parity.bits import Served, Told
from mainspring.features.parity.log import Logged
from mainspring.features.parity.past import Whole
from mainspring.store import read_segments

_decode = msgspec.msgpack.Decoder(Logged).decode
_TOO_WIDE = 1 << 127
_PLAIN = (pl.String, pl.Boolean, pl.Binary, pl.Categorical, pl.Enum)


class Marks(NamedTuple):
    """The watermarks of a view: each that was seen, and for each read which of them it met."""

    seen: list[Watermark | None]
    which: Whole


class Reads:
    """Vectors of one version of a service in the order of the log. `pushed` has a bit for each part of stored values."""

    def __init__(self, record: ServiceRecord, logged: Sequence[Logged]) -> None:
        self.record = record
        self.ids = [each for one in logged for each in one.ids]
        self.at = np.repeat([one.at_us for one in logged], [len(one.ids) for one in logged]).astype(np.int64)
        self.pushed = np.array([each for one in logged for each in one.pushed], np.int64)
        self.given = _columns(record.request, [row for one in logged for row in one.rows])
        names = [field.name for field in record.fields]
        self.values = {
            field.name: _as_served(field.dtype, column)
            for field, column in zip(record.fields, _transposed(logged, "values", len(names)), strict=True)
        }
        self._told = {name: Told(values) for name, values in self.values.items()}
        self.statuses = dict(zip(names, _transposed(logged, "statuses", len(names)), strict=True))
        self.event_us = dict(zip(names, _transposed(logged, "event_us", len(names)), strict=True))
        self._logged = logged

    def request(self, types: dict[str, str]) -> pl.DataFrame:
        """Columns of the request in these types, as a reader takes them."""
        return typed_frame({name: (dtype, _as_given(dtype, self.given[name])) for name, dtype in types.items()})

    def keys(self, types: Mapping[str, KeyType]) -> pl.DataFrame:
        """Columns of keys of these types; whole numbers have all bits that a source may have."""
        return typed_frame({
            name: _wide(_whole(self.given[name])) if kind == "int" else (kind, self.given[name])
            for name, kind in types.items()
        })  # fmt: skip

    def served(self, part: Part, *, may_round: bool = False) -> Served:
        """The values of a part, by the names that its view has for them."""
        told = ((name, self._told[shown]) for name, shown in zip(part.features, part.names, strict=True))
        return Served(told, may_round=may_round)

    def is_pushed(self, number: int) -> npt.NDArray[np.bool_]:
        """Where the value of the part of this number came by `push`."""
        return (self.pushed >> number) & 1 > 0

    def marks(self, view: str) -> Marks:
        """What a version of a view reflected at each read."""
        numbers: dict[bytes | None, int] = {}
        which = [
            numbers.setdefault(one.watermarks[one.views.index(view)], len(numbers)) for one in self._logged
        ]  # fmt: skip
        counts = [len(one.ids) for one in self._logged]
        return Marks([read_watermark(each) for each in numbers], np.repeat(np.array(which, np.int64), counts))


def logged_reads(
    folder: Path, services: Container[str], *, since_us: int | None = None, until_us: int | None = None, rows: int
) -> Iterator[tuple[str, list[Logged]]]:
    """The reads in a log of versions of services, about so many vectors of one at a time; the time range is half open.

    Raises:
        StorageError: the log is damaged or can't be read.
    """
    held: dict[str, list[Logged]] = {}
    counts: dict[str, int] = {}
    for each in read_segments(folder):
        one = _decode(each.record)
        if one.service not in services or (since_us is not None and one.at_us < since_us):
            continue
        if until_us is not None and one.at_us >= until_us:
            continue
        held.setdefault(one.service, []).append(one)
        counts[one.service] = counts.get(one.service, 0) + len(one.ids)
        if counts[one.service] >= rows:
            yield one.service, held.pop(one.service)
            counts[one.service] = 0
    yield from held.items()


def _columns(types: dict[str, str], rows: list[Sequence[Any]]) -> dict[str, list[Any]]:
    return {name: [row[place] for row in rows] for place, name in enumerate(types)}


def _transposed(logged: Sequence[Logged], name: str, width: int) -> list[list[Any]]:
    rows = [row for one in logged for row in getattr(one, name)]
    return [[row[place] for row in rows] for place in range(width)]


def _as_served(type_name: str, values: list[Any]) -> list[Any]:
    """Values as the reader gave them: MessagePack has no form of its own for some types."""
    dtype = named_type(type_name, "feature")
    if dtype.is_integer():
        return _whole(values)
    if dtype.is_float() or isinstance(dtype, _PLAIN):
        return values
    found: list[Any] = msgspec.convert(values, list[python_type(dtype) | None])  # type: ignore[misc]  # a type made now
    return found


def _as_given(type_name: str, values: list[Any]) -> list[Any]:
    """Values of a request that a frame takes, as it does the texts that MessagePack has for times and decimals."""
    return _whole(values) if type_name[0] in "iu" and type_name != "uuid" else values


def _wide(keys: list[Any]) -> tuple[str, list[Any]]:
    """Keys in a type of 128 bits: the one without a sign if none has one; else those that are too large for it are unknown."""
    given = [key for key in keys if key is not None]
    if max(given, default=0) < _TOO_WIDE:
        return "i128", keys
    return ("u128", keys) if min(given) >= 0 else ("i128", [key if (key or 0) < _TOO_WIDE else None for key in keys])


def _whole(values: list[Any]) -> list[Any]:
    return [int(value) if isinstance(value, str) else value for value in values]

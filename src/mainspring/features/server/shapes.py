"""Bodies in Feast's shape: column by column, a status and an event time for each value.

As Feast writes them: bytes are base64, numbers that are not finite are texts, and what has no event time has 1970's first
instant. Times are ISO 8601, which keeps their microseconds; Feast's own server would cut them to seconds.
"""

from __future__ import annotations

import math
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import msgspec

from mainspring import clock
from mainspring.errors import InvalidError, NotFoundError, WrongTypeError, close_names
from mainspring.features.definitions.records import Field
from mainspring.features.online.vector import Vector
from mainspring.web.body import read_json
from mainspring.web.request_error import RequestError

if TYPE_CHECKING:
    import polars as pl

_NO_TIME = "1970-01-01T00:00:00Z"
_PRESENT = "PRESENT"
_UUID_IN_BASE64 = 24  # characters
_BYTES = re.compile(r"\bbin\b")
_FLOAT = re.compile(r"\bf(?:32|64)\b")  # anywhere in a type
Body = TypeVar("Body", bound=msgspec.Struct)
Frame = dict[str, list[Any]]


class OnlineRequest(msgspec.Struct, frozen=True):
    """`/get-online-features`: features by name or a service, for entities column by column."""

    entities: Frame
    feature_service: str | None = None
    features: tuple[str, ...] = ()
    full_feature_names: bool = False
    include_feature_view_version_metadata: bool = False


class PushRequest(msgspec.Struct, frozen=True):
    """`/push`: rows as the source has them, of a view or of all views of a source."""

    push_source_name: str
    df: Frame
    to: str = "online"


class WriteRequest(msgspec.Struct, frozen=True):
    """`/write-to-online-store`: rows of a view as its features, with their times."""

    feature_view_name: str
    df: Frame


class MaterializeRequest(msgspec.Struct, frozen=True):
    """`/materialize` and `/materialize-incremental`: what was known by `end_ts`, or now."""

    end_ts: datetime | None = None
    start_ts: datetime | None = None
    feature_views: tuple[str, ...] | None = None


def read_body(body: bytes, kind: type[Body]) -> Body:
    """A body of a kind.

    Raises:
        RequestError: 400 it is not JSON, 422 it is another shape.
    """
    given = read_json(body)
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise RequestError(422, str(error)) from error


def entities_of(given: Frame, wanted: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of a request's columns, of which `wanted` are needed with their types; others are left out, as Feast does.

    Raises:
        NotFoundError: a column is missing.
        InvalidError: columns have different lengths.
        WrongTypeError: bytes, of a key or another column, are not base64.
    """
    for name in wanted:
        if name not in given:
            raise NotFoundError("entity column", name, close_names(name, given), f"Needed are {', '.join(wanted)}.")
    counts = {name: len(given[name]) for name in wanted}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count:,} of {name}" for name, count in counts.items())
        raise InvalidError("entities", told, "as many values in each column")
    columns = [with_bytes(name, given[name], dtype) for name, dtype in wanted.items()]
    return [dict(zip(wanted, row, strict=True)) for row in zip(*columns, strict=True)]


def with_bytes(name: str, values: Sequence[Any], dtype: str, *, is_uuid: bool = False) -> Sequence[Any]:
    """Values of JSON with the bytes that their type has, also in lists and structs; raises as `bytes_of`.

    >>> with_bytes("keys", [["YWI=", None], None], "list[bin]")
    [[b'ab', None], None]
    """
    if dtype in ("bin", "bytes"):
        return bytes_of(name, values, is_uuid=is_uuid)
    if not _BYTES.search(dtype):
        return values
    from mainspring.data.tables.type_names import named_type

    kind = named_type(dtype, name)
    return [_with_bytes(f"{name}[{place}]", value, kind) for place, value in enumerate(values)]


def _with_bytes(path: str, value: Any, kind: pl.DataType) -> Any:
    import polars as pl

    from mainspring.data.tables.nested import fields_of, instance

    if isinstance(kind, pl.List | pl.Array) and isinstance(value, list):
        inner = instance(kind.inner)
        if isinstance(inner, pl.Binary):
            return bytes_of(path, value)
        return [_with_bytes(f"{path}[{place}]", each, inner) for place, each in enumerate(value)]
    if isinstance(kind, pl.Struct) and isinstance(value, dict):
        known = fields_of(kind)
        return {
            name: _with_bytes(f"{path}.{name}", each, known[name]) if name in known else each
            for name, each in value.items()
        }
    return bytes_of(path, [value])[0] if isinstance(kind, pl.Binary) else value


def bytes_of(name: str, values: Sequence[Any], *, is_uuid: bool = False) -> list[bytes | None]:
    """Bytes as JSON has them: base64, or with `is_uuid` a UUID's text.

    Raises:
        WrongTypeError: a value is neither; its place is named.

    >>> bytes_of("key", ["YWI=", None]), bytes_of("key", ["61626364-6162-6364-6162-636461626364"], is_uuid=True)
    ([b'ab', None], [b'abcdabcdabcdabcd'])
    """
    found: list[bytes | None] = []
    for place, value in enumerate(values):
        try:
            if is_uuid and isinstance(value, str) and len(value) != _UUID_IN_BASE64:
                found.append(UUID(value).bytes)
            else:
                found.append(None if value is None else b64decode(value, validate=True))
        except (TypeError, ValueError) as error:
            raise WrongTypeError(f"{name}[{place}]", value, "bytes in base64") from error
    return found


def online_answer(
    given: Frame, wanted: Mapping[str, str], names: Sequence[str], fields: Sequence[Field], vectors: Sequence[Vector]
) -> dict[str, Any]:
    """The answer to a request: its columns first, then the features under `names`, a result for each."""
    count = len(vectors)
    results: list[dict[str, Any]] = [_result(given[name], [_PRESENT] * count, [_NO_TIME] * count) for name in wanted]
    values = zip(*(vector.values for vector in vectors), strict=True)
    statuses = zip(*(vector.statuses for vector in vectors), strict=True)
    events = zip(*(vector.event_us for vector in vectors), strict=True)
    known: tuple[int | None, ...] = ()
    times: list[str] = []
    for field, column, marks, event_us in zip(fields, values, statuses, events, strict=True) if count else ():
        if event_us != known:  # features of one view have the same times
            known, times = event_us, [_NO_TIME if at is None else time_text(at) for at in event_us]
        results.append(_result(_finite(column) if _FLOAT.search(field.dtype) else column, marks, times))
    if not count:
        results += [_result((), (), ()) for _ in names]
    return {"metadata": {"feature_names": [*wanted, *names], **_outage(vectors)}, "results": results}


def _outage(vectors: Sequence[Vector]) -> dict[str, Any]:
    """When the vectors of an outage were read; nothing if there is none."""
    if all(vector.is_live for vector in vectors):
        return {}
    read = [None if vector.read_us is None else time_text(vector.read_us) for vector in vectors]
    return {"outage": {"read_at": read}}


def _result(values: Sequence[Any], statuses: Sequence[str], times: Sequence[str]) -> dict[str, Any]:
    return {"values": values, "statuses": statuses, "event_timestamps": times}


def _finite(values: Sequence[Any]) -> Sequence[Any]:
    """Numbers as JSON has them; those that it hasn't as the texts of Protocol Buffers."""
    return [
        value if value is None or (type(value) is float and math.isfinite(value)) else _told(value) for value in values
    ]


def _told(value: Any) -> Any:
    """A value that may hold numbers which JSON hasn't."""
    if isinstance(value, dict):
        return {name: _told(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return _finite(value)
    return _text_of(value) if isinstance(value, float) else value


def _text_of(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


@lru_cache(maxsize=65_536)
def time_text(at_us: int) -> str:
    """An instant in RFC 3339, with as many digits as it needs; one that it can't say as the nearest that it can.

    >>> time_text(1_357_000_000_000_000), time_text(1_500)
    ('2013-01-01T00:26:40Z', '1970-01-01T00:00:00.001500Z')
    """
    at = clock.from_us(min(max(at_us, clock.FIRST_US), clock.LAST_US))
    digits = "seconds" if not at.microsecond else "microseconds" if at.microsecond % 1000 else "milliseconds"
    return at.replace(tzinfo=None).isoformat(timespec=digits) + "Z"

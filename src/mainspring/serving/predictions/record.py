"""What is logged of a request's predictions: one record, or one for each read of its features, or each part that fits.

A record explains itself: it names its columns. Its rows have successive ids behind its own. A redacted column is not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring.errors import WrongTypeError
from mainspring.ledger import sample_limit
from mainspring.models.signature import Columns, plain
from mainspring.serving.endpoint import Endpoint
from mainspring.serving.predictions.ids import id_at
from mainspring.store.frames import LARGEST_RECORD_BYTES

if TYPE_CHECKING:
    from mainspring.features.online.vector import Reading
    from mainspring.serving.online import Filled, OnlinePredictor


OUTSIDE = "outside"
"""The runtime of what a service that runs outside answered; its version is its own word, and may be called as a model is."""
STABLE, CANDIDATE, SHADOW, LOADTEST = "stable", "candidate", "shadow", "loadtest"
"""Roles of predictions. What a load test asked for is in the log, and in nothing that is told of an endpoint's predictions."""
DECLARED_ROLES = (STABLE, CANDIDATE, SHADOW)
"""Those that an outside service may say its predictions have."""
ROLES = (*DECLARED_ROLES, LOADTEST)


class ReadFeatures(msgspec.Struct, frozen=True, array_like=True):
    """Features as they were read for some rows: of a version of a service, as of an instant, in one read of the store.

    `views` are the versions that were read, each with its watermark as bytes; `values` and `statuses` are by row, in the order
    of `names`.
    """

    service: str
    at_us: int
    views: tuple[str, ...]
    watermarks: tuple[bytes | None, ...]
    names: tuple[str, ...]
    values: Sequence[Sequence[Any]]
    statuses: Sequence[Sequence[str]]
    event_us: Sequence[Sequence[int | None]]


class Head(msgspec.Struct, frozen=True, array_like=True):
    """What can be asked of a record before the whole of it is decoded. `at_us` is the clock's."""

    id: str
    rows: int
    at_us: int
    request_id: str
    endpoint: str
    generation: int
    version: str
    role: str


class Logged(Head, frozen=True, array_like=True, gc=False):
    """Rows that one version answered in one request. `latency_us` is from the request's body to here, if it is known."""

    runtime: str
    route_key: str
    latency_us: int | None
    inputs: Columns
    outputs: Sequence[Any]
    features: ReadFeatures | None = None


def model_version_of(version: str, runtime: str) -> str:
    """The id of the model version that answered a logged row; empty if a service that runs outside did.

    >>> model_version_of("delay", "outside")
    ''
    """
    return "" if runtime == OUTSIDE else version


class Entry:
    """A request to be answered and logged: `columns` as it gave them, `began` by the performance counter, if that is known.

    `filled` is what the model takes of it with its features, once they are read; None if it takes none. `first` is the id of
    its first row, once it is logged. With a `role` it has that one instead of its model's.
    """

    __slots__ = ("began", "columns", "filled", "first", "request_id", "role", "route_key", "rows")

    def __init__(
        self, request_id: str, route_key: str, began: float | None, columns: Columns, rows: int, role: str = ""
    ) -> None:  # fmt: skip
        self.request_id, self.route_key, self.began = request_id, route_key, began
        self.columns, self.rows, self.role = columns, rows, role
        self.filled: Filled | None = None
        self.first = ""


class Source:
    """What the predictions of one model that answers have in common, and how they are to be logged."""

    def __init__(
        self,
        endpoint: Endpoint,
        read_features: Callable[[Reading], ReadFeatures] | None = None,
        *,
        role: str = STABLE,
    ) -> None:
        self.endpoint, self.generation, self.version = endpoint.name, endpoint.generation, endpoint.version
        self.role, self.runtime = role, OUTSIDE if endpoint.is_outside else endpoint.runtime
        self.redact = frozenset(endpoint.redact)
        self.is_required = endpoint.log == "required"
        self.is_whole, self.limit = endpoint.log_share == 1, sample_limit(endpoint.log_share)
        self._features = read_features

    @classmethod
    def of(cls, endpoint: Endpoint, predictor: OnlinePredictor) -> Source:
        """That of an endpoint, with the features that its predictor reads."""
        reader = predictor.reader
        if reader is None:
            return cls(endpoint)
        views = tuple(view.id for view in reader.views)
        return cls(endpoint, features_of(reader.service.id, views, tuple(reader.names), endpoint.redact))

    def read_features(self, reading: Reading) -> ReadFeatures | None:
        """A reading as it is logged."""
        return None if self._features is None else self._features(reading)


def _told(value: Any) -> Any:
    """What MessagePack has no form for: columns of NumPy, and a feature that only other rows of the request hold."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return None if type(value) is object else str(value)


_encode = msgspec.msgpack.Encoder(enc_hook=_told).encode
decode = msgspec.msgpack.Decoder(Logged).decode


def records_of(entry: Entry, source: Source, at_us: int, latency_us: int | None, outputs: Sequence[Any]) -> list[bytes]:
    """The records of a request that has its first id, as bytes, in the order of their ids.

    Raises:
        WrongTypeError: one row alone is larger than a record may be.
    """
    inputs, reads = entry.columns, () if entry.filled is None else entry.filled.reads
    if source.redact:
        inputs = {name: values for name, values in inputs.items() if name not in source.redact}
    whole = Logged(
        entry.first, entry.rows, at_us, entry.request_id, source.endpoint, source.generation, source.version,
        entry.role or source.role, source.runtime, entry.route_key, latency_us, inputs, outputs,
        source.read_features(reads[0]) if len(reads) == 1 else None,
    )  # fmt: skip
    if len(reads) < 2:
        return _fitting(whole)
    found: list[bytes] = []
    start = 0
    for reading in reads:
        end = start + len(reading.vectors)
        part = _part(whole, slice(start, end))
        found += _fitting(msgspec.structs.replace(part, features=source.read_features(reading)))
        start = end
    return found


def features_of(
    service: str, views: tuple[str, ...], names: tuple[str, ...], redact: Collection[str]
) -> Callable[[Reading], ReadFeatures]:
    """What makes features of a reading, without the redacted ones."""
    kept = [place for place, name in enumerate(names) if name not in redact]
    chosen = tuple(names[place] for place in kept)

    def cut(row: Sequence[Any]) -> Sequence[Any]:
        return row if len(kept) == len(names) else [row[place] for place in kept]

    def made(reading: Reading) -> ReadFeatures:
        vectors = reading.vectors
        return ReadFeatures(
            service, reading.at_us, views, reading.watermarks, chosen, [cut(each.values) for each in vectors],
            [cut(each.statuses) for each in vectors], [cut(each.event_us) for each in vectors],
        )  # fmt: skip

    return made


def _fitting(record: Logged) -> list[bytes]:
    """A record in as many as its size takes."""
    try:
        data = _encode(record)
    except OverflowError:
        data = _encode(_storable(record))
    if len(data) <= LARGEST_RECORD_BYTES:
        return [data]
    if record.rows == 1:
        raise WrongTypeError("row", f"{len(data):,} bytes", "a row of at most 16 MiB, with its features")
    middle = record.rows // 2
    return [*_fitting(_part(record, slice(0, middle))), *_fitting(_part(record, slice(middle, record.rows)))]


def _part(record: Logged, part: slice) -> Logged:
    features = record.features
    if features is not None:
        by_row = {name: getattr(features, name)[part] for name in ("values", "statuses", "event_us")}
        features = msgspec.structs.replace(features, **by_row)
    return msgspec.structs.replace(
        record, id=id_at(record.id, part.start), rows=part.stop - part.start, outputs=record.outputs[part],
        inputs={name: values[part] for name, values in record.inputs.items()}, features=features,
    )  # fmt: skip


def _storable(record: Logged) -> Logged:
    """A record whose integers and times that MessagePack has no form for are texts, which the types of their columns tell."""
    inputs = {name: [storable(value) for value in plain(values)] for name, values in record.inputs.items()}
    features = record.features
    if features is not None:
        values = [[storable(value) for value in row] for row in features.values]
        features = msgspec.structs.replace(features, values=values)
    return msgspec.structs.replace(record, inputs=inputs, features=features)


def storable(value: Any) -> Any:
    """A value as MessagePack has a form for it: integers of more than 64 bits are texts, and times of no year in UTC.

    >>> storable([1, {"a": 2**64}])
    [1, {'a': '18446744073709551616'}]
    """
    if type(value) is int:
        return value if -(1 << 63) <= value < 1 << 64 else str(value)
    if type(value) is datetime and value.tzinfo:
        try:
            value.astimezone(UTC)
        except OverflowError:  # before the year 1, or after 9999
            return value.isoformat()
    if isinstance(value, list | tuple):
        return [storable(each) for each in value]
    if isinstance(value, dict):
        return {name: storable(each) for name, each in value.items()}
    return value

"""Reading a service's features for entities: what the training set has at the same instant, from the online store.

One read of the store for all entities and views, so that what is answered is of one instant of it; of so many entities that
this would take much memory, one after another for some of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from mainspring import clock
from mainspring.errors import InvalidError, StorageError
from mainspring.features._store import DefinitionStore
from mainspring.features.aggregation.aggregation import Aggregation, aggregation
from mainspring.features.aggregation.reading import WindowReads
from mainspring.features.aggregation.state import places_of_read
from mainspring.features.definitions.demand import computed
from mainspring.features.definitions.entity import Key
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import Definition, OnDemandRecord, Part, ServiceRecord, ViewRecord
from mainspring.features.history.status import Status
from mainspring.features.online.ahead import FLAGS, IS_CHAIN, as_of
from mainspring.features.online.entities import entity_encoder
from mainspring.features.online.outages import GuardedStore, Need, Outage
from mainspring.features.online.packing import Packing, Unpacked, is_pushed
from mainspring.features.online.places import tiles_of_entity, tiles_prefix, values_prefix, watermark_place
from mainspring.features.online.watermark import allowance_us, read_watermark
from mainspring.workspace import Workspace

_PRESENT, _NULL, _OUTSIDE, _UNKNOWN, _NOT_KEPT = (
    each.value
    for each in (Status.PRESENT, Status.NULL_VALUE, Status.OUTSIDE_MAX_AGE, Status.NOT_FOUND, Status.NOT_KEPT)
)
_CLOCKS_APART_US = 10_000_000
_PRESENT_US = 1_000_000  # how long after its instant a read still is one of the present
_PLACES_AT_ONCE = 10_000  # of one read; their keys take about a megabyte
_QUICK_PLACES = 256  # of a local store: about a millisecond


class Vector(msgspec.Struct, frozen=True):
    """The features of one entity, in the order of the service's `names`. Times are microseconds, None if there is none.

    `is_live` says that it was read from the store; if not, `read_us` is when the oldest of what it was made of was.
    """

    values: Sequence[Any]
    statuses: Sequence[str]
    event_us: Sequence[int | None]
    is_live: bool = True
    read_us: int | None = None


class Reading(msgspec.Struct, frozen=True):
    """Vectors with what they can be judged by: the instant, and what the store reflected in the same read of it.

    `watermarks` are those of the reader's `views` as bytes, None where there is none. `pushed` has a number for each vector,
    whose bit n says that what was stored for the reader's part n came by `push`.
    """

    at_us: int
    vectors: list[Vector]
    watermarks: tuple[bytes | None, ...]
    pushed: list[int]


class FeatureReader:
    """Reads the features of one version of a service. It is made once, and may be used by any number of threads.

    `request` are the columns that name an entity, `keys`, and what on-demand features are computed from.
    `places_per_entity` says of how many values of the store a vector is made, which is what a read costs: a view of
    aggregates has one for each tile that its windows reach. `rows_at_once` entities are read as of one instant of the store.
    """

    def __init__(self, service: str | Definition, workspace: Workspace) -> None:
        store = DefinitionStore(workspace.database, workspace.ledger)
        if not isinstance(service, Definition):
            service = store.get("service", service)
        record = service.record
        if not isinstance(record, ServiceRecord):
            raise InvalidError("service", str(service), "a feature service")
        self.service, self.request = service, record.request
        self.names = tuple(field.name for field in record.fields)
        self._online = GuardedStore(record, workspace)
        self._may_wait = bool(record.on_demand) or workspace.online_folder is None
        self._parts = [_part(part, store, workspace) for part in record.parts]
        demanded = store.by_id(part.version for part in record.on_demand)
        self._demanded = [_Demanded.of(part, demanded[part.version], store, workspace) for part in record.on_demand]
        self._all_parts = [*self._parts, *(part for each in self._demanded for part in each.inputs)]
        self.views = tuple({part.view.id: part.view for part in self._all_parts}.values())
        self.keys = tuple(dict.fromkeys(key.name for part in self._all_parts for key in part.keys))
        self._marks = [watermark_place(view) for view in self.views]
        folded = [part.view for part in self._all_parts if isinstance(part, _Folded)]
        self._folded_marks = [*dict.fromkeys(map(watermark_place, folded))]
        self.places_per_entity = sum(part.span for part in self._all_parts)
        self.rows_at_once = max(_PLACES_AT_ONCE // max(self.places_per_entity, 1), 1)
        self._functions = Functions(workspace)
        told = [name for part in self._parts for name in part.names] + [n for d in self._demanded for n in d.names]
        self._order = None if tuple(told) == self.names else [told.index(name) for name in self.names]

    def taken(self, entities: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """The columns of the request as they were taken, by entity: keys as they are, all else in its declared type.

        Whatever form a value came in, it has one here, of which the same features are computed again.
        """
        columns: dict[str, list[Any]] = {name: [entity.get(name) for entity in entities] for name in self.request}
        if typed := {name: (dtype, columns[name]) for name, dtype in self.request.items() if name not in self.keys}:
            from mainspring.features.definitions.frames import typed_frame

            columns |= typed_frame(typed).to_dict(as_series=False)
        return [list(row) for row in zip(*columns.values(), strict=True)]

    def is_slow(self, count: int) -> bool:
        """Whether a read of so many entities has no place in an event loop: it takes longer than others may wait for, or
        calls a server or a project's function.
        """
        return self._may_wait or count * self.places_per_entity > _QUICK_PLACES

    def read(self, entities: Sequence[Mapping[str, Any]], *, at_us: int | None = None) -> list[Vector]:
        """The features of each entity, a mapping of the request's columns, at an instant: now, if none is said.

        What is stored by a machine whose clock is some seconds ahead is of the present: the read then is as of its time.

        More entities than `rows_at_once` are read in several reads of the store, each as of an instant of its own.

        Raises:
            InvalidError: a column of the request is missing, or a key null; it is named. Another column may be null.
            WrongTypeError: a column of the request has a value that doesn't fit its type.
            StorageError: the online store can't be read, and the service declares nothing for that.
        """
        at = clock.now_us() if at_us is None else at_us
        if len(entities) <= self.rows_at_once:
            return self._read(entities, at)
        return [vector for some in self.batches(entities) for vector in self._read(some, at)]

    def batches(self, entities: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
        """The entities in order, cut into as many as are read at once."""
        for start in range(0, len(entities), self.rows_at_once):
            yield entities[start : start + self.rows_at_once]

    def _read(self, entities: Sequence[Mapping[str, Any]], at: int) -> list[Vector]:
        try:
            places = self._places(entities, at)
            try:
                stored = self._online.get_many([*places, *self._folded_marks] if self._folded_marks else places)
            except StorageError as error:
                return self._without_store(entities, places, at, error)
            marks = dict(zip(self._folded_marks, stored[len(places) :], strict=True))
            return self._answered(entities, stored, at, marks)
        except _ClockBehindError as behind:
            return self._read(entities, behind.at_us)

    def reading(
        self, entities: Sequence[Mapping[str, Any]], *, at_us: int | None = None, wanted: Sequence[int] | None = None
    ) -> Reading:
        """The same with the watermarks of the views, all as of one instant of the store, however many; raises as `read`.

        `pushed` is told of the vectors at the places `wanted`, or of all.
        """
        at = clock.now_us() if at_us is None else at_us
        asked = range(len(entities)) if wanted is None else wanted
        try:
            return self._reading(entities, at, asked)
        except _ClockBehindError as behind:
            return self.reading(entities, at_us=behind.at_us, wanted=wanted)

    def _reading(self, entities: Sequence[Mapping[str, Any]], at: int, wanted: Sequence[int]) -> Reading:
        places = self._places(entities, at)
        try:
            stored = self._online.get_many([*places, *self._marks])
        except StorageError as error:
            vectors = self._without_store(entities, places, at, error)
            return Reading(at, vectors, (None,) * len(self._marks), [0] * len(entities))
        values, marks = stored[: len(places)], stored[len(places) :]
        pushed = [0] * len(entities)
        start = 0
        for number, part in enumerate(self._all_parts):
            for place in wanted if isinstance(part, _Stored) else ():
                data = values[start + place]
                if data is not None and is_pushed(as_of(data, at) or data):
                    pushed[place] |= 1 << number
            start += part.span * len(entities)
        vectors = self._answered(entities, values, at, dict(zip(self._marks, marks, strict=True)))
        return Reading(at, vectors, tuple(marks), pushed)

    def _places(self, entities: Sequence[Mapping[str, Any]], at_us: int) -> list[bytes]:
        keys: list[bytes] = []
        for part in self._all_parts:
            keys += part.places(entities, at_us)
        return keys

    def _answered(
        self, entities: Sequence[Mapping[str, Any]], stored: Sequence[bytes | None], at_us: int,
        marks: Mapping[bytes, bytes | None],
    ) -> list[Vector]:  # fmt: skip
        """The vectors of what is stored, by the watermarks of views of aggregates."""
        values = iter(stored)
        answers = [part.answers(entities, values, at_us, marks) for part in self._all_parts]
        own, inner = answers[: len(self._parts)], answers[len(self._parts) :]
        columns = [*own, *self._computed(entities, inner)]
        if len(columns) == 1 and self._order is None:
            return columns[0]
        return [self._vector(parts) for parts in zip(*columns, strict=True)]

    def _without_store(
        self, entities: Sequence[Mapping[str, Any]], places: Sequence[bytes], at_us: int, error: StorageError
    ) -> list[Vector]:
        """What is declared for an outage: the store's error, or vectors with marks."""
        if self._online.policy == "fail":
            raise error
        count = len(entities)
        known = self._online.recall([*places, *self._folded_marks])
        data = [each.data if each else None for each in known]
        marks = dict(zip(self._folded_marks, data[len(places) :], strict=True))
        vectors = self._answered(entities, data, at_us, marks)
        outage = self._outage()
        found = []
        for vector, seen in zip(vectors, outage.read_us(known[: len(places)], count), strict=True):
            values, statuses, oldest = outage.marked(vector.values, vector.statuses, seen)
            found.append(Vector(values, statuses, vector.event_us, False, oldest))
        return found

    def _outage(self) -> Outage:
        needs: dict[str, tuple[Need, ...]] = {}
        for number, part in enumerate(self._parts):
            needs |= {name: (Need(number, places),) for name, places in zip(part.names, part.needs, strict=True)}
        first = len(self._parts)
        for each in self._demanded:
            wanted = (Need(first + place, one) for place, part in enumerate(each.inputs) for one in part.needs)
            needs |= dict.fromkeys(each.names, tuple(dict.fromkeys(wanted)))
            first += len(each.inputs)
        spans = [part.span for part in self._all_parts]
        return Outage(self._online.defaults, self.names, [needs[name] for name in self.names], spans)

    def _computed(self, entities: Sequence[Mapping[str, Any]], inner: list[list[Vector]]) -> list[list[Vector]]:
        found, at = [], 0
        for each in self._demanded:
            given = inner[at : at + len(each.inputs)]
            at += len(each.inputs)
            found.append(each.computed(entities, given, self._functions))
        return found

    def _vector(self, parts: Sequence[Vector]) -> Vector:
        values = [value for part in parts for value in part.values]
        statuses = [status for part in parts for status in part.statuses]
        event_us = [event for part in parts for event in part.event_us]
        if self._order is None:
            return Vector(values, statuses, event_us)
        return Vector(*([told[place] for place in self._order] for told in (values, statuses, event_us)))  # type: ignore[arg-type]  # three lists of their own types


class _ClockBehindError(Exception):
    """The present of another machine is ahead of this one's."""

    def __init__(self, at_us: int) -> None:
        self.at_us = at_us


def _expect_past(at_us: int, kept_us: int) -> None:
    """Go on if an instant, before those of which something is kept, is a past one, and not of a clock that is behind."""
    now_us = clock.now_us()
    if at_us > now_us - _PRESENT_US and kept_us <= now_us + _CLOCKS_APART_US:
        raise _ClockBehindError(kept_us)


class _Stored:
    """The part of a service that is stored as values."""

    span = 1  # how many places an entity has

    def __init__(self, part: Part, view: Definition) -> None:
        record = view.record
        assert isinstance(record, ViewRecord)
        self.view, self.names, self.types, self._ttl_us = view, part.names, _types(part, record), record.ttl_us
        self._prefix, self.keys = values_prefix(view), _asked(part, record)
        self._key = entity_encoder(_asked(part, record))
        self._read: Callable[[bytes], Unpacked] = Packing(record.fields, view.number).reader(part.features)
        count = len(part.features)
        self.needs = [range(self.span)] * count
        self._unknown = Vector([None] * count, [_UNKNOWN] * count, [None] * count)
        self._not_kept = Vector([None] * count, [_NOT_KEPT] * count, [None] * count)
        self._outside = [_OUTSIDE] * count
        self._present = [_PRESENT] * count

    def places(self, entities: Sequence[Mapping[str, Any]], at_us: int) -> list[bytes]:  # noqa: ARG002  # the signature of parts
        prefix, key = self._prefix, self._key
        return [prefix + key(entity) for entity in entities]

    def answers(
        self, entities: Sequence[Mapping[str, Any]], stored: Any, at_us: int, marks: Mapping[bytes, bytes | None]  # noqa: ARG002  # the signature of parts
    ) -> list[Vector]:  # fmt: skip
        read, width, present = self._read, len(self.names), self._present
        oldest_us = at_us - self._ttl_us if self._ttl_us is not None else None
        found = []
        for data in islice(stored, len(entities)):
            if data is None:
                found.append(self._unknown)
                continue
            if data[FLAGS] & IS_CHAIN and (data := as_of(data, at_us)) is None:
                found.append(self._unknown)
                continue
            event_us, created_us, values, _, is_whole = read(data)
            if event_us > at_us or created_us > at_us:
                _expect_past(at_us, max(event_us, created_us))
                found.append(self._not_kept)
                continue
            event = [event_us] * width
            if oldest_us is not None and event_us < oldest_us:
                found.append(Vector([None] * width, self._outside, event))
            else:
                statuses = present if is_whole else [_NULL if value is None else _PRESENT for value in values]
                found.append(Vector(values, statuses, event))
        return found


class _Folded:
    """The part of a service that is stored as tiles of aggregates."""

    def __init__(self, part: Part, view: Definition, late_us: int) -> None:
        record = view.record
        assert isinstance(record, ViewRecord)
        self.view, self.names, self.types, self._features = view, part.names, _types(part, record), part.features
        self._prefix, self.keys = tiles_prefix(view), _asked(part, record)
        self._key, self._spec = entity_encoder(_asked(part, record)), spec_of(record)
        self._reads = WindowReads(self._spec)
        self.span = self._reads.span
        places = places_of_read(self._spec)
        self.needs = [places[name] for name in part.features]
        self._mark, self._allowance_us = watermark_place(view), late_us
        self._begun: tuple[bytes | None, int] = None, clock.FIRST_US
        count = len(part.features)
        self._not_kept = Vector([None] * count, [_NOT_KEPT] * count, [None] * count)

    def places(self, entities: Sequence[Mapping[str, Any]], at_us: int) -> list[bytes]:
        ends = self._reads.ends(at_us)
        begins = [tiles_of_entity(self._prefix, self._key(entity)) for entity in entities]
        return [begin + end for begin in begins for end in ends]

    def answers(
        self, entities: Sequence[Mapping[str, Any]], stored: Any, at_us: int, marks: Mapping[bytes, bytes | None]
    ) -> list[Vector]:
        begins_us = self._begins_us(marks[self._mark])
        if at_us < begins_us:
            deque(islice(stored, len(entities) * self.span), maxlen=0)
            _expect_past(at_us, begins_us)
            return [self._not_kept] * len(entities)
        known: dict[bytes, Vector] = {}  # many flights of one carrier ask for the same
        found = []
        for entity in entities:
            key, data = self._key(entity), [*islice(stored, self.span)]
            if key not in known:
                known[key] = self._answer(key, data, at_us)
            found.append(known[key])
        return found

    def _begins_us(self, mark: bytes | None) -> int:
        """From when on the tiles that an instant needs are kept, also while a materialization drops others."""
        known, begins_us = self._begun
        if known != mark:
            begins_us, found = clock.FIRST_US, read_watermark(mark)
            if found is not None:
                running = [found.running.until_us - self._allowance_us] if found.running else []
                begins_us = max([begins_us if found.begins_us is None else found.begins_us, *running])
            self._begun = mark, begins_us
        return begins_us

    def _answer(self, entity: bytes, data: Sequence[bytes | None], at_us: int) -> Vector:
        values = self._reads.read(entity, data, at_us)
        told = [values[name] for name in self._features]
        empty = _UNKNOWN if not any(data) else _NULL
        return Vector(told, [empty if value is None else _PRESENT for value in told], [None] * len(told))


class _Demanded(NamedTuple):
    """An on-demand view with the parts of other views that it takes."""

    record: OnDemandRecord
    inputs: list[_Stored | _Folded]
    features: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, part: Part, definition: Definition, store: DefinitionStore, workspace: Workspace) -> _Demanded:
        record = definition.record
        assert isinstance(record, OnDemandRecord)
        return cls(record, [_part(each, store, workspace) for each in record.inputs], part.features, part.names)

    def computed(
        self, entities: Sequence[Mapping[str, Any]], inputs: list[list[Vector]], functions: Functions
    ) -> list[Vector]:
        from mainspring.features.definitions.frames import typed_frame

        columns = {name: (dtype, _given(name, entities)) for name, dtype in self.record.request.items()}
        for part, vectors in zip(self.inputs, inputs, strict=True):
            for place, (name, dtype) in enumerate(zip(part.names, part.types, strict=True)):
                columns[name] = dtype, [vector.values[place] for vector in vectors]
        found = computed(self.record, typed_frame(columns), functions)
        rows = (found if tuple(found.columns) == tuple(self.features) else found.select(self.features)).rows()
        nothing = [None] * len(self.names)
        return [Vector(list(row), [_NULL if value is None else _PRESENT for value in row], nothing) for row in rows]


def _given(name: str, entities: Sequence[Mapping[str, Any]]) -> list[Any]:
    """A column of the request; a null is a value, what is not there is none."""
    try:
        return [entity[name] for entity in entities]
    except KeyError as error:
        raise InvalidError(name, "missing", "a column of each request, which may be null") from error


def spec_of(record: ViewRecord) -> Aggregation:
    """The aggregates of a view, held to the types of their columns."""
    return aggregation(record.aggregates, record.columns)


def _part(part: Part, store: DefinitionStore, workspace: Workspace) -> _Stored | _Folded:
    view = store.by_id([part.version])[part.version]
    assert isinstance(view.record, ViewRecord)
    return _Folded(part, view, allowance_us(workspace)) if view.record.aggregates else _Stored(part, view)


def _types(part: Part, record: ViewRecord) -> tuple[str, ...]:
    types = {field.name: field.dtype for field in record.fields}
    return tuple(types[name] for name in part.features)


def _asked(part: Part, record: ViewRecord) -> tuple[Key, ...]:
    """The view's keys by the columns of the request."""
    return tuple(Key(part.keys.get(key.name, key.name), key.type) for key in record.keys)

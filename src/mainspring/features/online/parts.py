"""The parts of a service as they are read: what places of the store a view needs, and its features by what is stored there.

Many rows ask for one entity, so a part first tells the `different` ones, as bytes. Its `places` and `answers` are of the same
entities in the same order; it takes its `span` of values for each of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from mainspring import clock
from mainspring.errors import InvalidError
from mainspring.features._store import DefinitionStore
from mainspring.features.aggregation.reading import WindowReads
from mainspring.features.aggregation.state import places_of_read
from mainspring.features.definitions.demand import computed
from mainspring.features.definitions.entity import Key
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import Definition, OnDemandRecord, Part, ViewRecord
from mainspring.features.history.status import Status
from mainspring.features.online.ahead import FLAGS, IS_CHAIN, as_of
from mainspring.features.online.entities import entity_encoder
from mainspring.features.online.packing import Packing, Unpacked
from mainspring.features.online.places import tiles_of_entity, tiles_prefix, values_prefix, watermark_place
from mainspring.features.online.states import spec_of
from mainspring.features.online.vector import Reading, Vector
from mainspring.features.online.watermark import allowance_us, read_watermark
from mainspring.workspace import Workspace

_PRESENT, _NULL, _OUTSIDE, _UNKNOWN, _NOT_KEPT = (
    each.value
    for each in (Status.PRESENT, Status.NULL_VALUE, Status.OUTSIDE_MAX_AGE, Status.NOT_FOUND, Status.NOT_KEPT)
)
_CLOCKS_APART_US = 10_000_000
_ENDLESS_US = 1 << 62
_PRESENT_US = 1_000_000  # how long after its instant a read still is one of the present
GetMany = Callable[[Sequence[bytes]], list[bytes | None]]


class ClockBehindError(Exception):
    """The present of another machine is ahead of this one's."""

    def __init__(self, at_us: int) -> None:
        self.at_us = at_us


def _expect_past(at_us: int, kept_us: int) -> None:
    """Go on if an instant, before those of which something is kept, is a past one, and not of a clock that is behind."""
    now_us = clock.now_us()
    if at_us > now_us - _PRESENT_US and kept_us <= now_us + _CLOCKS_APART_US:
        raise ClockBehindError(kept_us)


class Different(NamedTuple):
    """The different entities of many rows, as bytes, in order of the first row of each, and by number that of each row."""

    entities: list[bytes]
    of_rows: Sequence[int]

    @classmethod
    def of(cls, entities: list[bytes]) -> Different:
        """Of the entity of each row.

        >>> Different.of([b"UA", b"B6", b"UA"])
        Different(entities=[b'UA', b'B6'], of_rows=[0, 1, 0])
        """
        if len(entities) == 1 or len(set(entities)) == len(entities):
            return cls(entities, range(len(entities)))
        numbers = {entity: number for number, entity in enumerate(dict.fromkeys(entities))}
        return cls([*numbers], [numbers[entity] for entity in entities])

    def by_row(self, found: list[Vector]) -> list[Vector]:
        """What was found for the entities, for each row."""
        return found if isinstance(self.of_rows, range) else [found[number] for number in self.of_rows]


class StoredPart:
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

    def different(self, rows: Sequence[Mapping[str, Any]]) -> Different:
        """The entities of rows.

        Raises:
            InvalidError: a key is missing or null.
            WrongTypeError: a value is of another type than its key.
        """
        return Different.of([self._key(row) for row in rows])

    def places(self, entities: Sequence[bytes], at_us: int) -> list[bytes]:  # noqa: ARG002  # the signature of parts
        """The keys of the store that entities need."""
        return [self._prefix + entity for entity in entities]

    def answers(
        self, entities: Sequence[bytes], stored: Any, at_us: int, marks: Mapping[bytes, bytes | None]  # noqa: ARG002  # the signature of parts
    ) -> list[Vector]:  # fmt: skip
        """The features of entities by what is stored, an iterator over the values of `places`, of which it takes its own."""
        return [self._answer(data, at_us) for data in islice(stored, len(entities))]

    def alone(self, get_many: GetMany, mark: bytes) -> Callable[[Mapping[str, Any], int], Reading]:
        """What reads one entity with the view's watermark, made once; nothing is said of what was pushed.

        What is whole and of the present, as nearly every value is, takes two thirds of the time of `places` and `answers`.
        """
        prefix, key, unpack, present = self._prefix, self._key, self._read, self._present
        ttl_us = _ENDLESS_US if self._ttl_us is None else self._ttl_us
        untold = (0,)

        def read(entity: Mapping[str, Any], at_us: int) -> Reading:
            data, watermark = get_many((prefix + key(entity), mark))
            if data is not None and not data[FLAGS] & IS_CHAIN:
                event_us, created_us, values, _, is_whole = unpack(data)
                if is_whole and created_us <= at_us and at_us - ttl_us <= event_us <= at_us:
                    vector = Vector(values, present, (event_us,) * len(values))
                    return Reading(at_us, [vector], (watermark,), untold)
            return Reading(at_us, [self._answer(data, at_us)], (watermark,), untold)

        return read

    def _answer(self, data: bytes | None, at_us: int) -> Vector:
        """The features of an entity by what is stored at its place."""
        if data is None:
            return self._unknown
        if data[FLAGS] & IS_CHAIN and (data := as_of(data, at_us)) is None:
            return self._unknown
        event_us, created_us, values, _, is_whole = self._read(data)
        if event_us > at_us or created_us > at_us:
            _expect_past(at_us, max(event_us, created_us))
            return self._not_kept
        event = (event_us,) * len(values)
        if self._ttl_us is not None and event_us < at_us - self._ttl_us:
            return Vector(self._unknown.values, self._outside, event)
        statuses = self._present if is_whole else [_NULL if value is None else _PRESENT for value in values]
        return Vector(values, statuses, event)


class FoldedPart:
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

    def different(self, rows: Sequence[Mapping[str, Any]]) -> Different:
        """The entities of rows.

        Raises:
            InvalidError: a key is missing or null.
            WrongTypeError: a value is of another type than its key.
        """
        return Different.of([self._key(row) for row in rows])

    def places(self, entities: Sequence[bytes], at_us: int) -> list[bytes]:
        """The keys of the store that entities need: those of the tiles that end with each window."""
        ends = self._reads.ends(at_us)
        begins = [tiles_of_entity(self._prefix, entity) for entity in entities]
        return [begin + end for begin in begins for end in ends]

    def answers(
        self, entities: Sequence[bytes], stored: Any, at_us: int, marks: Mapping[bytes, bytes | None]
    ) -> list[Vector]:
        """The features of entities by what is stored, an iterator over the values of `places`, of which it takes its own."""
        begins_us = self._begins_us(marks[self._mark])
        if at_us < begins_us:
            deque(islice(stored, len(entities) * self.span), maxlen=0)
            _expect_past(at_us, begins_us)
            return [self._not_kept] * len(entities)
        return [self._answer(entity, [*islice(stored, self.span)], at_us) for entity in entities]

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


class DemandedPart(NamedTuple):
    """An on-demand view with the parts of other views that it takes."""

    record: OnDemandRecord
    inputs: list[StoredPart | FoldedPart]
    features: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, part: Part, definition: Definition, store: DefinitionStore, workspace: Workspace) -> DemandedPart:
        record = definition.record
        assert isinstance(record, OnDemandRecord)
        return cls(record, [part_of_view(each, store, workspace) for each in record.inputs], part.features, part.names)

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


def part_of_view(part: Part, store: DefinitionStore, workspace: Workspace) -> StoredPart | FoldedPart:
    view = store.by_id([part.version])[part.version]
    assert isinstance(view.record, ViewRecord)
    return FoldedPart(part, view, allowance_us(workspace)) if view.record.aggregates else StoredPart(part, view)


def _types(part: Part, record: ViewRecord) -> tuple[str, ...]:
    types = {field.name: field.dtype for field in record.fields}
    return tuple(types[name] for name in part.features)


def _asked(part: Part, record: ViewRecord) -> tuple[Key, ...]:
    """The view's keys by the columns of the request."""
    return tuple(Key(part.keys.get(key.name, key.name), key.type) for key in record.keys)

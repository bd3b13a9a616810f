"""Reading a service's features for entities: what the training set has at the same instant, from the online store.

One read of the store for all entities and views, so that what is answered is of one instant of it; of so many entities that
this would take much memory, one after another for some of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mainspring import clock
from mainspring.errors import InvalidError, StorageError, WrongTypeError
from mainspring.features._store import DefinitionStore
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import Definition, ServiceRecord
from mainspring.features.online.ahead import as_of
from mainspring.features.online.outages import GuardedStore, Need, Outage
from mainspring.features.online.packing import is_pushed
from mainspring.features.online.parts import (
    ClockBehindError,
    DemandedPart,
    Different,
    FoldedPart,
    StoredPart,
    part_of_view,
)
from mainspring.features.online.places import watermark_place
from mainspring.features.online.vector import Reading, Vector
from mainspring.ledger import note_search
from mainspring.workspace import Workspace

_PLACES_AT_ONCE = 30_000  # of one read; their keys take about three megabytes
_QUICK_PLACES = 256  # of a local store: about a millisecond


class FeatureReader:
    """Reads the features of one version of a service. It is made once, and may be used by any number of threads.

    `request` are the columns that name an entity, `keys`, and what on-demand features are computed from.
    `places_per_entity` says of how many values of the store a vector is made, which is what a read costs: a view of
    aggregates has one for each tile that its windows reach. `rows_at_once` entities are read as of one instant of the store.
    A read of at most `quick_rows` may have its place in an event loop; it is 0 if each read may wait, for a store that
    `is_remote` or for a function of the project.
    """

    def __init__(self, service: str | Definition, workspace: Workspace) -> None:
        store = DefinitionStore(workspace.database, workspace.ledger)
        if not isinstance(service, Definition):
            service = store.get("service", service)
        record = service.record
        if not isinstance(record, ServiceRecord):
            raise InvalidError("service", str(service), "a feature service")
        note_search(f"features of {service} in the online store")
        self.service, self.request = service, record.request
        self.names = tuple(field.name for field in record.fields)
        self._online = GuardedStore(record, workspace)
        self._parts = [part_of_view(part, store, workspace) for part in record.parts]
        demanded = store.by_id(part.version for part in record.on_demand)
        self._demanded = [DemandedPart.of(part, demanded[part.version], store, workspace) for part in record.on_demand]
        self._all_parts = [*self._parts, *(part for each in self._demanded for part in each.inputs)]
        self.views = tuple({part.view.id: part.view for part in self._all_parts}.values())
        self.keys = tuple(dict.fromkeys(key.name for part in self._all_parts for key in part.keys))
        self._marks = [watermark_place(view) for view in self.views]
        folded = [part.view for part in self._all_parts if isinstance(part, FoldedPart)]
        self._folded_marks = [*dict.fromkeys(map(watermark_place, folded))]
        self.places_per_entity = sum(part.span for part in self._all_parts)
        self.rows_at_once = max(_PLACES_AT_ONCE // max(self.places_per_entity, 1), 1)
        self.is_remote = workspace.online_folder is None
        may_wait = bool(record.on_demand) or self.is_remote
        self.quick_rows = 0 if may_wait else _QUICK_PLACES // max(self.places_per_entity, 1)
        self._functions = Functions(workspace)
        told = [name for part in self._parts for name in part.names] + [n for d in self._demanded for n in d.names]
        self._order = None if tuple(told) == self.names else [told.index(name) for name in self.names]
        is_one = len(self._all_parts) == 1 and not self._demanded and self._order is None
        self._only = self._parts[0] if is_one else None
        # Most requests are for one entity of one view, for which there is a shorter way to the same.
        at_hand, only = self._online.at_hand, self._only
        self._alone = only.alone(at_hand, *self._marks) if isinstance(only, StoredPart) and at_hand else None

    def taken(self, entities: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """The columns of the request as they were taken, by entity: keys as they are, all else in its declared type.

        Whatever form a value came in, it has one here, of which the same features are computed again.
        """
        columns: dict[str, list[Any]] = {name: [entity.get(name) for entity in entities] for name in self.request}
        if typed := {name: (dtype, columns[name]) for name, dtype in self.request.items() if name not in self.keys}:
            from mainspring.features.definitions.frames import typed_frame

            columns |= typed_frame(typed).to_dict(as_series=False)
        return [list(row) for row in zip(*columns.values(), strict=True)]

    def read(self, entities: Sequence[Mapping[str, Any]], *, at_us: int | None = None) -> list[Vector]:
        """The features of each entity, a mapping of the request's columns, at an instant: now, if none is said.

        What is stored by a machine whose clock is some seconds ahead is of the present: the read then is as of its time.

        More entities than `rows_at_once` are read in several reads of the store, each as of an instant of its own.

        Raises:
            InvalidError: a column of the request is missing, or a key null; it is named. Another column may be null.
            WrongTypeError: a column of the request has a value that doesn't fit its type, or it is no list of entities.
            StorageError: the online store can't be read, and the service declares nothing for that.
        """
        if self._alone is not None and type(entities) is list and len(entities) == 1:
            return self.one(entities[0], at_us=at_us).vectors
        _expect_several(entities)
        at = clock.now_us() if at_us is None else at_us
        if len(entities) <= self.rows_at_once:
            return self._read(entities, at)
        return [vector for some in self.batches(entities) for vector in self._read(some, at)]

    def one(self, entity: Mapping[str, Any], *, at_us: int | None = None) -> Reading:
        """`reading` of one entity, of which nothing is said of what was pushed; raises as `read`."""
        at = clock.now_us() if at_us is None else at_us
        if self._alone is not None:
            try:
                return self._alone(entity, at)
            except (ClockBehindError, StorageError):
                pass  # what is done then, `reading` does
        return self.reading([entity], at_us=at, wanted=())

    def batches(self, entities: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
        """The entities in order, cut into as many as are read at once."""
        for start in range(0, len(entities), self.rows_at_once):
            yield entities[start : start + self.rows_at_once]

    def _read(self, entities: Sequence[Mapping[str, Any]], at: int) -> list[Vector]:
        try:
            asked, places = self._asked(entities, at)
            try:
                stored = self._online.get_many([*places, *self._folded_marks] if self._folded_marks else places)
            except StorageError as error:
                return self._without_store(entities, asked, places, at, error)
            marks = dict(zip(self._folded_marks, stored[len(places) :], strict=True)) if self._folded_marks else {}
            return self._answered(entities, asked, stored, at, marks)
        except ClockBehindError as behind:
            return self._read(entities, behind.at_us)

    def reading(
        self, entities: Sequence[Mapping[str, Any]], *, at_us: int | None = None, wanted: Sequence[int] | None = None
    ) -> Reading:
        """The same with the watermarks of the views, all as of one instant of the store, however many; raises as `read`.

        `pushed` is told of the vectors at the places `wanted`, or of all.
        """
        _expect_several(entities)
        at = clock.now_us() if at_us is None else at_us
        asked = range(len(entities)) if wanted is None else wanted
        try:
            return self._reading(entities, at, asked)
        except ClockBehindError as behind:
            return self.reading(entities, at_us=behind.at_us, wanted=wanted)

    def _reading(self, entities: Sequence[Mapping[str, Any]], at: int, wanted: Sequence[int]) -> Reading:
        asked, places = self._asked(entities, at)
        try:
            stored = self._online.get_many([*places, *self._marks])
        except StorageError as error:
            vectors = self._without_store(entities, asked, places, at, error)
            return Reading(at, vectors, (None,) * len(self._marks), [0] * len(entities))
        values, marks = stored[: len(places)], stored[len(places) :]
        pushed = [0] * len(entities)
        start = 0
        for number, (part, different) in enumerate(zip(self._all_parts, asked, strict=True)):
            for row in wanted if isinstance(part, StoredPart) else ():
                data = values[start + different.of_rows[row]]
                if data is not None and is_pushed(as_of(data, at) or data):
                    pushed[row] |= 1 << number
            start += part.span * len(different.entities)
        vectors = self._answered(entities, asked, values, at, dict(zip(self._marks, marks, strict=True)))
        return Reading(at, vectors, tuple(marks), pushed)

    def _asked(self, entities: Sequence[Mapping[str, Any]], at_us: int) -> tuple[list[Different], list[bytes]]:
        """The different entities of each part, and where all of them stand in the store."""
        asked = [part.different(entities) for part in self._all_parts]
        if self._only is not None:
            return asked, self._only.places(asked[0].entities, at_us)
        places: list[bytes] = []
        for part, different in zip(self._all_parts, asked, strict=True):
            places += part.places(different.entities, at_us)
        return asked, places

    def _answered(
        self, entities: Sequence[Mapping[str, Any]], asked: Sequence[Different], stored: Sequence[bytes | None],
        at_us: int, marks: Mapping[bytes, bytes | None],
    ) -> list[Vector]:  # fmt: skip
        """The vectors of what is stored, by the watermarks of views of aggregates."""
        if self._only is not None:
            return asked[0].by_row(self._only.answers(asked[0].entities, iter(stored), at_us, marks))
        values = iter(stored)
        answers = [
            different.by_row(part.answers(different.entities, values, at_us, marks))
            for part, different in zip(self._all_parts, asked, strict=True)
        ]
        own, inner = answers[: len(self._parts)], answers[len(self._parts) :]
        columns = [*own, *self._computed(entities, inner)]
        return [self._vector(parts) for parts in zip(*columns, strict=True)]

    def _without_store(
        self, entities: Sequence[Mapping[str, Any]], asked: Sequence[Different], places: Sequence[bytes], at_us: int,
        error: StorageError,
    ) -> list[Vector]:  # fmt: skip
        """What is declared for an outage: the store's error, or vectors with marks."""
        if self._online.policy == "fail":
            raise error
        known = self._online.recall([*places, *self._folded_marks])
        data = [each.data if each else None for each in known]
        marks = dict(zip(self._folded_marks, data[len(places) :], strict=True))
        vectors = self._answered(entities, asked, data, at_us, marks)
        outage = self._outage()
        read_us = outage.read_us(known[: len(places)], [len(different.entities) for different in asked])
        found = []
        for row, vector in enumerate(vectors):
            seen = {need: times[asked[need.part].of_rows[row]] for need, times in read_us.items()}
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


def _expect_several(entities: object) -> None:
    if isinstance(entities, dict | str):  # of which each item would be taken for an entity
        raise WrongTypeError(
            "entities", entities, "a list of entities, each a mapping of columns", "Put it into a list."
        )

"""Why a served value likely differs: what else would give it, tried one after the other on some of the reads.

Of several explanations that one is named which holds for the most reads of a feature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from mainspring.data import dataset
from mainspring.data.ingestion import left_out_of
from mainspring.features.aggregation import WindowedAggregate
from mainspring.features.definitions.demand import computed
from mainspring.features.definitions.records import Definition, OnDemandRecord, Python, ViewRecord
from mainspring.features.history.instants import microseconds
from mainspring.features.history.keys import comparable_keys, key_names
from mainspring.features.history.status import Status
from mainspring.features.online.rows import CREATED, EVENT
from mainspring.features.online.states import spec_of
from mainspring.features.online.watermark import watermark_of
from mainspring.features.parity.answers import Answers, Asked, answers, answers_as_of, asked_of
from mainspring.features.parity.bits import Mask, Served
from mainspring.features.parity.demanding import Demand
from mainspring.features.parity.floats import is_near, order_of, tolerance_of
from mainspring.features.parity.judging import Judged, Sources, levels_of, recomputed
from mainspring.features.parity.past import EVERYTHING, NEEDS, Past, Whole
from mainspring.features.parity.reads import Marks, Reads
from mainspring.features.parity.report import Cause
from mainspring.features.parity.rounding import REFUSED

_SAMPLE = 30  # reads of each feature
_ROWS = 4 * _SAMPLE  # given to a function one by one
_VERSIONS = 5
_MINUTE_US = 60_000_000
_HOURS = [hour * sign for hour in range(1, 15) for sign in (1, -1)]
_ODD_HOURS = [3.5, -3.5, 4.5, 5.5, 5.75, 6.5, 8.75, 9.5, -9.5, 10.5, 12.75]
_ALONE = "the function gives it of that row alone, so it looks at others"
_AMONG = "the function gives something else of that row alone than among others, so it looks at them"
OFFSETS_US = [int(hours * 60) * _MINUTE_US for hours in (*_HOURS, *_ODD_HOURS)]  # of the zones that there are


class Explained(NamedTuple):
    """A read's place, the feature, and why its value likely differs."""

    place: int
    feature: str
    cause: Cause
    why: str


class _Try(NamedTuple):
    """An explanation with, by feature, the reads of the sample for which it holds."""

    cause: Cause
    why: str
    holds: dict[str, Mask]


_Step = Callable[[], Iterable[_Try]]
"""A part of a search, which may call functions of the project with what they refuse."""


def explained(reads: Reads, judged: Judged, sources: Sources, demand: Demand | None = None) -> list[Explained]:
    """The likely causes for some of what differs: of each feature the first reads of the log."""
    sample = {name: places[:_SAMPLE] for name, places in judged.wrong.items()}
    if not sample:
        return []
    places = np.unique(np.concatenate(list(sample.values())))
    spots = {name: np.searchsorted(places, found) for name, found in sample.items()}
    served = judged.served.taken(places, sample)
    open_spots = {name: set(found.tolist()) for name, found in spots.items()}
    tries: list[_Try] = []
    steps = (
        _DemandSearch(demand, judged.expected.taken(places).values, served, places).steps()
        if demand
        else _Search(reads, judged, sources, served, places).steps()
    )
    for each in _tried(steps):
        tries.append(each)
        for name, mask in each.holds.items():
            if all(mask[spots[name]]):  # nothing explains more
                open_spots[name] = set()
        if not any(open_spots.values()):
            break
    return [
        Explained(int(places[spot]), name, *cause)
        for name, found in spots.items()
        for spot, cause in _covered(name, found.tolist(), tries).items()
    ]


def _tried(steps: Iterable[_Step]) -> Iterator[_Try]:
    """What each step finds, up to where a function refuses what it is given."""
    for step in steps:
        with suppress(*REFUSED):
            yield from step()


def _covered(name: str, spots: list[int], tries: list[_Try]) -> dict[int, tuple[Cause, str]]:
    """For each spot the explanation that holds for the most of those that are left."""
    left, found = set(spots), dict.fromkeys(spots, (Cause.UNKNOWN, ""))
    while left:
        best = max(tries, key=lambda each: sum(each.holds[name][list(left)]) if name in each.holds else 0, default=None)
        if best is None or name not in best.holds:
            break
        holds = {spot for spot in left if best.holds[name][spot]}
        if not holds:
            break
        found |= dict.fromkeys(holds, (best.cause, best.why))
        left -= holds
    return found


class _Search:
    """Explanations for a part of stored values."""

    def __init__(self, reads: Reads, judged: Judged, sources: Sources, served: Served, places: Whole) -> None:
        record = judged.view.record
        assert isinstance(record, ViewRecord)
        self.reads, self.judged, self.sources, self.record, self.places = reads, judged, sources, record, places
        self.served = served
        self.asked = asked_of(judged.part, record, reads).taken(places)
        marks = reads.marks(judged.view.id)
        self.marks = Marks(marks.seen, marks.which[places])
        self.levels = levels_of(judged.view, self.marks)
        self.expected = judged.expected.taken(places)
        self.pushed = reads.is_pushed(judged.number)[places]

    def steps(self) -> Iterator[_Step]:
        """One after the other, the cheap ones first."""
        is_pushed = bool(self.pushed.any())
        if is_pushed:
            yield self._other_rows
            yield self._pushed
        yield self._floats
        if not self.record.aggregates:
            yield self._ttl
        yield from self._definitions()
        if not is_pushed:
            yield self._other_rows
        yield lambda: [self._late()]
        yield from self._versions()
        if not self.record.aggregates:
            yield lambda: [self._future()]
        yield self._left_out
        newest = limited(self.sources.newest(self.judged.view), self.asked)
        for offset_us in OFFSETS_US:
            yield partial(self._zone, newest, offset_us)

    def _zone(self, newest: Past, offset_us: int) -> Iterator[_Try]:
        shifted = answers_as_of(self.asked, newest.shifted(offset_us), self.levels)
        yield self._try(Cause.ZONE, f"it is right by times that are {_hours(offset_us)} off", shifted)

    def _other_rows(self) -> Iterator[_Try]:
        """What a function of Python makes of the rows of these keys and times one by one, as when they are pushed or fed."""
        past, record = self.sources.newest(self.judged.view), self.record
        keys = {self.asked.part.keys.get(key.name, key.name): key.name for key in record.keys}
        known = {*past.source.collect_schema()}
        if (
            record.aggregates
            or not isinstance(record.transform, Python)
            or not {*keys.values(), record.event_time} <= known
        ):
            return
        frame = past.source.collect(engine="in-memory")
        left, right = comparable_keys(self.asked.rows, frame, keys)
        times = microseconds(frame.get_column(record.event_time), f"{record.name}.{record.event_time}")
        wanted = pl.DataFrame([*left, pl.Series(EVENT, self._event_us(), pl.Int64)])
        rows = pl.DataFrame([*right, times.alias(EVENT)]).with_row_index("__row")
        found = rows.join(wanted, on=[*key_names(len(keys)), EVENT], how="semi").get_column("__row").head(_ROWS)
        made = [Past(record, frame[row : row + 1].lazy(), past.functions).frame for row in found.to_list()]
        if not made:
            return
        levels = np.where(self.pushed, EVERYTHING, self.levels)
        alone = answers_as_of(self.asked, past.of(pl.concat(made)), levels)
        yield self._try(Cause.OTHER_ROWS, _ALONE, alone)
        # What came by a push or a stream came in batches. What is materialized is made of all rows, as it is here.
        assert alone.event_us is not None
        of_batches = self.pushed | np.full(len(self.places), record.stream is not None)
        is_that_row = (alone.event_us == pl.Series(self._event_us(), dtype=pl.Int64)).fill_null(value=False).to_numpy()
        others = _unlike(self.served, alone.values, self.expected.values)
        yield _Try(Cause.OTHER_ROWS, _AMONG, {name: mask & of_batches & is_that_row for name, mask in others.items()})

    def _left_out(self) -> Iterator[_Try]:
        """Reads of a store that had events which nobody has any more."""
        if self.record.stream is None:
            return
        workspace = self.sources.workspace
        left_out, now = left_out_of(self.record.source, workspace=workspace), watermark_of(self.judged.view, workspace)
        tip = f'; `materialize("{self.judged.view.name}")` drops them' if now and now.surplus(left_out) else ""
        for number, mark in enumerate(self.marks.seen):
            if mark is not None and (gaps := mark.surplus(left_out)):
                ranges = ", ".join(f"{first} to {last}" for first, last in gaps)
                why = f"the view had the events {ranges}, which `{self.record.source}` went on without{tip}"
                yield _Try(Cause.LEFT_OUT, why, dict.fromkeys(self.served, self.marks.which == number))

    def _pushed(self) -> Iterator[_Try]:
        """What was pushed is served as it came, also before its time."""
        now = self.served.agreeing(self.judged.now.taken(self.places).values)
        for found in (self._future(), self._late()):
            yield found._replace(holds={name: mask & self.pushed & ~now[name] for name, mask in found.holds.items()})
        why = "the source's row of that time gives something else"
        yield _Try(Cause.PUSHED, why, dict.fromkeys(self.served, self.pushed))

    def _future(self) -> _Try:
        pairs = zip(self._event_us(), self.asked.at.tolist(), strict=True)
        ahead = np.array([event is not None and event > at for event, at in pairs], bool)
        return _Try(Cause.FUTURE, "its event is after the read", dict.fromkeys(self.served, ahead))

    def _late(self) -> _Try:
        newest = limited(self.sources.newest(self.judged.view), self.asked)
        return self._try(Cause.LATE, "it counts what was created later", answers(self.asked, newest.known(guard=False)))

    def _try(self, cause: Cause, why: str, found: Answers) -> _Try:
        """An explanation that gives these answers, of as many of the features as there are."""
        return _Try(cause, why, self.served.agreeing(found.values))

    def _event_us(self) -> list[int | None]:
        events = self.reads.event_us[self.judged.part.names[0]]
        return [events[place] for place in self.places.tolist()]

    def _ttl(self) -> Iterator[_Try]:
        asked = self.asked._replace(record=msgspec.structs.replace(self.record, ttl_us=None))
        yield self._try(Cause.TTL, "it is right without the time to live", self._recomputed(asked, self.judged.view))
        names = dict(zip(self.judged.part.features, self.judged.part.names, strict=True))
        old = {
            name: np.array(
                [self.reads.statuses[names[name]][place] == Status.OUTSIDE_MAX_AGE for place in self.places.tolist()],
                bool,
            )
            for name in self.served
        }
        yield _Try(Cause.TTL, "it counted as older than the time to live", old)

    def _definitions(self) -> Iterator[_Step]:
        view = self.judged.view
        for other in self.sources.store.versions("view", view.name)[: _VERSIONS + 1]:
            record = other.record
            assert isinstance(record, ViewRecord)
            if other.id == view.id or (record.source, record.keys) != (self.record.source, self.record.keys):
                continue
            known = {field.name for field in record.fields}
            features = tuple(name for name in self.judged.part.features if name in known)
            if features:
                part = msgspec.structs.replace(self.judged.part, version=other.id, features=features)
                yield partial(self._definition, self.asked._replace(part=part, record=record), other)

    def _definition(self, asked: Asked, other: Definition) -> Iterator[_Try]:
        yield self._try(Cause.DEFINITION, f"{other} gives it", self._recomputed(asked, other))

    def _recomputed(self, asked: Asked, view: Definition) -> Answers:
        return recomputed(asked, view, self.marks, self.sources)[0]

    def _versions(self) -> Iterator[_Step]:
        """Rows that were changed or removed since: they are in an earlier version of the source."""
        if self.record.stream is not None:
            return
        seen = {mark.version for mark in self.marks.seen if mark is not None}
        for version in dataset(self.record.source, self.sources.workspace).versions()[: _VERSIONS + 1]:
            if str(version) not in seen:
                yield partial(self._version, str(version))

    def _version(self, version: str) -> Iterator[_Try]:
        past = self.sources.find(self.judged.view, version)
        if past is not None:
            yield self._try(Cause.SOURCE, f"{version} gives it", answers_as_of(self.asked, past, self.levels))

    def _floats(self) -> Iterator[_Try]:
        for hop in spec_of(self.record).hops if self.record.aggregates else ():
            for feature in hop.features:
                if feature.name in self.served and feature.kind in ("sum", "mean"):
                    yield from self._orders(feature.declared)
        yield _near(self.served, self.expected.values)

    def _orders(self, feature: WindowedAggregate) -> Iterator[_Try]:
        """Where another order of the window's values gives what was served."""
        past = self.sources.newest(self.judged.view)
        found: dict[str, Mask] = {}
        for spot, served in enumerate(self.served[feature.name].values):
            at, level = int(self.asked.at[spot]), int(self.levels[spot])
            tail = (at - feature.window_us) // feature.hop_us * feature.hop_us
            seen = pl.col(EVENT).is_between(tail, at) & (pl.col(CREATED) <= at) & (pl.col(NEEDS) <= level)
            events = limited(past, self.asked.taken(np.array([spot]))).frame.filter(seen).sort(EVENT)
            values = events.get_column(feature.aggregate.column).drop_nulls().cast(pl.Float64).to_list()
            if said := order_of(feature.aggregate.kind, values, served):
                found.setdefault(said, np.zeros(len(self.places), bool))[spot] = True
        for said, mask in found.items():
            yield _Try(Cause.FLOATS, f"it is right when added up {said}", {feature.name: mask})


class _DemandSearch:
    """Explanations for features that are computed on demand."""

    def __init__(self, demand: Demand, expected: pl.DataFrame, served: Served, places: Whole) -> None:
        self.demand, self.expected, self.served, self.places = demand, expected, served, places
        self.inputs = [each.base[places] for each in demand.inputs]
        self.request = demand.request[places]

    def steps(self) -> Iterator[_Step]:
        """One after the other, the cheap ones first."""
        yield self._of_inputs
        yield lambda: [_near(self.served, self.expected)]
        if isinstance(self.demand.record.transform, Python):
            yield self._other_rows
        definition = self.demand.definition
        for other in self.demand.sources.store.versions("on_demand", definition.name)[: _VERSIONS + 1]:
            if other.id != definition.id:
                yield partial(self._definition, other)
        for offset_us in OFFSETS_US:
            yield partial(self._zone, offset_us)

    def _of_inputs(self) -> Iterator[_Try]:
        served = self.demand.as_served()[self.places]
        yield self._try(Cause.INPUTS, "it is computed of features that differ, too", served)

    def _other_rows(self) -> Iterator[_Try]:
        rows = [slice(row, row + 1) for row in range(len(self.places))]
        made = self.demand.values
        alone = pl.concat(made([each[row] for each in self.inputs], self.request[row]) for row in rows)
        yield self._try(Cause.OTHER_ROWS, _ALONE, alone)
        yield _Try(Cause.OTHER_ROWS, _AMONG, _unlike(self.served, alone, self.expected))

    def _definition(self, other: Definition) -> Iterator[_Try]:
        assert isinstance(other.record, OnDemandRecord)
        frame = pl.concat([self.request, *self.inputs], how="horizontal")
        found = computed(other.record, frame, self.demand.sources.functions)
        if all(name in found.columns for name in self.served):
            yield self._try(Cause.DEFINITION, f"{other} gives it", found)

    def _zone(self, offset_us: int) -> Iterator[_Try]:
        request, *inputs = (_shifted(frame, offset_us) for frame in (self.request, *self.inputs))
        values = self.demand.values(inputs, request)
        yield self._try(Cause.ZONE, f"it is right by times that are {_hours(offset_us)} off", values)

    def _try(self, cause: Cause, why: str, values: pl.DataFrame) -> _Try:
        return _Try(cause, why, self.served.agreeing(values))


def _unlike(served: Served, alone: pl.DataFrame, among: pl.DataFrame) -> dict[str, Mask]:
    """Where two ways to compute a feature are further apart than any rounding."""
    return {name: ~_is_near(alone[name].to_list(), among[name]) for name in served}


def _near(served: Served, expected: pl.DataFrame) -> _Try:
    holds = {name: _is_near(told.values, expected[name]) for name, told in served.items()}
    return _Try(Cause.FLOATS, "it differs in its last bits", holds)


def _is_near(values: Sequence[Any], expected: pl.Series) -> Mask:
    tolerance = tolerance_of(expected)
    pairs = zip(values, expected.to_list(), strict=True)
    return np.array([is_near(*pair, tolerance) for pair in pairs], bool)


def limited(past: Past, asked: Asked) -> Past:
    """The past of the entities that were asked for."""
    keys = {asked.part.keys.get(key.name, key.name): key.name for key in asked.record.keys}
    wanted, known = (pl.DataFrame(side) for side in comparable_keys(asked.rows, past.frame, keys))
    ours = known.with_row_index("__row").join(wanted, on=known.columns, how="semi").get_column("__row")
    return past.of(past.frame[ours.sort()])


def _shifted(frame: pl.DataFrame, offset_us: int) -> pl.DataFrame:
    """Times that are off by so much; without a change of their zone."""
    import polars.selectors as cs

    return frame.with_columns(cs.datetime() + pl.duration(microseconds=offset_us))


def _hours(offset_us: int) -> str:
    hours, minutes = divmod(abs(offset_us) // _MINUTE_US, 60)
    return f"{'+' if offset_us > 0 else '−'}{hours}:{minutes:02} h"

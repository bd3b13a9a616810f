"""The verdict on each served value: whether the offline path gives the same bits as of what the online store reflected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from mainspring.data import DatasetVersion, dataset, get_dataset_version
from mainspring.data.ingestion import newest_of_stream
from mainspring.errors import InvalidError, NotFoundError
from mainspring.features._store import DefinitionStore
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import Definition, OnDemandRecord, Part, Python, ViewRecord, view_record
from mainspring.features.definitions.rows import source_schema
from mainspring.features.history.keys import comparable_keys, key_names
from mainspring.features.history.status import Status
from mainspring.features.online.rows import CREATED, EVENT
from mainspring.features.online.watermark import Watermark
from mainspring.features.parity.answers import Answers, Asked, answers_as_of, answers_now, asked_of, joined
from mainspring.features.parity.bits import Mask, Served
from mainspring.features.parity.past import EVERYTHING, NEEDS, NOTHING, Past, Whole
from mainspring.features.parity.reads import Marks, Reads
from mainspring.features.parity.rounding import MOVES, Move, Moved, moved
from mainspring.workspace import Workspace

_OF = "__of"  # no feature is called so
Verdicts = npt.NDArray[np.int8]
_KEPT_BYTES = 512 << 20  # of versions of sources in memory


class Verdict(IntEnum):
    """What was found of one vector's part. Only `DIFFERS` is a mismatch; what can't be judged is told apart."""

    VERIFIED = 0
    PENDING = 1
    """It was pushed, or came by a stream, and the source doesn't have it yet."""
    UNSETTLED = 2
    """It was read in the middle of a materialization, whose steps leave aggregates in between."""
    GONE = 3
    """The version of the source that the store reflected was removed, or the store asked for an instant of which it has
    nothing any more.
    """
    DIFFERS = 4


class Judged(NamedTuple):
    """The verdicts on one part of a service, the one of this number. `wrong` are the places of reads that differ, by feature.

    `stale` reads would have had another value with all that was known at their instants, and `waiting_us` says for how long
    something known had been waiting to be seen. `now` is what a training set answers. `rounded` are the places of
    verified reads that differ from what is expected by rounding, by feature.
    """

    number: int
    part: Part
    view: Definition
    verdicts: Verdicts
    wrong: dict[str, Whole]
    expected: Answers
    now: Answers
    stale: Mask
    waiting_us: Whole
    served: Served
    rounded: dict[str, Whole]

    @property
    def is_rounded(self) -> Mask:
        """Where a feature is `rounded`."""
        found = np.zeros(len(self.verdicts), bool)
        for places in self.rounded.values():
            found[places] = True
        return found


class Sources:
    """The past of views by version of their source, read once and kept while it is of use."""

    def __init__(self, workspace: Workspace, move: Move | None = None, functions: Functions | None = None) -> None:
        self.workspace, self.move = workspace, move
        self.store = DefinitionStore(workspace.database, workspace.ledger)
        self.functions = functions or Functions(workspace)
        self._past: dict[tuple[str, str], Past] = {}
        self._newest: dict[str, DatasetVersion] = {}
        self._fits: dict[str, DatasetVersion] = {}
        self._read_to: dict[str, int] = {}

    @cached_property
    def moves(self) -> tuple[Sources, ...]:
        """The same with numbers that are off."""
        found = tuple(Sources(self.workspace, move, self.functions) for move in MOVES)
        for each in found:  # the newest is the same to all
            each._newest, each._read_to = self._newest, self._read_to
        return found

    def newest(self, view: Definition) -> Past:
        """Of the version of the source that is the newest when it is first asked for; if that doesn't fit the view any more,
        e.g. by a column, of the newest that does.

        Raises:
            InvalidError: none fits.
        """
        record = view_record(view)
        version = self._newest_version(record)
        if version is None:
            return Past(record, pl.LazyFrame(schema=source_schema(record.stream or {})), self.functions)
        return self._fitting(view, version)

    def read_to(self, view: Definition) -> int:
        """The offset up to which a stream's events are in that version, or were set apart."""
        self._newest_version(view_record(view))
        return self._read_to[view_record(view).source]

    def _newest_version(self, record: ViewRecord) -> DatasetVersion | None:
        """None of a stream that no dataset has yet."""
        if record.source not in self._newest:
            if record.stream is not None:
                version, self._read_to[record.source] = newest_of_stream(record.source, self.workspace)
                if version is None:
                    return None
            else:
                version = dataset(record.source, self.workspace).latest()
            self._newest[record.source] = version
        return self._newest[record.source]

    def _fitting(self, view: Definition, newest: DatasetVersion) -> Past:
        try:
            return self._of(view, self._fits.get(view.id, newest))
        except InvalidError:
            for version in dataset(newest.dataset, self.workspace).versions():
                if version.number < newest.number:
                    with suppress(InvalidError, NotFoundError):
                        found = self._of(view, version)
                        self._fits[view.id] = version
                        return found
            raise

    def find(self, view: Definition, version: str) -> Past | None:
        """Of a version of the source, empty for the newest; None if it was removed."""
        if not version:
            return self.newest(view)
        try:
            return self._of(view, get_dataset_version(version, self.workspace))
        except NotFoundError:
            return None

    def _of(self, view: Definition, version: DatasetVersion) -> Past:
        key = view.id, version.id
        found = self._past.pop(key, None) or self._read(view_record(view), version)
        free = _KEPT_BYTES - found.size_bytes
        if self.move is not None:  # one of many
            free = _KEPT_BYTES // len(MOVES) - found.size_bytes
            if free < 0:
                return found
        for other, past in reversed([*self._past.items()]):  # what was used last is kept first
            free -= past.size_bytes
            if free < 0:
                del self._past[other]
        self._past[key] = found
        return found

    def _read(self, record: ViewRecord, version: DatasetVersion) -> Past:
        source = version.scan()
        return Past(record, self.move.of_source(record, source) if self.move else source, self.functions)


def may_round(definition: Definition, sources: Sources) -> bool:
    """Whether values come through a function of Python, of which Polars may round otherwise in other batches."""
    record = definition.record
    assert isinstance(record, ViewRecord | OnDemandRecord)
    if isinstance(record.transform, Python):
        return True
    inputs = [part.version for part in record.inputs] if isinstance(record, OnDemandRecord) else []
    return any(may_round(view, sources) for view in sources.store.by_id(inputs).values())


def judged(reads: Reads, number: int, part: Part, sources: Sources) -> Judged:
    """The verdicts on a part of stored values, the service's part of this number.

    Raises:
        NotFoundError: the view's dataset is gone.
    """
    return _Judging(reads, number, part, sources).run()


class _Judging:
    """One part in the making."""

    def __init__(self, reads: Reads, number: int, part: Part, sources: Sources) -> None:
        self.reads, self.number, self.part, self.sources = reads, number, part, sources
        self.view = sources.store.by_id([part.version])[part.version]
        self.record = view_record(self.view)
        self.asked = asked_of(part, self.record, reads)
        self.marks = reads.marks(self.view.id)
        self.levels = levels_of(self.view, self.marks)
        self.newest = sources.newest(self.view)
        self.pushed = reads.is_pushed(number)
        self.served = reads.served(part, may_round=may_round(self.view, sources))
        self.event_us = reads.event_us[part.names[0]]

    def run(self) -> Judged:
        expected, gone = recomputed(self.asked, self.view, self.marks, self.sources)
        now = answers_now(self.asked, self.newest)
        off = self._moved(lambda sources: recomputed(self.asked, self.view, self.marks, sources)[0].values)
        off_now = self._moved(lambda sources: answers_now(self.asked, sources.newest(self.view)).values)
        wrong, stale = self.served.differs(expected.values, off), self.served.differs(now.values, off_now)
        verdicts = np.where(wrong, Verdict.DIFFERS, Verdict.VERIFIED).astype(np.int8)
        verdicts[wrong & ~stale] = Verdict.VERIFIED  # a training set gives just that
        verdicts[gone | (wrong & ((self.asked.at < _begins(self.marks)) | self._is_not_kept()))] = Verdict.GONE
        if self.record.aggregates:
            verdicts[self._open(verdicts, is_running(self.marks))] = Verdict.UNSETTLED
        others = [(by_now := wrong & ~stale, self.served.unequal(now.values, by_now)), self._settle_running(verdicts)]
        expected, off = self._settle_pushed(verdicts, expected, off)
        verdicts[self._open(verdicts, is_behind(self.view, self.marks, self.sources))] = Verdict.PENDING
        features = self.served.wrong(expected.values, verdicts == Verdict.DIFFERS, off)
        stale &= verdicts == Verdict.VERIFIED
        waiting = self.newest.waiting_us(self.asked.at, self.levels)
        rounded = self._rounded(verdicts, (expected, off), others)
        found = features, expected, now, stale, waiting, self.served, rounded
        return Judged(self.number, self.part, self.view, verdicts, *found)

    def _rounded(
        self, verdicts: Verdicts, told: tuple[Answers, Moved], others: Sequence[tuple[Mask, dict[str, Whole]]]
    ) -> dict[str, Whole]:
        """Where verified values have other bits than what they were held to: what was expected, or something else at some
        places.
        """
        left = verdicts == Verdict.VERIFIED
        found: dict[str, Whole] = {}
        for mask, unequal in others:
            found = joined_places(found, {name: places[left[places]] for name, places in unequal.items()})
            left = left & ~mask
        return joined_places(found, self.served.rounded(told[0].values, left, told[1]))

    def _is_not_kept(self) -> Mask:
        """Where the reader said that all it found was newer than the instant."""
        return np.array([each == Status.NOT_KEPT for each in self.reads.statuses[self.part.names[0]]], bool)

    def _open(self, verdicts: Verdicts, among: Mask) -> Whole:
        """The places that differ, among some."""
        return np.flatnonzero((verdicts == Verdict.DIFFERS) & among)

    def _settle_running(self, verdicts: Verdicts) -> tuple[Mask, dict[str, Whole]]:
        """What the materialization that was going on had brought already is as good as what it found. Returns where that is
        so, and the places where it has other bits.
        """
        before, unequal = verdicts == Verdict.VERIFIED, dict[str, Whole]()
        ends = levels_of(self.view, finished(self.marks))
        for number, mark in enumerate(self.marks.seen):
            if mark is None or mark.running is None:
                continue
            open_ones = (verdicts == Verdict.DIFFERS) | (verdicts == Verdict.UNSETTLED)
            places = np.flatnonzero(open_ones & (self.marks.which == number))
            version = mark.running.version
            past = self.sources.find(self.view, version)
            if not len(places) or past is None:
                continue
            ended = self._ended(places, past, ends)
            off = self._moved(self._ending(places, version, ends))
            brought = ~self.served.taken(places).differs(ended, off)
            verdicts[places[brought]] = Verdict.VERIFIED
            unequal = joined_places(unequal, self.served.taken(places).unequal(ended, brought), places)
            if not self.record.aggregates:
                left = places[verdicts[places] == Verdict.DIFFERS]
                found = self._found(left, version, int(ends[places[0]]))
                verdicts[left[found.equal]] = Verdict.VERIFIED
                rows, mine = found.rows.select(self.part.features)[found.row], left[found.of]
                bits = self.served.taken(mine).unequal(rows, found.equal[found.of])
                unequal = joined_places(unequal, bits, mine)
        return (verdicts == Verdict.VERIFIED) & ~before, unequal

    def _ending(self, places: Whole, version: str, ends: Whole) -> Callable[[Sources], pl.DataFrame]:
        return lambda sources: self._ended(places, sources.find(self.view, version), ends)

    def _ended(self, places: Whole, past: Past | None, ends: Whole) -> pl.DataFrame:
        assert past is not None
        return answers_as_of(self.asked.taken(places), past, ends[places]).values

    def _settle_pushed(self, verdicts: Verdicts, expected: Answers, off: Moved) -> tuple[Answers, Moved]:
        """What was pushed is held to the source's row of the same time, once there is one; that is what is expected then."""
        places = self._open(verdicts, self.pushed)
        if not len(places):
            return expected, off
        found = self._found(places, "")
        verdicts[places[~found.known]] = Verdict.PENDING
        verdicts[places[found.equal]] = Verdict.VERIFIED
        if not len(found.row) or expected.event_us is None:
            return expected, off
        where, row = places[found.of], found.row

        def again(sources: Sources) -> pl.DataFrame | None:
            other = self._rows(places, sources.find(self.view, ""), EVERYTHING)
            values = recomputed(self.asked, self.view, self.marks, sources)[0].values
            return self._values_like(found.rows, other, lambda rows: _replaced(values, where, rows[row]))

        values = _replaced(expected.values, where, found.rows.select(expected.values.columns)[row])
        events = _replaced(expected.event_us.to_frame(), where, found.rows.select(EVENT)[row]).to_series()
        return Answers(values, events), self._moved(again)

    def _found(self, places: Whole, version: str, level: int = EVERYTHING) -> _Found:
        """The rows of a version of the source that are of the times of which these reads gave values."""
        rows = self._rows(places, self.sources.find(self.view, version), level)

        def again(sources: Sources) -> pl.DataFrame | None:
            return self._values_like(
                rows, self._rows(places, sources.find(self.view, version), level), lambda found: found
            )

        of = rows.get_column(_OF).to_numpy().astype(np.int64)
        is_visible = rows.select(pl.max_horizontal(EVENT, CREATED)).to_series().to_numpy() <= self.asked.at[places[of]]
        differs = self.served.taken(places[of]).differs(rows.select(self.part.features), self._moved(again))
        known, equal = np.zeros(len(places), bool), np.zeros(len(places), bool)
        known[of] = True
        equal[of[is_visible & ~differs]] = True
        best = {
            int(of[row]): int(row) for among in (is_visible, is_visible & ~differs) for row in np.flatnonzero(among)
        }
        return _Found(rows, known, equal, np.array([*best], np.int64), np.array([*best.values()], np.int64))

    def _rows(self, places: Whole, past: Past | None, level: int) -> pl.DataFrame:
        """Of each read the rows of its key and time, in the order of their created times."""
        assert past is not None
        asked = self.asked.taken(places)
        history = past.frame.filter(pl.col(NEEDS) <= level)
        keys = {self.part.keys.get(key.name, key.name): key.name for key in self.record.keys}
        left, right = comparable_keys(asked.rows, history, keys)
        events = pl.Series(EVENT, [self.event_us[place] for place in places.tolist()], pl.Int64)
        wanted = pl.DataFrame([*left, events, pl.Series("__at", asked.at)]).with_row_index(_OF)
        names = [*key_names(len(keys)), EVENT]
        held = pl.DataFrame([*right, *history.select(EVENT, CREATED, *self.part.features)])
        rows = wanted.join(held, on=names, maintain_order="left_right")
        if self.record.ttl_us is not None:
            is_young = pl.col("__at") - pl.col(EVENT) <= self.record.ttl_us
            rows = rows.with_columns(pl.when(is_young).then(pl.col(name)).alias(name) for name in self.part.features)
        return rows.select(_OF, EVENT, CREATED, *self.part.features)

    def _values_like(
        self, rows: pl.DataFrame, other: pl.DataFrame, of: Callable[[pl.DataFrame], pl.DataFrame]
    ) -> pl.DataFrame | None:
        """What is made of the values of other rows, if they are the same rows."""
        names = [_OF, EVENT, CREATED]
        return of(other.select(self.part.features)) if other.select(names).equals(rows.select(names)) else None

    def _moved(self, made: Callable[[Sources], pl.DataFrame | None]) -> Moved:
        return moved(self.sources.moves if self.served.may_round else (), made)


class _Found(NamedTuple):
    """Rows of reads, which reads have one and which have one that is what they gave. Of the reads `of` the best is at `row`."""

    rows: pl.DataFrame
    known: Mask
    equal: Mask
    of: Whole
    row: Whole


def _replaced(values: pl.DataFrame, places: Whole, others: pl.DataFrame) -> pl.DataFrame:
    """Rows with others at some places."""
    order = np.arange(values.height)
    order[places] = values.height + np.arange(len(places))
    return pl.concat([values, others.rename(dict(zip(others.columns, values.columns, strict=True)))])[order]


def joined_places(one: dict[str, Whole], other: dict[str, Whole], among: Whole | None = None) -> dict[str, Whole]:
    """The places of both, by feature, without features of none; those of the other are `among` some, if given."""
    of = {name: places if among is None else among[places] for name, places in other.items()}
    none = np.array([], np.int64)
    found = {name: np.union1d(one.get(name, none), of.get(name, none)) for name in [*one, *of]}
    return {name: places for name, places in found.items() if len(places)}


def recomputed(asked: Asked, view: Definition, marks: Marks, sources: Sources) -> tuple[Answers, Mask]:
    """What the offline path answers to each read as of its watermark, and where the source's version is gone."""
    levels = levels_of(view, marks)
    gone = np.zeros(len(asked.at), bool)
    found: list[Answers] = []
    places: list[Whole] = []
    versions = [mark.version if mark else "" for mark in marks.seen]
    for version in dict.fromkeys(versions):
        mine = np.flatnonzero(np.array([each == version for each in versions], bool)[marks.which])
        past = sources.find(view, version)
        if past is None:
            gone[mine] = True
            past = sources.newest(view)
        found.append(answers_as_of(asked.taken(mine), past, levels[mine]))
        places.append(mine)
    return joined(found, places), gone


def levels_of(view: Definition, marks: Marks) -> Whole:
    """The level of each read: an instant of a dataset, an offset of a stream."""
    is_stream = view_record(view).stream is not None
    levels = [_level(mark, is_stream=is_stream) for mark in marks.seen]
    return np.array(levels, np.int64)[marks.which]


def is_running(marks: Marks) -> Mask:
    """Where a materialization was going on."""
    return np.array([mark is not None and mark.running is not None for mark in marks.seen], bool)[marks.which]


def _begins(marks: Marks) -> Whole:
    """The instants from which on a store of aggregates can be asked."""
    begins = [NOTHING if mark is None or mark.begins_us is None else mark.begins_us for mark in marks.seen]
    return np.array(begins, np.int64)[marks.which]


def is_behind(view: Definition, marks: Marks, sources: Sources) -> Mask:
    """Where the store reflected events that were not read into the dataset of the stream yet."""
    if view_record(view).stream is None:
        return np.zeros(len(marks.which), bool)
    return levels_of(view, marks) > sources.read_to(view)


def _level(mark: Watermark | None, *, is_stream: bool) -> int:
    if mark is None:
        return NOTHING
    if is_stream:
        return EVERYTHING if mark.version else mark.offset
    return mark.until_us if mark.version else NOTHING


def finished(marks: Marks) -> Marks:
    """The marks as if the materializations that were going on had brought everything; of a stream, all of its dataset."""
    return Marks([
        msgspec.structs.replace(mark, version=mark.running.version, until_us=mark.running.until_us)
        if mark is not None and mark.running is not None else mark
        for mark in marks.seen
    ], marks.which)  # fmt: skip

"""The verdict on features that are computed on demand: the recorded function, over what its inputs were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from mainspring.features.definitions.demand import computed
from mainspring.features.definitions.frames import typed_frame
from mainspring.features.definitions.records import OnDemandRecord, Part, ViewRecord, view_record
from mainspring.features.parity.answers import Answers, answers_now, asked_of
from mainspring.features.parity.judging import (
    Judged,
    Sources,
    Verdict,
    Verdicts,
    finished,
    is_behind,
    is_running,
    joined_places,
    levels_of,
    may_round,
    recomputed,
)
from mainspring.features.parity.past import Whole
from mainspring.features.parity.reads import Reads
from mainspring.features.parity.rounding import Moved, moved


class Given(NamedTuple):
    """The features of one input that a read may have met: as of its watermark, once the materialization that was going on is
    over, with all that was known, and as they were served beside; `excuse` is the verdict where none of them explains it.
    """

    base: pl.DataFrame
    reached: pl.DataFrame
    now: pl.DataFrame
    served: pl.DataFrame | None
    excuse: Verdicts

    @property
    def seen(self) -> pl.DataFrame:
        """As they were served, as far as they were."""
        return self.base if self.served is None else self.served


class Demand:
    """An on-demand part of a service and what it may have been computed of.

    `first` is the number of its first input among the parts of stored values; `others` are the verdicts on the service's own
    parts: what they served of the same view is what this was computed of.
    """

    def __init__(self, reads: Reads, part: Part, first: int, others: Sequence[Judged], sources: Sources) -> None:
        self.reads, self.part, self.sources, self.others = reads, part, sources, others
        self.definition = sources.store.by_id([part.version])[part.version]
        assert isinstance(self.definition.record, OnDemandRecord)
        self.record: OnDemandRecord = self.definition.record
        self.request = reads.request(self.record.request)
        self.served = reads.served(part, may_round=may_round(self.definition, sources))
        self.inputs = [self._given(first + number, each) for number, each in enumerate(self.record.inputs)]

    def judged(self) -> Judged:
        """The verdicts; a read is verified if any state that it may have met gives what was served."""
        rows = len(self.reads.at)
        expected, now = (self.values([getattr(each, of) for each in self.inputs]) for of in ("base", "now"))
        verdicts = np.full(rows, Verdict.DIFFERS, np.int8)
        off = self.moved("base")
        tries = [(expected, off)]
        if self.inputs:
            tries += [
                (now, self.moved("now")),
                (self.values([each.reached for each in self.inputs]), self.moved("reached")),
            ]
            tries += [(self.as_served(), self.moved("seen"))]
        unequal: dict[str, Whole] = {}
        for values, moves in tries:
            fits = (verdicts == Verdict.DIFFERS) & ~self.served.differs(values, moves)
            verdicts[fits] = Verdict.VERIFIED
            unequal = joined_places(unequal, self.served.unequal(values, fits))
        for other in self.others:
            if any(_is_same(other.part, each) for each in self.record.inputs):
                wrong = self.served.differs(expected, off)
                verdicts[(other.verdicts == Verdict.DIFFERS) & wrong] = Verdict.DIFFERS
        for each in self.inputs:
            verdicts = np.where(verdicts == Verdict.DIFFERS, each.excuse, verdicts)
        features = self.served.wrong(expected, verdicts == Verdict.DIFFERS, off)
        stale = self.served.differs(now, self.moved("now")) & (verdicts == Verdict.VERIFIED)
        return Judged(
            -1,
            self.part,
            self.definition,
            verdicts,
            features,
            Answers(expected, None),
            Answers(now, None),
            stale,
            np.zeros(rows, np.int64),
            self.served,
            {name: places[(verdicts == Verdict.VERIFIED)[places]] for name, places in unequal.items()},
        )

    def moved(self, of: str) -> Moved:
        """What the function gives for the request and these states of the inputs when their numbers are off."""

        def again(sources: Sources) -> pl.DataFrame:
            assert sources.move is not None
            inputs = [self._input(number, of, sources) for number in range(len(self.inputs))]
            return self.values([sources.move.of(each) for each in inputs], sources.move.of(self.request))

        return moved(self.sources.moves if self.served.may_round else (), again)

    def _input(self, number: int, of: str, sources: Sources) -> pl.DataFrame:
        """A state of an input, which these sources give if a function of Python makes it and it isn't what was served."""
        given, part = self.inputs[number], self.record.inputs[number]
        view = self.sources.store.by_id([part.version])[part.version]
        if not may_round(view, self.sources) or (of == "seen" and given.served is not None):
            found: pl.DataFrame = getattr(given, of)
            return found
        asked, marks = asked_of(part, view_record(view), self.reads), self.reads.marks(view.id)
        if of == "now":
            return _named(answers_now(asked, sources.newest(view)), part)
        return _named(recomputed(asked, view, finished(marks) if of == "reached" else marks, sources)[0], part)

    def values(self, inputs: Sequence[pl.DataFrame], request: pl.DataFrame | None = None) -> pl.DataFrame:
        """What the function gives for inputs; `request` is another than the one that was made, if given."""
        asked = self.request if request is None else request
        columns = [series for frame in inputs for series in frame.get_columns()]
        return computed(self.record, pl.DataFrame([*asked.get_columns(), *columns]), self.sources.functions)

    def as_served(self) -> pl.DataFrame:
        """What the function gives for the inputs that were served beside it, as far as they were."""
        return self.values([each.seen for each in self.inputs])

    def _given(self, number: int, part: Part) -> Given:
        view = self.sources.store.by_id([part.version])[part.version]
        assert isinstance(view.record, ViewRecord)
        asked = asked_of(part, view.record, self.reads)
        marks, newest = self.reads.marks(view.id), self.sources.newest(view)
        other = next((each for each in self.others if _is_same(each.part, part) and _has(each.part, part)), None)
        if other is not None:
            base, now, gone = other.expected, other.now, other.verdicts == Verdict.GONE
        else:
            base, gone = recomputed(asked, view, marks, self.sources)
            now = answers_now(asked, newest)
        running = is_running(marks)
        reached = recomputed(asked, view, finished(marks), self.sources)[0] if running.any() else base
        excuse = np.full(len(asked.at), Verdict.DIFFERS, np.int8)
        excuse[running] = Verdict.UNSETTLED
        excuse[self.reads.is_pushed(number) | is_behind(view, marks, self.sources)] = Verdict.PENDING
        # A store of the newest rows that is ahead of the instant may have nothing of before.
        ahead = view.record.stream is None and levels_of(view, marks) > self.reads.at
        excuse[gone | ahead] = Verdict.GONE
        served = self._served(part, view.record)
        return Given(_named(base, part), _named(reached, part), _named(now, part), served, excuse)

    def _served(self, part: Part, record: ViewRecord) -> pl.DataFrame | None:
        """What the service's own parts served of the same."""
        shown = {
            feature: name
            for other in self.others
            if _is_same(other.part, part)
            for feature, name in zip(other.part.features, other.part.names, strict=True)
        }
        if not all(feature in shown for feature in part.features):
            return None
        types = {field.name: field.dtype for field in record.fields}
        values = {
            name: (types[feature], self.reads.values[shown[feature]])
            for feature, name in zip(part.features, part.names, strict=True)
        }
        return typed_frame(values)


def _named(answers: Answers, part: Part) -> pl.DataFrame:
    return answers.values.select(part.features).rename(dict(zip(part.features, part.names, strict=True)))


def _is_same(one: Part, other: Part) -> bool:
    return one.version == other.version and one.keys == other.keys


def _has(one: Part, other: Part) -> bool:
    return set(other.features) <= set(one.features)

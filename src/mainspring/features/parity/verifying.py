"""Verification: the logged vectors of services against what the offline path gives for the same reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from mainspring import clock
from mainspring.errors import MainspringError, StorageError
from mainspring.features._store import DefinitionStore
from mainspring.features.definitions.records import Definition, ServiceRecord, ViewRecord
from mainspring.features.online.materializing import is_interrupted
from mainspring.features.parity.causes import explained
from mainspring.features.parity.demanding import Demand
from mainspring.features.parity.judging import Judged, Sources, Verdict, judged
from mainspring.features.parity.log import Logged, vectors_folder
from mainspring.features.parity.reads import Reads, logged_reads
from mainspring.features.parity.recorded import VERIFIED
from mainspring.features.parity.report import FeatureParity, Mismatch, ParityReport, ViewParity
from mainspring.workspace import Workspace, current_workspace, using

_ROWS = 100_000  # vectors at a time
_EXAMPLES = 20  # of each feature

Progress = Callable[[int], None]


def verify(
    service: str | Definition = "", *, since: datetime | None = None, until: datetime | None = None,
    progress: Progress | None = None, workspace: Workspace | None = None,
) -> ParityReport:  # fmt: skip
    """Recompute the logged vectors of a service (`name`: all its versions, `name/N` or a version: one; default: all).

    Each value is computed again by the path that makes training sets, by the definition that served it, over what the online
    store reflected when it was read, and compared bit for bit; what functions of Python give, within rounding, which is
    counted. What was found is recorded as an event of each service's version. A service that can't be verified holds up no
    other: the report says what was wrong, and has not passed. `progress` is called with the number of vectors that are done.

    Raises:
        NotFoundError: there is no such service, or the dataset of a view is gone.
        InvalidError: no version of its source fits a view, or what is named is no service.
        StorageError: the log is damaged.
    """
    workspace = workspace or current_workspace()
    store = DefinitionStore(workspace.database, workspace.ledger)
    services = _services(service, store)
    since_us, until_us = (None if each is None else clock.to_us(each) for each in (since, until))
    tallies = {each: _Tally(definition) for each, definition in services.items()}
    done = 0
    with using(workspace):
        sources = Sources(workspace)
        folder = vectors_folder(workspace)
        failed: dict[str, Exception] = {}
        for each, logged in logged_reads(folder, services, since_us=since_us, until_us=until_us, rows=_ROWS):
            if each not in failed:
                try:
                    done += tallies[each].take(logged, sources)
                except Exception as error:  # noqa: BLE001  # whatever one service fails with, the others are judged
                    failed[each] = error
            if progress is not None:
                progress(done)
    seen = [tally for each, tally in tallies.items() if tally.vectors and each not in failed]
    if failed and not seen:
        raise next(iter(failed.values()))
    for tally in seen:
        tally.record(workspace)
    return ParityReport(
        service=str(service), since_us=since_us, until_us=until_us, vectors=sum(each.vectors for each in seen),
        verified=sum(each.verified for each in seen),
        rounded=sum(each.rounded for each in seen), mismatched=sum(each.mismatched for each in seen),
        stale=sum(each.stale for each in seen), views=tuple(view for each in seen for view in each.views(workspace)),
        mismatches=tuple(example for each in seen for example in each.examples),
        failed={str(services[each]): _told(error) for each, error in failed.items()},
    )  # fmt: skip


def _plain(value: Any) -> Any:
    """A value as it is served: a list where Polars has a column."""
    return value.to_list() if isinstance(value, pl.Series) else value


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, MainspringError) else f"{type(error).__name__}: {error}"


def _services(name: str | Definition, store: DefinitionStore) -> dict[str, Definition]:
    if isinstance(name, Definition):
        name.expect("service")
        return {name.id: name}
    if not name:
        names = [each for kind, each in store.heads() if kind == "service"]
        return {found.id: found for each in names for found in store.versions("service", each)}
    found = store.get("service", name)
    versions = [found] if "/" in name else store.versions("service", found.name)
    return {each.id: each for each in versions}


class _Tally:
    """What was found of one version of a service so far."""

    def __init__(self, definition: Definition) -> None:
        assert isinstance(definition.record, ServiceRecord)
        self.definition, self.service = definition, definition.record
        self.vectors = self.verified = self.rounded = self.mismatched = self.stale = 0
        self.examples: list[Mismatch] = []
        self._views: dict[str, _ViewTally] = {}

    def take(self, logged: Sequence[Logged], sources: Sources) -> int:
        """Judge vectors; gives how many they are."""
        reads = Reads(self.service, logged)
        parts = [judged(reads, number, part, sources) for number, part in enumerate(self.service.parts)]
        demands = []
        first = len(parts)
        for part in self.service.on_demand:
            demands.append(Demand(reads, part, first, parts, sources))
            first += len(demands[-1].inputs)
        all_judged = [*((each, None) for each in parts), *((each.judged(), each) for each in demands)]
        for each, demand in all_judged:
            self._count(reads, each, sources, demand)
        worst = np.max([each.verdicts for each, _ in all_judged], axis=0)
        self.vectors += len(reads.ids)
        self.verified += int((worst == Verdict.VERIFIED).sum())
        within = np.any([each.is_rounded for each, _ in all_judged], axis=0)
        self.rounded += int((within & (worst == Verdict.VERIFIED)).sum())
        self.mismatched += int((worst == Verdict.DIFFERS).sum())
        stale = np.any([each.stale for each, _ in all_judged], axis=0)
        self.stale += int((stale & (worst == Verdict.VERIFIED)).sum())
        return len(reads.ids)

    def _count(self, reads: Reads, found: Judged, sources: Sources, demand: Demand | None) -> None:
        tally = self._views.setdefault(f"{found.view} {found.part.prefix}", _ViewTally(found))
        tally.add(found)
        names = dict(zip(found.part.features, found.part.names, strict=True))
        for each in explained(reads, found, sources, demand):
            tally.causes[each.cause.value] += 1
            if sum(one.feature == names[each.feature] for one in self.examples) < _EXAMPLES:
                place, name = each.place, names[each.feature]
                events = found.expected.event_us
                keys = found.view.record.keys if isinstance(found.view.record, ViewRecord) else ()
                asked = [found.part.keys.get(key.name, key.name) for key in keys] or list(reads.given)
                self.examples.append(
                    Mismatch(
                        vector=reads.ids[place], service=str(self.definition), view=str(found.view), feature=name,
                        entity={key: reads.given[key][place] for key in asked}, at_us=int(reads.at[place]),
                        served=reads.values[name][place], expected=_plain(found.expected.values[each.feature][place]),
                        served_event_us=reads.event_us[name][place],
                        expected_event_us=None if events is None else events[place], cause=each.cause, why=each.why,
                    )
                )  # fmt: skip

    def views(self, workspace: Workspace) -> list[ViewParity]:
        """The counts by view."""
        return [each.parity(str(self.definition), workspace) for each in self._views.values()]

    def record(self, workspace: Workspace) -> None:
        """Note what was found as an event of the service's version."""
        told = {
            "service": str(self.definition), "vectors": self.vectors, "verified": self.verified, "rounded": self.rounded,
            "mismatched": self.mismatched, "stale": self.stale,
        }  # fmt: skip
        with workspace.database.transaction() as tx:
            workspace.ledger.append(tx, VERIFIED, self.definition.id, told)


class _ViewTally:
    """Counts of one view in a service."""

    def __init__(self, found: Judged) -> None:
        self.definition, self.view, self.part = found.view, str(found.view), found.part
        self.verdicts: Counter[int] = Counter()
        self.mismatches: Counter[str] = Counter()
        self.rounded: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.stale = self.behind = self.behind_us = self.within_rounding = 0

    def add(self, found: Judged) -> None:
        """Count verdicts."""
        self.verdicts.update(found.verdicts.tolist())
        self.mismatches.update({name: len(places) for name, places in found.wrong.items()})
        self.rounded.update({name: len(places) for name, places in found.rounded.items()})
        self.within_rounding += int(found.is_rounded.sum())
        self.stale += int(found.stale.sum())
        self.behind += int((found.waiting_us > 0).sum())
        self.behind_us = max(self.behind_us, int(found.waiting_us.max(initial=0)))

    def parity(self, service: str, workspace: Workspace) -> ViewParity:
        """The counts."""
        interrupted = False
        with suppress(StorageError):  # what was served is judged without the online store, too
            interrupted = self.verdicts[Verdict.UNSETTLED] > 0 and is_interrupted(self.definition, workspace)
        of = {each: self.verdicts[int(each)] for each in Verdict}
        compared = of[Verdict.VERIFIED] + of[Verdict.DIFFERS]
        features = tuple(
            FeatureParity(
                feature=shown, compared=compared, mismatches=self.mismatches[name], rounded=self.rounded[name]
            )
            for name, shown in zip(self.part.features, self.part.names, strict=True)
        )
        return ViewParity(
            service=service, view=self.view, prefix=self.part.prefix, vectors=sum(of.values()),
            verified=of[Verdict.VERIFIED], rounded=self.within_rounding,
            mismatched=of[Verdict.DIFFERS], pending=of[Verdict.PENDING],
            unsettled=of[Verdict.UNSETTLED], gone=of[Verdict.GONE], stale=self.stale, behind=self.behind,
            behind_us=self.behind_us, interrupted=interrupted, features=features, causes=dict(self.causes.most_common()),
        )  # fmt: skip

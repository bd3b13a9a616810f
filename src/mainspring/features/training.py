"""Training sets: for each row the features of a service as they were known at its instant, and a report of what was found.

The definitions and the code are those that serving uses; the sources are named versions, so that a set can be made again.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring.data import DatasetVersion, as_polars, dataset
from mainspring.errors import InvalidError, NotFoundError, WrongTypeError, close_names
from mainspring.features._store import DefinitionStore
from mainspring.features.definitions.demand import computed
from mainspring.features.definitions.frames import typed_columns
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import Definition, OnDemandRecord, Part, ServiceRecord, ViewRecord
from mainspring.features.definitions.rows import fitted, view_rows
from mainspring.features.definitions.service import FeatureService
from mainspring.features.history.instants import expect_values_shown
from mainspring.features.history.report import JoinReport
from mainspring.ledger import current_task, note_moving
from mainspring.models import FeatureSet
from mainspring.store.scratch import Scratch
from mainspring.store.space import naming_full_disk
from mainspring.workspace import Workspace, current_workspace, using

if TYPE_CHECKING:
    import polars as pl

    from mainspring.data.as_of import Ref
    from mainspring.features.lookups import Rows

_EXAMPLE_ROWS = 5


class ViewReport(JoinReport, frozen=True, kw_only=True):
    """What was found of one view in a version of its source.

    `found` rows have a value, though it may be null (`nulls`, by feature); of aggregates a row is found if its entity had
    an event in a window. `age` is of the found rows; aggregates have none.
    """

    view: str
    source: str


class FeatureReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked up: which features of which version of a service, in which versions of datasets, and what was found."""

    features: tuple[str, ...]
    service: str
    service_id: str
    sources: dict[str, str]
    reports: tuple[ViewReport, ...]

    def _feature_set(self, workspace: Workspace, rows: pl.DataFrame) -> FeatureSet:
        service = DefinitionStore(workspace.database, workspace.ledger).get("service", self.service_id)
        return msgspec.structs.replace(service.feature_set(workspace), rows=rows)

    def _told(self, rows: int) -> str:
        lines = [f"{rows:,} rows, {len(self.features)} features of {self.service}"]
        return "\n".join([*lines, *(f"  {_said(report)}" for report in self.reports)])


class TrainingSet(FeatureReport, frozen=True, kw_only=True):
    """Rows with their features. `sources` are the dataset versions that were read, `service` the version by name."""

    frame: Any

    def feature_set(self, workspace: Workspace) -> FeatureSet:
        """What a model gets that is registered with the version of the service that made this."""
        return self._feature_set(workspace, self.frame)

    def __str__(self) -> str:
        return self._told(self.frame.height)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>{self.frame._repr_html_()}"


class StoredTrainingSet(FeatureReport, frozen=True, kw_only=True):
    """Rows with their features as a dataset version, for which it stands in the lineage; else as a `TrainingSet`."""

    version: DatasetVersion

    @property
    def ledger_id(self) -> str:
        """The node of the lineage that this is."""
        return self.version.id

    @property
    def content_digest(self) -> str:
        """That of the rows with their features."""
        return self.version.content_digest

    def feature_set(self, workspace: Workspace) -> FeatureSet:
        """What a model gets that is registered with the version of the service that made this."""
        return self._feature_set(workspace, self.version.scan().head(_EXAMPLE_ROWS).collect())

    def __str__(self) -> str:
        return f"{self.version}: {self._told(self.version.rows)}"


def training_set(
    rows: Any, service: str | Definition | FeatureService, *, time: str, guard: bool = True,
    sources: Mapping[str, DatasetVersion] | None = None, as_of: Ref | None = None,
    workspace: Workspace | None = None,
) -> TrainingSet:  # fmt: skip
    """The features of a service for each of `rows`, as they were known at the row's instant, the column `time`.

    `rows` is a Polars, pandas or Arrow table with the columns of the service's request; each is kept, in its order, with
    its other columns. Keys, and what on-demand features are computed of, are taken in their declared types, as online: what
    doesn't fit is refused, and a null in an on-demand column is a null to what is computed of it.

    With the guard a row sees only what was created by its instant. Sources are the newest versions, or those of `sources`,
    by dataset; or those of each dataset `as_of` a time, a tag or whatever `dataset` takes. Name them in a step, so that its
    result can be reused.

    Raises:
        NotFoundError: there is no such service, dataset or column; the nearest are named.
        InvalidError: a column has a type that doesn't fit, also one of a source that has another in the view's version; a time
            is null, or a column is called like a feature.
        WrongTypeError: a value of the request doesn't fit the declared type of its column.
    """
    import polars as pl

    from mainspring.features.lookups import RowsInMemory

    workspace = workspace or current_workspace()
    with using(workspace):
        work = _Work(workspace, service, time=time, guard=guard, sources=sources, as_of=as_of)
        frame = pl.concat(work.frames(RowsInMemory(as_polars(rows))))
        return TrainingSet(frame=frame, **work.found())


def store_training_set(
    rows: Any, service: str | Definition | FeatureService, *, time: str, to: str, guard: bool = True,
    sources: Mapping[str, DatasetVersion] | None = None, as_of: Ref | None = None, note: str = "",
    partitions: int | None = None, workspace: Workspace | None = None,
) -> StoredTrainingSet:  # fmt: skip
    """What `training_set` gives, as a version of the dataset `to`, of rows and sources that are larger than memory.

    `rows` may also be a dataset version, or a lazy frame, which is computed once to a temporary file. Rows and sources are
    cut by a hash of the keys into `partitions` (by default as many as make each about 128 MiB) and looked up one by one,
    so memory is bounded by that, or by the largest key. A source that a transform groups, sorts or queries by SQL is
    computed in memory first. On-demand features are computed for some rows at a time.

    Raises as `training_set`, and:

    Raises:
        StorageError: the disk for temporary files is full.
    """
    import polars as pl

    from mainspring.features.history.cutting import stored_rows
    from mainspring.features.lookups import RowsOnDisk

    workspace = workspace or current_workspace()
    lazy = rows if isinstance(rows, DatasetVersion | pl.LazyFrame) else as_polars(rows)
    with using(workspace), ExitStack() as stack:
        if isinstance(lazy, DatasetVersion):
            lazy.expect("table")
        work = _Work(workspace, service, time=time, guard=guard, sources=sources, as_of=as_of)
        stored = stack.enter_context(stored_rows(lazy, pl.Schema.names))
        given = RowsOnDisk(stored, [field.dtype for field in work.definition.record.fields], partitions, stack)
        made = _spooled(work.frames(given), stack.enter_context(Scratch()))
        version = dataset(to, workspace).commit(made, source=[*_recorded(rows), *work.read()], note=note)
        return StoredTrainingSet(version=version, **work.found())


class _Work:
    """The features of one service for rows. What is read is read once."""

    def __init__(
        self, workspace: Workspace, service: str | Definition | FeatureService, *, time: str, guard: bool,
        sources: Mapping[str, DatasetVersion] | None, as_of: Ref | None,
    ) -> None:  # fmt: skip
        self.workspace, self.definition = workspace, _definition(service, workspace)
        record = self.definition.record
        assert isinstance(record, ServiceRecord)
        self.record = record
        self.time, self.guard, self.as_of, self.given = time, guard, as_of, dict(sources or {})
        self.store = DefinitionStore(workspace.database, workspace.ledger)
        self.functions = Functions(workspace)
        self.versions: dict[str, DatasetVersion] = {}
        self.reports: list[ViewReport] = []

    def frames(self, rows: Rows) -> Iterator[pl.DataFrame]:
        """The rows with their features, batch by batch; all is looked up before the first one."""
        record = self.record
        self._expect_columns(record, rows.names)
        found = [self._joined(part, rows) for part in record.parts]
        found += [self._demanded(part, rows) for part in record.on_demand]
        self._expect_sources_used()
        self._note()
        for batch, *features in zip(rows.batches(), *found, strict=True):
            known = dict(ChainMap(*features))
            yield batch.hstack([known[field.name] for field in record.fields])

    def found(self) -> dict[str, Any]:
        """What a report says of it."""
        return {
            "features": tuple(field.name for field in self.definition.record.fields),
            "service": str(self.definition), "service_id": self.definition.id,
            "sources": {name: str(version) for name, version in self.versions.items()},
            "reports": tuple(self.reports),
        }  # fmt: skip

    def read(self) -> list[Definition | DatasetVersion]:
        """What the features come from: the service, and the versions that were read."""
        return [self.definition, *self.versions.values()]

    def _expect_columns(self, record: ServiceRecord, known: list[str]) -> None:
        for name in (self.time, *record.request):
            if name not in known:
                wanted = f"The features of {self.definition} are found by {', '.join(record.request)} at `{self.time}`."
                raise NotFoundError("column", name, close_names(name, known), wanted)
        if taken := [field.name for field in record.fields if field.name in known]:
            raise InvalidError("rows", taken[0], "columns that are not called like a feature", "Rename or drop it.")

    def _expect_sources_used(self) -> None:
        if unused := [name for name in self.given if name not in self.versions]:
            known = sorted(self.versions)
            raise NotFoundError("source", unused[0], close_names(unused[0], known), f"It reads {', '.join(known)}.")

    def _joined(self, part: Part, rows: Rows) -> Iterator[dict[str, pl.Series]]:
        """The features of a part of a view, batch by batch, under their names in the service."""
        from mainspring.features.lookups import Lookup

        record = self.store.by_id([part.version])[part.version].record
        assert isinstance(record, ViewRecord)
        version = self._source(record.source)
        keys = {part.keys.get(key.name, key.name): key.name for key in record.keys}
        types = {name: dtype for name, dtype in self.record.request.items() if name in keys and name != self.time}
        lookup = Lookup(view=record, features=part.features, keys=keys, types=types, at=self.time, guard=self.guard)
        with fitted(record):
            found = rows.look_up(lookup, view_rows(record, version.scan(), self.functions))
        report = msgspec.structs.asdict(found.report)
        self.reports.append(ViewReport(view=part.view, source=str(version), **report))
        return (
            {name: series.alias(name) for name, series in zip(part.names, batch, strict=True)}
            for batch in found.batches()
        )

    def _demanded(self, part: Part, rows: Rows) -> Iterator[dict[str, pl.Series]]:
        """The features of an on-demand view, batch by batch; what they are computed from is looked up now."""
        record = self.store.by_id([part.version])[part.version].record
        assert isinstance(record, OnDemandRecord)
        return self._computed(record, rows, [self._joined(each, rows) for each in record.inputs])

    def _computed(
        self, record: OnDemandRecord, rows: Rows, inputs: list[Iterator[dict[str, pl.Series]]]
    ) -> Iterator[dict[str, pl.Series]]:
        import polars as pl

        for batch, *given in zip(rows.batches(), *inputs, strict=True):
            for name in record.request:
                expect_values_shown(batch.get_column(name), f"rows.{name}")
            request = typed_columns(batch.select(list(record.request)), record.request)
            frame = pl.DataFrame([*request, *(series for each in given for series in each.values())])
            yield {series.name: series for series in computed(record, frame, self.functions)}

    def _source(self, name: str) -> DatasetVersion:
        if name not in self.versions:
            given = self.given.get(name)
            if given is not None and given.kind != "table":
                raise InvalidError(f"sources.{name}", str(given), "a version of a table")
            self.versions[name] = given or dataset(name, self.workspace, as_of=self.as_of).latest()
        return self.versions[name]

    def _note(self) -> None:
        """The lineage of the task at work: the service, and the versions that were read."""
        task = current_task()
        if task is None:
            return
        with self.workspace.database.transaction() as tx:
            for each in self.read():
                self.workspace.ledger.edge(tx, task, "uses", each.id, task)


def _definition(given: str | Definition | FeatureService, workspace: Workspace) -> Definition:
    if isinstance(given, Definition):
        given.expect("service")
        return given
    name = given.name if isinstance(given, FeatureService) else given
    if not isinstance(name, str):
        raise WrongTypeError("service", given, "a feature service, its name or a version of it")
    if "/" not in name:
        note_moving("feature service", name)
    return DefinitionStore(workspace.database, workspace.ledger).get("service", name)


def _recorded(rows: Any) -> list[DatasetVersion]:
    return [rows] if isinstance(rows, DatasetVersion) else []


def _spooled(frames: Iterator[pl.DataFrame], folder: Path) -> pl.LazyFrame:
    """Frames as one that is read from files in a folder, in order."""
    import polars as pl

    paths = []
    for number, frame in enumerate(frames):
        paths.append(folder / f"{number:06}.parquet")
        with naming_full_disk(paths[-1]):
            frame.write_parquet(paths[-1], compression="zstd", compression_level=1)
    return pl.scan_parquet(paths, glob=False, hive_partitioning=False)


def _said(report: ViewReport) -> str:
    parts = [f"{report.view} of {report.source}: "]
    parts.append("no rows" if report.coverage is None else f"{report.coverage:.1%} found")
    if report.outside_ttl:
        parts.append(f", {report.outside_ttl:,} older than the ttl")
    nulls = {name: count for name, count in report.nulls.items() if count}
    if nulls:
        worst = max(nulls, key=lambda name: nulls[name])
        parts.append(f", most nulls in `{worst}`: {nulls[worst]:,}")
    if report.guard.changed:
        parts.append(f", {report.guard.changed:,} rows would have seen what was not known yet")
    if not report.guard.possible:
        parts.append(f", {report.guard.why}: a leak can't be told")
    return "".join(parts)

"""Training sets: for each row the features of a service as they were known at its instant, and a report of what was found.

The definitions and the code are those that serving uses; the sources are named versions, so that a set can be made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring.data import DatasetVersion, as_polars, dataset
from mainspring.errors import InvalidError, NotFoundError, close_names
from mainspring.features._store import DefinitionStore
from mainspring.features.definitions.demand import computed
from mainspring.features.definitions.functions import Functions
from mainspring.features.definitions.records import Definition, OnDemandRecord, Part, ServiceRecord, ViewRecord
from mainspring.features.definitions.rows import view_rows
from mainspring.features.definitions.service import FeatureService
from mainspring.features.history.report import AgeSummary, GuardReport
from mainspring.ledger import current_task, note_moving
from mainspring.workspace import Workspace, current_workspace, using

if TYPE_CHECKING:
    import polars as pl


class ViewReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one view: for how many rows a value, how old those were, what the guard kept out.

    `found` rows have a value, though it may be null (`nulls`, by feature); of aggregates a row is found if its entity had
    an event in a window. `age` is of the found rows; aggregates have none.
    """

    view: str
    source: str
    rows: int
    found: int
    unknown: int
    outside_ttl: int
    nulls: dict[str, int]
    age: AgeSummary | None
    guard: GuardReport

    @property
    def coverage(self) -> float | None:
        """The share of rows for which a value was found; None of no rows."""
        return self.found / self.rows if self.rows else None


class TrainingSet(msgspec.Struct, frozen=True, kw_only=True):
    """Rows with their features. `sources` are the dataset versions that were read, `service` the version by name."""

    frame: Any
    features: tuple[str, ...]
    service: str
    service_id: str
    sources: dict[str, str]
    reports: tuple[ViewReport, ...]

    def __str__(self) -> str:
        lines = [f"{self.frame.height:,} rows, {len(self.features)} features of {self.service}"]
        return "\n".join([*lines, *(f"  {_said(report)}" for report in self.reports)])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>{self.frame._repr_html_()}"


def training_set(
    rows: Any, service: str | Definition | FeatureService, *, time: str, guard: bool = True,
    sources: Mapping[str, DatasetVersion] | None = None, as_of: datetime | None = None,
    workspace: Workspace | None = None,
) -> TrainingSet:  # fmt: skip
    """The features of a service for each of `rows`, as they were known at the row's instant, the column `time`.

    `rows` is a Polars, pandas or Arrow table with the columns of the service's request; each is kept, in its order, with
    its other columns. With the guard a row sees only what was created by its instant. Sources are the newest versions, or
    those of `sources`, by dataset; or the newest `as_of` a time. Name them in a step, so that its result can be reused.

    Raises:
        NotFoundError: there is no such service, dataset or column; the nearest are named.
        InvalidError: a column has a type that doesn't fit, a time is null, or a column is called like a feature.
    """
    workspace = workspace or current_workspace()
    with using(workspace):
        definition = _definition(service, workspace)
        work = _Work(workspace, definition, as_polars(rows), time, guard, dict(sources or {}), as_of)
        return work.run()


class _Work:
    """One training set in the making. What is read is read once."""

    def __init__(
        self, workspace: Workspace, definition: Definition, rows: pl.DataFrame, time: str, guard: bool,
        sources: dict[str, DatasetVersion], as_of: datetime | None,
    ) -> None:  # fmt: skip
        self.workspace, self.definition, self.rows = workspace, definition, rows
        self.time, self.guard, self.as_of, self.given = time, guard, as_of, sources
        self.store = DefinitionStore(workspace.database, workspace.ledger)
        self.functions = Functions(workspace)
        self.versions: dict[str, DatasetVersion] = {}
        self.reports: list[ViewReport] = []

    def run(self) -> TrainingSet:
        import polars as pl

        record = self.definition.record
        assert isinstance(record, ServiceRecord)
        names = tuple(field.name for field in record.fields)
        self._expect_columns(record, names)
        found = {series.name: series for part in record.parts for series in self._joined(part)}
        for part in record.on_demand:
            found |= {series.name: series for series in self._demanded(part)}
        frame = pl.concat([self.rows, pl.DataFrame([found[name] for name in names])], how="horizontal")
        if unused := [name for name in self.given if name not in self.versions]:
            known = sorted(self.versions)
            raise NotFoundError("source", unused[0], close_names(unused[0], known), f"It reads {', '.join(known)}.")
        self._note()
        return TrainingSet(
            frame=frame, features=names, service=str(self.definition), service_id=self.definition.id,
            sources={name: str(version) for name, version in self.versions.items()}, reports=tuple(self.reports),
        )  # fmt: skip

    def _expect_columns(self, record: ServiceRecord, names: tuple[str, ...]) -> None:
        for name in (self.time, *record.request):
            if name not in self.rows.columns:
                near = close_names(name, self.rows.columns)
                wanted = f"The features of {self.definition} are found by {', '.join(record.request)} at `{self.time}`."
                raise NotFoundError("column", name, near, wanted)
        if taken := [name for name in names if name in self.rows.columns]:
            raise InvalidError("rows", taken[0], "columns that are not called like a feature", "Rename or drop it.")

    def _joined(self, part: Part) -> list[pl.Series]:
        """The features of a part of a view for all rows, under their names in the service."""
        record = self.store.by_id([part.version])[part.version].record
        assert isinstance(record, ViewRecord)
        version = self._source(record.source)
        history = view_rows(record, version.scan(), self.functions)
        keys = {part.keys.get(key.name, key.name): key.name for key in record.keys}
        join = self._aggregated if record.aggregates else self._looked_up
        values = join(record, part, history, keys, str(version))
        return [values[name].alias(shown) for name, shown in zip(part.features, part.names, strict=True)]

    def _looked_up(
        self, record: ViewRecord, part: Part, history: pl.LazyFrame, keys: dict[str, str], source: str
    ) -> pl.DataFrame:
        from mainspring.features.history import join_as_of

        joined = join_as_of(
            self.rows, history, keys=keys, at=self.time, event_time=record.event_time,
            created_time=record.created_time or None, ttl_us=record.ttl_us, columns=part.features, guard=self.guard,
        )  # fmt: skip
        report = joined.report
        self.reports.append(
            ViewReport(
                view=part.view, source=source, rows=report.rows, found=report.found, unknown=report.unknown,
                outside_ttl=report.outside_ttl, nulls=dict(report.nulls), age=report.age, guard=report.guard,
            )
        )  # fmt: skip
        return joined.columns

    def _aggregated(
        self, record: ViewRecord, part: Part, history: pl.LazyFrame, keys: dict[str, str], source: str
    ) -> pl.DataFrame:
        import polars as pl

        from mainspring.features.aggregation.backfill import aggregate_as_of

        events = history.collect(engine="in-memory")

        def answers(*, guard: bool) -> pl.DataFrame:
            found = aggregate_as_of(
                self.rows, events, record.aggregates, keys=keys, at=self.time, event_time=record.event_time,
                event_id=record.event_id or None, created_time=record.created_time or None, guard=guard,
            )  # fmt: skip
            return found.select(part.features)

        values, possible = answers(guard=self.guard), bool(record.created_time)
        has_value = values.select(pl.any_horizontal(_has_value(column) for column in values)).to_series()
        changed = 0
        if possible and self.guard and values.height:
            others = answers(guard=False)
            same = [values[name].eq_missing(others[name]) for name in values.columns]
            changed = values.height - int(pl.DataFrame(same).select(pl.all_horizontal(pl.all())).to_series().sum())
        found = int(has_value.sum())
        self.reports.append(
            ViewReport(
                view=part.view, source=source, rows=values.height, found=found, unknown=values.height - found,
                outside_ttl=0, nulls={name: values[name].null_count() for name in values.columns}, age=None,
                guard=GuardReport(possible=possible, on=self.guard, changed=changed),
            )
        )  # fmt: skip
        return values

    def _demanded(self, part: Part) -> list[pl.Series]:
        import polars as pl

        record = self.store.by_id([part.version])[part.version].record
        assert isinstance(record, OnDemandRecord)
        inputs = [series for each in record.inputs for series in self._joined(each)]
        frame = pl.concat([self.rows.select(list(record.request)), pl.DataFrame(inputs)], how="horizontal")
        return computed(record, frame, self.functions).get_columns()

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
            for node in (self.definition.id, *(version.id for version in self.versions.values())):
                self.workspace.ledger.edge(tx, task, "uses", node, task)


def _definition(given: str | Definition | FeatureService, workspace: Workspace) -> Definition:
    if isinstance(given, Definition):
        if given.kind != "service":
            raise InvalidError("service", str(given), "a feature service", f"It is a {given.kind.replace('_', '-')}.")
        return given
    name = given.name if isinstance(given, FeatureService) else given
    if "/" not in name:
        note_moving("feature service", name)
    return DefinitionStore(workspace.database, workspace.ledger).get("service", name)


def _has_value(column: pl.Series) -> pl.Expr:
    """Whether an aggregate says something of an event: a count above 0, a list with values, any other value."""
    import polars as pl

    name = pl.col(column.name)
    if isinstance(column.dtype, pl.List):
        return name.list.len() > 0
    return (name > 0).fill_null(value=False) if column.dtype.is_integer() else name.is_not_null()


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
        parts.append(", no created time: a leak can't be told")
    return "".join(parts)

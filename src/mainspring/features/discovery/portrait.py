"""All that is known of a view or service: definition, versions, values, freshness, who uses it, where it comes from."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from mainspring import clock
from mainspring.data import DatasetVersion, dataset
from mainspring.data.profiles import ColumnProfile
from mainspring.errors import InvalidError, NotFoundError, RemovedError, StorageError
from mainspring.features._store import DefinitionStore
from mainspring.features.definitions.records import Definition, OnDemandRecord, Part, ViewRecord
from mainspring.features.discovery.origins import Origin, Origins
from mainspring.features.discovery.statistics import Histogram, ViewStatistics, view_statistics
from mainspring.features.online.watermark import Watermark, watermark_of
from mainspring.features.registry import find_definition
from mainspring.features.uses import Use, list_uses
from mainspring.workspace import Workspace, current_workspace, using

_RAW = ("source_file", "source_folder", "source_address", "dataset_version")


class FeaturePortrait(msgspec.Struct, frozen=True, kw_only=True):
    """One feature under its name here: the view it is of, the columns it is computed from, and what it holds."""

    name: str
    dtype: str
    view: str
    shown: str = ""
    origins: tuple[Origin, ...] = ()
    profile: ColumnProfile | None = None
    histogram: Histogram | None = None


class ViewState(msgspec.Struct, frozen=True, kw_only=True):
    """The data of a view: the newest version of its source, what that came from, and how fresh the online store is.

    `upstream` are the dataset versions, files and addresses that the source came from; `age_us` is how long ago the instant
    is up to which the view was materialized, or the newest event that was fed was known. `watermark` is what the online store
    reflects. `problem` says why there are no values.
    """

    view: str
    source: str
    upstream: tuple[str, ...] = ()
    statistics: ViewStatistics | None = None
    watermark: Watermark | None = None
    age_us: int | None = None
    problem: str = ""


class Portrait(msgspec.Struct, frozen=True, kw_only=True):
    """A definition with its features, the views that they are of, its versions, and the models that use it."""

    definition: Definition
    versions: tuple[str, ...]
    uses: tuple[Use, ...]
    features: tuple[FeaturePortrait, ...]
    views: tuple[ViewState, ...]


def describe(reference: str | Definition, workspace: Workspace | None = None, *, values: bool = True) -> Portrait:
    """What is known of a view, an on-demand view or a service, by `name` (its newest), `name/N` or id.

    The values are those of the newest version of each source; they are computed the first time for it, and not at all
    without `values`. What no source can be asked for any more is left out, and its view says why.

    Raises:
        NotFoundError: there is none; the nearest names are given.
    """
    workspace = workspace or current_workspace()
    with using(workspace):
        definition = reference if isinstance(reference, Definition) else find_definition(reference, workspace)
        return _Painter(workspace, values=values).paint(definition)


class _Painter:
    def __init__(self, workspace: Workspace, *, values: bool) -> None:
        self.workspace, self.values = workspace, values
        self.store = DefinitionStore(workspace.database, workspace.ledger)
        self.origins = Origins(workspace)
        self.views: dict[str, ViewState] = {}

    def paint(self, definition: Definition) -> Portrait:
        features = tuple(self._features(definition))
        versions = self.store.versions(definition.kind, definition.name)
        return Portrait(
            definition=definition, versions=tuple(map(str, versions)), features=features,
            uses=tuple(list_uses(definition, self.workspace)), views=tuple(self.views.values()),
        )  # fmt: skip

    def _features(self, definition: Definition) -> Iterator[FeaturePortrait]:
        record = definition.record
        if isinstance(record, ViewRecord):
            yield from self._of_view(definition, record)
            return
        parts = record.inputs if isinstance(record, OnDemandRecord) else (*record.parts, *record.on_demand)
        below = {each.name: each for part in parts for each in self._of_part(part)}
        if isinstance(record, OnDemandRecord):
            origins = self._origins(definition)
            below = {
                each.name: FeaturePortrait(name=each.name, dtype=each.dtype, view=str(definition), shown=each.shown,
                                           origins=origins.get(each.name, ()))
                for each in record.fields
            }  # fmt: skip
        yield from (below[field.name] for field in record.fields)

    def _of_part(self, part: Part) -> Iterator[FeaturePortrait]:
        found = {each.name: each for each in self._features(self.store.by_id([part.version])[part.version])}
        for feature, name in zip(part.features, part.names, strict=True):
            yield msgspec.structs.replace(found[feature], name=name)

    def _of_view(self, definition: Definition, record: ViewRecord) -> Iterator[FeaturePortrait]:
        if definition.id not in self.views:
            self.views[definition.id] = self._state(definition, record)
        state, origins = self.views[definition.id], self._origins(definition)
        profiles = {each.name: each for each in state.statistics.columns} if state.statistics else {}
        for field in record.fields:
            yield FeaturePortrait(
                name=field.name, dtype=field.dtype, view=str(definition), shown=field.shown,
                origins=origins.get(field.name, ()), profile=profiles.get(field.name),
                histogram=state.statistics.histograms.get(field.name) if state.statistics else None,
            )  # fmt: skip

    def _origins(self, definition: Definition) -> dict[str, tuple[Origin, ...]]:
        try:
            return self.origins.of(definition)
        except (NotFoundError, RemovedError, InvalidError):
            return {}  # the state of the view says it

    def _state(self, definition: Definition, record: ViewRecord) -> ViewState:
        state = ViewState(view=str(definition), source=record.source)
        try:
            mark = watermark_of(definition, self.workspace)
            reaches_us = mark.reaches_us if mark else None
            age_us = None if reaches_us is None else max(clock.now_us() - reaches_us, 0)
            state = msgspec.structs.replace(state, watermark=mark, age_us=age_us)
            source = dataset(record.source, self.workspace).latest()
            found = view_statistics(definition, source, self.workspace) if self.values else None
        except (NotFoundError, RemovedError, InvalidError, StorageError) as error:
            return msgspec.structs.replace(state, problem=str(error))
        return msgspec.structs.replace(state, source=str(source), upstream=self._upstream(source), statistics=found)

    def _upstream(self, source: DatasetVersion) -> tuple[str, ...]:
        """What the version came from, nearest first; versions of itself that it stands behind are left out."""
        ends = dict.fromkeys(edge.dst for edge in self.workspace.ledger.walk(source.id, "up"))
        nodes = self.workspace.ledger.nodes(ends)
        own = f"{source.dataset}/"
        found = (nodes[end] for end in ends if end in nodes)
        return tuple(dict.fromkeys(
            node.label for node in found if node.kind in _RAW and not node.label.startswith(own)
        ))  # fmt: skip

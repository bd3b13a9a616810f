"""What was read of the online store for a logged row: its features, and what the views of them reflected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mainspring.clock import from_us
from mainspring.features._store import DefinitionStore
from mainspring.features.definitions.records import Definition, OnDemandRecord, Part, ServiceRecord, ViewRecord
from mainspring.features.online.watermark import read_watermark
from mainspring.serving.explanation.record import ReadFeature, ReadView
from mainspring.workspace import Workspace


def features_read(row: Mapping[str, Any], workspace: Workspace) -> tuple[str, list[ReadFeature], list[ReadView]]:
    """The service by name and version, its features as they were read for a row of the log, and the views; else nothing."""
    if not row["features_service"]:
        return "", [], []
    store = DefinitionStore(workspace.database, workspace.ledger)
    definitions = store.by_id([row["features_service"], *row["features_views"]])
    service = definitions[row["features_service"]]
    origins = _origins(service, store)
    names = [name.removeprefix("status.") for name in row if name.startswith("status.")]
    features = [
        ReadFeature(
            name=name, value=row.get(f"feature.{name}"), status=row[f"status.{name}"] or "",
            event_at=row.get(f"event_at.{name}"), views=origins.get(name, ()),
        )
        for name in names if row[f"status.{name}"] is not None
    ]  # fmt: skip
    marks = row["features_watermarks"] or [None] * len(row["features_views"])
    views = [_view(definitions[each], mark) for each, mark in zip(row["features_views"], marks, strict=True)]
    return str(service), features, views


def _view(definition: Definition, mark: bytes | None) -> ReadView:
    record, found = definition.record, read_watermark(mark)
    assert isinstance(record, ViewRecord)
    until_us = None if found is None else found.reaches_us
    is_dataset = found is not None and bool(found.version)
    return ReadView(
        view=str(definition), id=definition.id, source=record.source,
        dataset_version=found.version if found is not None else "", until=None if until_us is None else from_us(until_us),
        offset=None if found is None or is_dataset else found.offset,
    )  # fmt: skip


def _origins(service: Definition, store: DefinitionStore) -> dict[str, tuple[str, ...]]:
    """The views that each feature of a service comes from, by the feature's name."""
    record = service.record
    assert isinstance(record, ServiceRecord)
    demanded = store.by_id(part.version for part in record.on_demand)
    inputs: dict[str, tuple[Part, ...]] = {}
    for version, definition in demanded.items():
        assert isinstance(definition.record, OnDemandRecord)
        inputs[version] = definition.record.inputs
    parts = [*record.parts, *record.on_demand, *(each for own in inputs.values() for each in own)]
    names = {each.id: str(each) for each in store.by_id(part.version for part in parts).values()}
    found: dict[str, tuple[str, ...]] = {}
    for part in record.parts:
        found |= dict.fromkeys(part.names, (names[part.version],))
    for part in record.on_demand:
        taken = (names[each.version] for each in inputs[part.version])
        found |= dict.fromkeys(part.names, tuple(dict.fromkeys([names[part.version], *taken])))
    return found

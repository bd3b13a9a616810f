"""Records of predictions as a table: a row for each, `input.NAME`, `feature.NAME`, `status.NAME`,
`event_at.NAME`, and `output`.

The same records give the same table, live or compacted. Values that their declared type can't hold stay texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from mainspring.data.tables.type_names import named_type
from mainspring.errors import NotFoundError
from mainspring.models import expect_model, get_model_version
from mainspring.serving.predictions.ids import ids_from
from mainspring.serving.predictions.record import Logged
from mainspring.workspace import Workspace

AT = pl.Datetime("us", "UTC")
SCHEMA: dict[str, Any] = {
    "id": pl.String, "at": AT, "request_id": pl.String, "endpoint": pl.String, "generation": pl.Int64,
    "version": pl.String, "role": pl.String, "runtime": pl.String, "route_key": pl.String, "latency_us": pl.Int64,
    "features_service": pl.String, "features_at": AT, "features_views": pl.List(pl.String),
    "features_watermarks": pl.List(pl.Binary),
}  # fmt: skip


def frame_of(records: Sequence[Logged], types: Mapping[str, str]) -> pl.DataFrame:
    """The rows of one version's records; `types` are those of its inputs, by name."""
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA}
    more: dict[str, list[Any]] = {}
    rows = 0
    for record in records:
        _add_shared(columns, record)
        for name, values in _own(record).items():
            more.setdefault(name, [None] * rows).extend(values)
        rows += record.rows
        for values in more.values():
            values.extend([None] * (rows - len(values)))
    frame = pl.DataFrame({name: pl.Series(name, values, dtype=SCHEMA[name]) for name, values in columns.items()})
    return frame.with_columns([_typed(name, values, types) for name, values in more.items()])


def types_of(version: str, workspace: Workspace) -> dict[str, str]:
    """The types of a version's inputs, by name; none if it is gone."""
    try:
        return {field.name: field.dtype for field in expect_model(get_model_version(version, workspace))[1].inputs}
    except NotFoundError:
        return {}


def _add_shared(columns: dict[str, list[Any]], record: Logged) -> None:
    features = record.features
    shared = {
        "at": record.at_us, "request_id": record.request_id, "endpoint": record.endpoint,
        "generation": record.generation, "version": record.version, "role": record.role, "runtime": record.runtime,
        "route_key": record.route_key, "latency_us": record.latency_us,
        "features_service": features and features.service, "features_at": features and features.at_us,
        "features_views": features and list(features.views),
        "features_watermarks": features and list(features.watermarks),
    }  # fmt: skip
    columns["id"] += ids_from(record.id, record.rows)
    for name, value in shared.items():
        columns[name] += [value] * record.rows


def _own(record: Logged) -> dict[str, Sequence[Any]]:
    """The columns that a version has of its own."""
    found: dict[str, Sequence[Any]] = {f"input.{name}": values for name, values in record.inputs.items()}
    if record.features is not None:
        for place, name in enumerate(record.features.names):
            found[f"feature.{name}"] = [row[place] for row in record.features.values]
            found[f"status.{name}"] = [row[place] for row in record.features.statuses]
            found[f"event_at.{name}"] = [row[place] for row in record.features.event_us]
    first = record.outputs[0]
    if isinstance(first, dict):
        return found | {f"output.{name}": [each[name] for each in record.outputs] for name in first}
    return found | {"output": record.outputs}


def _typed(name: str, values: list[Any], types: Mapping[str, str]) -> pl.Series:
    kind, _, own = name.partition(".")
    if kind == "event_at":
        return pl.Series(name, values, dtype=AT)
    return typed_column(name, values, types.get(own, "") if kind in ("input", "feature") else "")


def typed_column(name: str, values: Sequence[Any], declared: str = "") -> pl.Series:
    """Values of the declared type if it holds them all, else of the type that they have, or as texts."""
    missing = sum(value is None for value in values)
    if declared:
        made = pl.Series(name, values, dtype=named_type(declared, name), strict=False)
        if made.null_count() == missing:
            return made
    made = pl.Series(name, values, strict=False)
    if made.null_count() == missing:
        return made
    return pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.String)

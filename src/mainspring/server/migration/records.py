"""The rows of MLflow's tables, by their own column names, each with what MLflow keeps of it in other tables.

Times are milliseconds since 1970, as there.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

ASIDE = frozenset({"tags", "params", "inputs", "models", "metrics", "versions", "aliases"})
"""Fields that are rows of other tables."""


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a table."""

    TABLE: ClassVar[str] = ""


class StoredExperiment(Stored, frozen=True, kw_only=True):
    """An experiment."""

    TABLE: ClassVar[str] = "experiments"
    experiment_id: int
    name: str
    artifact_location: str | None = None
    lifecycle_stage: str | None = "active"
    creation_time: int | None = None
    last_update_time: int | None = None
    tags: dict[str, str | None] = {}


class StoredInput(Stored, frozen=True, kw_only=True):
    """A dataset that a run used."""

    TABLE: ClassVar[str] = "datasets"
    name: str
    digest: str
    dataset_source_type: str
    dataset_source: str
    dataset_schema: str | None = None
    dataset_profile: str | None = None
    tags: dict[str, str] = {}


class StoredLink(Stored, frozen=True, kw_only=True):
    """A logged model that a run used (`input`) or made (`output`)."""

    role: str
    model_id: str
    step: int = 0


class StoredRun(Stored, frozen=True, kw_only=True):
    """A run, but for its points."""

    TABLE: ClassVar[str] = "runs"
    run_uuid: str
    name: str | None = None
    source_type: str | None = "UNKNOWN"
    source_name: str | None = ""
    entry_point_name: str | None = ""
    user_id: str | None = None
    status: str | None = "RUNNING"
    start_time: int | None = None
    end_time: int | None = None
    source_version: str | None = ""
    lifecycle_stage: str | None = "active"
    artifact_uri: str | None = None
    experiment_id: int | None = None
    deleted_time: int | None = None
    params: dict[str, str] = {}
    tags: dict[str, str | None] = {}
    inputs: tuple[StoredInput, ...] = ()
    models: tuple[StoredLink, ...] = ()


class StoredMeasure(Stored, frozen=True, kw_only=True):
    """A point of a logged model."""

    TABLE: ClassVar[str] = "logged_model_metrics"
    metric_name: str
    metric_timestamp_ms: int
    metric_step: int
    metric_value: float | None
    run_id: str
    dataset_name: str | None = None
    dataset_digest: str | None = None


class StoredLoggedModel(Stored, frozen=True, kw_only=True):
    """A logged model."""

    TABLE: ClassVar[str] = "logged_models"
    model_id: str
    experiment_id: int
    name: str
    artifact_location: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    status: int
    lifecycle_stage: str | None = "active"
    model_type: str | None = None
    source_run_id: str | None = None
    status_message: str | None = None
    tags: dict[str, str] = {}
    params: dict[str, str] = {}
    metrics: tuple[StoredMeasure, ...] = ()


class StoredVersion(Stored, frozen=True, kw_only=True):
    """A version of a registered model."""

    TABLE: ClassVar[str] = "model_versions"
    version: int
    creation_time: int | None = None
    last_updated_time: int | None = None
    description: str | None = None
    user_id: str | None = None
    current_stage: str | None = "None"
    source: str | None = None
    run_id: str | None = None
    status: str | None = "READY"
    status_message: str | None = None
    run_link: str | None = None
    storage_location: str | None = None
    tags: dict[str, str | None] = {}


class StoredModel(Stored, frozen=True, kw_only=True):
    """A registered model."""

    TABLE: ClassVar[str] = "registered_models"
    name: str
    creation_time: int | None = None
    last_updated_time: int | None = None
    description: str | None = None
    tags: dict[str, str | None] = {}
    versions: tuple[StoredVersion, ...] = ()
    aliases: dict[str, int] = {}


def columns(kind: type[Stored]) -> tuple[str, ...]:
    """The columns of a record's own row."""
    return tuple(name for name in kind.__struct_fields__ if name not in ASIDE)

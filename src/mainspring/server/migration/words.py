"""Between MLflow's words and ours: status and state, milliseconds and microseconds, numbers that its tables can't hold."""

from __future__ import annotations

import math

from mainspring.models.logged import LoggedMetric, LoggedModel
from mainspring.runs import Run, RunState
from mainspring.runs.inputs import DatasetInput
from mainspring.runs.metrics import Metric
from mainspring.runs.search import STATUS
from mainspring.server.migration.records import StoredInput, StoredLoggedModel, StoredMeasure, StoredRun, StoredVersion
from mainspring.server.migration.tracked import Point

NAME, PARENT, NOTE, COMMIT = (
    "mlflow.runName", "mlflow.parentRunId", "mlflow.note.content", "mlflow.source.git.commit",
)  # fmt: skip
DELETED, GONE = "deleted", "Deleted_Internal"
_STATES = {
    "RUNNING": RunState.RUNNING, "SCHEDULED": RunState.RUNNING, "FINISHED": RunState.SUCCEEDED, "FAILED": RunState.FAILED,
    "KILLED": RunState.CANCELLED,
}  # fmt: skip
_MODEL_STATUS = {0: "PENDING", 1: "PENDING", 2: "READY", 3: "FAILED"}
_LARGEST = 1.7976931348623157e308  # what MLflow's SQL stores keep an infinity as


def state_of(status: str | None) -> RunState:
    """Our word for a run's status."""
    return _STATES.get(status or "", RunState.RUNNING)


def status_of(state: RunState) -> str:
    """MLflow's word for a run's state."""
    return STATUS[state.value]


def name_of(run: StoredRun) -> str:
    """What a run is called; one without a name is `run`."""
    return run.name or run.tags.get(NAME) or "run"


def us(ms: int | None) -> int:
    """Microseconds of milliseconds; what has no time is from 1970."""
    return (ms or 0) * 1000


def texts(said: dict[str, str | None]) -> dict[str, str]:
    """Tags as they are kept: one without a text is empty."""
    return {key: value or "" for key, value in said.items()}


def same_texts(said: dict[str, str | None], ours: dict[str, str]) -> dict[str, str | None]:
    """Tags as they came where they are still the same, and ours of the others."""
    return {key: None if said.get(key, "") is None and not value else value for key, value in ours.items()}


def metric_of(point: Point) -> Metric:
    """A point of a run as it is kept here.

    >>> metric_of(("loss", 1.7976931348623157e308, 5, 1, 0))
    Metric(key='loss', value=inf, step=1, at=5000)
    """
    key, value, timestamp, step, is_nan = point
    return Metric(key, math.nan if is_nan else _widened(value), step, timestamp * 1000)


def point_of(metric: Metric) -> Point:
    """A point of a run as MLflow keeps it.

    >>> point_of(Metric("loss", float("nan"), 1, 5000))
    ('loss', 0.0, 5, 1, 1)
    """
    is_nan = math.isnan(metric.value)
    return metric.key, 0.0 if is_nan else _narrowed(metric.value), metric.at // 1000, metric.step, int(is_nan)


def measure_of(given: StoredMeasure) -> LoggedMetric:
    """A point of a logged model as it is kept here."""
    value = math.nan if given.metric_value is None else _widened(given.metric_value)
    place = given.dataset_name or "", given.dataset_digest or "", given.run_id
    return LoggedMetric(given.metric_name, value, given.metric_step, us(given.metric_timestamp_ms), *place)


def stored_measure(given: LoggedMetric) -> StoredMeasure:
    """A point of a logged model as MLflow keeps it, where NaN is 0."""
    return StoredMeasure(
        metric_name=given.key, metric_timestamp_ms=given.at // 1000, metric_step=given.step, run_id=given.run,
        metric_value=0.0 if math.isnan(given.value) else _narrowed(given.value),
        dataset_name=given.dataset or None, dataset_digest=given.dataset_digest or None,
    )  # fmt: skip


def input_of(given: StoredInput) -> DatasetInput:
    """A dataset that a run used, as it is kept here."""
    return DatasetInput(
        given.name, given.digest, given.dataset_source_type, given.dataset_source, given.dataset_schema or "",
        given.dataset_profile or "", dict(given.tags),
    )  # fmt: skip


def stored_input(given: DatasetInput) -> StoredInput:
    """A dataset that a run used, as MLflow keeps it."""
    return StoredInput(
        name=given.name, digest=given.digest, dataset_source_type=given.source_type, dataset_source=given.source,
        dataset_schema=given.schema or None, dataset_profile=given.profile or None, tags=dict(given.tags),
    )  # fmt: skip


def logged_of(given: StoredLoggedModel, experiment: int, deleted_at: int | None) -> LoggedModel:
    """A logged model as it is kept here, in the experiment that has this number here."""
    return LoggedModel(
        given.model_id, given.name, experiment, given.source_run_id or None, given.model_type or "",
        _MODEL_STATUS.get(given.status, "FAILED"), given.status_message or "", us(given.creation_timestamp_ms),
        us(given.last_updated_timestamp_ms), deleted_at, dict(given.tags), dict(given.params),
    )  # fmt: skip


def stored_logged(model: LoggedModel, was: StoredLoggedModel | None, location: str) -> StoredLoggedModel:
    """A logged model as MLflow keeps it; `was` is what it came as."""
    status = next(number for number, name in reversed(_MODEL_STATUS.items()) if name == model.status)
    return StoredLoggedModel(
        model_id=model.id, experiment_id=model.experiment, name=model.name, artifact_location=location,
        creation_timestamp_ms=model.created_at // 1000, last_updated_timestamp_ms=model.updated_at // 1000,
        status=was.status if was and _MODEL_STATUS.get(was.status) == model.status else status,
        model_type=was.model_type if was and (was.model_type or "") == model.type else model.type or None,
        source_run_id=was.source_run_id if was and (was.source_run_id or None) == model.run else model.run,
        status_message=model.message or None, tags=model.tags, params=model.params,
    )  # fmt: skip


def stored_run(run: Run, was: StoredRun | None, number: int, location: str) -> StoredRun:
    """A run as MLflow keeps it; `was` is what it came as, whose words stay where they still say the same."""
    from mainspring.runs._rows import param_row

    known = was or StoredRun(run_uuid=run.id, user_id=run.tags.get("mlflow.user", run.actor))
    own = {NAME: run.name, PARENT: run.parent or "", NOTE: run.note, COMMIT: run.git_commit or ""}
    ours = run.tags if was else {key: value for key, value in own.items() if value} | run.tags
    ended = None if run.ended_at is None else run.ended_at // 1000
    deleted = run.deleted_at is not None
    since = known.deleted_time if known.lifecycle_stage == DELETED else (run.deleted_at or 0) // 1000
    return StoredRun(
        run_uuid=run.id, name=known.name if was and name_of(known) == run.name else run.name, user_id=known.user_id,
        source_type=known.source_type, source_name=known.source_name, entry_point_name=known.entry_point_name,
        source_version=known.source_version, experiment_id=number, artifact_uri=location,
        status=known.status if was and state_of(known.status) == run.state else status_of(run.state),
        start_time=known.start_time if was and us(known.start_time) == run.started_at else run.started_at // 1000,
        end_time=ended, lifecycle_stage=DELETED if deleted else "active", deleted_time=since if deleted else None,
        params={key: param_row(value)[1] for key, value in run.params.items()}, tags=same_texts(known.tags, ours),
    )  # fmt: skip


def is_gone(version: StoredVersion) -> bool:
    """Whether a version was deleted, and is there for its number alone."""
    return version.current_stage == GONE


def _widened(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) >= _LARGEST else value


def _narrowed(value: float) -> float:
    return math.copysign(_LARGEST, value) if math.isinf(value) else value

"""Logged models, as MLflow 3's clients make them with every `log_model` and every autologged fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from mainspring.errors import InvalidError
from mainspring.ledger import note_search
from mainspring.models.logged import LoggedMetric, LoggedModel
from mainspring.server.mlflow import model_versions
from mainspring.server.mlflow.records import Records, address
from mainspring.server.mlflow.wire import Pair, Route, Told, mapped, ms, number, paged, pairs

_STATUSES = {
    "LOGGED_MODEL_PENDING": "PENDING", "LOGGED_MODEL_READY": "READY", "LOGGED_MODEL_UPLOAD_FAILED": "FAILED",
    "1": "PENDING", "2": "READY", "3": "FAILED",
}  # fmt: skip
_TOLD = {value: key for key, value in _STATUSES.items() if not key.isdecimal()}


class _Create(msgspec.Struct, frozen=True):
    experiment_id: str
    name: str = ""
    model_type: str = ""
    source_run_id: str = ""
    params: tuple[Pair, ...] = ()
    tags: tuple[Pair, ...] = ()


class _Ref(msgspec.Struct, frozen=True):
    model_id: str


class _Finalize(_Ref, frozen=True):
    status: str | int


class _Tags(_Ref, frozen=True):
    tags: tuple[Pair, ...] = ()


class _Params(_Ref, frozen=True):
    params: tuple[Pair, ...] = ()


class _Tag(_Ref, frozen=True):
    tag_key: str


class _Order(msgspec.Struct, frozen=True):
    field_name: str
    ascending: bool = True
    dataset_name: str = ""
    dataset_digest: str = ""


class _Dataset(msgspec.Struct, frozen=True):
    dataset_name: str
    dataset_digest: str = ""


class _Search(msgspec.Struct, frozen=True):
    experiment_ids: tuple[str, ...] = ()
    filter: str = ""
    datasets: tuple[_Dataset, ...] = ()
    max_results: int = 50
    order_by: tuple[_Order, ...] = ()
    page_token: str = ""


def _create(records: Records, asked: _Create) -> Told:
    experiment = records.experiment(asked.experiment_id)
    run = records.run(asked.source_run_id) if asked.source_run_id else None
    model = records.logged.create(
        experiment.number, asked.name or "model", run=run.id if run else None, kind=asked.model_type,
        tags=mapped(asked.tags), params=mapped(asked.params),
    )  # fmt: skip
    return _one(records, model)


def _get(records: Records, asked: _Ref) -> Told:
    return _one(records, records.logged.get(asked.model_id))


def _finalize(records: Records, asked: _Finalize) -> Told:
    status = _STATUSES.get(str(asked.status))
    if status is None:
        raise InvalidError("status", asked.status, f"one of {', '.join(_TOLD.values())}")
    was = records.logged.get(asked.model_id).status
    model = records.logged.finalize(asked.model_id, status)
    if status == "READY" != was:
        model_versions.complete(records, model.id)
    return _one(records, model)


def _set_tags(records: Records, asked: _Tags) -> Told:
    return _one(records, records.logged.set_tags(asked.model_id, mapped(asked.tags)))


def _delete_tag(records: Records, asked: _Tag) -> Told:
    records.logged.delete_tag(asked.model_id, asked.tag_key)
    return {}


def _log_params(records: Records, asked: _Params) -> Told:
    records.logged.log_params(asked.model_id, mapped(asked.params))
    return {}


def _delete(records: Records, asked: _Ref) -> Told:
    records.logged.delete(asked.model_id)
    return {}


def _search(records: Records, asked: _Search) -> Told:
    if records.is_asked_by_code("search_logged_models"):
        note_search("logged models", asked.filter)
    page = records.logged.search(
        asked.filter, experiments=[records.experiment(each).number for each in asked.experiment_ids],
        order_by=[f"{_field(each.field_name)} {'ASC' if each.ascending else 'DESC'}" for each in asked.order_by],
        datasets=[(each.dataset_name, each.dataset_digest) for each in asked.datasets], limit=asked.max_results,
        cursor=asked.page_token or None,
    )  # fmt: skip
    measured = records.logged.metrics([each.id for each in page])
    return paged("models", [told(each, measured[each.id]) for each in page], page.cursor)


def _field(name: str) -> str:
    kind, dot, key = name.partition(".")
    return f"{kind}.`{key}`" if dot and "`" not in key and '"' not in key else name


def _one(records: Records, model: LoggedModel) -> Told:
    return {"model": told(model, records.logged.metrics([model.id])[model.id])}


def told(model: LoggedModel, measured: Sequence[LoggedMetric]) -> Told:
    """A logged model in MLflow's terms."""
    info: Told = {
        "model_id": model.id, "experiment_id": str(model.experiment), "name": model.name,
        "creation_timestamp_ms": ms(model.created_at), "last_updated_timestamp_ms": ms(model.updated_at),
        "artifact_uri": address(model.experiment, model.id), "status": _TOLD[model.status], "tags": pairs(model.tags),
    }  # fmt: skip
    if model.type:
        info["model_type"] = model.type
    if model.run:
        info["source_run_id"] = model.run
    return {
        "info": info,
        "data": {"params": pairs(model.params), "metrics": [_metric(each, model) for each in measured]},
    }


def _metric(point: LoggedMetric, model: LoggedModel) -> Told:
    found: Told = {
        "key": point.key, "value": number(point.value), "timestamp": ms(point.at), "step": point.step, "model_id": model.id,
    }  # fmt: skip
    named: Mapping[str, str] = {
        "dataset_name": point.dataset, "dataset_digest": point.dataset_digest, "run_id": point.run,
    }  # fmt: skip
    return found | {name: value for name, value in named.items() if value}


ROUTES = (
    Route("POST", "/mlflow/logged-models", _Create, _create),
    Route("POST", "/mlflow/logged-models/search", _Search, _search),
    Route("GET", "/mlflow/logged-models/{model_id}", _Ref, _get),
    Route("PATCH", "/mlflow/logged-models/{model_id}", _Finalize, _finalize),
    Route("DELETE", "/mlflow/logged-models/{model_id}", _Ref, _delete),
    Route("POST", "/mlflow/logged-models/{model_id}/params", _Params, _log_params),
    Route("PATCH", "/mlflow/logged-models/{model_id}/tags", _Tags, _set_tags),
    Route("DELETE", "/mlflow/logged-models/{model_id}/tags/{tag_key}", _Tag, _delete_tag),
)

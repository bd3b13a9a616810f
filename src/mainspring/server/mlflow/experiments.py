"""Experiments, as MLflow's clients ask for them: by their decimal number or by name."""

from __future__ import annotations

import msgspec

from mainspring.errors import InvalidError, NotFoundError
from mainspring.runs.experiment import Experiment, View
from mainspring.server.mlflow.records import Records
from mainspring.server.mlflow.wire import Pair, Route, Told, mapped, ms, paged, pairs

_VIEWS: dict[str, View] = {
    "ACTIVE_ONLY": "active", "DELETED_ONLY": "deleted", "ALL": "all", "1": "active", "2": "deleted", "3": "all",
}  # fmt: skip


class _Create(msgspec.Struct, frozen=True):
    name: str
    tags: tuple[Pair, ...] = ()


class _Ref(msgspec.Struct, frozen=True):
    experiment_id: str


class _Named(msgspec.Struct, frozen=True):
    experiment_name: str


class _Rename(msgspec.Struct, frozen=True):
    experiment_id: str
    new_name: str


class _Tag(msgspec.Struct, frozen=True):
    experiment_id: str
    key: str
    value: str = ""


class _Search(msgspec.Struct, frozen=True):
    max_results: int = 1000
    page_token: str = ""
    filter: str = ""
    order_by: tuple[str, ...] = ()
    view_type: str | int = "ACTIVE_ONLY"


def view_of(given: str | int) -> View:
    """Which records a view type shows; raises `InvalidError`."""
    if str(given) not in _VIEWS:
        raise InvalidError("view_type", given, "one of ACTIVE_ONLY, DELETED_ONLY, ALL")
    return _VIEWS[str(given)]


def told(experiment: Experiment) -> Told:
    """An experiment in MLflow's terms."""
    return {
        "experiment_id": str(experiment.number), "name": experiment.name, "tags": pairs(experiment.tags),
        "artifact_location": f"mlflow-artifacts:/{experiment.number}",
        "lifecycle_stage": "deleted" if experiment.deleted_at else "active",
        "creation_time": ms(experiment.created_at), "last_update_time": ms(experiment.updated_at),
    }  # fmt: skip


def _create(records: Records, asked: _Create) -> Told:
    return {"experiment_id": str(records.experiments.create(asked.name, mapped(asked.tags)).number)}


def _get(records: Records, asked: _Ref) -> Told:
    return {"experiment": told(records.experiment(asked.experiment_id))}


def _by_name(records: Records, asked: _Named) -> Told:
    found = records.experiments.find(asked.experiment_name)
    if found is None:
        raise NotFoundError("experiment", asked.experiment_name)
    return {"experiment": told(found)}


def _rename(records: Records, asked: _Rename) -> Told:
    records.experiments.rename(records.experiment(asked.experiment_id).number, asked.new_name)
    return {}


def _delete(records: Records, asked: _Ref) -> Told:
    records.experiments.delete(_in_view(records, asked, "active").number)
    return {}


def _restore(records: Records, asked: _Ref) -> Told:
    records.experiments.restore(_in_view(records, asked, "deleted").number)
    return {}


def _in_view(records: Records, asked: _Ref, view: View) -> Experiment:
    """An experiment that is active or deleted, as MLflow wants it of what is to be the other; raises `NotFoundError`."""
    found = records.experiment(asked.experiment_id)
    if (found.deleted_at is None) != (view == "active"):
        raise NotFoundError(f"{view} experiment", found.name)
    return found


def _set_tag(records: Records, asked: _Tag) -> Told:
    records.experiments.set_tag(records.experiment(asked.experiment_id).number, asked.key, asked.value)
    return {}


def _delete_tag(records: Records, asked: _Tag) -> Told:
    records.experiments.delete_tag(records.experiment(asked.experiment_id).number, asked.key)
    return {}


def _search(records: Records, asked: _Search) -> Told:
    page = records.experiments.search(
        asked.filter, asked.order_by, asked.max_results, asked.page_token or None, view_of(asked.view_type)
    )
    return paged("experiments", [told(each) for each in page], page.cursor)


ROUTES = (
    Route("POST", "/mlflow/experiments/create", _Create, _create),
    Route("GET", "/mlflow/experiments/get", _Ref, _get),
    Route("GET", "/mlflow/experiments/get-by-name", _Named, _by_name),
    Route("POST", "/mlflow/experiments/search", _Search, _search),
    Route("GET", "/mlflow/experiments/search", _Search, _search),
    Route("POST", "/mlflow/experiments/update", _Rename, _rename),
    Route("POST", "/mlflow/experiments/delete", _Ref, _delete),
    Route("POST", "/mlflow/experiments/restore", _Ref, _restore),
    Route("POST", "/mlflow/experiments/set-experiment-tag", _Tag, _set_tag),
    Route("POST", "/mlflow/experiments/delete-experiment-tag", _Tag, _delete_tag),
)

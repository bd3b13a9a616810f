"""Runs, as MLflow's clients write and read them. One that an engine works on is its own: a client only adds to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mainspring import clock
from mainspring.errors import InvalidError, NotFoundError
from mainspring.runs.inputs import DatasetInput
from mainspring.runs.interrupted import as_read
from mainspring.runs.limits import checked_key
from mainspring.runs.mirroring import mirror_soon
from mainspring.runs.run import CLIENT_KIND, Run, RunState
from mainspring.runs.search import STATUS, search_runs
from mainspring.server.mlflow import metrics
from mainspring.server.mlflow.experiments import view_of
from mainspring.server.mlflow.metrics import Point, log_points
from mainspring.server.mlflow.records import Records, address
from mainspring.server.mlflow.wire import Pair, Route, Told, mapped, ms, paged, pairs
from mainspring.store import batches

_NAME, _PARENT, _NOTE, _USER, _COMMIT = (
    "mlflow.runName", "mlflow.parentRunId", "mlflow.note.content", "mlflow.user", "mlflow.source.git.commit",
)  # fmt: skip
_STATES = {
    "RUNNING": RunState.RUNNING, "SCHEDULED": RunState.RUNNING, "FINISHED": RunState.SUCCEEDED, "FAILED": RunState.FAILED,
    "KILLED": RunState.CANCELLED, "1": RunState.RUNNING, "2": RunState.RUNNING, "3": RunState.SUCCEEDED,
    "4": RunState.FAILED, "5": RunState.CANCELLED,
}  # fmt: skip
_MOST_METRICS, _MOST_PARAMS, _MOST_TOGETHER = 1000, 100, 1000
_MOST_RUNS = 50_000


class _Create(msgspec.Struct, frozen=True):
    experiment_id: str = "0"
    user_id: str = ""
    run_name: str = ""
    start_time: int = 0
    tags: tuple[Pair, ...] = ()


class _Ref(msgspec.Struct, frozen=True):
    run_id: str = ""
    run_uuid: str = ""

    @property
    def id(self) -> str:
        return self.run_id or self.run_uuid


class _Update(_Ref, frozen=True):
    status: str | int | None = None
    end_time: int | None = None
    run_name: str = ""


class _Param(_Ref, frozen=True, kw_only=True):
    key: str
    value: str = ""


class _Batch(_Ref, frozen=True):
    metrics: tuple[Point, ...] = ()
    params: tuple[Pair, ...] = ()
    tags: tuple[Pair, ...] = ()


class _Input(msgspec.Struct, frozen=True):
    dataset: DatasetInput
    tags: tuple[Pair, ...] = ()


class _Model(msgspec.Struct, frozen=True):
    model_id: str
    step: int = 0


class _Inputs(_Ref, frozen=True):
    datasets: tuple[_Input, ...] = ()
    models: tuple[_Model, ...] = ()


class _Outputs(_Ref, frozen=True):
    models: tuple[_Model, ...] = ()


class _Search(msgspec.Struct, frozen=True):
    experiment_ids: tuple[str, ...] = ()
    filter: str = ""
    run_view_type: str | int = "ACTIVE_ONLY"
    max_results: int = 1000
    order_by: tuple[str, ...] = ()
    page_token: str = ""


def _create(records: Records, asked: _Create) -> Told:
    experiment = records.experiment(asked.experiment_id or "0")
    tags = mapped(asked.tags)
    for key in tags:
        checked_key("tag", key)
    if records.adoption is not None:
        adopted = records.adoption.take(experiment.name)
        if adopted is not None:
            return _adopted(records, adopted, tags, asked.run_name)
        tags.setdefault(_PARENT, records.adoption.run or "")
    name = asked.run_name or tags.get(_NAME) or "run"
    tags[_NAME] = name
    if asked.user_id:
        tags.setdefault(_USER, asked.user_id)
    parent = records.runs.get_many([tags[_PARENT]]).get(tags[_PARENT]) if tags.get(_PARENT) else None
    with records.database.transaction() as tx:
        run = records.runs.create(
            tx, kind=CLIENT_KIND, name=name, experiment=experiment.name, tags=tags, note=tags.get(_NOTE, ""),
            parent=parent.id if parent else None, git_commit=tags.get(_COMMIT),
            started_at=asked.start_time * 1000 or clock.now_us(),
        )  # fmt: skip
    records.own(run.id)
    return {"run": told(records, [run])[0]}


def _adopted(records: Records, run_id: str, tags: Mapping[str, str], name: str) -> Told:
    """The step's run as the client's own, with what the client says of it."""
    kept = {key: value for key, value in tags.items() if key not in (_NAME, _PARENT)}
    _set_tags(records, records.run(run_id), kept | ({_NAME: name} if name else {}))
    return {"run": told(records, [records.run(run_id)])[0]}


def _get(records: Records, asked: _Ref) -> Told:
    return {"run": told(records, [records.read_run(asked.id)])[0]}


def _update(records: Records, asked: _Update) -> Told:
    run = records.open_run(asked.id)
    records.own(run.id)
    with records.database.transaction() as tx:
        if asked.run_name:
            records.runs.rename(tx, run.id, asked.run_name)
            records.runs.set_tags(tx, run.id, {_NAME: asked.run_name})
        if run.kind == CLIENT_KIND and asked.status is not None:
            _change_state(records, tx, run, _state(asked.status), asked.end_time)
    # In a step the pipeline's end does it: what a step starts would count as seen by it.
    if records.adoption is None and records.run(run.id).state is not RunState.RUNNING:
        mirror_soon(records.workspace, run.id)
    (changed,) = as_read(records.database, records.workspace.leases, [records.run(run.id)])
    return {"run_info": _info(records, changed)}


def _state(status: str | int) -> RunState:
    if str(status) not in _STATES:
        raise InvalidError("status", status, "one of RUNNING, SCHEDULED, FINISHED, FAILED, KILLED")
    return _STATES[str(status)]


def _change_state(records: Records, tx: Any, run: Run, state: RunState, end_time: int | None) -> None:
    if state is RunState.RUNNING:
        if run.state is not RunState.RUNNING:
            records.runs.resume(tx, run)
        return
    records.runs.finish(tx, run.id, state)
    if end_time:
        records.runs.update(tx, run.id, ended_at=end_time * 1000)


def _delete(records: Records, asked: _Ref) -> Told:
    run = records.run(asked.id)
    with records.database.transaction() as tx:
        records.runs.delete(tx, run.id)
    return {}


def _restore(records: Records, asked: _Ref) -> Told:
    run = records.run(asked.id)
    with records.database.transaction() as tx:
        records.runs.restore(tx, run.id)
    return {}


def _log_param(records: Records, asked: _Param) -> Told:
    _log_params(records, records.open_run(asked.id), {asked.key: asked.value})
    return {}


def _log_params(records: Records, run: Run, params: Mapping[str, str]) -> None:
    for key in params:
        checked_key("parameter", key)
    with records.database.transaction() as tx:
        records.runs.log_params(tx, run.id, params)


def _set_tag(records: Records, asked: _Param) -> Told:
    run = records.open_run(asked.id)
    _set_tags(records, run, {asked.key: asked.value})
    return {}


def _set_tags(records: Records, run: Run, tags: Mapping[str, str]) -> None:
    """Set tags; those in which MLflow keeps a run's name and note are these, too."""
    for key in tags:
        checked_key("tag", key)
    with records.database.transaction() as tx:
        records.runs.set_tags(tx, run.id, tags)
        if tags.get(_NAME):
            records.runs.rename(tx, run.id, tags[_NAME])
        if _NOTE in tags:
            records.runs.set_note(tx, run.id, tags[_NOTE])


def _delete_tag(records: Records, asked: _Param) -> Told:
    run = records.open_run(asked.id)
    with records.database.transaction() as tx:
        records.runs.delete_tag(tx, run.id, asked.key)
    return {}


def _log_batch(records: Records, asked: _Batch) -> Told:
    counts = len(asked.metrics), len(asked.params), len(asked.tags)
    limits = _MOST_METRICS, _MOST_PARAMS, _MOST_PARAMS
    for name, count, limit in zip(("metrics", "params", "tags"), counts, limits, strict=True):
        if count > limit:
            raise InvalidError(name, f"{count:,} of them", f"at most {limit:,} in one batch")
    if sum(counts) > _MOST_TOGETHER:
        raise InvalidError("batch", f"{sum(counts):,} entries", f"at most {_MOST_TOGETHER:,}")
    params = mapped(asked.params)
    if twice := next((each for each in asked.params if params[each.key] != each.value), None):
        raise InvalidError(
            f"parameter `{twice.key}`", twice.value, f"what the same batch says of it: {params[twice.key]}"
        )
    run = records.open_run(asked.id)
    if params:
        _log_params(records, run, params)
    if asked.tags:
        _set_tags(records, run, mapped(asked.tags))
    log_points(records, run, asked.metrics)
    return {}


def _log_inputs(records: Records, asked: _Inputs) -> Told:
    run = records.open_run(asked.id)
    given = [msgspec.structs.replace(each.dataset, tags=mapped(each.tags)) for each in asked.datasets]
    with records.database.transaction() as tx:
        records.inputs.log_inputs(tx, run.id, given, merge=False)
        _link(records, tx, run, "input", asked.models)
    return {}


def _log_outputs(records: Records, asked: _Outputs) -> Told:
    run = records.open_run(asked.id)
    with records.database.transaction() as tx:
        _link(records, tx, run, "output", asked.models)
    return {}


def _link(records: Records, tx: Any, run: Run, role: str, models: Sequence[_Model]) -> None:
    for each in models:
        tx.execute(
            "INSERT INTO mlflow_run_model VALUES (?, ?, ?, ?) ON CONFLICT (run, role, model) DO UPDATE"
            " SET step = excluded.step",
            (run.id, role, each.model_id, each.step),
        )
        if role == "input":
            records.ledger.edge(tx, run.id, "uses", each.model_id)


def _search(records: Records, asked: _Search) -> Told:
    if not 0 < asked.max_results <= _MOST_RUNS:
        raise InvalidError("max_results", asked.max_results, f"a whole number from 1 to {_MOST_RUNS:,}")
    known = []
    for each in asked.experiment_ids:
        try:
            known.append(records.experiment(each).number)
        except NotFoundError:  # MLflow finds nothing in an experiment that is not there
            continue
    page = search_runs(
        asked.filter, experiments=known, order_by=asked.order_by, limit=asked.max_results,
        cursor=asked.page_token or None, view=view_of(asked.run_view_type), workspace=records.workspace,
    )  # fmt: skip
    return paged("runs", told(records, page.items), page.cursor)


def told(records: Records, runs: Sequence[Run]) -> list[Told]:
    """Runs in MLflow's terms, with what was logged to them."""
    runs = as_read(records.database, records.workspace.leases, runs)
    latest = records.metrics.latest_of([run.series for run in runs])
    linked = _linked(records, runs)
    used = records.inputs.inputs_of([run.id for run in runs])
    numbers = {name: records.experiments.get(name).number for name in {run.experiment for run in runs}}
    return [
        {
            "info": _info(records, run, numbers[run.experiment]),
            "data": {
                "metrics": [metrics.told(each) for each in latest.get(run.series, {}).values()],
                "params": pairs({key: _text(value) for key, value in run.params.items()}),
                "tags": pairs(_tags(run)),
            },
            "inputs": {
                "dataset_inputs": [_input(each) for each in used[run.id]],
                "model_inputs": linked.get((run.id, "input"), []),
            },
            "outputs": {"model_outputs": linked.get((run.id, "output"), [])},
        }
        for run in runs
    ]


def _linked(records: Records, runs: Sequence[Run]) -> dict[tuple[str, str], list[Told]]:
    """The logged models of runs, by run and role."""
    linked: dict[tuple[str, str], list[Told]] = {}
    for batch, marks in batches(run.id for run in runs):
        rows = records.database.query(
            f"SELECT run, role, model, step FROM mlflow_run_model WHERE run IN ({marks}) ORDER BY model", batch
        )
        for run, role, model, step in rows:
            entry = {"model_id": model} | ({"step": step} if role == "output" else {})
            linked.setdefault((run, role), []).append(entry)
    return linked


def _info(records: Records, run: Run, experiment: int | None = None) -> Told:
    number_ = records.experiments.get(run.experiment).number if experiment is None else experiment
    info: Told = {
        "run_id": run.id, "run_uuid": run.id, "run_name": run.name, "experiment_id": str(number_),
        "user_id": run.tags.get(_USER, run.actor), "status": STATUS[run.state.value], "start_time": ms(run.started_at),
        "artifact_uri": address(number_, run.id), "lifecycle_stage": "deleted" if run.deleted_at else "active",
    }  # fmt: skip
    if run.ended_at is not None:
        info["end_time"] = ms(run.ended_at)
    return info


def _tags(run: Run) -> dict[str, str]:
    """The tags of a run, with those in which MLflow keeps what is a field of ours."""
    own = {_NAME: run.name, _PARENT: run.parent or "", _NOTE: run.note, _COMMIT: run.git_commit or ""}
    return {key: value for key, value in own.items() if value} | run.tags


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return str(value) if value is None or isinstance(value, bool | int | float) else msgspec.json.encode(value).decode()


def _input(given: DatasetInput) -> Told:
    dataset = {
        name: value
        for name in DatasetInput.__struct_fields__
        if name != "tags" and ((value := getattr(given, name)) or name in ("name", "digest", "source_type", "source"))
    }
    return {"dataset": dataset, "tags": pairs(given.tags)}


ROUTES = (
    Route("POST", "/mlflow/runs/create", _Create, _create),
    Route("GET", "/mlflow/runs/get", _Ref, _get),
    Route("POST", "/mlflow/runs/update", _Update, _update),
    Route("POST", "/mlflow/runs/search", _Search, _search),
    Route("POST", "/mlflow/runs/delete", _Ref, _delete),
    Route("POST", "/mlflow/runs/restore", _Ref, _restore),
    Route("POST", "/mlflow/runs/log-parameter", _Param, _log_param),
    Route("POST", "/mlflow/runs/log-batch", _Batch, _log_batch),
    Route("POST", "/mlflow/runs/set-tag", _Param, _set_tag),
    Route("POST", "/mlflow/runs/delete-tag", _Param, _delete_tag),
    Route("POST", "/mlflow/runs/log-inputs", _Inputs, _log_inputs),
    Route("POST", "/mlflow/runs/outputs", _Outputs, _log_outputs),
)

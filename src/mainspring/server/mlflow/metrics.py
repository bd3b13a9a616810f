"""Metric points, as MLflow's clients log and read them: times in milliseconds, perhaps of a logged model on a dataset."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from mainspring.errors import InvalidError
from mainspring.models.logged import LoggedMetric
from mainspring.runs.limits import checked_key
from mainspring.runs.metrics import Metric
from mainspring.runs.run import Run
from mainspring.server.mlflow.records import Records
from mainspring.server.mlflow.wire import Route, Told, ms, number, paged

_NAME = re.compile(r"[/\w.\- :]{1,250}")
_MOST_RUNS, _MOST_POINTS = 100, 25_000


class Point(msgspec.Struct, frozen=True):
    """A point of a batch."""

    key: str
    value: float
    timestamp: int
    step: int = 0
    model_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class _Log(Point, frozen=True, kw_only=True):
    run_id: str = ""
    run_uuid: str = ""


class _History(msgspec.Struct, frozen=True):
    metric_key: str
    run_id: str = ""
    run_uuid: str = ""
    page_token: str = ""
    max_results: int | None = None


class _Bulk(msgspec.Struct, frozen=True):
    metric_key: str
    run_id: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()
    start_step: int | None = None
    end_step: int | None = None
    max_results: int = _MOST_POINTS


def check_name(kind: str, key: str) -> None:
    """Refuse a name that MLflow's clients could not read back: they are parts of paths there.

    Raises:
        InvalidError: it has other characters, or is no path.
    """
    parts = key.split("/")
    if not _NAME.fullmatch(key) or key.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise InvalidError(
            f"name of a {kind}", key, "letters, digits, `_ - . : /` and spaces, and a path in its normal form"
        )


def log_points(records: Records, run: Run, points: Sequence[Point]) -> None:
    """Keep points of a run, and those that name a model as the model's, too."""
    if not points:
        return
    for each in points:
        check_name("metric", checked_key("metric", each.key))
    records.metrics.append(
        run.series, [Metric(each.key, each.value, each.step, each.timestamp * 1000) for each in points]
    )
    measured: dict[str, list[LoggedMetric]] = {}
    for each in points:
        if each.model_id:
            place = each.dataset_name, each.dataset_digest, run.id
            point = LoggedMetric(each.key, each.value, each.step, each.timestamp * 1000, *place)
            measured.setdefault(each.model_id, []).append(point)
    for model_id, group in measured.items():
        records.logged.log_metrics(model_id, group)


def _log(records: Records, asked: _Log) -> Told:
    log_points(records, records.open_run(asked.run_id or asked.run_uuid), [asked])
    return {}


def _history(records: Records, asked: _History) -> Told:
    run = records.read_run(asked.run_id or asked.run_uuid)
    page = records.metrics.history(
        run.series, asked.metric_key, limit=asked.max_results, cursor=asked.page_token or None
    )
    points = page.items if page.cursor or asked.page_token else sorted(page, key=_in_time)
    return paged("metrics", [told(each) for each in points], page.cursor)


def _bulk(records: Records, asked: _Bulk) -> Told:
    run_ids = asked.run_ids or asked.run_id
    if not 0 < len(run_ids) <= _MOST_RUNS:
        raise InvalidError("run_ids", f"{len(run_ids)} of them", f"1 to {_MOST_RUNS} runs")
    found: list[Told] = []
    for run_id in run_ids:
        points = records.metrics.history(records.read_run(run_id).series, asked.metric_key)
        found += [told(each) | {"run_id": run_id} for each in points if _within(each.step, asked)]
    return {"metrics": found[: min(asked.max_results, _MOST_POINTS)]}


def _in_time(point: Metric) -> tuple[int, int, bool, float]:
    """Where a point stands in a history that MLflow tells whole."""
    is_nan = point.value != point.value
    return point.at, point.step, is_nan, 0.0 if is_nan else point.value


def _within(step: int, asked: _Bulk) -> bool:
    first, last = asked.start_step, asked.end_step
    return (first is None or first <= step) and (last is None or step <= last)


def told(point: Metric) -> Told:
    """A point in MLflow's terms."""
    return {"key": point.key, "value": number(point.value), "timestamp": ms(point.at), "step": point.step}


ROUTES = (
    Route("POST", "/mlflow/runs/log-metric", _Log, _log),
    Route("GET", "/mlflow/metrics/get-history", _History, _history),
    Route("GET", "/mlflow/metrics/get-history-bulk", _Bulk, _bulk),
    Route("GET", "/mlflow/metrics/get-history-bulk-interval", _Bulk, _bulk),
)

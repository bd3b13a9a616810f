"""Runs side by side: parameters that differ, the last value of each metric with the best marked, and curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from mainspring.errors import InvalidError, NotFoundError, close_names
from mainspring.ledger import note_moving
from mainspring.runs._store import RunStore
from mainspring.runs.interrupted import as_read
from mainspring.runs.metrics import Metric, Metrics
from mainspring.runs.run import Run, RunState
from mainspring.workspace import Workspace, current_workspace

Direction = Literal["max", "min"]
_MOST_RUNS = 100
_MOST_PARTS = 1_000  # steps of a pipeline's run that logged
_LESS_IS_BETTER = (
    "loss", "error", "err", "mae", "mse", "rmse", "mape", "smape", "mase", "rmsle", "brier", "perplexity", "latency",
    "time", "seconds", "ms", "size", "bytes", "memory", "cost", "fpr", "fnr", "ece", "crps", "pinball", "deviance",
)  # fmt: skip
_MORE_IS_BETTER = (
    "accuracy", "acc", "auc", "auroc", "auprc", "f1", "precision", "recall", "r2", "score", "ndcg", "map", "mrr", "hit",
    "iou", "bleu", "rouge", "coverage", "kappa", "mcc", "ap", "gain", "lift", "reward",
)  # fmt: skip


class Comparison(msgspec.Struct, frozen=True):
    """Runs in the order asked for; a parameter or metric that a run lacks is missing in its dict.

    `params` are those that differ, `metrics` the last values by name and run, `best` names the best run of each metric
    whose direction is known.
    """

    runs: tuple[Run, ...]
    params: dict[str, dict[str, Any]]
    metrics: dict[str, dict[str, float]]
    directions: dict[str, Direction]
    best: dict[str, str]
    curves: dict[str, dict[str, list[Metric]]]

    def to_html(self) -> str:
        """A page by itself, with curves as SVG."""
        from mainspring.runs.comparison_page import page

        return page(self.runs, self.params, self.metrics, self.best, self.curves)

    def plot(self) -> Any:
        """The curves as a Matplotlib figure, a panel for each metric with more than one point."""
        from matplotlib.figure import Figure

        drawn = {name: curves for name, curves in self.curves.items() if curves}
        figure = Figure(figsize=(7, 3 * max(1, len(drawn))), layout="constrained")
        panels = figure.subplots(max(1, len(drawn)), squeeze=False)[:, 0]
        for panel, (name, curves) in zip(panels, drawn.items(), strict=False):
            for run in self.runs:
                points = curves.get(run.id, [])
                panel.plot([point.step for point in points], [point.value for point in points], label=run.name)
            panel.set(title=name, xlabel="step")
            panel.legend()
        return figure


def compare_runs(
    refs: Iterable[str], *, directions: Mapping[str, Direction] | None = None, workspace: Workspace | None = None
) -> Comparison:
    """Put runs side by side. The metrics of a pipeline's run are those of its steps.

    `directions` says whether more (`max`) or less (`min`) of a metric is better, where its name doesn't tell.

    Raises:
        NotFoundError: a run does not exist, or none of them has a metric that `directions` names.
        InvalidError: no runs, or too many.
    """
    workspace = workspace or current_workspace()
    store, metrics, refs = RunStore(workspace.database, workspace.ledger), Metrics(workspace.metrics), tuple(refs)
    runs = tuple({run.id: run for run in map(store.get, refs)}.values())
    if not 1 <= len(runs) <= _MOST_RUNS:
        raise InvalidError("runs to compare", len(runs), f"from 1 to {_MOST_RUNS} of them")
    runs = tuple(as_read(workspace.database, workspace.leases, runs))
    for name in (*(["latest"] if "latest" in refs else []), *(run.id for run in runs if run.state is RunState.RUNNING)):
        note_moving("run", name)
    points = _last_points(store, metrics, runs)
    names = sorted({name for found in points.values() for name in found})
    values = {name: {run: found[name][1].value for run, found in points.items() if name in found} for name in names}
    for name in directions or {}:
        if name not in values:
            raise NotFoundError("metric", name, close_names(name, names), "None of these runs has it.")
    known = {name: way for name in names if (way := (directions or {}).get(name) or direction_of(name))}
    return Comparison(
        runs, _differing(runs), values, known,
        {name: best for name, way in known.items() if (best := _best(values[name], way)) and len(values[name]) > 1},
        {name: _curves(metrics, name, points) for name in names},
    )  # fmt: skip


def best_run(metric: str, *, direction: Direction | None = None, workspace: Workspace | None = None) -> Run:
    """The run with the best last value of a metric.

    Raises:
        NotFoundError: no run has the metric.
        InvalidError: its name doesn't tell whether more is better, and no direction was given.
    """
    from mainspring.runs.search import search_runs

    where, order = best_order(metric, direction)
    page = search_runs(where, order_by=[order], limit=1, workspace=workspace)
    if not page.items:
        known = Metrics((workspace or current_workspace()).metrics).names()
        raise NotFoundError("metric", metric, close_names(metric, known))
    return page.items[0]


def best_order(metric: str, direction: Direction | None = None) -> tuple[str, str]:
    """The filter and the order that bring the best runs by a metric first; raises as `best_run` does.

    >>> best_order("val loss")
    ('metrics.`val loss` IS NOT NULL', 'metrics.`val loss` ASC')
    """
    way = direction or direction_of(metric)
    if way is None:
        raise InvalidError("metric", metric, "one whose name tells whether more is better", "Say so: `max` or `min`.")
    name = f"metrics.`{metric}`"
    return f"{name} IS NOT NULL", f"{name} {'DESC' if way == 'max' else 'ASC'}"


def direction_of(metric: str) -> Direction | None:
    """Whether more or less of a metric is better, by its name; None if that doesn't tell.

    >>> direction_of("val/log_loss"), direction_of("roc_auc"), direction_of("depth")
    ('min', 'max', None)
    """
    words = "".join(character if character.isalnum() else " " for character in metric.lower()).split()
    for word in reversed(words):
        if word in _LESS_IS_BETTER:
            return "min"
        if word in _MORE_IS_BETTER:
            return "max"
    return None


_Points = Mapping[str, Mapping[str, tuple[str, Metric]]]


def _last_points(store: RunStore, metrics: Metrics, runs: Sequence[Run]) -> _Points:
    """By run and metric, the series that the metric is logged to, and its last point."""
    series = {
        run.id: [run.series, *(part.series for part in store.list(parent=run.id, kind="task", limit=_MOST_PARTS))]
        for run in runs
    }
    latest = metrics.latest_of(each for of_run in series.values() for each in of_run)
    return {
        run: {key: (each, point) for each in of_run for key, point in latest.get(each, {}).items()}
        for run, of_run in series.items()
    }


def _differing(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    names = sorted({name for run in runs for name in run.params})
    return {
        name: {run.id: run.params[name] for run in runs if name in run.params}
        for name in names
        if any(name not in run.params or run.params[name] != runs[0].params.get(name) for run in runs)
    }


def _best(values: Mapping[str, float], way: Direction) -> str | None:
    numbers = {run: value for run, value in values.items() if not math.isnan(value)}
    if not numbers:
        return None
    return (max if way == "max" else min)(numbers, key=lambda run: numbers[run])


def _curves(metrics: Metrics, name: str, points: _Points) -> dict[str, list[Metric]]:
    """The points of a metric by run, of those that have more than one."""
    found = {run: list(metrics.history(each[name][0], name)) for run, each in points.items() if name in each}
    return {run: curve for run, curve in found.items() if len(curve) > 1}

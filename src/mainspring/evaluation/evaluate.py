"""Evaluation of scores against the truth, overall and on slices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mainspring.errors import InvalidError
from mainspring.evaluation.bootstrap import Bootstrap, Codes, bootstrap_of, codes_of, estimated
from mainspring.evaluation.evaluation import Evaluation, SliceValues
from mainspring.evaluation.given import several
from mainspring.evaluation.inputs import table_of
from mainspring.evaluation.metric import Metric, metric_for
from mainspring.evaluation.scored import Scale, Scored, scored
from mainspring.evaluation.slice import Slices, sliced

if TYPE_CHECKING:
    from mainspring.stats import Interval

    Values = tuple[dict[str, float | None], dict[str, Interval | None]]


def evaluate(
    y_true: Any,
    y_score: Any,
    metrics: str | Metric | Iterable[str | Metric],
    *,
    slices: Slices = (),
    frame: Any = None,
    subject: str = "",
    bootstrap: int | Bootstrap = 0,
    query: Any = None,
    classes: Iterable[Any] = (),
    scale: Scale | None = None,
) -> Evaluation:
    """Every metric, overall and on each slice of `frame`, a table of Polars, pandas or Arrow with the scores' rows.

    Rows go by their position; the index of pandas is left out. `y_score` is one column (probabilities of the class 1 for
    binary metrics, numbers for regression and forecasts), a column for each of `classes`, or the lower and upper end of an
    interval. Columns of a table go by their names, unless these only number them. `query` names the query of each row, for
    rankings; `scale` is what `naive_scale` gives, for MASE and RMSSE. `bootstrap` is a number of resamples, or more
    closely a `Bootstrap`, for an interval of each value. Where a metric is not defined (one class only, say) it is None.

    Raises:
        InvalidError: lengths differ, a value is missing, the truth of a binary metric isn't 0 or 1, or a metric needs
            probabilities and gets other scores, or columns have names other than the classes.
        NotFoundError: no such metric or column.

    >>> print(evaluate([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], ["roc_auc"]))
         rows  roc_auc
    all     4   0.7500
    """
    table = table_of(frame)
    data = scored(y_true, y_score, query=query, classes=classes, scale=scale, frame=table)
    chosen = chosen_metrics(metrics, data)
    method = bootstrap_of(bootstrap)
    codes = codes_of(method, table, data.rows)
    found = [
        SliceValues(name, label, int(rows.size), *_values(data.take(rows), chosen, method, codes.take(rows)))
        for name, label, rows in sliced(slices, table, data.rows)
    ]
    values, intervals = _values(data, chosen, method, codes)
    directions = {metric.name: metric.higher_is_better for metric in chosen}
    return Evaluation(data.rows, values, directions, tuple(found), subject, intervals)


def chosen_metrics(metrics: str | Metric | Iterable[str | Metric], data: Scored) -> list[Metric]:
    """The metrics that are meant for these scores, whose truth was checked to fit.

    Raises:
        NotFoundError: no such metric.
        InvalidError: a metric doesn't fit the scores, or the truth of a binary one isn't 0 or 1.
    """
    chosen = [metric_for(metric, data.shape) for metric in several("metrics", metrics, str, Metric)]
    if any(metric.task == "multiclass" for metric in chosen) and not data.classes:
        raise InvalidError(
            "y_score",
            f"shape {data.scores.shape}",
            "a column of numbers",
            "For probabilities of two classes take the class: p[:, 1]; or name the `classes` of the columns.",
        )
    if any(metric.task == "binary" for metric in chosen):
        wrong = (data.truth != 0) & (data.truth != 1)
        if wrong.any():
            raise InvalidError("y_true", data.truth[wrong][0], "0 or 1, as a binary metric needs")
    return chosen


def _values(data: Scored, metrics: list[Metric], method: Bootstrap, codes: Codes) -> Values:
    if not data.rows:
        return dict.fromkeys((metric.name for metric in metrics), None), {}
    estimates = estimated([metric.statistic(data) for metric in metrics], method, codes)
    named = dict(zip((metric.name for metric in metrics), estimates, strict=True))
    intervals = {name: each.interval for name, each in named.items()} if method.resamples else {}
    return {name: each.value for name, each in named.items()}, intervals

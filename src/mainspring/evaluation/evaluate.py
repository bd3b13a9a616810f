"""Evaluation of scores against the truth, overall and on slices."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from mainspring.errors import InvalidError
from mainspring.evaluation.evaluation import Evaluation, SliceValues
from mainspring.evaluation.metric import Metric, get_metric
from mainspring.evaluation.slice import Slice

if TYPE_CHECKING:
    import polars as pl


def evaluate(
    y_true: Any,
    y_score: Any,
    metrics: Iterable[str | Metric],
    *,
    slices: Iterable[str | Slice] = (),
    frame: pl.DataFrame | None = None,
    subject: str = "",
) -> Evaluation:
    """Every metric, overall and on each slice of `frame`, whose rows are those of the scores.

    `y_true` and `y_score` are one-dimensional; scores of a binary metric are probabilities of the class 1. Where a metric
    is not defined (one class only, say) it is None.

    Raises:
        InvalidError: lengths differ, a value is missing, or the truth of a binary metric isn't 0 or 1.
        NotFoundError: no such metric or column.

    >>> print(evaluate([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], ["roc_auc"]))
         rows  roc_auc
    all     4   0.7500
    """
    chosen = [get_metric(metric) for metric in metrics]
    truth, scores = _numbers("y_true", y_true), _numbers("y_score", y_score)
    _check(truth, scores, chosen)
    found = []
    if cuts := [Slice(cut) if isinstance(cut, str) else cut for cut in slices]:
        if frame is None or frame.height != truth.size:
            given = "no table" if frame is None else f"{frame.height} rows"
            raise InvalidError("frame", given, f"a table of the {truth.size} rows that were scored")
        for cut in cuts:
            for label, mask in cut.masks(frame):
                rows = mask.to_numpy()
                values = _values(truth[rows], scores[rows], chosen)
                found.append(SliceValues(cut.name, label, int(rows.sum()), values))
    return Evaluation(
        truth.size,
        _values(truth, scores, chosen),
        {metric.name: metric.higher_is_better for metric in chosen},
        tuple(found),
        subject,
    )


def _values(truth: Any, scores: Any, metrics: list[Metric]) -> dict[str, float | None]:
    if not truth.size:
        return {metric.name: None for metric in metrics}
    values = {metric.name: metric(truth, scores) for metric in metrics}
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _numbers(name: str, values: Any) -> Any:
    array = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    if array.ndim != 1:
        raise InvalidError(
            name, f"shape {array.shape}", "a column of numbers", "For probabilities take the class: p[:, 1]."
        )
    try:
        numbers = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidError(name, array.dtype, "a column of numbers") from error
    if missing := int(np.isnan(numbers).sum()):
        raise InvalidError(name, f"{missing} missing values", "a value in every row")
    return numbers


def _check(truth: Any, scores: Any, metrics: list[Metric]) -> None:
    if truth.size != scores.size:
        raise InvalidError("y_score", f"{scores.size} rows", f"the {truth.size} rows of y_true")
    if not any(metric.task == "binary" for metric in metrics):
        return
    if not np.isin(truth, (0.0, 1.0)).all():
        raise InvalidError("y_true", truth[~np.isin(truth, (0.0, 1.0))][0], "0 or 1, as a binary metric needs")

"""A candidate against the champion on the same rows: the difference, how sure it is, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

import msgspec
import numpy as np

from mainspring.errors import InvalidError, NotFoundError, close_names
from mainspring.evaluation._classes import named_classes
from mainspring.evaluation.bootstrap import Bootstrap, Codes, bootstrap_of, codes_of, defined, estimated
from mainspring.evaluation.evaluate import chosen_metrics
from mainspring.evaluation.inputs import table_of
from mainspring.evaluation.metric import Metric
from mainspring.evaluation.scored import Array, Scale, Scored, scored
from mainspring.evaluation.slice import Slices, sliced
from mainspring.evaluation.tables import Cells, Tabled, shown, slice_label
from mainspring.stats import (
    Combined,
    Interval,
    bootstrap_p_value,
    delong,
    diebold_mariano,
    holm,
    mcnemar,
)

Verdict = Literal["better", "worse", "undecided"]
Test = Literal["bootstrap", "delong", "mcnemar", "diebold_mariano"]
# The losses whose mean a metric of forecasts is a growing function of.
_LOSSES: dict[str, Callable[[Array], Array]] = {
    **dict.fromkeys(("mae", "wape", "mase"), np.abs),
    **dict.fromkeys(("rmse", "rmsse"), np.square),
}


class Difference(msgspec.Struct, frozen=True):
    """The candidate minus the champion in one metric, on the whole (`slice` is empty) or on one slice value.

    `p_value` is that of `test`; `p_adjusted` corrects it for looking at the metric on many slices (Holm), and is what the
    verdict goes by.
    """

    metric: str
    slice: str
    value: str
    rows: int
    candidate: float | None
    champion: float | None
    difference: float | None
    interval: Interval | None
    p_value: float | None
    test: Test
    higher_is_better: bool
    p_adjusted: float | None = None
    verdict: Verdict = "undecided"

    @property
    def where(self) -> str:
        """The rows in words."""
        return slice_label(self.slice, self.value, self.rows) if self.slice else "all"

    @property
    def gain(self) -> float | None:
        """How much better the candidate is; below 0 if it is worse."""
        return self.difference if self.difference is None or self.higher_is_better else -self.difference

    @property
    def least_gain(self) -> float | None:
        """The end of the interval at which the candidate does worst."""
        if self.interval is None:
            return None
        return self.interval.low if self.higher_is_better else -self.interval.high


class Comparison(Tabled, frozen=True):
    """Two models on the same rows, in every metric, overall and on slices; `alpha` is the risk of a wrong verdict."""

    rows: int
    differences: tuple[Difference, ...]
    alpha: float
    candidate: str = "candidate"
    champion: str = "champion"

    def overall(self, metric: str) -> Difference:
        """The difference in a metric on all rows; raises `NotFoundError` if it wasn't compared."""
        known = {each.metric: each for each in self.differences if not each.slice}
        if metric not in known:
            raise NotFoundError("metric", metric, close_names(metric, known), "It was not compared.")
        return known[metric]

    def on_slices(self, metric: str, slice_name: str = "") -> list[Difference]:
        """The differences on the values of one slice, or of all."""
        return [
            each for each in self.differences if each.metric == metric and each.slice and slice_name in ("", each.slice)
        ]

    def __repr__(self) -> str:
        verdicts = ", ".join(f"{each.metric} {each.verdict}" for each in self.differences if not each.slice)
        return f"<comparison on {self.rows:,} rows, {verdicts}>"

    def _tables(self) -> list[Cells]:
        cells = [["", "rows", "metric", self.candidate, self.champion, "difference", "p", "verdict"]]
        return [
            cells
            + [
                [
                    each.where,
                    f"{each.rows:,}",
                    each.metric,
                    shown(each.candidate),
                    shown(each.champion),
                    shown(each.difference, each.interval),
                    "–" if each.p_adjusted is None else f"{each.p_adjusted:.4f}",
                    each.verdict,
                ]
                for each in self.differences
            ]
        ]


def compare(
    y_true: Any,
    candidate: Any,
    champion: Any,
    metrics: str | Metric | Iterable[str | Metric],
    *,
    slices: Slices = (),
    frame: Any = None,
    bootstrap: int | Bootstrap = 1_000,
    alpha: float = 0.05,
    horizon: int = 0,
    query: Any = None,
    classes: Iterable[Any] = (),
    scale: Scale | None = None,
) -> Comparison:
    """Compare the scores of two models on the same rows; both see the same resamples.

    The test is DeLong's for the binary `roc_auc`, McNemar's exact one for `accuracy`, Diebold's and Mariano's for errors of
    forecasts if `horizon` says how many steps ahead they look (rows in order of time), else the paired bootstrap; rows in
    `Bootstrap(groups=…)` are not independent, so the bootstrap decides. Arguments are otherwise those of `evaluate`.

    Raises:
        InvalidError: the models were not scored on the same rows, or as `evaluate` says.
        NotFoundError: no such metric or column.

    >>> truth = [0, 0, 0, 0, 1, 1, 1, 1] * 20
    >>> better, worse = [.1, .2, .3, .4, .6, .7, .8, .9] * 20, [.1, .6, .3, .7, .6, .2, .8, .4] * 20
    >>> compare(truth, better, worse, ["roc_auc"]).overall("roc_auc").verdict
    'better'
    """
    table, classes = table_of(frame), named_classes(classes)
    sides = [
        scored(y_true, score, query=query, classes=classes, scale=scale, frame=table) for score in (candidate, champion)
    ]
    first, second = sides
    if first.scores.shape != second.scores.shape:
        raise InvalidError(
            "champion", f"shape {second.scores.shape}", f"scores of the candidate's rows, {first.scores.shape}"
        )
    if first.classes != second.classes:
        raise InvalidError("champion", list(second.classes), f"scores of the candidate's classes {list(first.classes)}")
    chosen = chosen_metrics(metrics, first)
    method = bootstrap_of(bootstrap)
    codes = codes_of(method, table, first.rows)
    found = _differences("", "", first, second, chosen, method, codes, horizon)
    for name, label, rows in sliced(slices, table, first.rows):
        found += _differences(
            name, label, first.take(rows), second.take(rows), chosen, method, codes.take(rows), horizon
        )
    return Comparison(first.rows, tuple(_judged(found, alpha)), alpha)


def _differences(
    name: str,
    label: str,
    candidate: Scored,
    champion: Scored,
    metrics: list[Metric],
    method: Bootstrap,
    codes: Codes,
    horizon: int,
) -> list[Difference]:
    if not candidate.rows:
        return []
    pairs = [(metric.statistic(candidate), metric.statistic(champion)) for metric in metrics]
    estimates = estimated([Combined(pair, lambda a, b: a - b) for pair in pairs], method, codes)
    found = []
    for metric, (first, second), estimate in zip(metrics, pairs, estimates, strict=True):
        test, told = _tested(metric, candidate, champion, grouped=codes.groups is not None, horizon=horizon)
        p = told() if told else math.nan if estimate.resampled is None else bootstrap_p_value(estimate.resampled)
        found.append(
            Difference(
                metric.name, name, label, candidate.rows, defined(first.value()), defined(second.value()),
                estimate.value, estimate.interval, defined(p) if estimate.value is not None else None, test,
                metric.higher_is_better,
            )
        )  # fmt: skip
    return found


def _tested(
    metric: Metric, candidate: Scored, champion: Scored, *, grouped: bool, horizon: int
) -> tuple[Test, Callable[[], float] | None]:
    """The test that fits, and what gives its p-value; None for the bootstrap's."""
    name = metric.name.partition("@")[0]
    if horizon and name in _LOSSES and metric.task in ("regression", "forecast"):
        losses = [_LOSSES[name](each.truth - each.scores) for each in (candidate, champion)]
        if 1 <= horizon < candidate.rows:
            return "diebold_mariano", lambda: diebold_mariano(losses[0], losses[1], horizon=horizon).p_value
    if grouped or not metric.of_counts:
        return "bootstrap", None
    if name == "roc_auc" and metric.task == "binary":
        return "delong", lambda: delong(candidate.truth == 1, candidate.scores, champion.scores).p_value
    if name == "accuracy" and metric.task in ("binary", "multiclass"):
        right = partial(_right, metric)
        return "mcnemar", lambda: mcnemar(right(candidate), right(champion)).p_value
    return "bootstrap", None


def _right(metric: Metric, data: Scored) -> Array:
    decided = data.scores.argmax(axis=1) if data.scores.ndim > 1 else data.scores >= metric.parameter
    return np.asarray(decided == data.truth)


def _judged(found: list[Difference], alpha: float) -> Iterable[Difference]:
    """Adjusted over the slices of each metric: the whole is one question, its slices many."""
    for metric in dict.fromkeys(each.metric for each in found):
        mine = [each for each in found if each.metric == metric]
        whole, parts = [each for each in mine if not each.slice], [each for each in mine if each.slice]
        for family in (whole, parts):
            known = [math.nan if each.p_value is None else each.p_value for each in family]
            for each, adjusted in zip(family, holm(known), strict=True):
                sure = adjusted <= alpha and bool(each.gain)
                verdict: Verdict = "undecided" if not sure else "better" if (each.gain or 0) > 0 else "worse"
                yield msgspec.structs.replace(each, p_adjusted=defined(adjusted), verdict=verdict)

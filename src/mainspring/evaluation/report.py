"""All that is known of how good a model is, in one report: as data, in a terminal, and as a page with plots."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import msgspec

from mainspring.evaluation import _svg
from mainspring.evaluation.calibration import Calibration
from mainspring.evaluation.comparison import Comparison
from mainspring.evaluation.cost import Cost
from mainspring.evaluation.evaluation import Evaluation
from mainspring.evaluation.fairness import Fairness
from mainspring.evaluation.gate import GateReport
from mainspring.evaluation.robustness import Robustness
from mainspring.stats import Interval
from mainspring.store.named_file import write_named

_MOST_POINTS = 200
_MOST_ROWS = 30  # of a plot: the worst of more slices
_DIAGONAL = _svg.Series([(0, 0), (1, 1)], "reference")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
body { color: #1c2330; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2.2rem; border-bottom: 1px solid #d5dae3 }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; font-size: .9rem }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #e6e9ef }
th:first-child, td:first-child { text-align: left }
.gates td { text-align: left } .plots { display: flex; flex-wrap: wrap; gap: 1.5rem } figure { margin: 0 }
figcaption { font-weight: 600; font-size: .9rem }
svg { max-width: 100%; height: auto; font: 11px system-ui, sans-serif; fill: #4a5468 }
line { stroke: #9aa4b5 } .grid { stroke: #e6e9ef } .reference { stroke: #9aa4b5; stroke-dasharray: 4 3; fill: none }
polyline { fill: none; stroke-width: 2 } polyline.first { stroke: #2563c9 } circle.first, rect.first { fill: #2563c9 }
.interval { stroke-width: 2; stroke: #2563c9 } circle.bad, rect.bad { fill: #c2410c } .interval.bad { stroke: #c2410c }
circle.good, rect.good { fill: #15803d } .interval.good { stroke: #15803d } circle.faint { fill: #9aa4b5 }
.interval.faint { stroke: #9aa4b5 }
"""


class Curves(msgspec.Struct, frozen=True):
    """The ROC curve as (false positive rate, true positive rate), the other as (recall, precision)."""

    roc: tuple[tuple[float, float], ...]
    precision_recall: tuple[tuple[float, float], ...]


class EvaluationReport(msgspec.Struct, frozen=True):
    """An evaluation with whatever else is known: each part shows if it is there. `to_html()` needs no other file."""

    evaluation: Evaluation
    gates: GateReport | None = None
    comparison: Comparison | None = None
    curves: Curves | None = None
    calibration: Calibration | None = None
    fairness: Fairness | None = None
    robustness: Robustness | None = None
    cost: Cost | None = None
    title: str = ""

    def __repr__(self) -> str:
        return f"<report: {self.evaluation!r}>"

    def __str__(self) -> str:
        return "\n\n".join(f"{name}\n{part}" for name, part in self._parts())

    def _repr_html_(self) -> str:
        # In a frame of its own, as its style is meant for a page.
        return f'<iframe srcdoc="{escape(self.to_html())}" width="100%" height="800" style="border:0"></iframe>'

    def to_html(self) -> str:
        """A page with tables and plots."""
        title = escape(self.title or self.evaluation.subject or "Evaluation")
        parts = "".join(f"<h2>{name}</h2>{_plots(self._plots_of(part))}{_table(part)}" for name, part in self._parts())
        head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
        page = f"<head>{head}<style>{_STYLE}</style></head><body><h1>{title}</h1>{parts}</body>"
        return f'<!doctype html>\n<html lang="en">{page}</html>\n'

    def write_html(self, path: str | Path) -> Path:
        """Write the page; an existing file is replaced. Raises `StorageError`."""
        return write_named(path, self.to_html())

    def _parts(self) -> list[tuple[str, Any]]:
        named = [
            ("Gates", self.gates),
            ("Metrics", self.evaluation),
            ("Against the champion", self.comparison),
            ("Calibration", self.calibration),
            ("Fairness", self.fairness),
            ("Robustness", self.robustness),
            ("Cost", self.cost),
        ]
        return [(name, part) for name, part in named if part is not None]

    def _plots_of(self, part: Any) -> dict[str, str]:
        match part:
            case Evaluation():
                return (_curve_plots(self.curves) if self.curves else {}) | _slice_plots(part)
            case Comparison():
                return _difference_plots(part)
            case Calibration():
                return _reliability_plot(part)
            case Fairness():
                return _gap_plot(part)
            case Robustness():
                return _drop_plot(part)
        return {}


def curves(y_true: Any, y_score: Any) -> Curves:
    """The curves of probabilities of the class 1, thinned to 200 points.

    Raises:
        InvalidError: lengths differ, a value is missing, or the truth isn't 0 or 1.

    >>> curves([0, 1], [0.2, 0.9]).roc
    ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0))
    """
    import numpy as np

    from mainspring.evaluation.evaluate import chosen_metrics
    from mainspring.evaluation.scored import scored

    data = scored(y_true, y_score)
    chosen_metrics(["roc_auc"], data)
    order = np.argsort(-data.scores, kind="stable")
    ordered, positive = data.scores[order], data.truth[order] == 1
    ends = np.append(np.flatnonzero(np.diff(ordered)), data.rows - 1)
    hits = np.cumsum(positive)[ends].astype(np.float64)
    misses = ends + 1.0 - hits
    kept = np.unique(np.linspace(0, ends.size - 1, _MOST_POINTS).round().astype(int))
    true_rate, false_rate = hits / max(hits[-1], 1.0), misses / max(misses[-1], 1.0)
    roc = [(0.0, 0.0), *zip(false_rate[kept].tolist(), true_rate[kept].tolist(), strict=True)]
    precision = hits / (ends + 1.0)
    return Curves(tuple(roc), tuple(zip(true_rate[kept].tolist(), precision[kept].tolist(), strict=True)))


def _table(part: Any) -> str:
    table: str = part._repr_html_()
    return f'<div class="gates">{table}</div>' if isinstance(part, GateReport) else table


def _plots(plots: dict[str, str]) -> str:
    figures = "".join(f"<figure><figcaption>{escape(name)}</figcaption>{svg}</figure>" for name, svg in plots.items())
    return f'<div class="plots">{figures}</div>' if figures else ""


def _curve_plots(found: Curves) -> dict[str, str]:
    return {
        "ROC curve": _svg.lines([_DIAGONAL, _svg.Series(found.roc)], "false positive rate", "true positive rate"),
        "Precision and recall": _svg.lines([_svg.Series(found.precision_recall)], "recall", "precision"),
    }


def _mark(label: str, value: float, interval: Interval | None, kind: str = "first") -> _svg.Mark:
    return _svg.Mark(label, value, interval.low if interval else None, interval.high if interval else None, kind)


def _slice_plots(evaluation: Evaluation) -> dict[str, str]:
    """The first metric on slices, against the whole."""
    metric = next(iter(evaluation.metrics), "")
    overall, sign = evaluation.metrics.get(metric), 1 if evaluation.higher_is_better.get(metric) else -1
    marks = [
        _mark(f"{each.slice}={each.value}", value, each.intervals.get(metric), "faint" if each.small else "first")
        for each in evaluation.slices
        if (value := each.metrics.get(metric)) is not None
    ]
    if overall is None or not marks:
        return {}
    worst = sorted(marks, key=lambda mark: sign * mark.value)[:_MOST_ROWS]
    return {f"{metric} on slices, the worst first": _svg.forest(worst, metric, reference=overall)}


def _difference_plots(comparison: Comparison) -> dict[str, str]:
    plots = {}
    kinds = {"better": "good", "worse": "bad", "undecided": "faint"}
    for metric in dict.fromkeys(each.metric for each in comparison.differences):
        marks = [
            _mark(each.where, each.difference, each.interval, kinds[each.verdict])
            for each in comparison.differences
            if each.metric == metric and each.difference is not None
        ][:_MOST_ROWS]
        if marks:
            plots[metric] = _svg.forest(marks, f"{comparison.candidate} − {comparison.champion}", reference=0.0)
    return plots


def _reliability_plot(found: Calibration) -> dict[str, str]:
    points = [(each.predicted, each.happened) for each in found.bins]
    ranges = [
        _svg.Series([(each.predicted, each.interval.low), (each.predicted, each.interval.high)]) for each in found.bins
    ]
    series = [_DIAGONAL, *ranges, _svg.Series(points), _svg.Series(points, dots=True)]
    return {"Reliability": _svg.lines(series, "predicted probability", "share that happened")}


def _gap_plot(found: Fairness) -> dict[str, str]:
    marks = [_mark(gap.name, gap.value, gap.interval) for gap in found.gaps if gap.value is not None]
    return {"Gaps between groups": _svg.bars(marks, "gap")} if marks else {}


def _drop_plot(found: Robustness) -> dict[str, str]:
    marks = []
    for each in found.columns[:_MOST_ROWS]:
        if each.shuffled is not None:
            spread = each.deviation or 0.0
            marks.append(_svg.Mark(each.column, each.shuffled, each.shuffled - spread, each.shuffled + spread))
    return {"Shuffled columns": _svg.bars(marks, f"drop of {found.metric}")} if marks else {}

"""Metrics as records: a name, what it is of, which way is better, its range, and a formula."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from mainspring.errors import InvalidError, NotFoundError, WrongTypeError, close_names

if TYPE_CHECKING:
    from mainspring.evaluation.scored import Scored, Shape
    from mainspring.stats import Statistic

Task = Literal["binary", "multiclass", "regression", "forecast", "interval", "ranking"]
_TASKS: dict[Shape, tuple[Task, ...]] = {
    "column": ("binary", "regression", "forecast"),
    "classes": ("multiclass", "interval"),
    "queries": ("ranking",),
}


class Metric(msgspec.Struct, frozen=True):
    """What is measured. `function` is `module:name` of a function of (truth, scores) that gives a number.

    The truth of a binary metric is 0 or 1, or false or true, and the scores are probabilities of 1. One's own metric names
    a function of the project: `Metric("cost", "binary", False, "costs:mean_cost")`. With `of_counts` the function takes
    `Scored` rows (and the parameter, if there is one) and gives a `mainspring.stats.Statistic`, which is resampled fast.
    Values lie between `low` and `high`, None being open.
    """

    name: str
    task: Task
    higher_is_better: bool
    function: str
    low: float | None = None
    high: float | None = None
    parameter: float | None = None
    of_counts: bool = False

    def __call__(self, y_true: Any, y_score: Any) -> float:
        """The value on arrays of one length; NaN where it is not defined.

        Raises:
            WrongTypeError: the function gives something else than a number.
        """
        if self.of_counts:
            from mainspring.evaluation.scored import scored

            return self.statistic(scored(y_true, y_score)).value()
        value = self._function()(y_true, y_score)
        if not hasattr(value, "__float__"):
            raise WrongTypeError(f"metric `{self.name}`", value, "a number")
        return float(value)

    def statistic(self, data: Scored) -> Statistic:
        """The metric on rows, to be resampled."""
        from mainspring.stats import Callback

        if self.of_counts:
            made: Statistic = self._function()(data, *([] if self.parameter is None else [self.parameter]))
            return made
        return Callback(lambda rows: self(data.truth[rows], data.scores[rows]), data.rows)

    def _function(self) -> Any:
        from importlib import import_module

        module, _, name = self.function.partition(":")
        return getattr(import_module(module), name)


def _of(task: Task, module: str, names: str, **fields: Any) -> list[Metric]:
    """Metrics of one kind; `name=function` where the two differ."""
    made = []
    for each in names.split():
        name, _, function = each.partition("=")
        home = f"mainspring.evaluation.{module}:{function or name}"
        made.append(Metric(name, task, fields.get("better", "high") == "high", home, 0.0, fields.get("most"),
                           fields.get("parameter"), of_counts=True))  # fmt: skip
    return made


_LOSS: dict[str, Any] = {"better": "low"}
_SHARE: dict[str, Any] = {"most": 1.0}
_RULE: dict[str, Any] = {"most": 1.0, "parameter": 0.5}
_TOP: dict[str, Any] = {"most": 1.0, "parameter": 10}
_LISTED = [
    *_of("binary", "_binary", "roc_auc average_precision", **_SHARE),
    *_of("binary", "_binary", "log_loss", **_LOSS),
    *_of("binary", "_binary", "brier", most=1.0, **_LOSS),
    *_of("binary", "_binary", "accuracy precision recall specificity f1 balanced_accuracy", **_RULE),
    Metric("mcc", "binary", True, "mainspring.evaluation._binary:mcc", -1.0, 1.0, 0.5, of_counts=True),
    *_of("multiclass", "_multiclass", "roc_auc average_precision accuracy balanced_accuracy precision recall f1 f1_weighted",
         **_SHARE),
    Metric("mcc", "multiclass", True, "mainspring.evaluation._multiclass:mcc", -1.0, 1.0, of_counts=True),
    *_of("multiclass", "_multiclass", "top_accuracy", most=1.0, parameter=3),
    *_of("multiclass", "_multiclass", "log_loss", **_LOSS),
    *_of("multiclass", "_multiclass", "brier", most=2.0, **_LOSS),
    *_of("regression", "_regression", "mae rmse mape", **_LOSS),
    *_of("regression", "_regression", "smape", most=2.0, **_LOSS),
    *_of("regression", "_regression", "pinball", parameter=0.5, **_LOSS),
    Metric("r2", "regression", True, "mainspring.evaluation._regression:r2", None, 1.0, of_counts=True),
    *_of("forecast", "_regression", "wape mase rmsse", **_LOSS),
    *_of("interval", "_regression", "coverage", **_SHARE),
    *_of("interval", "_regression", "interval_width", **_LOSS),
    *_of("interval", "_regression", "coverage_error", most=1.0, parameter=0.9, **_LOSS),
    *_of("interval", "_regression", "interval_score", parameter=0.9, **_LOSS),
    *_of("ranking", "_ranking", "ndcg map=mean_average_precision mrr recall precision", **_TOP),
]  # fmt: skip
METRICS: dict[tuple[Task, str], Metric] = {(metric.task, metric.name): metric for metric in _LISTED}


def get_metric(name: str | Metric, task: Task | None = None) -> Metric:
    """A metric by its name; one that is a record already is given back. `f1@0.3` decides at 0.3, `ndcg@5` looks at 5 rows.

    A name that several tasks know is the first's, unless `task` is given.

    Raises:
        NotFoundError: no such metric; the nearest are named.
        InvalidError: it takes no parameter, or not this one.

    >>> get_metric("log_loss").higher_is_better
    False
    >>> get_metric("recall@0.3").parameter
    0.3
    """
    return _found(name, METRICS if task is None else {key: each for key, each in METRICS.items() if key[0] == task})


def metric_for(name: str | Metric, shape: Shape) -> Metric:
    """The metric that a name means for scores of a shape: `recall` is another thing for rankings.

    Raises:
        NotFoundError: no such metric for these scores.
        InvalidError: a record is of a task whose scores look otherwise.
    """
    metric = _found(name, {key: each for key, each in METRICS.items() if key[0] in _TASKS[shape]})
    if metric.task not in _TASKS[shape]:
        needed = {
            "ranking": "`query=`, the query of each row",
            "multiclass": "`y_score` with a column for each class",
            "interval": "`y_score` with two columns: the lower and the upper end",
        }.get(metric.task, "`y_score` of one column, and no `query`")
        raise InvalidError(
            f"metric `{metric.name}`", f"a metric of {metric.task}", f"one for these scores: it needs {needed}"
        )
    return metric


def list_metrics(task: Task | None = None) -> list[Metric]:
    """The metrics that come with Mainspring, of one task or of all."""
    return [metric for metric in METRICS.values() if task in (None, metric.task)]


def _found(name: str | Metric, among: dict[tuple[Task, str], Metric]) -> Metric:
    if isinstance(name, Metric):
        return name
    if not isinstance(name, str):
        raise WrongTypeError("metric", name, "the name of a metric, or a `Metric`")
    base, at, parameter = name.partition("@")
    metric = next((each for (_, known), each in among.items() if known == base), None)
    if metric is None:
        # Of another task, whose needs the caller tells; unknown to all otherwise.
        metric = next((each for (_, known), each in METRICS.items() if known == base), None)
    if metric is None:
        known_names = {known for _, known in among}
        raise NotFoundError("metric", name, close_names(base, known_names), "Make your own: Metric(name, task, ...).")
    if not at:
        return metric
    try:
        value = float(parameter)
    except ValueError:
        value = float("nan")
    most = 1.0 if metric.task != "ranking" and metric.name != "top_accuracy" else float("inf")
    if metric.parameter is None or not 0 < value <= most:
        takes = (
            "a metric without a parameter"
            if metric.parameter is None
            else f"a number above 0{', up to 1' if most == 1 else ''}"
        )
        raise InvalidError(f"metric `{name}`", parameter, takes)
    return msgspec.structs.replace(metric, name=name, parameter=value)

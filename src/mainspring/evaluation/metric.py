"""Metrics as records: a name, which way is better, and a formula."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from mainspring.errors import NotFoundError, WrongTypeError, close_names

Task = Literal["binary", "regression"]


class Metric(msgspec.Struct, frozen=True):
    """What is measured. `function` is `module:name` of a function of (truth, scores) that gives a number.

    The truth of a binary metric is 0 or 1, or false or true, and the scores are probabilities of 1. One's own metric names
    a function of the project: `Metric("cost", "binary", False, "costs:mean_cost")`.
    """

    name: str
    task: Task
    higher_is_better: bool
    function: str

    def __call__(self, y_true: Any, y_score: Any) -> float:
        """The value on arrays of one length; NaN where it is not defined.

        Raises:
            WrongTypeError: the function gives something else than a number.
        """
        from importlib import import_module

        module, _, name = self.function.partition(":")
        value = getattr(import_module(module), name)(y_true, y_score)
        if not hasattr(value, "__float__"):
            raise WrongTypeError(f"metric `{self.name}`", value, "a number")
        return float(value)


def _own(name: str, task: Task, higher_is_better: bool) -> Metric:
    return Metric(name, task, higher_is_better, f"mainspring.evaluation._numbers:{name}")


METRICS = {
    metric.name: metric
    for metric in (
        _own("roc_auc", "binary", True),
        _own("average_precision", "binary", True),
        _own("log_loss", "binary", False),
        _own("brier", "binary", False),
        _own("accuracy", "binary", True),
        _own("precision", "binary", True),
        _own("recall", "binary", True),
        _own("f1", "binary", True),
        _own("rmse", "regression", False),
        _own("mae", "regression", False),
        _own("r2", "regression", True),
    )
}


def get_metric(name: str | Metric) -> Metric:
    """A metric by its name; one that is a record already is given back.

    Raises:
        NotFoundError: no such metric; the nearest are named.

    >>> get_metric("log_loss").higher_is_better
    False
    """
    if isinstance(name, Metric):
        return name
    if name not in METRICS:
        raise NotFoundError("metric", name, close_names(name, METRICS), "Make your own: Metric(name, task, ...).")
    return METRICS[name]


def list_metrics() -> list[Metric]:
    """The metrics that come with Mainspring."""
    return list(METRICS.values())

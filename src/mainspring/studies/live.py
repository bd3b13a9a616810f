"""The trial that an objective is given: it suggests values, takes reports, and says when to give up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna

from mainspring.errors import InvalidError
from mainspring.runs import RunLog
from mainspring.studies.records import Definition
from mainspring.studies.space import Plain, checked_number, checked_whole


class Pruned(optuna.TrialPruned):  # it is no error, and Optuna's is called so, too
    """Raised by an objective that gives up; `raise trial.pruned()` or Optuna's own do the same."""


class LiveTrial:
    """A trial while it runs. `optuna` is Optuna's own, for what takes one, such as its pruning callbacks."""

    def __init__(self, trial: optuna.Trial, definition: Definition, log: RunLog, run: str, seed: int) -> None:
        self.optuna = trial
        self.number = trial.number
        self.run = run
        self.seed = seed
        self.cost: float | None = None
        self._log = log
        self._definition = definition
        # What a former attempt reported before its process died; Optuna keeps the first value of a step.
        self._reported = set(trial.study._storage.get_trial(trial._trial_id).intermediate_values)

    @property
    def params(self) -> dict[str, Any]:
        """The values that were suggested so far."""
        return dict(self.optuna.params)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A real number from `low` to `high`, both included."""
        return self.optuna.suggest_float(name, low, high, step=step, log=log)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number from `low` to `high`, both included."""
        return self.optuna.suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Plain]) -> Any:
        """One of the choices."""
        return self.optuna.suggest_categorical(name, choices)

    def report(self, value: float, step: int) -> None:
        """Tell the metric so far, at a whole number of steps; it is a point of the run's metric, too.

        Raises:
            InvalidError: the study has several metrics, of which none can be pruned by.
        """
        if len(self._definition.metrics) > 1:
            told = "Use `ms.log_metric` for what a trial of several metrics comes to meanwhile."
            raise InvalidError("report", ", ".join(self._definition.metrics), "one metric", told)
        step = checked_whole("step", step)
        self._log.log_metric(self._definition.metrics[0], value, step=step)
        if step not in self._reported:
            self._reported.add(step)
            self.optuna.report(float(value), step)

    def should_prune(self) -> bool:
        """Whether the study's pruner would give this trial up, from what was reported."""
        return len(self._definition.metrics) == 1 and self.optuna.should_prune()

    def pruned(self) -> Pruned:
        """What to raise in order to give up."""
        return Pruned(f"trial {self.number} was pruned")

    def add_cost(self, cost: float) -> None:
        """Count a cost in a unit of your own (money, GPU hours) instead of the seconds that the trial takes."""
        cost = checked_number("cost", cost)
        if not cost >= 0:
            raise InvalidError("cost", cost, "a number of at least 0")
        self.cost = (self.cost or 0.0) + float(cost)

"""Samplers and pruners by name, and what makes a sampler repeat: each trial's choices depend on nothing but the study's
seed, the trial's number and the trials before it, in whatever process it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from mainspring.errors import MissingExtraError
from mainspring.pipelines.seeds import task_seed


class Repeatable(BaseSampler):
    """A sampler made anew for each trial, from a seed of the trial's own.

    One that keeps its generator gives other values after a restart than it would have without, or the first ones again.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make, self._seed = make, seed
        self._inner = make(seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the sampler of this trial."""
        self._inner = self._make(task_seed(self._seed, f"trial {trial.number}"))
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that are sampled together."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values of the parameters that are sampled together."""
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value of one parameter."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """What the sampler keeps of a trial that ended."""
        self._inner.after_trial(study, trial, state, values)


def sampler_named(name: str, seed: int) -> BaseSampler:
    """The sampler of a study; a grid's points wait in line, so that its sampler has nothing to choose."""
    return Repeatable(_SAMPLERS[name], seed)


def pruner_named(name: str) -> BasePruner:
    """The pruner of a study, with Optuna's defaults."""
    made: BasePruner = _PRUNERS[name]()
    return made


def _tpe(seed: int) -> BaseSampler:
    return optuna.samplers.TPESampler(seed=seed)


def _random(seed: int) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def _cmaes(seed: int) -> BaseSampler:
    from importlib.util import find_spec

    if find_spec("cmaes") is None:
        raise MissingExtraError("cmaes", "studies", "The sampler `cmaes`")
    return optuna.samplers.CmaEsSampler(seed=seed)


def _nsga2(seed: int) -> BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed)


_SAMPLERS = {"tpe": _tpe, "random": _random, "grid": _random, "cmaes": _cmaes, "nsga2": _nsga2}
_PRUNERS = {
    "none": optuna.pruners.NopPruner,
    "median": optuna.pruners.MedianPruner,
    "halving": optuna.pruners.SuccessiveHalvingPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
}

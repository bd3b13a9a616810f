"""What a stored estimator may hold beside what skops trusts: a rule over the libraries that are installed.

A name is looked up in scikit-learn's own packages of estimators, whose modules are imported for it, so that the same is allowed
in every process. What is allowed computes on numbers: skops may call it with arguments of the file's choice while it loads.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from mainspring.artifacts._called import DICT
from mainspring.artifacts._distributions import is_distribution
from mainspring.artifacts.leaves import MODEL, TEXT_METHODS

# What scikit-learn's own estimators are defined in. The other packages load data, or hold what others have written.
_PACKAGES = frozenset(
    "_loss base calibration cluster compose covariance cross_decomposition decomposition discriminant_analysis dummy ensemble "
    "feature_extraction feature_selection frozen gaussian_process impute isotonic kernel_approximation kernel_ridge "
    "linear_model manifold metrics mixture model_selection multiclass multioutput naive_bayes neighbors neural_network "
    "pipeline preprocessing random_projection semi_supervised svm tree".split()
)
_CLOSED = frozenset({"tests", "conftest"})  # inside those

# Every subclass of these that scikit-learn defines in its packages of estimators is a parameter or a fitted part of one.
_BASES = {
    "sklearn.base": "BaseEstimator",
    "sklearn._loss.link": "BaseLink",
    "sklearn._loss.loss": "BaseLoss",
    "sklearn.gaussian_process.kernels": "Kernel",
    "sklearn.metrics._dist_metrics": "DistanceMetric",
    "sklearn.metrics._scorer": "_BaseScorer",
    "sklearn.model_selection._split": "BaseCrossValidator BaseShuffleSplit _RepeatedSplits",
    "sklearn.neighbors._ball_tree": "BinaryTree32 BinaryTree64",
    "sklearn.neighbors._kd_tree": "BinaryTree32 BinaryTree64",
    "sklearn.neural_network._stochastic_optimizers": "BaseOptimizer",
}

# Parts of estimators without such a base, found by fitting and dumping estimators with many choices of parameters.
_PARTS = {
    # Histogram boosting with categories keeps `partial(check_array, …)`. A partial is as safe as what it binds, which is a
    # node of its own and must be allowed itself.
    "functools": "partial",
    "builtins": "object",
    "numpy": "all any argmax argmin argsort average clip concatenate cumprod cumsum diff dtype hstack max mean median min "
    "nan_to_num nanargmax nanargmin nanmax nanmean nanmedian nanmin nanpercentile nanprod nanquantile nanstd nansum nanvar "
    "percentile prod ptp quantile ravel reshape round sort squeeze std sum transpose var vstack",
    "scipy._lib.array_api_compat.numpy._aliases": "asarray",
    "scipy.interpolate._bsplines": "BSpline",
    "scipy.sparse._csr": "csr_matrix",
    "sklearn._loss.link": "Interval",
    "sklearn.calibration": "_CalibratedClassifier",
    "sklearn.cluster._bisect_k_means": "_BisectingTree",
    "sklearn.cluster._kmeans": "_kmeans_single_elkan _kmeans_single_lloyd",
    "sklearn.compose._column_transformer": "make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.binning": "_BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor": "TreePredictor",
    "sklearn.feature_extraction.text": "strip_accents_ascii strip_accents_unicode strip_tags",
    "sklearn.gaussian_process._gpc": "_BinaryGaussianProcessClassifierLaplace",
    "sklearn.impute._iterative": "_ImputerTriplet",
    "sklearn.metrics._scorer": "_MultimetricScorer _PassthroughScorer",
    "sklearn.tree._tree": "Tree",
    "sklearn.utils._bunch": "Bunch",
    "sklearn.utils._metadata_requests": "MetadataRequest MethodMetadataRequest",
    "sklearn.utils.validation": "check_array",
}

# Public modules whose functions are given to estimators as parameters, and what of them is no function of numbers.
_FUNCTIONS = ("sklearn.feature_selection", "sklearn.metrics", "sklearn.preprocessing")
_NO_NUMBERS = frozenset({"check_scoring", "get_scorer", "get_scorer_names", "make_scorer"})


def is_allowed(name: str) -> bool:
    """Whether a stored estimator may name this class or function, which skops doesn't trust by itself."""
    return name in (MODEL, DICT) or name in TEXT_METHODS or name in _named() or is_distribution(name) or _is_kind(name)


def is_installed(name: str) -> bool:
    """Whether the package of this class or function is Python's own or installed, and so not a module of the project."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return top != "__main__"
    try:
        found = find_spec(top)
    except (ImportError, ValueError):
        return False
    return found is not None and "site-packages" in Path(found.origin or "").parts


def _is_kind(name: str) -> bool:
    home, _, own = name.rpartition(".")
    found = getattr(_module(home), own, None)
    if not isinstance(found, type) or (found.__module__, found.__qualname__) != (home, own):
        return False
    return issubclass(found, _bases())


def _module(home: str) -> ModuleType | None:
    """A module of estimators, imported if need be: scikit-learn leaves out those that it calls experimental."""
    top, *parts = home.split(".")
    if top != "sklearn" or not _PACKAGES.issuperset(parts[:1]) or _CLOSED.intersection(parts):
        return None
    try:
        return import_module(home)
    except ImportError:
        return None


@cache
def _bases() -> tuple[type, ...]:
    found = (getattr(_module(home), own, None) for home, names in _BASES.items() for own in names.split())
    return tuple(each for each in found if isinstance(each, type))


@cache
def _named() -> frozenset[str]:
    import numpy as np

    parts = (f"{home}.{own}" for home, names in _PARTS.items() for own in names.split())
    return frozenset({*parts, *map(_name, _functions()), *(f"numpy.{each.__name__}" for each in _scalars(np.generic))})


def _scalars(kind: type[Any]) -> Iterator[type[Any]]:
    """NumPy's own types of scalars, the abstract ones too, by which columns are selected."""
    yield kind
    for each in kind.__subclasses__():
        if each.__module__ == "numpy":
            yield from _scalars(each)


def _functions() -> Iterator[Any]:
    from sklearn.metrics import get_scorer, get_scorer_names
    from sklearn.metrics.pairwise import PAIRWISE_KERNEL_FUNCTIONS, distance_metrics

    for home in _FUNCTIONS:
        module = import_module(home)
        for own in set(module.__all__) - _NO_NUMBERS:
            found = getattr(module, own, None)
            if isinstance(found, FunctionType) and found.__module__.startswith(f"{home}."):
                yield found
    yield from (get_scorer(name)._score_func for name in get_scorer_names())
    yield from PAIRWISE_KERNEL_FUNCTIONS.values()
    yield from (found for found in distance_metrics().values() if isinstance(found, FunctionType))


def _name(function: Any) -> str:
    return f"{function.__module__}.{function.__name__}"

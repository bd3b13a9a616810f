"""Shapley values by the package `shap`: exact ones for trees and linear regressions, sampled by the predictor for all else.

Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, NeurIPS 2017; for trees the interventional form.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mainspring.errors import MissingExtraError
from mainspring.models import Predictor

_NUMBERS = ("i", "u", "f", "b")
_COALITIONS = 2048
"""How many are asked for: all there are of 11 inputs. (shap's newer explainers compile for seconds at their first call.)"""
_TOLERANCE = 1e-4


def shap_values(
    predictor: Predictor, columns: Mapping[str, Any], rows: Mapping[str, Any], output: str
) -> tuple[list[float], float, str]:
    """What each input of a row adds to its answer, in the order of the signature, the base, and the explainer's name.

    `columns` are the row, `rows` those it is compared with; `output` is the class whose probability is meant, if any. What an
    explainer of the model itself gives is taken if it adds up to the predictor's answer.

    Raises:
        MissingExtraError: `shap` is not installed.
    """
    try:
        with warnings.catch_warnings():  # matplotlib's, which shap colours its plots by
            warnings.simplefilter("ignore")
            import shap
    except ImportError as error:
        raise MissingExtraError("shap", "shap", "Attribution to features") from error
    inputs = predictor.signature.inputs
    names = [field.name for field in inputs]
    ask = _asker(predictor, names, columns, rows, output)
    answer = float(ask(np.zeros((1, len(names))))[0])
    if all(field.dtype[:1] in _NUMBERS and field.dtype[-1:].isdigit() for field in inputs):
        background, row = _matrix(names, rows), _matrix(names, columns)
        for name, made in (("tree", _tree), ("linear", _linear)):
            found = made(shap, predictor, background, row, output)
            if found is not None and abs(found[1] + sum(found[0]) - answer) <= _TOLERANCE * max(abs(answer), 1.0):
                return *found, name
    return _sampled(shap, ask, len(names), len(next(iter(rows.values()))))


def _matrix(names: Sequence[str], columns: Mapping[str, Any]) -> Any:
    return np.array([[np.nan if value is None else value for value in columns[name]] for name in names], dtype=float).T


def _tree(shap: Any, predictor: Predictor, background: Any, row: Any, output: str) -> tuple[list[float], float] | None:
    if not shap.explainers.Tree.supports_model_with_masker(predictor.model, None):
        return None
    kind = "raw" if predictor.signature.output.kind == "number" else "probability"
    explainer = shap.TreeExplainer(predictor.model, background, model_output=kind)
    return _chosen(explainer.shap_values(row, check_additivity=False), explainer.expected_value, predictor, output)


def _linear(
    shap: Any, predictor: Predictor, background: Any, row: Any, output: str
) -> tuple[list[float], float] | None:
    masker = shap.maskers.Independent(background, max_samples=len(background))
    if not shap.explainers.Linear.supports_model_with_masker(predictor.model, masker):
        return None
    explainer = shap.LinearExplainer(predictor.model, masker)
    return _chosen(explainer.shap_values(row), explainer.expected_value, predictor, output)


def _chosen(values: Any, base: Any, predictor: Predictor, output: str) -> tuple[list[float], float]:
    """Of values for each class, those of the class that is meant."""
    told, bases = np.asarray(values, dtype=float), np.ravel(np.asarray(base, dtype=float))
    classes = [str(name) for name in predictor.signature.output.classes]
    place = classes.index(output) if output else len(bases) - 1
    if told.ndim == 3:
        told = told[:, :, place]
    return told[0].tolist(), float(bases[min(place, len(bases) - 1)])


def _asker(
    predictor: Predictor, names: Sequence[str], columns: Mapping[str, Any], rows: Mapping[str, Any], output: str
) -> Callable[[Any], Any]:
    """The predictor as a function of places: in each column 0 is the row's value, and n that of row n to compare it with.

    So values of any type, and nulls, are as the model takes them.
    """
    known = {name: [*columns[name], *rows[name]] for name in names}

    def ask(places: Any) -> Any:
        chosen: dict[str, Sequence[Any]] = {}
        for number, name in enumerate(names):
            chosen[name] = [known[name][int(place)] for place in places[:, number]]
        answers = predictor.answer(chosen, len(places))
        return np.array([each[output] if isinstance(each, dict) else each for each in answers], dtype=float)

    return ask


def _sampled(shap: Any, ask: Callable[[Any], Any], inputs: int, rows: int) -> tuple[list[float], float, str]:
    """By coalitions of inputs, all of them if they are few; the others are drawn alike each time."""
    places = np.repeat(np.arange(1, rows + 1), inputs).reshape(rows, inputs).astype(float)
    explainer = shap.KernelExplainer(ask, places)
    state = np.random.get_state()  # it draws by the legacy generator of NumPy alone
    np.random.seed(0)
    try:
        values = explainer.shap_values(np.zeros((1, inputs)), nsamples=_COALITIONS, l1_reg=False, silent=True)
    finally:
        np.random.set_state(state)
    return np.asarray(values, dtype=float)[0].tolist(), float(np.ravel(explainer.expected_value)[0]), "kernel"

"""Support vector machines of scikit-learn as nodes of ONNX that weigh in doubles.

Invariant: of several classes each pair votes as libsvm lets it, and of equal votes the first class wins.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from mainspring.models.onnx_nodes import Nodes
from mainspring.models.onnx_steps import by_library

_KERNELS = ("linear", "poly", "rbf", "sigmoid")


def converters() -> dict[type, Any]:
    """What makes nodes of each kind of machine, in the way in which skl2onnx calls it."""
    from sklearn.svm import SVC, SVR, NuSVC, NuSVR

    return {SVC: _voted, NuSVC: _voted, SVR: _weighed, NuSVR: _weighed}


def _is_plain(model: Any) -> bool:
    return model.kernel in _KERNELS and isinstance(model.dual_coef_, np.ndarray)


def _weighed(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    if not _is_plain(model):
        by_library(scope, operator, container)
        return
    nodes = Nodes(scope, operator, container)
    nodes.give(0, _sums(nodes, model, model.dual_coef_.T))


def _voted(scope: Any, operator: Any, container: Any) -> None:
    """Labels; probabilities, and ties that scores break, are left to skl2onnx."""
    model = operator.raw_operator
    if not _is_plain(model) or getattr(model, "probability", False) is True or model.break_ties:
        by_library(scope, operator, container)
        return
    nodes, count = Nodes(scope, operator, container), len(model.classes_)
    if count == 2:
        sums = _sums(nodes, model, model.dual_coef_.T)
        scores = nodes.add("Concat", [nodes.add("Neg", [sums]), sums], axis=1)
    else:
        pairs = list(combinations(range(count), 2))
        sums = _sums(nodes, model, np.stack([_weights(model, *pair) for pair in pairs], axis=1))
        is_first = nodes.add("Cast", [nodes.add("Greater", [sums, nodes.known([0.0])])], to=nodes.types.DOUBLE)
        first, second = (np.eye(count)[[pair[place] for pair in pairs]] for place in (0, 1))
        turned = nodes.add("MatMul", [is_first, nodes.known(first - second)])
        scores = nodes.add("Add", [turned, nodes.known(second.sum(axis=0))])
    nodes.give_classes(nodes.add("ArgMax", [scores], axis=1, keepdims=0))
    nodes.give(1, scores)


def _weights(model: Any, first: int, second: int) -> Any:
    """What each support vector weighs between two classes; those of other classes nothing."""
    of_class = np.repeat(np.arange(len(model.classes_)), model.n_support_)
    weighed = model.dual_coef_
    return np.where(of_class == first, weighed[second - 1], np.where(of_class == second, weighed[first], 0.0))


def _sums(nodes: Nodes, model: Any, weights: Any) -> str:
    """The kernel of each row and support vector, weighed: [N, columns of the weights]."""
    vectors, gamma = np.asarray(model.support_vectors_, np.float64), float(model._gamma)
    # Scaled here: a factor behind the product would be fused with it, and onnxruntime keeps that in 32 bits.
    scale = {"linear": 1.0, "rbf": -2.0}.get(model.kernel, gamma)
    found = nodes.add("MatMul", [nodes.rows, nodes.known(scale * vectors.T)])
    if model.kernel == "rbf":
        squares = nodes.add("ReduceSumSquare", [nodes.rows], axes=[1], keepdims=1)
        lengths = nodes.add("Add", [squares, nodes.known((vectors**2).sum(axis=1))])
        found = nodes.add("Exp", [nodes.add("Mul", [nodes.add("Add", [lengths, found]), nodes.known([-gamma])])])
    elif model.kernel != "linear":
        found = nodes.add("Add", [found, nodes.known([float(model.coef0)])])
        is_power = model.kernel == "poly"
        found = (
            nodes.add("Pow", [found, nodes.known([float(model.degree)])]) if is_power else nodes.add("Tanh", [found])
        )
    weighed = nodes.add("MatMul", [found, nodes.known(np.asarray(weights, np.float64))])
    return nodes.add("Add", [weighed, nodes.known(np.ravel(model.intercept_).astype(np.float64))])

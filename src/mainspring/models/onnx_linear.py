"""Linear classifiers of scikit-learn as nodes of ONNX that score in doubles.

Invariant: a label turns where the model's score does; skl2onnx's own nodes score in 32 bits, or have none for labels alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mainspring.models.onnx_nodes import Nodes
from mainspring.models.onnx_steps import by_library

_OPTIONS = ("raw_scores", "nocl", "output_class_labels")


def converters() -> dict[type, Any]:
    """What makes nodes of each kind of classifier, in the way in which skl2onnx calls it."""
    from sklearn import linear_model, svm

    kinds = (
        linear_model.LogisticRegression, linear_model.LogisticRegressionCV, linear_model.RidgeClassifier,
        linear_model.RidgeClassifierCV, linear_model.Perceptron, linear_model.SGDClassifier, svm.LinearSVC,
    )  # fmt: skip
    return dict.fromkeys(kinds, _scored)


def _scored(scope: Any, operator: Any, container: Any) -> None:
    """The greatest score's label, and scores or probabilities; what is part of another estimator is left to skl2onnx."""
    model = operator.raw_operator
    asked = container.get_options(model, dict.fromkeys(_OPTIONS, False), fail=False) or {}
    link = _link(model) if isinstance(model.coef_, np.ndarray) else None
    if link is None or any(asked.get(name) for name in _OPTIONS):
        by_library(scope, operator, container)
        return
    nodes = Nodes(scope, operator, container)
    weights = np.atleast_2d(model.coef_).astype(np.float64).T
    begins = np.broadcast_to(np.asarray(model.intercept_, np.float64), (weights.shape[1],))
    scores = nodes.add("Add", [nodes.add("MatMul", [nodes.rows, nodes.known(weights)]), nodes.known(begins)])
    if weights.shape[1] > 1:
        nodes.give_classes(nodes.add("ArgMax", [scores], axis=1, keepdims=0))
        nodes.give(1, _linked(nodes, scores, link))
        return
    is_second = nodes.add("Cast", [nodes.add("Greater", [scores, nodes.known([0.0])])], to=nodes.types.INT64)
    nodes.give_classes(nodes.add("Reshape", [is_second, nodes.known([-1])]))
    both = nodes.add("Concat", [nodes.add("Neg", [scores]), scores], axis=1)
    is_one = operator.outputs[1].type.shape[1] == 1
    nodes.give(1, scores if is_one else _linked(nodes, both, "sigmoid" if link == "softmax" else link))


def _link(model: Any) -> str | None:
    """What makes probabilities of scores: `sigmoid`, `softmax`, or nothing (""); None if it is another."""
    classes = model.classes_
    if not isinstance(classes, np.ndarray) or _is_odd(model):
        return None
    name = type(model).__name__
    if name == "SGDClassifier":
        return {"log_loss": "sigmoid", "modified_huber": None}.get(model.loss, "")
    if not name.startswith("LogisticRegression"):
        return ""
    chosen = getattr(model, "multi_class", "auto")
    is_single = len(classes) > 2 and (model.solver == "liblinear" or chosen == "ovr")
    return None if chosen == "multinomial" and len(classes) == 2 else "sigmoid" if is_single else "softmax"


def _is_odd(model: Any) -> bool:
    """Whether it has several answers a row, each for a label of its own."""
    rows = 1 if len(model.classes_) == 2 else len(model.classes_)
    return len(np.atleast_2d(model.coef_)) != rows


def _linked(nodes: Nodes, scores: str, link: str) -> str:
    if link == "softmax":
        return nodes.add("Softmax", [scores], axis=1)
    if link != "sigmoid":
        return scores
    each = nodes.add("Sigmoid", [scores])
    return nodes.add("Div", [each, nodes.add("ReduceSum", [each, nodes.known([1])], keepdims=1)])

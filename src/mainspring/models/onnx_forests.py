"""Trees, forests and boosting of scikit-learn as nodes of ONNX that decide as they do: by doubles, with their rounding.

Invariant: classic trees round what they compare to 32 bits before they compare it with a double, histogram boosting does
not. skl2onnx's own nodes have thresholds and sums of 32 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mainspring.errors import CodecError
from mainspring.models.onnx_trees import Tree, Trees, before_rounding, constant

_OPTIONS = ("raw_scores", "decision_path", "decision_leaf")
Convert = Callable[[Any, Any, Any], None]


def converters() -> dict[type, Convert]:
    """What makes nodes of each kind of estimator, in the way in which skl2onnx calls it."""
    from sklearn import ensemble, tree

    made: dict[type, Convert] = {ensemble.HistGradientBoostingClassifier: _boosted_classes}
    made[ensemble.HistGradientBoostingRegressor] = made[ensemble.GradientBoostingRegressor] = _boosted_number
    made[ensemble.GradientBoostingClassifier] = _boosted_classes
    for kind in (tree.DecisionTreeClassifier, tree.ExtraTreeClassifier):
        made[kind] = made[getattr(ensemble, _forest_of(kind.__name__))] = _voted
    for kind in (tree.DecisionTreeRegressor, tree.ExtraTreeRegressor):
        made[kind] = made[getattr(ensemble, _forest_of(kind.__name__))] = _averaged
    return {kind: _or_by_library(kind, convert) for kind, convert in made.items()}


def _forest_of(kind: str) -> str:
    return kind.replace("DecisionTree", "RandomForest").replace("ExtraTree", "ExtraTrees")


def _or_by_library(kind: type, convert: Convert) -> Convert:
    """As given; where paths, leaves or raw scores are asked for, as part of another estimator, by skl2onnx's own."""
    from skl2onnx._supported_operators import sklearn_operator_name_map  # type: ignore[import-untyped]  # skl2onnx has no stubs
    from skl2onnx.common._registration import get_converter  # type: ignore[import-untyped]  # skl2onnx has no stubs

    by_library = get_converter(sklearn_operator_name_map[kind])

    def chosen(scope: Any, operator: Any, container: Any) -> None:
        model = operator.raw_operator
        asked = container.get_options(model, dict.fromkeys(_OPTIONS, False), fail=False) or {}
        if not any(asked.get(name) for name in _OPTIONS):
            convert(scope, operator, container)
            return
        for tree in _trees(model):
            if not all(
                map(math.isfinite, tree.threshold.tolist())
            ):  # skl2onnx 1.20 looks for the next number without end
                raise CodecError("A tree splits missing values from all others, which the converter can't express.")
        by_library(scope, operator, container)

    return chosen


def _trees(model: Any) -> Iterator[Tree]:
    """The trees of an estimator, in the order in which it adds them; the leaves of boosting hold what they add."""
    if hasattr(model, "_predictors"):
        for one in model._predictors:
            yield from (_histogram_tree(each.nodes) for each in one)
        return
    scale = model.learning_rate if hasattr(model, "learning_rate") else None
    for each in np.ravel(model.estimators_) if hasattr(model, "estimators_") else [model]:
        yield _classic_tree(each.tree_, scale)


def _classic_tree(tree: Any, scale: float | None) -> Tree:
    values = tree.value[:, 0, :] if scale is None else scale * tree.value[:, 0, :]
    missing = getattr(tree, "missing_go_to_left", np.zeros(tree.node_count, np.uint8))
    is_leaf = tree.children_left < 0
    threshold = before_rounding(tree.threshold)
    return Tree(tree.children_left, tree.children_right, tree.feature, threshold, missing, is_leaf, values)


def _histogram_tree(nodes: Any) -> Tree:
    if nodes["is_categorical"].any():
        raise CodecError("Histogram boosting over categories has no converter: encode them before it (OrdinalEncoder).")
    left, right = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
    missing, is_leaf = nodes["missing_go_to_left"], nodes["is_leaf"].astype(bool)
    return Tree(left, right, nodes["feature_idx"], nodes["num_threshold"], missing, is_leaf, nodes["value"][:, None])


def _voted(scope: Any, operator: Any, container: Any) -> None:
    """A tree of classes, or a forest of them: the mean of what the leaves hold."""
    model = _expect_one_output(operator.raw_operator)
    nodes, trees = Trees(scope, operator, container), list(_trees(model))
    shares = nodes.spread(trees)
    if hasattr(model, "estimators_"):
        shares = nodes.add("Div", [shares, nodes.known([float(len(trees))])])
    nodes.give_scores(shares)


def _averaged(scope: Any, operator: Any, container: Any) -> None:
    model = _expect_one_output(operator.raw_operator)
    nodes, trees = Trees(scope, operator, container), list(_trees(model))
    total = nodes.summed(trees, [0] * len(trees))
    nodes.give(0, nodes.add("Div", [total, nodes.known([float(len(trees))])]))


def _expect_one_output(model: Any) -> Any:
    if model.n_outputs_ != 1:
        raise CodecError("Trees with several outputs have no converter.")
    return model


def _raw_sum(nodes: Trees, model: Any) -> tuple[str, int]:
    """What boosting adds up, and of how many columns it is."""
    if hasattr(model, "_predictors"):
        if getattr(model, "_preprocessor", None) is not None:
            raise CodecError(
                "Histogram boosting over categories has no converter: encode them before it (OrdinalEncoder)."
            )
        begins = model._baseline_prediction
    elif model.init_ == "zero" or type(model.init_).__module__ == "sklearn.dummy":
        begins = model._raw_predict_init(np.zeros((1, model.n_features_in_)))
    else:
        raise CodecError("Boosting that begins with another model has no converter.")
    begins = np.ravel(begins)
    trees = [*map(constant, begins), *_trees(model)]
    return nodes.summed(trees, [n % len(begins) for n in range(len(trees))]), len(begins)


def _boosted_classes(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    nodes = Trees(scope, operator, container)
    raw, width = _raw_sum(nodes, model)
    if width > 1:
        nodes.give_classes(nodes.add("ArgMax", [raw], axis=1, keepdims=0))
        return nodes.give(1, nodes.add("Softmax", [raw], axis=1))
    nodes.is_true(nodes.add("Greater" if hasattr(model, "_predictors") else "GreaterOrEqual", [raw, nodes.number(0.0)]))
    if getattr(model, "loss", None) == "exponential":
        raw = nodes.add("Mul", [raw, nodes.number(2.0)])
    return nodes.give(1, nodes.both(nodes.add("Sigmoid", [raw])))


def _boosted_number(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    nodes = Trees(scope, operator, container)
    raw, _ = _raw_sum(nodes, model)
    link = getattr(getattr(model._loss, "link", None), "name", type(model._loss.link).__name__)
    if "log" in link.lower() and hasattr(model, "_predictors"):
        raw = nodes.add("Exp", [raw])
    nodes.give(0, raw)

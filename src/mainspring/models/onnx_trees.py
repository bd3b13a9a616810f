"""Trees, forests and boosting of scikit-learn as nodes of ONNX that decide as they do: by doubles, with their rounding.

Invariant: a row takes the same branch at every split. Classic trees round what they compare to 32 bits before they compare it
with a double, histogram boosting does not. skl2onnx's own nodes have thresholds and sums of 32 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from mainspring.errors import CodecError
from mainspring.models.onnx_nodes import Nodes

_DOMAIN, _VERSION = "ai.onnx.ml", 5  # `TreeEnsemble` of doubles; onnxruntime runs it since 1.20
_AT_ONCE = 4_096  # values a row that one gathering of leaves may hold
_OPTIONS = ("raw_scores", "decision_path", "decision_leaf")
Convert = Callable[[Any, Any, Any], None]


class Tree(NamedTuple):
    """A tree's nodes, its root first: where a value goes that is at most `threshold` or missing, and what leaves hold."""

    left: Any
    right: Any
    feature: Any
    threshold: Any
    missing_left: Any
    is_leaf: Any
    values: Any


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
    threshold = _before_rounding(tree.threshold)
    return Tree(tree.children_left, tree.children_right, tree.feature, threshold, missing, is_leaf, values)


def _before_rounding(thresholds: Any) -> Any:
    """The largest doubles that are at most the thresholds when they are rounded to 32 bits."""
    with np.errstate(over="ignore"):
        below = thresholds.astype(np.float32)
        below = np.where(below > thresholds, np.nextafter(below, np.float32(-np.inf)), below)
        above = np.nextafter(below, np.float32(np.inf))
        middle = below.astype(np.float64) / 2 + above.astype(np.float64) / 2
        found = np.where(middle.astype(np.float32) == below, middle, np.nextafter(middle, -np.inf))
    return np.where(np.isfinite(above), found, thresholds)


def _histogram_tree(nodes: Any) -> Tree:
    if nodes["is_categorical"].any():
        raise CodecError("Histogram boosting over categories has no converter: encode them before it (OrdinalEncoder).")
    left, right = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
    missing, is_leaf = nodes["missing_go_to_left"], nodes["is_leaf"].astype(bool)
    return Tree(left, right, nodes["feature_idx"], nodes["num_threshold"], missing, is_leaf, nodes["value"][:, None])


def _constant(value: float) -> Tree:
    zero, one = np.zeros(1, np.int64), np.ones(1, bool)
    return Tree(zero, zero, zero, np.zeros(1), zero, one, np.array([[value]]))


class _Trees(Nodes):
    """Nodes of trees."""

    def summed(self, trees: list[Tree], targets: int) -> str:
        """What the leaves of all trees add up to, in turn for each target: [N, targets]."""
        return self._ensemble(trees, [n % targets for n in range(len(trees))], [tree.values[:, 0] for tree in trees])

    def spread(self, trees: list[Tree]) -> str:
        """The sum of what the leaves hold, which is a value for each class: [N, classes]."""
        width = max(1, _AT_ONCE // trees[0].values.shape[1])
        return self._sum([self._gathered(trees[n : n + width]) for n in range(0, len(trees), width)])

    def _sum(self, parts: list[str]) -> str:
        return parts[0] if len(parts) == 1 else self.add("Sum", parts)

    def _gathered(self, trees: list[Tree]) -> str:
        """Each tree tells the number of its leaf, by which the leaf's values are looked up."""
        begins = np.cumsum([0, *(len(tree.values) for tree in trees)])
        numbers = [np.arange(begin, begin + len(tree.values)) * 1.0 for begin, tree in zip(begins, trees, strict=False)]
        leaves = self._ensemble(trees, list(range(len(trees))), numbers)
        places = self.add("Cast", [leaves], to=self.types.INT64)
        values = self.add("Gather", [self.known(np.concatenate([tree.values for tree in trees])), places], axis=0)
        return self.add("ReduceSum", [values, self.known([1])], keepdims=0)

    def _ensemble(self, trees: list[Tree], targets: list[int], weights: list[Any]) -> str:
        from onnx.numpy_helper import from_array

        inner = leaves = 0
        parts: dict[str, list[Any]] = {}
        for tree, target, weight in zip(trees, targets, weights, strict=True):
            for name, values in _attributes(tree, target, weight, inner, leaves).items():
                parts.setdefault(name, []).append(values)
            inner, leaves = inner + len(parts["nodes_splits"][-1]), leaves + int(tree.is_leaf.sum())
        whole = {name: np.concatenate(values) for name, values in parts.items()}
        tensors: dict[str, Any] = {
            "nodes_splits": whole.pop("nodes_splits").astype(np.float64),
            "leaf_weights": whole.pop("leaf_weights").astype(np.float64),
            "nodes_modes": np.zeros(inner, np.uint8),
        }
        return self.add(
            "TreeEnsemble", [self.rows], op_domain=_DOMAIN, op_version=1, n_targets=max(targets) + 1,
            aggregate_function=1, post_transform=0, **{name: values.tolist() for name, values in whole.items()},
            **{name: from_array(values) for name, values in tensors.items()},
        )  # fmt: skip


def _attributes(tree: Tree, target: int, weights: Any, inner: int, leaves: int) -> dict[str, Any]:
    """The attributes of a tree's nodes and leaves, behind so many of both."""
    leaf = tree.is_leaf
    if leaf.all():  # a split whose sides are the same leaf
        zero, one = np.zeros(1, np.int64), np.ones(1, np.int64)
        left = right = zero + leaves
        sides = (left, one, right, one)
        split = (zero, np.zeros(1), zero)
    else:
        numbers = np.where(leaf, np.cumsum(leaf) - 1 + leaves, np.cumsum(~leaf) - 1 + inner)
        left, right = tree.left[~leaf], tree.right[~leaf]
        sides = (numbers[left], leaf[left].astype(int), numbers[right], leaf[right].astype(int))
        split = (tree.feature[~leaf], tree.threshold[~leaf], tree.missing_left[~leaf].astype(int))
    return {
        "tree_roots": np.array([inner]), "nodes_featureids": split[0], "nodes_splits": split[1],
        "nodes_missing_value_tracks_true": split[2], "nodes_truenodeids": sides[0], "nodes_trueleafs": sides[1],
        "nodes_falsenodeids": sides[2], "nodes_falseleafs": sides[3],
        "leaf_targetids": np.full(int(leaf.sum()), target), "leaf_weights": np.asarray(weights)[leaf],
    }  # fmt: skip


def _voted(scope: Any, operator: Any, container: Any) -> None:
    """A tree of classes, or a forest of them: the mean of what the leaves hold."""
    model = _expect_one_output(operator.raw_operator)
    nodes, trees = _Trees(scope, operator, container), list(_trees(model))
    shares = nodes.spread(trees)
    if hasattr(model, "estimators_"):
        shares = nodes.add("Div", [shares, nodes.known([float(len(trees))])])
    nodes.give_classes(nodes.add("ArgMax", [shares], axis=1, keepdims=0))
    nodes.give(1, shares)


def _averaged(scope: Any, operator: Any, container: Any) -> None:
    model = _expect_one_output(operator.raw_operator)
    nodes, trees = _Trees(scope, operator, container), list(_trees(model))
    total = nodes.summed(trees, 1)
    nodes.give(0, nodes.add("Div", [total, nodes.known([float(len(trees))])]))


def _expect_one_output(model: Any) -> Any:
    if model.n_outputs_ != 1:
        raise CodecError("Trees with several outputs have no converter.")
    return model


def _raw_sum(nodes: _Trees, model: Any) -> tuple[str, int]:
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
    return nodes.summed([*map(_constant, begins), *_trees(model)], len(begins)), len(begins)


def _boosted_classes(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    nodes = _Trees(scope, operator, container)
    raw, width = _raw_sum(nodes, model)
    if width > 1:
        nodes.give_classes(nodes.add("ArgMax", [raw], axis=1, keepdims=0))
        return nodes.give(1, nodes.add("Softmax", [raw], axis=1))
    zero = nodes.known([0.0])
    beyond = nodes.add("Greater" if hasattr(model, "_predictors") else "GreaterOrEqual", [raw, zero])
    places = nodes.add("Reshape", [nodes.add("Cast", [beyond], to=nodes.types.INT64), nodes.known([-1])])
    nodes.give_classes(places)
    if getattr(model, "loss", None) == "exponential":
        raw = nodes.add("Mul", [raw, nodes.known([2.0])])
    second = nodes.add("Sigmoid", [raw])
    first = nodes.add("Sub", [nodes.known([1.0]), second])
    return nodes.give(1, nodes.add("Concat", [first, second], axis=1))


def _boosted_number(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    nodes = _Trees(scope, operator, container)
    raw, _ = _raw_sum(nodes, model)
    link = getattr(getattr(model._loss, "link", None), "name", type(model._loss.link).__name__)
    if "log" in link.lower() and hasattr(model, "_predictors"):
        raw = nodes.add("Exp", [raw])
    nodes.give(0, raw)


def settle(model: Any) -> None:
    """Let a finished graph say of which version its trees are, which skl2onnx 1.20 doesn't know."""
    if any(node.op_type == "TreeEnsemble" for node in model.graph.node):
        for each in model.opset_import:
            if each.domain == _DOMAIN:
                each.version = _VERSION

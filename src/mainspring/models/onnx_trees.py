"""Trees of any library as nodes of ONNX.

Invariant: a row takes the same branch at every split, in the precision in which the library compares and adds.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mainspring.models.onnx_nodes import Nodes, are_texts

_DOMAIN, _VERSION = "ai.onnx.ml", 5  # has `TreeEnsemble`; onnxruntime runs it since 1.20
_AT_ONCE = 4_096  # values a row that one gathering of leaves may hold


class Tree(NamedTuple):
    """A tree's nodes, its root first: where a value goes that is at most `threshold` or missing, and what leaves hold."""

    left: Any
    right: Any
    feature: Any
    threshold: Any
    missing_left: Any
    is_leaf: Any
    values: Any


def before_rounding(thresholds: Any) -> Any:
    """The largest doubles that are at most the thresholds when they are rounded to 32 bits."""
    with np.errstate(over="ignore"):
        below = thresholds.astype(np.float32)
        below = np.where(below > thresholds, np.nextafter(below, np.float32(-np.inf)), below)
        above = np.nextafter(below, np.float32(np.inf))
        middle = below.astype(np.float64) / 2 + above.astype(np.float64) / 2
        found = np.where(middle.astype(np.float32) == below, middle, np.nextafter(middle, -np.inf))
    return np.where(np.isfinite(above), found, thresholds)


def constant(value: float) -> Tree:
    """A tree that answers every row alike."""
    zero, one = np.zeros(1, np.int64), np.ones(1, bool)
    return Tree(zero, zero, zero, np.zeros(1), zero, one, np.array([[value]]))


class Trees(Nodes):
    """Nodes of trees; with `floats`, what they compare and add is rounded to 32 bits."""

    def __init__(self, scope: Any, operator: Any, container: Any, *, floats: bool = False) -> None:
        super().__init__(scope, operator, container)
        self._dtype: type[np.floating[Any]] = np.float32 if floats else np.float64
        if floats:
            self.rows = self.add("Cast", [self.rows], to=self.types.FLOAT)

    def number(self, value: float) -> str:
        """A constant in the precision of the trees."""
        return self.known(np.array([value], self._dtype))

    def widen(self, choices: Sequence[tuple[int, frozenset[int]]]) -> None:
        """Add a column for each choice: 1 where the whole part of a column is one of the categories, else 0."""
        parts = [self.rows]
        for feature, group in itertools.groupby(choices, key=lambda choice: choice[0]):
            sets = [chosen for _, chosen in group]
            top = max(max(chosen, default=0) for chosen in sets)
            table = np.array([[float(code in chosen) for chosen in sets] for code in range(-1, top + 2)])
            column = self.add("Gather", [self.rows, self.known(feature)], axis=1)
            column = self.add("Where", [self.add("IsNaN", [column]), self.number(-1.0), column])
            column = self.add("Min", [self.add("Max", [column, self.number(-1.0)]), self.number(top + 1.0)])
            codes = self.add("Cast", [column], to=self.types.INT64)
            places = self.add("Add", [codes, self.known([1])])
            parts.append(self.add("Gather", [self.known(table), places], axis=0))
        self.rows = parts[0] if len(parts) == 1 else self.add("Concat", parts, axis=1)

    def summed(self, trees: Sequence[Tree], targets: Sequence[int]) -> str:
        """What the leaves of the trees add up to, in their order, each for its target: [N, targets]."""
        return self._ensemble(trees, targets, [tree.values[:, 0] for tree in trees])

    def spread(self, trees: Sequence[Tree]) -> str:
        """The sum of what the leaves hold, which is a value for each class: [N, classes]."""
        width = max(1, _AT_ONCE // trees[0].values.shape[1])
        parts = [self._gathered(trees[n : n + width]) for n in range(0, len(trees), width)]
        return parts[0] if len(parts) == 1 else self.add("Sum", parts)

    def _gathered(self, trees: Sequence[Tree]) -> str:
        """Each tree tells the number of its leaf, by which the leaf's values are looked up."""
        begins = np.cumsum([0, *(len(tree.values) for tree in trees)])
        numbers = [np.arange(begin, begin + len(tree.values)) * 1.0 for begin, tree in zip(begins, trees, strict=False)]
        leaves = self._ensemble(trees, range(len(trees)), numbers)
        places = self.add("Cast", [leaves], to=self.types.INT64)
        values = self.add("Gather", [self.known(np.concatenate([tree.values for tree in trees])), places], axis=0)
        return self.add("ReduceSum", [values, self.known([1])], keepdims=0)

    def _ensemble(self, trees: Sequence[Tree], targets: Sequence[int], weights: Sequence[Any]) -> str:
        from onnx.numpy_helper import from_array

        inner = leaves = 0
        parts: dict[str, list[Any]] = {}
        for tree, target, weight in zip(trees, targets, weights, strict=True):
            for name, values in _attributes(tree, target, weight, inner, leaves).items():
                parts.setdefault(name, []).append(values)
            inner, leaves = inner + len(parts["nodes_splits"][-1]), leaves + int(tree.is_leaf.sum())
        whole = {name: np.concatenate(values) for name, values in parts.items()}
        tensors: dict[str, Any] = {
            "nodes_splits": whole.pop("nodes_splits").astype(self._dtype),
            "leaf_weights": whole.pop("leaf_weights").astype(self._dtype),
            "nodes_modes": np.zeros(inner, np.uint8),
        }
        return self.add(
            "TreeEnsemble", [self.rows], op_domain=_DOMAIN, op_version=1, n_targets=max(targets) + 1,
            aggregate_function=1, post_transform=0, **{name: values.tolist() for name, values in whole.items()},
            **{name: from_array(values) for name, values in tensors.items()},
        )  # fmt: skip

    def give_scores(self, scores: str) -> None:
        """Of what several classes scored, make the greatest one the label, and the scores the probabilities."""
        self.give_classes(self.add("ArgMax", [scores], axis=1, keepdims=0))
        self.give(1, scores)

    def both(self, second: str) -> str:
        """The probabilities of both classes: [N, 2] of [N, 1]."""
        first = self.add("Sub", [self.number(1.0), second])
        return self.add("Concat", [first, second], axis=1)

    def is_true(self, condition: str) -> None:
        """Make the second class the label where a condition [N, 1] holds."""
        whole = self.add("Cast", [condition], to=self.types.INT64)
        self.give_classes(self.add("Reshape", [whole, self.known([-1])]))


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


def declare(operator: Any) -> None:
    """Say of which types the outputs of another library's estimator are, as skl2onnx asks it."""
    from skl2onnx.common import data_types  # type: ignore[import-untyped]  # skl2onnx has no stubs

    classes = np.asarray(getattr(operator.raw_operator, "classes_", ()))
    *label, answers = operator.outputs
    for output in label:
        output.type = data_types.StringTensorType([None]) if are_texts(classes) else data_types.Int64TensorType([None])
    answers.type = data_types.DoubleTensorType([None, len(classes) or 1])


def settle(model: Any) -> None:
    """Let a finished graph say of which version its trees are, which skl2onnx 1.20 doesn't know."""
    if any(node.op_type == "TreeEnsemble" for node in model.graph.node):
        for each in model.opset_import:
            if each.domain == _DOMAIN:
                each.version = _VERSION

"""Boosted trees of LightGBM as nodes of ONNX, by doubles.

Invariant: a value goes at a split where LightGBM's `Tree::NumericalDecision` and `CategoricalDecision` send it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from mainspring.errors import CodecError
from mainspring.models.onnx_trees import Tree, Trees

_KINDS = ("LGBMRegressor", "LGBMClassifier", "LGBMRanker", "Booster")
_NOTHING = 1.0000000180025095e-35  # what is nearer to zero counts as zero: LightGBM's kZeroThreshold, a float
_MOST_CHOICES = 2_000  # each is a column of doubles
_SIDES = ("left_child", "right_child")
_EXPONENTIAL = ("poisson", "gamma", "tweedie")
_PLAIN = (
    "regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg",
)  # fmt: skip

Node = dict[str, Any]
Choice = tuple[int, frozenset[int]]


def converters() -> dict[type, Any]:
    """What makes nodes of each kind of estimator, in the way in which skl2onnx calls it; none while LightGBM isn't imported."""
    library = sys.modules.get("lightgbm")
    return {} if library is None else {getattr(library, name): _boosted for name in _KINDS}


def _boosted(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    told = getattr(model, "booster_", model).dump_model()
    nodes, width = Trees(scope, operator, container), told["num_tree_per_iteration"]
    columns = told["max_feature_idx"] + 1
    trees = [_walked(tree["tree_structure"]) for tree in told["tree_info"]]
    _hide_zeros(nodes, np.isin(np.arange(columns), _zero_is_missing(trees)))
    choices = sorted({_choice(node) for tree in trees for node in tree if _is_choice(node)}, key=lambda each: each[0])
    if len(choices) > _MOST_CHOICES:
        raise CodecError(f"The trees make {len(choices)} choices of categories; a graph holds at most {_MOST_CHOICES}.")
    nodes.widen(choices)
    places = {choice: columns + n for n, choice in enumerate(choices)}
    raw = nodes.summed([_tree(tree, places) for tree in trees], [n % width for n in range(len(trees))])
    if told["average_output"]:
        raw = nodes.add("Div", [raw, nodes.number(len(trees) / width)])
    answer = _transformed(nodes, raw, told.get("objective", "regression"))
    if len(operator.outputs) == 1:
        return nodes.give(0, answer)
    return nodes.give_scores(answer if width > 1 else nodes.both(answer))


def _hide_zeros(nodes: Trees, columns: Any) -> None:
    """Make missing in these columns what counts as zero."""
    if columns.any():
        near = nodes.add("LessOrEqual", [nodes.add("Abs", [nodes.rows]), nodes.number(_NOTHING)])
        hidden = nodes.add("And", [near, nodes.known(columns)])
        nodes.rows = nodes.add("Where", [hidden, nodes.number(math.nan), nodes.rows])


def _transformed(nodes: Trees, raw: str, objective: str) -> str:
    """What an objective makes of the sums."""
    name, *more = objective.split()
    said = dict(each.partition(":")[::2] for each in more)
    if name == "multiclass":
        return nodes.add("Softmax", [raw], axis=1)
    if name in ("binary", "multiclassova", "cross_entropy"):
        return nodes.add("Sigmoid", [nodes.add("Mul", [raw, nodes.number(float(said.get("sigmoid", 1.0)))])])
    if name in _EXPONENTIAL:
        return nodes.add("Exp", [raw])
    if name == "regression" and "sqrt" in said:
        return nodes.add("Mul", [raw, nodes.add("Abs", [raw])])
    if name in _PLAIN:
        return raw
    raise CodecError(f"The objective `{objective}` of LightGBM has no converter.")


def _zero_is_missing(trees: Sequence[list[Node]]) -> list[int]:
    """The columns in which zero counts as missing.

    Raises:
        CodecError: in some splits of a column it does, in others not.
    """
    kinds: dict[bool, set[int]] = {True: set(), False: set()}
    for node in (node for tree in trees for node in tree if node.get("decision_type") == "<="):
        kinds[node["missing_type"] == "Zero"].add(node["split_feature"])
    if kinds[True] & kinds[False]:
        raise CodecError("In some splits of a column zero counts as missing, in others not: that has no converter.")
    return sorted(kinds[True])


def _walked(tree: Node) -> list[Node]:
    """All nodes of a tree, each before those below it."""
    found = [tree]
    for node in found:
        found += [node[side] for side in _SIDES if side in node]
    return found


def _is_choice(node: Node) -> bool:
    return node.get("decision_type") == "=="


def _choice(node: Node) -> Choice:
    return node["split_feature"], frozenset(map(int, node["threshold"].split("||")))


def _tree(nodes: list[Node], choices: dict[Choice, int]) -> Tree:
    """`choices` are the columns that say whether a category is one of those that go left."""
    if any(node.get("leaf_features") for node in nodes):
        raise CodecError("Trees with linear models in their leaves have no converter.")
    places = {id(node): place for place, node in enumerate(nodes)}
    splits = [_split(node, places, choices) for node in nodes]
    left, right, feature, threshold, missing_left = map(np.array, zip(*splits, strict=True))
    values = np.array([[node.get("leaf_value", 0.0)] for node in nodes])
    return Tree(left, right, feature, threshold, missing_left, left < 0, values)


def _split(node: Node, places: dict[int, int], choices: dict[Choice, int]) -> tuple[int, int, int, float, bool]:
    if "leaf_value" in node:
        return -1, -1, 0, 0.0, False
    left, right = (places[id(node[side])] for side in _SIDES)
    if _is_choice(node):
        return right, left, choices[_choice(node)], 0.5, False
    threshold = _before_zeros(node["threshold"])
    # Where nothing was missing when the model was fitted, what is missing goes the way of zero.
    to_left = threshold >= 0.0 if node["missing_type"] == "None" else node["default_left"]
    return left, right, node["split_feature"], threshold, to_left


def _before_zeros(threshold: float) -> float:
    """A threshold by which all that counts as zero goes the way of zero."""
    if abs(threshold) > _NOTHING:
        return threshold
    return _NOTHING if threshold >= 0.0 else math.nextafter(-_NOTHING, -math.inf)

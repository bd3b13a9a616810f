"""Boosted trees of XGBoost as nodes of ONNX: all in 32 bits, in the order in which XGBoost adds.

The model is read from XGBoost's own JSON (https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html).
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from mainspring.errors import CodecError
from mainspring.models.onnx_trees import Tree, Trees, constant

_KINDS = ("XGBRegressor", "XGBClassifier", "XGBRFRegressor", "XGBRFClassifier", "XGBRanker")
_LOGISTIC = ("binary:logistic", "reg:logistic")
_EXPONENTIAL = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft")
_PLAIN = (
    "reg:squarederror", "reg:squaredlogerror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror",
    "binary:logitraw", "binary:hinge", "multi:softprob", "multi:softmax", "rank:pairwise", "rank:ndcg", "rank:map",
)  # fmt: skip


def converters() -> dict[type, Any]:
    """What makes nodes of each kind of estimator, in the way in which skl2onnx calls it; none while XGBoost isn't imported."""
    library = sys.modules.get("xgboost")
    return {} if library is None else {getattr(library, name): _boosted for name in _KINDS}


def _boosted(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    learner = json.loads(bytes(model.get_booster().save_raw("json")))["learner"]
    nodes = Trees(scope, operator, container, floats=True)
    if not math.isnan(model.missing):
        absent = nodes.add("Equal", [nodes.rows, nodes.number(model.missing)])
        nodes.rows = nodes.add("Where", [absent, nodes.number(math.nan), nodes.rows])
    trees, targets = _trees(learner["gradient_booster"], learner["attributes"].get("best_iteration"))
    begins, objective = _begins(learner), learner["objective"]["name"]
    raw = nodes.summed([*map(constant, begins), *trees], [*range(len(begins)), *targets])
    if objective in _EXPONENTIAL:
        raw = nodes.add("Exp", [raw])
    elif objective in _LOGISTIC:
        raw = nodes.add("Sigmoid", [raw])
    if len(operator.outputs) == 1:
        return nodes.give(0, _turned(nodes, raw) if objective == "binary:hinge" else raw)
    if len(begins) > 1:
        return nodes.give_scores(nodes.add("Softmax", [raw], axis=1))
    if objective == "binary:hinge":
        raw = _turned(nodes, raw)
    nodes.is_true(nodes.add("Greater", [raw, nodes.number(0.5)]))
    return nodes.give(1, nodes.both(raw))


def _turned(nodes: Trees, raw: str) -> str:
    """One where it is above zero, else nothing."""
    return nodes.add("Cast", [nodes.add("Greater", [raw, nodes.number(0.0)])], to=nodes.types.FLOAT)


def _begins(learner: dict[str, Any]) -> Sequence[float]:
    """What is added up before the trees, for each class: the base score before the objective's transformation."""
    model, objective = learner["learner_model_param"], learner["objective"]["name"]
    if int(model["num_target"]) != 1:
        raise CodecError("Trees with several outputs have no converter.")
    if objective not in (*_LOGISTIC, *_EXPONENTIAL, *_PLAIN):
        raise CodecError(f"The objective `{objective}` of XGBoost has no converter.")
    width = max(1, int(model["num_class"]))
    scores = np.broadcast_to(np.ravel(json.loads(model["base_score"])).astype(np.float32), (width,))
    with np.errstate(divide="ignore"):
        if objective in _LOGISTIC:
            scores = -np.log(np.float32(1) / scores - np.float32(1))
        elif objective in _EXPONENTIAL:
            scores = np.log(scores)
    found: Sequence[float] = scores.tolist()
    return found


def _trees(booster: dict[str, Any], best: str | None) -> tuple[list[Tree], list[int]]:
    """The trees of the rounds by which a model answers, and for which class each adds.

    Raises:
        CodecError: they are no trees, or split by categories.
    """
    if booster["name"] not in ("gbtree", "dart"):
        raise CodecError(
            f"Boosting of the kind `{booster['name']}` has no converter; that of trees (gbtree, dart) has one."
        )
    model = booster.get("gbtree", booster)["model"]
    count = len(model["trees"]) if best is None else model["iteration_indptr"][int(best) + 1]
    weights = booster.get("weight_drop", [1.0] * count)
    trees = [_tree(tree, weight) for tree, weight in zip(model["trees"][:count], weights, strict=False)]
    return trees, model["tree_info"][:count]


def _tree(given: dict[str, Any], weight: float) -> Tree:
    if any(given["split_type"]):
        raise CodecError("Boosting over categories has no converter: encode them before it (OrdinalEncoder).")
    left, right = np.array(given["left_children"]), np.array(given["right_children"])
    conditions = np.array(given["split_conditions"], np.float32)
    at_most = np.nextafter(conditions, np.float32(-np.inf))  # a value goes left that is below the condition
    values = np.float32(weight) * conditions[:, None]
    return Tree(
        left, right, np.array(given["split_indices"]), at_most, np.array(given["default_left"]), left < 0, values
    )

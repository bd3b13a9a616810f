"""The graphs of boosted trees go the way of their libraries at every split, also with what is missing, tiny or huge."""

from __future__ import annotations

import math
from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mainspring.errors import CodecError, InvalidError
from mainspring.models import Field, Output, Predictor, Signature
from mainspring.models.onnx_conversion import attempts
from mainspring.models.probes import beside
from tests.models.onnx_rows import answers_alike, scores

pytestmark = pytest.mark.one_backend("nothing is stored")
NUMBER, BOTH, THREE = Output("number"), Output("probability", (0, 1)), Output("probabilities", (0, 1, 2))
X: dict[str, Any] = {"n_estimators": 5, "max_depth": 3, "n_jobs": 1}
L: dict[str, Any] = {"n_estimators": 5, "num_leaves": 6, "n_jobs": 1, "verbose": -1}
_FEW: dict[str, Any] = {"num_leaves": 6, "num_threads": 1, "verbose": -1}
HALF: dict[str, Any] = {"bagging_freq": 1, "bagging_fraction": 0.5, "bagging_seed": 0}
REGRESSORS = {
    "xgboost": xgboost.XGBRegressor(**X), "xgboost forest": xgboost.XGBRFRegressor(**X),
    "xgboost dart": xgboost.XGBRegressor(**X, booster="dart", rate_drop=0.5),
    "xgboost counts": xgboost.XGBRegressor(**X, objective="count:poisson"),
    "xgboost from 0.3": xgboost.XGBRegressor(**X, base_score=0.3, objective="reg:gamma"),
    "xgboost without zero": xgboost.XGBRegressor(**X, missing=0.0),
    "lightgbm": lightgbm.LGBMRegressor(**L), "lightgbm dart": lightgbm.LGBMRegressor(**L, boosting_type="dart"),
    "lightgbm counts": lightgbm.LGBMRegressor(**L, objective="poisson"),
    "lightgbm roots": lightgbm.LGBMRegressor(**L, reg_sqrt=True),
    "lightgbm without zero": lightgbm.LGBMRegressor(**L, zero_as_missing=True),
    "lightgbm with nothing missing": lightgbm.LGBMRegressor(**L, use_missing=False),
    "lightgbm constant": lightgbm.LGBMRegressor(**L, min_child_samples=1_000),
}  # fmt: skip
CLASSIFIERS = {
    "xgboost": xgboost.XGBClassifier(**X), "xgboost forest": xgboost.XGBRFClassifier(**X),
    "scaled xgboost": make_pipeline(StandardScaler(), xgboost.XGBClassifier(**X)),
    "lightgbm": lightgbm.LGBMClassifier(**L),
    "lightgbm forest": lightgbm.LGBMClassifier(**L, **HALF, boosting_type="rf"),
    "scaled lightgbm": make_pipeline(StandardScaler(), lightgbm.LGBMClassifier(**L)),
}  # fmt: skip


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_give_the_models_numbers(name: str) -> None:
    answers_alike(REGRESSORS[name], NUMBER, np.maximum(scores(), 0.1), holes=True)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_give_the_models_probabilities(name: str) -> None:
    answers_alike(CLASSIFIERS[name], BOTH, (scores() > 1.1).astype(int), holes=True)


@pytest.mark.parametrize(
    "model",
    [
        xgboost.XGBClassifier(**X), xgboost.XGBClassifier(**X, objective="multi:softmax"),
        lightgbm.LGBMClassifier(**L), lightgbm.LGBMClassifier(**L, objective="multiclassova"),
    ],
    ids=["xgboost", "xgboost of labels", "lightgbm", "lightgbm one against all"],
)  # fmt: skip
def test_several_classes_and_their_labels_are_the_models(model: Any) -> None:
    thirds = pd.qcut(scores(), 3, labels=False)
    answers_alike(model, THREE, thirds, holes=True)
    answers_alike(model, Output("label", (0, 1, 2)), thirds)


@pytest.mark.parametrize("classes", [("no", "yes"), ("a", "b", "ü")])
@pytest.mark.parametrize("output", ["shares", "label"])
@pytest.mark.parametrize(
    "model",
    [
        lightgbm.LGBMClassifier(**L), make_pipeline(StandardScaler(), lightgbm.LGBMClassifier(**L)),
        make_pipeline(StandardScaler(), GradientBoostingClassifier(n_estimators=3, max_depth=2)),
    ],
    ids=["lightgbm", "scaled lightgbm", "scaled scikit-learn"],
)  # fmt: skip
def test_classes_may_be_texts(model: Any, output: str, classes: tuple[str, ...]) -> None:
    target = np.array(classes)[pd.qcut(scores(), len(classes), labels=False)]
    shares = Output("probability" if len(classes) == 2 else "probabilities", classes)
    answers_alike(model, shares if output == "shares" else Output("label", classes), target)


def test_labels_of_two_classes_turn_where_the_models_do() -> None:
    label, target = Output("label", (0, 1)), (scores() > 1.1).astype(int)
    answers_alike(xgboost.XGBClassifier(**X, objective="binary:hinge"), label, target)
    answers_alike(lightgbm.LGBMClassifier(**L), label, target)


Case = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], list[float]]
_ODD = [math.nan, 0.0, -0.0, 1e-300, 1e-35, -1e-35, 1e-45, 0.1, 1.0, 16_777_217.0, -1e30, 3e38]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A table of few values, so that trees split between odd ones, its target, and values to ask for."""
    values = draw(st.lists(st.sampled_from(_ODD) | st.floats(-1e3, 1e3), min_size=3, max_size=8))
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    table = random.choice(np.array(values), (60, 2))
    target = (random.random(60) + np.nan_to_num(table[:, 0] > np.median(np.nan_to_num(table[:, 0])))).round(3)
    return table, target, [each for value in values if not math.isnan(value) for each in beside(value)]


def graph_answers_alike(model: Any, table: np.ndarray[Any, Any], rtol: float = 1e-6) -> None:
    """The first graph gives the model's numbers, for one row and for many."""
    signature = Signature((Field("a", "f64", nullable=True), Field("b", "f64", nullable=True)))
    _, kind, convert = next(iter(attempts(model, signature, "numpy")))
    graph = Predictor(convert(), signature, kind)
    rows = [{"a": None if a != a else a, "b": None if b != b else b} for a, b in table.tolist()]
    expected = model.predict(table)
    assert graph(rows) == pytest.approx(expected, rel=rtol, abs=1e-7)
    assert graph(rows[:1]) == pytest.approx(expected[:1], rel=rtol, abs=1e-7)


def asked(values: list[float], limit: float) -> np.ndarray[Any, Any]:
    usable = [value for value in values if abs(value) <= limit]
    return np.array([(a, b) for a in (*usable, math.nan) for b in (0.1, math.nan)])


@settings(max_examples=25, deadline=None)
@given(cases(), st.sampled_from([math.nan, 0.0, 1.0]), st.sampled_from([None, 0.2]), st.integers(1, 3))
def test_any_xgboost_answers_alike(case: Case, missing: float, base: float | None, parallel: int) -> None:
    table, target, values = case
    model = xgboost.XGBRegressor(
        **X, missing=missing, base_score=base, num_parallel_tree=parallel, min_child_weight=0, reg_lambda=0.1
    )
    graph_answers_alike(model.fit(table, target), asked(values, 3e38))


@settings(max_examples=25, deadline=None)
@given(cases(), st.booleans(), st.booleans(), st.booleans())
def test_any_lightgbm_answers_alike(case: Case, zero: bool, use: bool, booster: bool) -> None:
    table, target, values = case
    model = lightgbm.LGBMRegressor(**L, zero_as_missing=zero, use_missing=use, min_child_samples=1, min_data_in_bin=1)
    model.fit(table, target)
    graph_answers_alike(model.booster_ if booster else model, asked(values, math.inf))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 40))
def test_categories_of_lightgbm_are_told_apart_by_their_whole_part(seed: int, codes: int) -> None:
    random = np.random.default_rng(seed)
    table = np.stack([random.integers(0, codes, 200) * 1.0, random.normal(size=200)], axis=1)
    table[:5, 0] = math.nan
    target = random.normal(size=codes)[np.nan_to_num(table[:, 0]).astype(int)] + table[:, 1] / 5
    model = lightgbm.LGBMRegressor(**L, min_data_per_group=1, cat_smooth=0, max_cat_to_onehot=1, min_child_samples=1)
    model.fit(table, target, categorical_feature=[0])
    odd = [math.nan, -1.0, -0.5, -0.0, 0.5, 0.999, codes - 1.0, codes - 0.5, codes, codes + 31.0, 1e9, -1e9]
    graph_answers_alike(model, np.array([(a, 0.1) for a in (*range(codes), *odd)]))


def test_the_rounds_up_to_the_best_answer() -> None:
    random = np.random.default_rng(0)
    table, target = random.normal(size=(80, 2)), random.normal(size=80)
    held = (random.normal(size=(20, 2)), random.normal(size=20))
    stopped = xgboost.XGBRegressor(n_estimators=30, early_stopping_rounds=3, n_jobs=1)
    stopped.fit(table, target, eval_set=[held], verbose=False)
    assert stopped.best_iteration + 1 < stopped.get_booster().num_boosted_rounds()
    graph_answers_alike(stopped, table)
    train, other = lightgbm.Dataset(table, target), lightgbm.Dataset(*held)
    stop = lightgbm.early_stopping(3, verbose=False)
    again = lightgbm.train(
        {**_FEW, "min_child_samples": 2}, train, 30, [other], callbacks=[stop], keep_training_booster=True
    )
    assert again.best_iteration < again.num_trees()
    graph_answers_alike(again, table)


def test_what_has_no_graph_is_refused_by_its_name() -> None:
    random = np.random.default_rng(0)
    table, target = random.normal(size=(80, 2)), random.normal(size=80)
    codes = np.stack([random.integers(0, 9, 80) * 1.0, table[:, 1]], axis=1)
    category: dict[str, Any] = {"feature_types": ["c", "q"], "enable_categorical": True, "max_cat_to_onehot": 1}
    refused: dict[str, Any] = {
        "kind `gblinear`": xgboost.XGBRegressor(n_estimators=2, n_jobs=1, booster="gblinear"),
        "over categories": xgboost.XGBRegressor(**X, **category),
        "linear models in their leaves": lightgbm.LGBMRegressor(**L, linear_tree=True, min_child_samples=2),
        "`cross_entropy_lambda`": lightgbm.LGBMRegressor(**L, objective="cross_entropy_lambda"),
    }
    for said, model in refused.items():
        with pytest.raises(CodecError, match=said):
            graph_answers_alike(model.fit(codes, (target + codes[:, 0] % 3 > 1) * 1.0), table)


def test_the_graphs_of_catboost_are_held_to_the_model_too() -> None:
    few: dict[str, Any] = {
        "iterations": 5,
        "depth": 3,
        "verbose": False,
        "thread_count": 1,
        "allow_writing_files": False,
    }
    thirds = pd.qcut(scores(), 3, labels=False)
    answers_alike(catboost.CatBoostRegressor(**few), NUMBER, scores(), holes=True, forms=("CatBoost's own",))
    answers_alike(catboost.CatBoostClassifier(**few), THREE, thirds, holes=True, forms=("CatBoost's own",))
    with pytest.raises(InvalidError, match="is not the model's answer within"):  # it leaves out the exponential
        answers_alike(catboost.CatBoostRegressor(**few, loss_function="Poisson"), NUMBER, np.maximum(scores(), 0.1))
    with pytest.raises(InvalidError, match=r"The graph is of 32 bits.* which atol=\S+ would allow"):
        answers_alike(catboost.CatBoostRegressor(**few | {"iterations": 100}), NUMBER, (scores() - 1) * 1e4)
    with pytest.raises(CodecError, match=r"CatBoost can't export the model: .*non symmetric trees"):
        answers_alike(catboost.CatBoostRegressor(**few, grow_policy="Depthwise"), NUMBER, scores())

"""The graph of a scikit-learn model answers fresh rows as the model does, also beside every split, or it is not kept."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import ensemble, tree
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, PowerTransformer, StandardScaler

from mainspring.errors import InvalidError
from mainspring.models import Output, Predictor, Signature
from mainspring.models.onnx_export import _converted
from mainspring.models.onnx_trees import before_rounding
from mainspring.models.parity import Parity
from mainspring.models.probes import _beside_jumps, probes
from tests.models.onnx_rows import NUMBERS, answers_alike, records_of, scores, table

pytestmark = pytest.mark.one_backend("nothing is stored")
SCALED = StandardScaler()


FEW: dict[str, Any] = {"random_state": 0}
ENCODED = (OneHotEncoder(handle_unknown="ignore"), ["cat"])
PASSED = make_column_transformer(("passthrough", NUMBERS), ENCODED)
MIXED = make_column_transformer((StandardScaler(), NUMBERS), ENCODED, ("passthrough", ["flag"]))
FILLED = make_column_transformer(
    (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), NUMBERS),
    (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["cat"]),
)
COMMON, SAID = SimpleImputer(strategy="most_frequent"), SimpleImputer(strategy="constant", fill_value="none")
FILLED_TEXTS, SAID_TEXTS = (
    make_column_transformer((SimpleImputer(), NUMBERS), (make_pipeline(fills, ENCODED[0]), ["cat"]))
    for fills in (COMMON, SAID)
)
FOREST = ensemble.RandomForestClassifier(3, **FEW)
HISTOGRAM = ensemble.HistGradientBoostingClassifier(max_iter=4)
GRADIENT = ensemble.GradientBoostingClassifier(n_estimators=5)
CLASSIFIERS = {
    "forest": FOREST, "extra trees": ensemble.ExtraTreesClassifier(3, **FEW), "tree": tree.DecisionTreeClassifier(**FEW),
    "gradient": GRADIENT,
    "histogram": HISTOGRAM, "scaled forest": make_pipeline(StandardScaler(), FOREST),
    "scaled gradient": make_pipeline(StandardScaler(), GRADIENT),
    "scaled histogram": make_pipeline(StandardScaler(), HISTOGRAM), "linear": LogisticRegression(),
    "network": make_pipeline(StandardScaler(), MLPClassifier((4,), max_iter=5, **FEW)),
    "bagged": ensemble.BaggingClassifier(tree.DecisionTreeClassifier(), 3, **FEW),
    "mixed forest": make_pipeline(MIXED, FOREST), "passed forest": make_pipeline(PASSED, FOREST),
    "passed histogram": make_pipeline(PASSED, HISTOGRAM),
    "filled texts": make_pipeline(FILLED_TEXTS, LogisticRegression()),
    "said texts": make_pipeline(SAID_TEXTS, LogisticRegression()),
}  # fmt: skip
REGRESSORS = {
    "forest": ensemble.RandomForestRegressor(3, **FEW), "extra trees": ensemble.ExtraTreesRegressor(3, **FEW),
    "tree": tree.DecisionTreeRegressor(**FEW), "gradient": ensemble.GradientBoostingRegressor(n_estimators=5),
    "histogram": ensemble.HistGradientBoostingRegressor(max_iter=4), "linear": LinearRegression(),
    "counts": ensemble.HistGradientBoostingRegressor(max_iter=4, loss="poisson"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_give_the_models_probabilities(name: str) -> None:
    answers_alike(CLASSIFIERS[name], Output("probability", (0, 1)), scores() > 1.1)


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_give_the_models_numbers(name: str) -> None:
    answers_alike(REGRESSORS[name], Output("number"), np.maximum(scores(), 0))


@pytest.mark.parametrize("model", [FOREST, GRADIENT, HISTOGRAM], ids=["forest", "gradient", "histogram"])
def test_several_classes_and_their_labels_are_the_models(model: Any) -> None:
    thirds = np.array(["low", "mid", "up"])[pd.qcut(scores(), 3, labels=False)]
    if model is FOREST:
        answers_alike(model, Output("probabilities", ("low", "mid", "up")), thirds)
    answers_alike(model, Output("label", ("low", "mid", "up")), thirds)


@pytest.mark.parametrize(
    "model", [FOREST, HISTOGRAM, make_pipeline(FILLED, FOREST)], ids=["forest", "histogram", "filled"]
)
def test_what_is_missing_goes_the_models_way(model: Any) -> None:
    answers_alike(model, Output("probability", (0, 1)), scores() > 1.1, holes=True)


@pytest.mark.parametrize("short", [["amount"], NUMBERS], ids=["one", "all"])
@pytest.mark.parametrize("model", [FOREST, HISTOGRAM], ids=["forest", "histogram"])
def test_columns_of_32_bits_are_rounded_as_the_table_rounds_them(model: Any, short: list[str]) -> None:
    answers_alike(
        model, Output("probability", (0, 1)), scores() > 1.1, holes=True, short=short, forms=("numpy of doubles",)
    )


CODES = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
UNKNOWN = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)


@pytest.mark.filterwarnings("ignore:Found unknown categories")
@pytest.mark.parametrize("holes", [False, True], ids=["whole", "with holes"])
@pytest.mark.parametrize(
    "encoder",
    [OneHotEncoder(handle_unknown="ignore"), OneHotEncoder(drop="first", handle_unknown="ignore"), CODES, UNKNOWN],
    ids=["one-hot", "one left out", "codes", "unknown as missing"],
)
def test_encoders_of_numbers_tell_apart_what_is_no_whole_number(encoder: Any, holes: bool) -> None:
    """The column `income` has one decimal, and the probes any: half a category is none."""
    model = make_pipeline(make_column_transformer((encoder, ["income"]), ("passthrough", ["age", "amount"])), HISTOGRAM)
    if hasattr(encoder, "sparse_output"):
        encoder.set_params(sparse_output=False)
    answers_alike(model, Output("probability", (0, 1)), scores() > 1.1, holes=holes)


@pytest.mark.parametrize(
    "model", [LogisticRegression(), HISTOGRAM, make_pipeline(StandardScaler(), FOREST)],
    ids=["linear", "histogram", "scaled forest"],
)  # fmt: skip
def test_labels_may_be_false_and_true(model: Any) -> None:
    answers_alike(model, Output("label", (False, True)), scores() > 1.1)


def test_what_cannot_be_made_equal_is_refused_with_the_row() -> None:
    """The converter takes the power of a column by 32 bits, and the forest behind it sees that."""
    model = make_pipeline(PowerTransformer(), ensemble.RandomForestRegressor(3, **FEW))
    with pytest.raises(InvalidError, match=r"in a made-up row.* The row is \{'age': "):
        answers_alike(model, Output("number"), scores())


@pytest.mark.parametrize("first", [ENCODED[0], make_pipeline(COMMON, ENCODED[0])], ids=["encoded", "filled"])
def test_a_text_that_may_be_null_is_refused_with_what_to_do(first: Any) -> None:
    given = table(0).assign(cat=lambda rows: rows["cat"].where(rows["age"] > 30, None))
    columns = make_column_transformer((first, ["cat"]), ("passthrough", ["age"]))
    model = make_pipeline(columns, LogisticRegression()).fit(given[["cat", "age"]], scores() > 1.1)
    native = Predictor(model, Signature.infer(given[["cat", "age"]], output=Output("probability", (0, 1))), "pandas")
    rows = records_of(given[["cat", "age"]])
    with pytest.raises(
        InvalidError, match="no null among texts: give `cat` a text for what is missing before the model"
    ):
        _converted(model, native, Parity(rows, native(rows), len(rows), 1e-5, 1e-6))


def test_a_value_rounds_to_at_most_the_threshold_up_to_the_double_that_stands_for_it() -> None:
    random = np.random.default_rng(0)
    given = np.concatenate([random.normal(size=500), random.normal(size=50).astype("f4"), [0.0, 1e-40, 3e38, 0.1]])
    found = before_rounding(given)
    assert (found.astype(np.float32) <= given).all()
    assert (np.nextafter(found, math.inf).astype(np.float32) > given).all()
    assert before_rounding(np.array([math.inf]))[0] == math.inf


def test_probes_stand_on_both_sides_of_a_split_behind_other_steps() -> None:
    model = make_pipeline(StandardScaler(), tree.DecisionTreeRegressor()).fit([[0.0], [1.0]], [0.0, 1.0])
    native = Predictor(model, Signature.infer(pd.DataFrame({"a": [0.0]})), "numpy")
    rows = [{"a": n / 7} for n in range(8)]
    found = sorted(row["a"] for row in _beside_jumps(native, rows, native(rows), Random(0)))
    below = max(value for value in found if native([{"a": value}]) == [0.0])
    above = min(value for value in found if native([{"a": value}]) == [1.0])
    assert math.nextafter(below, math.inf) == above


def test_probes_are_the_same_again_and_hold_unknown_texts_nulls_and_every_category() -> None:
    given = table(0, holes=True)
    model = make_pipeline(FILLED, FOREST).fit(given, scores() > 1.1)
    native = Predictor(model, Signature.infer(given, output=Output("probability", (0, 1))), "pandas")
    one = records_of(given[:1])
    made, answers = probes(model, native, one)
    assert (made, answers) == probes(model, native, one)
    assert {"x", "y", "z", "never seen before"} <= {row["cat"] for row in made}
    assert {True, False} == {row["flag"] for row in made}
    assert any(row["income"] is None for row in made)
    assert all(type(row["age"]) is int for row in made)

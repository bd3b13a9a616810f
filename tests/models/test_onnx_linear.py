"""Labels of linear classifiers and support vector machines turn in a graph where the model's do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import linear_model, svm
from sklearn.compose import make_column_transformer
from sklearn.ensemble import VotingClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mainspring.errors import CodecError
from mainspring.models import Output
from tests.models.onnx_rows import NUMBERS, answers_alike, scores

pytestmark = pytest.mark.one_backend("no graph is stored")
LATE = (scores() > 1.1).astype(int)
THIRDS = np.array(["low", "mid", "up"])[pd.qcut(scores(), 3, labels=False)]
TWO, THREE = Output("label", (0, 1)), Output("label", ("low", "mid", "up"))
SCALED = StandardScaler()


def spread(model: Any, *, first: bool = False, **more: Any) -> Any:
    """A model behind columns of texts and numbers, the texts first or last."""
    texts = (OneHotEncoder(**more), ["cat"])
    if first:
        return make_pipeline(make_column_transformer(texts, remainder="passthrough"), model)
    return make_pipeline(make_column_transformer((StandardScaler(), NUMBERS), texts), model)


@pytest.mark.parametrize("model", [
    linear_model.RidgeClassifier(), make_pipeline(SCALED, svm.LinearSVC()), make_pipeline(SCALED, svm.SVC()),
    spread(linear_model.SGDClassifier(random_state=0), handle_unknown="ignore"),
    spread(linear_model.LogisticRegression(max_iter=2_000), first=True), spread(GaussianNB(), first=True),
], ids=["ridge", "linear vectors", "vectors", "descent", "logistic behind texts", "Bayes behind texts"])  # fmt: skip
def test_labels_of_two_classes_are_the_models(model: Any) -> None:
    answers_alike(model, TWO, LATE)


@pytest.mark.parametrize("model", [
    linear_model.Perceptron(), svm.SVC(), svm.NuSVC(kernel="poly", nu=0.2),
], ids=["perceptron", "vectors", "polynomials"])  # fmt: skip
def test_labels_of_several_classes_are_the_models(model: Any) -> None:
    answers_alike(make_pipeline(SCALED, model), THREE, THIRDS)


def test_probabilities_by_descent_are_the_models() -> None:
    model = make_pipeline(SCALED, linear_model.SGDClassifier(loss="log_loss", random_state=0))
    # A sum over three classes rounds by where its row lies in memory.
    answers_alike(model, Output("probabilities", ("low", "mid", "up")), THIRDS, sizes=[2])


def test_numbers_of_vectors_are_the_models() -> None:
    answers_alike(make_pipeline(SCALED, svm.SVR()), Output("number"), scores())


class Own(linear_model.LogisticRegression):  # type: ignore[misc]  # scikit-learn has no types
    """A kind that the converter doesn't know."""


def test_what_has_no_graph_is_named() -> None:
    """The converter's own words don't say of what they are."""
    model = VotingClassifier([("one", linear_model.LogisticRegression())], voting="soft")
    with pytest.raises(CodecError, match="skl2onnx has no graph of `VotingClassifier`: flatten_transform==True"):
        answers_alike(make_pipeline(SCALED, model), Output("probability", (0, 1)), LATE)
    with pytest.raises(CodecError, match=r"skl2onnx has no graph of `\w+`: .*Own"):
        answers_alike(make_pipeline(SCALED, Own()), Output("label", (0, 1)), LATE)

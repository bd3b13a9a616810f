"""What is told when a model is registered that would answer otherwise than it was meant to, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from mainspring.errors import CodecError, InvalidError
from mainspring.models import Field, InTraining, Output, Predictor, Signature, load_model, register
from mainspring.models.registration import output_of
from mainspring.workspace import Workspace

pytestmark = pytest.mark.one_backend("the registry's stores have their own suites on both")
TABLE = pd.DataFrame({"a": np.arange(40.0), "k": pd.Categorical(["x", "y"] * 20)})
LATE = np.array([0, 1, 0, 0, 1] * 8)


def xgboost(**more: Any) -> Any:
    import xgboost as library

    return library.XGBClassifier(n_estimators=2, n_jobs=1, **more)


def lightgbm() -> Any:
    import lightgbm as library

    return library.LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1)


@pytest.mark.parametrize("made", [lambda: xgboost(enable_categorical=True), lightgbm], ids=["xgboost", "lightgbm"])
def test_categories_of_pandas_are_refused_by_their_column_where_a_model_gets_none(
    made: Callable[[], Any], workspace: Workspace
) -> None:
    model = made().fit(TABLE, LATE)
    for more in ({}, {"input_example": TABLE[:2]}):
        with pytest.raises(InvalidError, match=r"signature\.k: .*numbers or booleans.*their codes"):
            register(model, "late", signature=TABLE, **more)
    codes = TABLE.assign(k=TABLE["k"].cat.codes)
    register(made().fit(codes, LATE), "late", signature=codes)


AROUND: dict[str, Callable[[Any], Any]] = {
    "alone": lambda model: model,
    "pipeline": lambda model: make_pipeline("passthrough", model),
    "calibrated": lambda model: CalibratedClassifierCV(model, cv=2),
    "voting": lambda model: VotingClassifier([("a", model)]),
    "search": lambda model: GridSearchCV(model, {"n_estimators": [1, 2]}, cv=2),
}


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("made", [lambda: xgboost(enable_categorical=True), lightgbm], ids=["xgboost", "lightgbm"])
@pytest.mark.parametrize("values", ["texts", "numbers"])
def test_categories_that_reach_a_model_inside_an_estimator_are_refused_by_their_column(
    made: Callable[[], Any], around: str, values: str, workspace: Workspace
) -> None:
    codes = TABLE["k"].cat.codes
    table = TABLE if values == "texts" else TABLE.assign(k=codes.map(lambda code: code * 10 + 5).astype("category"))
    model = AROUND[around](made()).fit(table, LATE)
    told = r"^signature\.k: .*their codes" if values == "texts" or "XGB" in repr(model) else "their codes"
    for more in ({}, {"input_example": table[:2]}):
        with pytest.raises(InvalidError, match=told):
            register(model, "late", signature=table, workspace=workspace, **more)
    plain = TABLE.assign(k=codes)
    register(AROUND[around](made()).fit(plain, LATE), "late", signature=plain, workspace=workspace)


def as_categories(rows: Any) -> Any:
    return rows.assign(k=rows["k"].astype(str).astype("category"))


def test_categories_that_a_pipeline_makes_itself_are_no_reason_to_refuse(workspace: Workspace) -> None:
    model = make_pipeline(FunctionTransformer(as_categories), lightgbm()).fit(TABLE, LATE)
    assert register(model, "late", signature=TABLE, workspace=workspace, pickled=True).number == 1


def test_catboost_is_handed_categories_as_texts(workspace: Workspace) -> None:
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(iterations=2, verbose=False, allow_writing_files=False, cat_features=["k"])
    version = register(model.fit(TABLE, LATE), "late", signature=TABLE, workspace=workspace)
    assert version.input_kind == "pandas"
    table = pl.from_pandas(TABLE)
    for given in ({"signature": table}, {"signature": version.signature}, {"signature": TABLE, "input_example": table}):
        other = register(model, "late", workspace=workspace, **given)
        assert other.input_kind == "pandas"
        asked = TABLE.astype({"k": str}).to_dict("records")
        answers = [Predictor.load(each, workspace.blobs)(asked) for each in (other, version)]
        assert answers[0] == answers[1]
    array = TABLE[["a", "k"]].to_numpy(dtype=object)
    numbered = CatBoostClassifier(iterations=2, verbose=False, allow_writing_files=False, cat_features=[1])
    assert register(numbered.fit(array, LATE), "numbered", signature=TABLE[["a", "k"]], workspace=workspace).number == 1
    inside = CalibratedClassifierCV(CatBoostClassifier(iterations=2, verbose=False, allow_writing_files=False), cv=2)
    table = TABLE[["a"]]
    assert register(inside.fit(table, LATE), "inside", signature=table, workspace=workspace).number == 1


def with_twice(rows: Any) -> Any:
    return rows.with_columns(b=pl.col("a") * 2)


def test_catboosts_own_class_loads_and_a_pipeline_of_polars_around_it_is_handed_polars(workspace: Workspace) -> None:
    from catboost import CatBoost, CatBoostClassifier

    quiet: dict[str, Any] = {"iterations": 2, "verbose": False, "allow_writing_files": False}
    own = CatBoost({"loss_function": "Logloss", **quiet}).fit(TABLE[["a"]], LATE)
    version = register(own, "own", signature=TABLE[["a"]], workspace=workspace)
    np.testing.assert_array_equal(load_model(version, workspace).predict(TABLE[["a"]]), own.predict(TABLE[["a"]]))
    table = pl.DataFrame({"a": TABLE["a"].to_list(), "k": TABLE["k"].astype(str).to_list()})
    around = make_pipeline(FunctionTransformer(with_twice), CatBoostClassifier(cat_features=["k"], **quiet)).fit(
        table, LATE
    )
    assert register(around, "around", signature=table, workspace=workspace, pickled=True).input_kind == "polars"


def test_what_a_model_does_not_answer_is_told_of_what_was_given(workspace: Workspace) -> None:
    model = LogisticRegression().fit(TABLE[["a"]], LATE)
    for given in ("signature", "input_example"):
        with pytest.raises(InvalidError, match=rf"^{given}: "):
            register(model, "late", workspace=workspace, **{given: TABLE})


@pytest.mark.parametrize("around", ["alone", "pipeline"])
def test_several_labels_of_xgboost_are_refused_under_a_signature_without_an_output(
    around: str, workspace: Workspace
) -> None:
    takes, table = Signature((Field("a", "f64"),)), TABLE[["a"]]
    model = AROUND[around](xgboost()).fit(table, np.stack([LATE, 1 - LATE], axis=1))
    with pytest.raises(InvalidError, match="egister a model for each"):
        register(model, "several", signature=takes, workspace=workspace)
    one = AROUND[around](xgboost()).fit(table, LATE)
    assert register(one, "one", signature=takes, workspace=workspace).number == 1


LAYERS = """
from torch import nn

class Layers(nn.Module):
    def __init__(self, last):
        super().__init__()
        self.last = last
        self.layers = nn.Sequential(nn.Linear(1, 2), nn.Dropout(0.5) if last else nn.ReLU())

    def predict(self, rows):
        raise NotImplementedError
"""


def test_a_module_whose_dropout_is_left_in_training_is_warned_of(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    (workspace.project.root / "training_layers.py").write_text(LAYERS)
    monkeypatch.chdir(workspace.project.root)
    monkeypatch.syspath_prepend(str(workspace.project.root))
    layers, signature = import_module("training_layers").Layers, Signature((Field("a", "f64"),))
    register(layers(False), "plain", signature=signature, input_kind="numpy")
    register(layers(True).eval(), "done", signature=signature, input_kind="numpy")
    assert not [each for each in recwarn if each.category is InTraining]
    with pytest.warns(InTraining, match=r"`late` is registered in training mode.*model\.eval\(\)"):
        register(layers(True), "late", signature=signature, input_kind="numpy")


class Listing:
    """A classifier that keeps its classes as a list."""

    classes_ = ["early", "late"]  # noqa: RUF012  # as an estimator has it

    def predict(self, rows: Any) -> Any:
        return np.array(self.classes_)[(np.asarray(rows)[:, 0] > 0).astype(int)]


def test_classes_may_be_a_list() -> None:
    assert output_of(Listing()) == Output("label", ("early", "late"))
    assert output_of(LogisticRegression().fit([[0.0], [1.0]], [False, True])) == Output("probability", (False, True))


MULTI_LABEL: dict[str, Callable[[], Any]] = {
    "chain": lambda: ClassifierChain(LogisticRegression()),
    "each": lambda: MultiOutputClassifier(LogisticRegression()),
    "one against the rest": lambda: OneVsRestClassifier(LogisticRegression()),
    "pipeline": lambda: make_pipeline(OneVsRestClassifier(LogisticRegression())),
    "forest": lambda: RandomForestClassifier(2),
    "network": lambda: MLPClassifier((2,), max_iter=2),
}


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("name", MULTI_LABEL)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_classifier_of_several_labels_is_refused_unless_its_output_is_declared(
    name: str, labels: int, workspace: Workspace
) -> None:
    table = TABLE[["a"]]
    model = MULTI_LABEL[name]().fit(table, np.stack([LATE, 1 - LATE, TABLE["a"] > 9], axis=1)[:, :labels])
    with pytest.raises(InvalidError, match=rf"shape \(5, {labels}\).*\(5,\).*register a model for each"):
        register(model, "several", signature=table, workspace=workspace)
    if name == "network" and labels == 2:
        declared = Signature((Field("a", "f64"),), Output("probability", (0, 1)))
        assert register(model, "second", signature=declared, input_example=table, workspace=workspace).number == 1


@pytest.mark.parametrize("name", ["chain", "forest"])
@pytest.mark.parametrize("example", [None, TABLE[["a"]]], ids=["alone", "with an example"])
def test_a_classifier_of_several_labels_is_refused_under_a_signature_without_an_output(
    name: str, example: Any, workspace: Workspace
) -> None:
    model = MULTI_LABEL[name]().fit(TABLE[["a"]], np.stack([LATE, 1 - LATE], axis=1))
    with pytest.raises(InvalidError, match="egister a model for each"):
        register(
            model, "several", signature=Signature((Field("a", "f64"),)), input_example=example, workspace=workspace
        )


def test_a_classifier_of_one_label_in_a_column_is_registered(workspace: Workspace) -> None:
    model = OneVsRestClassifier(LogisticRegression()).fit(TABLE[["a"]], LATE)
    made = register(model, "one", signature=TABLE[["a"]], workspace=workspace)
    assert made.signature is not None
    assert made.signature.output == Output("probability", (0, 1))


def test_what_no_codec_takes_is_refused_with_the_way_of_a_pickle(workspace: Workspace) -> None:
    model = make_pipeline(FunctionTransformer(lambda rows: rows), LogisticRegression()).fit(TABLE[["a"]], LATE)
    with pytest.raises(CodecError, match=r"at `\.steps\[0\]\[1\]\.func`.*`pickled=True`"):
        register(model, "late", signature=TABLE[["a"]], workspace=workspace)

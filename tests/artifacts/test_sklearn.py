"""Estimators: a refit has the same meaning, a reload too, and nothing is loaded that is not on our list."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from mainspring.artifacts import Tolerance, codec_for, compare, content_digest, load, save
from mainspring.artifacts.project import importing_from
from mainspring.artifacts.script import script
from mainspring.errors import CodecError
from mainspring.testing.codecs import FolderBlobs, check_codec_laws, digest_in_fresh_process


def data() -> tuple[pd.DataFrame, pd.Series]:
    random = np.random.default_rng(0)
    features = pd.DataFrame(random.normal(size=(300, 3)), columns=list("abc"))
    features["k"] = random.choice(list("xyz"), 300)
    return features, (features["a"] + features["b"] > 0).astype(int)


def fit(model: Any) -> Any:
    features, target = data()
    return model.fit(features[["a", "b", "c"]], target)


def fit_pipeline() -> Any:
    columns = ColumnTransformer(
        [("n", StandardScaler(), ["a", "b"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["k"])]
    )
    return make_pipeline(columns, LogisticRegression()).fit(*data())


MODELS: dict[str, Callable[[], Any]] = {
    "logistic": lambda: fit(LogisticRegression()),
    "boosting": lambda: fit(HistGradientBoostingClassifier(max_iter=5, random_state=0)),
    "forest": lambda: fit(RandomForestClassifier(5, random_state=0)),
    "pipeline": fit_pipeline,
    "extra_trees": lambda: fit(ExtraTreesClassifier(3, random_state=np.random.RandomState(1))),
    "neighbours": lambda: fit(KNeighborsClassifier(algorithm="kd_tree")),
    "selection": lambda: fit(make_pipeline(SelectKBest(k=2), SVC())),
    "voting": lambda: fit(VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft")),
    "stacking": lambda: fit(StackingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], cv=2)),
    "words": lambda: TfidfVectorizer(stop_words=["the", "a"]).fit(["the good", "a bad"]),
    "unfitted": LogisticRegression,
}


def fit_all() -> dict[str, Any]:
    return {name: make() for name, make in MODELS.items()}


@pytest.mark.parametrize("name", MODELS)
def test_a_refit_has_the_same_digest(name: str) -> None:
    assert content_digest(MODELS[name]()) == content_digest(MODELS[name]())


def test_estimators_keep_the_laws(blobs: FolderBlobs) -> None:
    check_codec_laws(None, [make() for make in MODELS.values()], blobs)


def test_a_fresh_process_with_another_hash_seed_agrees_and_imports_no_torch() -> None:
    setup = f"""
import runpy, sys
space = runpy.run_path({__file__!r})
space["content_digest"](space["StandardScaler"]())
assert "skops.io" in sys.modules and not [name for name in sys.modules if name.endswith("torch")]
"""
    assert digest_in_fresh_process("space['fit_all']()", hash_seed=1, setup=setup) == content_digest(fit_all())


def test_a_reloaded_model_predicts_the_same(blobs: FolderBlobs) -> None:
    features, _ = data()
    model = fit_pipeline()
    again = load(save(model, blobs)[1], blobs)
    assert np.array_equal(model.predict_proba(features), again.predict_proba(features))


def test_comparison_names_the_attribute() -> None:
    assert compare(LogisticRegression(C=1.0), LogisticRegression(C=2.0)).detail == "At $.C: 1.0 → 2.0."
    model = MODELS["logistic"]()
    near = MODELS["logistic"]()
    near.coef_ = near.coef_ + 1e-9
    assert compare(model, near).kind == "floats"
    assert "$.coef_" in compare(model, near).detail
    assert compare(model, near, Tolerance(atol=1e-6)).kind == "within_tolerance"
    other = fit(RandomForestClassifier(5, random_state=1))
    assert compare(MODELS["forest"](), other).kind != "equal"
    assert compare(model, other).kind == "type"


def test_a_lambda_in_a_pipeline_is_refused_when_saved(blobs: FolderBlobs) -> None:
    with pytest.raises(CodecError):
        save(FunctionTransformer(lambda x: x), blobs)


def test_a_type_outside_the_list_is_refused(blobs: FolderBlobs, tmp_path: Path) -> None:
    import skops.io

    class Own(LogisticRegression):  # type: ignore[misc]  # its base has no types
        pass

    Own.__module__ = __name__
    globals()["Own"] = Own
    Own.__qualname__ = "Own"
    codec = codec_for(LogisticRegression())
    encoded = codec.encode(LogisticRegression(), blobs)
    foreign = type(encoded)(encoded.codec, blobs.put(skops.io.dumps(Own())), 1)
    with importing_from([tmp_path]):
        with pytest.raises(CodecError, match="not on the list"):
            save(Own(), blobs)
        with pytest.raises(CodecError, match=f"not on the list.*no module `{__name__}`"):
            codec.decode(foreign, blobs)


def test_a_definition_of_the_project_is_the_same_when_its_module_is_the_script(
    blobs: FolderBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "def doubled(rows): return rows * 2\n"
    (tmp_path / "shapes.py").write_text(text)
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(text, space)
    monkeypatch.setattr(sys.modules["__main__"], "doubled", space["doubled"], raising=False)  # as if it were the script
    monkeypatch.setattr(sys, "path", [*sys.path])
    own = FunctionTransformer(space["doubled"])
    with importing_from([tmp_path]):
        token = script.set("shapes")
        digest, encoded, _ = save(own, blobs)
        assert load(encoded, blobs).func is own.func
        script.reset(token)
        assert encoded.brings == ("shapes:doubled",)
        assert load(encoded, blobs).func(2) == 4
        assert content_digest(FunctionTransformer(sys.modules.pop("shapes").doubled)) == digest


@pytest.mark.parametrize("scoring", [None, "f1", ["f1", "roc_auc"], make_scorer(f1_score)], ids=range(4))
def test_a_search_comes_back_as_it_was(tmp_path: Path, scoring: Any) -> None:
    folds = StratifiedKFold(2, shuffle=True, random_state=0)
    refit = "f1" if isinstance(scoring, list) else True
    search = fit(GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=folds, scoring=scoring, refit=refit))
    blobs = FolderBlobs(tmp_path)
    again = load(save(search, blobs)[1], blobs)
    features = data()[0][["a", "b", "c"]]
    assert again.best_params_ == search.best_params_
    assert (again.predict(features) == search.predict(features)).all()

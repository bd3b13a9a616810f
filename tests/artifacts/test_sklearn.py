"""Estimators: a refit has the same meaning, a reload too, and nothing is loaded that is not on our list."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import scipy.stats as st
import sklearn.experimental.enable_halving_search_cv
import sklearn.experimental.enable_iterative_imputer  # noqa: F401  # scikit-learn shows both after these alone
from sklearn.cluster import Birch
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest, mutual_info_classif
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct, Matern, RationalQuadratic
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LogisticRegression, Ridge, TweedieRegressor
from sklearn.metrics import f1_score, make_scorer, r2_score
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    TimeSeriesSplit,
    TunedThresholdClassifierCV,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler, scale
from sklearn.svm import SVC

from mainspring.artifacts import Tolerance, codec_for, compare, content_digest, load, save
from mainspring.artifacts.codec import Encoded
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


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree"])
def test_a_tree_of_neighbours_that_was_asked_is_the_same(algorithm: str, blobs: FolderBlobs) -> None:
    model = fit(KNeighborsClassifier(algorithm=algorithm))
    digest, features = content_digest(model), data()[0][["a", "b", "c"]]
    answers = model.predict(features)
    again = load(save(model, blobs)[1], blobs)
    assert content_digest(model) == content_digest(again) == digest
    assert np.array_equal(again.predict(features), answers)


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


def on_all_columns(step: Any) -> Any:
    return make_pipeline(ColumnTransformer([("n", step, make_column_selector(dtype_include=np.number))]), Ridge())


def searched(model: Any, **values: Any) -> RandomizedSearchCV:
    return RandomizedSearchCV(model, values, n_iter=2, cv=2, random_state=0)


# What needs a class or function of its own in the dump; each was refused by a list of the default choices.
CHOICES: dict[str, Callable[[], Any]] = {
    "selector": lambda: on_all_columns(StandardScaler()),
    "scores": lambda: make_pipeline(SelectKBest(mutual_info_classif, k=2), LogisticRegression()),
    "kernels": lambda: GaussianProcessRegressor(Matern() + RationalQuadratic() * DotProduct()),
    "tweedie": lambda: TweedieRegressor(power=1.5),
    "chebyshev": lambda: KNeighborsClassifier(metric="chebyshev"),
    "boosting that scores": lambda: HistGradientBoostingClassifier(early_stopping=True, scoring="roc_auc", max_iter=2),
    "whole numbers": lambda: searched(LogisticRegression(), max_iter=st.randint(50, 60)),
    "numbers": lambda: searched(LogisticRegression(), C=st.uniform(0.1, scale=4), tol=st.loguniform(1e-5, 1e-3)),
    "threshold": lambda: TunedThresholdClassifierCV(LogisticRegression(), cv=2),
    "imputer": lambda: make_pipeline(IterativeImputer(), LogisticRegression()),
    "functions": lambda: make_pipeline(FunctionTransformer(np.nan_to_num), FunctionTransformer(scale), Ridge()),
    "splits": lambda: GridSearchCV(Ridge(), {"alpha": [1, 2]}, cv=TimeSeriesSplit(2), scoring=make_scorer(r2_score)),
}


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_choices_of_parameters_are_stored(name: str, blobs: FolderBlobs) -> None:
    import skops.io

    features, model = data()[0][["a", "b", "c"]], fit(CHOICES[name]())
    digest, encoded, _ = save(model, blobs)
    again = load(encoded, blobs)
    assert content_digest(again) == digest
    assert np.array_equal(model.predict(features), again.predict(features))
    stored = blobs.read(encoded.blob)
    alone = skops.io.loads(stored, trusted=skops.io.get_untrusted_types(data=stored))
    assert np.array_equal(model.predict(features), alone.predict(features))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_may_be_loaded_does_not_depend_on_what_a_process_has_imported(tmp_path: Path) -> None:
    made = [CHOICES[name]() for name in ("selector", "kernels", "tweedie", "chebyshev", "imputer", "functions")]
    made.append(HalvingGridSearchCV(Ridge(), {"alpha": [1, 2]}, cv=2, min_resources=100, random_state=0))
    made.append(HalvingRandomSearchCV(Ridge(), {"alpha": st.uniform(1, 2)}, cv=2, min_resources=100, random_state=0))
    models = {**fit_all(), **{str(place): fit(model) for place, model in enumerate(made)}}
    blobs = FolderBlobs(tmp_path)
    encoded = msgspec.json.encode({name: save(model, blobs)[1] for name, model in models.items()})
    setup = f"""
import msgspec, pathlib
from mainspring.artifacts import load
from mainspring.artifacts.codec import Encoded
from mainspring.testing.codecs import FolderBlobs
blobs, stored = FolderBlobs(pathlib.Path({str(tmp_path)!r})), msgspec.json.decode({encoded!r}, type=dict[str, Encoded])
"""
    loaded = "{name: load(each, blobs) for name, each in stored.items()}"
    assert digest_in_fresh_process(loaded, hash_seed=1, setup=setup) == content_digest(models)


def test_a_distribution_that_skops_stored_draws_the_same_and_none_of_its_text_is_executed(blobs: FolderBlobs) -> None:
    import skops.io

    value = FunctionTransformer(kw_args={"loc": st.norm(scale=2), "all": st.beta(2, 3, loc=1)})
    codec, written = codec_for(value), skops.io.dumps(value)
    again = codec.decode(Encoded("sklearn", blobs.put(written), 1), blobs).kw_args
    for name, own in value.kw_args.items():
        assert again[name].rvs(5, random_state=0).tolist() == own.rvs(5, random_state=0).tolist()
    evil = json.dumps('\nraise SystemExit("executed")\n')

    def turned(node: dict[str, Any]) -> dict[str, Any]:
        return {key: {**each, "content": evil} if key == "_parse_arg_template" else each for key, each in node.items()}

    changed = _with_schema(written, turned)
    named = skops.io.get_untrusted_types(data=changed)
    with pytest.raises(SystemExit, match="executed"):
        skops.io.loads(changed, trusted=named)
    assert codec.decode(Encoded("sklearn", blobs.put(changed), 1), blobs).kw_args["loc"].std() == 2
    as_loss = {"__reduce__": {"args": EMPTY}, "__loader__": "LossNode"}
    for node in ({"__loader__": "ObjectNode"}, as_loss, {"__loader__": "TypeNode"}):
        forged = _forged("scipy.stats._continuous_distns", "uniform_gen", {"content": EMPTY, **node})
        with pytest.raises(CodecError, match="not stored as skops stores one"):
            codec.decode(Encoded("sklearn", blobs.put(forged), 1), blobs)


EMPTY = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": []}


def _with_schema(data: bytes, change: Callable[[dict[str, Any]], dict[str, Any]]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        for name in set(old.namelist()) - {"schema.json"}:
            new.writestr(name, old.read(name))
        new.writestr("schema.json", json.dumps(json.loads(old.read("schema.json"), object_hook=change)))
    return made.getvalue()


def _forged(module: str, name: str, node: dict[str, Any]) -> bytes:
    """A dump of a transformer whose function is made by a node that names any class or function."""
    import skops.io

    named = {"__class__": name, "__module__": module, **node}
    return _with_schema(
        skops.io.dumps(FunctionTransformer(np.sin)),
        lambda old: {key: named if key == "func" else each for key, each in old.items()},
    )


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "posix.system",
        "builtins.eval",
        "builtins.open",
        "subprocess.Popen",
        "importlib.import_module",
        "numpy.load",
        "numpy.fromfile",
        "numpy.memmap",
        "numpy.genfromtxt",
        "numpy.vectorize",
        "pandas.read_pickle",
        "joblib.numpy_pickle.load",
        "joblib.memory.Memory",
        "scipy.io.loadmat",
        "scipy.stats._distn_infrastructure.rv_continuous",
        "sklearn.datasets._svmlight_format_io.load_svmlight_file",
        "sklearn.datasets._openml.fetch_openml",
        "sklearn.datasets.load_svmlight_file",
        "sklearn.utils._testing.assert_run_python_script_without_output",
        "sklearn.utils._mocking.CheckingClassifier",
        "sklearn.utils.parallel.Parallel",
        "sklearn.metrics._scorer.get_scorer",
        "sklearn.externals._arff.load",
        "sklearn.metrics.os.system",
    ],
)
@pytest.mark.parametrize("loader", ["FunctionNode", "TypeNode", "ObjectNode", "ConstructorFromReduceNode", "LossNode"])
def test_nothing_that_opens_or_executes_may_be_named(
    path: str, loader: str, blobs: FolderBlobs, tmp_path: Path
) -> None:
    module, _, name = path.rpartition(".")
    forged = _forged(module, name, {"__loader__": loader, "content": EMPTY, "__reduce__": {"args": EMPTY}})
    with importing_from([tmp_path]), pytest.raises(CodecError, match=f"`{path}`.* not on the list") as refused:
        codec_for(LogisticRegression()).decode(Encoded("sklearn", blobs.put(forged), 1), blobs)
    assert "has no module" not in str(refused.value)


def test_what_skops_can_not_store_is_refused_with_advice(blobs: FolderBlobs) -> None:
    with pytest.raises(CodecError, match=r"can't store `Birch.*another estimator"):
        save(fit(Birch(n_clusters=2)), blobs)


def test_what_leads_back_to_itself_is_refused_with_advice(blobs: FolderBlobs) -> None:
    around: list[Any] = []
    around.append(around)
    with pytest.raises(CodecError, match=r"leads back to itself.*`best_estimator_`"):
        save(FunctionTransformer(kw_args={"of": around}), blobs)

"""Gradient boosting of three libraries: a refit in any process has the same meaning, and what is loaded predicts the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost

from mainspring.artifacts import Encoded, Tolerance, codec_for, compare, content_digest, load, save
from mainspring.errors import CodecError
from mainspring.testing.codecs import FolderBlobs, check_codec_laws, digest_in_fresh_process


def data() -> tuple[pd.DataFrame, pd.Series]:
    random = np.random.default_rng(0)
    features = pd.DataFrame(random.normal(size=(120, 3)), columns=list("abc"))
    features["k"] = random.choice(list("xyz"), 120)
    features["k"] = features["k"].astype("category")
    return features, (features["a"] + features["b"] > 0).astype(int)


def fit(model: Any, **options: Any) -> Any:
    return model.fit(*data(), **options)


def quiet(**options: Any) -> dict[str, Any]:
    return {"iterations": 3, "depth": 2, "verbose": False, "allow_writing_files": False, "thread_count": 1, **options}


def xgboost_booster() -> Any:
    features, target = data()
    return xgboost.train({"max_depth": 2, "nthread": 1}, xgboost.DMatrix(features[["a", "b"]], label=target), 3)


def lightgbm_booster() -> Any:
    features, target = data()
    return lightgbm.train({"num_leaves": 4, "verbose": -1, "num_threads": 1}, lightgbm.Dataset(features, target), 3)


def stopped_early() -> Any:
    features, target = data()
    model = lightgbm.LGBMClassifier(n_estimators=20, learning_rate=2.0, num_leaves=4, verbose=-1, n_jobs=1)
    return model.fit(
        features,
        target,
        eval_X=(features,),
        eval_y=(1 - target,),
        callbacks=[lightgbm.early_stopping(2, verbose=False)],
    )


MODELS: dict[str, Callable[[], Any]] = {
    "xgboost": lambda: fit(xgboost.XGBClassifier(n_estimators=3, max_depth=2, enable_categorical=True, n_jobs=1)),
    "xgboost regressor": lambda: fit(
        xgboost.XGBRegressor(n_estimators=3, max_depth=2, enable_categorical=True, n_jobs=1)
    ),
    "xgboost booster": xgboost_booster,
    "xgboost unfitted": lambda: xgboost.XGBRegressor(max_depth=4),
    "lightgbm": lambda: fit(lightgbm.LGBMClassifier(n_estimators=3, num_leaves=4, verbose=-1, n_jobs=1)),
    "lightgbm regressor": lambda: fit(lightgbm.LGBMRegressor(n_estimators=3, num_leaves=4, verbose=-1, n_jobs=1)),
    "lightgbm booster": lightgbm_booster,
    "lightgbm stopped early": stopped_early,
    "lightgbm unfitted": lambda: lightgbm.LGBMRegressor(num_leaves=4),
    "catboost": lambda: fit(catboost.CatBoostClassifier(**quiet(cat_features=["k"]))),
    "catboost regressor": lambda: fit(catboost.CatBoostRegressor(**quiet(cat_features=["k"]))),
    "catboost unfitted": lambda: catboost.CatBoostRegressor(**quiet()),
}
FITTED = [name for name in MODELS if "unfitted" not in name]


def fit_all() -> dict[str, Any]:
    return {name: make() for name, make in MODELS.items()}


def predicted(model: Any) -> Any:
    features, _ = data()
    if isinstance(model, xgboost.Booster):
        return model.predict(xgboost.DMatrix(features[["a", "b"]]))
    return model.predict_proba(features) if hasattr(model, "predict_proba") else model.predict(features)


def test_boosters_keep_the_laws(blobs: FolderBlobs) -> None:
    for library in ("xgboost", "lightgbm", "catboost"):
        check_codec_laws(None, [make() for name, make in MODELS.items() if name.startswith(library)], blobs)


def test_a_refit_in_a_fresh_process_with_another_hash_seed_has_the_same_digest() -> None:
    setup = f"import runpy; fit_all = runpy.run_path({__file__!r})['fit_all']"
    assert digest_in_fresh_process("fit_all()", hash_seed=1, setup=setup) == content_digest(fit_all())


@pytest.mark.parametrize("name", FITTED)
def test_what_is_loaded_predicts_the_same_and_keeps_its_parameters(name: str, blobs: FolderBlobs) -> None:
    model = MODELS[name]()
    again = load(save(model, blobs)[1], blobs)
    assert np.array_equal(predicted(again), predicted(model))
    if hasattr(model, "get_params"):
        assert repr(again.get_params()) == repr(model.get_params())
    if hasattr(model, "classes_"):
        assert again.classes_.tolist() == model.classes_.tolist()


@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "catboost"])
def test_the_payload_is_the_librarys_own_file(library: str, blobs: FolderBlobs) -> None:
    model = MODELS[library]()
    file = str(blobs.path(save(model, blobs)[1].blobs[-1]))
    features, _ = data()
    if library == "catboost":
        again = catboost.CatBoostClassifier().load_model(file)
    elif library == "lightgbm":
        again, model = lightgbm.Booster(model_file=file), model.booster_
    else:
        again = xgboost.XGBClassifier(enable_categorical=True)
        again.load_model(bytearray(blobs.read(save(model, blobs)[1].blobs[-1])))
    assert np.array_equal(again.predict(features), model.predict(features))


@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "catboost"])
def test_comparison_names_what_differs(library: str) -> None:
    model = MODELS[library]()
    assert compare(model, MODELS[library]()).kind == "equal"
    other = fit(type(model)(**model.get_params() | {"learning_rate": 0.123}))
    told = compare(model, other)
    assert told.kind in ("values", "type", "floats")
    assert "learning_rate" in told.detail
    assert compare(model, MODELS[f"{library} regressor"]()).kind == "type"


def test_learned_numbers_are_compared_within_a_tolerance() -> None:
    features, target = data()

    def of(scale: float) -> Any:
        weights = np.full(120, 1.0) * scale
        matrix = xgboost.DMatrix(features[["a"]], label=target, weight=weights)
        return xgboost.train({"max_depth": 1, "nthread": 1}, matrix, 1)

    told = compare(of(1.0), of(1.0001))
    assert told.kind == "floats"
    assert "$.learned" in told.detail
    assert compare(of(1.0), of(1.0001), Tolerance(rtol=0.01, atol=0.1)).kind in ("within_tolerance", "values")


def test_the_number_of_threads_is_not_what_a_model_means() -> None:
    one, two = (fit(lightgbm.LGBMRegressor(n_estimators=2, verbose=-1, n_jobs=jobs)) for jobs in (1, 2))
    assert "[num_threads: 2]" in two.booster_.model_to_string()
    assert content_digest(one.booster_) == content_digest(two.booster_)


def test_a_callback_has_no_stored_form(blobs: FolderBlobs) -> None:
    with pytest.raises(CodecError, match="No codec takes"):
        save(xgboost.XGBClassifier(callbacks=[xgboost.callback.EarlyStopping(rounds=2)]), blobs)


@pytest.mark.parametrize(
    ("model", "key"),
    [
        (xgboost.XGBRegressor(n_estimators=1, objective=lambda y, p: (p - y, np.ones_like(y))), "objective"),
        (xgboost.XGBRegressor(n_estimators=1, eval_metric=lambda y, p: float(np.mean(y - p))), "eval_metric"),
        (lightgbm.LGBMRegressor(objective=lambda y, p: (p - y, np.ones_like(y))), "objective"),
        (catboost.CatBoostRegressor(loss_function=object()), "loss_function"),
    ],
    ids=["xgboost", "xgboost metric", "lightgbm", "catboost"],
)
def test_a_function_as_objective_is_refused_with_what_to_do(model: Any, key: str, blobs: FolderBlobs) -> None:
    with pytest.raises(CodecError, match=rf"\$\.{key}: .*built in, given by its name") as told:
        save(model, blobs)
    is_xgboost = isinstance(model, xgboost.XGBRegressor)
    assert str(told.value).endswith("set it to None after the fit.") == is_xgboost
    if is_xgboost:
        rows = np.arange(20.0).reshape(10, 2)
        model.fit(rows, rows[:, 0])
        answers = model.predict(rows)
        model.set_params(**{key: None})
        assert (load(save(model, blobs)[1], blobs).predict(rows) == answers).all()


def test_a_class_of_another_library_is_not_built(blobs: FolderBlobs) -> None:
    codec = codec_for(xgboost.XGBClassifier())
    for name in ("subprocess:Popen", "xgboost.sklearn:XGBModelBase", "xgboost.core:DMatrix", "xgboost.core:os"):
        _, record, _ = save({"class": name, "payload": blobs.put(b""), "state": {}}, blobs)
        with pytest.raises(CodecError):
            codec.decode(Encoded("xgboost", record.blob, 1), blobs)

"""Models of boosting libraries that MLflow stored in the libraries' own formats load here without running code."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer

from mainspring.errors import InvalidError, NotAllowedError
from mainspring.models import Predictor, allow_pickle, load_model, register_folder
from mainspring.workspace import Workspace
from tests.models.mlflow_folders import LATE, TABLE, native_folder

pytestmark = pytest.mark.one_backend("files and registry have their own suites on both")
ROWS = TABLE.to_dict("records")
BINARY = {"verbosity": -1, "objective": "binary", "min_data_in_leaf": 1, "min_data_in_bin": 1, "num_threads": 1}


def answers(folder: Path, workspace: Workspace) -> Any:
    version = register_folder(folder, "late")
    assert version.refusal == ""
    return Predictor.load(version, workspace.blobs)(ROWS)


def test_models_of_xgboost_answer_as_there(workspace: Workspace, tmp_path: Path) -> None:
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=3, max_depth=2, n_jobs=1).fit(TABLE, LATE)
    booster = model.get_booster()
    expected = booster.predict(xgboost.DMatrix(TABLE)).tolist()
    for form in ("ubj", "json"):
        data = bytes(booster.save_raw(form))
        wrapped = native_folder(
            tmp_path / form, "xgboost", f"model.{form}", data, model_class="xgboost.sklearn.XGBClassifier"
        )
        assert answers(wrapped, workspace) == model.predict(TABLE).tolist()
        bare = native_folder(
            tmp_path / f"b{form}", "xgboost", f"model.{form}", data, model_class="xgboost.core.Booster"
        )
        assert answers(bare, workspace) == pytest.approx(expected)
    for name in ("posix.system", "xgboost.sklearn.json"):
        other = native_folder(tmp_path / name, "xgboost", "m.ubj", bytes(booster.save_raw("ubj")), model_class=name)
        assert type(load_model(register_folder(other, "odd"))).__name__ == "XGBRegressor"


def test_a_booster_of_lightgbm_answers_as_there_and_an_estimator_is_a_pickle(
    workspace: Workspace, tmp_path: Path
) -> None:
    import lightgbm

    booster = lightgbm.train(BINARY, lightgbm.Dataset(TABLE, LATE), 3)
    data = booster.model_to_string().encode()
    bare = native_folder(tmp_path / "b", "lightgbm", "model.lgb", data, model_class="lightgbm.basic.Booster")
    assert answers(bare, workspace) == np.asarray(booster.predict(TABLE)).tolist()
    model = lightgbm.LGBMClassifier(n_estimators=3, min_child_samples=1, verbosity=-1, n_jobs=1).fit(TABLE, LATE)
    wrapped = native_folder(
        tmp_path / "w", "lightgbm", "model.pkl", pickle.dumps(model), model_class="lightgbm.sklearn.LGBMClassifier",
        serialization_format="cloudpickle",
    )  # fmt: skip
    version = register_folder(wrapped, "wrapped")
    assert "it is stored as cloudpickle" in version.refusal
    predictor = Predictor.load(allow_pickle(version, note="ours"), workspace.blobs)
    assert predictor(ROWS) == np.asarray(model.predict(TABLE)).tolist()


def test_a_model_of_catboost_answers_as_there(workspace: Workspace, tmp_path: Path) -> None:
    import catboost

    model = catboost.CatBoostClassifier(iterations=3, verbose=False, thread_count=1, allow_writing_files=False)
    model.fit(TABLE, LATE)
    model.save_model(str(tmp_path / "model.cb"))
    data = (tmp_path / "model.cb").read_bytes()
    folder = native_folder(
        tmp_path / "c", "catboost", "model.cb", data, model_type="CatBoostClassifier", save_format="cbm"
    )
    assert answers(folder, workspace) == model.predict(TABLE).tolist()
    other = native_folder(tmp_path / "o", "catboost", "model.json", b"{}", save_format="json")
    with pytest.raises(NotAllowedError, match="it is stored as json"):
        load_model(register_folder(other, "odd"))


@pytest.mark.parametrize("flavour", ["xgboost", "lightgbm", "catboost"])
def test_a_file_that_was_cut_off_is_kept_and_named(flavour: str, workspace: Workspace, tmp_path: Path) -> None:
    version = register_folder(native_folder(tmp_path / "m", flavour, "model", b"tree\nversion=v4\ncut"), "cut")
    with pytest.raises(NotAllowedError, match=f"a model of {flavour}"):
        load_model(version)


@pytest.mark.parametrize("form", ["pth", "pt2"])
def test_a_module_of_pytorch_is_not_opened_and_says_what_to_do(form: str, workspace: Workspace, tmp_path: Path) -> None:
    version = register_folder(native_folder(tmp_path / "m", "pytorch", f"model.{form}", b"x"), "net")
    with pytest.raises(
        NotAllowedError, match=r"whose loading runs whatever code it holds\. Register the module itself"
    ):
        load_model(version)
    with pytest.raises(InvalidError, match="a scikit-learn or LightGBM model that is stored as a pickle"):
        allow_pickle(version, note="mine")


@pytest.mark.parametrize("classes", [2, 3])
def test_an_estimator_of_lightgbm_that_is_stored_with_skops_answers_as_there(
    classes: int, workspace: Workspace, tmp_path: Path
) -> None:
    model = classifier(classes)
    kind = "lightgbm.sklearn.LGBMClassifier"
    said = {"model_class": kind, "serialization_format": "skops"}
    wrapped = native_folder(tmp_path / "w", "lightgbm", "model.skops", skops.io.dumps(model), **said)
    assert answers(wrapped, workspace) == np.asarray(model.predict(TABLE)).tolist()
    odd = native_folder(tmp_path / "o", "lightgbm", "m.skops", skops.io.dumps(FunctionTransformer(json.dumps)), **said)
    with pytest.raises(NotAllowedError, match=r"json\.dumps"):
        load_model(register_folder(odd, "odd"))


def test_a_booster_of_several_classes_answers_with_the_share_of_each(workspace: Workspace, tmp_path: Path) -> None:
    model = classifier(3)
    data = model.booster_.model_to_string().encode()
    said = {"model_class": "lightgbm.basic.Booster", "serialization_format": "skops"}  # as MLflow says of any
    given = answers(native_folder(tmp_path / "b", "lightgbm", "model.lgb", data, **said), workspace)
    assert [list(row.values()) for row in given] == np.asarray(model.predict_proba(TABLE)).tolist()
    assert list(given[0]) == ["0", "1", "2"]
    other = native_folder(tmp_path / "o", "lightgbm", "model.lgb", data, **said, classes=["a", "b"])
    with pytest.raises(NotAllowedError, match="a list of 3 classes"):
        load_model(register_folder(other, "odd"))


def classifier(classes: int) -> Any:
    import lightgbm

    model = lightgbm.LGBMClassifier(n_estimators=3, min_child_samples=1, verbosity=-1, n_jobs=1)
    return model.fit(TABLE, [place % classes for place in range(len(TABLE))])

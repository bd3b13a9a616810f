"""Exported folders answer where there is no Mainspring: in an environment of their pins alone, and in MLflow's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mainspring.artifacts.project import importing_from
from mainspring.models import ModelVersion, Predictor, export_model, register, register_folder
from mainspring.workspace import Workspace, using
from tests.outside.environments import environment

ROWS = pd.DataFrame({"delay": np.arange(40) % 7 / 7.0, "distance": np.arange(40) % 5})
RECORDS: list[dict[str, Any]] = ROWS.to_dict("records")
ASK = """
import json, sys
sys.path.insert(0, "out")
from predict import predict
print(json.dumps(predict(json.load(open("records.json")))))
"""
LOADED = """
import json, sys, mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
given = model.predict(pandas.DataFrame(json.load(open("records.json"))))
print(json.dumps([given.to_dict("records") if hasattr(given, "to_dict") else given.tolist(), model.input_example.shape]))
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path) as opened, using(opened):
        yield opened


SAVED = """
import json, mlflow, numpy, pandas, torch
from lightgbm import LGBMClassifier
from mlflow.models import infer_signature
rows = pandas.DataFrame(json.load(open("rows.json")))
model = LGBMClassifier(n_estimators=5, min_child_samples=1, n_jobs=1, verbose=-1).fit(rows, rows["distance"] % 3)
types = ["collections.OrderedDict", "lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier"]
mlflow.lightgbm.save_model(model, "estimator", signature=infer_signature(rows), skops_trusted_types=types)
mlflow.lightgbm.save_model(model.booster_, "booster", signature=infer_signature(rows))
mlflow.pytorch.save_model(torch.nn.Linear(2, 1), "net", input_example=numpy.zeros((2, 2), "float32"))
print(json.dumps({"estimator": model.predict(rows).tolist(), "booster": model.predict_proba(rows).tolist()}))
"""
NET = """
import torch
from mainspring.artifacts import keep_arguments

@keep_arguments
class Net(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))

    def predict(self, rows):
        with torch.no_grad():
            return self.layers(torch.as_tensor(rows, dtype=torch.float32))[:, 0].double().numpy()
"""
BOOSTER = """
import json, mlflow, pandas
rows = pandas.DataFrame(json.load(open("records.json")))
booster = mlflow.lightgbm.load_model("out")
model = mlflow.pyfunc.load_model("out")
print(json.dumps([type(booster).__name__, booster.predict(rows).tolist(), model.predict(rows).tolist()]))
"""


def boosted(classes: int) -> ModelVersion:
    model = make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=5))
    return register(model.fit(ROWS, ROWS["distance"] % classes), f"boosted-{classes}", signature=ROWS)


@pytest.mark.timeout(1_200)
def test_a_folder_answers_in_an_environment_of_its_pins_alone(workspace: Workspace, tmp_path: Path) -> None:
    version = boosted(2)
    export_model(version, tmp_path / "out")
    alone = environment("exported", pins=tmp_path / "out/requirements.txt")
    (tmp_path / "records.json").write_text(json.dumps(RECORDS))
    answered = json.loads(alone.run("python", "-c", ASK, cwd=tmp_path))
    assert answered == Predictor.load(version, workspace.blobs)(RECORDS)
    with pytest.raises(pytest.fail.Exception, match="No module named 'mainspring'"):
        alone.run("python", "-c", "import mainspring", cwd=tmp_path)


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("classes", [2, 3])
def test_mlflow_loads_an_exported_model_and_answers_alike(classes: int, workspace: Workspace, tmp_path: Path) -> None:
    version, client = boosted(classes), environment("mlflow-3.17")
    export_model(version, tmp_path / "out", form="mlflow")
    (tmp_path / "records.json").write_text(json.dumps(RECORDS))
    answered, shape = json.loads(
        client.run("python", "-W", "ignore", "-c", LOADED, str(tmp_path / "out"), cwd=tmp_path)
    )
    assert (answered, shape) == (Predictor.load(version, workspace.blobs)(RECORDS), [5, 2])


@pytest.mark.timeout(1_200)
def test_mlflow_loads_the_booster_of_an_exported_model_of_lightgbm(workspace: Workspace, tmp_path: Path) -> None:
    model = LGBMClassifier(n_estimators=5, min_child_samples=1, n_jobs=1, verbose=-1)
    version = register(model.fit(ROWS, ROWS["distance"] % 2), "light", signature=ROWS)
    export_model(version, tmp_path / "out", form="mlflow")
    (tmp_path / "records.json").write_text(json.dumps(RECORDS))
    answered = environment("mlflow-3.17").run("python", "-W", "ignore", "-c", BOOSTER, cwd=tmp_path)
    expected = Predictor.load(version, workspace.blobs)(RECORDS)
    assert json.loads(answered) == ["Booster", expected, expected]


@pytest.mark.timeout(1_200)
def test_mlflow_loads_an_exported_module_of_pytorch(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_net.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(type(workspace.project), "source_roots", property(lambda _: (tmp_path,)))
    from own_net import Net  # type: ignore[import-not-found]  # written just now

    with importing_from([tmp_path]):
        version = register(Net(3).eval(), "net", signature=ROWS, input_kind="numpy")
        expected = Predictor.load(version, workspace.blobs)(RECORDS)
    away = tmp_path / "away"
    export_model(version, away / "out", form="mlflow")
    export_model(version, away / "plain")
    (away / "records.json").write_text(json.dumps(RECORDS))
    trainer = environment("mlflow-torch", over=environment("mlflow-3.17"))
    answered, _ = json.loads(trainer.run("python", "-W", "ignore", "-c", LOADED, "out", cwd=away))
    assert answered == pytest.approx(expected, rel=1e-6)
    plain = json.loads(trainer.run("python", "-c", ASK.replace('"out"', '"plain"'), cwd=away))
    assert plain == pytest.approx(expected, rel=1e-6)


@pytest.mark.timeout(1_200)
def test_what_mlflow_logs_of_lightgbm_and_pytorch_registers_with_a_model_or_with_what_to_do(
    workspace: Workspace, tmp_path: Path
) -> None:
    trainer = environment("mlflow-torch", over=environment("mlflow-3.17"))
    (tmp_path / "rows.json").write_text(json.dumps(RECORDS))
    answered = json.loads(trainer.run("python", "-W", "ignore", "-c", SAVED, cwd=tmp_path))
    for name in ("estimator", "booster"):
        version = register_folder(tmp_path / name, name)
        assert version.needs is not None
        assert version.needs.load_s is not None
        given = Predictor.load(version, workspace.blobs)(RECORDS)
        assert [list(each.values()) if isinstance(each, dict) else each for each in given] == answered[name]
    net = register_folder(tmp_path / "net", "net")
    assert "it is a module of PyTorch" in net.refusal
    assert net.needs is not None
    assert net.needs.unmeasured == net.refusal

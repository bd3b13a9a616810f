"""Exported folders answer where there is no Mainspring: in an environment of their pins alone, and in MLflow's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mainspring.models import ModelVersion, Predictor, export_model, register
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

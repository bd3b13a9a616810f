"""Folders as MLflow writes them, without MLflow."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import skops.io

COLUMNS = [{"type": "double", "name": "x", "required": True}, {"type": "long", "name": "n", "required": False}]
TABLE = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "n": [1, 2, 3, 4]})
LATE = [0, 0, 1, 1]


def folder(path: Path, model: Any, form: str = "skops", **more: Any) -> Path:
    """What `mlflow.sklearn.save_model` writes, by MLflow 3."""
    path.mkdir()
    name = {"skops": "model.skops"}.get(form, "model.pkl")
    (path / name).write_bytes(skops.io.dumps(model) if form == "skops" else pickle.dumps(model))
    said = {
        "flavors": {
            "python_function": {"loader_module": "mlflow.sklearn", "model_path": name, "predict_fn": "predict"},
            "sklearn": {"pickled_model": name, "serialization_format": form, "sklearn_version": "1.7"},
        },
        "run_id": "a" * 32,
        "signature": {"inputs": json.dumps(COLUMNS), "outputs": "[]"},
        "saved_input_example_info": {"artifact_path": "input_example.json", "type": "dataframe"},
    }
    (path / "input_example.json").write_text(TABLE[:2].to_json(orient="split", index=False))
    (path / "MLmodel").write_text(json.dumps(said | more))  # JSON is YAML
    return path


def native_folder(path: Path, flavour: str, file: str, data: bytes, **said: Any) -> Path:
    """What `mlflow.xgboost.save_model` and its kin write."""
    path.mkdir()
    (path / file).write_bytes(data)
    made = {
        "flavors": {
            "python_function": {"loader_module": f"mlflow.{flavour}", "data": file}, flavour: {"data": file, **said}
        },
        "signature": {"inputs": json.dumps(COLUMNS), "outputs": "[]"},
    }  # fmt: skip
    (path / "MLmodel").write_text(json.dumps(made))
    return path

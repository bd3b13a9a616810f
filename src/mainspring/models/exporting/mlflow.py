"""What makes an exported folder a model of MLflow: its `MLmodel` file, environments, and example, as MLflow 3 writes them.

Everything is JSON, which YAML contains. MLflow loads the model by `predict.py`, so that it answers as here; where MLflow has
a flavour for the file itself, that is said, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mainspring import clock
from mainspring.errors import InvalidError
from mainspring.models.exporting.pins import Pins
from mainspring.models.exporting.portable import Portable
from mainspring.models.mlmodel import EXPORTED, FILE
from mainspring.models.signature import Field, Output, Signature
from mainspring.models.version import ModelVersion

_EXAMPLE = "input_example.json"
_TYPES = {
    **dict.fromkeys(("i8", "u8", "i16", "u16", "i32"), "integer"), **dict.fromkeys(("u32", "i64"), "long"), "f32": "float",
    "f64": "double", "bool": "boolean", "str": "string", "cat": "string", "enum": "string", "uuid": "string", "bin": "binary",
    "date": "datetime", "datetime": "datetime",
}  # fmt: skip
_LABELS = {bool: "boolean", int: "long", float: "double", str: "string"}
_BUILT_WITH = ("pip", "setuptools", "wheel")


def mlflow_files(
    version: ModelVersion, signature: Signature, model: Portable, pins: Pins, records: Sequence[Mapping[str, Any]]
) -> dict[str, bytes]:
    """The files that MLflow reads, beside those of every export, by their paths.

    Raises:
        InvalidError: MLflow has no type for a column.
    """
    requirements = ["mlflow>=3", *pins.lines()]
    conda = {
        "name": "mlflow-env", "channels": ["conda-forge"],
        "dependencies": [f"python={pins.python}", "pip", {"pip": requirements}],
    }  # fmt: skip
    python = {"python": pins.python, "build_dependencies": list(_BUILT_WITH), "dependencies": ["-r requirements.txt"]}
    said = _mlmodel(version, signature, model, pins)
    found = {"conda.yaml": conda, "python_env.yaml": python}
    if records:
        split = {
            "columns": [field.name for field in signature.inputs],
            "data": [list(each.values()) for each in records],
        }
        said["saved_input_example_info"] = {
            "artifact_path": _EXAMPLE, "type": "dataframe", "pandas_orient": "split",
            "serving_input_path": f"serving_{_EXAMPLE}",
        }  # fmt: skip
        found |= {_EXAMPLE: split, f"serving_{_EXAMPLE}": {"dataframe_split": split}}
    files = {name: msgspec.json.format(msgspec.json.encode(value)) for name, value in {FILE: said, **found}.items()}
    return files | {"requirements.txt": "".join(f"{line}\n" for line in requirements).encode()}


def _mlmodel(version: ModelVersion, signature: Signature, model: Portable, pins: Pins) -> dict[str, Any]:
    has_shares = signature.output.kind in ("probability", "probabilities")
    flavour: dict[str, Any] = {
        "loader_module": EXPORTED, "code": "code", "python_version": pins.python,
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        "predict_fn": "predict_proba" if has_shares else "predict",
    }  # fmt: skip
    outputs = _outputs(signature.output)
    return {
        "flavors": {"python_function": flavour, **_native(model, pins)},
        "model_uuid": version.id,
        "utc_time_created": clock.from_us(version.created_at).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "metadata": {"mainspring_version": str(version), "content_digest": version.content_digest},
        "signature": {
            "inputs": msgspec.json.encode([_column(field) for field in signature.inputs]).decode(),
            "outputs": msgspec.json.encode(outputs).decode() if outputs else None,
            "params": None,
        },
    }


def _native(model: Portable, pins: Pins) -> dict[str, dict[str, Any]]:
    """The flavour of MLflow that loads the file itself, if it gives back what was exported."""
    if model.needs_settings:
        return {}
    at = pins.distributions
    if model.format == "skops":
        trusted = model.settings["trusted"]
        return {
            "sklearn": {
                "pickled_model": model.file, "serialization_format": "skops", "sklearn_version": at.get("scikit-learn", ""),
                "skops_trusted_types": trusted, "code": "code",
            }
        }  # fmt: skip
    if model.format == "xgboost":
        of = f"xgboost.sklearn.{model.settings['class']}"
        return {"xgboost": {"data": model.file, "model_class": of, "model_format": "ubj", "code": "code"}}
    if model.format == "lightgbm":
        # Of an estimator MLflow would open a pickle, so what it gets is the booster, which answers with shares; `classes` is
        # for `register_folder`.
        classes = model.settings["classes"]
        said = {"data": model.file, "model_class": "lightgbm.basic.Booster", "lgb_version": at.get("lightgbm", "")}
        return {"lightgbm": {**said, **({} if classes is None else {"classes": classes}), "code": "code"}}
    if model.format == "catboost":
        of = model.settings["class"]
        return {"catboost": {"data": model.file, "model_type": of, "save_format": "cbm", "code": "code"}}
    if model.format == "onnx":
        return {"onnx": {"data": model.file, "providers": ["CPUExecutionProvider"], "code": "code"}}
    return {}


def _column(field: Field) -> dict[str, Any]:
    kind = _TYPES.get(re.split(r"[\[{]", field.dtype)[0])
    if kind is None:
        raise InvalidError(f"signature.{field.name}", field.dtype, "a type that MLflow has a column for")
    if field.nullable and kind in ("integer", "long"):
        kind = "double"  # pandas holds a missing value beside whole numbers as NaN, which MLflow refuses in its whole columns
    return {"type": kind, "name": field.name, "required": True}


def _outputs(output: Output) -> list[dict[str, Any]]:
    """The columns that come back; none if the labels aren't known."""
    if output.kind == "probabilities":
        return [{"type": "double", "name": str(each), "required": True} for each in output.classes]
    if output.kind in ("number", "probability"):
        return [{"type": "double", "required": True}]
    return [{"type": _LABELS[type(output.classes[0])], "required": True}] if output.classes else []

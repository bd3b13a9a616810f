"""What an MLflow folder says of the model in it: its `MLmodel` file, read as plain data and never run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mainspring.errors import InvalidError, MissingExtraError, shorten
from mainspring.foreign import read_foreign
from mainspring.models.signature import Field

FILE = "MLmodel"
EXPORTED = "mainspring_predict"
"""The module by which MLflow loads what was exported here."""
_MOST_BYTES = 4 << 20
_MOST_COLUMNS = 100_000
_TYPES = {
    "boolean": "bool", "integer": "i32", "long": "i64", "float": "f32", "double": "f64", "string": "str", "binary": "bin",
    "datetime": "datetime[ns]",
}  # fmt: skip
_TENSORS = {
    "float32": "f32",
    "float64": "f64",
    "int64": "i64",
    "int32": "i32",
    "bool": "bool",
    "object": "str",
    "str": "str",
}


class MLModel(msgspec.Struct, frozen=True):
    """The flavours by name, the columns that the model takes (None: not said), and the example's file.

    `predicts` is the method that MLflow's own `predict` calls; `example` is a path in the folder.
    """

    flavours: dict[str, dict[str, Any]]
    inputs: tuple[Field, ...] | None
    predicts: str
    example: str | None

    def text(self, flavour: str, key: str) -> str:
        """A text that a flavour says, empty if it says none."""
        found = self.flavours.get(flavour, {}).get(key)
        return found if isinstance(found, str) else ""


def read_mlmodel(data: bytes) -> MLModel:
    """Read an `MLmodel` file.

    Raises:
        InvalidError: it is none.
        MissingExtraError: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("yaml", "mlflow", "Reading an MLmodel file") from error
    if len(data) > _MOST_BYTES:
        raise InvalidError(FILE, f"{len(data):,} bytes", f"at most {_MOST_BYTES:,}")
    try:
        said = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InvalidError(FILE, shorten(str(error)), "YAML") from error
    flavours = said.get("flavors") if isinstance(said, dict) else None
    if not isinstance(flavours, dict) or not all(isinstance(each, dict) for each in flavours.values()):
        raise InvalidError(FILE, shorten(said), "a mapping with `flavors`")
    signature, example = said.get("signature"), said.get("saved_input_example_info")
    inputs = _inputs(signature["inputs"]) if isinstance(signature, dict) and signature.get("inputs") else None
    path = example.get("artifact_path") if isinstance(example, dict) else None
    predicts = flavours.get("python_function", {}).get("predict_fn")
    return MLModel(
        flavours, inputs, predicts if isinstance(predicts, str) else "predict", path if isinstance(path, str) else None
    )


def _inputs(text: Any) -> tuple[Field, ...] | None:
    """Columns as MLflow writes them; None of what are no columns, such as images or nested objects."""
    try:
        columns = read_foreign(text)
    except (ValueError, TypeError) as error:
        raise InvalidError(f"{FILE}.signature", shorten(text), "a list of columns as JSON") from error
    if not isinstance(columns, list) or not all(isinstance(column, Mapping) for column in columns):
        return None
    tensor = columns[0].get("tensor-spec") if columns else None
    if isinstance(tensor, Mapping):
        dtype, shape = _TENSORS.get(str(tensor.get("dtype"))), tensor.get("shape")
        width = shape[1] if len(columns) == 1 and isinstance(shape, list) and len(shape) == 2 else None
        if dtype is None or not isinstance(width, int) or not 0 < width < _MOST_COLUMNS:
            return None
        return tuple(Field(str(place), dtype) for place in range(width))
    found = []
    for place, column in enumerate(columns):
        dtype = _TYPES.get(str(column.get("type")))
        if dtype is None:
            return None
        is_nullable = column.get("required") is False or column.get("optional") is True
        found.append(Field(str(column.get("name", place)), dtype, is_nullable))
    return tuple(found)

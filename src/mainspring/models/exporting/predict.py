"""Predictions of a model that was exported from Mainspring, which this file doesn't need: only Python and requirements.txt.

`python predict.py < records.jsonl` reads one JSON object a line and writes one prediction a line. In Python `predict(records)`
takes a list of dicts, and `load()` gives the model once for many calls. `model.json` says what the model takes and gives; it
lies beside this file, or in the folder that is named.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_BATCH = 1_000
_MOST_PROBLEMS = 20
_TOGETHER = 4  # numbers that onnxruntime computes with in one instruction
_LARGEST = {"f32": (2 - 2**-23) * 2.0**127, "f64": sys.float_info.max}
_INTEGER = re.compile(r"([iu])(8|16|32|64)")


class Model:
    """A model that was exported, which answers records."""

    def __init__(self, folder: Path) -> None:
        said = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        data = (folder / said["file"]).read_bytes()
        if hashlib.sha256(data).hexdigest() != said["sha256"]:
            raise ValueError(f"{folder / said['file']} is not what was exported: its SHA-256 is another.")
        self.version: str = said["model_version"]
        self.inputs: list[dict[str, Any]] = said["inputs"]
        self.output: dict[str, Any] = said["output"]
        _import_from(folder / "code", said["code"])
        try:
            for name in ("numpy", *({"pandas", "polars"} & {said["input_kind"]})):
                import_module(name)
            self._model = _LOADERS[said["format"]](data, said["settings"])
        except ImportError as error:
            needed = f"`pip install -r {folder / 'requirements.txt'}` installs what the model needs."
            raise ImportError(f"{error}. {needed}", name=error.name, path=error.path) from error
        self._table = _TABLES[said["input_kind"]]

    def predict(self, records: Sequence[dict[str, Any]]) -> list[Any]:
        """One prediction for each record, in order; `ValueError` names every problem with its path."""
        import numpy as np

        columns = self.check(records)
        if not records:
            return []
        table, classes = self._table(self.inputs, columns), self.output["classes"]
        has_shares = self.output["kind"] in ("probability", "probabilities")
        given = np.asarray(self._model.predict_proba(table) if has_shares else self._model.predict(table))
        if not has_shares and given.shape == (len(records), 1):
            given = given[:, 0]
        if given.shape != ((len(records), len(classes)) if has_shares else (len(records),)):
            raise ValueError(f"The model gave answers of shape {given.shape} for {len(records)} records.")
        if given.dtype.kind == "f" and not np.isfinite(given).all():
            raise ValueError("The model gave NaN or infinity.")
        if self.output["kind"] == "probability":
            given = given[:, 1]
        elif has_shares:
            return [dict(zip(map(str, classes), row, strict=True)) for row in given.tolist()]
        answers: list[Any] = given.tolist()
        return answers

    def check(self, records: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
        """Records as columns; `ValueError` if they are not what the model takes."""
        names = {field["name"] for field in self.inputs}
        columns: dict[str, list[Any]] = {name: [] for name in names}
        problems: list[str] = []
        for row, record in enumerate(records):
            if not isinstance(record, dict):
                problems.append(f"[{row}]: {record!r:.40} is not a record of columns")
                continue
            problems += [f"[{row}].{name}: unknown column" for name in record if name not in names]
            for field in self.inputs:
                path = f"[{row}].{field['name']}"
                if field["name"] not in record:
                    problems.append(f"{path}: missing, expected {field['dtype']}")
                    continue
                try:
                    columns[field["name"]].append(_value(record[field["name"]], field))
                except (ValueError, TypeError, OverflowError, AttributeError):
                    null = " or null" if field["nullable"] else ""
                    problems.append(f"{path}: {record[field['name']]!r:.40}, expected {field['dtype']}{null}")
        if problems:
            raise ValueError("; ".join(problems[:_MOST_PROBLEMS]))
        return columns


def load(folder: Path | str = _HERE) -> Model:
    """The model of a folder, by default of the one in which this file is."""
    return Model(Path(folder))


def predict(records: Sequence[dict[str, Any]]) -> list[Any]:
    """One prediction for each record, by a model that is loaded for this call."""
    return load().predict(records)


def _import_from(folder: Path, modules: dict[str, str]) -> None:
    """Let the modules that go along be found, by their paths in the folder; one that is loaded already must be the same."""
    for name, path in modules.items():
        loaded = getattr(sys.modules.get(name), "__file__", None)
        if name in sys.modules and (not loaded or Path(loaded).read_bytes() != (folder / path).read_bytes()):
            raise ValueError(
                f"Another module `{name}` is loaded, from {loaded}. Load this model in a process of its own."
            )
    if modules and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _value(value: Any, field: dict[str, Any]) -> Any:
    """A value as the model gets it; an error if it is none of the field's type."""
    dtype = field["dtype"]
    if value is None or (type(value) is float and math.isnan(value)):
        if field["nullable"]:
            return None
        raise ValueError("null")
    whole = _INTEGER.fullmatch(dtype)
    if whole:
        bits, low = int(whole[2]) - (whole[1] == "i"), -(whole[1] == "i")
        return _expect(value, type(value) is int and low << bits <= value < 1 << bits)
    if dtype in _LARGEST:
        number = float(_expect(value, type(value) in (int, float)))
        return _expect(number, abs(number) <= _LARGEST[dtype])
    if dtype == "bool":
        return _expect(value, type(value) is bool)
    if dtype == "date" or dtype.startswith("datetime"):
        kind = date if dtype == "date" else datetime
        return value if type(value) is kind else kind.fromisoformat(value)
    if dtype == "uuid":
        return value if isinstance(value, uuid.UUID) else uuid.UUID(value)
    if dtype == "bin":
        return value if isinstance(value, bytes) else base64.b64decode(value, validate=True)
    is_known = not dtype.startswith("enum") or value in json.loads(dtype.removeprefix("enum"))
    return _expect(value, isinstance(value, str) and is_known)


def _expect(value: Any, is_right: bool) -> Any:
    if not is_right:
        raise ValueError(value)
    return value


# ---------------------------------------------------------------- how each format is loaded


def _skops(data: bytes, settings: dict[str, Any]) -> Any:
    # skops asks scikit-learn for all its estimators, which imports its adapter of PyTorch on the way: 1.5 s, 180 MB.
    torch = "sklearn.externals.array_api_compat.torch"
    blocks = torch not in sys.modules
    if blocks:
        sys.modules[torch] = None  # type: ignore[assignment]  # that is how Python marks what can't be imported
    try:
        import skops.io
    finally:
        if blocks:
            del sys.modules[torch]
    return skops.io.loads(data, trusted=settings["trusted"])


def _xgboost(data: bytes, settings: dict[str, Any]) -> Any:
    kind = getattr(import_module("xgboost"), settings["class"])
    model = kind(**settings["params"], missing=float(settings["missing"]))
    model.load_model(bytearray(data))
    return model


def _catboost(data: bytes, settings: dict[str, Any]) -> Any:
    return getattr(import_module("catboost"), settings["class"])().load_model(blob=data)


class _LightGBM:
    """A booster that answers as the estimator around it did."""

    def __init__(self, data: bytes, settings: dict[str, Any]) -> None:
        self._booster = import_module("lightgbm").Booster(model_str=data.decode())
        self._classes, self._given = settings["classes"], settings["predict"]

    def predict_proba(self, table: Any) -> Any:
        import numpy as np

        given = np.asarray(self._booster.predict(table, **self._given))
        return np.column_stack([1.0 - given, given]) if given.ndim == 1 else given

    def predict(self, table: Any) -> Any:
        import numpy as np

        if self._classes is None:
            return self._booster.predict(table, **self._given)
        return np.asarray(self._classes)[self.predict_proba(table).argmax(axis=1)]


class _Onnx:
    """A graph, run on one thread, which takes an array or a column for each of its inputs.

    Calls are filled up with the last row, so that the answer to a row has the same bits however many are asked with it. Only
    where a graph adds up or weighs the numbers of several classes (naive Bayes, `SGDClassifier`, `CalibratedClassifierCV`,
    `AdaBoostClassifier`) may the last bits differ by a row's place in the call.
    """

    def __init__(self, data: bytes, settings: dict[str, Any]) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # its import reads it, and would tell Microsoft otherwise
        runtime = import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # more change the last digits
        options.log_severity_level = 3
        self._session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self._types: dict[str, str] = settings["types"]

    def predict(self, table: Any) -> Any:
        return self._run(table, 0)

    def predict_proba(self, table: Any) -> Any:
        import numpy as np

        given = self._run(table, -1)
        return np.array([list(row.values()) for row in given]) if isinstance(given, list) else given

    def _run(self, table: Any, place: int) -> Any:
        import numpy as np

        inputs = self._session.get_inputs()
        if isinstance(table, dict):
            fed = {}
            for each in inputs:
                column = np.asarray(table[each.name], dtype=self._types[each.type])
                fed[each.name] = column[:, None] if len(each.shape) == 2 else column
        else:
            fed = {inputs[0].name: np.asarray(table).astype(self._types[inputs[0].type], copy=False)}
        output, rows = self._session.get_outputs()[place].name, len(fed[inputs[0].name])
        is_fixed = any(not each.shape or isinstance(each.shape[0], int) for each in inputs)  # takes so many rows only
        if not is_fixed:
            places = np.minimum(np.arange(rows + -rows % _TOGETHER), rows - 1)
            fed = {name: values.take(places, 0) for name, values in fed.items()}
        return self._session.run([output], fed)[0][:rows]


def _torch(data: bytes, settings: dict[str, Any]) -> Any:
    return import_module("mainspring_torch").build(data, settings)


def _pickle(data: bytes, settings: dict[str, Any]) -> Any:  # noqa: ARG001  # every loader takes settings
    """Runs whatever code the file holds; a person allowed it before it was exported."""
    return import_module("pickle").loads(data)


_LOADERS: dict[str, Callable[[bytes, dict[str, Any]], Any]] = {
    "skops": _skops, "xgboost": _xgboost, "lightgbm": _LightGBM, "catboost": _catboost, "onnx": _Onnx, "pickle": _pickle,
    "torch": _torch,
}  # fmt: skip


# ---------------------------------------------------------------- the table that the model knows


def _numpy_table(inputs: list[dict[str, Any]], columns: dict[str, list[Any]]) -> Any:
    import numpy as np

    return np.array([columns[field["name"]] for field in inputs], dtype=np.float64).T


def _pandas_table(inputs: list[dict[str, Any]], columns: dict[str, list[Any]]) -> Any:
    import numpy as np
    import pandas as pd

    made: dict[str, Any] = {}
    for field in inputs:
        name, dtype, values = field["name"], field["dtype"], columns[field["name"]]
        if dtype in _LARGEST or _INTEGER.fullmatch(dtype):
            kind = f"{dtype[0]}{int(dtype[1:]) // 8}"
            made[name] = np.array(values, dtype="f8" if None in values else kind)
        else:
            made[name] = values
    return pd.DataFrame(made)


def _polars_table(inputs: list[dict[str, Any]], columns: dict[str, list[Any]]) -> Any:
    import polars as pl

    plain: dict[str, Any] = {
        "f32": pl.Float32, "f64": pl.Float64, "bool": pl.Boolean, "str": pl.String, "date": pl.Date, "bin": pl.Binary,
        "i8": pl.Int8, "i16": pl.Int16, "i32": pl.Int32, "i64": pl.Int64, "u8": pl.UInt8, "u16": pl.UInt16,
        "u32": pl.UInt32, "u64": pl.UInt64,
    }  # fmt: skip

    def series(field: dict[str, Any]) -> Any:
        name, dtype = field["name"], field["dtype"]
        if dtype.startswith("enum"):
            kind: Any = pl.Enum(json.loads(dtype.removeprefix("enum")))
        elif dtype.startswith("datetime"):
            unit: Any
            unit, _, zone = dtype.removeprefix("datetime").strip("[]").partition(",")
            kind = pl.Datetime(unit or "us", zone.strip() or None)
        else:
            kind = pl.Categorical if dtype.startswith("cat") else plain[dtype]
        return pl.Series(name, columns[name], dtype=kind, strict=False)

    return pl.DataFrame([series(field) for field in inputs])


def _records_table(inputs: list[dict[str, Any]], columns: dict[str, list[Any]]) -> Any:
    names = [field["name"] for field in inputs]
    return [dict(zip(names, row, strict=True)) for row in zip(*map(columns.__getitem__, names), strict=True)]


_TABLES: dict[str, Callable[[list[dict[str, Any]], dict[str, list[Any]]], Any]] = {
    "numpy": _numpy_table, "pandas": _pandas_table, "polars": _polars_table, "records": _records_table,
    "columns": lambda inputs, columns: {field["name"]: columns[field["name"]] for field in inputs},
}  # fmt: skip


# ---------------------------------------------------------------- MLflow and the command line


class _Flavour:
    """What MLflow calls with a table. It calls the method that the MLmodel file names: both are the same."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def predict(self, table: Any, params: Any = None) -> Any:  # noqa: ARG002  # MLflow looks for the name
        import numpy as np
        import pandas as pd

        whole = {field["name"] for field in self._model.inputs if _INTEGER.fullmatch(field["dtype"])}
        frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame(table)
        columns = {str(name): [_plain(value, name in whole) for value in frame[name].tolist()] for name in frame}
        rows = zip(*columns.values(), strict=True)
        answers = self._model.predict([dict(zip(columns, row, strict=True)) for row in rows])
        return pd.DataFrame(answers) if self._model.output["kind"] == "probabilities" else np.array(answers)

    predict_proba = predict


def _plain(value: Any, is_whole: bool) -> Any:
    """A cell as a record has it: pandas holds whole numbers beside a missing one as floats, and times as its own kind."""
    if value is None or value != value or type(value).__name__ in ("NAType", "NaTType"):  # NaN is not itself
        return None
    if hasattr(value, "to_pydatetime"):
        return value.to_pydatetime()
    return int(value) if is_whole and type(value) is float and value.is_integer() else value


def _load_pyfunc(path: str) -> _Flavour:
    """What `mlflow.pyfunc.load_model` asks for."""
    return _Flavour(load(path))


def _batches(lines: Iterable[str]) -> Iterator[list[Any]]:
    records = (json.loads(line) for line in lines if line.strip())
    while batch := list(islice(records, _BATCH)):
        yield batch


def main() -> int:
    """Answer the records of standard input, line by line."""
    try:
        model = load(*sys.argv[1:2])
        for batch in _batches(sys.stdin):
            sys.stdout.writelines(f"{json.dumps(answer)}\n" for answer in model.predict(batch))
    except (ValueError, ImportError) as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The model in a folder of MLflow, by its flavour: loaded natively from a format that runs no code, or not at all.

Invariant: nothing of a folder is run or unpickled here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

import msgspec

from mainspring.artifacts import Encoded, load, save
from mainspring.artifacts.project import importing_from
from mainspring.artifacts.script import found_elsewhere
from mainspring.artifacts.sklearn import definitions_in
from mainspring.errors import InvalidError, MainspringError, MissingExtraError, NotAllowedError, shorten
from mainspring.foreign import read_foreign
from mainspring.models.mlmodel import EXPORTED, FILE, MLModel
from mainspring.models.onnx import read_onnx, signature_of
from mainspring.models.predictor import Predictor
from mainspring.models.registration import output_of
from mainspring.models.signature import FLOATS, INTEGERS, Field, Output, Signature
from mainspring.models.version import InputKind
from mainspring.runs.files import RunFile
from mainspring.store import BlobStore
from mainspring.workspace import Workspace

Files = Mapping[str, RunFile]
_EXAMPLE_ROWS = 5
_PICKLES = ("pickle", "cloudpickle")
_OF_LIGHTGBM = (
    "collections.OrderedDict", "lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier", "lightgbm.sklearn.LGBMRegressor",
    "lightgbm.sklearn.LGBMRanker", "lightgbm.sklearn.LGBMModel",
)  # fmt: skip
_INSTEAD = (
    "Log it with serialization_format='skops' or as ONNX, or register the model itself by "
    "mainspring.models.register(...)."
)
_ALLOW = (
    "Whoever trusts it says so: mainspring models allow-pickle REF --note WHY; then mainspring models convert REF stores "
    "it safely, with --example FILE if it was logged without an input example."
)


_MODULES = (
    "Register the module itself by mainspring.models.register(...), which keeps its weights as safetensors, or log it as "
    "ONNX, by mlflow.onnx.log_model(...)."
)
_EXPORTS = "Register the model itself, from its project, by mainspring.models.register(...)."


class Loadable(msgspec.Struct, frozen=True):
    """A model that is loaded here, with what it takes and gives."""

    encoded: Encoded
    signature: Signature
    input_kind: InputKind
    example: list[dict[str, Any]] = []


def read_model(
    said: MLModel, files: Files, workspace: Workspace, blobs: BlobStore | None = None
) -> tuple[Loadable | None, str]:
    """The model that can be loaded from these files, or why none can; `blobs` has them if the workspace doesn't."""
    blobs = workspace.blobs if blobs is None else blobs
    try:
        with importing_from(workspace.project.source_roots), found_elsewhere(FILE):
            form = pickle_form(said)
            if form:
                raise NotAllowedError(
                    f"it is stored as {form}, which runs whatever code it holds when it is opened. {_ALLOW} {_INSTEAD}"
                )
            for flavour, read in _READERS.items():
                if flavour in said.flavours:
                    return read(said, files, blobs), ""
    except MainspringError as error:
        return None, str(error)
    return None, _refusal(said)


def _refusal(said: MLModel) -> str:
    """Why a folder is kept and not opened, and what to do, of a model that no reader here is for."""
    if "pytorch" in said.flavours:
        return (
            f"it is a module of PyTorch in a format of MLflow's, whose loading runs whatever code it holds. {_MODULES}"
        )
    named = [flavour for flavour in said.flavours if flavour != "python_function"]
    if not named and said.text("python_function", "loader_module") == EXPORTED:
        return f"it is an export of a model of Mainspring, whose loading runs code from the folder. {_EXPORTS}"
    what = f"of the flavour {', '.join(named)}" if named else "Python code of its own"
    return f"it is {what}, whose loading runs code from the folder. {_INSTEAD}"


def pickle_form(said: MLModel) -> str:
    """As what kind of pickle the model is stored, if it is one that `pickle_of` gives; empty if it is none."""
    flavour = _estimator(said)
    form = said.text(flavour, "serialization_format") or "pickle" if flavour else ""
    return form if form in _PICKLES else ""


def pickle_of(said: MLModel, files: Files) -> RunFile:
    """The file with the model's pickle.

    Raises:
        InvalidError: the model is stored as none, or the folder doesn't have the file.
    """
    if not pickle_form(said):
        named = ", ".join(said.flavours)
        raise InvalidError(f"{FILE}.flavors", named, "a scikit-learn or LightGBM model that is stored as a pickle")
    flavour = _estimator(said)
    return _file(said, flavour, "pickled_model" if flavour == "sklearn" else "data", files)


def described(model: Any, encoded: Encoded, said: MLModel, files: Files, blobs: BlobStore) -> Loadable:
    """A model with the conventions of scikit-learn: what the folder says that it takes, and what it knows itself.

    Raises:
        InvalidError: neither knows what it takes.
    """
    named = getattr(model, "feature_names_in_", None)
    columns: Iterable[Any] = range(getattr(model, "n_features_in_", 0)) if named is None else named
    inputs = said.inputs or tuple(Field(str(column), "f64") for column in columns)
    if not inputs:
        raise InvalidError(f"{FILE}.signature", None, "the columns that the model takes, which it doesn't know itself")
    natural = output_of(model)
    output = natural if said.predicts == "predict_proba" or not natural.classes else Output("label", natural.classes)
    is_plain = all(field.dtype in FLOATS or field.dtype in INTEGERS for field in inputs)
    kind: InputKind = "numpy" if named is None and is_plain else "pandas"
    return _tried(model, Loadable(encoded, Signature(inputs, output), kind), said, files, blobs)


def _estimator(said: MLModel) -> str:
    """The flavour by which MLflow stores an estimator as scikit-learn's are, empty if none is there."""
    if "sklearn" in said.flavours:
        return "sklearn"
    return "lightgbm" if _is_wrapped(said) else ""


def _is_wrapped(said: MLModel) -> bool:
    """Whether it is an estimator of LightGBM; of a booster MLflow says a serialization format, too, and doesn't use it."""
    return said.text("lightgbm", "model_class") not in ("", "lightgbm.basic.Booster")


def _file(said: MLModel, flavour: str, key: str, files: Files) -> RunFile:
    path = said.text(flavour, key)
    if path not in files:
        raise InvalidError(f"{FILE}.flavors.{flavour}.{key}", path, "a file of the folder")
    return files[path]


def _sklearn(said: MLModel, files: Files, blobs: BlobStore) -> Loadable:
    file = _file(said, "sklearn", "pickled_model", files)
    encoded = Encoded("sklearn", file.digest or "", file.size_bytes or 0)
    model = load(encoded, blobs)
    if definitions_in(blobs.read(encoded.blob)):  # stored again under the names by which every process finds them
        encoded = save(model, blobs)[1]
    return described(model, encoded, said, files, blobs)


def _onnx(said: MLModel, files: Files, blobs: BlobStore) -> Loadable:
    file = _file(said, "onnx", "data", files)
    model, classes = read_onnx(blobs.read(file.digest or ""))
    kind, signature = signature_of(model, classes, None, None)
    if said.inputs and len(said.inputs) == len(signature.inputs):
        signature = Signature(said.inputs, signature.output)
    encoded = Encoded("onnx", file.digest or "", file.size_bytes or 0)
    return _tried(model, Loadable(encoded, signature, kind), said, files, blobs)


def _boosted(flavour: str, model: Callable[[MLModel, bytes], Any]) -> Callable[[MLModel, Files, BlobStore], Loadable]:
    """How the models of a boosting library are read: from its own format, and stored again by our codec."""

    def read(said: MLModel, files: Files, blobs: BlobStore) -> Loadable:
        data = blobs.read(_file(said, flavour, "data", files).digest or "")
        try:
            found = model(said, data)
        except ImportError as error:
            raise MissingExtraError(flavour, flavour, f"Loading a model of the flavour {flavour}") from error
        except (MainspringError, MemoryError):
            raise
        except Exception as error:  # each library has its own
            text = shorten(f"{type(error).__name__}: {error}", 300)
            raise InvalidError("model", said.text(flavour, "data"), f"a model of {flavour}", text) from error
        is_bare = said.text(flavour, "model_class").endswith(".Booster") and "classes" not in said.flavours[flavour]
        if is_bare and hasattr(found, "predict_proba"):
            said = msgspec.structs.replace(
                said, predicts="predict_proba"
            )  # what a bare booster of classes answers with
        return described(found, save(found, blobs)[1], said, files, blobs)

    return read


def _xgboost(said: MLModel, data: bytes) -> Any:
    import xgboost

    # A bare booster takes XGBoost's own matrix; its answers are those of a regressor with its trees.
    found = _class(said.text("xgboost", "model_class"), "xgboost.sklearn", xgboost.XGBModel) or xgboost.XGBRegressor
    model = found()
    model.load_model(bytearray(data))
    return model


def _lightgbm(said: MLModel, data: bytes) -> Any:
    """An estimator from skops, of LightGBM's types alone; or a booster from its text, inside a classifier if it has classes.

    LightGBM's own are numbered from 0; those that an estimator knew are said by folders that were exported here.
    """
    import lightgbm

    if _is_wrapped(said):  # and no pickle
        import skops.io

        return skops.io.loads(data, trusted=list(_OF_LIGHTGBM))
    booster = lightgbm.Booster(model_str=data.decode())
    classes, scores = said.flavours["lightgbm"].get("classes"), booster.num_model_per_iteration()
    if classes is None and scores == 1:
        return booster
    classes = list(range(scores)) if classes is None else classes
    if not isinstance(classes, list) or len(classes) != max(scores, 2):
        raise InvalidError(f"{FILE}.flavors.lightgbm.classes", shorten(classes), f"a list of {max(scores, 2)} classes")
    # Fitted on nothing but the classes, so that LightGBM itself sets what it keeps beside the booster.
    model: Any = lightgbm.LGBMClassifier(n_estimators=1, verbosity=-1)
    model.fit([[0.0] * booster.num_feature()] * len(classes), classes)
    vars(model).update(_Booster=booster)
    return model


def _catboost(said: MLModel, data: bytes) -> Any:
    import catboost

    form = said.text("catboost", "save_format") or "cbm"
    if form != "cbm":
        raise NotAllowedError(f"it is stored as {form}, and CatBoost's models are loaded from cbm. {_INSTEAD}")
    name = f"catboost.core.{said.text('catboost', 'model_type')}"
    return (_class(name, "catboost.core", catboost.CatBoost) or catboost.CatBoost)().load_model(blob=data)


def _class(name: str, module: str, base: type) -> Any:
    """A class of a library by its full name, None if it has none of this name that derives from a base."""
    home, _, last = name.rpartition(".")
    found = getattr(import_module(module), last, None) if home == module else None
    return found if isinstance(found, type) and issubclass(found, base) else None


def _tried(model: Any, found: Loadable, said: MLModel, files: Files, blobs: BlobStore) -> Loadable:
    """What is loadable, with the folder's example if the model answers it."""
    example = _example(said, files, blobs)
    if example:
        try:
            Predictor(model, found.signature, found.input_kind)(example)
        except Exception:  # noqa: BLE001  # an example is an extra, and a model may raise anything on a wrong one
            example = []
    return msgspec.structs.replace(found, example=example)


def _example(said: MLModel, files: Files, blobs: BlobStore) -> list[dict[str, Any]]:
    """The records of an example in pandas' `split` form; none of any other."""
    file = files.get(said.example or "")
    if file is None:
        return []
    try:
        table = read_foreign(blobs.read(file.digest or ""))
        columns, rows = table["columns"], table["data"]
        return [dict(zip(map(str, columns), row, strict=True)) for row in rows[:_EXAMPLE_ROWS]]
    except (KeyError, TypeError, ValueError):
        return []


_READERS: dict[str, Callable[[MLModel, Files, BlobStore], Loadable]] = {
    "sklearn": _sklearn,
    "onnx": _onnx,
    "xgboost": _boosted("xgboost", _xgboost),
    "lightgbm": _boosted("lightgbm", _lightgbm),
    "catboost": _boosted("catboost", _catboost),
}

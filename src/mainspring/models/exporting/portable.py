"""The model of a version as one file in its library's own format, and what `predict.py` has to know to load it."""

from __future__ import annotations

import math
import re
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib.resources import files as resources
from pathlib import Path
from pickletools import genops
from typing import Any

import msgspec

from mainspring.artifacts import Encoded
from mainspring.artifacts.leaves import leaves_of
from mainspring.artifacts.onnx import OnnxModel
from mainspring.artifacts.project import importing_from
from mainspring.errors import CodecError, InvalidError
from mainspring.models.exporting.definitions import definitions_of
from mainspring.models.exporting.modules import SaidModule
from mainspring.models.libraries import libraries_of
from mainspring.models.pickled import CODEC, allowed_bytes
from mainspring.models.version import ModelVersion, expect_model
from mainspring.runs.environment import installed
from mainspring.store import BlobStore
from mainspring.workspace import Workspace

_FORMLESS = re.compile(r"list\[|array\[|struct\{|decimal|duration|time$")
_BUILDS = "mainspring_torch.py"
_INSTEAD = (
    "Export it as ONNX (mainspring models onnx REF, then --format onnx), or register it as one that has a format."
)

# What an estimator of LightGBM passes on with each call; a booster's file holds it, and doesn't heed it.
_OF_PREDICTING = ("pred_early_stop", "pred_early_stop_freq", "pred_early_stop_margin", "predict_disable_shape_check")


class Portable(msgspec.Struct, frozen=True):
    """A model as a file: its name, bytes, the format that `predict.py` reads, and settings for that.

    `modules` are the top-level modules that loading it imports. `written_here` says that a library that is installed here
    wrote the bytes just now, rather than when the version was registered: that library's version is the one to pin.
    `needs_settings` says that the library itself, which opens the file without them, would answer otherwise. `code` are source
    files that go along, by their paths in a folder of their own; `defines` the modules that they are, with these paths.
    """

    file: str
    data: bytes
    format: str
    modules: frozenset[str]
    settings: Mapping[str, Any] = {}
    written_here: bool = False
    needs_settings: bool = False
    code: Mapping[str, bytes] = {}
    defines: Mapping[str, str] = {}


def portable(version: ModelVersion, model: Any, workspace: Workspace) -> Portable:
    """The model of a version, which was loaded and so holds no type that may not be, as it goes along without Mainspring.

    Raises:
        NotAllowedError: it is a pickle that nobody allowed.
        CodecError: its codec has no form that others read, or it holds definitions of the project that can't go along.
        InvalidError: it takes a column for which `predict.py` has no form: lists, structs, decimals, durations, times of day.
    """
    encoded, signature = expect_model(version)
    for field in signature.inputs:
        if _FORMLESS.match(field.dtype):
            wanted = "a column of numbers, texts, booleans, dates, instants, bytes or UUIDs"
            raise InvalidError(f"signature.{field.name}", field.dtype, wanted, "Mainspring itself serves it.")
    if encoded.codec == CODEC:
        return _pickle(version, allowed_bytes(version, workspace), workspace)
    if encoded.codec not in (*_FORMATS, *_WITH_CODE):
        raise CodecError(f"`{version}` is stored by `{encoded.codec}`, which only Mainspring reads. {_INSTEAD}")
    if encoded.codec in _WITH_CODE:
        with importing_from(workspace.project.source_roots):
            return _WITH_CODE[encoded.codec](encoded, workspace.blobs)
    if encoded.brings:
        raise _project(version, encoded.brings)
    return _FORMATS[encoded.codec](model)


def graph(model: OnnxModel) -> Portable:
    """An ONNX graph."""
    settings = {"types": {port.type: port.dtype for port in model.inputs}}
    return Portable("model.onnx", model.data, "onnx", frozenset({"onnxruntime", "numpy"}), settings)


def _torch(encoded: Encoded, blobs: BlobStore) -> Portable:
    found = SaidModule(encoded, blobs)
    program = (resources("mainspring.artifacts") / "torch_program.py").read_bytes()
    modules = frozenset({"torch", "safetensors", "numpy"})
    plain = Portable("model.safetensors", found.weights, "torch", modules, found.settings)
    return _with_code(plain, {*found.references, *encoded.brings}, {_BUILDS: program})


def _with_code(model: Portable, references: Collection[str], programs: Mapping[str, bytes]) -> Portable:
    """A model with the definitions of the project that it needs, and programs."""
    found = definitions_of(sorted(references))
    own = {name.partition(".")[0] for name in found.modules}
    return msgspec.structs.replace(
        model, modules=(model.modules | found.imports) - own, code={**found.files, **programs},
        defines={**found.modules, **{path.removesuffix(".py"): path for path in programs}},
    )  # fmt: skip


def _sklearn(encoded: Encoded, blobs: BlobStore) -> Portable:
    import skops.io

    data = blobs.read(encoded.blob)
    inside = sorted({leaf.encoded.codec for leaf in leaves_of(data)})
    if inside:
        raise CodecError(
            f"The estimator holds a model stored by `{inside[0]}`, and only Mainspring reads the two together. {_INSTEAD}"
        )
    trusted = sorted(skops.io.get_untrusted_types(data=data))
    modules = libraries_of(encoded, blobs)
    return _with_code(Portable("model.skops", data, "skops", modules, {"trusted": trusted}), encoded.brings, {})


def _xgboost(model: Any) -> Portable:
    params = model.get_params()
    missing = float(params.pop("missing"))  # said as text, as it may be NaN or infinite
    plain = {name: value for name, value in params.items() if isinstance(value, bool | int | str)}
    settings = {"class": type(model).__qualname__, "params": plain, "missing": str(missing)}
    data = _saved(model, "model.ubj")
    return Portable(
        "model.ubj", data, "xgboost", frozenset({"xgboost", "sklearn", "numpy"}), settings, written_here=True,
        needs_settings=not math.isnan(missing),
    )  # fmt: skip


def _lightgbm(model: Any) -> Portable:
    booster = getattr(model, "booster_", model)
    classes = getattr(model, "classes_", None)
    params = model.get_params() if hasattr(model, "get_params") else {}
    given = {name: params[name] for name in _OF_PREDICTING if name in params}
    settings = {"classes": None if classes is None else classes.tolist(), "predict": given}
    # Without a number of rounds it is those up to the best, which are the ones that predict.
    data = booster.model_to_string().encode()
    return Portable(
        "model.txt", data, "lightgbm", frozenset({"lightgbm", "numpy"}), settings, written_here=True,
        needs_settings=bool(given),
    )  # fmt: skip


def _catboost(model: Any) -> Portable:
    settings = {"class": type(model).__qualname__}
    data = _saved(model, "model.cbm")
    return Portable("model.cbm", data, "catboost", frozenset({"catboost", "numpy"}), settings, written_here=True)


def _saved(model: Any, name: str) -> bytes:
    """What a model writes of itself; its library writes files only."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        model.save_model(str(path))
        return path.read_bytes()


def _pickle(version: ModelVersion, data: bytes, workspace: Workspace) -> Portable:
    """Its bytes; of the texts in it those name modules that were imported to open it."""
    texts = {argument.partition(" ")[0] for _, argument, _ in genops(data) if isinstance(argument, str)}
    named = {text.partition(".")[0] for text in texts & sys.modules.keys()} - sys.stdlib_module_names
    here = installed(workspace.cache)
    own = {name for name in named if not set(here.providers.get(name, ())) - {*here.editable, "mainspring"}}
    if own:
        raise _project(version, sorted(own))
    return Portable("model.pkl", data, "pickle", frozenset({"numpy", *named}))


def _project(version: ModelVersion, names: Iterable[str]) -> CodecError:
    said = ", ".join(f"`{name}`" for name in names)
    return CodecError(f"`{version}` holds definitions of the project, which don't go along: {said}. {_INSTEAD}")


_FORMATS: dict[str, Callable[[Any], Portable]] = {
    "xgboost": _xgboost, "lightgbm": _lightgbm, "catboost": _catboost, "onnx": graph,
}  # fmt: skip
_WITH_CODE: dict[str, Callable[[Encoded, BlobStore], Portable]] = {"sklearn": _sklearn, "torch.module": _torch}

"""Registering a folder as MLflow writes it: every file is kept; the model in it is loaded natively, or never.

Invariant: nothing of a folder is run or unpickled. A model is loaded by one of our codecs, from a format that can't run code,
or the version says why it isn't.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mainspring.artifacts import Encoded, load, meaning_digest
from mainspring.artifacts.project import importing_from
from mainspring.errors import InvalidError, MainspringError, NotAllowedError
from mainspring.ledger import is_replay
from mainspring.models._rules import check_model_name, check_tags, check_text
from mainspring.models._store import ModelStore
from mainspring.models.mlmodel import FILE, MLModel, read_mlmodel
from mainspring.models.onnx import read_onnx, signature_of
from mainspring.models.predictor import Predictor
from mainspring.models.registration import output_of
from mainspring.models.signature import Field, Output, Signature
from mainspring.models.version import InputKind, ModelVersion
from mainspring.runs.files import RunFile, RunFiles, checked_path
from mainspring.secrets import redact
from mainspring.store import BlobStore
from mainspring.workspace import Workspace, current_workspace

Files = Mapping[str, RunFile]
_EXAMPLE_ROWS = 5
_INSTEAD = (
    "Load it with MLflow where you trust whoever made it, and register the model itself by mainspring.models.register(...)."
    " Or log it with serialization_format='skops', or as ONNX."
)


class _Loadable(msgspec.Struct, frozen=True):
    """A model that a codec of ours loads, with what it takes and gives."""

    encoded: Encoded
    signature: Signature
    input_kind: InputKind
    example: list[dict[str, Any]] = []


def register_folder(
    folder: Path | str, name: str, *, run: str | None = None, source: str = "", note: str = "",
    workspace: Workspace | None = None,
) -> ModelVersion:  # fmt: skip
    """Record a version of a model that lies in a folder with an `MLmodel` file.

    A scikit-learn model stored with skops and an ONNX graph load and serve here; what is pickled is kept and never loaded,
    and the version's `refusal` says what to do. The same files under one name are the same version.

    Raises:
        InvalidError: there is no such folder, no `MLmodel` file in it, or a file is a link or has a name that can't be kept.
        NotAllowedError: this is a replay, and what was recorded has other content.
    """
    workspace = workspace or current_workspace()
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_symlink() or not path.is_dir())
    links = [path for path in paths if path.is_symlink()]
    if links:
        raise InvalidError("folder", str(links[0]), "a file of its own: a link may lead anywhere", "Copy the files.")
    relative = {path.relative_to(folder).as_posix(): path for path in paths}
    if FILE not in relative:
        raise InvalidError("folder", str(folder), f"a folder with an `{FILE}` file")
    files = {
        checked_path(path): RunFile(path, False, each.stat().st_size, workspace.blobs.put(each))
        for path, each in relative.items()
    }
    return _record(
        files, name, {"run": run, "source": source or str(folder), "note": redact(note)}, workspace, always=False
    )


def create_version(
    name: str, files: Files, *, run: str | None = None, source: str = "", description: str = "",
    tags: Mapping[str, str] | None = None, workspace: Workspace | None = None,
) -> ModelVersion:  # fmt: skip
    """Record a new version of a model from files whose blobs are there, by their paths in the folder; there may be none.

    Raises:
        InvalidError: the name, a path or a tag can't be kept.
        NotAllowedError: this is a replay, and what was recorded has other content.
    """
    said = {"description": check_text("description", description), "tags": check_tags(tags or {})}
    kept = {checked_path(path): RunFile(path, False, each.size_bytes, each.digest) for path, each in files.items()}
    fields = {"run": run, "source": check_text("source", source), "note": ""} | said
    return _record(kept, name, fields, workspace or current_workspace(), always=True)


def _record(files: Files, name: str, fields: dict[str, Any], workspace: Workspace, *, always: bool) -> ModelVersion:
    name, store, kept = check_model_name(name), ModelStore(workspace.database, workspace.ledger), RunFiles(workspace)
    said, refusal = _read(files, workspace.blobs)
    loadable = None
    if said is not None:
        loadable, refusal = _look(said, files, workspace)
    content = _content_digest(files, said)
    version = ModelVersion(
        id="", name=name, number=0, content_digest=content, files=content or None, refusal=refusal,
        encoded=loadable.encoded if loadable else None, signature=loadable.signature if loadable else None,
        input_kind=loadable.input_kind if loadable else "records",
        input_example=workspace.blobs.put(msgspec.json.encode(loadable.example)) if loadable and loadable.example else None,
        metrics={}, evaluation=None, gates=None, features=None, created_at=0, actor="", **fields,
    )  # fmt: skip
    if is_replay():
        known = store.find("m.name = ? AND v.content_digest = ?", (name, content))
        if known is None:
            raise NotAllowedError(
                f"A replay registers nothing, and no version of `{name}` has these files: it differs."
            )
        return known
    return store.add(version, always=always, also=lambda tx, made: kept.name(tx, made.id, list(files.values())))


def _content_digest(files: Files, said: MLModel | None) -> str:
    """Over paths and bytes; of a readable `MLmodel` over what it says of the model, not of when and by which run."""
    digests = {path: file.digest or "" for path, file in files.items()}
    if said is not None:
        digests[FILE] = msgspec.json.encode(msgspec.to_builtins(said, str_keys=True), order="deterministic").decode()
    parts = [part for path in sorted(digests) for part in (path, digests[path])]
    return meaning_digest("model folder", 1, *parts) if files else ""


def _read(files: Files, blobs: BlobStore) -> tuple[MLModel | None, str]:
    """What the folder says of its model, or why that isn't known."""
    if FILE not in files:
        return None, f"it has no `{FILE}` file." if files else ""
    try:
        return read_mlmodel(blobs.read(files[FILE].digest or "")), ""
    except MainspringError as error:
        return None, str(error)


def _look(said: MLModel, files: Files, workspace: Workspace) -> tuple[_Loadable | None, str]:
    """The model that can be loaded here, or why none can."""
    try:
        with importing_from(workspace.project.source_roots):
            if "sklearn" in said.flavours:
                return _sklearn(said, files, workspace.blobs)
            if "onnx" in said.flavours:
                return _onnx(said, files, workspace.blobs), ""
    except MainspringError as error:
        return None, str(error)
    named = [flavour for flavour in said.flavours if flavour != "python_function"]
    what = f"of the flavour {', '.join(named)}" if named else "Python code of its own"
    return None, f"it is {what}, whose loading runs code from the folder. {_INSTEAD}"


def _file(said: MLModel, flavour: str, key: str, files: Files) -> RunFile:
    path = said.text(flavour, key)
    if path not in files:
        raise InvalidError(f"{FILE}.flavors.{flavour}.{key}", path, "a file of the folder")
    return files[path]


def _sklearn(said: MLModel, files: Files, blobs: BlobStore) -> tuple[_Loadable | None, str]:
    form = said.text("sklearn", "serialization_format") or "pickle"
    if form != "skops":
        return None, f"it is stored as {form}, which runs whatever code it holds when it is opened. {_INSTEAD}"
    file = _file(said, "sklearn", "pickled_model", files)
    encoded = Encoded("sklearn", file.digest or "", file.size_bytes or 0)
    model = load(encoded, blobs)
    named = getattr(model, "feature_names_in_", None)
    columns = range(getattr(model, "n_features_in_", 0)) if named is None else named
    inputs = said.inputs or tuple(Field(str(column), "f64") for column in columns)
    if not inputs:
        raise InvalidError(f"{FILE}.signature", None, "the columns that the model takes, which it doesn't know itself")
    natural = output_of(model)
    output = natural if said.predicts == "predict_proba" or not natural.classes else Output("label", natural.classes)
    kind: InputKind = "pandas" if named is not None else "numpy"
    return _Loadable(encoded, *_tried(model, Signature(inputs, output), kind, said, files, blobs)), ""


def _onnx(said: MLModel, files: Files, blobs: BlobStore) -> _Loadable:
    file = _file(said, "onnx", "data", files)
    model, classes = read_onnx(blobs.read(file.digest or ""))
    kind, signature = signature_of(model, classes, None, None)
    if said.inputs and len(said.inputs) == len(signature.inputs):
        signature = Signature(said.inputs, signature.output)
    encoded = Encoded("onnx", file.digest or "", file.size_bytes or 0)
    return _Loadable(encoded, *_tried(model, signature, kind, said, files, blobs))


def _tried(
    model: Any, signature: Signature, kind: InputKind, said: MLModel, files: Files, blobs: BlobStore
) -> tuple[Signature, InputKind, list[dict[str, Any]]]:
    """What is loadable, with the folder's example if the model answers it."""
    example = _example(said, files, blobs)
    if example:
        try:
            Predictor(model, signature, kind)(example)
        except Exception:  # noqa: BLE001  # an example is an extra, and a model may raise anything on a wrong one
            example = []
    return signature, kind, example


def _example(said: MLModel, files: Files, blobs: BlobStore) -> list[dict[str, Any]]:
    """The records of an example in pandas' `split` form; none of any other."""
    file = files.get(said.example or "")
    if file is None:
        return []
    try:
        table = msgspec.json.decode(blobs.read(file.digest or ""))
        columns, rows = table["columns"], table["data"]
        return [dict(zip(map(str, columns), row, strict=True)) for row in rows[:_EXAMPLE_ROWS]]
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return []

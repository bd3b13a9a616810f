"""Registering a folder as MLflow writes it: every file is kept; its model is loaded natively, or the version says why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mainspring.artifacts import meaning_digest
from mainspring.errors import InvalidError, MainspringError, NotAllowedError, shorten
from mainspring.ledger import is_replay
from mainspring.models._rules import check_model_name, check_tags, check_text
from mainspring.models._store import ModelStore
from mainspring.models.flavours import Files, Loadable, pickle_form, read_model
from mainspring.models.mlmodel import FILE, MLModel, read_mlmodel
from mainspring.models.needs import measure_needs
from mainspring.models.version import ModelVersion, ResourceNeeds
from mainspring.runs.files import RunFile, RunFiles, checked_path
from mainspring.secrets import redact
from mainspring.store import BlobStore
from mainspring.workspace import Workspace, current_workspace

_AGAIN = "Register the model itself, or the folder that it lies in by mainspring.models.register_folder(...)."


def register_folder(
    folder: Path | str, name: str, *, run: str | None = None, source: str = "", note: str = "", must_load: bool = False,
    workspace: Workspace | None = None,
) -> ModelVersion:  # fmt: skip
    """Record a version of a model that lies in a folder with an `MLmodel` file.

    A scikit-learn model stored with skops, models of XGBoost, LightGBM and CatBoost in their own formats and an ONNX graph
    load and serve here; what is pickled is kept and not opened, and the version's `refusal` says what to do. The same files
    under one name are the same version. With `must_load` a folder is not recorded whose model can't be loaded, whoever allows
    it; a pickle is, as a person can allow it.

    Raises:
        InvalidError: there is no such folder, no `MLmodel` file in it, or a file is a link or has a name that can't be kept.
        NotAllowedError: this is a replay, and what was recorded has other content; or the model must load, and doesn't.
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
    fields = {"run": run, "source": source or str(folder), "note": redact(note)}
    return _record(files, name, fields, workspace, always=False, must_load=must_load)


def create_version(
    name: str, files: Files, *, run: str | None = None, source: str = "", description: str = "",
    tags: Mapping[str, str] | None = None, came_from: Sequence[str] = (), workspace: Workspace | None = None,
) -> ModelVersion:  # fmt: skip
    """Record a new version of a model from files whose blobs are there, by their paths in the folder; there may be none.

    They are read as `register_folder` reads them. `came_from` are nodes of the lineage.

    Raises:
        InvalidError: the name, a path or a tag can't be kept.
        NotAllowedError: this is a replay, and what was recorded has other content.
    """
    said = {"description": check_text("description", description), "tags": check_tags(tags or {})}
    kept = {checked_path(path): RunFile(path, False, each.size_bytes, each.digest) for path, each in files.items()}
    fields = {"run": run, "source": check_text("source", source), "note": ""} | said
    return _record(kept, name, fields, workspace or current_workspace(), came_from, always=True)


def complete_version(version: ModelVersion, files: Files, workspace: Workspace) -> ModelVersion:
    """Give a version that was recorded before its files were all there what they are now, and read the model in them."""
    store, kept = ModelStore(workspace.database, workspace.ledger), RunFiles(workspace)
    content, loadable = _read(files, version.source, workspace)
    content["needs"] = _needs(loadable, files, content["refusal"], workspace)
    with store.database.transaction() as tx:
        kept.remove(tx, version.id)
        kept.name(tx, version.id, list(files.values()))
        return store.change_version(tx, store.version(version.id), "completed", **content)


def _record(
    files: Files, name: str, fields: dict[str, Any], workspace: Workspace, came_from: Sequence[str] = (), *, always: bool,
    must_load: bool = False,
) -> ModelVersion:  # fmt: skip
    name, store, kept = check_model_name(name), ModelStore(workspace.database, workspace.ledger), RunFiles(workspace)
    content, loadable = _read(files, fields["source"], workspace)
    if must_load and loadable is None and not _is_pickle(files, workspace.blobs):
        raise NotAllowedError(f"The model in `{fields['source']}` can't be loaded or served: {content['refusal']}")
    if is_replay():
        known = store.find("m.name = ? AND v.content_digest = ?", (name, content["content_digest"]))
        if known is None:
            raise NotAllowedError(
                f"A replay registers nothing, and no version of `{name}` has these files: it differs."
            )
        return known
    version = ModelVersion(
        id="", name=name, number=0, metrics={}, evaluation=None, gates=None, features=None, created_at=0, actor="",
        needs=_needs(loadable, files, content["refusal"], workspace), **content, **fields,
    )  # fmt: skip
    return store.add(
        version, came_from, always=always, also=lambda tx, made: kept.name(tx, made.id, list(files.values()))
    )


def _read(files: Files, source: str, workspace: Workspace) -> tuple[dict[str, Any], Loadable | None]:
    """What a version records of a folder and the model in it, by the names of its fields, and the model if it loads."""
    said, refusal = read_said(files, workspace.blobs)
    loadable = None
    if said is not None:
        loadable, refusal = read_model(said, files, workspace)
    elif not files and "/" in source:  # of a prompt MLflow's clients say `dummy-source`
        refusal = f"there were no files at `{shorten(source, 100)}`, or none that are read here. {_AGAIN}"
    digest = _content_digest(files, said)
    return {
        "content_digest": digest, "files": digest or None, "refusal": refusal,
        "encoded": loadable.encoded if loadable else None, "signature": loadable.signature if loadable else None,
        "input_kind": loadable.input_kind if loadable else "records",
        "input_example": workspace.blobs.put(msgspec.json.encode(loadable.example)) if loadable and loadable.example else None,
    }, loadable  # fmt: skip


def _is_pickle(files: Files, blobs: BlobStore) -> bool:
    said, _ = read_said(files, blobs)
    return said is not None and bool(pickle_form(said))


def _needs(loadable: Loadable | None, files: Files, refusal: str, workspace: Workspace) -> ResourceNeeds | None:
    """What the model needs; of one that isn't loaded the size of its files, and why no more."""
    if loadable is not None:
        return measure_needs(loadable.encoded, workspace)
    return ResourceNeeds(sum(file.size_bytes or 0 for file in files.values()), unmeasured=refusal) if files else None


def _content_digest(files: Files, said: MLModel | None) -> str:
    """Over paths and bytes; of a readable `MLmodel` over what it says of the model, not of when and by which run."""
    digests = {path: file.digest or "" for path, file in files.items()}
    if said is not None:
        digests[FILE] = msgspec.json.encode(msgspec.to_builtins(said, str_keys=True), order="deterministic").decode()
    parts = [part for path in sorted(digests) for part in (path, digests[path])]
    return meaning_digest("model folder", 1, *parts) if files else ""


def read_said(files: Files, blobs: BlobStore) -> tuple[MLModel | None, str]:
    """What the folder says of its model, or why that isn't known."""
    if FILE not in files:
        return None, f"it has no `{FILE}` file. {_AGAIN}" if files else ""
    try:
        return read_mlmodel(blobs.read(files[FILE].digest or "")), ""
    except MainspringError as error:
        return None, str(error)

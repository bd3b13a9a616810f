"""The folder of MLflow that a version is exported as, kept with the version once somebody has asked for it.

Invariant: what is kept is whole and has passed the checks of every export; one process at a time makes it.
"""

from __future__ import annotations

import threading
from pathlib import Path
from tempfile import TemporaryDirectory

from mainspring.errors import ConflictError, MainspringError, NotFoundError, StorageError
from mainspring.models.exporting.folder import export_model
from mainspring.models.mlmodel import FILE
from mainspring.models.registry import model_store
from mainspring.models.version import ModelVersion, exports_of
from mainspring.runs.files import RunFile, RunFiles
from mainspring.workspace import Workspace

FOLDER = "mlflow"
_LEASE_S = 900.0
_making = threading.Lock()


def keep_mlflow_folder(version: ModelVersion, workspace: Workspace) -> None:
    """Make the folder, unless it is there, as files of `exports_of(version)` below `FOLDER`.

    Raises:
        NotFoundError: the model can't be exported so; the text says why and what to do.
        StorageError: another process is making it now; ask again.
    """
    kept = RunFiles(workspace)
    if _is_there(version, kept):
        return
    with _making:
        if _is_there(version, kept):
            return
        try:
            lease = workspace.leases.claim(f"mlflow-folder:{version.id}", workspace.owner, _LEASE_S)
        except ConflictError as error:
            where = f"The MLflow folder of `{version}`"
            raise StorageError(where, "another process is making it", "Ask again in a few seconds.") from error
        try:
            _make(version, kept, workspace)
        except StorageError:
            raise
        except MainspringError as error:
            hint = (
                f"It was registered as a model, and can't be exported as one: {error} "
                f"`mainspring.models.load_model({str(version)!r})` and `mainspring serve` load it as it is."
            )
            raise NotFoundError("MLflow folder", str(version), hint=hint) from error
        finally:
            workspace.leases.release(lease)


def _is_there(version: ModelVersion, kept: RunFiles) -> bool:
    return f"{FOLDER}/{FILE}" in kept.walk(exports_of(version), FOLDER)


def _make(version: ModelVersion, kept: RunFiles, workspace: Workspace) -> None:
    with TemporaryDirectory() as apart:
        folder = Path(apart) / FOLDER
        export_model(version, folder, form="mlflow", workspace=workspace)
        files = [
            RunFile(
                f"{FOLDER}/{each.relative_to(folder).as_posix()}", False, each.stat().st_size, workspace.blobs.put(each)
            )
            for each in sorted(folder.rglob("*"))
            if each.is_file() and "__pycache__" not in each.parts
        ]
    store = model_store(workspace)
    with store.database.transaction() as tx:
        store.version(version.id)  # one that was deleted meanwhile keeps nothing
        kept.name(tx, exports_of(version), files)

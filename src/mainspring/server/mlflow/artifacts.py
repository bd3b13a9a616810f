"""Files of runs and logged models: listed by their owner, and through the proxy by the paths that clients are given."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import msgspec

from mainspring.errors import UnsupportedError
from mainspring.runs.files import RunFile, checked_path
from mainspring.server.mlflow import model_versions
from mainspring.server.mlflow.records import Records, address, expect_inside
from mainspring.server.mlflow.wire import Route, Told


class _List(msgspec.Struct, frozen=True):
    run_id: str = ""
    run_uuid: str = ""
    path: str = ""


class _ListProxied(msgspec.Struct, frozen=True):
    path: str = ""


class _ListModel(msgspec.Struct, frozen=True):
    model_id: str
    artifact_directory_path: str = ""


class _Proxied(msgspec.Struct, frozen=True):
    artifact_path: str


def _list(records: Records, asked: _List) -> Told:
    run = records.read_run(asked.run_id or asked.run_uuid)
    number = records.experiments.get(run.experiment).number
    return {"root_uri": address(number, run.id), "files": listed(records, run.id, asked.path)}


def _list_model(records: Records, asked: _ListModel) -> Told:
    model = records.logged.get(asked.model_id)
    files = listed(records, model.id, asked.artifact_directory_path)
    return {"root_uri": address(model.experiment, model.id), "files": files}


def _list_proxied(records: Records, asked: _ListProxied) -> Told:
    owner, folder = records.place(asked.path)
    model_versions.keep_folder(records, owner)
    prefix = len(folder.strip("/")) + 1 if folder.strip("/") else 0
    return {"files": [each | {"path": each["path"][prefix:]} for each in listed(records, owner, folder)]}


def _delete_proxied(records: Records, asked: _Proxied) -> Told:
    owner, path = records.place(asked.artifact_path)
    records.expect_writable(owner)
    records.files.delete(owner, path.strip("/"))
    return {}


def _in_parts(records: Records, asked: _Proxied) -> Told:
    """MLflow's clients know by the first words of the text that they may send the file as a whole."""
    records.place(asked.artifact_path)
    raise UnsupportedError("Multipart upload is not supported for the current artifact repository: files come whole.")


def open_file(records: Records, path: str) -> BinaryIO:
    """A file by its path in the proxy, opened to be read; raises `NotFoundError`, `InvalidError` and `StorageError`."""
    owner, place = records.place(path)
    model_versions.keep_folder(records, owner)
    return records.files.open(owner, place)


def put_file(records: Records, path: str, content: Path) -> None:
    """Keep a file under its path in the proxy.

    Raises:
        NotFoundError: there is no such run or logged model.
        InvalidError: the run is deleted, or the path is none of a file.
        NotAllowedError: the files are those of a registered version, which never change.
    """
    owner, place = records.place(path)
    checked_path(place)
    records.expect_writable(owner)
    records.files.put(owner, place, content)
    if not owner.startswith("m-"):  # a logged model's are read when it is ready
        model_versions.add_files(records, owner)


def listed(records: Records, owner: str, folder: str) -> list[Told]:
    """What lies in a folder of an owner; of a file's path, and where nothing lies, nothing."""
    expect_inside(folder)
    folder = folder.strip("/") and checked_path(folder.rstrip("/"))
    return [_told(each) for each in records.files.list(owner, folder) if each.path != folder]


def _told(file: RunFile) -> Told:
    return {"path": file.path, "is_dir": file.is_folder} | (
        {"file_size": file.size_bytes} if file.size_bytes else {}  # MLflow says nothing of an empty file's size
    )


ROUTES = (
    Route("GET", "/mlflow/artifacts/list", _List, _list),
    Route("GET", "/mlflow/logged-models/{model_id}/artifacts/directories", _ListModel, _list_model),
    Route("GET", "/mlflow-artifacts/artifacts", _ListProxied, _list_proxied),
    Route("DELETE", "/mlflow-artifacts/artifacts/{artifact_path...}", _Proxied, _delete_proxied),
    Route("POST", "/mlflow-artifacts/mpu/create/{artifact_path...}", _Proxied, _in_parts),
)

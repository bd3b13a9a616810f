"""Serving a model that lies in a file or folder: it is registered, and bound to an endpoint of its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mainspring.errors import InvalidError
from mainspring.models import ModelVersion, register_folder, register_onnx
from mainspring.serving.endpoint import EndpointStore, bind, check_endpoint_name
from mainspring.serving.sealed import DESCRIPTION as SEALED
from mainspring.serving.sealed import read_sealed, unseal
from mainspring.workspace import Workspace, current_workspace

_ALIAS = "production"
_DESCRIPTION = "MLmodel"


def is_model_path(given: str) -> bool:
    """Whether this is a model that lies somewhere: an ONNX file, a folder as MLflow writes it, or a sealed endpoint."""
    path = Path(given)
    return "/" in given or path.suffix == ".onnx" or any((path / name).is_file() for name in (_DESCRIPTION, SEALED))


def endpoints_for(given: Sequence[str], workspace: Workspace | None = None) -> tuple[str, ...]:
    """The names of endpoints, each as `endpoint_for` gives it; nothing is registered if two are the same.

    Raises:
        InvalidError: an endpoint is meant twice, or one can't be had.
        NotFoundError: there is no such file.
        NotAllowedError: a folder's model can't be loaded without running its code; the text says what to do.
        CodecError: a file is no ONNX graph.
        ExistsError: a sealed endpoint, or its model, has the name of another one here.
        MissingExtraError: what reads such a model is not installed.
    """
    workspace = workspace or current_workspace()
    names = [_name_of(each, EndpointStore(workspace.database)) for each in given]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise InvalidError("endpoint", name, "named once", "A file or folder is the endpoint of its name.")
    return tuple(endpoint_for(each, workspace) for each in given)


def endpoint_for(given: str, workspace: Workspace | None = None) -> str:
    """The name of an endpoint: as given, or that of the model at a path, which is registered and bound.

    The endpoint and the model have the name of the file or folder. The same content is the same version, so that doing it
    again changes nothing; other content is the next version, to which the endpoint moves. An endpoint that is there
    by the very name is meant before a path. A sealed endpoint is bound as it was.

    Raises:
        NotFoundError: there is no such file.
        InvalidError: it is no model, its name is none for an endpoint, or an endpoint of the name serves another model.
        NotAllowedError: the folder's model can't be loaded without running its code; the text says what to do.
        CodecError: the file is no ONNX graph.
        ExistsError: a sealed endpoint, or its model, has the name of another one here.
        MissingExtraError: what reads such a model is not installed.
    """
    workspace = workspace or current_workspace()
    endpoints = EndpointStore(workspace.database)
    if not is_model_path(given) or endpoints.find(given) is not None:
        return given
    path = Path(given)
    if (path / SEALED).is_file():
        return unseal(path, workspace).name
    name = _name_of(given, endpoints)
    check_endpoint_name(name)
    before = endpoints.find(name)
    if before is not None and before.target != f"{name}@{_ALIAS}":
        hint = "Give the file another name, or register it and bind it yourself."
        raise InvalidError("path", given, f"one of another name: the endpoint `{name}` serves {before.target}", hint)
    version = _registered(path, name, workspace)
    return bind(name, f"{name}@{_ALIAS}", version=str(version), workspace=workspace).name


def _name_of(given: str, endpoints: EndpointStore) -> str:
    """The name of an endpoint that is meant by a name or a path, whether it is there or not."""
    path = Path(given)
    if not is_model_path(given) or endpoints.find(given) is not None:
        return given
    if (path / SEALED).is_file():
        return read_sealed(path).endpoint.name
    return re.sub(r"[^A-Za-z0-9_.\-]+", "-", path.resolve().stem if path.suffix == ".onnx" else path.resolve().name)


def _registered(path: Path, name: str, workspace: Workspace) -> ModelVersion:
    if path.is_dir():
        if not (path / _DESCRIPTION).is_file():
            raise InvalidError(
                "path", str(path), f"an ONNX file, or a folder with an `{_DESCRIPTION}` or `{SEALED}` file"
            )
        return register_folder(path, name, must_load=True, workspace=workspace)
    if path.is_file() and path.suffix != ".onnx":
        raise InvalidError("path", str(path), f"an ONNX file (.onnx), or a folder with an `{_DESCRIPTION}` file")
    return register_onnx(path, name, workspace=workspace)

"""An endpoint as a folder: the version that it serves, under the ids that it has, for another workspace to serve.

Invariant: the folder depends on what is served alone, not on when or by whom it was bound, described or staged. It holds no
evidence and nobody's name: the version's id leads to these in the workspace that it comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from mainspring.errors import ExistsError, InvalidError, NotAllowedError, shorten
from mainspring.foreign import read_foreign
from mainspring.models import (
    ModelStore,
    ModelVersion,
    RegisteredModel,
    expect_model,
    get_model_version,
    move_bound_alias,
)
from mainspring.models.pickled import CODEC
from mainspring.models.version import exports_of
from mainspring.runs.files import RunFile, RunFiles
from mainspring.serving.endpoint import Endpoint, EndpointStore, expect_inside, named_endpoint
from mainspring.store import Transaction
from mainspring.workspace import Workspace, current_workspace

if TYPE_CHECKING:
    from mainspring.features import Definition

DESCRIPTION = "endpoint.json"
BLOBS = "blobs"
_FORMAT = 1


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """What another workspace needs to serve an endpoint. `graph` are the files of an ONNX graph, if that answers.

    `definitions` are those of the features that are read, as JSON; `blobs` the digests of what all of them name.
    """

    format: int = _FORMAT
    endpoint: Endpoint
    model: RegisteredModel
    version: ModelVersion
    graph: tuple[RunFile, ...] = ()
    definitions: tuple[dict[str, Any], ...] = ()
    blobs: tuple[str, ...] = ()

    @property
    def reads_features(self) -> bool:
        """Whether it answers with features of an online store."""
        return bool(self.definitions)


def seal(name: str, workspace: Workspace | None = None) -> Sealed:
    """What an endpoint serves now.

    Raises:
        NotFoundError: no such endpoint.
        NotAllowedError: a service that runs outside answers for it, or its model is a pickle, which only the workspace
            opens that signed it.
    """
    workspace = workspace or current_workspace()
    endpoint = named_endpoint(name, workspace)
    expect_inside(endpoint)
    version = get_model_version(endpoint.version, workspace)
    encoded, _ = expect_model(version)
    graph: tuple[RunFile, ...] = ()
    if endpoint.runtime == "onnx":
        graph = tuple(RunFiles(workspace).walk(exports_of(version)).values())
    elif encoded.codec == CODEC:
        raise NotAllowedError(
            f"`{version}` is a pickle, which is opened where it was signed alone. Serve its ONNX graph "
            f"(`mainspring models onnx {version}`), or register the model as one that needs no pickle."
        )
    held = {encoded.blob, *encoded.blobs} if not graph else {file.digest or "" for file in graph}
    definitions = _definitions(version, workspace)
    held |= {blob for each in definitions for blob in _code_of(each)}
    held |= {blob for blob in (version.input_example, version.environment) if blob is not None}
    return Sealed(
        endpoint=replace(endpoint, generation=1, moved_at=endpoint.created_at),
        model=_plain_model(ModelStore(workspace.database).model(version.name)),
        version=_plain_version(version),
        graph=graph,
        definitions=tuple(msgspec.to_builtins(each) for each in definitions),
        blobs=tuple(sorted(held)),
    )


def sealed_files(sealed: Sealed, workspace: Workspace) -> Iterator[tuple[str, Path | bytes]]:
    """The files of the folder by their relative paths: bytes, or where they lie.

    Raises:
        CorruptBlobError: a blob is not what its digest says.
    """
    yield DESCRIPTION, msgspec.json.format(msgspec.json.encode(sealed, order="deterministic"))
    for digest in sealed.blobs:
        yield f"{BLOBS}/{digest}", workspace.blobs.path(digest)


def write_sealed(sealed: Sealed, folder: Path, workspace: Workspace) -> None:
    """Write the folder, which must not be there.

    Raises:
        StorageError: it can't be written.
    """
    from mainspring.data.interchange.exported import in_place_of

    with in_place_of(folder, overwrite=False, suffix="") as unfinished:
        (unfinished / BLOBS).mkdir(parents=True)
        for path, content in sealed_files(sealed, workspace):
            (unfinished / path).write_bytes(content if isinstance(content, bytes) else content.read_bytes())


def read_sealed(folder: Path) -> Sealed:
    """What a folder holds.

    Raises:
        InvalidError: it is no such folder, or of a later Mainspring.
    """
    expected = f"a folder with a sealed endpoint ({DESCRIPTION})"
    try:
        sealed: Sealed = read_foreign((folder / DESCRIPTION).read_bytes(), msgspec.json.Decoder(Sealed).decode)
    except OSError as error:
        raise InvalidError("path", str(folder), expected, f"{error.strerror}.") from error
    except ValueError as error:
        raise InvalidError("path", str(folder), expected, f"{shorten(str(error), 200)}.") from error
    if sealed.format != _FORMAT:
        raise InvalidError("path", str(folder), f"of format {_FORMAT}, which this Mainspring reads")
    return sealed


def unseal(folder: Path, workspace: Workspace | None = None) -> Endpoint:
    """Take a sealed endpoint in, and bind it as it was; what is here already stays. Blobs are there before what names them.

    Raises:
        InvalidError: it is no such folder, or a blob is not what its name says.
        ExistsError: another endpoint or model has the name here.
        NotAllowedError: a guard, such as a policy of approval, says what is missing; or features are read, and the online
            store is none that anybody feeds.
    """
    workspace = workspace or current_workspace()
    sealed = read_sealed(folder)
    endpoints = EndpointStore(workspace.database)
    before = endpoints.find(sealed.endpoint.name)
    if before is not None and before.id != sealed.endpoint.id:
        raise ExistsError("endpoint", before.name, "It is not the one that was sealed.")
    if sealed.reads_features:
        _expect_fed(sealed, workspace)
    if before is not None and replace(before, generation=1, moved_at=before.created_at) == sealed.endpoint:
        return before
    for digest in sealed.blobs:
        _admit_blob(folder / BLOBS / digest, digest, workspace)
    return _bound(sealed, endpoints, before, workspace)


def _bound(sealed: Sealed, endpoints: EndpointStore, before: Endpoint | None, workspace: Workspace) -> Endpoint:
    endpoint = replace(sealed.endpoint, generation=before.generation + 1 if before else 1)
    version, files = sealed.version, RunFiles(workspace)
    models = ModelStore(workspace.database, workspace.ledger)
    definitions = _missing_definitions(sealed, workspace)
    with workspace.database.transaction() as tx:
        models.admit(tx, sealed.model, version)
        files.name(tx, exports_of(version), sealed.graph)
        for add in definitions:
            add(tx)
        if before is not None and before.target != endpoint.target:
            models.unbind(tx, before.model, before.alias, by=before.name)
        workspace.ledger.node(tx, "endpoint", endpoint.id, endpoint.name)
        move_bound_alias(tx, workspace, version, endpoint.alias, endpoint=endpoint.name, endpoint_id=endpoint.id)
        endpoints.put(tx, endpoint)
        workspace.ledger.append(tx, "endpoint.unsealed", endpoint.id, {"version": str(version)})
    return endpoint


def _admit_blob(path: Path, digest: str, workspace: Workspace) -> None:
    if not path.is_file():
        raise InvalidError("path", str(path), "a blob of a sealed endpoint, which has to be there")
    if workspace.blobs.put(path) != digest:
        raise InvalidError("path", str(path), "what its name says", "It is damaged; seal the endpoint again.")


def _definitions(version: ModelVersion, workspace: Workspace) -> list[Definition]:
    """The version of the service and all that it stands on, what others stand on first."""
    if version.features is None:
        return []
    from mainspring.features._store import DefinitionStore, parts_of  # one without features is served without Polars

    store = DefinitionStore(workspace.database, workspace.ledger)
    found: dict[str, Definition] = {}
    pending = [version.features]
    while pending:
        some = store.by_id(pending)
        found = {**some, **{key: each for key, each in found.items() if key not in some}}
        pending = [part for each in some.values() for part in parts_of(each.record)]
    return [msgspec.structs.replace(each, actor="") for each in found.values()]


def _missing_definitions(sealed: Sealed, workspace: Workspace) -> list[Callable[[Transaction], None]]:
    """What adds each definition that is not here, in a transaction."""
    if not sealed.definitions:
        return []
    from mainspring.features import Definition
    from mainspring.features._store import DefinitionStore

    store = DefinitionStore(workspace.database, workspace.ledger)
    definitions = msgspec.convert(list(sealed.definitions), list[Definition])
    here = store.by_id(each.id for each in definitions)
    return [partial(store.add, definition=each) for each in definitions if each.id not in here]


def _code_of(definition: Definition) -> tuple[str, ...]:
    """The blobs of the function by which a definition makes values, if one does."""
    return tuple(getattr(getattr(definition.record, "transform", None), "blobs", ()))


def _expect_fed(sealed: Sealed, workspace: Workspace) -> None:
    """A workspace that was made for this has an online store of its own, which is empty: every feature would be missing."""
    if workspace.project.settings.origins["online"].origin == "default":
        raise NotAllowedError(
            f"`{sealed.endpoint.name}` reads features, and no online store is named. Set `online`, e.g. "
            "MAINSPRING_ONLINE=redis://host:6379/0?prefix=NAME, to the one that is fed."
        )


def _plain_model(model: RegisteredModel) -> RegisteredModel:
    return replace(model, description="", tags={}, updated_at=model.created_at)


def _plain_version(version: ModelVersion) -> ModelVersion:
    """Without evidence, people, and what may change of it."""
    return replace(
        version, evaluation=None, gates=None, actor="", note="", description="", tags={}, stage="None", source="",
        needs=None, updated_at=version.created_at,
    )  # fmt: skip

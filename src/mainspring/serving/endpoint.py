"""Endpoints: a stable name, the `model@alias` it serves, and the version that this is now.

The endpoint's row is the routing table. It and the alias move in one transaction, through the registry's guarded call.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, get_args

import msgspec

from mainspring import clock
from mainspring.errors import InvalidError, NotAllowedError, NotFoundError, close_names
from mainspring.ledger import is_replay, new_id
from mainspring.models import (
    ModelStore,
    ModelVersion,
    check_alias,
    expect_graph,
    expect_loadable,
    get_model_version,
    move_bound_alias,
)
from mainspring.secrets import redact
from mainspring.store import Database, Transaction
from mainspring.workspace import Workspace, current_workspace

MIGRATIONS = [
    """
    CREATE TABLE endpoint (
        name TEXT PRIMARY KEY, id TEXT NOT NULL, model TEXT NOT NULL, alias TEXT NOT NULL, version TEXT NOT NULL,
        number INTEGER NOT NULL, generation INTEGER NOT NULL, overrides INTEGER NOT NULL, runtime TEXT NOT NULL,
        created_at INTEGER NOT NULL, moved_at INTEGER NOT NULL
    )
    """,
]
Runtime = Literal["native", "onnx"]
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")


class Endpoint(msgspec.Struct, frozen=True):
    """What a name answers with: `version` is the id of the model version, `generation` counts the moves.

    `overrides` says that a request may hold features that are read from the online store otherwise, `runtime` whether the
    model itself or its ONNX graph answers.
    """

    name: str
    id: str
    model: str
    alias: str
    version: str
    number: int
    generation: int
    overrides: bool
    runtime: Runtime
    created_at: int
    moved_at: int

    @property
    def target(self) -> str:
        """What it is bound to, as `model@alias`."""
        return f"{self.model}@{self.alias}"

    @property
    def serves(self) -> str:
        """The version it answers with, as `model/number`."""
        return f"{self.model}/{self.number}"

    @property
    def ledger_id(self) -> str:
        """The node of the lineage that this is."""
        return self.id

    def __str__(self) -> str:
        return f"{self.name}: {self.target} = {self.serves}"


_COLUMNS = ", ".join(Endpoint.__struct_fields__)


class EndpointStore:
    """The routing table of a workspace."""

    def __init__(self, database: Database) -> None:
        self.database = database
        database.migrate("serving", MIGRATIONS)

    def find(self, name: str) -> Endpoint | None:
        """An endpoint, or None. Cheap enough to ask each second."""
        row = self.database.query_one(f"SELECT {_COLUMNS} FROM endpoint WHERE name = ?", (name,))
        return None if row is None else _endpoint(row)

    def list(self) -> list[Endpoint]:
        """Every endpoint, by name."""
        rows = self.database.query(f"SELECT {_COLUMNS} FROM endpoint")
        return sorted(map(_endpoint, rows), key=lambda endpoint: endpoint.name)

    def put(self, tx: Transaction, endpoint: Endpoint) -> None:
        """Write the row anew."""
        tx.execute("DELETE FROM endpoint WHERE name = ?", (endpoint.name,))
        tx.insert("endpoint", msgspec.to_builtins(endpoint) | {"overrides": int(endpoint.overrides)})


def _endpoint(row: Sequence[Any]) -> Endpoint:
    values = dict(zip(Endpoint.__struct_fields__, row, strict=True))
    return Endpoint(**values | {"overrides": bool(values["overrides"])})


def bind(
    name: str, target: str = "", *, version: str = "", overrides: bool | None = None, runtime: Runtime | None = None,
    note: str = "", workspace: Workspace | None = None,
) -> Endpoint:  # fmt: skip
    """Make an endpoint serve `model@alias`, or move what it serves to a version.

    `target` may be left out for an endpoint that exists. `version` is any reference to a version of the model; left out,
    the alias stays where it points. With `overrides` a request may hold features of the model, which are read from the
    online store otherwise; left out, it stays as it is, at first False. The `runtime` stays, too, at first `native`; with
    `onnx` the graph answers that `export_onnx` made of the version. Running servers follow within about a second. In a replay
    nothing is moved.

    Raises:
        NotFoundError: no such endpoint (and no target given), model, version or alias; or the version has no ONNX graph.
        NotAllowedError: another endpoint serves this alias; the version is files that aren't loaded here; a guard, such as
            a policy of approval, says what is missing; or this is a replay, and there is no such endpoint.
        InvalidError: the target is not `model@alias`, the version is another model's, or there is no such runtime.
    """
    workspace = workspace or current_workspace()
    models, endpoints = ModelStore(workspace.database, workspace.ledger), EndpointStore(workspace.database)
    if not _NAME.fullmatch(name):
        raise InvalidError("endpoint", name, "a name of letters, digits, `_`, `-` and `.`")
    before = endpoints.find(name)
    if not target and before is None:
        raise _not_found(endpoints, name)
    model, _, alias = (target or (before.target if before else "")).partition("@")
    if not model or not alias:
        raise InvalidError("target", target, "`model@alias`")
    check_alias(alias)
    chosen = get_model_version(version or f"{model}@{alias}", workspace)
    if chosen.name != model:
        raise InvalidError("version", version, f"a version of `{model}`")
    expect_loadable(chosen, workspace.database)
    asked = runtime or (before.runtime if before else "native")
    expect_runtime(chosen, asked, workspace)
    if is_replay():
        if before is None:
            raise NotAllowedError(f"A replay binds nothing, and there is no endpoint `{name}`: it differs.")
        return before
    with workspace.database.transaction() as tx:
        return _bind(tx, workspace, models, endpoints, name, alias, chosen, overrides, asked, note)


def expect_runtime(version: ModelVersion, runtime: Runtime, workspace: Workspace) -> None:
    """Go on only with a runtime that a version has.

    Raises:
        InvalidError: there is no such runtime.
        NotFoundError: the version has no ONNX graph.
    """
    if runtime not in get_args(Runtime):
        raise InvalidError("runtime", runtime, "`native` or `onnx`")
    if runtime == "onnx":
        expect_graph(version, workspace)


def _bind(
    tx: Transaction,
    workspace: Workspace,
    models: ModelStore,
    endpoints: EndpointStore,
    name: str,
    alias: str,
    version: ModelVersion,
    overrides: bool | None,
    runtime: Runtime,
    note: str,
) -> Endpoint:
    now, before = clock.now_us(), endpoints.find(name)
    if overrides is None:
        overrides = before is not None and before.overrides
    is_same = before is not None and (before.target, before.version) == (f"{version.name}@{alias}", version.id)
    if before is not None and is_same and (before.overrides, before.runtime) == (overrides, runtime):
        return before
    if before is not None and before.target != f"{version.name}@{alias}":
        models.unbind(tx, before.model, before.alias, by=name)
    endpoint = Endpoint(
        name, before.id if before else new_id(), version.name, alias, version.id, version.number,
        before.generation + 1 if before else 1, overrides, runtime, before.created_at if before else now, now,
    )  # fmt: skip
    workspace.ledger.node(tx, "endpoint", endpoint.id, name)
    move_bound_alias(tx, workspace, version, alias, endpoint=name, endpoint_id=endpoint.id, note=note)
    endpoints.put(tx, endpoint)
    told = {
        "target": endpoint.target, "version": str(version), "generation": endpoint.generation,
        "overrides": overrides, "runtime": runtime, "note": redact(note),
    }  # fmt: skip
    workspace.ledger.append(tx, "endpoint.moved" if before else "endpoint.bound", endpoint.id, told)
    return endpoint


def get_endpoint(name: str, workspace: Workspace | None = None) -> Endpoint:
    """An endpoint by its name.

    Raises:
        NotFoundError: no such endpoint; the nearest are named.
    """
    endpoints = EndpointStore((workspace or current_workspace()).database)
    found = endpoints.find(name)
    if found is None:
        raise _not_found(endpoints, name)
    return found


def list_endpoints(workspace: Workspace | None = None) -> list[Endpoint]:
    """Every endpoint, by name."""
    return EndpointStore((workspace or current_workspace()).database).list()


def _not_found(endpoints: EndpointStore, name: str) -> NotFoundError:
    near = close_names(name, [endpoint.name for endpoint in endpoints.list()])
    return NotFoundError("endpoint", name, near, f"`mainspring endpoints bind {name} MODEL@ALIAS` makes it.")

"""Endpoints: a stable name, the `model@alias` it serves, and the version that this is now.

The endpoint's row is the routing table. It and the alias move in one transaction, through the registry's guarded call.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal, get_args

import msgspec

from mainspring import clock
from mainspring.errors import InvalidError, NotAllowedError, NotFoundError, close_names
from mainspring.ledger import is_replay, new_id, note_moving, note_search
from mainspring.models import (
    ModelStore,
    ModelVersion,
    check_alias,
    expect_loadable,
    expect_model,
    move_bound_alias,
)
from mainspring.models.registry import named_version
from mainspring.secrets import redact
from mainspring.serving.label_rule import LabelRule, Match, Pick, changed_rule, expect_in_log
from mainspring.serving.runtime import ONLINE_ROWS, Runtime, expect_runtime, proposed_runtime
from mainspring.store import Database, Transaction
from mainspring.workspace import Workspace, current_workspace

MIGRATIONS = [
    """
    CREATE TABLE endpoint (
        name TEXT PRIMARY KEY, id TEXT NOT NULL, model TEXT NOT NULL, alias TEXT NOT NULL, version TEXT NOT NULL,
        number INTEGER NOT NULL, generation INTEGER NOT NULL, overrides INTEGER NOT NULL, runtime TEXT NOT NULL,
        log TEXT NOT NULL, log_share REAL NOT NULL, redact TEXT NOT NULL, labels TEXT NOT NULL,
        created_at INTEGER NOT NULL, moved_at INTEGER NOT NULL, isolated INTEGER NOT NULL, memory_mb INTEGER NOT NULL,
        runtime_reason TEXT NOT NULL
    )
    """,
]
Logging = Literal["required", "best-effort", "off"]
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")
_AT_FIRST = {
    "overrides": False,
    "runtime": "native",
    "log": "required",
    "log_share": 1.0,
    "redact": (),
    "labels": LabelRule(),
    "isolated": False,
    "memory_mb": 0,
    "runtime_reason": "",
}


class Endpoint(msgspec.Struct, frozen=True):
    """What a name answers with: `version` is the id of the model version, `generation` counts the moves.

    `overrides` says that a request may hold features that are read from the online store otherwise, `runtime` whether the
    model itself or its ONNX graph answers. Of its predictions the share `log_share` is logged: `required` before they are
    answered, `best-effort` also answered if the log can't be written, or `off`; columns and features in `redact` are left out.
    `labels` says how labels join. A model that is `isolated`, or may hold `memory_mb` at most (0: any), has a process of its
    own. `runtime_reason` is why its runtime was proposed, empty if somebody chose it. What an outside service answers has no
    `model` here, and `version` is the service's own word.
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
    log: Logging
    log_share: float
    redact: tuple[str, ...]
    labels: LabelRule
    created_at: int
    moved_at: int
    isolated: bool = False
    memory_mb: int = 0
    runtime_reason: str = ""

    @property
    def target(self) -> str:
        """What it is bound to, as `model@alias`; empty for a service that runs outside."""
        return "" if self.is_outside else f"{self.model}@{self.alias}"

    @property
    def is_outside(self) -> bool:
        """Whether a service that Mainspring doesn't run answers, whose predictions are logged here."""
        return not self.model

    @property
    def serves(self) -> str:
        """The version it answers with, as `model/number`, or as an outside service calls it."""
        return self.version if self.is_outside else f"{self.model}/{self.number}"

    @property
    def ledger_id(self) -> str:
        """The node of the lineage that this is."""
        return self.id

    def __str__(self) -> str:
        return f"{self.name}: {self.target or 'outside'} = {self.serves}"


_FLAGS = ("overrides", "isolated")
_COLUMNS = ", ".join(Endpoint.__struct_fields__)


def used_endpoint(name: str, workspace: Workspace) -> Endpoint | None:
    """The endpoint of a name, if there is one, for whoever uses what it serves, so that a task's result can't be reused."""
    found = EndpointStore(workspace.database).find(name)
    if found is not None:
        note_moving("model", name)
    return found


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
        listed = {name: msgspec.json.encode(getattr(endpoint, name)).decode() for name in ("redact", "labels")}
        tx.insert(
            "endpoint", msgspec.to_builtins(endpoint) | {name: int(getattr(endpoint, name)) for name in _FLAGS} | listed
        )


def _endpoint(row: Sequence[Any]) -> Endpoint:
    values = dict(zip(Endpoint.__struct_fields__, row, strict=True))
    redact = msgspec.json.decode(values["redact"], type=tuple[str, ...])
    labels = msgspec.json.decode(values["labels"], type=LabelRule)
    flags = {name: bool(values[name]) for name in _FLAGS}
    return Endpoint(**values | flags | {"redact": redact, "labels": labels})


def bind(
    name: str, target: str = "", *, version: str = "", overrides: bool | None = None, runtime: Runtime | None = None,
    log: Logging | None = None, log_share: float | None = None, redact: Sequence[str] | None = None,
    label_key: Sequence[str] | None = None, label_window: str | None = None, label_match: Match | None = None,
    label_pick: Pick | None = None, label_type: str | None = None, isolated: bool | None = None, memory_mb: int | None = None,
    note: str = "", workspace: Workspace | None = None,
) -> Endpoint:  # fmt: skip
    """Make an endpoint serve `model@alias`, or move what it serves to a version.

    `target` may be left out for an endpoint that exists. `version` is any reference to a version of the model; left out,
    the alias stays where it points. With `overrides` a request may hold features of the model, which are read from the
    online store otherwise; left out, it stays as it is, at first False. The `runtime` stays, too, once it is chosen:
    `native`, or `onnx`, by which the graph answers that `export_onnx` made of the version. As long as nobody chose, each
    version that the endpoint moves to is answered by what answered a single row faster when its graph was made. So do `log`
    (at first `required`), `log_share` (1) and `redact` (nothing): whether predictions are logged, which share of the
    requests, without which columns and features; and so do the options of `LabelRule`, and `isolated` and `memory_mb`, which
    give the model a process of its own, with a limit of memory above which it is started anew; 0 is none. Running servers
    follow within about a second. In a replay nothing is moved.

    Raises:
        NotFoundError: no such endpoint (and no target given), model, version or alias; or the version has no ONNX graph.
        NotAllowedError: another endpoint serves this alias; the version is files that aren't loaded here; a guard, such as
            a policy of approval, says what is missing; the name is an outside service's; or this is a replay, and there is no
            such endpoint.
        InvalidError: the target is not `model@alias`, the version is another model's, there is no such runtime or way to log,
            the share is none, what is to be left out or to join labels is nothing that the version takes, or a window is
            none.
    """
    workspace = workspace or current_workspace()
    models, endpoints = ModelStore(workspace.database, workspace.ledger), EndpointStore(workspace.database)
    before = _before(endpoints, name)
    if not target and before is None:
        raise _not_found(endpoints, name)
    model, _, alias = (target or (before.target if before else "")).partition("@")
    if not model or not alias:
        hint = "An endpoint follows an alias: point one at a version first, and say `version` to begin with another."
        raise InvalidError("target", target, "`model@alias`", hint)
    check_alias(alias)
    chosen = named_version(version or f"{model}@{alias}", workspace)
    if chosen.name != model:
        raise InvalidError("version", version, f"a version of `{model}`")
    expect_loadable(chosen, workspace.database)
    runtime, reason = _runtime(before, runtime, chosen, workspace)
    labels = changed_rule(
        before.labels if before else LabelRule(), key=label_key, window=label_window, match=label_match, pick=label_pick,
        type=label_type,
    )  # fmt: skip
    options = options_of(
        before, overrides=overrides, runtime=runtime, runtime_reason=reason, log=log, log_share=log_share, redact=redact,
        labels=labels, isolated=isolated, memory_mb=memory_mb,
    )  # fmt: skip
    _expect_taken(redact or (), chosen, workspace)
    expect_in_log(labels, _held(chosen, workspace) if labels.key else None, options["redact"])
    if is_replay():
        if before is None:
            raise NotAllowedError(f"A replay binds nothing, and there is no endpoint `{name}`: it differs.")
        return before
    with workspace.database.transaction() as tx:
        return _bind(tx, workspace, models, endpoints, name, alias, chosen, options, note)


def _runtime(
    before: Endpoint | None, asked: Runtime | None, version: ModelVersion, workspace: Workspace
) -> tuple[Runtime, str]:
    """What answers, as it was chosen, or as it is proposed for the version, and why."""
    is_chosen = asked is not None or (before is not None and not before.runtime_reason)
    if before is not None and asked is None and (is_chosen or before.version == version.id):
        asked, reason = before.runtime, before.runtime_reason
    elif asked is None:
        asked, reason = proposed_runtime(version, ONLINE_ROWS, workspace)
    else:
        reason = ""
    expect_runtime(version, asked, workspace)
    return asked, reason


def _before(endpoints: EndpointStore, name: str) -> Endpoint | None:
    """The endpoint as it is, if it is there.

    Raises:
        InvalidError: it can't be called so.
        NotAllowedError: an outside service has the name.
    """
    check_endpoint_name(name)
    before = endpoints.find(name)
    if before is not None:
        expect_inside(before)
    return before


def check_endpoint_name(name: str) -> None:
    """Go on only with a name that an endpoint can have.

    Raises:
        InvalidError: it can't be called so.
    """
    if not _NAME.fullmatch(name):
        raise InvalidError("endpoint", name, "a name of letters, digits, `_`, `-` and `.`")


def expect_inside(endpoint: Endpoint) -> None:
    """Go on only with an endpoint that a model of this workspace answers for.

    Raises:
        NotAllowedError: an outside service does.
    """
    if endpoint.is_outside:
        raise NotAllowedError(
            f"`{endpoint.name}` is a service that runs outside; its predictions are only logged here."
        )


def options_of(before: Endpoint | None, **given: Any) -> dict[str, Any]:
    """What is given, and of the rest what was before, or is at first.

    Raises:
        InvalidError: something given is no such option.
    """
    if given["log"] is not None and given["log"] not in get_args(Logging):
        raise InvalidError("log", given["log"], "`required`, `best-effort` or `off`")
    share = given["log_share"]
    if share is not None and (isinstance(share, bool) or not isinstance(share, Real) or not 0 <= float(share) <= 1):
        raise InvalidError("log_share", share, "a share of requests from 0 to 1")
    if given.get("memory_mb") is not None and given["memory_mb"] < 0:
        raise InvalidError("memory_mb", given["memory_mb"], "mebibytes, or 0 for any number of them")
    if isinstance(given["redact"], str):
        raise InvalidError("redact", given["redact"], "a list of names of columns and features")
    chosen = {name: value for name, value in given.items() if value is not None}
    if "redact" in chosen:
        chosen["redact"] = tuple(sorted(set(chosen["redact"])))
    return {name: getattr(before, name) if before else _AT_FIRST[name] for name in given} | chosen


def _expect_taken(names: Sequence[str], version: ModelVersion, workspace: Workspace) -> None:
    """Go on only with names of what a version takes, or reads: a misspelt one would be logged."""
    known = {field.name for field in expect_model(version)[1].inputs} if names else set()
    if names and version.features is not None:
        from mainspring.features import get_definition  # a model without features is served without Polars

        features = get_definition("service", version.features, workspace).feature_set(workspace)
        known |= {*features.request, *features.features}
    for name in names:
        if name not in known:
            near = close_names(name, sorted(known))
            raise InvalidError(
                "redact", name, f"a column or feature of {version}", f"Nearest: {near[0]}." if near else ""
            )


def _held(version: ModelVersion, workspace: Workspace) -> list[str]:
    """The columns that requests hold for a version, or may hold."""
    names = [field.name for field in expect_model(version)[1].inputs]
    if version.features is None:
        return names
    from mainspring.features import get_definition  # a model without features is served without Polars

    features = get_definition("service", version.features, workspace).feature_set(workspace)
    return [*features.request, *[name for name in names if name not in {*features.request, *features.features}]]


def _bind(
    tx: Transaction,
    workspace: Workspace,
    models: ModelStore,
    endpoints: EndpointStore,
    name: str,
    alias: str,
    version: ModelVersion,
    options: dict[str, Any],
    note: str,
) -> Endpoint:
    now, before = clock.now_us(), endpoints.find(name)
    is_same = before is not None and (before.target, before.version) == (f"{version.name}@{alias}", version.id)
    if before is not None and is_same and all(getattr(before, each) == value for each, value in options.items()):
        return before
    if before is not None and before.target != f"{version.name}@{alias}":
        models.unbind(tx, before.model, before.alias, by=name)
    endpoint = Endpoint(
        name, before.id if before else new_id(), version.name, alias, version.id, version.number,
        before.generation + 1 if before else 1, created_at=before.created_at if before else now, moved_at=now, **options,
    )  # fmt: skip
    workspace.ledger.node(tx, "endpoint", endpoint.id, name)
    move_bound_alias(tx, workspace, version, alias, endpoint=name, endpoint_id=endpoint.id, note=note)
    endpoints.put(tx, endpoint)
    told = {
        "target": endpoint.target, "version": str(version), "generation": endpoint.generation,
        **msgspec.to_builtins(options), "note": redact(note),
    }  # fmt: skip
    workspace.ledger.append(tx, "endpoint.moved" if before else "endpoint.bound", endpoint.id, told)
    return endpoint


def get_endpoint(name: str, workspace: Workspace | None = None) -> Endpoint:
    """An endpoint by its name; what it serves moves, so that a task's result can't be reused.

    Raises:
        NotFoundError: no such endpoint; the nearest are named.
    """
    note_moving("model", name)
    return named_endpoint(name, workspace)


def named_endpoint(name: str, workspace: Workspace | None = None, *, declared: str = "") -> Endpoint:
    """`get_endpoint` for the server, and for what is recorded of an endpoint: nothing is noted.

    `declared` is how such an endpoint is declared, unless by binding it.
    """
    endpoints = EndpointStore((workspace or current_workspace()).database)
    found = endpoints.find(name)
    if found is None:
        raise _not_found(endpoints, name, declared)
    return found


def list_endpoints(workspace: Workspace | None = None) -> list[Endpoint]:
    """Every endpoint, by name."""
    note_search("endpoints")
    return EndpointStore((workspace or current_workspace()).database).list()


def _not_found(endpoints: EndpointStore, name: str, declared: str = "") -> NotFoundError:
    near = close_names(name, [endpoint.name for endpoint in endpoints.list()])
    return NotFoundError(
        "endpoint", name, near, declared or f"`mainspring endpoints bind {name} MODEL@ALIAS` makes it."
    )

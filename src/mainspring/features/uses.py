"""Which model versions use a version of a definition, and which endpoints serve them; read from the registry of models."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from mainspring.errors import MainspringError
from mainspring.features._store import DefinitionStore, parts_of
from mainspring.features.definitions.records import Definition, OnDemandRecord, ServiceRecord
from mainspring.models import ModelStore
from mainspring.workspace import Workspace, current_workspace

_Result = TypeVar("_Result")


class Use(msgspec.Struct, frozen=True):
    """A model version that uses a definition by a service's version, with the endpoints that serve it."""

    model: str
    service: str
    endpoints: tuple[str, ...]

    def __str__(self) -> str:
        served = f", served by {', '.join(self.endpoints)}" if self.endpoints else ""
        return f"{self.model} (by {self.service}{served})"


def list_uses(definition: Definition, workspace: Workspace | None = None) -> list[Use]:
    """The model versions that use a version of a definition, with the endpoints that serve them."""
    workspace = workspace or current_workspace()
    store = DefinitionStore(workspace.database, workspace.ledger)
    return list(uses_of([definition], store, workspace).get(definition.id, ()))


def uses_of(
    definitions: Iterable[Definition], store: DefinitionStore, workspace: Workspace
) -> dict[str, tuple[Use, ...]]:
    """The uses of each version, by its id."""
    wanted = {each.id for each in definitions}
    if not wanted:
        return {}
    models = ModelStore(workspace.database, workspace.ledger)
    users = models.feature_users()
    services = store.by_id(service for service, _, _ in users)
    found: dict[str, list[Use]] = {}
    for service, model, endpoints in users:
        definition = services.get(service)
        if definition is None:
            continue
        for each in wanted & _standing_on(definition, store):
            found.setdefault(each, []).append(Use(model, str(definition), endpoints))
    return {each: tuple(uses) for each, uses in found.items()}


def live_versions(name: str, store: DefinitionStore, workspace: Workspace) -> list[Definition]:
    """The versions of a view that give values, newest first: the newest one unless it is retired, and those that models
    or the newest versions of services use. A version that is named (`name/N`, an id) is meant alone.

    Raises:
        NotFoundError: there is no such view.
    """
    newest = store.find("view", name) or store.get("view", name)
    if newest.name != name:
        return [newest]
    versions = store.versions("view", name)
    used = set(uses_of(versions, store, workspace))
    for (kind, _), head in store.heads().items() if len(versions) > 1 else ():
        if kind == "service" and head.retired_at is None:
            used |= _standing_on(head, store)
    return [each for each in versions if each.id in used or (each.id == newest.id and newest.retired_at is None)]


def each_tried(versions: Iterable[Definition], act: Callable[[Definition], _Result]) -> list[_Result]:
    """What an action on each version gives; one that fails holds up no other, and the first error is raised in the end."""
    found: list[_Result] = []
    failed: list[MainspringError] = []
    for each in versions:
        try:
            found.append(act(each))
        except MainspringError as error:
            failed.append(error)
    if failed:
        raise failed[0]
    return found


def _standing_on(definition: Definition, store: DefinitionStore) -> set[str]:
    """The ids of a service's version and of all that it stands on."""
    record = definition.record
    assert isinstance(record, ServiceRecord)
    demanded = store.by_id(part.version for part in record.on_demand)
    inner = [each.record for each in demanded.values()]
    below = {part for each in inner if isinstance(each, OnDemandRecord) for part in parts_of(each)}
    return {definition.id, *parts_of(record), *below}

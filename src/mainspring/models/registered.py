"""Registered models: made, described, tagged, renamed, deleted. In a replay nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mainspring import clock
from mainspring.errors import ExistsError, NotAllowedError
from mainspring.ledger import is_replay
from mainspring.models._rules import check_model_name, check_tags, check_text, without
from mainspring.models._store import ModelStore
from mainspring.models.promotion import Promotion, expect_promotable
from mainspring.models.registry import model_store
from mainspring.models.version import RegisteredModel
from mainspring.models.versions import remove_version
from mainspring.runs.files import RunFiles
from mainspring.store import Transaction
from mainspring.workspace import Workspace, current_workspace


def create_model(
    name: str, *, description: str = "", tags: Mapping[str, str] | None = None, workspace: Workspace | None = None
) -> RegisteredModel:
    """Record a model without versions; registering a version makes the model, too.

    Raises:
        ExistsError: there is one of this name.
        InvalidError: the name can't be said in a reference.
        NotAllowedError: this is a replay, and there is no such model.
    """
    store, name = model_store(workspace), check_model_name(name)
    check_text("description", description)
    kept = check_tags(tags or {})
    if is_replay():
        if name not in store.names():
            raise NotAllowedError(f"A replay registers nothing, and there is no model `{name}`: it differs.")
        return store.model(name)
    with store.database.transaction() as tx:
        return store.create_model(tx, name, description, kept)


def get_model(name: str, workspace: Workspace | None = None) -> RegisteredModel:
    """A model by its name.

    Raises:
        NotFoundError: no such model; the nearest are named.
    """
    return model_store(workspace).model(name)


def update_model(name: str, *, description: str, workspace: Workspace | None = None) -> RegisteredModel:
    """Say what a model is; raises `NotFoundError`."""
    check_text("description", description)
    return _changed(name, "updated", lambda _, model: {"description": description}, workspace)


def set_model_tags(name: str, tags: Mapping[str, str], *, workspace: Workspace | None = None) -> RegisteredModel:
    """Set tags of a model, others stay; raises `NotFoundError`."""
    kept = check_tags(tags)
    return _changed(name, "tagged", lambda _, model: {"tags": model.tags | kept}, workspace)


def delete_model_tag(name: str, key: str, *, workspace: Workspace | None = None) -> RegisteredModel:
    """Remove a tag of a model; one that isn't there is left so. Raises `NotFoundError`."""
    return _changed(name, "tagged", lambda _, model: {"tags": without(model.tags, key)}, workspace)


def rename_model(name: str, new_name: str, *, workspace: Workspace | None = None) -> RegisteredModel:
    """Give a model another name; its versions, aliases and their histories go with it.

    Raises:
        NotFoundError: no such model.
        ExistsError: there is one of the new name.
        NotAllowedError: an endpoint serves one of its aliases, which is named; or a guard says what is missing for a version
            that would come to production under the new name.
    """
    store, new_name = model_store(workspace), check_model_name(new_name)
    if is_replay():
        return store.model(name)
    with store.database.transaction() as tx:
        model = store.model(name)
        if new_name != model.name:
            _expect_unserved(store, model, "renamed")
            if new_name in store.names():
                raise ExistsError("model", new_name)
        renamed = store.change_model(tx, model, "renamed", name=new_name)
        if renamed != model:
            # As with MLflow, whose clients list first what changed last: a version's name is part of it.
            tx.execute("UPDATE model_version SET updated_at = ? WHERE model = ?", (renamed.updated_at, model.id))
            _expect_promotable(tx, store, new_name, workspace or current_workspace())
        return renamed


def delete_model(name: str, *, workspace: Workspace | None = None) -> None:
    """Delete a model with its versions and aliases; what the lineage says of them stays, their blobs may be collected.

    Raises:
        NotFoundError: no such model.
        NotAllowedError: an endpoint serves one of its aliases, which is named.
    """
    store = model_store(workspace)
    if is_replay():
        return
    files = RunFiles(workspace or current_workspace())
    with store.database.transaction() as tx:
        model = store.model(name)
        _expect_unserved(store, model, "deleted")
        for alias in store.aliases(name):
            store.remove_alias(tx, name, alias.alias, "the model was deleted")
        for version in store.versions(name):
            remove_version(tx, store, version, files)
        store.change_model(tx, model, "deleted", deleted_at=clock.now_us())


def _expect_unserved(store: ModelStore, model: RegisteredModel, what: str) -> None:
    served = [alias for alias in store.aliases(model.name) if alias.bound_by]
    if served:
        raise NotAllowedError(
            f"The model `{model.name}` can't be {what}: the endpoint `{served[0].bound_by}` serves `{served[0]}`."
            " Bind the endpoint to another model first."
        )


def _expect_promotable(tx: Transaction, store: ModelStore, name: str, workspace: Workspace) -> None:
    """Hold what stands in stages and under aliases to the guards of a name that is new to it."""
    versions = {version.id: version for version in store.versions(name)}
    promotions = [Promotion(each, "stage", each.stage) for each in versions.values() if each.stage != "None"]
    promotions += [Promotion(versions[each.version], "alias", each.alias) for each in store.aliases(name)]
    for promotion in promotions:
        expect_promotable(tx, workspace, promotion)


def _changed(
    name: str, event: str, change: Callable[[ModelStore, RegisteredModel], dict[str, Any]], workspace: Workspace | None
) -> RegisteredModel:
    store = model_store(workspace)
    if is_replay():
        return store.model(name)
    with store.database.transaction() as tx:
        model = store.model(name)
        return store.change_model(tx, model, event, **change(store, model))

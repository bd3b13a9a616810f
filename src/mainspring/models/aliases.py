"""Aliases: movable names of versions, whose every move is kept with who, when, why and from which run."""

from __future__ import annotations

from mainspring.errors import NotAllowedError, NotFoundError, WrongTypeError
from mainspring.ledger import current_task, is_replay, note_search
from mainspring.models._rules import before_last, check_alias
from mainspring.models._store import expect_free
from mainspring.models.promotion import Promotion, expect_promotable
from mainspring.models.registry import model_store, named_version
from mainspring.models.version import Alias, AliasMove, ModelVersion
from mainspring.store import Transaction
from mainspring.workspace import Workspace, current_workspace


def list_aliases(name: str, workspace: Workspace | None = None) -> list[Alias]:
    """The aliases of a model, by name."""
    note_search(f"aliases of {name}")
    return model_store(workspace).aliases(name)


def alias_history(name: str, alias: str, workspace: Workspace | None = None) -> list[AliasMove]:
    """Every move of an alias and its removals, newest first."""
    note_search(f"moves of {name}@{alias}")
    return [
        AliasMove(event.at, event.actor, *(event.payload[each] for each in ("from", "to", "bound_by", "note", "run")))
        for event in reversed(model_store(workspace).moves(name, alias))
    ]


def set_alias(
    ref: str | ModelVersion, alias: str, *, note: str = "", workspace: Workspace | None = None
) -> ModelVersion:
    """Point an alias at a version, and give the version. In a replay nothing is moved.

    Raises:
        NotAllowedError: an endpoint serves the alias, and the text says what moves it; or a guard says what is missing.
        InvalidError, WrongTypeError: the alias is no name.
        NotFoundError: no such version, or it was deleted.
    """
    check_alias(alias)
    store, version = model_store(workspace), named_version(ref, workspace)
    if not is_replay():
        with store.database.transaction() as tx:
            _move(tx, workspace, version, alias, note=note)
    return version


def delete_alias(name: str, alias: str, *, note: str = "", workspace: Workspace | None = None) -> None:
    """Remove an alias, whose history stays; one that isn't there is left so. In a replay nothing is removed.

    Raises:
        NotAllowedError: an endpoint serves it.
        NotFoundError: no such model.
    """
    store = model_store(workspace)
    if not is_replay():
        with store.database.transaction() as tx:
            store.remove_alias(tx, name, alias, note)


def rollback(ref: str, *, note: str = "", workspace: Workspace | None = None) -> ModelVersion:
    """Point `model@alias` back at the version it pointed at before, and give that; a second rollback goes one further.

    Versions that were deleted meanwhile are passed over. In a replay nothing is moved.

    Raises:
        NotAllowedError: there was nothing before, or an endpoint serves the alias, and the text says what moves it; or a
            guard says what is missing.
        NotFoundError: no such alias.
        WrongTypeError: `ref` is no text.
    """
    if not isinstance(ref, str):
        raise WrongTypeError("alias", ref, "`model@alias`")
    store = model_store(workspace)
    name, _, alias = ref.partition("@")
    if not alias:
        raise NotFoundError("alias", ref, hint="Say `model@alias`.")
    with store.database.transaction() as tx:
        current = named_version(ref, workspace)
        moves = [(event.payload["version"], event.payload["rolls_back"]) for event in store.moves(name, alias)]
        earlier = before_last(moves)
        there = {each.id: each for each in store.versions(name)}
        target = next((there[each] for each in earlier if each in there and each != current.id), None)
        expect_free(store.alias(name, alias), None, f"--version {target}" if target else "")
        if target is None:
            raise NotAllowedError(
                f"`{ref}` is {current} and was no other version before: there is nothing to go back to."
            )
        if not is_replay():
            _move(tx, workspace, target, alias, note=note, rolls_back=True)
    return target


def move_bound_alias(
    tx: Transaction,
    workspace: Workspace,
    version: ModelVersion,
    alias: str,
    *,
    endpoint: str,
    endpoint_id: str,
    note: str = "",
) -> None:
    """The one call that moves what an endpoint serves: binds the alias to it at first, moves it afterwards.

    It writes the alias row, the edge from the endpoint's node and the event; the caller writes its routing row in the same
    transaction. Edges of earlier versions stay as history.

    Raises:
        NotAllowedError: another endpoint serves this alias; or a guard, such as a policy of approval, says what is missing.
    """
    _move(tx, workspace, version, alias, endpoint=endpoint, note=note)
    workspace.ledger.edge(tx, endpoint_id, "binds", version.id, current_task())


def _move(
    tx: Transaction, workspace: Workspace | None, version: ModelVersion, alias: str, *, endpoint: str | None = None,
    note: str, rolls_back: bool = False,
) -> None:  # fmt: skip
    store = model_store(workspace)
    before = store.alias(version.name, alias)
    if before is None or (before.version, before.bound_by) != (version.id, endpoint):
        expect_promotable(tx, workspace or current_workspace(), Promotion(version, "alias", alias, endpoint))
    store.move(tx, version, alias, by=endpoint, bound_by=endpoint, note=note, rolls_back=rolls_back)

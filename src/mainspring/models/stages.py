"""Stages: None, Staging, Production, Archived, each change kept with who, when, why and from which run.

A stage is governed as an alias is: if an endpoint serves the alias of its name (`churn@Production`), a version comes into
that stage or leaves it only with the endpoint.
"""

from __future__ import annotations

from mainspring.ledger import is_replay, note_search
from mainspring.models._rules import check_stage
from mainspring.models._store import MOST_MOVES, expect_free
from mainspring.models.promotion import Promotion, expect_promotable
from mainspring.models.registry import get_model_version, model_store, named_version
from mainspring.models.version import ModelVersion, StageMove
from mainspring.workspace import Workspace, current_workspace


def set_stage(
    ref: str | ModelVersion, stage: str, *, archive_existing: bool = False, note: str = "",
    workspace: Workspace | None = None,
) -> ModelVersion:  # fmt: skip
    """Bring a version into a stage; with `archive_existing` those that are in it are archived in the same transaction.

    In a replay nothing is changed.

    Raises:
        InvalidError: no such stage.
        NotFoundError: no such version, or it was deleted.
        NotAllowedError: an endpoint serves the alias of that stage, or of the one that the version would leave; or a
            guard, such as a policy of approval, says what is missing.
    """
    store, wanted = model_store(workspace), check_stage(stage)
    found = named_version(ref, workspace)
    if is_replay():
        return found
    with store.database.transaction() as tx:
        version = store.version(found.id)
        if version.stage != wanted:
            for each in (version.stage, wanted):
                expect_free(store.alias(version.name, each), None, f"--version {version}")
            expect_promotable(tx, workspace or current_workspace(), Promotion(version, "stage", wanted))
        if archive_existing:
            others = [each for each in store.versions(version.name) if each.stage == wanted and each.id != version.id]
            for other in others:
                store.change_stage(tx, other, "Archived", note or f"{version} came into {wanted}")
        return store.change_stage(tx, version, wanted, note)


def stage_history(ref: str | ModelVersion, workspace: Workspace | None = None) -> list[StageMove]:
    """Every change of a version's stage, newest first; raises `NotFoundError`."""
    store, version = model_store(workspace), get_model_version(ref, workspace)
    note_search(f"stages of {version}")
    events = store.ledger.events(subject=version.id, limit=MOST_MOVES)
    return [
        StageMove(
            each.at, each.actor, each.payload["was"], each.payload["now"], each.payload["note"], each.payload["run"]
        )
        for each in reversed(events)
        if each.kind == "stage.moved"
    ]

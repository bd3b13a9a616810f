"""Stages keep their history; one whose alias an endpoint serves is moved by the endpoint alone."""

from __future__ import annotations

import pytest

from mainspring.errors import InvalidError, NotAllowedError, NotFoundError
from mainspring.ledger import new_id
from mainspring.models import get_model_version, move_bound_alias, set_stage, stage_history
from mainspring.workspace import Workspace
from tests.models.conftest import Registers


def test_versions_change_stages_with_their_history(registered: Registers, workspace: Workspace) -> None:
    first, second = registered(), registered(3.0)
    assert first.stage == "None"
    set_stage(first, "production", note="first, password=hunter22")
    set_stage(second, "Production", archive_existing=True)
    assert get_model_version("line/1").stage == "Archived"
    assert get_model_version("line/Production") == get_model_version("line/production") == get_model_version("line/2")
    moves = [(move.from_stage, move.to_stage, move.note) for move in stage_history("line/1")]
    assert moves == [
        ("Production", "Archived", "line/2 came into Production"),
        ("None", "Production", "first, password=[redacted]"),
    ]
    before = workspace.ledger.last_seq()
    set_stage(second, "Production")
    assert workspace.ledger.last_seq() == before
    set_stage(first, "Production")
    assert get_model_version("line/2").stage == "Production"
    with pytest.raises(InvalidError, match="Nearest: Production"):
        set_stage(first, "Prodution")
    with pytest.raises(NotFoundError, match="The newest is line/2"):
        get_model_version("line/Staging")


def test_a_served_stage_moves_only_with_the_endpoint(registered: Registers, workspace: Workspace) -> None:
    first, second = registered(), registered(3.0)
    for version in (first, second):
        with workspace.database.transaction() as tx:
            move_bound_alias(tx, workspace, version, "Production", endpoint="delays", endpoint_id=new_id())
        assert get_model_version("line/Production") == get_model_version("line@Production")
    assert get_model_version(first).stage == "Archived"
    for ref, stage in (("line/1", "Production"), ("line/2", "Archived")):
        with pytest.raises(NotAllowedError, match="what the endpoint `delays` serves"):
            set_stage(ref, stage)

"""Models and versions as records: described, tagged, renamed, deleted; searched; a replay changes nothing."""

from __future__ import annotations

import pytest

from mainspring.errors import ExistsError, InvalidError, NotAllowedError, NotFoundError, RemovedError
from mainspring.ledger import Replay, new_id, within_task
from mainspring.models import (
    alias_history,
    create_model,
    delete_alias,
    delete_model,
    delete_model_tag,
    delete_version,
    delete_version_tag,
    get_model,
    get_model_version,
    list_aliases,
    list_model_versions,
    list_models,
    load_model,
    move_bound_alias,
    rename_model,
    rollback,
    search_model_versions,
    search_models,
    set_alias,
    set_model_tags,
    set_stage,
    set_version_tags,
    update_model,
    update_version,
)
from mainspring.models._rules import check_model_name
from mainspring.models._store import gc_roots
from mainspring.workspace import Workspace
from tests.models.conftest import Registers


def serve(workspace: Workspace, ref: str, alias: str) -> None:
    with workspace.database.transaction() as tx:
        version = get_model_version(ref)
        move_bound_alias(tx, workspace, version, alias, endpoint="delays", endpoint_id=new_id())


def test_a_model_is_described_tagged_and_found(workspace: Workspace) -> None:
    made = create_model("Señor 'x' \"y\" 🎯 \u00e9", description="one", tags={"team": "a"})
    assert get_model("Señor 'x' \"y\" 🎯 e\u0301".replace("e\u0301", "é")) == made
    assert update_model(made.name, description="two").description == "two"
    set_model_tags(made.name, {"n": 1, "o'k \"🎯": "b"})  # type: ignore[dict-item]  # what a person may give
    assert delete_model_tag(made.name, "team").tags == {"n": "1", "o'k \"🎯": "b"} == get_model(made.name).tags
    assert delete_model_tag(made.name, "team") == get_model(made.name)
    assert list_models() == []
    assert list_model_versions(made.name) == []
    kinds = [event.kind for event in workspace.ledger.events(subject=made.id)]
    assert kinds == ["model.created", "model.updated", "model.tagged", "model.tagged"]
    with pytest.raises(ExistsError, match="There is a model"):
        create_model(made.name)
    with pytest.raises(NotFoundError, match="Nearest: Señor"):
        get_model("Señor 'x'")
    with pytest.raises(NotFoundError, match="The model has no version"):
        get_model_version(made.name)


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "a@b", " a", "a\n", "a\0", "x" * 251, "\u202eabc"])
def test_a_name_that_no_reference_could_say_is_refused(name: str) -> None:
    with pytest.raises(InvalidError, match="visible characters without"):
        check_model_name(name)


def test_tags_and_texts_have_limits(registered: Registers) -> None:
    registered()
    for tags, said in (
        ({"": "x"}, "a key of 1 to 250"),
        ({"k": "x" * 100_001}, "at most 100,000"),
        ({"k": "\0"}, "NUL"),
    ):
        with pytest.raises(InvalidError, match=said):
            set_version_tags("line/1", tags)
    with pytest.raises(InvalidError, match="description"):
        update_model("line", description="x" * 100_001)


def test_a_version_changes_in_what_people_say_and_in_nothing_else(registered: Registers, workspace: Workspace) -> None:
    version = registered()
    changed = update_version("line", description="good", licence="Apache-2.0")
    set_version_tags(version, {"a": "1", "b": "2"})
    delete_version_tag(version, "a")
    now = get_model_version(version)
    assert (now.description, now.licence, now.tags) == ("good", "Apache-2.0", {"b": "2"})
    assert (now.content_digest, now.created_at) == (version.content_digest, version.created_at)
    assert now.updated_at >= changed.updated_at > 0
    assert registered() == now
    told = workspace.ledger.events(subject=version.id)
    assert [event.payload["was"]["licence"] for event in told if event.kind == "model_version.updated"] == [""]


def test_a_rename_takes_versions_aliases_and_history_along(registered: Registers, workspace: Workspace) -> None:
    version = registered()
    set_alias(version, "champion")
    assert rename_model("line", "slope").name == "slope"
    assert get_model_version("slope@champion").id == version.id
    assert len(alias_history("slope", "champion")) == 1
    assert registered(name="line").number == 1
    with pytest.raises(ExistsError):
        rename_model("slope", "line")
    serve(workspace, "slope", "live")
    for refused in (lambda: rename_model("slope", "x"), lambda: delete_model("slope")):
        with pytest.raises(NotAllowedError, match=r"the endpoint `delays` serves `slope@live`"):
            refused()


def test_a_deleted_version_is_gone_but_its_record_is_kept(registered: Registers, workspace: Workspace) -> None:
    first, second = registered(), registered(3.0)
    set_alias(second, "champion")
    delete_version("line/2", note="wrong data")
    assert [str(each) for each in list_model_versions("line")] == ["line/1"]
    assert list_aliases("line") == []
    assert alias_history("line", "champion")[0].to_number is None
    for ref in ("line/2", second.id, second):
        with pytest.raises(RemovedError, match="was removed at"):
            get_model_version(ref)
    with pytest.raises(RemovedError):
        set_alias(second, "champion")
    with pytest.raises(RemovedError):
        load_model("line/2")
    assert workspace.ledger.get_node(second.id).label == "line/2"
    assert second.encoded
    assert first.encoded
    assert second.encoded.blob not in set(gc_roots(workspace.database))
    assert first.encoded.blob in set(gc_roots(workspace.database))
    assert registered(3.0).number == 3
    serve(workspace, "line/1", "live")
    with pytest.raises(NotAllowedError, match="endpoint `delays` serves"):
        delete_version("line/1")


def test_a_deleted_model_makes_room_for_another_of_its_name(registered: Registers, workspace: Workspace) -> None:
    version = registered()
    set_alias(version, "champion")
    delete_model("line")
    for find in (get_model, get_model_version, list_model_versions, delete_model):
        with pytest.raises(NotFoundError):
            find("line")
    assert registered().number == 1
    assert list_aliases("line") == []
    assert alias_history("line", "champion") == []


def test_an_alias_goes_back_step_by_step(registered: Registers, workspace: Workspace) -> None:
    for slope in (1.0, 2.0, 3.0, 4.0):
        set_alias(registered(slope), "champion", note=str(slope))
    delete_version("line/3")
    assert [rollback("line@champion", note="bad").number, rollback("line@champion").number] == [2, 1]
    with pytest.raises(NotAllowedError, match="there is nothing to go back to"):
        rollback("line@champion")
    set_alias("line/4", "champion")
    assert rollback("line@champion").number == 1
    with pytest.raises(NotFoundError, match="Say `model@alias`"):
        rollback("line")
    serve(workspace, "line/4", "champion")
    with pytest.raises(NotAllowedError, match=r"endpoints bind delays --version line/1"):
        rollback("line@champion")


def test_an_alias_is_removed_unless_it_is_served(registered: Registers, workspace: Workspace) -> None:
    registered()
    set_alias("line/1", "champion")
    delete_alias("line", "champion", note="over")
    delete_alias("line", "champion")
    (removed, _) = alias_history("line", "champion")
    assert (removed.from_number, removed.to_number, removed.note) == (1, None, "over")
    serve(workspace, "line/1", "live")
    with pytest.raises(NotAllowedError, match="so only that endpoint moves it"):
        delete_alias("line", "live")


def test_history_tells_the_run_that_moved(registered: Registers, workspace: Workspace) -> None:
    from mainspring.runs import start_run

    with start_run("train") as run:
        version = registered()
        set_alias(version, "champion")
        set_stage(version, "staging")
    assert version.run == run.id == alias_history("line", "champion")[0].run


def test_a_replay_changes_nothing_in_the_registry(registered: Registers, workspace: Workspace) -> None:
    version = registered()
    set_alias(version, "champion")
    registered(3.0)
    set_alias("line/2", "champion")
    before = workspace.ledger.last_seq()
    with within_task("again", replay=Replay("then")):
        set_version_tags(version, {"a": "b"})
        update_model("line", description="x")
        set_stage(version, "Production")
        rollback("line@champion")
        delete_version("line/2")
        delete_alias("line", "champion")
        delete_model("line")
        rename_model("line", "x")
        assert create_model("line").name == "line"
        with pytest.raises(NotAllowedError, match="A replay registers nothing"):
            create_model("other")
    assert workspace.ledger.last_seq() == before


def test_models_and_versions_are_searched(registered: Registers, workspace: Workspace) -> None:
    for name in ("b", "a", "c_d"):
        registered(name=name, note=name)
    set_model_tags("a", {"team": "x"})
    set_version_tags("b/1", {"team's `x`": "y"})
    registered(3.0, name="b")
    assert [each.name for each in search_models()] == ["a", "b", "c_d"]
    assert [each.name for each in search_models("tags.team = 'x'")] == ["a"]
    assert [each.name for each in search_models("name ILIKE 'C%'", order_by=["name DESC"])] == ["c_d"]
    first = search_models(limit=2)
    create_model("aa")
    assert [each.name for each in search_models(limit=2, cursor=first.cursor)] == ["c_d"]
    assert [str(each) for each in search_model_versions("name = 'b'", order_by=["version_number ASC"])] == [
        "b/1",
        "b/2",
    ]
    assert [str(each) for each in search_model_versions("tags.\"team's `x`\" = 'y'")] == ["b/1"]
    assert str(search_model_versions().items[0]) == "b/2"
    delete_version("b/2")
    assert [str(each) for each in search_model_versions("name = 'b'")] == ["b/1"]
    for hostile in ("name = 'x' OR 1=1", "name = 'x'; DROP TABLE model", "metrics.a > 1", "nmae = 'x'", "name ="):
        with pytest.raises(InvalidError, match="filter"):
            search_models(hostile)
    assert search_models("name = '''; DROP TABLE model --'").items == []

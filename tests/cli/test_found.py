"""`runs search`, `compare`, `best`, `delete`, `restore`, `note` and `experiments` on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mainspring.cli.main import cli
from mainspring.runs import start_run
from mainspring.workspace import Workspace

Call = Callable[..., Any]


@pytest.fixture
def ids(tmp_path: Path) -> list[str]:
    (tmp_path / "mainspring.toml").write_text('name = "found"\n')
    found = []
    with Workspace.open(tmp_path) as workspace:
        for depth in (2, 3):
            with start_run(f"depth {depth}", experiment="trees", params={"depth": depth}, workspace=workspace) as run:
                for step in range(3):
                    run.log_metric("loss", 1 / (depth + step), step=step)
            found.append(run.id)
    return found


@pytest.fixture
def call(tmp_path: Path) -> Call:
    def told(*arguments: str, status: int = 0) -> Any:
        result = CliRunner().invoke(cli, ["-C", str(tmp_path), *arguments])
        assert result.exit_code == status, result.output
        return json.loads(result.output) if "--json" in arguments else result.output

    return told


@pytest.mark.one_backend("the command line calls what other tests run on both")
def test_runs_are_searched_and_compared(call: Call, ids: list[str], tmp_path: Path) -> None:
    assert [run["id"] for run in call("runs", "search", "--order-by", "metrics.loss", "--json")["runs"]] == ids[::-1]
    assert call("runs", "list", "--filter", "params.depth = '2'").splitlines()[1].startswith(ids[0][:12])
    assert call("runs", "best", "loss", "--limit", "1", "--json")["cursor"] is not None
    page = tmp_path / "page.html"
    compared = call("runs", "compare", *ids, "--html", str(page), "--json")
    assert compared["best"] == {"loss": ids[1]}
    assert "<polyline" in page.read_text()
    assert "0.2 *" in call("runs", "compare", *ids)
    for said in ("loss", "nosuch"):
        compared = call("runs", "compare", *ids, "--max", said, "--json", status=int(said != "loss"))
    assert compared["error"]["message"].startswith("No metric `nosuch`")
    listed = call("runs", "list", "--experiment", "trees", "--json")["runs"]
    assert [run["id"] for run in listed] == ids[::-1]
    assert call("runs", "list", "--experiment", "trees", "--state", "failed", "--json")["runs"] == []
    assert call("runs", "list", "--experiment", "Default", "--json")["runs"] == []
    assert "No experiment `none`" in call("runs", "list", "--experiment", "none", status=1)
    assert call("runs", "search", "metrics.loss >", "--json", status=1)["error"]["code"] == "invalid"


@pytest.mark.one_backend("the command line calls what other tests run on both")
def test_runs_and_experiments_are_deleted_and_restored(call: Call, ids: list[str]) -> None:
    call("runs", "note", ids[0], "looks good")
    assert call("runs", "delete", ids[0]).startswith("Deleted depth 2")
    assert [run["id"] for run in call("runs", "--json")["runs"]] == ids[1:]
    assert [run["note"] for run in call("runs", "search", "--deleted", "--json")["runs"]] == ["looks good"]
    call("runs", "restore", ids[0])
    assert call("experiments", "create", "other", "--tag", "team=ops", "--json")["experiment"]["tags"] == {
        "team": "ops"
    }
    assert call("experiments", "rename", "2", "third") == "Renamed to third (2).\n"
    call("experiments", "delete", "trees")
    assert call("runs", "--json")["runs"] == []
    call("experiments", "restore", "trees")
    assert len(call("runs", "--json")["runs"]) == 2
    assert "third" in call("experiments", "--filter", "tags.team = 'ops'")


@pytest.mark.one_backend("the command line calls what other tests run on both")
def test_a_run_that_goes_on_is_not_deleted(call: Call, ids: list[str], tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace, start_run("now", workspace=workspace):
        assert "now" in call("runs", "delete", ids[0], "latest", "--json", status=1)["error"]["message"]
    assert len(call("runs", "--json")["runs"]) == 3
    assert call("runs", "delete", "latest").startswith("Deleted now")


@pytest.mark.one_backend("the command line calls what other tests run on both")
def test_the_run_that_was_deleted_last_is_the_latest_to_restore_and_what_changes_nothing_says_so(
    call: Call, ids: list[str]
) -> None:
    older, newer = ids
    assert call("runs", "restore", "latest", "--json", status=1)["error"]["code"] == "not_found"
    assert call("runs", "list", "--deleted") == "No deleted runs.\n"
    for each in (newer, "latest"):  # the newest first, then the only one that is left
        call("runs", "delete", each)
    assert [run["id"] for run in call("runs", "list", "--deleted", "--json")["runs"]] == [newer, older]
    assert [run["id"] for run in call("runs", "--deleted", "--filter", "params.depth = '2'", "--json")["runs"]] == [
        older
    ]
    assert call("runs", "delete", newer) == f"depth 3 {newer[:12]} was deleted already.\n"
    assert call("runs", "restore", "latest", "latest") == f"Restored depth 2 {older[:12]}.\n"
    assert call("runs", "restore", older) == f"depth 2 {older[:12]} is not deleted.\n"
    assert call("runs", "restore", older, "latest", "--json") == {"runs": [newer], "unchanged": [older]}
    assert call("runs", "list", "--deleted", "--json")["runs"] == []
    assert call("experiments", "restore", "trees") == "trees (1) is not deleted.\n"
    assert call("experiments", "delete", "trees") == "Deleted trees (1).\n"
    assert call("experiments", "delete", "trees") == "trees (1) was deleted already.\n"

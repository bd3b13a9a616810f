"""`mainspring data diff`, `compact`, `remove`, `gc`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.workspace import Workspace, using
from tests.cli.conftest import call


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("mainspring.data.tables.layout.FOLD_BYTES", 0)
    (tmp_path / "mainspring.toml").write_text('name = "delays"\n')
    with Workspace.open(tmp_path) as workspace, using(workspace):
        table = dataset("delays")
        table.commit(pl.DataFrame({"flight": [1, 2, 3], "delay": [5.0, None, 7.0]}))
        table.upsert(pl.DataFrame({"flight": [2, 4], "delay": [1.5, 2.0]}), key="flight")
        table.delete([1], key="flight")
        folder = tmp_path / "notes"
        folder.mkdir()
        (folder / "a.txt").write_text("a")
        dataset("notes").add(folder)
        (folder / "a.txt").write_text("changed")
        (folder / "b.txt").write_text("b")
        dataset("notes").add(folder)
    return tmp_path


def called(*words: str, cwd: Path, status: int = 0) -> str:
    ran = call("data", *words, cwd=cwd)
    assert ran.exit_code == status, ran.output
    return ran.stdout + ran.stderr


def document(*words: str, cwd: Path) -> Any:
    return json.loads(called(*words, "--json", cwd=cwd))


def test_tables_are_compared_by_key_or_as_whole_rows(project: Path) -> None:
    said = called("diff", "delays/1", "delays/3", "--key", "flight", cwd=project)
    assert said.splitlines() == [
        "delays/1 → delays/3",
        "rows by flight: + 1 added, - 1 removed, ~ 1 changed, 1 the same",
        "~ delay: 1 row",
        "    2: null → 1.5",
        "+ flight=4, delay=2.0",
        "- flight=1, delay=5.0",
    ]
    assert "as whole rows: + 0 added, - 1 removed, 3 the same" in called("diff", "delays", cwd=project)
    told = document("diff", "delays/1", "delays/2", "--key", "flight", cwd=project)
    assert (told["old"], told["equal"], told["diff"]["changed"]) == ("delays/1", False, 1)


def test_columns_are_named_by_commas_or_one_by_one(project: Path) -> None:
    rows = pl.DataFrame({"a": [1, 1], "b": [1, 2], "c,d": [5, 6]})
    with Workspace.open(project) as workspace, using(workspace):
        dataset("pairs").commit(rows)
        dataset("pairs").commit(rows.with_columns(pl.lit(0, pl.Int64).alias("c,d")))
    for words in (("--key", "a", "--key", "b"), ("--key", "a, b"), ("--key", "a,b")):
        assert "rows by a, b: + 0 added, - 0 removed, ~ 2 changed" in called("diff", "pairs", *words, cwd=project)
    words = ("--key", "a,b", "--ignore", '"c,d"')
    leak = document("leakage", "pairs/1", "pairs/2", *words, cwd=project)["findings"][0]
    assert (leak["columns"], leak["rows"]) == (["a", "b"], 2)
    assert document("split", "pairs", "--on", "a,b", "--dry-run", cwd=project)["rule"]["key"] == ["a", "b"]
    (project / "more.csv").write_text('a,b,"c,d"\n1,2,9\n1,3,9\n')
    assert document("ingest", "more.csv", "--to", "pairs", "--key", "a,b", cwd=project)["dataset"]["rows"] == 3


def test_trees_are_compared_by_path(project: Path) -> None:
    said = called("diff", "notes", cwd=project)
    assert "files: 1 added, 0 removed, 1 changed, 0 renamed, 0 the same" in said
    assert "+ b.txt" in said
    assert document("diff", "notes/1", "notes/1", cwd=project)["equal"] is True


def test_the_exit_status_says_whether_they_differ_if_asked(project: Path) -> None:
    assert "no difference" in called("diff", "delays/1", "delays/1", "--exit-code", cwd=project)
    called("diff", "delays/1", "delays/2", "--exit-code", cwd=project, status=1)
    assert "no version before it" in called("diff", "delays/1", cwd=project, status=2)
    assert "It is a table" in called("diff", "delays", "notes", cwd=project, status=1)
    assert "Near: `flight`" in called("diff", "delays", "--key", "flihgt", cwd=project, status=1)
    assert "names no column" in called("diff", "delays", "--key", "", cwd=project, status=2)


def test_compaction(project: Path) -> None:
    with Workspace.open(project) as workspace:
        dataset("delays", workspace).append(pl.DataFrame({"flight": [9], "delay": [9.0]}))
    said = called("compact", cwd=project)
    assert "delays/4: 1 part, before 2" in said
    assert "notes/2: 1 part, rewritten" in said
    assert called("compact", "delays", cwd=project) == "delays/4: 1 part as before\n"
    assert called("compact", "notes", cwd=project) == "notes/2: 1 part as before\n"
    assert document("compact", "delays", cwd=project)["compacted"] == [
        {"version": "delays/4", "parts_before": 1, "parts": 1, "rewritten": False}
    ]


def test_removing_versions_and_a_dataset(project: Path) -> None:
    assert "delays/3 is the newest" in called("remove", "delays/3", cwd=project, status=1)
    assert "delays/2 removed" in called("remove", "delays/2", cwd=project)
    assert "say --yes, or name a version, such as notes/1" in called("remove", "notes", cwd=project, status=2)
    assert document("remove", "notes", "--yes", cwd=project)["removed"] == ["notes/1", "notes/2"]
    assert "delays/1, delays/3 removed" in called("remove", "delays", "--yes", cwd=project)


def test_old_versions_are_removed_by_a_policy(project: Path) -> None:
    assert "Say what to keep" in called("gc", cwd=project, status=2)
    assert "such as 12h" in called("gc", "--older-than", "3 days", cwd=project, status=2)
    assert "delays: nothing removed" in called("gc", "delays", "--older-than", "30d", cwd=project)
    told = document("gc", "--keep-last", "1", "--dry-run", cwd=project)
    assert told["datasets"]["delays"]["removed"] == ["delays/2", "delays/1"]
    said = called("gc", "--keep-last", "1", cwd=project)
    assert "delays: delays/2, delays/1 removed" in said
    assert "notes: notes/1 removed" in said
    assert "mainspring gc" in said

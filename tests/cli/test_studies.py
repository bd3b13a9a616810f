"""`mainspring studies`: lists, shows, draws and goes on with searches."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mainspring.cli.main import cli
from mainspring.studies import resume_study, study
from mainspring.studies.space import ints
from mainspring.workspace import Workspace

OBJECTIVE = "def score(x):\n    if x == 3:\n        raise ValueError('not three')\n    return x\n"


def asked(folder: Path, *words: str, status: int = 0) -> Any:
    result = CliRunner().invoke(cli, ["-C", str(folder), "studies", *words, "--json"])
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


def told(folder: Path, *words: str) -> str:
    result = CliRunner().invoke(cli, ["-C", str(folder), "studies", *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_study_is_listed_shown_drawn_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mainspring.toml").write_text('name = "searched"\n')
    (tmp_path / "goals.py").write_text(OBJECTIVE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import goals  # type: ignore[import-not-found]  # a module of the test's own project

    with Workspace.open(tmp_path) as workspace:
        assert "No studies." in told(tmp_path, "list")
        study(
            "late", goals.score, space={"x": ints(1, 4)}, direction="maximize", sampler="grid", trials=2,
            workspace=workspace,
        )  # fmt: skip
    (listed,) = asked(tmp_path, "list")["studies"]
    assert (listed["name"], listed["states"]) == ("late", {"complete": 2, "waiting": 2})
    resumed = told(tmp_path, "resume", "late", "--trials", "4")
    assert "trial 2 failed  ValueError: not three  (x=3)" in resumed
    assert "trial 3 complete  value 4  (x=4)" in resumed
    shown = asked(tmp_path, "show", "late")["study"]
    assert shown["best"][0]["params"] == {"x": 4}
    assert [trial["state"] for trial in shown["trials"]] == ["complete", "complete", "failed", "complete"]
    assert "ValueError: not three" in told(tmp_path, "show", "late")
    drawn = asked(tmp_path, "plot", "late", "-o", str(tmp_path / "late.svg"))
    assert Path(drawn["file"]).read_text().startswith("<?xml")
    refused = asked(tmp_path, "plot", "late", "-o", str(tmp_path / "no" / "late.svg"), status=1)
    assert refused["error"]["code"] == "storage"
    assert asked(tmp_path, "show", "lat", status=1)["error"]["code"] == "not_found"
    del sys.modules["goals"]


def test_resuming_a_function_without_a_name_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "mainspring.toml").write_text('name = "searched"\n')
    with Workspace.open(tmp_path) as workspace:
        study("late", lambda x: x, space={"x": ints(1, 4)}, direction="maximize", trials=1, workspace=workspace)
        with pytest.raises(LookupError, match="Give it a name in a module"):
            resume_study("late", trials=2, workspace=workspace)

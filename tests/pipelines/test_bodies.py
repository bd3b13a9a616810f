"""The body of a pipeline works in the workspace that its run is in, whichever is in use where it is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.pipelines.forecast import forecast
from mainspring.runs import start_run
from mainspring.testing.workspaces import Lab, lab_in
from mainspring.workspace import find_workspace, using

FLOW = """
from mainspring.runs import search_runs

@ms.step
def shout(name: str) -> str:
    return name.upper()

@ms.pipeline
def main():
    return [shout(run.name) for run in search_runs("params.depth = '3'")]
"""


@pytest.mark.one_backend("which workspace is in use, whatever its stores")
def test_what_a_body_finds_is_of_the_workspace_of_its_run(lab: Lab, tmp_path: Path) -> None:
    with lab_in(tmp_path / "other", f"sqlite:///{tmp_path}/other.db", f"file://{tmp_path}/others") as other:
        for each, name in ((lab, "mine"), (other, "other")):
            with start_run(name, params={"depth": 3}, workspace=each.workspace):
                pass
        lab.write(FLOW)
        main = lab.load().main
        with using(other.workspace):
            assert main.run(options={"workspace": lab.workspace}).value == ["MINE"]
            assert [each.task for each in forecast(main, {}, workspace=lab.workspace)] == ["shout"]
            assert find_workspace() is other.workspace

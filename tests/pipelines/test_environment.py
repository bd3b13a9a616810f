"""What differs here from the environment that a run recorded."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from mainspring.errors import NotFoundError
from mainspring.models import Field, Signature, register
from mainspring.models import check_environment as check_model
from mainspring.pipelines import check_environment
from mainspring.runs import Run, RunStore
from mainspring.runs.environment import snapshot
from mainspring.testing.workspaces import Lab

FLOW = """
import os
import polars as pl

ms.env("REGION")

@ms.step
def load():
    return pl.DataFrame({"a": [1], "region": [os.environ.get("REGION")]}).height

@ms.pipeline
def main():
    return load()
"""


def recorded_elsewhere(lab: Lab, run: Run, **changes: Any) -> Run:
    """The run, as if it had been recorded in another environment."""
    there = replace(snapshot(), **changes)
    return replace(run, environment=lab.workspace.blobs.put(msgspec.json.encode(there)))


def test_what_the_steps_import_and_declare_matters(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGION", raising=False)
    lab.write(FLOW)
    run = lab.run().run
    assert check_environment(run.id, workspace=lab.workspace).differences == ()
    monkeypatch.setenv("REGION", "north")
    others = snapshot().distributions | {"polars": "0.1", "pytest": "0.2", "gone": "1"}
    found = check_environment(recorded_elsewhere(lab, run, distributions=others), workspace=lab.workspace)
    assert [(each.name, each.recorded, each.here, each.matters) for each in found.differences] == [
        ("polars", "0.1", version("polars"), True),
        ("REGION", None, "a value", True),
        ("gone", "1", None, False),
        ("pytest", "0.2", version("pytest"), False),
    ]
    assert not found.is_alike


def test_of_a_script_every_recorded_distribution_matters(lab: Lab) -> None:
    runs = RunStore(lab.workspace.database, lab.workspace.ledger)
    with lab.workspace.database.transaction() as tx:
        run = runs.create(tx, kind="script", name="one")
    with pytest.raises(NotFoundError, match="environment"):
        check_environment(run.id, workspace=lab.workspace)
    there = recorded_elsewhere(lab, run, distributions=snapshot().distributions | {"gone": "1"})
    found = check_environment(there, workspace=lab.workspace)
    assert [(each.name, each.matters) for each in found.differences] == [("gone", True)]


def test_a_model_version_is_held_against_its_lock(lab: Lab) -> None:
    made = register({"a": 1}, "one", signature=Signature((Field("x", "f64"),)), workspace=lab.workspace)
    assert check_model(made, workspace=lab.workspace).is_alike
    assert check_model("one/1", workspace=lab.workspace).of == "one/1"

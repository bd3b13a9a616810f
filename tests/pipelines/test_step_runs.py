"""Steps that open a run of their own: what is recorded of it is Mainspring's work, and no input of the step."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mainspring.runs import RunStore
from mainspring.testing.runners import POOL
from mainspring.testing.workspaces import Lab, states, task_of

FLOW = """
import subprocess
from pathlib import Path

@ms.step
def fit(n: int):
    with ms.start_run("trial") as run:
        run.log_metric("n", n)
        {}
    return n

@ms.pipeline
def main(n: int = 3):
    return fit(n)
"""


@pytest.fixture
def checkout(lab: Lab) -> Lab:
    """A project in a git checkout, its flow committed."""
    lab.write(FLOW.format("pass"))
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for arguments in (("init", "-q", "."), ("add", "flow.py"), (*who, "commit", "-q", "-m", "one")):
        subprocess.run(["git", *arguments], cwd=lab.root, check=True)
    return lab


@pytest.mark.parametrize("runner", ["inline", POOL])
def test_a_step_that_opens_a_run_is_reused(checkout: Lab, runner: str) -> None:
    first = checkout.run(runner=runner)
    assert task_of(first, "fit").seen == []
    assert states(checkout.run(runner=runner)) == {"fit": "reused"}


@pytest.mark.parametrize("runner", ["inline", POOL])
@pytest.mark.parametrize(
    ("line", "seen"),
    [("Path('NOTES').read_text()", "notes.txt"), ("subprocess.run(['git', 'version'])", "git")],
)
def test_what_a_step_reads_and_starts_in_its_run_counts(checkout: Lab, runner: str, line: str, seen: str) -> None:
    notes = checkout.root / "notes.txt"
    notes.write_text("a note")
    checkout.write(FLOW.format(line.replace("NOTES", str(notes))))
    checkout.run(runner=runner)
    second = checkout.run(runner=runner)
    assert states(second) == {"fit": "succeeded"}
    assert seen in " ".join(task_of(second, "fit").reasons)


@pytest.mark.one_backend("a command is a process of its own")
@pytest.mark.parametrize("runner", ["inline", "pool"])
def test_a_run_of_a_step_on_the_command_line_is_named_after_the_projects_file(checkout: Lab, runner: str) -> None:
    command = [sys.executable, "-m", "mainspring", "run", "flow:main", "--runner", runner]
    subprocess.run(command, cwd=checkout.root, env=checkout.environment(), check=True, capture_output=True)
    store = RunStore(checkout.workspace.database, checkout.workspace.ledger)
    assert [run.target for run in store.list() if run.kind == "script"] == ["flow.py"]

"""A study in a step: the step is reused while its inputs are the same, and a later attempt goes on where one was cut."""

from __future__ import annotations

import pytest

from mainspring.runs import RunStore
from mainspring.studies import list_studies
from mainspring.testing.workspaces import Lab, states

FLOW = """
import os

def score(x, data):
    return x * len(data)

@ms.step
def load(size: int) -> list:
    return list(range(size))

@ms.step
def search(data: list) -> dict:
    best = ms.tune(
        score, space={{"x": ms.ints(1, 5)}}, direction="maximize", sampler="grid", inputs={{"data": data}}
    )
    {ending}
    return best.params

@ms.pipeline
def main(size: int = 3):
    return search(load(size))
"""


def test_a_step_that_tunes_is_reused_while_its_inputs_are_the_same(lab: Lab) -> None:
    lab.write(FLOW.format(ending="pass"))
    first = lab.run()
    assert states(first) == {"load": "succeeded", "search": "succeeded"}
    assert first.value == {"x": 5}
    assert states(lab.run()) == {"load": "reused", "search": "reused"}
    (study,) = list_studies(workspace=lab.workspace)
    run = RunStore(lab.workspace.database).get(study.id)
    assert run.parent == first.run.id
    assert len(study.trials()) == 5
    assert states(lab.run(params={"size": 4})) == {"load": "succeeded", "search": "succeeded"}
    assert len(list_studies(workspace=lab.workspace)) == 2


@pytest.mark.one_backend("what a fingerprint reaches is no concern of a backend")
def test_another_objective_is_another_step(lab: Lab) -> None:
    lab.write(FLOW.format(ending="pass"))
    lab.run()
    lab.write(FLOW.format(ending="pass").replace("x * len(data)", "-x * len(data)"))
    again = lab.run()
    assert states(again) == {"load": "reused", "search": "succeeded"}
    assert again.value == {"x": 1}


def test_a_step_that_was_cut_goes_on_with_its_study(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trials that ended before the step failed are not made again by its next attempt."""
    body = FLOW.format(ending='if os.environ.get("CUT"): raise ValueError("cut")')
    lab.write(body)
    monkeypatch.setenv("CUT", "yes")
    first = lab.run()
    assert states(first)["search"] == "failed"
    (study,) = list_studies(workspace=lab.workspace)
    runs = [trial.run for trial in study.trials()]
    monkeypatch.delenv("CUT")
    assert states(lab.resume(first.run.id))["search"] == "succeeded"
    (again,) = list_studies(workspace=lab.workspace)
    assert [trial.run for trial in again.trials()] == runs
    loggers = [edge.dst for edge in lab.workspace.ledger.edges([study.id]) if edge.role == "logged_by"]
    nodes = lab.workspace.ledger.nodes(loggers).values()
    assert sorted((node.kind, node.label) for node in nodes) == [("attempt", "1 of search"), ("task", "search")]


WATCHED = """
from pathlib import Path

def score(x):
    return sum(int(Path(__file__).with_name(name).read_text()) for name in ("one.txt", "two.txt")) * x

@ms.step
def search() -> dict:
    {declared}
    return ms.tune(score, space={{"x": ms.ints(1, 2)}}, direction="maximize", sampler="grid", jobs=2).params

@ms.pipeline
def main():
    return search()
"""


@pytest.mark.one_backend("processes are watched the same way on both")
def test_what_trials_read_in_processes_of_their_own_is_an_input_of_the_step(lab: Lab) -> None:
    for name in ("one.txt", "two.txt"):
        (lab.root / name).write_text("1")
    lab.write(WATCHED.format(declared="ms.file('one.txt')"))
    first = lab.run()
    assert [(seen["kind"], seen["name"]) for seen in first.tasks[0].seen] == [("file", "two.txt")]
    lab.write(WATCHED.format(declared="ms.file('one.txt'), ms.file('two.txt')"))
    assert states(lab.run()) == {"search": "succeeded"}
    assert states(lab.run()) == {"search": "reused"}

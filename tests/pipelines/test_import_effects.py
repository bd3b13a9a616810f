"""What modules that only the pipeline's module imports change in libraries: part of every key, and there for every runner.

The libraries are of the standard library, so that workers start quickly; `test_fingerprint_effects` has others.
"""

from __future__ import annotations

import decimal
import fractions
from collections.abc import Iterator

import pytest

from mainspring.pipelines.launch import resume_run
from mainspring.pipelines.replay import replay_run
from mainspring.testing.runners import DETACHED, POOL
from mainspring.testing.workspaces import Lab, states, task_of

EXT = """
import decimal, fractions
fractions.Fraction.lab = lambda self: 1
decimal.getcontext().prec = 4
"""
STEPS = """
import decimal, fractions, os

@ms.step
def first(marker: str):
    if not os.path.exists(marker):
        raise RuntimeError("not yet")
    return fractions.Fraction(1).lab()

@ms.step
def second(n: int):
    return [n, str(decimal.Decimal(1) / 3)]
"""
FLOW = """
import ext
from steps import first, second

@ms.pipeline
def main(marker: str):
    return second(first(marker))
"""
READS = """
import decimal, fractions
from pathlib import Path
here = Path(__file__).parent
OTHER = (here / "other").read_text()
fractions.Fraction.lab = lambda self: 1
decimal.getcontext().prec = int((here / "digits").read_text())
"""


@pytest.fixture
def changing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setattr(fractions.Fraction, "lab", None, raising=False)
    for name, text in (("ext", EXT), ("steps", STEPS), ("flow", FLOW)):
        lab.write(text, name)
    with decimal.localcontext():
        yield lab


def leave(lab: Lab) -> None:
    """Have the libraries as they are in a process that has not imported the project."""
    lab.forget()
    fractions.Fraction.lab = None  # type: ignore[attr-defined]  # what the project gives it
    decimal.getcontext().prec = 28


@pytest.mark.parametrize("runner", ["inline", POOL, DETACHED])
@pytest.mark.one_backend("libraries are changed in processes, not in the database")
def test_what_the_pipelines_module_changes_in_libraries_is_changed_for_every_runner(changing: Lab, runner: str) -> None:
    lab, marker = changing, changing.root.parent / "marker"
    failed = lab.run(runner=runner, params={"marker": str(marker)})
    marker.touch()
    leave(lab)
    assert resume_run(failed.id, workspace=lab.workspace, runner=runner).value == [1, "0.3333"]


@pytest.mark.one_backend("libraries are changed in processes, not in the database")
def test_what_the_pipelines_module_changes_in_libraries_is_in_the_key_of_every_step(changing: Lab) -> None:
    params = {"marker": str(changing.root)}
    assert changing.run(params=params).value == [1, "0.3333"]
    assert states(changing.run(params=params)) == {"first": "reused", "second": "reused"}
    assert replay_run("latest", workspace=changing.workspace).verdict == "VERIFIED"
    changing.write(EXT.replace("prec = 4", "prec = 6").replace("self: 1", "self: 2"), "ext")
    again = changing.run(params=params)
    assert again.value == [2, "0.333333"]
    assert "registrations ext changed" in task_of(again, "first").reasons


@pytest.mark.one_backend("libraries are changed in processes, not in the database")
def test_a_file_from_which_a_library_is_changed_is_in_the_key(changing: Lab) -> None:
    params = {"marker": str(changing.root)}
    changing.write(READS, "ext")
    (changing.root / "digits").write_text("4")
    (changing.root / "other").write_text("1")
    assert changing.run(params=params).value == [1, "0.3333"]
    (changing.root / "digits").write_text("6")
    changed = changing.run(params=params)
    assert changed.value == [1, "0.333333"]
    assert "file digits, read while ext is imported, changed" in task_of(changed, "second").reasons

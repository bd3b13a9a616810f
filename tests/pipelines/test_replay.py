"""Replay: the recorded code on the recorded inputs, every output compared."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mainspring.errors import ConflictError, CorruptBlobError, NotFoundError
from mainspring.pipelines.code.tree import read_tree
from mainspring.pipelines.replay import ReplayReport, replay_run
from mainspring.pipelines.results import RunResult
from mainspring.runs import RunState, RunStore
from mainspring.testing.runners import POOL
from mainspring.testing.workspaces import Lab

FLOW = """
import random
import numpy as np
import polars as pl

@ms.step
def load():
    return pl.DataFrame({"a": [3, 1, 2], "b": [0.1, 0.2, 0.3]})

@ms.step
def noise(frame):
    return [random.random(), np.random.rand(), frame.height]

@ms.step
def each(n: int):
    return n + random.random()

@ms.step
def total(values: list):
    return sum(values)

@ms.pipeline
def main():
    return noise(load()), total(each.map([1, 2]))
"""


def replayed(lab: Lab, run: str, **options: Any) -> ReplayReport:
    return replay_run(run, workspace=lab.workspace, **options)


def test_a_run_with_random_numbers_is_verified(lab: Lab) -> None:
    result = lab.write_and_run(FLOW)
    report = replayed(lab, result.id)
    assert report.verdict == "VERIFIED"
    assert {step.name for step in report.steps} == {"load", "noise", "each[0]", "each[1]", "total"}
    replay = RunStore(lab.workspace.database).get(report.replay_id)
    assert (replay.kind, replay.replay_of) == ("replay", result.id)


def test_it_runs_the_recorded_code_not_the_present_one(lab: Lab) -> None:
    result = lab.write_and_run(FLOW)
    lab.write(FLOW.replace("n + random.random()", "-1"))
    assert replayed(lab, result.id).verdict == "VERIFIED"


def test_what_was_reused_is_executed_again_too(lab: Lab) -> None:
    lab.write_and_run(FLOW)
    again = lab.run()
    assert len(replayed(lab, again.id).steps) == 5


DIVERGING = {
    "generator": ("float(np.random.default_rng().random())", "floats", "default_rng"),
    "secret": ("__import__('secrets').randbits(60)", "values", "secrets.randbits"),
    "table": ("frame.with_columns(b=pl.lit(np.random.default_rng().random()))", "", "default_rng"),
    "order": ("frame[[int(i) for i in np.random.default_rng().permutation(50)]]", "row_order", "default_rng"),
}


@pytest.mark.one_backend("what is said of a difference is no matter of where it lies")
@pytest.mark.parametrize("name", DIVERGING)
def test_a_call_that_no_seed_reaches_is_found_with_its_kind_and_place(lab: Lab, name: str) -> None:
    body, kind, cause = DIVERGING[name]
    result = lab.write_and_run(
        f"""
        import secrets
        import numpy as np
        import polars as pl

        @ms.step
        def load():
            return pl.DataFrame({{"a": range(50), "b": [float(i) for i in range(50)]}})

        @ms.step
        def work(frame):
            return {body.replace("__import__('secrets')", "secrets")}

        @ms.step
        def after(value):
            return 1

        @ms.pipeline
        def main():
            return after(work(load()))
        """
    )
    report = replayed(lab, result.id)
    assert report.verdict == "DIVERGED"
    last = report.steps[-1]
    assert (last.name, last.verdict) == ("work", "DIVERGED")
    assert kind in last.kind
    assert any(cause in line and "flow:" in line for line in last.causes)


@pytest.mark.one_backend("what is said of a difference is no matter of where it lies")
def test_a_declared_tolerance_verifies_approximately(lab: Lab) -> None:
    text = """
        import numpy as np

        @ms.step(TOLERANCE)
        def work():
            return np.ones(5) + np.random.default_rng().random() * 1e-9

        @ms.pipeline
        def main():
            return work()
        """
    exact = lab.write_and_run(text.replace("TOLERANCE", "cache=False"))
    assert replayed(lab, exact.id).verdict == "DIVERGED"
    near = lab.write_and_run(text.replace("TOLERANCE", "cache=False, rtol=1e-6"))
    assert replayed(lab, near.id).verdict == "VERIFIED≈"


def test_one_step_can_be_replayed_alone(lab: Lab) -> None:
    result = lab.write_and_run(FLOW)
    assert [step.name for step in replayed(lab, result.id, step="each").steps] == ["each[0]", "each[1]"]
    with pytest.raises(NotFoundError, match=r"`nose`.*noise"):
        replayed(lab, result.id, step="nose")


@pytest.mark.one_backend("what a step is made of again are blobs of recorded code, which both stores give back alike")
def test_a_step_without_importable_source_makes_the_verdict_incomplete(lab: Lab) -> None:
    result = lab.write_and_run(
        """
        @ms.step
        def a():
            return 1

        def made(kept):
            return ms.step(lambda n: n if kept else 0)

        b = made(object())

        @ms.pipeline
        def main():
            return b(a())
        """
    )
    report = replayed(lab, result.id)
    assert report.verdict == "INCOMPLETE"
    assert {step.name: step.verdict for step in report.steps} == {"a": "VERIFIED", "<lambda>": "INCOMPLETE"}
    assert report.steps[-1].detail.startswith(
        "It uses `kept`, an object, which its source doesn't hold. Pass it as an arg"
    )


def test_a_replay_is_never_taken_for_a_result(lab: Lab) -> None:
    result = lab.write_and_run(FLOW)
    entries = lab.workspace.database.query("SELECT key, task FROM cache_entry ORDER BY key")
    replayed(lab, result.id)
    assert lab.workspace.database.query("SELECT key, task FROM cache_entry ORDER BY key") == entries


def test_a_run_with_nothing_finished_is_refused(lab: Lab) -> None:
    result = lab.write_and_run(
        "@ms.step\ndef a():\n    raise ValueError\n\n@ms.pipeline\ndef main():\n    return a()\n"
    )
    with pytest.raises(ConflictError, match="no finished step"):
        replayed(lab, result.id)


ALLOWED = """
@ms.step(may_fail=True)
def risky():
    raise ValueError("not today")

@ms.step
def sure():
    return 1

@ms.pipeline
def main():
    risky()
    return sure()
"""


def test_what_has_no_result_in_the_run_is_said_to_be_left_out(lab: Lab) -> None:
    report = replayed(lab, lab.write_and_run(ALLOWED).id)
    assert (report.verdict, report.left_out) == ("VERIFIED", ["risky"])


DRAWN = """
import numpy as np

@ms.step
def draw():
    return np.random.default_rng().random(50) SCALE  # so many that they aren't all the same twice

@ms.step
def after(drawn: np.ndarray):
    return 1

@ms.pipeline
def main():
    return after(draw())
"""


def test_the_run_of_a_replay_that_differs_succeeded_and_leaves_out_the_rest(lab: Lab) -> None:
    result = lab.write_and_run(DRAWN.replace("SCALE", ""))
    report = replayed(lab, result.id)
    replay = RunStore(lab.workspace.database).get(report.replay_id)
    assert (report.verdict, report.cancelled) == ("DIVERGED", False)
    assert (replay.state, replay.error) == (RunState.SUCCEEDED, None)
    assert (replay.tags["verdict"], replay.tags["differs"][:13]) == ("DIVERGED", "draw: floats:")
    tasks = {task.name: (task.state.value, task.error) for task in RunResult(lab.workspace, replay).tasks}
    assert tasks == {"draw": ("succeeded", None), "after": ("skipped", "an earlier step differs")}


@pytest.mark.one_backend("what is said of a difference is no matter of where it lies")
@pytest.mark.parametrize(("scale", "told"), [("", ", which is not rounding."), ("* 1e-14 + 1", "e-15.")])
def test_how_far_apart_floats_are_is_told(lab: Lab, scale: str, told: str) -> None:
    result = lab.write_and_run(DRAWN.replace("SCALE", scale))
    (step,) = replayed(lab, result.id).steps
    assert "The floats differ by up to " in step.detail
    assert step.detail.endswith(told) or told.startswith("e-"), step.detail
    assert ("rounding" in step.detail) == ("rounding" in told)


@pytest.mark.one_backend("what is said of a difference is no matter of where it lies")
def test_rows_in_another_order_have_the_lack_of_one_as_their_cause(lab: Lab) -> None:
    marker = lab.root.parent / "marker"
    lab.write(
        """
        import os
        import polars as pl

        @ms.step
        def grouped(marker: str):
            rows = pl.DataFrame({"n": [1, 2]})
            return rows if os.path.exists(marker) else rows.reverse()

        @ms.pipeline
        def main(marker: str):
            return grouped(marker)
        """
    )
    result = lab.run(params={"marker": str(marker)})
    marker.touch()
    (step,) = replayed(lab, result.id).steps
    assert step.kind == "row_order"
    assert any("maintain_order=True" in cause and "@ms.step(ordered=False)" in cause for cause in step.causes)


@pytest.mark.one_backend("what an error says of a blob is no matter of where it lies")
def test_a_damaged_blob_of_the_recorded_code_is_named_with_its_file_and_run(lab: Lab) -> None:
    result = lab.write_and_run(DRAWN.replace("SCALE", ""))
    tree = read_tree(result.run.code or "", lab.workspace.blobs)
    path = Path(lab.workspace.blobs.path(tree.entries[0].blob))
    path.chmod(0o644)
    path.write_bytes(b"x")
    said = rf"corrupt.*It is `flow.py` in the recorded code of run {result.id[:12]} \(main\)\. "
    with pytest.raises(CorruptBlobError, match=said):
        replayed(lab, result.id)


@pytest.mark.one_backend("which failure is a cause is told by rows of both alike")
def test_a_step_that_fails_in_a_replay_has_its_failure_and_no_other_cause(lab: Lab) -> None:
    marker = lab.root.parent / "marker"
    marker.touch()
    lab.write(
        """
        import os

        @ms.step
        def work(marker: str):
            if not os.path.exists(marker):
                raise ValueError("not today")
            return 1

        @ms.pipeline
        def main(marker: str):
            return work(marker)
        """
    )
    result = lab.run(params={"marker": str(marker)})
    marker.unlink()
    report = replayed(lab, result.id)
    (step,) = report.steps
    assert (step.verdict, step.kind, step.causes) == ("DIVERGED", "failed", [])
    assert "ValueError: not today" in step.detail
    replay = RunStore(lab.workspace.database).get(report.replay_id)
    assert (replay.state, replay.error) == (RunState.FAILED, "work: ValueError: not today")


def test_latest_is_the_run_that_a_replay_is_of(lab: Lab) -> None:
    result = lab.write_and_run(FLOW)
    first = replayed(lab, "latest")
    assert replayed(lab, "latest").run_id == first.run_id == result.id
    with pytest.raises(ConflictError, match=f"is a replay; what it replayed is run {result.id[:12]}"):
        replayed(lab, first.replay_id)


@pytest.mark.one_backend("what a signal does is not the store's affair")
def test_an_interrupted_replay_is_cancelled(lab: Lab) -> None:
    marker = lab.root.parent / "marker"
    marker.with_name("marker.go").touch()
    lab.write(
        """
        import os, time
        from pathlib import Path

        @ms.step
        def slow(marker: str):
            Path(marker).write_text(str(os.getpid()))
            while not Path(marker + ".go").exists():
                time.sleep(0.01)
            return 1

        @ms.pipeline
        def main(marker: str):
            return slow(marker)
        """
    )
    result = lab.run(params={"marker": str(marker)})
    marker.with_name("marker.go").unlink()
    marker.unlink()
    process = lab.start(f"import sys; from mainspring.cli.main import cli; cli(['replay', {result.id!r}])")
    while not (marker.exists() and marker.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "INCOMPLETE" in out
    (replay,) = RunStore(lab.workspace.database).list(kind="replay")
    assert replay.state is RunState.CANCELLED


CELLS = """
import os.path
import random
from datetime import timedelta
from pathlib import Path

import numpy as np

import mainspring as ms
from elsewhere import scale

print("this is no part of a step")
FACTORS = {"a": [1, 2.5], "b": None}
FOLDER = Path("data")


def doubled(n):
    return n * 2 if n < 100 else halved(n)


def halved(n):
    return doubled(n / 200)


def adder(amount):
    @ms.step
    def add(n: int) -> float:
        return doubled(n) + amount + random.random()

    return add


@ms.step(retries=1)
def first(n: int, unit: timedelta = timedelta(seconds=1)) -> list:
    return [n * FACTORS["a"][1], np.linalg.norm([3, 4]) + random.random(), os.path.join(FOLDER, "x"), unit.seconds]


@ms.step
def second(values: list) -> float:
    return scale(values[0]) + doubled(values[1])


add_three = adder(3)


@ms.pipeline
def main(n: int = 3):
    return second(first(n)), add_three(n), ms.step(lambda n: -n)(n)


main.run(n=4)
"""


@pytest.mark.one_backend("what a step is made of again are blobs of recorded code, which both stores give back alike")
def test_steps_that_no_module_holds_are_replayed_from_their_recorded_source(lab: Lab) -> None:
    lab.write("def scale(n):\n    return n * 10\n", "elsewhere")
    script = lab.root / "of-no-module.py"
    script.write_text(CELLS)
    ran = subprocess.run(
        [sys.executable, str(script)], cwd=lab.root, env=lab.environment(), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    script.unlink()
    lab.write("def scale(n):\n    return None\n", "elsewhere")
    report = replayed(lab, "latest")
    assert {step.name: (step.verdict, step.detail) for step in report.steps} == dict.fromkeys(
        ("first", "second", "add", "<lambda>"), ("VERIFIED", "Every output has the same content.")
    )
    again = RunResult(lab.workspace, RunStore(lab.workspace.database).get(report.replay_id))
    assert [again.log_of(task) for task in again.tasks] == [""] * 4


@pytest.mark.one_backend("what is said of a difference is no matter of where it lies")
def test_a_call_that_no_seed_reaches_is_named_where_no_module_holds_the_step(lab: Lab) -> None:
    result = lab.write_and_run(
        """
        import secrets

        @ms.pipeline
        def main():
            return ms.step(lambda: secrets.randbits(60))()
        """
    )
    (step,) = replayed(lab, result.id).steps
    assert step.verdict == "DIVERGED"
    assert "flow.main.<locals>.<lambda>: `secrets.randbits(60)`" in step.causes[0]


@pytest.mark.one_backend("what the process that compares has imported does not depend on the store")
def test_a_value_that_only_the_projects_codec_reads_is_told_to_differ(lab: Lab) -> None:
    from mainspring.testing.runners import KINDS

    lab.write(KINDS, "kinds")
    lab.write(
        """
        import kinds, os

        @ms.step
        def drawn():
            return kinds.Fraction(int.from_bytes(os.urandom(7), "big"), 3)

        @ms.pipeline
        def main():
            return drawn()
        """
    )
    run = lab.run()
    replaying = lab.start(
        f"from mainspring.pipelines.replay import replay_run\n"
        f"from mainspring.workspace import current_workspace\n"
        f"report = replay_run({run.id!r}, workspace=current_workspace())\n"
        f"print(report.verdict, report.steps[0].detail)"
    )
    told, error = replaying.communicate()
    assert replaying.returncode == 0, error
    assert told.startswith("DIVERGED The contents differ; how can't be told here: No codec `fraction`.")


TRIED_TWICE = """
import polars as pl

@ms.step(retries=1, backoff_s=0)
def put(marker: str, same: bool):
    import os
    version = ms.dataset("t").append(pl.DataFrame({"n": [same or os.path.exists(marker)]}))
    if not os.path.exists(marker):
        open(marker, "w").close()
        raise ValueError
    return version

@ms.pipeline
def main(marker: str, same: bool):
    return put(marker, same)
"""


@pytest.mark.one_backend("which attempt made a version is told by edges and rows of both alike")
@pytest.mark.parametrize("same", [True, False])
def test_a_replay_is_given_what_the_last_attempt_committed_or_took_over(lab: Lab, same: bool) -> None:
    result = lab.write_and_run(TRIED_TWICE, params={"marker": str(lab.root.parent / "marker"), "same": same})
    assert result.value.number == (1 if same else 2)
    assert replayed(lab, result.id).verdict == "VERIFIED"


@pytest.mark.one_backend("what is said of a difference is no matter of where it lies")
@pytest.mark.parametrize("runner", ["inline", POOL])
def test_where_a_given_file_lay_is_told_as_the_cause(lab: Lab, runner: str) -> None:
    lab.write(
        """
        from pathlib import Path

        @ms.step
        def made():
            path = ms.scratch() / "a.txt"
            path.write_text("1")
            return path

        @ms.step
        def located(path: Path):
            return {"at": str(path)}

        @ms.pipeline
        def main():
            return located(made())
        """
    )
    result = lab.run(runner=runner)
    step = replayed(lab, result.id).steps[-1]
    assert (step.name, step.verdict) == ("located", "DIVERGED")
    (cause,) = step.causes
    assert cause.startswith("both results name a place in a scratch folder, which is another one in every run (`/")
    assert "a.txt`)" in cause


@pytest.mark.one_backend("what is said of a difference is no matter of where it lies")
@pytest.mark.parametrize("result", ["path", "{'at': [path], 'one': (path, 'a')}"])
def test_a_path_that_is_returned_is_no_location_in_a_result(lab: Lab, result: str) -> None:
    lab.write(
        f"""
        import secrets

        @ms.step
        def drawn():
            path = ms.scratch() / "o.txt"
            path.write_text(secrets.token_hex(4))
            return {result}

        @ms.pipeline
        def main():
            return drawn()
        """
    )
    (step,) = replayed(lab, lab.run().id).steps
    assert step.verdict == "DIVERGED"
    assert [cause.partition(" ")[0] for cause in step.causes] == ["flow:8:"]


@pytest.mark.one_backend("what is said of a difference is no matter of where it lies")
@pytest.mark.parametrize("is_set", [False, True])
def test_a_value_is_a_cause_only_if_it_is_not_what_it_was_in_the_run(lab: Lab, is_set: bool) -> None:
    lab.write(
        f"""
        import dataclasses, secrets

        CONFIG = {{"n": 1}}

        @dataclasses.dataclass(frozen=True)
        class User:
            name: str = "a"

        @dataclasses.dataclass(frozen=True)
        class Outer:
            user: User = User("b")

        @ms.step
        def drawn(outer: Outer):
            return secrets.token_hex(4), CONFIG["n"]

        @ms.pipeline
        def main():
            CONFIG["n"] += {int(is_set)}
            return drawn(Outer())
        """
    )
    (step,) = replayed(lab, lab.run().id).steps
    assert step.causes[1:] == (["value flow.CONFIG is not what it was in the run"] if is_set else [])

"""The contract of every runner: the same digests as inline, and failures that stay with the step that failed."""

from __future__ import annotations

from typing import Any

import pytest

from mainspring.data import dataset
from mainspring.pipelines.replay import replay_run
from mainspring.pipelines.results import RunResult
from mainspring.testing.workspaces import Lab, digests, states, task_of

# Runners as parameters of tests: a process reaches the state by URL, whichever it is, so one pair is enough for each.
POOL = pytest.param("pool", marks=pytest.mark.one_backend("a pool is held to SQLite, as on one machine"))
DETACHED = pytest.param(
    "detached", marks=pytest.mark.one_backend("processes apart are held to PostgreSQL, as on many", name="postgres")
)

KINDS = """
import dataclasses, enum
from fractions import Fraction
from typing import NamedTuple
import msgspec
from mainspring.artifacts import Comparison, Encoded, Preview, meaning_digest, register

class Colour(enum.Enum):
    RED = 1

@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    colour: Colour = Colour.RED

@dataclasses.dataclass
class Box:
    points: list

class Size(msgspec.Struct):
    width: float

class Pair(NamedTuple):
    left: int
    right: Size

class FractionCodec:
    name, recipe, immutable, types = "fraction", 1, True, ("fractions.Fraction",)

    def digest(self, value):
        return meaning_digest(self.name, self.recipe, str(value))

    def encode(self, value, blobs):
        return Encoded(self.name, blobs.put(str(value).encode()), len(str(value)))

    def decode(self, encoded, blobs):
        return Fraction(blobs.read(encoded.blob).decode())

    def preview(self, value):
        return Preview("text", str(value), {})

    def compare(self, old, new, tolerance):
        return Comparison("equal" if old == new else "values", f"{old} → {new}")

register(FractionCodec())
"""

ZOO = """
import random
import kinds

@ms.step
def table(rows: int):
    import polars as pl
    return pl.DataFrame({"a": range(rows), "b": [str(i % 3) for i in range(rows)]})

@ms.step
def array():
    import numpy as np
    return np.random.rand(4, 3)

@ms.step
def chance():
    return [random.random() for _ in range(3)]

@ms.step(outputs=("x", "y"))
def halves(frame):
    return frame.select("a"), frame.select("b")

@ms.step
def mutated(frame):
    import pandas as pd
    pandas = pd.DataFrame({"a": frame["a"].to_list()})
    return pandas

@ms.step
def spoil(pandas):
    pandas["a"] = -1
    return len(pandas)

@ms.step
def kept(pandas, after):
    return pandas["a"].tolist()

@ms.step
def square(n: int):
    return {"n": n * n, "noise": random.random()}

@ms.step
def tree():
    folder = ms.scratch() / "tree"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.txt").write_text("a")
    (folder / "b.bin").write_bytes(bytes(range(256)))
    return folder

@ms.step
def spoil_tree(folder):
    (folder / "b.bin").unlink()
    (folder / "more.txt").write_text("more")
    return sorted(path.name for path in folder.iterdir())

@ms.step
def kept_tree(folder, after):
    return sorted(path.name for path in folder.iterdir()), folder

@ms.step
def records():
    return [kinds.Point(1), kinds.Box([kinds.Point(2)]), kinds.Size(0.5), kinds.Pair(1, kinds.Size(2.0))]

@ms.step
def fraction():
    return kinds.Fraction(1, 3)

@ms.step
def arrow():
    import pyarrow as pa
    return pa.table({"at": pa.array([1, None], pa.timestamp("ms")), "words": pa.array([["a"], []])})

@ms.step
def described(record):
    return type(record).__name__, record

@ms.step
def mixed(point: kinds.Point, parts: dict, table):
    return [point.colour.name, point.x, sorted(map(repr, parts)), parts[1], parts["1"], table.num_rows]

@ms.step
def model(frame):
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    x = frame["a"].to_numpy().reshape(-1, 1)
    return LogisticRegression().fit(x, (x[:, 0] > 5).astype(int))

@ms.step
def together(parts: list, folder, fitted):
    return [sorted(parts[0]), (folder / "deep" / "a.txt").read_text(), fitted.n_features_in_]

@ms.pipeline
def main(rows: int = 12):
    frame = table(rows)
    x, y = halves(frame)
    pandas = mutated(frame)
    squares = square.map([1, 2, 3])
    folder, third = tree(), fraction()
    end = together(squares, folder, model(frame))
    described.map(records())
    return {
        "end": end, "kept": kept(pandas, spoil(pandas)), "array": array(), "chance": chance(), "y": y,
        "tree": kept_tree(folder, spoil_tree(folder)), "thirds": described(third),
        "mixed": mixed(kinds.Point(7), {1: third, "1": chance(), (2, kinds.Colour.RED): 0}, arrow()),
    }

@ms.pipeline
def few(rows: int = 12):
    x, y = halves(table(rows))
    folder = tree()
    return {
        "y": y, "squares": square.map([1, 2]), "thirds": described(fraction()), "record": described(kinds.Point(1)),
        "tree": kept_tree(folder, spoil_tree(folder)),
    }
"""

FAILING = """
import os, signal, time

@ms.step
def good():
    return 1

@ms.step
def raises():
    print("before the end")
    raise ValueError("no")

@ms.step(isolated=True)
def segfaults():
    print("before the end", flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)

@ms.step(isolated=True)
def exits():
    print("before the end", flush=True)
    os._exit(7)

@ms.step(timeout_s=1)
def hangs():
    print("before the end", flush=True)
    while True:
        time.sleep(1)

@ms.step(timeout_s=1)
def hangs_in_c():
    print("before the end", flush=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
    import ctypes
    ctypes.PyDLL(None).sleep(60)  # with the interpreter's lock held

@ms.step(memory_mb=300)
def eats():
    print("before the end", flush=True)
    kept = []
    while True:
        kept.append(b"x" * (8 << 20))

@ms.step(isolated=True)
def leaves_a_child():
    print("before the end", flush=True)
    import subprocess, sys
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    os._exit(7)
"""
PIPELINE = "\n@ms.pipeline\ndef main():\n    return {'bad': NAME(), 'good': good()}\n"

# Step, the kind of its end, and what its message says.
ENDS = (
    ("raises", "error", "ValueError: no"),
    ("segfaults", "signal", "SIGSEGV"),
    ("exits", "exit", "exit code 7"),
    ("leaves_a_child", "exit", "exit code 7"),
    ("hangs", "timeout", "longer than its limit of 1 s"),
    ("hangs_in_c", "timeout", "longer than its limit of 1 s"),
    ("eats", "memory", "its limit is 300 MiB"),
)


class RunnerContract:
    """Subclass it, name the runner, say how many jobs it takes and whether it runs steps in other processes.

    `zoo` is the pipeline whose outputs are compared: `main` has a value of every codec; `few` is for a runner that needs a
    second for each step and runs it in the same worker as another that is held to `main`. It needs the fixture `lab` of
    `mainspring.testing.plugin`.
    """

    runner = "inline"
    jobs = 1
    isolates = True
    zoo = "main"

    def run(self, lab: Lab, pipeline: str = "main", **more: Any) -> RunResult:
        """Run what the lab holds, on this runner."""
        return lab.run(pipeline, runner=self.runner, jobs=self.jobs, **more)

    def test_every_output_is_what_it_is_inline_and_is_reused_there(self, lab: Lab) -> None:
        lab.write(KINDS, "kinds")
        lab.write(ZOO)
        inline = lab.run(self.zoo, runner="inline")
        assert inline.succeeded, inline.run.error
        here = self.run(lab, self.zoo, reuse=False)
        assert here.succeeded, here.run.error
        assert digests(here) == digests(inline)
        assert here.output("tree")[0] == ["b.bin", "deep"]
        assert self.zoo == "few" or here.output("kept") == list(range(12))
        again = lab.run(self.zoo, runner="inline")
        ran = {task.name: task.reasons for task in again.tasks if task.reasons}
        assert (set(states(again).values()), ran) == ({"reused"}, {})
        last = "model" if self.zoo == "main" else "halves"
        assert task_of(again, last).reused_from == task_of(here, last).id
        assert set(states(self.run(lab, self.zoo)).values()) == {"reused"}

    @pytest.mark.parametrize(("step", "kind", "said"), ENDS, ids=[step for step, _, _ in ENDS])
    def test_a_step_that_fails_fails_alone_with_its_log(self, lab: Lab, step: str, kind: str, said: str) -> None:
        if not self.isolates and kind != "error":
            return  # such a step is refused there, which is a law of its own
        lab.write(FAILING + PIPELINE.replace("NAME", step))
        result = self.run(lab, keep_going=True)
        assert states(result) == {step: "failed", "good": "succeeded"}
        task = task_of(result, step)
        (attempt,) = result._store.attempts(task.id)
        assert (attempt.kind, attempt.state) == (kind, "failed")
        assert said in (task.error or "")
        assert result.log_of(task).startswith("before the end\n")
        assert kind != "memory" or (task.peak_bytes or 0) > 300 << 20

    def test_a_failed_attempt_of_any_kind_is_tried_again(self, lab: Lab) -> None:
        ends = "os._exit(7)" if self.isolates else "raise ValueError"
        options = "isolated=True, " if self.isolates else ""
        lab.write(
            f"""
            import os

            @ms.step({options}retries=1, backoff_s=0)
            def work(marker: str):
                if not os.path.exists(marker):
                    open(marker, "w").close()
                    {ends}
                return 1

            @ms.pipeline
            def main(marker: str):
                return work(marker)
            """
        )
        result = self.run(lab, params={"marker": str(lab.root.parent / "marker")})
        assert result.value == 1
        assert [each.state for each in result._store.attempts(result.tasks[0].id)] == ["failed", "succeeded"]

    def test_an_import_that_fails_is_the_steps_failure(self, lab: Lab) -> None:
        lab.write(
            """
            @ms.step
            def work():
                import a_module_that_is_not_there
                return 1

            @ms.pipeline
            def main():
                return work()
            """
        )
        result = self.run(lab)
        assert "a_module_that_is_not_there" in (result.tasks[0].error or "")
        assert "a_module_that_is_not_there" in result.log_of(result.tasks[0])

    @pytest.mark.one_backend("what a commit came to is rows of the database, whoever wrote them")
    def test_a_replay_is_given_what_a_commit_found_unchanged(self, lab: Lab) -> None:
        lab.write(
            """
            import polars as pl

            @ms.step
            def put():
                return ms.dataset("people").upsert(pl.DataFrame({"name": ["ann"]}), key="name")

            @ms.pipeline
            def main():
                return put()
            """
        )
        from polars import DataFrame

        people = dataset("people", lab.workspace)
        people.commit(DataFrame({"name": ["ann"]}))
        people.commit(DataFrame({"name": ["ann", "bob"]}))
        third = people.delete(["bob"], key="name")
        assert self.run(lab).value == third
        again = self.run(lab)
        assert states(again) == {"put": "reused"}
        people.commit(DataFrame({"name": ["eve"]}))
        report = replay_run(again.id, workspace=lab.workspace)
        assert report.verdict == "VERIFIED", report.steps

    def test_time_memory_and_what_was_printed_are_recorded(self, lab: Lab) -> None:
        lab.write(
            """
            import sys

            @ms.step
            def work():
                print("out")
                sys.stderr.write("err\\n")
                ms.log_metric("auc", 0.5)
                return len(bytearray(30 << 20))

            @ms.pipeline
            def main():
                return work()
            """
        )
        result = self.run(lab)
        (task,) = result.tasks
        assert result.log_of(task) == "out\nerr\n"
        assert (task.peak_bytes or 0) > 30 << 20
        assert task.wall_s is not None
        assert task.cpu_s is not None
        assert task.child_run

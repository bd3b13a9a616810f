"""Values between steps: what JSON can't hold, what no codec takes, and who may change what."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mainspring.testing.runners import DETACHED, POOL
from mainspring.testing.workspaces import Lab, states, task_of

pytestmark = pytest.mark.one_backend("what passes between steps on either is held by the contract of runners")

MUTATION = """
import numpy as np
import pandas as pd

@ms.step
def frame():
    return pd.DataFrame({"a": [1, 2, 3]})

@ms.step
def array():
    return np.arange(3)

@ms.step
def values():
    return {"a": [1, 2, 3], "b": {4}}

@ms.step
def spoil(frame, array, values, literal):
    frame["a"] = 0
    frame["b"] = 5
    array[:] = 0
    values["a"].clear()
    values["b"].add(5)
    literal.append(9)
    return 1

@ms.step
def look(frame, array, values, literal, after):
    return [frame["a"].tolist(), array.tolist(), values["a"], sorted(values["b"]), literal]

@ms.pipeline
def main():
    f, a, v, literal = frame(), array(), values(), [7]
    return look(f, a, v, literal, after=spoil(f, a, v, literal))
"""


@pytest.mark.parametrize("runner", ["inline", POOL])
def test_a_step_that_changes_its_inputs_changes_them_for_nobody_else(lab: Lab, runner: str) -> None:
    lab.write(MUTATION)
    assert lab.run(runner=runner).value == [[1, 2, 3], [0, 1, 2], [1, 2, 3], [4], [7]]


def test_a_step_that_changes_its_input_does_not_change_it_for_its_own_retry(lab: Lab) -> None:
    result = lab.write_and_run(
        """
        tries = []

        @ms.step(retries=1, backoff_s=0)
        def spoil(literal):
            literal.append(len(literal))
            tries.append(1)
            if len(tries) == 1:
                raise ValueError("once")
            return literal

        @ms.pipeline
        def main():
            return spoil([5])
        """
    )
    assert result.value == [5, 1]


def test_a_frame_may_be_an_argument(lab: Lab) -> None:
    lab.write(
        """
        import polars as pl

        @ms.step
        def count(frame, by: dict):
            return frame.height + sum(frame["a"]) + len(by["keys"])

        @ms.pipeline
        def main(n: int = 2):
            return count(pl.DataFrame({"a": list(range(n))}), {"keys": {1, 2}})
        """
    )
    first = lab.run()
    assert first.value == 5
    assert states(lab.run()) == {"count": "reused"}
    again = lab.run(params={"n": 3})
    assert task_of(again, "count").reasons == ["argument frame changed"]
    assert again.value == 8


@pytest.mark.parametrize(
    "value",
    [
        "float('nan')",
        "float('-inf')",
        "-0.0",
        "2**70",
        "(1, (2,))",
        "{1, 2}",
        "b'bytes'",
        "{1: 2}",
        "'\\ud800'",
        "'a\\0b'",
        "None",
    ],
)
def test_a_literal_arrives_as_it_was_passed(lab: Lab, value: str) -> None:
    result = lab.write_and_run(
        f"""
        GIVEN = {value}

        @ms.step
        def echo(value):
            return repr(value) + type(value).__name__

        @ms.pipeline
        def main():
            return echo(GIVEN)
        """
    )
    given: Any = eval(value)
    assert result.value == repr(given) + type(given).__name__


def test_an_argument_that_no_codec_takes_is_named_with_its_step_before_anything_starts(lab: Lab) -> None:
    lab.write(
        """
        import threading

        @ms.step
        def use(lock):
            return 1

        @ms.pipeline
        def main():
            return use(threading.Lock())
        """
    )
    with pytest.raises(TypeError, match=r"Step `use`, parameter `lock`"):
        lab.run()


@pytest.mark.parametrize("runner", ["inline", POOL])
def test_an_output_that_no_codec_takes_is_named_with_its_step(lab: Lab, runner: str) -> None:
    lab.write(
        """
        import threading

        @ms.step(outputs=("fine", "lock"))
        def make():
            return 1, threading.Lock()

        @ms.step
        def use(x):
            return x

        @ms.pipeline
        def main():
            return use(make().fine)
        """
    )
    result = lab.run(runner=runner)
    assert states(result) == {"make": "failed", "use": "skipped"}
    error = task_of(result, "make").error or ""
    assert "Step `make`, output `lock`" in error
    assert "lock" in error.lower()


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("None", "returned one `NoneType`"),
        ("(1,)", "misses the output `b`"),
        ("(1, 2, 3)", "returned 3 values for 2 outputs"),
        ("{'a': 1}", "misses the output `b`"),
        ("7", "returned one `int`"),
    ],
)
@pytest.mark.one_backend("what the step returned is looked at before anything is stored")
def test_a_missing_or_surplus_output_is_named(lab: Lab, returned: str, said: str) -> None:
    result = lab.write_and_run(
        f"""
        @ms.step(outputs=("a", "b"))
        def make():
            return {returned}

        @ms.pipeline
        def main():
            return make().a
        """
    )
    assert states(result) == {"make": "failed"}
    assert said in (task_of(result, "make").error or "")


def test_none_is_a_result_like_any_other(lab: Lab) -> None:
    text = """
        @ms.step
        def nothing():
            return None

        @ms.step
        def see(value):
            return value is None

        @ms.pipeline
        def main():
            return see(nothing())
        """
    assert lab.write_and_run(text).value is True
    assert states(lab.run()) == {"nothing": "reused", "see": "reused"}


@pytest.mark.parametrize("runner", ["inline", POOL])
def test_async_steps_are_awaited(lab: Lab, runner: str) -> None:
    lab.write(
        """
        import asyncio

        @ms.step
        async def slow(n):
            await asyncio.sleep(0)
            print("awaited", n)
            return n + 1

        @ms.pipeline
        def main():
            return slow(slow(1))
        """
    )
    result = lab.run(runner=runner)
    assert result.value == 3
    assert result.log_of(task_of(result, "slow")) == "awaited 1\n"


@pytest.mark.one_backend("how a coroutine is awaited does not depend on the store")
@pytest.mark.parametrize(("fails", "state"), [("", "succeeded"), ("raise KeyError('x')", "failed")])
def test_async_steps_run_in_a_notebook_which_has_a_loop_of_its_own(lab: Lab, fails: str, state: str) -> None:
    import asyncio

    lab.write(
        f"""
        @ms.step
        async def slow():
            print("inside")
            ms.log_metric("m", 1)
            {fails}
            return 1

        @ms.pipeline
        def main():
            return slow()
        """
    )

    async def cell() -> Any:
        return lab.run()

    result = asyncio.run(cell())
    assert states(result) == {"slow": state}
    assert result.log_of(result.tasks[0]).startswith("inside\n")
    assert fails == "" or "KeyError" in (result.tasks[0].error or "")


def test_a_step_called_inside_a_step_is_a_plain_call(lab: Lab) -> None:
    result = lab.write_and_run(
        """
        @ms.step
        def inner(n):
            return n + 1

        @ms.pipeline
        def small(n):
            return inner(n)

        @ms.step
        def outer(n):
            return inner(n) + sum(inner.map([1, 2])) + small(n)

        @ms.pipeline
        def main():
            return outer(1)
        """
    )
    assert result.value == 2 + 5 + 2
    assert states(result) == {"outer": "succeeded"}


@pytest.mark.one_backend("what is written is the same")
def test_what_an_error_says_is_bounded_and_no_terminal_obeys_it(lab: Lab) -> None:
    result = lab.write_and_run(
        r"""
        @ms.step
        def bad():
            raise ValueError("a\0\x1b[31mb\x9b2Jc\rd\x08\ne" + "x" * 10_000_000)

        @ms.pipeline
        def main():
            return bad()
        """
    )
    error, log = result.tasks[0].error or "", result.log_of(result.tasks[0])
    assert error.startswith(r"ValueError: a\x00b\x9b2Jc\x0dd\x08 exxx")
    assert len(error) == 500
    assert log.splitlines()[-2] == r"ValueError: a\x00b\x9b2Jc\x0dd\x08"
    assert re.fullmatch(r"ex{60000,70000}… \(9,9\d\d,\d\d\d more characters\)", log.splitlines()[-1])


@pytest.mark.parametrize("runner", ["inline", POOL])
@pytest.mark.parametrize("message", ["'a\\0b'", "'\\ud800'", "Odd()"])
def test_any_error_of_a_step_can_be_recorded(lab: Lab, runner: str, message: str) -> None:
    lab.write(
        f"""
        class Odd:
            def __repr__(self):
                raise ZeroDivisionError("repr")

        @ms.step
        def bad():
            raise ValueError({message})

        @ms.pipeline
        def main():
            return bad()
        """
    )
    result = lab.run(runner=runner)
    assert states(result) == {"bad": "failed"}
    assert "ValueError" in (result.tasks[0].error or "")


@pytest.mark.parametrize("runner", ["inline", POOL])
def test_a_polars_frame_turned_in_place_is_turned_for_nobody_else(lab: Lab, runner: str) -> None:
    lab.write(
        """
        import polars as pl

        @ms.step
        def make():
            return pl.DataFrame({"a": [1], "b": [2]})

        @ms.step
        def pair():
            return pl.DataFrame({"c": [1]}), 7

        @ms.step
        def spoil(frame, pair):
            frame.columns = ["x", "y"]
            frame.drop_in_place("x")
            pair[0].columns = ["z"]
            return frame

        @ms.step
        def look(frame, pair, spoilt):
            return [frame.columns, pair[0].columns, spoilt.columns]

        @ms.pipeline
        def main():
            frame, two = make(), pair()
            return look(frame, two, spoil(frame, two))
        """
    )
    assert lab.run(runner=runner).value == [["a", "b"], ["c"], ["y"]]


@pytest.mark.parametrize("runner", ["inline", POOL, DETACHED])
def test_a_file_that_a_step_wrote_to_its_scratch_folder_reaches_the_next(lab: Lab, runner: str) -> None:
    lab.write(
        """
        @ms.step
        def make():
            path = ms.scratch() / "report.txt"
            path.write_text("kept")
            return path

        @ms.step
        def read(path):
            return path.read_text()

        @ms.pipeline
        def main():
            return read(make())
        """
    )
    result = lab.run(runner=runner)
    assert result.value == "kept"
    assert set(states(lab.run()).values()) == {"reused"}


RECORDS = """
    import dataclasses

    @dataclasses.dataclass(frozen=True)
    class C:
        n: int
    """


@pytest.mark.parametrize(("runner", "jobs"), [("inline", 1), ("pool", 2), ("detached", 1)])
def test_a_class_of_the_project_reaches_a_fresh_worker(lab: Lab, runner: str, jobs: int) -> None:
    lab.write(RECORDS, "conf")
    lab.write(
        """
        from conf import C

        @ms.step
        def make() -> list[C]:
            return [C(n) for n in range(4)]

        @ms.step
        def use(x: C) -> int:
            return x.n

        @ms.step
        def count(xs) -> int:
            return sum(x.n for x in xs)

        @ms.pipeline
        def main():
            made = make()
            return use.map(made), count(made)
        """
    )
    assert lab.run(runner=runner, jobs=jobs).value == ([0, 1, 2, 3], 6)


@pytest.mark.parametrize("runner", ["inline", POOL])
def test_a_step_that_changes_a_folder_it_was_given_changes_it_for_nobody_else(lab: Lab, runner: str) -> None:
    lab.write(
        """
        @ms.step
        def make():
            folder = ms.scratch() / "tree"
            folder.mkdir()
            for name in ("a", "b"):
                (folder / name).write_text(name)
            return folder

        @ms.step
        def spoil(tree, again):
            (tree / "a").unlink()
            (tree / "new").write_text("new")
            (tree / "b").chmod(0o644)
            (tree / "b").write_text("other")
            return sorted(path.name for path in again.iterdir())

        @ms.step
        def look(tree, spoilt):
            return [spoilt, {path.name: path.read_text() for path in tree.iterdir()}]

        @ms.pipeline
        def main():
            tree = make()
            return look(tree, spoil(tree, tree))
        """
    )
    for _ in range(2):
        assert lab.run(runner=runner, reuse=False).value == [["a", "b"], {"a": "a", "b": "b"}]


@pytest.mark.parametrize("runner", ["inline", POOL, DETACHED])
def test_copies_of_files_go_with_the_task_that_got_them(
    lab: Lab, runner: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    lab.write(
        """
        @ms.step
        def make():
            path = ms.scratch() / "big.bin"
            path.write_bytes(bytes(1 << 20))
            return path

        @ms.step
        def size(path, plus: int):
            assert not any(ms.scratch().iterdir())
            return path.stat().st_size + plus

        @ms.pipeline
        def main():
            path = make()
            return [size(path, 1), size(path, 2)]
        """
    )
    assert lab.run(runner=runner, jobs=2 if runner == "pool" else 1).value == [(1 << 20) + 1, (1 << 20) + 2]
    assert not [path for path in temporary.rglob("*") if path.name == "big.bin"]
    assert not [path for path in lab.workspace.scratch.rglob("*") if path.is_file()]


def test_a_dict_with_results_keeps_its_keys_as_they_are(lab: Lab) -> None:
    lab.write(
        """
        import enum

        class Kind(enum.Enum):
            A = 1

        @ms.step
        def ten(i: int):
            return i * 10

        @ms.step
        def told(parts):
            return [[repr(key), parts[key]] for key in parts]

        @ms.pipeline
        def main():
            return told({1: ten(1), "1": ten(2), (2, 3): ten(3), None: {2.5: ten(4)}, Kind.A: 5})
        """
    )
    expected = [["1", 10], ["'1'", 20], ["(2, 3)", 30], ["None", {2.5: 40}], ["<Kind.A: 1>", 5]]
    for _ in range(2):
        assert lab.run().value == expected
    assert lab.run(runner="pool", reuse=False).value == expected


def test_a_failure_with_another_error_is_another_argument(lab: Lab) -> None:
    text = """
        @ms.step(may_fail=True)
        def load():
            raise ValueError("REASON")

        @ms.step
        def report(x: int | ms.Failed):
            return x.error

        @ms.pipeline
        def main():
            return report(load())
        """
    assert lab.write_and_run(text.replace("REASON", "disk gone")).value == "ValueError: disk gone"
    assert states(lab.run())["report"] == "reused"
    assert lab.write_and_run(text.replace("REASON", "wrong password")).value == "ValueError: wrong password"


def test_a_value_that_no_waiting_step_needs_is_let_go(lab: Lab) -> None:
    lab.write(
        """
        import weakref
        from mainspring.artifacts import Comparison, Encoded, Preview, meaning_digest, register

        ALIVE = weakref.WeakSet()

        class Heavy:
            def __init__(self, n):
                self.n = n
                ALIVE.add(self)

        class HeavyCodec:
            name, recipe, immutable, types = "heavy", 1, True, ("heavy.Heavy",)

            def digest(self, value):
                return meaning_digest("heavy", 1, str(value.n))

            def encode(self, value, blobs):
                return Encoded("heavy", blobs.put(str(value.n).encode()), 1)

            def decode(self, encoded, blobs):
                return Heavy(int(blobs.read(encoded.blob)))

            def preview(self, value):
                return Preview("text", "", {})

            def compare(self, old, new, tolerance):
                return Comparison("equal", "")

        register(HeavyCodec())
        """,
        "heavy",
    )
    lab.write(
        """
        from heavy import ALIVE, Heavy

        @ms.step(outputs=("value", "alive"))
        def grow(x):
            return Heavy(0 if x is None else x.n + 1), len(ALIVE)

        @ms.step
        def seen(x):
            return x.n

        @ms.pipeline
        def main():
            value, counts = None, []
            for _ in range(6):
                value, alive = grow(value)
                counts.append(alive)
            return {"alive": counts, "seen": seen.map([value, value]), "end": value}
        """
    )
    result = lab.run()
    assert result.output("alive") == [1, 2, 2, 2, 2, 2]  # its own argument and result
    assert result.output("seen") == [5, 5]
    import importlib

    assert not importlib.import_module("heavy").ALIVE
    assert result.output("end").n == 5


def test_a_class_of_a_script_is_the_one_of_the_module_that_the_script_is(lab: Lab) -> None:
    import os
    import subprocess
    import sys

    from mainspring.pipelines.replay import replay_run
    from mainspring.runs import RunStore

    text = """
        import dataclasses

        @dataclasses.dataclass
        class P:
            n: int

        @ms.step
        def make() -> P:
            return P(1)

        @ms.step
        def use(p: P) -> int:
            return p.n

        @ms.pipeline
        def main():
            return use(make())

        if __name__ == "__main__":
            print(main.run().value)
        """
    path = lab.write(text)
    seed = os.environ.get("PYTHONHASHSEED", "random")  # ours, which is a part of the key
    environment = lab.environment(PYTHONHASHSEED=seed)
    done = subprocess.run(
        [sys.executable, str(path)], cwd=lab.root, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
    run = RunStore(lab.workspace.database, lab.workspace.ledger).list(limit=1)[0]
    assert replay_run(run.id, workspace=lab.workspace).verdict == "VERIFIED"
    lab.write(text.replace("return p.n", "return p.n + 1"))
    result = lab.run(runner="pool")
    assert (result.value, states(result)) == (2, {"make": "reused", "use": "succeeded"})


@pytest.mark.parametrize("runner", ["inline", POOL])
def test_a_stored_result_that_todays_code_can_not_read_is_made_again(lab: Lab, runner: str) -> None:
    text = """
        @ms.step
        def make():
            return {1, 2}

        @ms.step
        def use(items):
            return sum(items) + 1

        @ms.pipeline
        def main():
            return use(make())
        """
    assert lab.write_and_run(text).value == 4
    with lab.workspace.database.transaction() as tx:
        tx.execute("UPDATE artifact SET encoded = REPLACE(encoded, '\"json\"', '\"of-a-codec-that-is-gone\"')")
    lab.workspace.close()
    lab.workspace = lab.open()
    lab.write(text.replace("+ 1", "+ 2"))
    result = lab.run(runner=runner)
    assert (result.value, states(result)) == (5, {"make": "succeeded", "use": "succeeded"})
    attempts = result._store.attempts(task_of(result, "use").id)
    assert [each.kind for each in attempts] == ["unreadable", None]

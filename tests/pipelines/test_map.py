"""`map`: one task for each item of a list that may be known only at run time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mainspring.artifacts.record import ArtifactStore
from mainspring.errors import InvalidError
from mainspring.pipelines.progress import Listener
from mainspring.pipelines.task import Task
from mainspring.runs import RunStore
from mainspring.testing.plugin import Backend
from mainspring.testing.runners import POOL
from mainspring.testing.workspaces import Lab, digests, states, task_of

FLOW = """
@ms.step
def listed(items: list):
    return list(items)

@ms.step
def square(n, plus: int = 0):
    if n == 13:
        raise ValueError("unlucky")
    return n * n + plus

@ms.step
def total(values: list):
    return sum(values)

@ms.pipeline
def main(items: list = [1, 2, 3], plus: int = 0):
    return total(square.map(listed(items), plus=plus))
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_list_known_at_run_time_is_mapped(lab: Lab, jobs: int) -> None:
    lab.write(FLOW)
    result = lab.run(jobs=jobs)
    assert result.value == 14
    assert states(result) == {
        "listed": "succeeded", "square": "succeeded", "square[0]": "succeeded", "square[1]": "succeeded",
        "square[2]": "succeeded", "total": "succeeded",
    }  # fmt: skip


def test_an_empty_list_maps_to_an_empty_list(lab: Lab) -> None:
    lab.write(FLOW)
    result = lab.run(params={"items": []})
    assert result.value == 0
    assert states(result)["square"] == "succeeded"


def test_frames_are_mapped(lab: Lab) -> None:
    result = lab.write_and_run(
        """
        import polars as pl

        @ms.step
        def parts():
            return [pl.DataFrame({"a": [i, i]}) for i in range(3)]

        @ms.step(outputs=("height", "top"))
        def describe(frame: pl.DataFrame):
            return frame.height, frame["a"].max()

        @ms.step
        def collect(heights: list, tops: list):
            return [heights, tops]

        @ms.pipeline
        def main():
            heights, tops = describe.map(parts())
            return collect(heights, tops)
        """
    )
    assert result.value == [[2, 2, 2], [0, 1, 2]]


def test_maps_chain_and_mix_with_outputs_in_the_list(lab: Lab) -> None:
    result = lab.write_and_run(
        FLOW
        + """
@ms.pipeline
def chained():
    return total(square.map(square.map([total([1, 2]), 4])))
""",
        pipeline="chained",
    )
    assert result.value == 81 + 256


def test_a_changed_item_runs_only_that_item_again(lab: Lab) -> None:
    lab.write(FLOW)
    lab.run(params={"items": [1, 2, 3]})
    result = lab.run(params={"items": [1, 5, 3]})
    assert states(result) == {
        "listed": "succeeded", "square": "succeeded", "square[0]": "reused", "square[1]": "succeeded",
        "square[2]": "reused", "total": "succeeded",
    }  # fmt: skip
    assert task_of(result, "square[1]").reasons == ["argument n changed"]


def test_an_unchanged_map_is_reused_whole(lab: Lab) -> None:
    lab.write(FLOW)
    lab.run()
    assert set(states(lab.run()).values()) == {"reused"}


def test_resume_keeps_the_children_that_finished(lab: Lab) -> None:
    lab.write(FLOW)
    failed = lab.run(params={"items": [1, 13, 3]}, keep_going=True)
    assert states(failed) == {
        "listed": "succeeded", "square": "failed", "square[0]": "succeeded", "square[1]": "failed",
        "square[2]": "succeeded", "total": "skipped",
    }  # fmt: skip
    assert "square[1]" in (failed.run.error or "")
    again = lab.resume(failed.id, keep_going=True)
    attempts = {task.name: len(again._store.attempts(task.id)) for task in again.tasks}
    assert attempts == {"listed": 1, "square": 0, "square[0]": 1, "square[1]": 2, "square[2]": 1, "total": 0}


@pytest.mark.parametrize("items", [[], [1, 2]])
def test_a_map_interrupted_after_its_list_was_known_is_finished_by_resume(lab: Lab, items: list[int]) -> None:
    lab.write(FLOW)
    done = lab.run(params={"items": items})
    with lab.workspace.database.transaction() as tx:
        tx.execute("UPDATE run SET state = 'running', ended_at = NULL WHERE id = ?", (done.id,))
        tx.execute("UPDATE task SET state = 'mapped' WHERE run = ? AND name = 'square'", (done.id,))
        tx.execute("UPDATE task SET state = 'waiting', outputs = '{}' WHERE run = ? AND name = 'total'", (done.id,))
    again = lab.resume(done.id)
    assert again.succeeded
    assert again.value == sum(n * n for n in items)


LITERAL = """
@ms.step
def double(n: int) -> int:
    return 2 * n

@ms.pipeline
def main():
    return double.map({over})
"""


@pytest.mark.parametrize("over", ["range(1, 4)", "(1, 2, 3)", "{1: 0, 2: 0, 3: 0}.keys()", "(n + 1 for n in range(3))"])
@pytest.mark.one_backend("a list is stored as a list whatever it was")
def test_what_gives_its_items_in_order_is_mapped_as_its_list(lab: Lab, over: str) -> None:
    assert lab.write_and_run(LITERAL.format(over=over)).value == [2, 4, 6]


@pytest.mark.parametrize("over", ["7", "'text'", "{'a': 1}", "{1, 2}", "None", "__import__('numpy').arange(3)"])
@pytest.mark.one_backend("it is decided before anything is stored")
def test_mapping_over_what_is_no_list_is_refused_while_the_pipeline_is_recorded(lab: Lab, over: str) -> None:
    lab.write(LITERAL.format(over=over))
    with pytest.raises(
        InvalidError, match=r"Step `double`, mapped over `n`: .* is not a list, tuple, range or the like"
    ):
        lab.run()
    assert RunStore(lab.workspace.database).list() == []


@pytest.mark.one_backend("a list is stored as a list whatever it was")
def test_a_range_that_a_step_made_is_mapped(lab: Lab) -> None:
    made = "\n@ms.step\ndef made():\n    return range(1, 4)\n"
    assert lab.write_and_run(made + LITERAL.format(over="made()")).value == [2, 4, 6]


@pytest.mark.parametrize("made", ["7", "'text'", "{'a': 1}", "None"])
def test_mapping_over_what_is_no_list_fails_that_step_alone(lab: Lab, made: str) -> None:
    result = lab.write_and_run(
        f"""
        @ms.step
        def make():
            return {made}

        @ms.step
        def use(x):
            return x

        @ms.step
        def other():
            return 1

        @ms.pipeline
        def main():
            return use.map(make()), other()
        """,
        keep_going=True,
    )
    assert states(result) == {"make": "succeeded", "use": "failed", "other": "succeeded"}
    assert "is not a list, tuple, range or the like" in (task_of(result, "use").error or "")


def test_a_child_that_may_fail_leaves_a_gap_for_a_step_that_takes_it(lab: Lab) -> None:
    result = lab.write_and_run(
        """
        @ms.step(may_fail=True)
        def half(n: int):
            if n % 2:
                raise ValueError("odd")
            return n // 2

        @ms.step
        def tolerant(values: list[int | ms.Failed]):
            return [value or value.task for value in values]

        @ms.step
        def strict(values: list[int]):
            return values

        @ms.step
        def each(value: int):
            return value

        @ms.pipeline
        def main():
            halves = half.map([4, 5, 6])
            return {"tolerant": tolerant(halves), "strict": strict(halves), "each": each.map(halves)}
        """
    )
    found = states(result)
    assert found["half[1]"] == "failed"
    assert found["tolerant"] == "succeeded"
    assert result.succeeded
    assert result.output("tolerant") == [2, "half[1]", 3]
    assert found["strict"] == "skipped"
    assert (found["each[0]"], found["each[1]"], found["each[2]"]) == ("succeeded", "skipped", "succeeded")


def test_children_run_side_by_side_give_what_they_give_one_by_one(lab: Lab) -> None:
    lab.write(FLOW)
    alone = lab.run(params={"items": list(range(6))}, jobs=1)
    together = lab.run(params={"items": list(range(6))}, jobs=2, reuse=False)
    assert digests(alone) == digests(together)


def test_hundreds_of_items_are_no_trouble(lab: Lab, backend: Backend) -> None:
    lab.write(FLOW)
    items = list(range(100, 400 if backend.name == "sqlite" else 201))  # 25 ms for each, with an S3 server in Python
    result = lab.run(params={"items": items})
    assert result.value == sum(n * n for n in items)


CHANCE = """
import random

@ms.step
def drawn(item: str) -> float:
    return random.random()

@ms.pipeline
def main(items: list = ["a", "b", "b"]):
    return drawn.map(items)
"""


def test_the_seed_follows_the_item_so_one_put_in_front_runs_alone(lab: Lab) -> None:
    lab.write(CHANCE)
    first = lab.run().value
    assert len(set(first)) == 3  # equal items draw apart
    result = lab.run(params={"items": ["new", "a", "b", "b"]})
    assert states(result)["drawn[0]"] == "succeeded"
    assert [states(result)[f"drawn[{place}]"] for place in (1, 2, 3)] == ["reused"] * 3
    assert result.value[1:] == first


@pytest.mark.parametrize("made", ["list(items)", "[{n} for n in items]"])
@pytest.mark.parametrize("reuse", [False, True])
def test_lineage_goes_through_a_map_to_what_made_its_list(lab: Lab, made: str, reuse: bool) -> None:
    lab.write(
        f"""
        @ms.step
        def raw(items: list):
            return {made}

        @ms.step
        def base():
            return 2

        @ms.step
        def one(x, by):
            return by

        @ms.step
        def total(values):
            return sum(values)

        @ms.pipeline
        def main():
            return total(one.map(raw([1, 2, 3]), by=base()))
        """
    )
    lab.run()
    result = lab.run(reuse=reuse)
    ledger = lab.workspace.ledger
    end = task_of(result, "total")
    for name in ("raw", "base"):
        start = task_of(result, name)
        source = start.outputs["result"]
        reached = {edge.dst for edge in ledger.walk(end.id)}
        assert source in reached
        assert ledger.path(end.id, source)
        assert end.id in {edge.src for edge in ledger.walk(source, "down")}


def test_what_all_items_share_is_stored_once(lab: Lab) -> None:
    lab.write(
        """
        @ms.step
        def square(n: int):
            return n * n

        @ms.step
        def share(x: int, every: list):
            return x / sum(every)

        @ms.pipeline
        def main(n: int = 30):
            squares = square.map(list(range(1, n)))
            return share.map(squares, every=squares)
        """
    )
    result = lab.run()
    squares = [n * n for n in range(1, 30)]
    assert result.value == [n / sum(squares) for n in squares]
    rows = lab.workspace.database.query(
        "SELECT LENGTH(bindings) + LENGTH(arguments) FROM task WHERE name LIKE 'share[%'"
    )
    assert len(rows) == 29
    assert max(row[0] for row in rows) < 400
    ledger = lab.workspace.ledger
    item = task_of(result, "share[3]")
    assert len(item.arguments["every"].items) == 29  # type: ignore[union-attr]  # it is a list
    assert sorted(edge.role for edge in ledger.edges([item.id])) == ["part_of", "part_of", "uses:x"]
    again = lab.run()
    assert set(states(again).values()) == {"reused"}, [task.reasons for task in (*result.tasks, *again.tasks)][:3]


@pytest.mark.parametrize("runner", ["inline", POOL])
def test_items_find_what_they_share_after_it_was_lost_and_made_again(lab: Lab, runner: str) -> None:
    text = """
        @ms.step
        def base():
            return {5}

        @ms.step
        def plus(n: int, by):
            return n + sum(by)

        @ms.pipeline
        def main():
            return plus.map([1, 2], by=base())
        """
    lab.write_and_run(text)
    lab.write(text.replace("n + sum", "2 * n + sum"))
    stored = task_of(lab.run(), "base").outputs["result"]
    lab.write(text.replace("n + sum", "3 * n + sum"))
    blobs = lab.workspace.blobs
    blob = blob_of(lab, stored)
    engine_had_it = []

    class Losing(Listener):
        def expanded(self, task: Task, children: Sequence[Task]) -> None:
            engine_had_it.append(blobs.exists(blob))
            blobs.condemn(blob)
            blobs.destroy(blob)

    result = lab.run(runner=runner, listener=Losing())
    assert engine_had_it == [True]
    assert result.value == [8, 11]


def blob_of(lab: Lab, artifact: str) -> str:
    """The blob of an artifact."""
    return ArtifactStore(lab.workspace.database, lab.workspace.ledger).get(artifact).encoded.blob

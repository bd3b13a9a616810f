"""The cache: what is reused, what runs again and why, and what is never reused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mainspring.pipelines._store import TaskStore
from mainspring.testing.runners import DETACHED, POOL
from mainspring.testing.workspaces import Lab, digests, states, task_of

FLOW = """
from helper import scale

@ms.step
def load(n: int = 3):
    return list(range(n))

@ms.step
def work(values: list, plus: int = 0):
    return [scale(value) + plus for value in values]

@ms.pipeline
def main(n: int = 3, plus: int = 0):
    return work(load(n), plus)
"""
HELPER = "FACTOR = 2\n\n\ndef scale(x):\n    return x * FACTOR\n"


def write(lab: Lab, flow: str = FLOW, helper: str = HELPER) -> None:
    lab.write(flow)
    (lab.root / "helper.py").write_text(helper)


def test_same_inputs_hit_the_cache(lab: Lab) -> None:
    write(lab)
    first, second = lab.run(), lab.run()
    assert states(first) == {"load": "succeeded", "work": "succeeded"}
    assert states(second) == {"load": "reused", "work": "reused"}
    assert digests(first) == digests(second)
    assert task_of(second, "work").reused_from == task_of(first, "work").id
    assert task_of(lab.run(), "work").reused_from == task_of(first, "work").id


@pytest.mark.parametrize(
    ("change", "step", "reason"),
    [
        ({"params": {"plus": 1}}, "work", "argument plus changed"),
        ({"seed": 5}, "load", "the seed changed"),
        ({"reuse": False}, "load", "this run was told not to reuse"),
        ({"helper": HELPER.replace("FACTOR = 2", "FACTOR = 3")}, "work", "constant helper.FACTOR"),
        ({"helper": HELPER.replace("x * FACTOR", "FACTOR * x")}, "work", "code helper.scale"),
        ({"flow": FLOW.replace("+ plus for", "+ plus + 1 for")}, "work", "code flow.work"),
        ({"flow": FLOW.replace("@ms.step\ndef work", '@ms.step(outputs=("result",))\ndef work').replace(
            "return [", "return [[").replace("values]", "values]]")}, "work", ""),
        ({"flow": FLOW.replace("@ms.step\ndef load", "@ms.step(cache=False)\ndef load")}, "load", "the step says cache=False"),
    ],
)  # fmt: skip
def test_a_change_runs_the_step_again_and_says_which(lab: Lab, change: dict[str, Any], step: str, reason: str) -> None:
    write(lab)
    lab.run()
    options = {key: value for key, value in change.items() if key not in ("flow", "helper")}
    write(lab, change.get("flow", FLOW), change.get("helper", HELPER))
    result = lab.run(**options)
    assert states(result)[step] == "succeeded"
    assert reason in task_of(result, step).reasons[0]


@pytest.mark.parametrize(
    "flow",
    [
        FLOW.replace("@ms.step\ndef work", "@ms.step(retries=2, may_fail=False, backoff_s=5)\ndef work"),
        FLOW.replace("    return [scale", "    # a comment\n    return [scale"),
        FLOW + "\n\n@ms.step\ndef another(x):\n    return x\n",
    ],
)
def test_what_does_not_matter_is_reused(lab: Lab, flow: str) -> None:
    write(lab)
    lab.run()
    write(lab, flow)
    assert set(states(lab.run()).values()) == {"reused"}


def test_a_result_that_comes_out_the_same_stops_the_change_there(lab: Lab) -> None:
    write(lab)
    lab.run()
    write(lab, FLOW.replace("list(range(n))", "[i for i in range(n)]"))
    result = lab.run()
    assert states(result) == {"load": "succeeded", "work": "reused"}


READS = """
import os
import polars as pl
from pathlib import Path

HERE = Path(__file__).parent

@ms.step
def undeclared_file():
    return (HERE / "conf.txt").read_text()

@ms.step
def undeclared_table():
    return pl.read_csv(HERE / "table.csv").height

@ms.step
def undeclared_variable():
    return os.environ.get("LAB_REGION")

@ms.step
def declared_file():
    return ms.file("conf.txt").read_text()

@ms.step
def declared_variable():
    return ms.env("LAB_REGION", "none")

@ms.pipeline
def undeclared():
    return undeclared_file(), undeclared_table(), undeclared_variable()

@ms.pipeline
def main():
    return declared_file(), declared_variable()
"""


@pytest.fixture
def reading(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    lab.write(READS)
    (lab.root / "conf.txt").write_text("one")
    pl.DataFrame({"a": [1, 2]}).write_csv(lab.root / "table.csv")
    monkeypatch.setenv("LAB_REGION", "north")
    return lab


def test_an_undeclared_read_is_named_and_its_result_never_reused(reading: Lab) -> None:
    first = reading.run("undeclared")
    seen = {task.name: [(each["kind"], each["name"]) for each in task.seen] for task in first.tasks}
    assert seen == {
        "undeclared_file": [("file", "conf.txt")],
        "undeclared_table": [("file", "table.csv")],
        "undeclared_variable": [("env", "LAB_REGION")],
    }
    second = reading.run("undeclared")
    assert set(states(second).values()) == {"succeeded"}
    assert "undeclared file `conf.txt`" in task_of(second, "undeclared_file").reasons[0]
    assert "undeclared env `LAB_REGION`" in task_of(second, "undeclared_variable").reasons[0]


@pytest.mark.one_backend("what a key is made of is known before a store is asked")
@pytest.mark.parametrize("runner", ["inline", POOL, DETACHED])
def test_declared_inputs_reach_every_runner_and_are_in_the_key(reading: Lab, runner: str) -> None:
    options: dict[str, Any] = {"runner": runner}
    assert reading.run(**options).value == ("one", "north")
    again = reading.run(**options)
    assert set(states(again).values()) == {"reused"}
    (reading.root / "conf.txt").write_text("two")
    changed = reading.run(**options)
    assert changed.value == ("two", "north")
    assert states(changed) == {"declared_file": "succeeded", "declared_variable": "reused"}
    assert task_of(changed, "declared_file").reasons == ["file conf.txt changed"]


def test_a_declared_variable_that_changed_is_named(reading: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    reading.run()
    monkeypatch.setenv("LAB_REGION", "south")
    result = reading.run()
    assert result.value == ("one", "south")
    assert task_of(result, "declared_variable").reasons == ["env LAB_REGION changed"]


def damage(lab: Lab, artifact: str, how: str) -> None:
    """Take the blob of an artifact away, or turn its bytes, past the store's own doors."""
    encoded = (
        TaskStore(lab.workspace.database, lab.workspace.ledger, lab.workspace.leases).artifacts.get(artifact).encoded
    )
    blobs = lab.workspace.blobs
    if how == "missing":
        blobs.condemn(encoded.blob)
        blobs.destroy(encoded.blob)
        return
    path = Path(blobs.path(encoded.blob))
    if lab.settings["blobs"].startswith("s3:"):
        import obstore

        data = blobs.read(encoded.blob)
        obstore.put(blobs._store, f"blob/{encoded.blob}", b"x" * len(data), mode="overwrite")  # type: ignore[attr-defined]  # behind the protocol
        blobs._forget(encoded.blob)  # type: ignore[attr-defined]  # behind the protocol
    else:
        os.chmod(path, 0o644)
        path.write_bytes(b"x" * path.stat().st_size)


CHAIN = """
import polars as pl

@ms.step
def load():
    return pl.DataFrame({"a": [1, 2, 3]})

@ms.step
def double(frame, times: int):
    return frame * times

@ms.pipeline
def main(times: int = 2):
    return double(load(), times)
"""


@pytest.mark.parametrize("how", ["missing", "corrupt"])
@pytest.mark.parametrize("runner", ["inline", POOL])
def test_a_damaged_input_is_made_again_when_a_step_needs_it(lab: Lab, how: str, runner: str) -> None:
    lab.write(CHAIN)
    first = lab.run()
    damage(lab, task_of(first, "load").outputs["result"], how)
    again = lab.run(params={"times": 3}, runner=runner)
    assert again.succeeded, again.run.error
    assert again.value["a"].to_list() == [3, 6, 9]
    assert states(again) == {"load": "succeeded", "double": "succeeded"}
    assert lab.open().blobs.read(first._store.artifacts.get(task_of(first, "load").outputs["result"]).encoded.blob)
    # The lineage is that of what ran in the end.
    load, double = (task_of(again, name) for name in ("load", "double"))
    assert lab.workspace.database.query("SELECT reused_from FROM task WHERE id = ?", (load.id,)) == [(None,)]
    used = {
        (edge.role, edge.dst) for edge in lab.workspace.ledger.edges([load.id, double.id]) if edge.role != "part_of"
    }
    assert used == {("uses:frame", load.outputs["result"])}


@pytest.mark.parametrize("how", ["missing", "corrupt"])
def test_a_damaged_result_is_named_when_read_and_made_again_by_the_next_run(lab: Lab, how: str) -> None:
    lab.write(CHAIN)
    first = lab.run()
    damage(lab, task_of(first, "double").outputs["result"], how)
    reopened = type(lab)(lab.root, lab.settings["database"], lab.settings["blobs"], threads=1)
    try:
        again = reopened.run()
        if how == "corrupt":
            with pytest.raises(OSError, match="corrupt"):
                _ = again.value
            again = reopened.run()
        assert again.value["a"].to_list() == [2, 4, 6]
        assert states(again)["double"] == "succeeded"
    finally:
        reopened.workspace.close()


def test_a_monkeypatched_helper_makes_the_result_not_reusable_and_refuses_the_pool(lab: Lab) -> None:
    write(lab)
    flow = lab.load()
    flow.scale = lambda x: -x
    from mainspring.pipelines.launch import run_pipeline

    for _ in range(2):
        result = run_pipeline(flow.main, workspace=lab.workspace)
        assert result.value == [0, -1, -2]
        assert states(result)["work"] == "succeeded"
    assert any("replaced at run time" in line for line in task_of(result, "work").reasons)
    refused = run_pipeline(flow.main, workspace=lab.workspace, runner="pool")
    assert states(refused)["work"] == "failed"
    assert "can't run in another process" in (task_of(refused, "work").error or "")
    assert lab.run().value == [0, 2, 4]


TRIES = """
import mainspring as ms
from pathlib import Path

@ms.step(retries=1)
def use(marker: str):
    base = ms.dataset("base").to_polars()
    if not Path(marker).exists():
        Path(marker).touch()
        ms.dataset("derived").commit(base)
        raise ValueError("the first time")
    return base.height

@ms.pipeline
def main(marker: str):
    return use(marker)
"""


def test_a_version_that_a_failed_attempt_made_keeps_where_it_came_from(lab: Lab) -> None:
    from mainspring.data import dataset
    from mainspring.workspace import using

    with using(lab.workspace):
        base = dataset("base").commit(pl.DataFrame({"a": [1, 2]}))
    lab.write(TRIES)
    assert lab.run(params={"marker": str(lab.root.parent / "marker")}).value == 2
    with using(lab.workspace):
        derived = dataset("derived").latest()
    assert base.id in {edge.dst for edge in lab.workspace.ledger.walk(derived.id)}


ATTEMPTS = """
import mainspring as ms
import polars as pl
from pathlib import Path

HERE = Path(__file__).parent

def number(name):
    return int((HERE / name).read_text())

@ms.step(cache=False)
def load():
    return pl.DataFrame({"a": [number("n")]})

@ms.step
def work(frame):
    ms.dataset("src").to_polars()
    if number("commits"):
        ms.dataset("made").commit(frame)
    if number("fails"):
        raise ValueError("fails")
    return frame * 2

@ms.pipeline
def main():
    return work(load())
"""


@pytest.mark.parametrize("commits", [0, 1])
def test_what_each_attempt_made_came_from_what_that_attempt_had(lab: Lab, commits: int) -> None:
    from mainspring.data import dataset
    from mainspring.workspace import using

    def put(**numbers: int) -> None:
        for name, value in numbers.items():
            (lab.root / name).write_text(str(value))

    def used(node: str) -> set[tuple[str, str]]:
        own = ("uses:", "reads", "reused")
        return {(edge.role, edge.dst) for edge in lab.workspace.ledger.edges([node]) if edge.role.startswith(own)}

    def maker(node: str) -> str:
        return next(edge.dst for edge in lab.workspace.ledger.edges([node]) if edge.role == "made_by")

    with using(lab.workspace):
        sources = [dataset("src").commit(pl.DataFrame({"n": [1]}))]
    put(n=1, commits=commits, fails=1)
    lab.write(ATTEMPTS)
    failed = lab.run()
    first = task_of(failed, "load").outputs["result"]
    damage(lab, first, "missing")
    with using(lab.workspace):
        sources.append(dataset("src").commit(pl.DataFrame({"n": [2]})))
    put(n=5, fails=0)
    resumed = lab.resume(failed.run.id)
    load, work = (task_of(resumed, name) for name in ("load", "work"))
    assert resumed.value["a"].to_list() == [10]
    assert used(work.id) == {("uses:frame", load.outputs["result"]), ("reads", sources[1].id)}
    assert maker(work.outputs["result"]) == work.id
    assert maker(first) != load.id
    if commits:
        with using(lab.workspace):
            versions = [dataset("made").version(number) for number in (1, 2)]
        before, after = (maker(version.id) for version in versions)
        assert after == work.id
        assert used(before) == {("uses:frame", first), ("reads", sources[0].id)}
        assert lab.workspace.ledger.get_node(before).label == "1 of work"
        products = (versions[0].id, work.outputs["result"])
        walked = [{edge.dst for edge in lab.workspace.ledger.walk(product)} for product in products]
        assert {first, sources[0].id, failed.run.id} <= walked[0]
        assert not {load.outputs["result"], sources[1].id} & walked[0]
        assert first not in walked[1]

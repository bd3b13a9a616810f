"""Checkpoints: which are kept, which are due, whose they are, and that their blobs stay for as long."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import pytest

from mainspring.artifacts import save
from mainspring.artifacts.record import ArtifactStore
from mainspring.errors import InvalidError, LeaseLostError, RemovedError, WrongTypeError
from mainspring.ledger import within_task
from mainspring.runs import Checkpoints, CheckpointStore, checkpoints, start_run
from mainspring.store import BlobStore
from mainspring.workspace import Workspace, collect, using


@pytest.fixture
def at_work(workspace: Workspace) -> Iterator[Workspace]:
    with using(workspace), within_task("t" * 32, key="work"):
        yield workspace


def has(blobs: BlobStore, kept: Any) -> bool:
    return all(blobs.exists(blob) for blob in (kept.encoded.blob, *kept.encoded.blobs))


def test_the_last_and_the_best_are_kept_and_the_blobs_of_others_are_collected(at_work: Workspace) -> None:
    kept = checkpoints(keep_last=2, keep_best=2, metric="loss")
    made = [kept.save({"step": n}, step=n, metrics={"loss": loss}) for n, loss in enumerate([3, 1, math.nan, 2, 5, 4])]
    assert [each.step for each in kept.kept()] == [1, 3, 4, 5]
    assert kept.latest() == made[5]
    assert kept.best() == made[1]
    for _ in range(2):
        collect(at_work, grace_s=0)
    assert [has(at_work.blobs, each) for each in made] == [False, True, False, True, True, True]
    assert kept.load(made[1]) == {"step": 1}


def test_each_is_an_artifact_that_stays_in_the_lineage_when_it_is_let_go(at_work: Workspace) -> None:
    ledger, artifacts = at_work.ledger, ArtifactStore(at_work.database, at_work.ledger)
    kept = checkpoints(keep_last=2)
    made = [kept.save({"step": n}, step=n) for n in range(5)]
    nodes = ledger.nodes(each.id for each in made)
    assert [(nodes[each.id].kind, nodes[each.id].label, nodes[each.id].content_digest) for each in made] == [
        ("artifact", f"state[{n}]", each.content_digest) for n, each in enumerate(made)
    ]
    assert {(edge.src, edge.role) for edge in ledger.edges(["t" * 32], "down")} == {
        (each.id, "checkpoint_of") for each in made
    }
    assert sorted(artifacts.removed(nodes)) == [each.id for each in made[:3]]
    assert [each.id for each in kept.kept()] == [each.id for each in made[3:]]
    with pytest.raises(RemovedError, match=r"state\[2\]"):
        kept.load(made[2])
    with within_task("a" * 32, key="other"):
        assert checkpoints().load(made[3]) == {"step": 3}
    path = ledger.path("a" * 32, "t" * 32)
    assert [(edge.role, edge.dst) for edge in path or ()] == [("uses", made[3].id), ("checkpoint_of", "t" * 32)]


def test_what_is_let_go_beside_an_artifact_of_the_same_bytes_takes_none_from_it(at_work: Workspace) -> None:
    kept = checkpoints(keep_last=1)
    first, _ = kept.save({"same": 1}, step=1), kept.save({"same": 2}, step=2)
    artifacts = ArtifactStore(at_work.database, at_work.ledger)
    logged = artifacts.describe("logged", save({"same": 2}, at_work.blobs), {"same": 2})
    with at_work.database.transaction() as tx:
        artifacts.add(tx, logged, by_task=None)
    kept.save({"same": 3}, step=3)
    for _ in range(2):
        collect(at_work, grace_s=0)
    assert has(at_work.blobs, logged)
    assert not has(at_work.blobs, first)


def test_a_larger_metric_is_better_if_told(at_work: Workspace) -> None:
    kept = checkpoints(keep_last=1, keep_best=1, metric="auc", mode="max")
    for step, auc in enumerate([0.5, 0.9, 0.9, 0.7, math.inf, math.nan]):
        kept.save(step, step=step, metrics={"auc": auc})
    assert [each.step for each in kept.kept()] == [4, 5]


def test_only_the_same_task_of_the_same_code_and_inputs_sees_them(workspace: Workspace) -> None:
    with using(workspace):
        with within_task("a" * 32, key="one"):
            checkpoints().save(1, step=1)
            checkpoints("other").save(2, step=7)
        for task, key, step in (("a", "one", 1), ("a", "two", None), ("b", "one", None)):
            with within_task(task * 32, key=key):
                latest = checkpoints().latest()
                assert (latest and latest.step) == step
    assert [each.name for each in CheckpointStore(workspace.database).of("a" * 32)] == ["state", "other"]


def test_steps_and_seconds_say_when_one_is_due(at_work: Workspace) -> None:
    kept = checkpoints(every_steps=3)
    assert [step for step in range(10) if kept.save_if_due(step, step=step)] == [3, 6, 9]
    again = checkpoints(every_steps=3)  # another attempt
    assert [step for step in range(10, 16) if again.save_if_due(step, step=step)] == [12, 15]
    assert checkpoints("clock", every_s=1e-9).is_due(0)
    assert not checkpoints("clock", every_s=1e9).is_due(0)


def test_rules_without_a_sense_are_refused(at_work: Workspace) -> None:
    for rules in (
        {"keep_last": 0},
        {"keep_best": 1},
        {"keep_best": -1, "metric": "x"},
        {"mode": "low"},
        {"every_steps": 0},
    ):
        with pytest.raises(InvalidError):
            checkpoints(**rules)
    with pytest.raises(InvalidError, match="loss"):
        checkpoints(metric="loss").save(1, step=1, metrics={"lost": 1.0})
    with pytest.raises(WrongTypeError, match="step"):
        checkpoints().save({"a": 1})


def test_a_task_that_was_taken_over_keeps_nothing(workspace: Workspace) -> None:
    lease, outside = workspace.leases.claim("task:x", "other-host:boot:1:1", 600.0), copy_context()
    with using(workspace), within_task("c" * 32, key="k"), workspace.leases.fencing(lease):
        kept: Checkpoints = checkpoints()
        outside.run(workspace.leases.release, lease)
        with pytest.raises(LeaseLostError):
            kept.save(1, step=1)
        assert kept.kept() == []
        assert list(workspace.ledger.edges(["c" * 32], "down")) == []


def test_a_script_keeps_them_with_its_run(workspace: Workspace) -> None:
    with using(workspace), start_run("training") as run:
        checkpoints().save([1.5], step=2)
        assert [each.owner for each in checkpoints().kept()] == [run.id]
    with pytest.raises(InvalidError, match="start_run"):
        checkpoints()

"""A step that is killed, or tried again, goes on from its last checkpoint, and ends with what it would have ended with."""

from __future__ import annotations

import random
import time

import pytest

from mainspring.artifacts import load
from mainspring.artifacts.record import ArtifactStore
from mainspring.pipelines._store import TaskStore
from mainspring.pipelines.task import TaskState
from mainspring.runs import CheckpointStore, RunStore
from mainspring.testing.workspaces import Lab, digests
from mainspring.workspace import collect
from tests.pipelines.lives import seed_of

FLOW = """
import random
import time
from pathlib import Path

class Part:
    def __init__(self):
        self.values = []
    def state_dict(self):
        return {"values": list(self.values)}
    def load_state_dict(self, state):
        self.values = list(state["values"])

@ms.step(RETRIES)
def train(epochs: int, marker: str):
    part = Part()
    state = ms.TrainingState(part=part)
    kept = ms.checkpoints(keep_last=2)
    kept.resume(state)
    print("from", state.epoch)
    for epoch in state.epochs(epochs):
        part.values.append(random.random() + CODE)
        if epoch == 6 and marker and not Path(marker).exists():
            Path(marker).write_text("")
            raise RuntimeError("once")
        state.step += 1
        kept.save(state)
        time.sleep(0.005)
    return part.values

@ms.pipeline
def main(epochs: int = 12, marker: str = ""):
    return train(epochs, marker)
"""


def flow(*, retries: str = "", code: int = 0) -> str:
    return FLOW.replace("RETRIES", retries).replace("CODE", str(code))


def printed(lab: Lab, task_log: str | None) -> str:
    assert task_log is not None
    return lab.workspace.blobs.read(task_log).decode()


@pytest.mark.parametrize("runner", ["inline", "pool"])
def test_a_retried_attempt_and_a_resumed_run_go_on_from_the_last(lab: Lab, runner: str) -> None:
    lab.write(flow(retries="retries=1, backoff_s=0"))
    result = lab.run(params={"marker": str(lab.root.parent / "first")}, runner=runner)
    (task,) = result.tasks
    assert "from 6" in printed(lab, task.log)
    lab.write(flow())
    failed = lab.run(params={"marker": str(lab.root.parent / "second")}, runner=runner)
    assert not failed.succeeded
    again = lab.resume(failed.run.id, runner=runner)
    (task,) = again.tasks
    assert (task.state, "from 6" in printed(lab, task.log)) == (TaskState.SUCCEEDED, True)


@pytest.mark.parametrize("runner", ["inline", "pool"])
def test_a_training_killed_at_any_checkpoint_ends_with_what_it_would_have_ended_with(lab: Lab, runner: str) -> None:
    lab.write(flow())
    expected = digests(lab.run(runner="pool", reuse=False))
    count = random.Random(seed_of("checkpoints")).randint(1, 8)
    run = killed_after(lab, runner, count)
    # In a process like the one that was killed: with another hash seed it would be other work.
    going_on = lab.start(f"from mainspring.pipelines.launch import resume_run; resume_run({run!r}, runner={runner!r})")
    _, told = going_on.communicate(timeout=60)
    assert going_on.returncode == 0, told
    (task,) = TaskStore(lab.workspace.database, lab.workspace.ledger, lab.workspace.leases).of_run(run)
    found = ArtifactStore(lab.workspace.database, lab.workspace.ledger).get_many(task.outputs.values())
    assert {each.content_digest for each in found.values()} == set(expected.values())
    assert int(printed(lab, task.log).split()[-1]) >= count
    expect_one_node_each(lab, task.id, 12)


def expect_one_node_each(lab: Lab, task: str, epochs: int) -> None:
    """Each epoch's checkpoint is one node, of whichever attempt; those that are kept have their bytes, the others say so."""
    for _ in range(2):
        collect(lab.workspace, grace_s=0)
    ledger, store = lab.workspace.ledger, CheckpointStore(lab.workspace.database)
    attempts = [each.id for each in TaskStore(lab.workspace.database, ledger, lab.workspace.leases).attempts(task)]
    made = [edge.src for edge in ledger.edges([task, *attempts], "down") if edge.role == "checkpoint_of"]
    labels = sorted(node.label for node in ledger.nodes(made).values())
    assert labels == sorted(f"state[{epoch + 1}]" for epoch in range(epochs))
    kept = store.of(task)
    assert [each.step for each in kept] == [epochs - 1, epochs]
    assert set(store.artifacts.removed(made)) == set(made) - {each.id for each in kept}
    for each in kept:
        load(each.encoded, lab.workspace.blobs)
    (restored,) = [edge.dst for edge in ledger.edges([task]) if edge.role == "uses"]
    assert restored in made


def killed_after(lab: Lab, runner: str, count: int) -> str:
    """Live until so many epochs have been kept, and be killed while more are written; gives the run."""
    (before,) = [run.id for run in RunStore(lab.workspace.database).list()]
    process = lab.start(f"from flow import main; main.run(options={{'runner': {runner!r}, 'reuse': False}})")
    CheckpointStore(lab.workspace.database)
    wanted = "SELECT task.run FROM checkpoint JOIN task ON task.id = checkpoint.owner WHERE step >= ? AND run <> ?"
    until = time.monotonic() + 60
    while (row := lab.workspace.database.query_one(wanted, (count, before))) is None:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
    process.kill()
    process.communicate()
    return str(row[0])

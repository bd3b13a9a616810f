"""Points are written behind the caller's back: none is lost, dropped or written twice, whatever happens to the writer."""

from __future__ import annotations

import math
import os
import random
import signal
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

import mainspring as ms
from mainspring.errors import InvalidError, StorageError, WrongTypeError
from mainspring.runs import Metric, Metrics, PointsDropped, PointsWait, RunFiles, RunInputs, RunStore, start_run
from mainspring.runs.writer import PointWriter, writer_of
from mainspring.store import Lease
from mainspring.testing.threads import at_once
from mainspring.testing.workspaces import Lab
from mainspring.workspace import Workspace


class Stubborn(Metrics):
    """Metrics of a workspace that wait for leave, and fail on demand."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace.metrics)
        self.may_write = threading.Event()
        self.may_write.set()
        self.failure: StorageError | None = None
        self.transactions = 0

    def append_many(self, points: object) -> None:
        assert self.may_write.wait(30)
        if self.failure is not None:
            raise self.failure
        self.transactions += 1
        super().append_many(points)  # type: ignore[arg-type]  # handed on as it came


@pytest.fixture
def stubborn(workspace: Workspace) -> Stubborn:
    return Stubborn(workspace)


def put_all(writer: PointWriter, count: int) -> None:
    for step in range(count):
        writer.put("s", point(step))


def point(step: int) -> Metric:
    return Metric("loss", float(step), step, step)


def test_points_of_many_runs_are_written_in_one_transaction(stubborn: Stubborn) -> None:
    writer = PointWriter(stubborn)
    stubborn.may_write.clear()
    for step in range(100):
        writer.put(f"series {step % 10}", point(step))
    stubborn.may_write.set()
    writer.close()
    assert stubborn.transactions <= 2
    assert [len(stubborn.history(f"series {number}", "loss")) for number in range(10)] == [10] * 10


def test_a_full_queue_makes_callers_wait_and_tells_once(stubborn: Stubborn) -> None:
    writer = PointWriter(stubborn, most=10)
    stubborn.may_write.clear()
    done = threading.Event()

    def log() -> None:
        with pytest.warns(PointsWait, match="10 metric points wait"):
            put_all(writer, 35)
        done.set()

    thread = threading.Thread(target=log)
    thread.start()
    assert not done.wait(0.1)
    stubborn.may_write.set()
    thread.join()
    writer.close()
    assert [each.step for each in stubborn.history("s", "loss")] == list(range(35))
    assert writer.waits >= 1


def test_a_failure_is_raised_where_is_logged_next_and_the_points_wait(stubborn: Stubborn) -> None:
    writer = PointWriter(stubborn)
    stubborn.failure = StorageError("metrics.db", "the disk is full")
    writer.put("s", point(0))
    with pytest.raises(StorageError, match="the disk is full"):
        writer.flush()
    with pytest.raises(StorageError, match="the disk is full"):
        writer.flush()
    stubborn.failure = None
    writer.put("s", point(1))
    writer.close()
    assert [each.step for each in stubborn.history("s", "loss")] == [0, 1]


def test_points_of_an_attempt_that_lost_its_lease_are_dropped_which_is_told_once(workspace: Workspace) -> None:
    leases, writer = workspace.leases, PointWriter(Metrics(workspace.metrics), workspace.database)
    late, held = (leases.claim(name, "another:host:1:1", 0.0) for name in ("late", "held"))

    def put(series: str, lease: Lease, step: int) -> None:
        with leases.fencing(lease):
            writer.put(series, point(step))

    put("late", late, 1)
    writer.flush()
    leases.claim("late", "host:boot:1:1", 60.0)
    for step in (2, 3):
        put("late", late, step)
        put("held", held, step)
        writer.put("outside", point(step))
    with pytest.warns(PointsDropped, match="lost its lease: 2 points"):
        writer.flush()
    put("late", late, 4)
    with pytest.warns(PointsDropped, match="lost its lease: 1 points"):
        writer.close()
    steps = {
        each: [one.step for one in Metrics(workspace.metrics).history(each, "loss")]
        for each in ("late", "held", "outside")
    }
    assert (steps, writer.dropped) == ({"late": [1], "held": [2, 3], "outside": [2, 3]}, 3)


def test_threads_lose_nothing(workspace: Workspace) -> None:
    def log(name: str) -> None:
        for step in range(500):
            run.log_metric(name, step, step=step)

    with start_run("many", workspace=workspace) as run:
        at_once(*(partial(log, name) for name in "abcd"))
    metrics = Metrics(workspace.metrics)
    assert [len(metrics.history(run.series, name)) for name in "abcd"] == [500] * 4


def test_equal_values_at_one_step_are_all_kept(workspace: Workspace) -> None:
    with start_run("same", workspace=workspace) as run:
        for _ in range(200):
            run.log_metric("loss", 1.0)
    assert len(Metrics(workspace.metrics).history(run.series, "loss")) == 200


def test_writing_points_again_changes_nothing(workspace: Workspace) -> None:
    metrics = Metrics(workspace.metrics)
    points = [
        Metric("loss", value, step, 5) for step, value in ((2, 1.0), (0, math.nan), (-(2**63), math.inf), (2, 3.0))
    ]
    for _ in range(2):
        metrics.append("s", points)
    assert [(each.step, repr(each.value)) for each in metrics.history("s", "loss")] == [
        (-(2**63), "inf"), (0, "nan"), (2, "1.0"), (2, "3.0"),
    ]  # fmt: skip
    assert metrics.latest("s")["loss"] == Metric("loss", 3.0, 2, 5)


def test_steps_out_of_order_and_the_latest(workspace: Workspace) -> None:
    with start_run("order", workspace=workspace) as run:
        for step in (5, 1, 9, 3):
            run.log_metric("loss", step * 10, step=step)
        run.flush()
        run.log_metric("loss", 7, step=2)
    metrics = Metrics(workspace.metrics)
    assert metrics.latest_values(run.series) == {"loss": 90.0}
    assert [each.step for each in metrics.history(run.series, "loss")] == [1, 2, 3, 5, 9]


def test_history_is_paged(workspace: Workspace) -> None:
    metrics = Metrics(workspace.metrics)
    metrics.append("s", [Metric("loss", math.inf if step == 4 else step, step, 0) for step in range(10)])
    steps, cursor = [], None
    while True:
        page = metrics.history("s", "loss", limit=5, cursor=cursor)
        steps += [each.step for each in page]
        cursor = page.cursor
        if cursor is None:
            break
    assert steps == list(range(10))


def test_what_is_no_point_is_refused(workspace: Workspace) -> None:
    with start_run("bad", workspace=workspace) as run:
        for key, value, step, told in (
            ("", 1, 0, "name of a metric"), ("a\0", 1, 0, "name of a metric"), ("k" * 251, 1, 0, "at most 250"),
            ("mainspring.x", 1, 0, "kept for Mainspring"), ("m", 10**400, 0, "a float holds"), ("m", 1, 2**63, "64 bits"),
        ):  # fmt: skip
            with pytest.raises(InvalidError, match=told):
                run.log_metric(key, value, step=step)
        with pytest.raises(WrongTypeError, match="step of the metric `m`"):
            run.log_metric("m", 1, step=1.5)  # type: ignore[arg-type]  # that is the mistake
        run.log_metric("val/a `b` 🎯", 2**60, step=-(2**63))
    assert list(Metrics(workspace.metrics).latest(run.series)) == ["val/a `b` 🎯"]


@pytest.mark.one_backend("the disk of a local database")
def test_a_full_disk_is_told_and_the_points_come_when_there_is_room(small_disk: Path) -> None:
    with Workspace.open(small_disk) as workspace:
        writer = writer_of(workspace)
        put_all(writer, 1)
        writer.flush()
        ballast = small_disk / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        put_all(writer, 500)
        with pytest.raises(StorageError, match="full"):
            writer.flush()
        ballast.unlink()
        writer.flush()
        assert len(Metrics(workspace.metrics).history("s", "loss")) == 500


def test_a_forked_child_logs_its_own_points_once(workspace: Workspace) -> None:
    with start_run("forked", workspace=workspace) as run:
        for step in range(50):
            run.log_metric("parent", step, step=step)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                run.log_metric("child", 1.0)
                run.write_points()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
    metrics = Metrics(workspace.metrics)
    assert [len(metrics.history(run.series, key)) for key in ("parent", "child")] == [50, 1]


KILLED = """
import sys
from mainspring.runs import start_run
run = start_run("killed")
print(run.id, flush=True)
for group in range(100_000):
    for number in range(20):
        step = group * 20 + number
        run.log_metric("loss", step, step=step)
    run.write_points()
    print(step, flush=True)
"""


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_what_flush_acknowledged_survives_a_kill_at_any_instant(lab: Lab, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(1 if seed == 1 else 50):
        process = lab.start(KILLED)
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        for _ in range(chance.randrange(1, 40)):
            acknowledged = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        rest = [int(line) for line in process.communicate()[0].split()]
        run = RunStore(lab.workspace.database).get(run_id)
        steps = [each.step for each in Metrics(lab.workspace.metrics).history(run.series, "loss")]
        assert steps == list(range(len(steps)))
        assert len(steps) > max([acknowledged, *rest])


def test_everything_that_is_logged_is_the_runs(workspace: Workspace, runs: RunStore, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a")
    with start_run("all", workspace=workspace) as run:
        ms.log_metrics({"a": 1, "b": 2}, step=3)
        ms.log_note("looks good")
        ms.log_text("token = 'q8Xw3-Lm5_Pz7Rt2Kd'", "notes/one.txt")
        ms.log_file(tmp_path / "data", "data")
        ms.log_table({"x": [1, 2]}, "rows.csv")
        ms.log_dataset([1, 2, 3], "numbers", source="https://example.org/n", context="train")
    files = RunFiles(workspace)
    assert list(files.walk(run.id)) == ["data/a.txt", "notes/one.txt", "rows.csv"]
    with files.open(run.id, "rows.csv") as rows, files.open(run.id, "notes/one.txt") as note:
        assert rows.read() == b"x\n1\n2\n"
        assert b"q8Xw3" not in note.read()
    (used,) = RunInputs(workspace.database).inputs(run.id)
    assert (used.name, used.source_type, used.tags) == ("numbers", "https", {"context": "train"})
    assert runs.get(run.id).note == "looks good"

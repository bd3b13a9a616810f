"""Killed at a drawn instant of appends, upserts, compactions and removals: what was acknowledged is there, digest and all."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import polars as pl
import pytest

from mainspring.artifacts import table_digest
from mainspring.data import dataset
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace, collect, using

WORK = """
    import random, sys
    import polars as pl
    from mainspring.data import dataset, expire_versions
    from mainspring.workspace import Workspace, collect, using

    def rows(start, count, value):
        return pl.DataFrame({"k": list(range(start, start + count)), "v": [value] * count})

    rng, start = random.Random(int(sys.argv[2])), int(sys.argv[3])
    with Workspace.open(sys.argv[1]) as workspace, using(workspace):
        table = dataset("t")
        print("ready", flush=True)
        for round_ in range(1000):
            action = rng.choice(sys.argv[4].split(","))
            if action == "append":
                table.append(rows(start, 3, 0))
                print("append", start, flush=True)
            elif action == "upsert":
                table.upsert(pl.concat([rows(0, 2, start), rows(start, 3, 0)]), key="k")
                print("upsert", start, flush=True)
            elif action == "compact":
                table.compact()
            elif action == "remove":
                expire_versions("t", keep_last=3)
            else:
                collect(workspace, grace_s=0)
            start += 3
"""


def killed(folder: Path, seed: int, start: int, actions: str, after_s: float) -> list[tuple[str, int]]:
    """Work in a process of its own, killed so long after it is ready; gives what it said was done."""
    command = [sys.executable, "-c", textwrap.dedent(WORK), str(folder), str(seed), str(start), actions]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()
        time.sleep(after_s)  # the drawn instant itself
        process.send_signal(signal.SIGKILL)
        # Not by `communicate`, which passes over what `readline` has read ahead.
        said, failed = process.stdout.read(), process.stderr and process.stderr.read()
        assert process.wait() == -signal.SIGKILL, failed
    lines = [line.split() for line in said[: said.rfind("\n") + 1].splitlines()]  # the last one may be cut off
    return [(action, int(number)) for action, number in lines]


def kill_work(folder: Path, seed: int, times: int, actions: str) -> None:
    rng = random.Random(seed)
    with Workspace.open(folder) as workspace, using(workspace):
        table = dataset("t")
        table.commit(pl.DataFrame({"k": list(range(50)), "v": [0] * 50}))
        expected, start, last = set(range(50)), 1000, 0
        for number in range(times):
            done = killed(folder, seed + number, start, actions, rng.uniform(0, 0.25))
            for action, at in done:
                expected |= set(range(at, at + 3))
                last = at if action == "upsert" else last
            frame = table.latest().to_polars()
            keys = frame["k"].to_list()
            assert table.latest().content_digest == table_digest(frame).digest
            assert len(keys) == len(set(keys))
            late = set(keys) - expected  # committed, and killed before it could say so
            assert expected <= set(keys)
            assert len(late) in (0, 3)
            assert int(frame.filter(pl.col("k") == 0)["v"].item()) in (last, *late)
            expected |= late
            last = int(frame.filter(pl.col("k") == 0)["v"].item())
            start += 3000
        collect(workspace, grace_s=0)
        collect(workspace, grace_s=0)
        for version in table.versions():
            if version.removed_at is None:
                assert version.content_digest == table_digest(version.to_polars()).digest
        assert table.compact().to_polars().height == len(expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "actions", ["append", "append,upsert", "append,upsert,compact,compact", "append,upsert,compact,remove,remove,gc"]
)
def test_killed_at_any_instant_nothing_is_lost(actions: str, tmp_path: Path) -> None:
    kill_work(tmp_path, seed=sum(map(ord, actions)), times=3, actions=actions)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_killed_at_any_instant_for_long(seed: int, tmp_path: Path) -> None:
    kill_work(tmp_path, seed=seed, times=100, actions="append,upsert,compact,remove,gc")


MANY = """
    import random, sys
    import polars as pl
    from mainspring.data import dataset, expire_versions
    from mainspring.errors import ConflictError
    worker = int(sys.argv[1])
    table = dataset("t")
    for n in range(6):
        if worker == 0:
            try:
                table.compact()
            except ConflictError:
                pass
        elif worker == 1:
            expire_versions("t", keep_last=2)
        elif worker == 2:
            table.upsert(pl.DataFrame({"k": [n, 2000 + n], "v": [9, 9]}), key="k")
        else:
            table.append(pl.DataFrame({"k": [worker * 1000 + n], "v": [0]}))
"""


@pytest.mark.slow
def test_processes_that_write_compact_and_remove_at_once_lose_nothing(backend: Backend, tmp_path: Path) -> None:
    where = {"database": backend.database_url, "blobs": backend.blob_url}
    with Workspace.open(tmp_path, overrides=where) as workspace, using(workspace):
        dataset("t").commit(pl.DataFrame({"k": list(range(20)), "v": [0] * 20}))
        variables = os.environ | {"MAINSPRING_DATABASE": backend.database_url, "MAINSPRING_BLOBS": backend.blob_url}
        running = [
            subprocess.Popen([sys.executable, "-c", textwrap.dedent(MANY), str(worker)], cwd=tmp_path, env=variables)
            for worker in range(6)
        ]
        assert [process.wait(120) for process in running] == [0] * 6
        version = dataset("t").latest()
        frame = version.to_polars()
        assert sorted(frame["k"].to_list()) == [*range(20), *(w * 1000 + n for w in range(2, 6) for n in range(6))]
        assert frame.filter(pl.col("k") < 6)["v"].to_list() == [9] * 6
        assert version.content_digest == table_digest(frame).digest
        assert version.number == 25

"""A process that lives a whole run and dies at a drawn instant, and what must hold afterwards."""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

from mainspring.errors import ConflictError, NotFoundError
from mainspring.runs import RunState, RunStore
from mainspring.testing.workspaces import Lab, digests
from mainspring.workspace import collect

FLOW = """
import random

@ms.step
def load(rows: int):
    import time
    time.sleep(0.01)
    print("loading", rows)
    return {"rows": list(range(rows)), "noise": random.random()}

@ms.step
def listed(loaded):
    return loaded["rows"]

@ms.step
def square(n: int):
    ms.log_metric("n", n)
    return {"n": n * n, "noise": random.random()}

@ms.step(outputs=("total", "parts"))
def total(squares: list):
    return sum(each["n"] for each in squares), [each["noise"] for each in squares]

@ms.pipeline
def main(rows: int = 3):
    total_, parts = total(square.map(listed(load(rows))))
    return {"total": total_, "parts": parts}
"""

# A life: open (and make) the workspace, run, collect garbage twice, so that what is condemned is destroyed as well.
LIFE = """
import time
start = time.perf_counter()
from flow import main
from mainspring.workspace import collect, current_workspace
result = main.run(options={{"runner": {runner!r}, "jobs": 2}})
workspace = current_workspace()
workspace.blobs.put(b"nobody names this")
for _ in range(2):
    collect(workspace, grace_s=0)
print("lived", time.perf_counter() - start)
"""


def seed_of(what: str) -> int:
    """A fresh seed, printed; `KILL_SEED` in the environment gives an old one again."""
    seed = int(os.environ.get("KILL_SEED") or secrets.randbelow(2**32))
    print(f"{what}: KILL_SEED={seed}")
    return seed


def killed_at(lab: Lab, runner: str, share: float, whole_s: float) -> str:
    """Live and be killed after a share of a whole life; says how far it came."""
    process = lab.start(LIFE.format(runner=runner), MAINSPRING_LEASE_S="15")
    try:
        out, err = process.communicate(timeout=share * whole_s)
        assert process.returncode == 0, err
        return f"lived to the end: {out}"
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return f"killed after {share * whole_s:.3f} s"


def whole_life_s(lab: Lab, runner: str) -> float:
    """How long a whole life takes, from the start of the process."""
    started = time.perf_counter()
    process = lab.start(LIFE.format(runner=runner))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return time.perf_counter() - started


def recover(lab: Lab, runner: str) -> Any:
    """Do what a person does: resume what was interrupted, run again what was never recorded."""
    lab.workspace.close()
    lab.workspace = lab.open()
    try:
        run = RunStore(lab.workspace.database).get("latest")
    except NotFoundError:
        return lab.run(runner=runner, jobs=2)
    if run.state is RunState.SUCCEEDED:
        return lab.run(runner=runner, jobs=2)
    return _patiently(lambda: lab.resume(run.id, runner=runner, jobs=2))


def _patiently(call: Callable[[], Any]) -> Any:
    """A lease of a process that was killed in another namespace would have to run out; here it is free at once."""
    until = time.monotonic() + 5
    while True:
        try:
            return call()
        except ConflictError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def check_recovered(lab: Lab, result: Any, expected: dict[str, str]) -> None:
    """Equal digests, nothing open, and every blob that a row names survives the collection of the rest."""
    assert result.succeeded, result.run.error
    assert digests(result) == expected
    query = lab.workspace.database.query
    assert query("SELECT id, state FROM run WHERE state = 'running'") == []
    assert query("SELECT name, state FROM task WHERE state IN ('running', 'waiting', 'mapped')") == []
    assert query("SELECT id, state FROM attempt WHERE state = 'running'") == []
    names = [name for (name,) in query("SELECT name FROM lease")]
    assert [name for name in names if lab.workspace.leases.held(name)] == []
    assert query("SELECT name FROM lease WHERE expires_at > 0 AND name LIKE 'task:%'") == []
    for _ in range(2):
        collect(lab.workspace, grace_s=0)
    for (parts,) in query("SELECT blobs FROM code_tree"):
        for digest in parts.strip("[]").replace('"', "").split(","):
            lab.workspace.blobs.read(digest)
    for task in result.tasks:
        result.log_of(task)
        for artifact in task.outputs.values():
            encoded = result._store.artifacts.get(artifact).encoded
            for digest in (encoded.blob, *encoded.blobs):
                lab.workspace.blobs.read(digest)
    assert result.value["total"] == 5


def instants(seed: int, count: int) -> list[float]:
    """Shares of a life, spread evenly and drawn within their stretch."""
    draw = random.Random(seed)
    return [(number + draw.random()) / count * 1.02 for number in range(count)]

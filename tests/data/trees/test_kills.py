"""Killed at a drawn instant of whatever writes: what was there is there, and doing it again goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from mainspring.data import dataset, expire_versions
from mainspring.data.trees.archiver import LARGE_BYTES
from mainspring.data.trees.manifest import reachable_blobs
from mainspring.data.trees.status import tree_status
from mainspring.workspace import Workspace, collect, using
from tests.data.trees.folders import content, rewrite, tree_of

ADD = """
    import sys, time
    from mainspring.data import dataset
    from mainspring.workspace import Workspace, using
    with Workspace.open(sys.argv[1]) as workspace, using(workspace):
        print("ready", flush=True)
        began = time.perf_counter()
        dataset("cards").add(sys.argv[2], mode=sys.argv[3])
        print(time.perf_counter() - began, flush=True)
"""
CHECKOUT = """
    import sys, time
    from mainspring.data import dataset
    from mainspring.workspace import Workspace, using
    with Workspace.open(sys.argv[1]) as workspace, using(workspace):
        version = dataset("cards").version(int(sys.argv[3]))
        print("ready", flush=True)
        began = time.perf_counter()
        version.checkout(sys.argv[2])
        print(time.perf_counter() - began, flush=True)
"""
COMPACT = """
    import sys, time
    from mainspring.data import dataset
    from mainspring.workspace import Workspace, using
    with Workspace.open(sys.argv[1]) as workspace, using(workspace):
        print("ready", flush=True)
        began = time.perf_counter()
        dataset("cards").compact()
        print(time.perf_counter() - began, flush=True)
"""
COLLECT = """
    import sys
    from mainspring.workspace import Workspace, collect, using
    with Workspace.open(sys.argv[1]) as workspace, using(workspace):
        print("ready", flush=True)
        while True:
            collect(workspace, grace_s=0)
"""


def lived(code: str, *args: object, die_after_s: float | None = None) -> float:
    """Run some code in a process of its own, killed so long after it is ready; gives how long it took otherwise."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, args)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()
        if die_after_s is not None:
            time.sleep(die_after_s)  # the drawn instant itself
            process.send_signal(signal.SIGKILL)
        said, failed = process.stdout.read(), process.stderr and process.stderr.read()
        assert process.wait() in (0, -signal.SIGKILL), failed
        return float(said) if said else 0.0


def files(rng: random.Random) -> dict[str, bytes]:
    """Many small files, some middle ones, one in chunks."""
    made = {f"{number % 7}/{number:03}": rng.randbytes(rng.randrange(3_000)) for number in range(120)}
    made |= {f"middle{number}": rng.randbytes(400_000) for number in range(2)}
    return made | {"large": rng.randbytes(LARGE_BYTES + 1_000_000)}


def check(workspace: Workspace) -> None:
    """Everything that a version names is there and is what it says."""
    collect(workspace, grace_s=0)
    collect(workspace, grace_s=0)
    for version in (each for each in dataset("cards").versions() if each.removed_at is None):
        assert all(workspace.blobs.exists(blob) for blob in reachable_blobs(workspace.blobs, version.manifest))


def kill_adds(tmp_path: Path, seed: int, times: int) -> None:
    rng = random.Random(seed)
    root = content(tmp_path / "x", files(rng))
    with Workspace.open(tmp_path / "ws") as workspace, using(workspace):
        first = dataset("cards").add(root)
        long_s = lived(ADD, tmp_path / "ws", content(tmp_path / "y", files(rng)), "replace")
        for number in range(times):
            for name in rng.sample(sorted(tree_of(root)), 30):
                rewrite(root / name, rng.randbytes(1_000))
            rewrite(root / "large", rng.randbytes(LARGE_BYTES + 500_000))
            before = dataset("cards").latest()
            lived(ADD, tmp_path / "ws", root, "update" if number % 2 else "replace", die_after_s=rng.random() * long_s)
            check(workspace)
            after = dataset("cards").add(root)
            assert after.number <= before.number + 2
            with Workspace.open(tmp_path / f"fresh{number}") as other:
                assert dataset("cards", other).add(root) == after
            assert {file.path: after.read_bytes(file.path) for file in after.list_files()} == tree_of(root)
        assert dataset("cards").version(1) == first


def kill_compactions(tmp_path: Path, seed: int, times: int) -> None:
    rng = random.Random(seed)
    state = {f"{n % 7}/{n:03}": rng.randbytes(3_000) for n in range(300)}
    long_s = 0.1
    with Workspace.open(tmp_path / "ws") as workspace, using(workspace):
        cards = dataset("cards")
        cards.add(content(tmp_path / "x", state))
        for _ in range(times):
            gone = rng.sample(sorted(state), 3)
            removed, state = [state[path] for path in gone], {p: data for p, data in state.items() if p not in gone}
            head = cards.delete_files(gone)
            lived(COMPACT, tmp_path / "ws", die_after_s=rng.random() * long_s)
            check(workspace)
            assert {file.path: head.read_bytes(file.path) for file in cards.latest().list_files()} == state
            long_s = lived(COMPACT, tmp_path / "ws") or long_s
            expire_versions("cards", keep_last=1)
            check(workspace)
            left = b"".join(workspace.blobs.read(info.digest) for info in workspace.blobs.list())
            assert not [data for data in removed if data in left]
            assert {file.path: cards.latest().read_bytes(file.path) for file in cards.latest().list_files()} == state


def kill_collections(tmp_path: Path, seed: int, times: int) -> None:
    rng = random.Random(seed)
    root = content(tmp_path / "x", {f"{n % 3}/{n:02}": rng.randbytes(2_000) for n in range(30)})
    middle = root / "middle"
    middle.write_bytes(rng.randbytes(300_000))
    with Workspace.open(tmp_path / "ws") as workspace, using(workspace):
        cards, states = dataset("cards"), []
        for _ in range(times):
            for _ in range(2):
                for name in rng.sample(sorted(tree_of(root)), 8):
                    rewrite(root / name, rng.randbytes(2_000))
                states.append(tree_of(root))
                cards.add(root)
            expire_versions("cards", keep_last=1)
            lived(COLLECT, tmp_path / "ws", die_after_s=rng.uniform(0, 0.06))
            # Whatever was condemned or destroyed: what is named can be read, and what was removed can be added again.
            for state in (states[-1], rng.choice(states)):
                content(root, state)
                version = cards.add(root)
                assert {file.path: version.read_bytes(file.path) for file in version.list_files()} == state
        collect(workspace, grace_s=0)
        collect(workspace, grace_s=0)
        kept = [version for version in cards.versions() if version.removed_at is None]
        named = set().union(*(reachable_blobs(workspace.blobs, version.manifest) for version in kept))
        assert {info.digest for info in workspace.blobs.list()} == named
        assert not list(workspace.blobs.list_condemned())


def kill_checkouts(tmp_path: Path, seed: int, times: int) -> None:
    rng = random.Random(seed)
    with Workspace.open(tmp_path / "ws") as workspace, using(workspace):
        states = [files(rng), files(rng) | {f"more/{number}": b"m" for number in range(50)}]
        versions = [dataset("cards").add(content(tmp_path / str(number), state)) for number, state in enumerate(states)]
        out = tmp_path / "out"
        versions[0].checkout(out)
        long_s = lived(CHECKOUT, tmp_path / "ws", out, 2)
        for number in range(times):
            target = number % 2
            lived(CHECKOUT, tmp_path / "ws", out, target + 1, die_after_s=rng.random() * long_s)
            for name, data in tree_of(out).items():  # whole files of one of the two, whatever the instant
                if not name.startswith(".mainspring-"):
                    assert data in (states[0].get(name), states[1].get(name))
            # On to either of the two, and nothing is in the way.
            end = target if rng.random() < 0.5 else 1 - target
            versions[end].checkout(out)
            assert tree_of(out) == states[end]
            assert tree_status(out, versions[end]).is_clean
            assert not [name for name in os.listdir(out) if name.startswith(".mainspring-")]


@pytest.mark.slow
def test_an_add_killed_at_any_instant_loses_nothing(tmp_path: Path) -> None:
    kill_adds(tmp_path, 1, 6)


@pytest.mark.slow
def test_a_compaction_killed_at_any_instant_changes_nothing_or_all(tmp_path: Path) -> None:
    kill_compactions(tmp_path, 2, 4)


@pytest.mark.slow
def test_a_checkout_killed_at_any_instant_goes_on(tmp_path: Path) -> None:
    kill_checkouts(tmp_path, 3, 8)


@pytest.mark.slow
def test_a_collection_killed_at_any_instant_takes_nothing_that_is_named(tmp_path: Path) -> None:
    kill_collections(tmp_path, 5, 4)


@pytest.mark.soak
@pytest.mark.timeout(7_000)
@pytest.mark.parametrize("seed", range(10, 20))
def test_many_kills(tmp_path: Path, seed: int) -> None:
    kill_adds(tmp_path / "adds", seed, 60)
    kill_compactions(tmp_path / "compactions", seed, 60)
    kill_checkouts(tmp_path / "checkouts", seed, 60)
    kill_collections(tmp_path / "collections", seed, 60)

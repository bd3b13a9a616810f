"""Collection of garbage: what a row names lives, whatever happens at the same time."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from mainspring import clock
from mainspring.errors import ConflictError
from mainspring.runs import RunStore
from mainspring.store import Database
from mainspring.store.lease import process_owner
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace, collect


@pytest.fixture
def workspace(backend: Backend, tmp_path: Path) -> Iterator[Workspace]:
    where = {"database": backend.database_url, "blobs": backend.blob_url}
    with Workspace.open(tmp_path, overrides=where) as opened:
        opened.database.migrate("named", ["CREATE TABLE named (digest TEXT PRIMARY KEY)"])
        yield opened


def name(workspace: Workspace, digest: str) -> None:
    with workspace.database.transaction() as tx:
        tx.execute("INSERT INTO named VALUES (?) ON CONFLICT (digest) DO NOTHING", (digest,))


def named(database: Database) -> Iterable[str]:
    return [row[0] for row in database.query("SELECT digest FROM named")]


def test_garbage_goes_in_two_phases_and_what_is_named_stays(workspace: Workspace) -> None:
    kept, lost = workspace.blobs.put(b"kept"), workspace.blobs.put(b"lost")
    name(workspace, kept)
    first = collect(workspace, grace_s=0, roots=[named])
    assert (first.live, first.condemned, first.destroyed) == (1, 1, 0)
    assert workspace.blobs.exists(lost)
    second = collect(workspace, grace_s=0, roots=[named])
    assert (second.live, second.destroyed) == (1, 1)
    assert second.freed_bytes == 4
    assert not workspace.blobs.exists(lost)
    assert workspace.blobs.read(kept) == b"kept"


def test_what_was_put_lately_waits(workspace: Workspace) -> None:
    lost = workspace.blobs.put(b"lost")
    report = collect(workspace, grace_s=3600, roots=[named])
    assert (report.young, report.condemned) == (1, 0)
    collect(workspace, grace_s=0, roots=[named])
    assert collect(workspace, grace_s=3600, roots=[named]).destroyed == 0
    assert workspace.blobs.read(lost) == b"lost"


def test_what_is_named_while_it_is_condemned_comes_back(workspace: Workspace) -> None:
    digest = workspace.blobs.put(b"late")
    collect(workspace, grace_s=0, roots=[named])
    assert workspace.blobs.read(digest) == b"late"
    collect(workspace, grace_s=0, roots=[named])
    digest = workspace.blobs.put(b"late")
    collect(workspace, grace_s=0, roots=[named])
    name(workspace, digest)
    assert collect(workspace, grace_s=0, roots=[named]).destroyed == 0
    assert collect(workspace, grace_s=0, roots=[named]).live == 1
    assert workspace.blobs.read(digest) == b"late"


def test_a_dry_run_counts_and_changes_nothing(workspace: Workspace) -> None:
    workspace.blobs.put(b"one")
    collect(workspace, grace_s=0, roots=[named])
    workspace.blobs.put(b"two")
    told = collect(workspace, grace_s=0, dry_run=True, roots=[named])
    assert (told.condemned, told.destroyed) == (1, 1)
    done = collect(workspace, grace_s=0, roots=[named])
    assert (done.condemned, done.destroyed) == (1, 1)


def test_writers_that_race_with_a_collector_lose_nothing(workspace: Workspace) -> None:
    grace_s, until = 0.5, time.monotonic() + 2.5
    contents = [f"content {i}".encode() for i in range(12)]  # few, so that what is garbage is put again and again
    alive: set[str] = set()
    problems: list[str] = []

    def write(seed: int) -> None:
        draw = random.Random(seed)
        while time.monotonic() < until:
            content = draw.choice(contents)
            digest = workspace.blobs.put(content)
            if draw.random() < 0.3:
                name(workspace, digest)
                alive.add(digest)
            problems.extend(each for each in list(alive) if not workspace.blobs.exists(each))
            time.sleep(draw.random() * 0.2)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    while time.monotonic() < until:
        collect(workspace, grace_s=grace_s, roots=[named])
    for thread in threads:
        thread.join()
    assert problems == []
    assert alive
    for digest in alive:
        workspace.blobs.read(digest)


def test_one_collects_at_a_time(workspace: Workspace) -> None:
    held = workspace.leases.claim("gc", workspace.owner, 60)
    names = [row[0] for row in workspace.database.query("SELECT name FROM lease")]
    assert names == ["gc"]
    with pytest.raises(ConflictError):
        collect(workspace, grace_s=0, roots=[named])
    workspace.leases.release(held)
    collect(workspace, grace_s=0, roots=[named])


def test_every_room_registers_what_its_rows_name() -> None:
    from importlib.metadata import entry_points

    names = {point.name for point in entry_points(group="mainspring.gc_roots")}
    assert {"artifacts", "pipelines", "runs"} <= names


class InTenYears:
    def now_us(self) -> int:
        return (time.time_ns() // 1_000) + 10 * 365 * 86_400 * 1_000_000


def test_a_simulated_clock_does_not_age_blobs(workspace: Workspace) -> None:
    digest = workspace.blobs.put(b"put a moment ago")
    token = clock.clock.set(InTenYears())
    try:
        for _ in range(2):
            collect(workspace, grace_s=3600)
    finally:
        clock.clock.reset(token)
    assert workspace.blobs.exists(digest)


def test_what_dead_runs_left_goes_and_what_a_running_one_needs_stays(workspace: Workspace) -> None:
    ledger, leases = workspace.ledger, workspace.leases
    lease = leases.claim("run:alive", "me", 60)
    with workspace.database.transaction() as tx:
        ledger.edge(tx, "alive", "ran", "code-of-alive")
    for run in ("alive", "dead"):
        folder = workspace.scratch / run
        (folder / "attempt").mkdir(parents=True)
        (folder / "attempt" / "big.bin").write_bytes(b"x" * 1000)
        (folder / "attempt.log").write_text("told")
        (folder / "attempt.log.0.raw").write_text("password=unredacted")
        (workspace.cache / "code" / f"code-of-{run}").mkdir(parents=True)
    (workspace.cache / "environments" / "rebuilt").mkdir(parents=True)
    report = collect(workspace, grace_s=3600, roots=[named])
    assert sorted(path.name for path in (workspace.scratch / "dead").iterdir()) == ["attempt.log"]
    assert sorted(path.name for path in (workspace.scratch / "alive").iterdir()) == [
        "attempt", "attempt.log", "attempt.log.0.raw",
    ]  # fmt: skip
    assert report.freed_bytes == 1019
    collect(workspace, grace_s=0, roots=[named])
    assert [path.name for path in workspace.scratch.iterdir()] == ["alive"]
    assert [path.name for path in (workspace.cache / "code").iterdir()] == ["code-of-alive"]
    assert len(list((workspace.cache / "environments").iterdir())) == 1
    leases.release(lease)
    collect(workspace, grace_s=0, roots=[named])
    assert not list((workspace.cache / "environments").iterdir())
    assert not list(workspace.scratch.iterdir())


@pytest.mark.parametrize("owner", ["own", "far:boot:17:0"])
def test_a_run_whose_process_may_live_is_left_alone_though_its_lease_has_lapsed(
    workspace: Workspace, owner: str
) -> None:
    owner = process_owner() if owner == "own" else owner
    lease = workspace.leases.claim("run:slow", owner, -1)
    with workspace.database.transaction() as tx:
        workspace.ledger.edge(tx, "slow", "ran", "code-of-slow")
    kept = workspace.scratch / "slow", workspace.cache / "code" / "code-of-slow"
    for folder in kept:
        folder.mkdir(parents=True)
    collect(workspace, grace_s=0, roots=[named])
    assert all(folder.exists() for folder in kept)
    workspace.leases.heartbeat(lease, 60)  # it goes on


def test_the_code_that_a_replay_runs_stays(workspace: Workspace) -> None:
    lease = workspace.leases.claim("run:again", process_owner(), 60)
    with workspace.database.transaction() as tx:
        workspace.ledger.edge(tx, "then", "ran", "code-of-then")
        workspace.ledger.edge(tx, "again", "replays", "then")
    folder = workspace.cache / "code" / "code-of-then"
    folder.mkdir(parents=True)
    collect(workspace, grace_s=0, roots=[named])
    assert folder.exists()
    workspace.leases.release(lease)
    collect(workspace, grace_s=0, roots=[named])
    assert not folder.exists()


def test_what_a_process_elsewhere_left_goes_when_its_lease_lapsed_long_ago(workspace: Workspace) -> None:
    workspace.leases.claim("run:gone", "far:boot:17:0", -3601)
    (workspace.scratch / "gone").mkdir(parents=True)
    collect(workspace, grace_s=0, roots=[named])
    assert not (workspace.scratch / "gone").exists()


def test_what_a_killed_script_printed_is_added_to_its_log_once(workspace: Workspace) -> None:
    runs = RunStore(workspace.database, workspace.ledger)
    with workspace.database.transaction() as tx:
        run = runs.create(tx, kind="script", name="trial")
        runs.update(tx, run.id, log=workspace.blobs.put(b"before\n"))
    path = workspace.scratch / run.id / "run.log"
    for _ in range(2):  # as if the first collector had been killed before it removed the file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("told\n")
        collect(workspace, grace_s=3600)
        assert not path.exists()
        assert workspace.blobs.read(runs.get(run.id).log or "") == b"before\ntold\n"

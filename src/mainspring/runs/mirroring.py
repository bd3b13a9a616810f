"""Mirrors of runs in another tool's form, made by themselves when runs end: the settings `mirror` and `mirror_folder`.

Invariant: whoever ends a run only starts a process for it and never waits or fails. That process goes through the ledger's ends
of runs behind a cursor, under a lease, so that one that is killed leaves none out: the next end of a run makes up for it.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from mainspring.errors import (
    ConflictError,
    InvalidError,
    MainspringError,
    MissingExtraError,
    NotFoundError,
    counted,
    shorten,
)
from mainspring.ledger import Event
from mainspring.runs.run import RunState
from mainspring.secrets import redact
from mainspring.store import Lease
from mainspring.store.heartbeat import Heartbeat
from mainspring.workspace import Workspace

MIGRATIONS = [
    """
    CREATE TABLE mirror (target TEXT PRIMARY KEY, seq INTEGER NOT NULL);
    CREATE TABLE mirror_untold (
        target TEXT NOT NULL, run TEXT NOT NULL, error TEXT NOT NULL, left_out TEXT NOT NULL, PRIMARY KEY (target, run)
    )
    """,
]
_TARGETS = ("wandb",)
_ENDS = {f"run.{state.value}" for state in RunState if state is not RunState.RUNNING}
_LEASE_S = 60.0
_SETTINGS = ("database", "blobs", "mirror", "mirror_folder")


class NotMirrored(UserWarning):  # a warning, named like `PointsWait`
    """A run ended and was not, or could not be, mirrored, or not all of it; the run itself is as it is without."""


def mirror_soon(workspace: Workspace, run: str) -> None:
    """Have the runs that ended mirrored by another process, if the project says so; `run` is the one that just did.

    Warns, and does no more, if that can't be, and of what failed or had no place in a mirror since the last warning.
    """
    target = workspace.project.settings.mirror
    if not target:
        return
    try:
        _expect_possible(target)
        _begin_with(workspace, target, run)
        untold = _untold(workspace, target)
        _start(workspace)
    except (MainspringError, OSError) as error:
        _warn(f"The run {run[:12]} ended as it did, but is not mirrored: {error}")
        return
    folder = workspace.project.settings.mirror_folder
    failed = {run: each.error for run, each in untold.items() if each.error}
    partial = {run: each.left_out for run, each in untold.items() if each.left_out}
    if failed:
        _warn(
            f"{counted(len(failed), 'run')} not mirrored: {next(iter(failed.values()))}"
            f" `mainspring export {target} {' '.join(sorted(failed))} {folder}` tries again."
        )
    if partial:
        first = next(iter(partial))
        _warn(
            f"{counted(len(partial), 'run')} mirrored without what {target} has no place for. Of {first}: {partial[first]}."
            f" `mainspring export {target} {' '.join(sorted(partial))} {folder}` tells of each."
        )


def mirror_ended(workspace: Workspace) -> int:
    """Mirror the runs that ended and are not mirrored yet, unless another process does; gives how many.

    A run that fails to be mirrored is noted, to be told of at the next run's end, and left behind; what had no place in a
    mirror is noted, too.
    """
    target = workspace.project.settings.mirror
    _expect_possible(target)
    workspace.database.migrate("mirror", MIGRATIONS)
    count = 0
    # Whoever ended a run while the lease was held here went away: what it left is seen after the lease was given back.
    while _waiting(workspace, target):
        try:
            lease = workspace.leases.claim(f"mirror:{target}", workspace.owner, _LEASE_S)
        except ConflictError:
            break
        try:
            with Heartbeat(workspace.leases, _LEASE_S) as heartbeat:
                heartbeat.hold(lease)
                count += sum(_mirror(workspace, target, lease, event) for event in _waiting(workspace, target))
        finally:
            workspace.leases.release(lease)
    return count


def _mirror(workspace: Workspace, target: str, lease: Lease, event: Event) -> bool:
    """Mirror the run of one event, and put the cursor behind it."""
    from mainspring.runs.wandb import mirror_to_wandb

    done: _Done | None = None
    if event.kind in _ENDS:
        try:
            folder = Path(workspace.project.settings.mirror_folder)
            done = _Done(left_out="; ".join(mirror_to_wandb(event.subject, folder, workspace=workspace).left_out))
        except (ConflictError, NotFoundError):  # it goes on, and will end once more; or it was purged
            done = None
        except Exception as raised:  # noqa: BLE001  # whatever W&B's client raises is this mirror's failure alone
            done = _Done(error=shorten(redact(f"{type(raised).__name__}: {raised}"), 300))
    return _advance(workspace, target, lease, event, done)


class _Done(NamedTuple):
    """How a mirror was made: why it wasn't, and what had no place in it; empty if nothing is to be told."""

    error: str = ""
    left_out: str = ""


def _advance(workspace: Workspace, target: str, lease: Lease, event: Event, done: _Done | None) -> bool:
    """Put the cursor behind an event, and note what is to be told of its mirror, None if there was none to be made. Gives
    whether there is one.
    """
    with workspace.database.transaction() as tx:
        workspace.leases.check(tx, lease)
        tx.execute("UPDATE mirror SET seq = ? WHERE target = ?", (event.seq, target))
        if done is not None:
            tx.execute("DELETE FROM mirror_untold WHERE target = ? AND run = ?", (target, event.subject))
        if done is not None and any(done):
            tx.execute("INSERT INTO mirror_untold VALUES (?, ?, ?, ?)", (target, event.subject, *done))
    return done is not None and not done.error


def _waiting(workspace: Workspace, target: str) -> list[Event]:
    row = workspace.database.query_one("SELECT seq FROM mirror WHERE target = ?", (target,))
    return workspace.ledger.events(int(row[0])) if row else []


def _begin_with(workspace: Workspace, target: str, run: str) -> None:
    """Put the cursor of a new mirror before a run, so that those before it, which ended without, stay out."""
    workspace.database.migrate("mirror", MIGRATIONS)
    if workspace.database.query_one("SELECT 1 FROM mirror WHERE target = ?", (target,)):
        return
    with workspace.database.transaction() as tx:
        row = tx.query_one("SELECT MIN(seq) FROM event WHERE subject = ?", (run,))
        before = int(row[0]) - 1 if row and row[0] else 0
        tx.execute("INSERT INTO mirror VALUES (?, ?) ON CONFLICT (target) DO NOTHING", (target, before))


def _untold(workspace: Workspace, target: str) -> dict[str, _Done]:
    """What is to be told of mirrors, by their runs, since this was asked last."""
    if not workspace.database.query_one("SELECT 1 FROM mirror_untold WHERE target = ?", (target,)):
        return {}
    with workspace.database.transaction() as tx:
        rows = tx.query("SELECT run, error, left_out FROM mirror_untold WHERE target = ?", (target,))
        tx.execute("DELETE FROM mirror_untold WHERE target = ?", (target,))
    return {run: _Done(*told) for run, *told in rows}


def _expect_possible(target: str) -> None:
    if target not in _TARGETS:
        raise InvalidError("mirror", target, f"one of {', '.join(_TARGETS)}, or empty")
    spec = find_spec(target)
    if spec is None or spec.origin is None:  # a folder `wandb`, as the client leaves them, is none
        raise MissingExtraError(target, target, "A mirror for W&B")


def _start(workspace: Workspace) -> None:
    """Start the process that mirrors, which outlives this one; a thread takes its end, so that none stays a zombie."""
    import subprocess  # which costs those nothing who mirror nothing

    project = workspace.project
    settings = {f"MAINSPRING_{name.upper()}": str(getattr(project.settings, name)) for name in _SETTINGS}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, str(project.root)], cwd=project.root, env=os.environ | settings,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    threading.Thread(target=process.wait, name="mirror", daemon=True).start()


def _warn(text: str) -> None:
    warnings.warn(text, NotMirrored, stacklevel=4)


def main() -> None:
    """The process that mirrors, for the project whose folder is the argument."""
    os.nice(10)  # what goes on comes first
    with Workspace.open(sys.argv[1], create=False) as workspace:
        mirror_ended(workspace)


if __name__ == "__main__":
    main()

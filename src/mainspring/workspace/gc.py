"""Collection of blobs that no row names, in two phases: condemn, wait a grace period, destroy.

A writer puts a blob before it commits the row that names it. So a blob is condemned only a grace period after its last
put, stays readable while condemned, and is destroyed only if, a grace period after that, still no row names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain

import msgspec

from mainspring.lazy import registered
from mainspring.store import Database, Lease
from mainspring.workspace.leftovers import remove_leftovers
from mainspring.workspace.workspace import Workspace

GROUP = "mainspring.gc_roots"
PURGES = "mainspring.gc_purges"
_LEASE, _LEASE_S = "gc", 120.0
_BEAT_EVERY = 100  # blobs; on S3 that is a few seconds
_SHORTEST_GRACE_S = 3600.0  # a put that is longer under way than this was killed
Roots = Callable[[Database], Iterable[str]]
Purge = Callable[[Workspace, float], int]
"""Removes rows of records that were deleted longer ago than so many seconds; gives how many."""


class GcReport(msgspec.Struct, frozen=True):
    """What a collection found and did: counts of blobs, and bytes freed, those of dead runs' folders included."""

    live: int
    young: int
    condemned: int
    restored: int
    destroyed: int
    freed_bytes: int


def collect(
    workspace: Workspace, *, grace_s: float | None = None, dry_run: bool = False, roots: Iterable[Roots] | None = None
) -> GcReport:
    """Condemn unreferenced blobs, destroy those condemned a grace period ago. May run beside anything, and be killed.

    One collector at a time: two could each restore what the other destroys. `roots` give the digests that rows of each
    room name; by default those that entry points register.

    Raises:
        ConflictError: another collector is at work.
    """
    lease = workspace.leases.claim(_LEASE, workspace.owner, _LEASE_S)
    try:
        return _collect(workspace, lease, grace_s=grace_s, dry_run=dry_run, roots=roots)
    finally:
        workspace.leases.release(lease)


def _collect(
    workspace: Workspace, lease: Lease, *, grace_s: float | None, dry_run: bool, roots: Iterable[Roots] | None
) -> GcReport:
    grace_us = int((workspace.project.settings.gc_grace_h * 3600 if grace_s is None else grace_s) * 1e6)
    # Real time, as that of files: domain time may be a simulation's.
    blobs, now = workspace.blobs, workspace.database.now_us()
    if not dry_run:
        purges: list[Purge] = registered(PURGES)
        for purge in purges:
            purge(workspace, grace_us / 1e6)
    sources = list(roots) if roots is not None else registered(GROUP)
    # The condemned are listed before the roots are read: whoever named one of them later found or made it anew.
    waiting = list(blobs.list_condemned())
    present = list(blobs.list())
    live = set(chain.from_iterable(source(workspace.database) for source in sources))
    restored = [blob for blob in waiting if blob.digest in live]
    ripe = [blob for blob in waiting if blob.digest not in live and blob.touched_at_us + grace_us <= now]
    unnamed = [blob for blob in present if blob.digest not in live]
    old = [blob for blob in unnamed if blob.touched_at_us + grace_us <= now]
    leftover_bytes = 0
    if not dry_run:
        actions = [(blobs.restore, restored), (blobs.destroy, ripe), (blobs.condemn, old)]
        for count, (act, digest) in enumerate((act, blob.digest) for act, chosen in actions for blob in chosen):
            if count % _BEAT_EVERY == 0:
                workspace.leases.heartbeat(lease)
            act(digest)
        blobs.sweep_temporary(max(grace_us / 1e6, _SHORTEST_GRACE_S))
        leftover_bytes = remove_leftovers(workspace, older_than_s=grace_us / 1e6)
    return GcReport(
        live=len(present) - len(unnamed),
        young=len(unnamed) - len(old),
        condemned=len(old),
        restored=len(restored),
        destroyed=len(ripe),
        freed_bytes=sum(blob.size_bytes for blob in ripe) + leftover_bytes,
    )


def named_blobs(workspace: Workspace) -> set[str]:
    """The digests of all blobs that rows name."""
    return set(chain.from_iterable(source(workspace.database) for source in registered(GROUP)))

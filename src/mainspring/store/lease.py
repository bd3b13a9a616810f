"""Leases: work in flight belongs to one owner for a while, by the store's clock.

Invariant: tokens of one lease only grow, and a commit that checks its lease in its own transaction is refused once the
lease was taken over, however late the old owner wakes up (a fencing token, after Kleppmann, "How to do distributed
locking").
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import lru_cache, partial

import msgspec

from mainspring.errors import ConflictError, LeaseLostError
from mainspring.store.database import Database, Reader, Transaction, batches

MIGRATIONS = [
    """
    CREATE TABLE lease (
        name TEXT PRIMARY KEY, owner TEXT NOT NULL, token INTEGER NOT NULL, expires_at INTEGER NOT NULL
    )
    """,
]


class Lease(msgspec.Struct, frozen=True):
    """A claim that was granted: who has it, the token that proves it, and for how long a heartbeat extends it."""

    name: str
    owner: str
    token: int
    ttl_s: float = 60.0


class Leases:
    """Claims on names in a database.

    An owner is `host:boot:pid:start` (see `process_owner`), so that a claim of a process on this machine that is dead
    can be taken over at once, without waiting for its expiry.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        database.migrate("lease", MIGRATIONS)

    def claim(self, name: str, owner: str, ttl_s: float) -> Lease:
        """Take a free, expired or dead owner's lease.

        Raises:
            ConflictError: another live owner holds it.
        """
        with self.database.transaction() as tx:
            return self.claim_in(tx, name, owner, ttl_s)

    def claim_in(self, tx: Transaction, name: str, owner: str, ttl_s: float) -> Lease:
        """`claim` as part of the caller's transaction."""
        now = tx.now_us()
        row = tx.query_one("SELECT owner, token, expires_at FROM lease WHERE name = ?", (name,))
        token = 1
        if row is not None:
            holder, last, expires_at = row
            if expires_at > now and not _is_dead_here(holder):
                left = (expires_at - now) / 1e6
                raise ConflictError(f"`{name}` is being worked on by {holder}; its lease ends in {left:.1f} s.")
            token = last + 1
        tx.execute(
            "INSERT INTO lease VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET owner = excluded.owner,"
            " token = excluded.token, expires_at = excluded.expires_at",
            (name, owner, token, now + int(ttl_s * 1e6)),
        )
        return Lease(name, owner, token, ttl_s)

    def heartbeat(self, lease: Lease, ttl_s: float | None = None) -> None:
        """Extend a lease, by what it was claimed for if no time is given.

        Raises:
            LeaseLostError: it was taken over or released.
        """
        with self.database.transaction() as tx:
            self.check(tx, lease)
            expires_at = tx.now_us() + int((lease.ttl_s if ttl_s is None else ttl_s) * 1e6)
            tx.execute("UPDATE lease SET expires_at = ? WHERE name = ?", (expires_at, lease.name))

    def release(self, lease: Lease) -> None:
        """Give a lease back; the token stays remembered. A no-op if it was taken over."""
        with self.database.transaction() as tx:
            self.release_in(tx, lease)

    def release_in(self, tx: Transaction, lease: Lease) -> None:
        """`release` as part of the caller's transaction."""
        tx.execute("UPDATE lease SET expires_at = 0 WHERE name = ? AND token = ?", (lease.name, lease.token))

    def check(self, tx: Reader, lease: Lease) -> None:
        """Refuse a commit whose lease was taken over or released.

        An expired lease that nobody took over still commits: the token, not the clock, decides.

        Raises:
            LeaseLostError: another token holds the lease, or nobody does.
        """
        row = tx.query_one("SELECT token, expires_at FROM lease WHERE name = ?", (lease.name,))
        if row is None or row[0] != lease.token or row[1] == 0:
            current = row[0] if row and row[1] else None
            was_taken_over = row is not None and current is None and row[0] != lease.token
            raise LeaseLostError(lease.name, lease.token, current, was_taken_over=was_taken_over)

    def fencing(self, lease: Lease) -> AbstractContextManager[None]:
        """For `with`: every transaction on this database that is begun in the block checks the lease, as `check` does."""
        return self.database.fenced(partial(self.check, lease=lease))

    def held(self, name: str) -> bool:
        """Whether a live owner holds the lease now."""
        return bool(self.held_among([name]))

    def held_among(self, names: Iterable[str]) -> set[str]:
        """Those of these leases that live owners hold now."""
        return {
            name
            for batch, marks in batches(names)
            for name, owner in self.database.query(
                f"SELECT name, owner FROM lease WHERE name IN ({marks}) AND expires_at > ?", [*batch, self.now_us()]
            )
            if not _is_dead_here(owner)
        }

    def live(self, prefix: str) -> list[str]:
        """The names, beginning so, of the leases that live owners hold now."""
        said = "SELECT name, owner FROM lease WHERE name >= ? AND name < ? AND expires_at > ?"
        found = self.database.query(said, (prefix, prefix + "~", self.now_us()))
        return [name for name, owner in found if not _is_dead_here(owner)]

    def idle_s(self, name: str) -> float:
        """For how long nobody can have been at work under a lease, in seconds.

        Infinite if it was given back, or whoever had it is a dead process of this machine. A process that lives may go on
        though its lease lapsed, so of one of this machine it is 0; of one elsewhere the time since the lapse.
        """
        row = self.database.query_one("SELECT owner, expires_at FROM lease WHERE name = ?", (name,))
        if row is None or row[1] == 0 or _is_dead_here(row[0]):
            return float("inf")
        return 0.0 if _is_here(row[0]) else max(self.now_us() - row[1], 0) / 1e6

    def names(self, prefix: str) -> list[str]:
        """The names, beginning so, of the leases that were not given back, whether or not their time is over."""
        said = "SELECT name FROM lease WHERE name >= ? AND name < ? AND expires_at > 0"
        return [name for (name,) in self.database.query(said, (prefix, prefix + "~"))]

    def holder(self, name: str) -> str:
        """Who had the lease last, as an owner; empty if nobody ever had."""
        row = self.database.query_one("SELECT owner FROM lease WHERE name = ?", (name,))
        return str(row[0]) if row else ""

    def now_us(self) -> int:
        """The store's clock."""
        return self.database.now_us()


def process_owner() -> str:
    """This process as an owner of leases: host, boot, pid and start, so that a reused pid is not mistaken for it."""
    pid = os.getpid()
    return f"{_host()}:{_boot_id()}:{pid}:{_started(pid)}"


def _is_dead_here(owner: str) -> bool:
    """Whether the owner was a process of this machine that is gone; anybody else is taken for alive."""
    _, _, pid, started = (owner.split(":") + [""] * 4)[:4]
    return _is_here(owner) and _started(int(pid)) != started


def _is_here(owner: str) -> bool:
    """Whether the owner is, or was, a process of this machine."""
    host, boot, pid = (owner.split(":") + [""] * 3)[:3]
    return host == _host() and boot == _boot_id() and pid.isdigit()


def _host() -> str:
    return os.uname().nodename.replace(":", ".")


@lru_cache(maxsize=1)
def _boot_id() -> str:
    # A container shares its host's boot id but not its process ids, hence the namespace.
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read()[:8]
        return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return "boot"


def _started(pid: int) -> str:
    """When a process started, in the kernel's own units; empty if there is none (a zombie counts as gone)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return "" if fields[0] == b"Z" else fields[19].decode()
    except (OSError, IndexError):  # gone, also between opening and reading
        pass
    if not os.path.exists("/proc/self"):  # macOS
        import subprocess

        shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return shown.stdout.strip().replace(":", ".")
    return ""

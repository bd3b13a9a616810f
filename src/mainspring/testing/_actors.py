"""What the processes of the contract suites do; each function is one role. Imports no test library."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from mainspring.errors import LeaseLostError
from mainspring.ledger import Ledger
from mainspring.store import Database, Leases, blob_digest, open_blobs, open_database, process_owner

SCHEMA = [
    "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT);\nCREATE TABLE twin (id INTEGER PRIMARY KEY, text TEXT);",
]


def opened(url: str) -> Database:
    """A database with the tables of these tests."""
    database = open_database(url)
    database.migrate("demo", SCHEMA)
    return database


def count_up(index: int, url: str, times: int) -> None:
    """Read, add one, write back."""
    database = open_database(url)
    for _ in range(times):
        with database.transaction() as tx:
            row = tx.query_one("SELECT value FROM counter WHERE name = ?", ("all",))
            tx.execute("UPDATE counter SET value = ? WHERE name = ?", ((row[0] if row else 0) + 1, "all"))
            tx.execute("INSERT INTO note (text) VALUES (?)", (str(index),))
    database.close()


def open_new(index: int, url: str) -> None:
    """Open a workspace that nobody has opened yet, and use it."""
    database = opened(url)
    with database.transaction() as tx:
        tx.execute("INSERT INTO note (text) VALUES (?)", (str(index),))
    database.close()


def write_twins(url: str) -> None:
    """Transactions that are only right whole, until killed."""
    database = open_database(url)
    for number in range(sys.maxsize):
        with database.transaction() as tx:
            tx.execute("INSERT INTO note (text) VALUES (?)", (str(number),))
            tx.execute("INSERT INTO twin (text) VALUES (?)", (str(number),))
        if not number:
            print("writing", flush=True)  # noqa: T201  # what the test waits for


def hold_transaction(url: str) -> None:
    """Write, but never commit."""
    with open_database(url).transaction() as tx:
        tx.execute("INSERT INTO note (text) VALUES (?)", ("half",))
        print("inside", flush=True)  # noqa: T201  # what the test waits for
        sys.stdin.readline()


def append_events(index: int, url: str, times: int, seed: int) -> None:
    """Append events, each transaction open for a random moment."""
    chance = random.Random(f"{seed}/{index}")
    database = open_database(url)
    ledger = Ledger(database)
    for number in range(times):
        with database.transaction() as tx:
            ledger.append(tx, "test", f"{index}/{number}")
            time.sleep(chance.random() * 0.002)
        time.sleep(chance.random() * 0.002)
    database.close()


def put_same(_index: int, url: str, source: str) -> None:
    """Put the same file as everybody else."""
    blobs = open_blobs(url)
    digest = blobs.put(Path(source))
    assert blob_digest(blobs.read(digest)) == digest


def put_large(url: str, size_bytes: int) -> None:
    """Put one large blob after the other, until killed."""
    blobs = open_blobs(url)
    for number in range(sys.maxsize):
        blobs.put(str(number).encode() * (size_bytes // len(str(number))))
        if not number:
            print("writing", flush=True)  # noqa: T201  # what the test waits for


def work_under_lease(url: str, name: str, ttl_s: float) -> None:
    """Claim a lease, wait to be told, then commit under it."""
    database = open_database(url)
    leases = Leases(database)
    lease = leases.claim(name, process_owner(), ttl_s)
    print(lease.token, flush=True)  # noqa: T201  # what the test waits for
    sys.stdin.readline()
    try:
        with database.transaction() as tx:
            tx.execute("INSERT INTO note (text) VALUES (?)", ("late",))
            leases.check(tx, lease)
        print("committed", flush=True)  # noqa: T201  # what the test waits for
    except LeaseLostError:
        print("refused", flush=True)  # noqa: T201  # what the test waits for

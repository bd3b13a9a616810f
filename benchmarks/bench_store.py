"""What the doors to state cost: a write transaction, a read, a blob put and read, on local files.

Each is printed in microseconds and as a ratio to a floor measured in the same run: bare `sqlite3`, bare system calls.
`--small` runs it once, briefly.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import sys
import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path

from mainspring.store import open_blobs, open_database

INSERT = "INSERT INTO note (text) VALUES (?)"
TABLE = "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)"
numbers = itertools.count()


def best_us(call: Callable[[], object], count: int) -> float:
    """The best of five rounds, in microseconds a call."""
    return min(timeit.repeat(call, number=count, repeat=5)) / count * 1e6


def bare_database(folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """A transaction of one insert, and a read, by sqlite3 alone."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(TABLE)

    def write() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(INSERT, ("text",))
        connection.execute("COMMIT")

    return write, lambda: connection.execute("SELECT text FROM note WHERE id = ?", (1,)).fetchall()


def our_database(folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """The same through the door."""
    database = open_database(f"sqlite://{folder}/ours.db")
    database.migrate("bench", [TABLE])

    def write() -> None:
        with database.transaction() as tx:
            tx.execute(INSERT, ("text",))

    return write, lambda: database.query("SELECT text FROM note WHERE id = ?", (1,))


def bare_put(folder: Path) -> Callable[[], object]:
    """Write a small file under a temporary name and rename it into one of 256 folders."""
    for number in range(256):
        (folder / f"{number:02x}").mkdir(parents=True)

    def put() -> None:
        number = next(numbers)
        name = f"{folder}/new-{number}"
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        os.write(handle, b"%d" % number)
        os.close(handle)
        os.rename(name, f"{folder}/{number % 256:02x}/{number}")

    return put


def bare_read(path: str) -> Callable[[], object]:
    """Open, read and close a small file."""

    def read() -> bytes:
        handle = os.open(path, os.O_RDONLY)
        data = os.read(handle, 4096)
        os.close(handle)
        return data

    return read


def main() -> None:
    """Print the costs."""
    count = 20 if "--small" in sys.argv else 3_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        floor_write, floor_select = bare_database(folder)
        write, select = our_database(folder)
        blobs = open_blobs(f"file://{folder}/blobs")
        for number in range(0 if "--small" in sys.argv else 2_000):  # makes the 256 folders
            blobs.put(b"warm %d" % number)
        kept = blobs.put(b"kept")
        rows: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "transaction of one insert": (write, floor_write),
            "read of one row": (select, floor_select),
            "put of a small new blob": (lambda: blobs.put(b"blob %d" % next(numbers)), bare_put(folder / "bare")),
            "put of a blob that is there": (lambda: blobs.put(b"kept"), lambda: os.utime(blobs.path(kept))),
            "read of a small blob": (lambda: blobs.read(kept), bare_read(str(blobs.path(kept)))),
        }
        for label, (ours, floor) in rows.items():
            floor_us = best_us(floor, count)
            ours_us = best_us(ours, count)
            print(f"{label:30} {ours_us:8.1f} us   {ours_us / floor_us:6.2f} x floor")


if __name__ == "__main__":
    main()

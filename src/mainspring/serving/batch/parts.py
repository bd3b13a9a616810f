"""Parts of batch predictions, kept by what they were made of, so that a job that was killed goes on where it was.

A part is the answers to some rows. Its key is over the job (model, runtime, where features come from, what is kept) and the
content of the rows, so what is found under it is right whoever made it, and a dataset that grew needs only its new rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import msgspec

from mainspring import clock
from mainspring.errors import NotFoundError
from mainspring.store import BlobStore, Database

MIGRATIONS = [
    """
    CREATE TABLE batch_part (
        job TEXT NOT NULL, content TEXT NOT NULL, rows INTEGER NOT NULL, answered TEXT NOT NULL, apart TEXT,
        used_at INTEGER NOT NULL, PRIMARY KEY (job, content)
    );
    CREATE TABLE batch_begun (job TEXT PRIMARY KEY, at INTEGER NOT NULL)
    """,
]
_KEPT = timedelta(days=30)
_MOST_SIZES = 8


class Part(msgspec.Struct, frozen=True):
    """Answers to so many rows, and the rows that were set apart, as blobs of Parquet."""

    rows: int
    answered: str
    apart: str | None = None


class PartStore:
    """The parts of one job."""

    def __init__(self, database: Database, blobs: BlobStore, job: str) -> None:
        self.database, self.blobs, self.job = database, blobs, job
        database.migrate("batch", MIGRATIONS)

    def find(self, content: str) -> Part | None:
        """The part that was made of these rows, if its blobs are still there."""
        row = self.database.query_one(
            "SELECT rows, answered, apart FROM batch_part WHERE job = ? AND content = ?", (self.job, content)
        )
        if row is None:
            return None
        part = msgspec.convert(dict(zip(Part.__struct_fields__, row, strict=True)), Part)
        if not all(self.blobs.exists(blob) for blob in (part.answered, part.apart) if blob):
            return None
        with self.database.transaction() as tx:
            tx.execute(
                "UPDATE batch_part SET used_at = ? WHERE job = ? AND content = ?", (clock.now_us(), self.job, content)
            )
        return part

    def sizes(self, below: int) -> list[int]:
        """The numbers of rows of parts that are smaller than that, the one used last first."""
        rows = self.database.query(
            "SELECT rows, MAX(used_at) FROM batch_part WHERE job = ? AND rows < ? GROUP BY rows"
            " ORDER BY MAX(used_at) DESC, rows DESC LIMIT ?",
            (self.job, below, _MOST_SIZES),
        )
        return [int(rows) for rows, _ in rows]

    def put(self, content: str, part: Part) -> None:
        """Keep a part; its blobs are there."""
        with self.database.transaction() as tx:
            tx.execute("DELETE FROM batch_part WHERE job = ? AND content = ?", (self.job, content))
            named = msgspec.to_builtins(part)
            tx.insert("batch_part", {"job": self.job, "content": content, "used_at": clock.now_us(), **named})


def begun_at(database: Database, job: str) -> int:
    """The instant of a job whose features are read as of now: that of an unfinished one, or this one."""
    database.migrate("batch", MIGRATIONS)
    with database.transaction() as tx:
        tx.execute("INSERT INTO batch_begun VALUES (?, ?) ON CONFLICT (job) DO NOTHING", (job, clock.now_us()))
        row = tx.query_one("SELECT at FROM batch_begun WHERE job = ?", (job,))
    if row is None:
        raise NotFoundError("batch job", job)
    return int(str(row[0]))


def gc_roots(database: Database) -> Iterable[str]:
    """The blobs of parts that were used in the last thirty days."""
    database.migrate("batch", MIGRATIONS)
    since = clock.now_us() - _KEPT // timedelta(microseconds=1)
    for answered, apart in database.query("SELECT answered, apart FROM batch_part WHERE used_at >= ?", (since,)):
        yield str(answered)
        if apart:
            yield str(apart)

"""The manifest of compacted labels, and how far the datasets were taken that labels come from."""

from __future__ import annotations

from collections.abc import Iterable

from mainspring.serving.parts import Part, PartStore
from mainspring.store import Database, Transaction

MIGRATIONS = [
    """
    CREATE TABLE feedback_part (
        id TEXT PRIMARY KEY, endpoint TEXT NOT NULL, row_count INTEGER NOT NULL, first_known_at INTEGER NOT NULL,
        segment TEXT NOT NULL, blob TEXT NOT NULL, created_at INTEGER NOT NULL
    )
    """,
    "CREATE INDEX feedback_part_by_endpoint ON feedback_part (endpoint)",
    "CREATE INDEX feedback_part_by_segment ON feedback_part (segment)",
    """
    CREATE TABLE feedback_dataset (
        endpoint TEXT NOT NULL, dataset TEXT NOT NULL, columns TEXT NOT NULL, version TEXT NOT NULL,
        taken_at INTEGER NOT NULL, PRIMARY KEY (endpoint, dataset, columns)
    )
    """,
]


class FeedbackPart(Part, frozen=True, kw_only=True):
    """A Parquet blob of labels of one endpoint, the first of which was known at an instant."""

    first_known_at: int


class FeedbackParts(PartStore[FeedbackPart]):
    """The parts of a workspace."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, FeedbackPart, "feedback_part", "feedback", MIGRATIONS)

    def of(self, endpoint: str) -> list[FeedbackPart]:
        """The parts of an endpoint."""
        return self.where("endpoint = ?", (endpoint,))

    def taken(self, endpoint: str, dataset: str, columns: str) -> str | None:
        """The version of a dataset up to which its labels are here, by the same columns; None if none is."""
        where = "endpoint = ? AND dataset = ? AND columns = ?"
        sql = f"SELECT version FROM feedback_dataset WHERE {where}"
        row = self.database.query_one(sql, (endpoint, dataset, columns))
        return None if row is None else str(row[0])

    def take(self, tx: Transaction, endpoint: str, dataset: str, columns: str, version: str, at_us: int) -> None:
        """Note up to which version a dataset's labels are here."""
        tx.execute(
            "DELETE FROM feedback_dataset WHERE endpoint = ? AND dataset = ? AND columns = ?",
            (endpoint, dataset, columns),
        )
        tx.execute(
            "INSERT INTO feedback_dataset (endpoint, dataset, columns, version, taken_at) VALUES (?, ?, ?, ?, ?)",
            (endpoint, dataset, columns, version, at_us),
        )


def gc_roots(database: Database) -> Iterable[str]:
    """The parts of labels."""
    return FeedbackParts(database).blobs()

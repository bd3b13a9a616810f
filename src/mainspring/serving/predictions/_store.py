"""The manifest of compacted predictions: which ids of which writer are in which Parquet part."""

from __future__ import annotations

from collections.abc import Iterable

from mainspring.serving.parts import Part, PartStore
from mainspring.store import Database

MIGRATIONS = [
    """
    CREATE TABLE prediction_part (
        id TEXT PRIMARY KEY, endpoint TEXT NOT NULL, version TEXT NOT NULL, writer TEXT NOT NULL, first_id TEXT NOT NULL,
        last_id TEXT NOT NULL, row_count INTEGER NOT NULL, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL,
        segment TEXT NOT NULL, blob TEXT NOT NULL, created_at INTEGER NOT NULL
    )
    """,
    "CREATE INDEX prediction_part_by_id ON prediction_part (writer, first_id)",
    "CREATE INDEX prediction_part_by_time ON prediction_part (endpoint, last_at)",
    "CREATE INDEX prediction_part_by_segment ON prediction_part (segment)",
]


class PredictionPart(Part, frozen=True, kw_only=True):
    """A Parquet blob of one version's predictions from one segment: rows between two ids of its writer, and two instants."""

    version: str
    writer: str
    first_id: str
    last_id: str
    first_at: int
    last_at: int


class PredictionParts(PartStore[PredictionPart]):
    """The parts of a workspace."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, PredictionPart, "prediction_part", "predictions", MIGRATIONS)

    def holding(self, writer: str, prediction_id: str) -> list[PredictionPart]:
        """The parts that may hold an id."""
        return self.where("writer = ? AND first_id <= ? AND last_id >= ?", (writer, prediction_id, prediction_id))

    def by(self, writer: str) -> list[PredictionPart]:
        """The parts of a writer."""
        return self.where("writer = ?", (writer,))

    def of(self, endpoint: str, since_us: int, until_us: int) -> list[PredictionPart]:
        """The parts of an endpoint with predictions in a span, the end not in it."""
        return self.where("endpoint = ? AND last_at >= ? AND first_at < ?", (endpoint, since_us, until_us))


def gc_roots(database: Database) -> Iterable[str]:
    """The parts of predictions."""
    return PredictionParts(database).blobs()

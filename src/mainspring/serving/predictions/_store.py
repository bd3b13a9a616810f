"""The manifest of compacted predictions: which ids of which writer are in which Parquet part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from mainspring.store import Database, Transaction

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


class PredictionPart(msgspec.Struct, frozen=True):
    """A Parquet blob of one version's predictions from one segment: rows between two ids of its writer, and two instants."""

    id: str
    endpoint: str
    version: str
    writer: str
    first_id: str
    last_id: str
    row_count: int
    first_at: int
    last_at: int
    segment: str
    blob: str
    created_at: int


_COLUMNS = ", ".join(PredictionPart.__struct_fields__)


class PartStore:
    """The parts of a workspace."""

    def __init__(self, database: Database) -> None:
        self.database = database
        database.migrate("predictions", MIGRATIONS)

    def put(self, tx: Transaction, part: PredictionPart) -> None:
        """Add a part."""
        tx.insert("prediction_part", msgspec.to_builtins(part))

    def holding(self, writer: str, prediction_id: str) -> list[PredictionPart]:
        """The parts that may hold an id."""
        where = "writer = ? AND first_id <= ? AND last_id >= ?"
        return self._parts(where, (writer, prediction_id, prediction_id))

    def of(self, endpoint: str, since_us: int, until_us: int) -> list[PredictionPart]:
        """The parts of an endpoint with predictions in a span, the end not in it."""
        return self._parts("endpoint = ? AND last_at >= ? AND first_at < ?", (endpoint, since_us, until_us))

    def is_compacted(self, segment: str) -> bool:
        """Whether the records of a segment are in parts."""
        row = self.database.query_one("SELECT 1 FROM prediction_part WHERE segment = ? LIMIT 1", (segment,))
        return row is not None

    def _parts(self, where: str, values: Sequence[str | int]) -> list[PredictionPart]:
        rows = self.database.query(f"SELECT {_COLUMNS} FROM prediction_part WHERE {where} ORDER BY id", tuple(values))
        return [
            msgspec.convert(row, PredictionPart)
            for row in (dict(zip(PredictionPart.__struct_fields__, r, strict=True)) for r in rows)
        ]


def gc_roots(database: Database) -> Iterable[str]:
    """The parts of predictions."""
    database.migrate("predictions", MIGRATIONS)
    for (blob,) in database.query("SELECT blob FROM prediction_part"):
        yield blob

"""What an import keeps of each record: what it came as, so that an export says the same, and what it was made of, so that a
second import knows what is here. A digest of nothing marks a record whose import was begun.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from mainspring.server.migration.records import Stored
from mainspring.store import Database, Transaction
from mainspring.store.blobs import blob_digest

MIGRATIONS = [
    """
    CREATE TABLE mlflow_import (
        kind TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL, said TEXT NOT NULL, PRIMARY KEY (kind, id)
    )
    """,
]
Record = TypeVar("Record", bound=Stored)


class Marks:
    """The marks of a workspace, by the kind of a record and its id there."""

    def __init__(self, database: Database) -> None:
        self.database = database
        database.migrate("migration", MIGRATIONS)

    def digest(self, record: Stored, *also: object) -> str:
        """What a record and what goes with it are known by."""
        return blob_digest(msgspec.json.encode((record, also)))

    def of(self, kind: type[Record], record_id: str) -> str | None:
        """The digest of a record that was imported before; None if it was not."""
        row = self.database.query_one(
            "SELECT digest FROM mlflow_import WHERE kind = ? AND id = ?", (kind.TABLE, record_id)
        )
        return row[0] if row else None

    def said(self, kind: type[Record], record_id: str) -> Record | None:
        """What a record came as; None if it was not imported."""
        row = self.database.query_one(
            "SELECT said FROM mlflow_import WHERE kind = ? AND id = ?", (kind.TABLE, record_id)
        )
        return msgspec.json.decode(row[0], type=kind) if row else None

    def keep(self, tx: Transaction, record_id: str, record: Stored, digest: str = "") -> None:
        """Mark a record as imported."""
        tx.execute(
            "INSERT INTO mlflow_import VALUES (?, ?, ?, ?) ON CONFLICT (kind, id) DO UPDATE"
            " SET digest = excluded.digest, said = excluded.said",
            (record.TABLE, record_id, digest, msgspec.json.encode(record).decode()),
        )

"""The table of artifacts: each row a typed value that one task made, or that a pipeline was given.

A row stays; one whose value is kept no longer says since when, and its blobs are collected.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mainspring import clock
from mainspring.artifacts.brought import brought_by
from mainspring.artifacts.codec import Encoded, Preview, meaning_digest
from mainspring.errors import NotFoundError
from mainspring.ledger import Ledger, new_id
from mainspring.store import Database, Transaction, batches

MIGRATIONS = [
    """
    CREATE TABLE artifact (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, content_digest TEXT NOT NULL, encoded TEXT NOT NULL,
        preview TEXT NOT NULL, removed_at INTEGER
    );
    CREATE INDEX artifact_by_content ON artifact (content_digest)
    """,
]


class Artifact(msgspec.Struct, frozen=True):
    """A value as it is kept: what it means (content digest), where its bytes are, how it looks.

    `refers` is the ledger node that the value stands for, if it stands for one (a dataset version, say).
    """

    id: str
    name: str
    content_digest: str
    encoded: Encoded
    preview: Preview
    refers: str | None = None


class ArtifactStore:
    """Artifacts of a workspace."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self.database = database
        self.ledger = ledger
        database.migrate("artifacts", MIGRATIONS)

    @staticmethod
    def describe(name: str, saved: tuple[str, Encoded, Preview], value: object) -> Artifact:
        """The record of a value that was just saved; nothing is written.

        A value with a `ledger_id` stands for a record of the ledger; with a `content_digest` too, it means that content.
        """
        digest, encoded, preview = saved
        brings = tuple(sorted({*encoded.brings, *brought_by(value)}))
        if brings:
            encoded = msgspec.structs.replace(encoded, brings=brings)
        refers = getattr(value, "ledger_id", None)
        if not isinstance(refers, str):
            return Artifact(new_id(), name, digest, encoded, preview)
        return Artifact(new_id(), name, _stand_in_digest(value) or digest, encoded, preview, refers)

    def add(self, tx: Transaction, artifact: Artifact, *, by_task: str | None, role: str = "made_by") -> None:
        """Record an artifact with its node and where it came from; `role` says what it is of the task that made it.

        Its blobs are there already.
        """
        tx.execute(
            "INSERT INTO artifact VALUES (?, ?, ?, ?, ?, NULL)",
            (
                artifact.id,
                artifact.name,
                artifact.content_digest,
                msgspec.json.encode(artifact.encoded).decode(),
                msgspec.json.encode(artifact.preview).decode(),
            ),
        )
        self.ledger.node(tx, "artifact", artifact.id, artifact.name, artifact.content_digest)
        if by_task:
            self.ledger.edge(tx, artifact.id, role, by_task, by_task)
        if artifact.refers:
            self.ledger.edge(tx, artifact.id, "is", artifact.refers, by_task)

    def remove(self, tx: Transaction, ids: Iterable[str]) -> None:
        """Keep the values of some no longer: their records and nodes stay, their blobs are collected."""
        now = clock.now_us()
        for batch, marks in batches(ids):
            tx.execute(
                f"UPDATE artifact SET removed_at = ? WHERE id IN ({marks}) AND removed_at IS NULL", [now, *batch]
            )

    def removed(self, ids: Iterable[str]) -> dict[str, int]:
        """When the values of those among these ids that are kept no longer were removed, in microseconds since 1970."""
        found: dict[str, int] = {}
        for batch, marks in batches(ids):
            sql = f"SELECT id, removed_at FROM artifact WHERE id IN ({marks}) AND removed_at IS NOT NULL"
            found.update(self.database.query(sql, batch))
        return found

    def get(self, artifact_id: str) -> Artifact:
        """An artifact by its id; raises `NotFoundError`."""
        found = self.get_many([artifact_id])
        if not found:
            raise NotFoundError("artifact", artifact_id)
        return found[artifact_id]

    def get_many(self, ids: Iterable[str]) -> dict[str, Artifact]:
        """The artifacts among these ids, by id."""
        found = {}
        for batch, marks in batches(ids):
            for row in self.database.query(
                f"SELECT id, name, content_digest, encoded, preview FROM artifact WHERE id IN ({marks})", batch
            ):
                encoded = msgspec.json.decode(row[3], type=Encoded)
                found[row[0]] = Artifact(row[0], row[1], row[2], encoded, msgspec.json.decode(row[4], type=Preview))
        return found

    def holding(self, blob_prefix: str) -> list[str]:
        """The ids of the artifacts whose blob's digest begins so, newest first."""
        rows = self.database.query(
            "SELECT id FROM artifact WHERE encoded LIKE ? AND removed_at IS NULL ORDER BY id DESC",
            (f'%"blob":"{blob_prefix}%',),
        )
        return [row[0] for row in rows]


def _stand_in_digest(value: object) -> str | None:
    """The content digest of a record that stands for content: its kind, name and content, not when it was recorded."""
    content = getattr(value, "content_digest", None)
    if not isinstance(content, str):
        return None
    name = getattr(value, "dataset", None) or getattr(value, "name", None) or ""
    return meaning_digest("stand-in", 1, type(value).__qualname__, str(name), content)


def gc_roots(database: Database) -> Iterable[str]:
    """The blobs of the artifacts whose values are kept."""
    database.migrate("artifacts", MIGRATIONS)
    for (text,) in database.query("SELECT encoded FROM artifact WHERE removed_at IS NULL"):
        encoded = msgspec.json.decode(text, type=Encoded)
        yield encoded.blob
        yield from encoded.blobs

"""The table of feature definitions. Every version is a row, its node, its edges and its event in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from mainspring import clock
from mainspring.data import DatasetVersion
from mainspring.errors import InvalidError, NotFoundError, WrongTypeError, close_names
from mainspring.features.definitions.records import (
    Definition,
    Kind,
    OnDemandRecord,
    Python,
    Record,
    ServiceRecord,
    ViewRecord,
)
from mainspring.ledger import Ledger, current_actor
from mainspring.store import Database, Transaction

MIGRATIONS = [
    """
    CREATE TABLE feature_definition (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL,
        content_digest TEXT NOT NULL, record TEXT NOT NULL, created_at INTEGER NOT NULL, actor TEXT NOT NULL,
        retired_at INTEGER, UNIQUE (kind, name, number)
    );
    CREATE TABLE feature_statistics (
        view TEXT NOT NULL, source TEXT NOT NULL, statistics TEXT NOT NULL, PRIMARY KEY (view, source)
    )
    """,
]
_COLUMNS = "id, number, content_digest, record, created_at, actor, retired_at"
_NODES: dict[Kind, str] = {"view": "feature_view", "on_demand": "on_demand_view", "service": "feature_service"}
_SHORTEST_PREFIX = 6


class DefinitionStore:
    """Feature views, on-demand views and services of a workspace, with their versions."""

    def __init__(self, database: Database, ledger: Ledger | None = None) -> None:
        self.database = database
        self.ledger = ledger or Ledger(database)
        database.migrate("features", MIGRATIONS)

    def heads(self, tx: Transaction | None = None) -> dict[tuple[Kind, str], Definition]:
        """The newest version of everything, what is retired included, by kind and name."""
        query = tx.query if tx is not None else self.database.query
        rows = query(f"SELECT {_COLUMNS} FROM feature_definition ORDER BY number")
        return {(found.kind, found.name): found for found in map(_definition, rows)}

    def state(self) -> tuple[int, int]:
        """What differs when anything got a new version, was retired or came back."""
        ((count, retired),) = self.database.query("SELECT COUNT(*), SUM(retired_at) FROM feature_definition")
        return int(count), int(retired or 0)

    def versions(self, kind: Kind, name: str) -> list[Definition]:
        """Every version, newest first; none if there is nothing of this name."""
        return self._found("kind = ? AND name = ? ORDER BY number DESC", (kind, name))

    def find(self, kind: Kind, reference: str) -> Definition | None:
        """A version by `name` (its newest, also if it is retired), `name/N` or id; None if there is none."""
        _expect_reference(kind, reference)
        name, slash, number = reference.partition("/")
        if not slash:
            found = self._found("kind = ? AND (name = ? OR id = ?) ORDER BY number DESC LIMIT 1", (kind, name, name))
        else:
            at = int(number) if number.isdecimal() else -1
            found = self._found("kind = ? AND name = ? AND number = ?", (kind, name, at))
        return found[0] if found else None

    def get(self, kind: Kind, reference: str) -> Definition:
        """A version by `name` (its newest), `name/N` or id.

        Raises:
            NotFoundError: there is none, the nearest names are given; or the name is retired.
            InvalidError: there are no definitions of that kind.
        """
        if kind not in _NODES:
            raise InvalidError("kind", kind, f"one of {', '.join(_NODES)}")
        return self.get_any((kind,), reference, _NODES[kind].replace("_", " "))

    def get_any(self, kinds: Sequence[Kind], reference: str, what: str) -> Definition:
        """A version of the first of these kinds that has one. Raises as `get`; `what` says there what it was to be."""
        hint = ""
        _expect_reference(what, reference)
        for kind in kinds:
            found = self.find(kind, reference)
            if found is not None and (found.retired_at is None or found.name != reference):
                return found
            hint = hint if found is None else f"It is retired; its last version is `{found}`."
        known = [name for (of, name), head in self.heads().items() if of in kinds and head.retired_at is None]
        raise NotFoundError(what, reference, () if hint else close_names(reference.partition("/")[0], known), hint)

    def by_id(self, ids: Iterable[str]) -> dict[str, Definition]:
        """Versions by their ids."""
        wanted = sorted(set(ids))
        marks = ", ".join("?" * len(wanted))
        return {each.id: each for each in self._found(f"id IN ({marks})", wanted)} if wanted else {}

    def add(self, tx: Transaction, definition: Definition) -> None:
        """Record a version with what it stands on."""
        record = definition.record
        tx.insert(
            "feature_definition",
            {
                "id": definition.id, "kind": definition.kind, "name": definition.name, "number": definition.number,
                "content_digest": definition.content_digest, "record": msgspec.json.encode(record).decode(),
                "created_at": definition.created_at, "actor": definition.actor, "retired_at": None,
            },
        )  # fmt: skip
        self.ledger.node(tx, _NODES[definition.kind], definition.id, str(definition), definition.content_digest)
        for part in parts_of(record):
            self.ledger.edge(tx, definition.id, "uses", part)
        told = {"kind": definition.kind, "name": definition.name, "number": definition.number}
        self.ledger.append(tx, "features.applied", definition.id, told)

    def describe(self, tx: Transaction, before: Definition, record: Record) -> None:
        """Say something else of a version, which changes no value."""
        tx.execute(
            "UPDATE feature_definition SET record = ?, retired_at = NULL WHERE id = ?",
            (msgspec.json.encode(record).decode(), before.id),
        )
        self.ledger.append(tx, "features.described", before.id, {"kind": before.kind, "name": before.name})

    def retire(self, tx: Transaction, before: Definition) -> None:
        """Take a name out of use for what is new; its versions stay for the models that use them."""
        tx.execute("UPDATE feature_definition SET retired_at = ? WHERE id = ?", (clock.now_us(), before.id))
        self.ledger.append(tx, "features.retired", before.id, {"kind": before.kind, "name": before.name})

    def note_materialized(self, view: Definition, source: DatasetVersion, stored: int) -> None:
        """Record that so many entities (or tiles) of a view got values of a version of its source in the online store."""
        with self.database.transaction() as tx:
            told = {"view": str(view), "source": str(source), "stored": stored}
            self.ledger.append(tx, "features.materialized", view.id, told)
            self.ledger.edge(tx, view.id, "materialized_from", source.id)

    def statistics(self, view: Definition, source: DatasetVersion) -> str | None:
        """What was kept of a view's values over a content of its source."""
        row = self.database.query_one(
            "SELECT statistics FROM feature_statistics WHERE view = ? AND source = ?",
            (view.content_digest, source.content_digest),
        )
        return None if row is None else str(row[0])

    def keep_statistics(self, view: Definition, source: DatasetVersion, text: str) -> None:
        """Keep what a view's values are over a content of its source."""
        with self.database.transaction() as tx:
            tx.execute(
                "INSERT INTO feature_statistics VALUES (?, ?, ?) ON CONFLICT (view, source) DO UPDATE SET"
                " statistics = excluded.statistics",
                (view.content_digest, source.content_digest, text),
            )

    def _found(self, where: str, params: Sequence[str | int]) -> list[Definition]:
        rows = self.database.query(f"SELECT {_COLUMNS} FROM feature_definition WHERE {where}", params)
        return [_definition(row) for row in rows]


def _expect_reference(what: str, given: object) -> None:
    if not isinstance(given, str):
        raise WrongTypeError(what, given, "a name, `name/N` or an id, or a version of it")


def new_definition(definition_id: str, before: Definition | None, record: Record, digest: str) -> Definition:
    """The next version of what a record defines."""
    return Definition(
        id=definition_id, number=before.number + 1 if before else 1, content_digest=digest, record=record,
        created_at=clock.now_us(), actor=str(current_actor()),
    )  # fmt: skip


def parts_of(record: Record) -> list[str]:
    """The ids of the versions that a record stands on."""
    if isinstance(record, ServiceRecord):
        return [part.version for part in (*record.parts, *record.on_demand)]
    return [part.version for part in record.inputs] if isinstance(record, OnDemandRecord) else []


def _definition(row: tuple[object, ...]) -> Definition:
    number, digest, record, created_at, actor, retired_at = row[1:]
    return msgspec.convert(
        {
            "id": row[0], "number": number, "content_digest": digest, "record": msgspec.json.decode(str(record)),
            "created_at": created_at, "actor": actor, "retired_at": retired_at,
        },
        Definition,
    )  # fmt: skip


def gc_roots(database: Database) -> Iterable[str]:
    """The code that definitions name."""
    database.migrate("features", MIGRATIONS)
    for (text,) in database.query("SELECT record FROM feature_definition"):
        record = msgspec.json.decode(str(text), type=ViewRecord | OnDemandRecord | ServiceRecord)
        transform = None if isinstance(record, ServiceRecord) else record.transform
        if isinstance(transform, Python):
            yield from transform.blobs

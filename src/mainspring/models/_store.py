"""The tables of the registry. Every change is a row, its edges and its event in one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from mainspring import clock
from mainspring.artifacts import Encoded
from mainspring.errors import NotAllowedError, NotFoundError, close_names
from mainspring.ledger import Ledger, current_actor, current_task, new_id
from mainspring.models.version import Alias, AliasMove, ModelVersion, stored, version_from_row
from mainspring.secrets import redact
from mainspring.store import Database, Transaction

MIGRATIONS = [
    """
    CREATE TABLE model (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL);
    CREATE TABLE model_version (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, number INTEGER NOT NULL, content_digest TEXT NOT NULL,
        encoded TEXT NOT NULL, signature TEXT NOT NULL, input_kind TEXT NOT NULL, input_example TEXT,
        metrics TEXT NOT NULL, evaluation TEXT NOT NULL, gates TEXT NOT NULL, features TEXT,
        created_at INTEGER NOT NULL, actor TEXT NOT NULL, note TEXT NOT NULL, UNIQUE (name, number)
    );
    CREATE INDEX model_version_by_content ON model_version (name, content_digest);
    CREATE TABLE model_alias (
        model TEXT NOT NULL, alias TEXT NOT NULL, version TEXT NOT NULL, bound_by TEXT, moved_at INTEGER NOT NULL,
        PRIMARY KEY (model, alias)
    )
    """,
]
_COLUMNS = ", ".join(ModelVersion.__struct_fields__)
_MOST_MOVES = 10_000
_ALIAS = (
    "SELECT a.model, a.alias, a.version, v.number, a.bound_by, a.moved_at"
    " FROM model_alias a JOIN model_version v ON v.id = a.version"
)


_SAME = "name = ? AND content_digest = ? AND signature = ? AND input_kind = ? AND COALESCE(features, '') = ?"


def _same_as(version: ModelVersion) -> tuple[str, str, str, str, str]:
    """What makes a version the same as another: name, content, and what it takes and gives. For `_SAME`."""
    row = stored(version)
    return version.name, version.content_digest, row["signature"], row["input_kind"], version.features or ""


class ModelStore:
    """Models, versions and aliases of a workspace."""

    def __init__(self, database: Database, ledger: Ledger | None = None) -> None:
        self.database = database
        self.ledger = ledger or Ledger(database)
        database.migrate("models", MIGRATIONS)

    def names(self) -> list[str]:
        """The names of all models, sorted."""
        return sorted(name for (name,) in self.database.query("SELECT name FROM model"))

    def versions(self, name: str) -> list[ModelVersion]:
        """Every version, newest first; raises `NotFoundError` if there is no such model."""
        found = self._versions("name = ? ORDER BY number DESC", (name,))
        if not found:
            raise NotFoundError("model", name, close_names(name, self.names()))
        return found

    def find(self, where: str, params: Any) -> ModelVersion | None:
        """The first version that a condition on the table fits, newest first, or None."""
        found = self._versions(f"{where} ORDER BY number DESC LIMIT 1", params)
        return found[0] if found else None

    def aliases(self, name: str) -> list[Alias]:
        """The aliases of a model, by name."""
        return [Alias(*row) for row in self.database.query(f"{_ALIAS} WHERE a.model = ? ORDER BY a.alias", (name,))]

    def alias(self, name: str, alias: str) -> Alias | None:
        """An alias, or None."""
        row = self.database.query_one(f"{_ALIAS} WHERE a.model = ? AND a.alias = ?", (name, alias))
        return None if row is None else Alias(*row)

    def add(self, version: ModelVersion, trained_on: Iterable[str]) -> ModelVersion:
        """Record a version with its number, unless the model has one of this content, signature and evidence."""
        task = current_task()
        with self.database.transaction() as tx:
            rows = tx.query(
                f"SELECT {_COLUMNS} FROM model_version WHERE {_SAME} ORDER BY number DESC", _same_as(version)
            )
            given = _evidence(version)
            known = next((each for each in map(version_from_row, rows) if given in (_NONE, _evidence(each))), None)
            if known is not None:
                if task:
                    self.ledger.edge(tx, task, "reused", known.id, task)
                return known
            version = self._numbered(tx, version)
            tx.insert("model_version", stored(version))
            self.ledger.node(tx, "model_version", version.id, str(version), version.content_digest)
            for source in trained_on:
                self.ledger.edge(tx, version.id, "trained_on", source, task)
            if version.features:
                self.ledger.edge(tx, version.id, "uses", version.features, task)
            if task:
                self.ledger.edge(tx, version.id, "made_by", task, task)
            told = {"model": version.name, "number": version.number, "metrics": version.metrics}
            self.ledger.append(tx, "model.registered", version.id, told)
        return version

    def recorded(self, version: ModelVersion, task: str) -> ModelVersion | None:
        """The version that a task made or found by registering this, or None if what it registered has other content.

        If none of the model's versions was recorded as the task's, any counts. Of several it is one with the same evidence.
        """
        own = {edge.src for edge in self.ledger.edges([task], "down") if edge.role == "made_by"}
        own |= {edge.dst for edge in self.ledger.edges([task]) if edge.role == "reused"}
        named = self._versions("name = ? ORDER BY number DESC", (version.name,))
        counted = [each for each in named if each.id in own] or named
        same = [each for each in counted if _same_as(each) == _same_as(version)]
        given = _evidence(version)
        return next((each for each in same if given in (_NONE, _evidence(each))), same[0] if same else None)

    def move(
        self, tx: Transaction, version: ModelVersion, alias: str, *, by: str | None, bound_by: str | None, note: str
    ) -> None:
        """Point an alias at a version, with its event; one that an endpoint serves moves only `by` that endpoint.

        Raises:
            NotAllowedError: another endpoint, or nobody, asks to move a bound alias.
        """
        row = tx.query_one(f"{_ALIAS} WHERE a.model = ? AND a.alias = ?", (version.name, alias))
        before = Alias(*row) if row else None
        if before is not None and before.bound_by is not None and before.bound_by != by:
            raise NotAllowedError(
                f"The alias `{before}` is what the endpoint `{before.bound_by}` serves, so only that endpoint moves it:"
                f" mainspring endpoints bind {before.bound_by} --version {version}"
            )
        if before is not None and (before.version, before.bound_by) == (version.id, bound_by):
            return
        tx.execute(
            "INSERT INTO model_alias VALUES (?, ?, ?, ?, ?) ON CONFLICT (model, alias) DO UPDATE SET"
            " version = excluded.version, bound_by = excluded.bound_by, moved_at = excluded.moved_at",
            (version.name, alias, version.id, bound_by, clock.now_us()),
        )
        moved = {
            "from": before.number if before else None, "to": version.number, "bound_by": bound_by,
            "note": redact(note),
            "version": version.id,
        }  # fmt: skip
        self.ledger.append(tx, "alias.moved", f"{version.name}@{alias}", moved)

    def unbind(self, tx: Transaction, name: str, alias: str, *, by: str) -> None:
        """Free an alias that an endpoint serves no longer; it stays where it points."""
        changed = tx.execute(
            "UPDATE model_alias SET bound_by = NULL, moved_at = ? WHERE model = ? AND alias = ? AND bound_by = ?",
            (clock.now_us(), name, alias, by),
        )
        if changed:
            self.ledger.append(tx, "alias.unbound", f"{name}@{alias}", {"endpoint": by})

    def history(self, name: str, alias: str) -> list[AliasMove]:
        """Every move of an alias, newest first."""
        events = self.ledger.events(subject=f"{name}@{alias}", limit=_MOST_MOVES)
        return [
            AliasMove(
                event.at, event.actor, event.payload["from"], event.payload["to"], event.payload["bound_by"],
                event.payload["note"],
            )
            for event in reversed(events)
            if event.kind == "alias.moved"
        ]  # fmt: skip

    def feature_users(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """The versions that take features: the id of the service's version, the version, the endpoints that serve it."""
        served: dict[str, list[str]] = {}
        for version, endpoint in self.database.query(
            "SELECT version, bound_by FROM model_alias WHERE bound_by IS NOT NULL ORDER BY bound_by"
        ):
            served.setdefault(version, []).append(endpoint)
        rows = self.database.query(
            "SELECT features, name, number, id FROM model_version WHERE features IS NOT NULL ORDER BY name, number"
        )
        return [(features, f"{name}/{number}", tuple(served.get(key, ()))) for features, name, number, key in rows]

    def _numbered(self, tx: Transaction, version: ModelVersion) -> ModelVersion:
        now = clock.now_us()
        tx.execute("INSERT INTO model VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING", (new_id(), version.name, now))
        last = tx.query_one("SELECT MAX(number) FROM model_version WHERE name = ?", (version.name,))
        number = (last[0] or 0) + 1 if last else 1
        return msgspec.structs.replace(version, id=new_id(), number=number, created_at=now, actor=str(current_actor()))

    def _versions(self, where: str, params: Any) -> list[ModelVersion]:
        rows = self.database.query(f"SELECT {_COLUMNS} FROM model_version WHERE {where}", params)
        return [version_from_row(row) for row in rows]


def _evidence(version: ModelVersion) -> bytes:
    """What was measured of a version and decided on it, as it is stored."""
    return msgspec.json.encode((version.metrics, version.evaluation, version.gates), order="deterministic")


_NONE = msgspec.json.encode(({}, None, None))


def gc_roots(database: Database) -> Iterable[str]:
    """The blobs that model versions name."""
    database.migrate("models", MIGRATIONS)
    for text, example in database.query("SELECT encoded, input_example FROM model_version"):
        encoded = msgspec.json.decode(text, type=Encoded)
        yield encoded.blob
        yield from encoded.blobs
        if example:
            yield example

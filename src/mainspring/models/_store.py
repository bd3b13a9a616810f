"""The tables of the registry. Every change is a row, its edges and its event in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from mainspring import clock
from mainspring.artifacts import Encoded
from mainspring.errors import ExistsError, NotAllowedError, NotFoundError, RemovedError, close_names
from mainspring.ledger import Event, Ledger, current_actor, current_task, new_id
from mainspring.models import _rows
from mainspring.models.version import STAGES, Alias, ModelVersion, RegisteredModel, Stage
from mainspring.secrets import redact
from mainspring.store import Database, Transaction

MIGRATIONS = [
    """
    CREATE TABLE model (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL,
        created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, deleted_at INTEGER
    );
    CREATE UNIQUE INDEX model_by_name ON model (name) WHERE deleted_at IS NULL;
    CREATE TABLE model_version (
        id TEXT PRIMARY KEY, model TEXT NOT NULL, number INTEGER NOT NULL, content_digest TEXT NOT NULL,
        encoded TEXT NOT NULL, signature TEXT NOT NULL, input_kind TEXT NOT NULL, input_example TEXT,
        metrics TEXT NOT NULL, evaluation TEXT NOT NULL, gates TEXT NOT NULL, features TEXT,
        created_at INTEGER NOT NULL, actor TEXT NOT NULL, note TEXT NOT NULL,
        description TEXT NOT NULL, stage TEXT NOT NULL, run TEXT, source TEXT NOT NULL,
        files TEXT, refusal TEXT NOT NULL, licence TEXT NOT NULL, environment TEXT, needs TEXT NOT NULL,
        updated_at INTEGER NOT NULL, deleted_at INTEGER, UNIQUE (model, number)
    );
    CREATE INDEX model_version_by_content ON model_version (model, content_digest);
    CREATE INDEX model_version_by_run ON model_version (run);
    CREATE TABLE model_alias (
        model TEXT NOT NULL, alias TEXT NOT NULL, version TEXT NOT NULL, bound_by TEXT, moved_at INTEGER NOT NULL,
        PRIMARY KEY (model, alias)
    );
    CREATE TABLE model_card (
        version TEXT NOT NULL, section TEXT NOT NULL, text TEXT NOT NULL, written_at INTEGER NOT NULL,
        actor TEXT NOT NULL, PRIMARY KEY (version, section)
    );
    CREATE TABLE model_permission (version TEXT PRIMARY KEY, blob TEXT NOT NULL);
    CREATE TABLE model_said (
        owner TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (owner, kind, key)
    );
    CREATE TABLE logged_model (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, experiment INTEGER NOT NULL, run TEXT, type TEXT NOT NULL,
        status TEXT NOT NULL, message TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
        deleted_at INTEGER
    );
    CREATE INDEX logged_model_by_experiment ON logged_model (experiment, created_at, id);
    CREATE INDEX logged_model_by_run ON logged_model (run);
    CREATE TABLE logged_model_metric (
        model TEXT NOT NULL, key TEXT NOT NULL, dataset TEXT NOT NULL, dataset_digest TEXT NOT NULL, step INTEGER NOT NULL,
        run TEXT NOT NULL, at INTEGER NOT NULL, is_nan INTEGER NOT NULL, value REAL,
        PRIMARY KEY (model, key, dataset, dataset_digest, step, run)
    )
    """,
]
Also = Callable[[Transaction, ModelVersion], None]
MOST_MOVES = 10_000
_MODEL = f"SELECT {', '.join(_rows.columns(RegisteredModel))} FROM model"
_VERSION = (
    f"SELECT {', '.join('m.name' if name == 'name' else f'v.{name}' for name in _rows.columns(ModelVersion))}"
    " FROM model_version v JOIN model m ON m.id = v.model"
)
_ALIAS = (
    "SELECT m.name, a.alias, a.version, v.number, a.bound_by, a.moved_at FROM model_alias a"
    " JOIN model_version v ON v.id = a.version JOIN model m ON m.id = a.model"
)
_SAME = (
    "m.deleted_at IS NULL AND v.deleted_at IS NULL AND m.name = ? AND v.content_digest = ? AND v.signature = ?"
    " AND v.input_kind = ? AND COALESCE(v.features, '') = ?"
)


class ModelStore:
    """Models, versions and aliases of a workspace."""

    def __init__(self, database: Database, ledger: Ledger | None = None) -> None:
        self.database = database
        self.ledger = ledger or Ledger(database)
        database.migrate("models", MIGRATIONS)

    def names(self) -> list[str]:
        """The names of all models, sorted."""
        return [model.name for model in self.models()]

    def models(self) -> list[RegisteredModel]:
        """Every model, by name."""
        return self._models("deleted_at IS NULL ORDER BY name")

    def model(self, name: str) -> RegisteredModel:
        """A model; raises `NotFoundError` with the nearest names."""
        found = self._models("name = ? AND deleted_at IS NULL", (name,))
        if not found:
            raise NotFoundError("registered model", name, close_names(name, self.names()))
        return found[0]

    def create_model(
        self, tx: Transaction, name: str, description: str = "", tags: dict[str, str] | None = None
    ) -> RegisteredModel:
        """Record a model without versions.

        Raises:
            ExistsError: there is one of this name.
        """
        if tx.query_one("SELECT 1 FROM model WHERE name = ? AND deleted_at IS NULL", (name,)):
            raise ExistsError("model", name)
        now = clock.now_us()
        model = RegisteredModel(new_id(), name, description, tags or {}, now, now)
        _rows.insert(tx, "model", model)
        self.ledger.append(tx, "model.created", model.id, {"model": name})
        return model

    def change_model(self, tx: Transaction, model: RegisteredModel, event: str, **fields: Any) -> RegisteredModel:
        """Change what may change of a model, with its event; nothing is written if nothing changes."""
        return _rows.change(tx, self.ledger, "model", event, model, fields)

    def versions(self, name: str) -> list[ModelVersion]:
        """Every version that was not deleted, newest first; raises `NotFoundError` if there is no such model."""
        model = self.model(name)
        return self.select("v.model = ? AND v.deleted_at IS NULL ORDER BY v.number DESC", (model.id,))

    def select(self, where: str, params: Sequence[Any] = ()) -> list[ModelVersion]:
        """The versions that a condition fits, deleted ones too; `v` is the version and `m` its model."""
        return _rows.read(self.database, ModelVersion, f"{_VERSION} WHERE {where}", params)

    def models_of(self, ids: Sequence[str]) -> list[RegisteredModel]:
        """The models of these ids, in their order."""
        return _rows.by_ids(self.database, RegisteredModel, _MODEL, "id", ids)

    def versions_of(self, ids: Sequence[str]) -> list[ModelVersion]:
        """The versions of these ids, in their order."""
        return _rows.by_ids(self.database, ModelVersion, _VERSION, "v.id", ids)

    def find(self, where: str, params: Sequence[Any]) -> ModelVersion | None:
        """The first version that a condition fits, newest first, or None."""
        found = self.select(f"{where} ORDER BY v.number DESC LIMIT 1", params)
        return found[0] if found else None

    def version(self, version_id: str) -> ModelVersion:
        """A version by its id, as it is now.

        Raises:
            NotFoundError: no such version.
            RemovedError: it was deleted.
        """
        found = self.find("v.id = ?", (version_id,))
        if found is None:
            raise NotFoundError("model version", version_id)
        return there(found)

    def change_version(self, tx: Transaction, version: ModelVersion, event: str, **fields: Any) -> ModelVersion:
        """Change what may change of a version, with its event; nothing is written if nothing changes."""
        return _rows.change(tx, self.ledger, "model_version", event, version, fields)

    def change_stage(self, tx: Transaction, version: ModelVersion, stage: Stage, note: str) -> ModelVersion:
        """Bring a version into a stage, with its event; nothing is written if it is there."""
        if version.stage == stage:
            return version
        after = self.change_version(tx, version, "updated", stage=stage)
        told = {"was": version.stage, "now": stage, "note": redact(note), "run": self.current_run()}
        self.ledger.append(tx, "stage.moved", version.id, told)
        return after

    def aliases(self, name: str) -> list[Alias]:
        """The aliases of a model, by name."""
        rows = self.database.query(f"{_ALIAS} WHERE m.name = ? AND m.deleted_at IS NULL ORDER BY a.alias", (name,))
        return [Alias(*row) for row in rows]

    def alias(self, name: str, alias: str) -> Alias | None:
        """An alias, or None."""
        return next((each for each in self.aliases(name) if each.alias == alias), None)

    def add(
        self, version: ModelVersion, trained_on: Iterable[str] = (), *, also: Also | None = None, always: bool = False
    ) -> ModelVersion:
        """Record a version with its number, unless the model has one of this content, signature and evidence.

        A model of this name is made if there is none. `also` writes what goes with a new version. With `always` the version
        is a new one whatever there is.
        """
        task = current_task()
        with self.database.transaction() as tx:
            known = None if always else self._known(version)
            if known is not None:
                if task:
                    self.ledger.edge(tx, task, "reused", known.id, task)
                return known
            version = self._numbered(tx, version)
            _rows.insert(tx, "model_version", version, without="name", model=self.model(version.name).id)
            if also is not None:
                also(tx, version)
            self.ledger.node(tx, "model_version", version.id, str(version), version.content_digest or None)
            for source in trained_on:
                self.ledger.edge(tx, version.id, "trained_on", source, task)
            if version.features:
                self.ledger.edge(tx, version.id, "uses", version.features, task)
            if made_by := task or version.run:
                self.ledger.edge(tx, version.id, "made_by", made_by, task)
            told = {"model": version.name, "number": version.number, "metrics": version.metrics, "run": version.run}
            self.ledger.append(tx, "model.registered", version.id, told)
        return version

    def admit(self, tx: Transaction, model: RegisteredModel, version: ModelVersion) -> None:
        """Record a version of another workspace as it is there, id and number included; one that is here stays as it is.

        Raises:
            ExistsError: another model has the name here.
        """
        here = tx.query_one("SELECT id FROM model WHERE name = ? AND deleted_at IS NULL", (model.name,))
        if here is not None and here[0] != model.id:
            raise ExistsError("model", model.name, "It is not the one that this version is of.")
        if here is None:
            _rows.insert(tx, "model", model)
            self.ledger.append(tx, "model.created", model.id, {"model": model.name})
        if tx.query_one("SELECT 1 FROM model_version WHERE id = ?", (version.id,)) is None:
            _rows.insert(tx, "model_version", version, without="name", model=model.id)
            self.ledger.node(tx, "model_version", version.id, str(version), version.content_digest or None)
            told = {"model": version.name, "number": version.number}
            self.ledger.append(tx, "model_version.admitted", version.id, told)

    def recorded(self, version: ModelVersion, task: str) -> ModelVersion | None:
        """The version that a task made or found by registering this, or None if what it registered has other content.

        If none of the model's versions was recorded as the task's, any counts. Of several it is one with the same evidence.
        """
        own = {edge.src for edge in self.ledger.edges([task], "down") if edge.role == "made_by"}
        own |= {edge.dst for edge in self.ledger.edges([task]) if edge.role == "reused"}
        named = self.select("m.name = ? ORDER BY v.number DESC", (version.name,))
        counted = [each for each in named if each.id in own] or named
        same = [each for each in counted if _same_as(each) == _same_as(version)]
        given = _evidence(version)
        return next((each for each in same if given in (_NONE, _evidence(each))), same[0] if same else None)

    def move(
        self, tx: Transaction, version: ModelVersion, alias: str, *, by: str | None, bound_by: str | None, note: str,
        rolls_back: bool = False,
    ) -> None:  # fmt: skip
        """Point an alias at a version, with its event; one that an endpoint serves moves only `by` that endpoint.

        Raises:
            NotAllowedError: another endpoint, or nobody, asks to move a bound alias.
            RemovedError: the version was deleted.
        """
        version = self.version(version.id)
        model, before = self.model(version.name), self.alias(version.name, alias)
        expect_free(before, by, f"--version {version}")
        if before is not None and (before.version, before.bound_by) == (version.id, bound_by):
            return
        tx.execute(
            "INSERT INTO model_alias VALUES (?, ?, ?, ?, ?) ON CONFLICT (model, alias) DO UPDATE SET"
            " version = excluded.version, bound_by = excluded.bound_by, moved_at = excluded.moved_at",
            (model.id, alias, version.id, bound_by, clock.now_us()),
        )
        moved = {"to": version.number, "bound_by": bound_by, "version": version.id, "rolls_back": rolls_back}
        self._alias_event(tx, "moved", model, alias, before, note, moved)
        if bound_by and alias in STAGES:
            for other in self.versions(version.name):
                if other.stage == alias and other.id != version.id:
                    self.change_stage(tx, other, "Archived", note)
            self.change_stage(tx, version, alias, note)

    def remove_alias(self, tx: Transaction, name: str, alias: str, note: str = "") -> None:
        """Remove an alias, with its event; one that isn't there is left so.

        Raises:
            NotAllowedError: an endpoint serves it.
        """
        model, before = self.model(name), self.alias(name, alias)
        expect_free(before, None)
        if before is not None:
            tx.execute("DELETE FROM model_alias WHERE model = ? AND alias = ?", (model.id, alias))
            removed = {"to": None, "bound_by": None, "version": None, "rolls_back": False}
            self._alias_event(tx, "deleted", model, alias, before, note, removed)

    def unbind(self, tx: Transaction, name: str, alias: str, *, by: str) -> None:
        """Free an alias that an endpoint serves no longer; it stays where it points."""
        model = self.model(name)
        changed = tx.execute(
            "UPDATE model_alias SET bound_by = NULL, moved_at = ? WHERE model = ? AND alias = ? AND bound_by = ?",
            (clock.now_us(), model.id, alias, by),
        )
        if changed:
            self.ledger.append(tx, "alias.unbound", f"{model.id}@{alias}", {"endpoint": by})

    def moves(self, name: str, alias: str) -> list[Event]:
        """The events of an alias's moves and removals, oldest first."""
        events = self.ledger.events(subject=f"{self.model(name).id}@{alias}", limit=MOST_MOVES)
        return [event for event in events if event.kind in ("alias.moved", "alias.deleted")]

    def feature_users(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """The versions that take features: the id of the service's version, the version, the endpoints that serve it."""
        served: dict[str, list[str]] = {}
        for version, endpoint in self.database.query(
            "SELECT version, bound_by FROM model_alias WHERE bound_by IS NOT NULL ORDER BY bound_by"
        ):
            served.setdefault(version, []).append(endpoint)
        found = self.select("v.features IS NOT NULL AND v.deleted_at IS NULL ORDER BY m.name, v.number")
        return [(each.features or "", str(each), tuple(served.get(each.id, ()))) for each in found]

    def current_run(self) -> str | None:
        """The run that is at work in this context, itself or by a task of it."""
        task = current_task()
        if task is None:
            return None
        near = [task, *(edge.dst for edge in self.ledger.edges([task]) if edge.role == "part_of")]
        return next((each.id for each in self.ledger.nodes(near).values() if each.kind == "run"), None)

    def _models(self, where: str, params: Sequence[Any] = ()) -> list[RegisteredModel]:
        return _rows.read(self.database, RegisteredModel, f"{_MODEL} WHERE {where}", params)

    def _alias_event(
        self, tx: Transaction, kind: str, model: RegisteredModel, alias: str, before: Alias | None, note: str,
        moved: dict[str, Any],
    ) -> None:  # fmt: skip
        told = {
            "alias": f"{model.name}@{alias}", "from": before.number if before else None, "note": redact(note),
            "run": self.current_run(),
        }  # fmt: skip
        self.ledger.append(tx, f"alias.{kind}", f"{model.id}@{alias}", told | moved)

    def _known(self, version: ModelVersion) -> ModelVersion | None:
        same = self.select(f"{_SAME} ORDER BY v.number DESC", _same_as(version))
        given = _evidence(version)
        return next((each for each in same if given in (_NONE, _evidence(each))), None)

    def _numbered(self, tx: Transaction, version: ModelVersion) -> ModelVersion:
        found = tx.query_one("SELECT id FROM model WHERE name = ? AND deleted_at IS NULL", (version.name,))
        model_id = found[0] if found else self.create_model(tx, version.name).id
        last = tx.query_one("SELECT MAX(number) FROM model_version WHERE model = ?", (model_id,))
        now = clock.now_us()
        tx.execute("UPDATE model SET updated_at = ? WHERE id = ?", (now, model_id))
        number = (last[0] or 0) + 1 if last else 1
        return replace(
            version, id=new_id(), number=number, created_at=now, updated_at=now, actor=str(current_actor()),
            run=version.run or self.current_run(),
        )  # fmt: skip


def expect_free(alias: Alias | None, by: str | None, then: str = "") -> None:
    """Refuse to touch an alias that an endpoint serves, unless that endpoint asks.

    Raises:
        NotAllowedError: another endpoint, or nobody, asks; the text says what moves it.
    """
    if alias is not None and alias.bound_by is not None and alias.bound_by != by:
        raise NotAllowedError(
            f"The alias `{alias}` is what the endpoint `{alias.bound_by}` serves, so only that endpoint moves it:"
            f" mainspring endpoints bind {alias.bound_by} {then or f'--version {alias.model}/N'}"
        )


def there(version: ModelVersion) -> ModelVersion:
    """The version, unless it was deleted; raises `RemovedError`."""
    if version.deleted_at is not None:
        raise RemovedError(
            "model version", str(version), clock.from_us(version.deleted_at).isoformat(timespec="seconds")
        )
    return version


def _same_as(version: ModelVersion) -> tuple[str, str, str, str, str]:
    """What makes a version the same as another: name, content, and what it takes and gives. For `_SAME`."""
    signature = msgspec.json.encode(version.signature).decode()
    return version.name, version.content_digest, signature, version.input_kind, version.features or ""


def _evidence(version: ModelVersion) -> bytes:
    """What was measured of a version and decided on it, as it is stored."""
    return msgspec.json.encode((version.metrics, version.evaluation, version.gates), order="deterministic")


_NONE = msgspec.json.encode(({}, None, None))


def gc_roots(database: Database) -> Iterable[str]:
    """The blobs that model versions name, unless they were deleted."""
    database.migrate("models", MIGRATIONS)
    for text, *named in database.query(
        "SELECT encoded, input_example, environment FROM model_version WHERE deleted_at IS NULL"
    ):
        encoded = msgspec.json.decode(text, type=Encoded | None)
        if encoded is not None:
            yield encoded.blob
            yield from encoded.blobs
        yield from filter(None, named)

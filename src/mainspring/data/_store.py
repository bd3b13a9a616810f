"""The tables of datasets. A version is a row, its node, its edges and an event, committed together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, Literal, NamedTuple

import msgspec

from mainspring import clock
from mainspring.artifacts.paths import stored_blob
from mainspring.artifacts.record import ArtifactStore
from mainspring.data.version import DatasetVersion, Source, version_from_row
from mainspring.errors import InvalidError, NotFoundError, close_names
from mainspring.ledger import CONFIRMED_BY, Ledger, current_actor, current_scope, current_task, new_id
from mainspring.store import Database, Transaction, batches

MIGRATIONS = [
    """
    CREATE TABLE dataset (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, head TEXT NOT NULL,
        created_at INTEGER NOT NULL
    );
    CREATE TABLE dataset_version (
        id TEXT PRIMARY KEY, dataset TEXT NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL,
        content_digest TEXT NOT NULL, rows INTEGER NOT NULL, files INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
        parts INTEGER NOT NULL, manifest TEXT NOT NULL, schema TEXT NOT NULL, created_at INTEGER NOT NULL,
        extracted_at INTEGER NOT NULL, source TEXT NOT NULL, parent TEXT, actor TEXT NOT NULL, note TEXT NOT NULL,
        made_by TEXT, removed_at INTEGER, UNIQUE (dataset, number)
    );
    CREATE INDEX dataset_version_by_content ON dataset_version (content_digest);
    CREATE TABLE dataset_blob (version TEXT NOT NULL, blob TEXT NOT NULL, PRIMARY KEY (version, blob));
    CREATE TABLE dataset_report (version TEXT PRIMARY KEY, report TEXT NOT NULL);
    CREATE TABLE dataset_tag (
        dataset TEXT NOT NULL, tag TEXT NOT NULL, version TEXT NOT NULL, created_at INTEGER NOT NULL, actor TEXT NOT NULL,
        PRIMARY KEY (dataset, tag)
    );
    CREATE TABLE dataset_profile (content_digest TEXT PRIMARY KEY, profile TEXT NOT NULL)
    """,
    "CREATE TABLE dataset_pointer (dataset TEXT NOT NULL, path TEXT NOT NULL, PRIMARY KEY (dataset, path))",
]
Extra = Callable[[Transaction, DatasetVersion], None]
Write = Callable[[Transaction], DatasetVersion | None]
_COLUMNS = ", ".join(DatasetVersion.__struct_fields__)
_BLOBS_OF = (
    "SELECT dataset_blob.version, blob FROM dataset_blob JOIN dataset_version ON dataset_version.id = dataset_blob.version"
    " WHERE dataset = ?"
)
_SHORTEST_PREFIX = 6
_MADE, _WITHIN = "made_by", "made_within"
_HOMES_OF_STATE = ("mainspring.data.ingestion._store",)
"""Modules that keep something by a dataset's name, found by theirs: they stand on this one. Each has `forgetting(database)` and
`replacing(database)`."""


class _OutrunError(Exception):
    """Another writer was faster, so the transaction is taken back."""


class Living(NamedTuple):
    """What a dataset has at one instant: its head, the versions that were not removed, and the tags with their versions."""

    head: str
    versions: list[DatasetVersion]
    tags: dict[str, str]


class DatasetStore:
    """Datasets and versions of a workspace."""

    def __init__(self, database: Database, ledger: Ledger | None = None) -> None:
        self.database = database
        self.ledger = ledger or Ledger(database)
        database.migrate("data", MIGRATIONS)

    def names(self) -> list[str]:
        """The names of all datasets, sorted."""
        return sorted(name for (name,) in self.database.query("SELECT name FROM dataset"))

    def head(self, name: str) -> DatasetVersion | None:
        """The newest version, or None if there is no such dataset."""
        row = self.database.query_one(
            f"SELECT {_COLUMNS} FROM dataset_version WHERE id = (SELECT head FROM dataset WHERE name = ?)", (name,)
        )
        return None if row is None else version_from_row(row)

    def versions(self, name: str, last: int | None = None) -> list[DatasetVersion]:
        """Every version, or those up to a number, newest first."""
        where, params = _up_to(last, "dataset = ?", [name])
        return [version_from_row(row) for row in self._rows(f"{where} ORDER BY number DESC", params)]

    def by_number(self, name: str, number: int) -> DatasetVersion | None:
        """The version of this number, or None."""
        rows = self._rows("dataset = ? AND number = ?", (name, number))
        return version_from_row(rows[0]) if rows else None

    def as_of(self, name: str, at_us: int, last: int | None = None) -> DatasetVersion | None:
        """The version that was the newest at an instant, of all or those up to a number; None if there was none yet."""
        where, params = _up_to(last, "dataset = ? AND created_at <= ?", [name, at_us])
        rows = self._rows(f"{where} ORDER BY number DESC LIMIT 1", params)
        return version_from_row(rows[0]) if rows else None

    def tags(self, name: str, until_us: int | None = None, last: int | None = None) -> dict[str, str]:
        """The tags of a dataset with the ids of their versions, by name.

        All, or only those that were put there until an instant, and on versions up to a number.
        """
        where, params = _up_to(last, "dataset_tag.dataset = ?", [name])
        rows = self.database.query(
            "SELECT tag, version, dataset_tag.created_at FROM dataset_tag"
            f" JOIN dataset_version ON dataset_version.id = dataset_tag.version WHERE {where}",
            params,
        )
        return {tag: version for tag, version, at in sorted(rows) if until_us is None or at <= until_us}

    def tag(self, version: DatasetVersion, tag: str) -> None:
        """Point a tag at a version, from another one if need be."""
        with self.database.transaction() as tx:
            before = tx.query_one(
                "SELECT version FROM dataset_tag WHERE dataset = ? AND tag = ?", (version.dataset, tag)
            )
            tx.execute("DELETE FROM dataset_tag WHERE dataset = ? AND tag = ?", (version.dataset, tag))
            tx.execute(
                "INSERT INTO dataset_tag VALUES (?, ?, ?, ?, ?)",
                (version.dataset, tag, version.id, clock.now_us(), str(current_actor())),
            )
            told = {"dataset": version.dataset, "tag": tag, "before": before[0] if before else None}
            self.ledger.append(tx, "dataset.tagged", version.id, told)

    def untag(self, name: str, tag: str) -> None:
        """Take a tag away; raises `NotFoundError`."""
        with self.database.transaction() as tx:
            row = tx.query_one("SELECT version FROM dataset_tag WHERE dataset = ? AND tag = ?", (name, tag))
            if row is not None:
                tx.execute("DELETE FROM dataset_tag WHERE dataset = ? AND tag = ?", (name, tag))
                self.ledger.append(tx, "dataset.untagged", row[0], {"dataset": name, "tag": tag})
        if row is None:
            raise NotFoundError("tag", f"{name}/{tag}", close_names(tag, self.tags(name)))

    def present(self, version: DatasetVersion) -> DatasetVersion:
        """A version as it is recorded now: it may have been compacted or removed since the record was read."""
        return self.by_id(version.id) or version

    def by_id(self, version: str) -> DatasetVersion | None:
        """The version with this id, or None."""
        rows = self._rows("id = ?", (version,))
        return version_from_row(rows[0]) if rows else None

    def removed(self, ids: Iterable[str]) -> dict[str, int]:
        """When those among these versions that were removed were, in microseconds since 1970."""
        found: dict[str, int] = {}
        for batch, marks in batches(ids):
            sql = f"SELECT id, removed_at FROM dataset_version WHERE id IN ({marks}) AND removed_at IS NOT NULL"
            found.update(self.database.query(sql, batch))
        return found

    def outcomes(self, name: str, task: str) -> tuple[list[DatasetVersion], list[DatasetVersion]]:
        """What a task's commits to a dataset came to: the versions that it made, and those that it found unchanged."""
        made = self._rows("dataset = ? AND made_by = ? ORDER BY number", (name, task))
        edges = self.ledger.edges([task], "down")
        same = [self.by_id(edge.src) for edge in edges if edge.role == CONFIRMED_BY]
        return [version_from_row(row) for row in made], [each for each in same if each and each.dataset == name]

    def made_by(self, makers: Iterable[str]) -> dict[str, str]:
        """What tasks, or attempts that were set aside, made, in runs of theirs too, each with its maker, by their nodes."""
        return {edge.src: edge.dst for edge in self.ledger.edges(makers, "down") if edge.role in (_MADE, _WITHIN)}

    def numbers(self, name: str, ids: Iterable[str]) -> dict[int, str]:
        """Those among these ids that are versions of a dataset, by number, in order."""
        found: list[tuple[int, str]] = []
        for batch, marks in batches(ids):
            sql = f"SELECT number, id FROM dataset_version WHERE dataset = ? AND id IN ({marks})"
            found += self.database.query(sql, [name, *batch])
        return dict(sorted(found))

    def pointers(self, name: str) -> list[str]:
        """Where pointers to a dataset were written, sorted; they may be gone, or name another one by now."""
        return sorted(
            path for (path,) in self.database.query("SELECT path FROM dataset_pointer WHERE dataset = ?", (name,))
        )

    def note_pointer(self, name: str, path: str) -> None:
        """Keep where a pointer to a dataset was written."""
        with self.database.transaction() as tx:
            tx.execute("INSERT INTO dataset_pointer VALUES (?, ?) ON CONFLICT (dataset, path) DO NOTHING", (name, path))

    def profile(self, content_digest: str) -> str | None:
        """The profile that was kept for a content, or None."""
        row = self.database.query_one("SELECT profile FROM dataset_profile WHERE content_digest = ?", (content_digest,))
        return row[0] if row else None

    def keep_profile(self, content_digest: str, profile: str) -> None:
        """Keep a profile; one that is there stays."""
        with self.database.transaction() as tx:
            tx.execute(
                "INSERT INTO dataset_profile VALUES (?, ?) ON CONFLICT (content_digest) DO NOTHING",
                (content_digest, profile),
            )

    def by_prefix(self, prefix: str, name: str | None = None, last: int | None = None) -> DatasetVersion | None:
        """The newest version whose id or content digest begins so, of a dataset and up to a number if those are given.

        Raises:
            InvalidError: it fits versions of different content.
        """
        if len(prefix) < _SHORTEST_PREFIX:
            return None
        begins = "(id >= ? AND id < ? OR content_digest >= ? AND content_digest < ?)"
        where, params = _up_to(last, begins, [prefix, prefix + "g"] * 2)
        if name is not None:
            where, params = f"{where} AND dataset = ?", [*params, name]
        found = [version_from_row(row) for row in self._rows(f"{where} ORDER BY id DESC LIMIT 50", params)]
        if len(set(found)) > 1:
            raise InvalidError("version", prefix, "a unique prefix", f"It fits {found[0].id} and {found[-1].id}.")
        return found[0] if found else None

    def not_found(self, name: str) -> NotFoundError:
        """The error that says which datasets are near."""
        return NotFoundError(
            "dataset",
            name,
            close_names(name, self.names()),
            f"`dataset({name!r}).commit(frame)` or `mainspring data ingest` makes a table, `.add(folder)` or `mainspring data "
            "add` a file tree.",
        )

    def commit(self, writes: Sequence[Write]) -> list[DatasetVersion] | None:
        """Write versions in one transaction: all, or none (None is given) if one of them has a newer head by now."""
        done: list[DatasetVersion] = []
        try:
            with self.database.transaction() as tx:
                for write in writes:
                    version = write(tx)
                    if version is None:
                        raise _OutrunError
                    done.append(version)
        except _OutrunError:
            return None
        return done

    def committing(
        self, version: DatasetVersion, blobs: Iterable[str], *, base: str | None = None, extra: Sequence[Extra] = ()
    ) -> Write:
        """What records a version behind its parent, with its number and time; gives None if the head is another by now.

        `base` is the manifest that its own builds on: if the head has another by now (it was compacted), None is given,
        too. `extra` is run in the transaction of the version, for state that goes with it.
        """
        homes = self._homes(version.source)

        def write(tx: Transaction) -> DatasetVersion | None:
            row = tx.query_one("SELECT head FROM dataset WHERE name = ?", (version.dataset,))
            if (row[0] if row else None) != version.parent:
                return None
            if base is not None and not self._is_manifest_of(tx, version.parent, base):
                return None
            last = tx.query_one("SELECT MAX(number) FROM dataset_version WHERE dataset = ?", (version.dataset,))
            made = msgspec.structs.replace(
                version, id=new_id(), number=(last[0] or 0) + 1 if last else 1, created_at=clock.now_us(),
                actor=str(current_actor()), made_by=current_task(),
            )  # fmt: skip
            tx.insert("dataset_version", _stored(made))
            self._hold(tx, made.id, blobs)
            self._move_head(tx, made)
            self._record(tx, made, homes)
            for each in extra:
                each(tx, made)
            return made

        return write

    def replacing(self) -> list[Extra]:
        """What is told elsewhere when a version replaces all rows of a table."""
        return [import_module(home).replacing(self.database) for home in _HOMES_OF_STATE]

    def relayout(
        self, tx: Transaction, version: DatasetVersion, manifest: str, parts: int, size_bytes: int, blobs: Iterable[str],
        event: Literal["compacted", "repaired"] = "compacted",
    ) -> bool:  # fmt: skip
        """Give a version another manifest of the same content; False if it is not the head, or has another one by now."""
        row = tx.query_one("SELECT head FROM dataset WHERE name = ?", (version.dataset,))
        if row is None or row[0] != version.id or not self._is_manifest_of(tx, version.id, version.manifest):
            return False
        tx.execute(
            "UPDATE dataset_version SET manifest = ?, parts = ?, size_bytes = ? WHERE id = ?",
            (manifest, parts, size_bytes, version.id),
        )
        self._hold(tx, version.id, blobs)
        told = {"dataset": version.dataset, "number": version.number, "before": version.parts, "parts": parts}
        self.ledger.append(tx, f"dataset.{event}", version.id, told)
        return True

    @staticmethod
    def _hold(tx: Transaction, version: str, blobs: Iterable[str]) -> None:
        """Keep blobs from the collector as a version's."""
        tx.executemany(
            "INSERT INTO dataset_blob VALUES (?, ?) ON CONFLICT (version, blob) DO NOTHING",
            [(version, blob) for blob in sorted(set(blobs))],
        )

    def living(self, name: str) -> Living | None:
        """What a dataset has now; None if there is none of this name."""
        with self.database.transaction() as tx:
            return self._living(tx, name)

    def holders(self, blob: str) -> list[DatasetVersion]:
        """The versions that keep a blob from the collector: those that wrote it, and those that took it over."""
        where = "id IN (SELECT version FROM dataset_blob WHERE blob = ?) ORDER BY dataset, number"
        return [version_from_row(row) for row in self._rows(where, (blob,))]

    def blobs_of(self, name: str) -> set[str]:
        """The blobs that are kept for any version of a dataset."""
        return {blob for _, blob in self.database.query(_BLOBS_OF, (name,))}

    def remove(
        self, name: str, living: Living, chosen: Sequence[DatasetVersion], needed: set[str], *, whole: bool, force: bool
    ) -> int | None:
        """Mark versions removed, and keep of the dataset's blobs only those that the others need.

        Gives how many blobs it no longer names, or None if it is not as `living` says any more. With the whole dataset
        goes what is kept elsewhere by its name.
        """
        forgetting = [import_module(home).forgetting(self.database) for home in _HOMES_OF_STATE] if whole else []
        with self.database.transaction() as tx:
            now = self._living(tx, name)
            if now is None or _state(now) != _state(living):
                return None
            rows = tx.query(_BLOBS_OF, (name,))
            gone = {version.id for version in chosen}
            loose = [row for row in rows if row[0] in gone or row[1] not in needed]
            tx.executemany("DELETE FROM dataset_blob WHERE version = ? AND blob = ?", loose)
            held = {blob for version, blob in rows if version not in gone}
            self._hold(tx, living.head, needed - held)
            at = clock.now_us()
            tx.executemany(
                "UPDATE dataset_version SET removed_at = ? WHERE id = ?", [(at, each) for each in sorted(gone)]
            )
            # A report holds examples of rows, a profile values.
            tx.executemany("DELETE FROM dataset_report WHERE version = ?", [(each,) for each in sorted(gone)])
            tx.executemany(
                "DELETE FROM dataset_profile WHERE content_digest = ? AND NOT EXISTS (SELECT 1 FROM dataset_version AS other"
                " WHERE other.content_digest = dataset_profile.content_digest AND other.removed_at IS NULL)",
                [(version.content_digest,) for version in chosen],
            )
            if whole:
                tx.execute("DELETE FROM dataset WHERE name = ?", (name,))
                tx.execute("DELETE FROM dataset_pointer WHERE dataset = ?", (name,))
                for forget in forgetting:
                    forget(tx, name)
            for version in chosen:
                told = {"dataset": name, "number": version.number, "forced": force}
                self.ledger.append(tx, "dataset.removed", version.id, told)
            return len({blob for _, blob in rows} - needed)

    def _living(self, tx: Transaction, name: str) -> Living | None:
        head = tx.query_one("SELECT head FROM dataset WHERE name = ?", (name,))
        if head is None:
            return None
        where = "dataset = ? AND removed_at IS NULL ORDER BY number"
        rows = tx.query(f"SELECT {_COLUMNS} FROM dataset_version WHERE {where}", (name,))
        tags: dict[str, str] = dict(tx.query("SELECT tag, version FROM dataset_tag WHERE dataset = ?", (name,)))
        return Living(head[0], [version_from_row(row) for row in rows], tags)

    def confirming(self, version: DatasetVersion, sources: Sequence[Source] = (), extra: Sequence[Extra] = ()) -> Write:
        """What records that the newest version was found unchanged: by whom, and what all of it was read from this time.

        It gives None if another one is the newest by now.
        """
        task = current_task()
        homes = self._homes(sources)

        def write(tx: Transaction) -> DatasetVersion | None:
            row = tx.query_one("SELECT head FROM dataset WHERE name = ?", (version.dataset,))
            if row is None or row[0] != version.id:
                return None
            self._link_sources(tx, version, sources, homes)
            if task:
                self.ledger.edge(tx, version.id, CONFIRMED_BY, task, task)
            for each in extra:
                each(tx, version)
            return version

        return write

    def taking_over(self, version: DatasetVersion, attempt: str, head: DatasetVersion) -> Write:
        """What records that the task or run at work made a version which an earlier attempt of the task did.

        It gives None if the head is another by now, or the attempt's version was taken over already.
        """
        taken = msgspec.structs.replace(version, made_by=current_task())

        def write(tx: Transaction) -> DatasetVersion | None:
            row = tx.query_one("SELECT head FROM dataset WHERE name = ?", (version.dataset,))
            if row is None or row[0] != head.id or not self.ledger.part(tx, version.id, (_MADE, _WITHIN), attempt):
                return None
            tx.execute("UPDATE dataset_version SET made_by = ? WHERE id = ?", (taken.made_by, taken.id))
            self._link_makers(tx, taken)
            return taken

        return write

    def report(self, version: str) -> str | None:
        """The report of the checks that a version was committed with, as JSON, or None."""
        row = self.database.query_one("SELECT report FROM dataset_report WHERE version = ?", (version,))
        return None if row is None else str(row[0])

    def write_report(self, tx: Transaction, version: str, report: str) -> None:
        """Keep a version's report, in place of an earlier one."""
        tx.execute("DELETE FROM dataset_report WHERE version = ?", (version,))
        tx.insert("dataset_report", {"version": version, "report": report})

    def note_read(self, version: DatasetVersion, task: str) -> None:
        """Record that a task looked this version up by itself."""
        with self.database.transaction() as tx:
            self.ledger.edge(tx, task, "reads", version.id, task)

    def _move_head(self, tx: Transaction, version: DatasetVersion) -> None:
        if version.parent is None:
            tx.execute(
                "INSERT INTO dataset VALUES (?, ?, ?, ?, ?)",
                (new_id(), version.dataset, version.kind, version.id, version.created_at),
            )
        else:
            tx.execute("UPDATE dataset SET head = ? WHERE name = ?", (version.id, version.dataset))

    def _record(self, tx: Transaction, version: DatasetVersion, homes: dict[str, list[str]]) -> None:
        task = current_task()
        ledger = self.ledger
        ledger.node(tx, "dataset_version", version.id, str(version), version.content_digest)
        if version.parent:
            ledger.edge(tx, version.id, "follows", version.parent, task)
        self._link_sources(tx, version, version.source, homes)
        self._link_makers(tx, version)
        told = {"dataset": version.dataset, "number": version.number, "rows": version.rows, "files": version.files}
        ledger.append(tx, "dataset.committed", version.id, told | {"content_digest": version.content_digest})

    def _link_makers(self, tx: Transaction, version: DatasetVersion) -> None:
        """Lead a version to the task or run at work, and to the task that opened that run."""
        scope = current_scope()
        if scope is not None:
            self.ledger.edge(tx, version.id, _MADE, scope.id, scope.id)
            if scope.task not in ("", scope.id):
                self.ledger.edge(tx, version.id, _WITHIN, scope.task, scope.task)

    def _homes(self, sources: Sequence[Source]) -> dict[str, list[str]]:
        """The artifacts that sources lie in, by the source's node.

        Of several that hold the same files it is those that the task at work uses, else the newest.
        """
        homes = {}
        task = current_task()
        for source in sources:
            blob = stored_blob(source.uri)
            if blob:
                found = ArtifactStore(self.database, self.ledger).holding(blob)
                used = {edge.dst for edge in self.ledger.edges([task])} if task else set()
                homes[source.node] = [each for each in found if each in used] or found[:1]
        return homes

    def _link_sources(
        self, tx: Transaction, version: DatasetVersion, sources: Sequence[Source], homes: dict[str, list[str]]
    ) -> None:
        for source in sources:
            if source.kind != "record":
                self.ledger.node(tx, source.kind, source.node, source.uri, source.digest)
            self.ledger.edge(tx, version.id, "read_from", source.node, current_task())
            for home in homes.get(source.node, ()):
                self.ledger.edge(tx, source.node, "lies_in", home, current_task())

    @staticmethod
    def _is_manifest_of(tx: Transaction, version: str | None, manifest: str) -> bool:
        row = tx.query_one("SELECT manifest FROM dataset_version WHERE id = ?", (version,))
        return row is not None and row[0] == manifest

    def _rows(self, where: str, params: Any) -> list[tuple[Any, ...]]:
        return self.database.query(f"SELECT {_COLUMNS} FROM dataset_version WHERE {where}", params)


def gc_roots(database: Database) -> list[str]:
    """The blobs that dataset versions name: parts, manifests and their segments."""
    database.migrate("data", MIGRATIONS)
    return [blob for (blob,) in database.query("SELECT DISTINCT blob FROM dataset_blob")]


def _up_to(last: int | None, where: str, params: list[Any]) -> tuple[str, list[Any]]:
    """A condition on versions and its parameters, for those up to a number if one is given."""
    return (where, params) if last is None else (f"{where} AND number <= ?", [*params, last])


def _state(living: Living) -> tuple[object, ...]:
    """What a removal was decided on."""
    return living.head, [(version.id, version.manifest) for version in living.versions], living.tags


def _stored(version: DatasetVersion) -> dict[str, Any]:
    values = {name: getattr(version, name) for name in DatasetVersion.__struct_fields__}
    return values | {name: msgspec.json.encode(values[name]).decode() for name in ("schema", "source")}

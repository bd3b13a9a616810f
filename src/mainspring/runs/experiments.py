"""The table of experiments, and every statement over it. Every write is an event in the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mainspring import clock
from mainspring.errors import ExistsError, InvalidError, NotFoundError, close_names
from mainspring.ledger import Ledger, new_id, note_search
from mainspring.runs import filters
from mainspring.runs._schema import DEFAULT, MIGRATIONS
from mainspring.runs.experiment import Experiment, View, seen
from mainspring.runs.limits import checked_key, checked_name, checked_text
from mainspring.runs.listing import Listing, Term
from mainspring.runs.page import Page
from mainspring.secrets import redact
from mainspring.store import Database, Transaction

_FIELDS = tuple(name for name in Experiment.__struct_fields__ if name != "tags")
_SELECT = f"SELECT {', '.join(_FIELDS)} FROM experiment"
_LONGEST_NUMBER = 18  # digits
_ATTRIBUTES = {  # of which MLflow's clients have times in milliseconds
    "name": "name", "number": "number", "created_at": "created_at", "updated_at": "updated_at", "experiment_id": "number",
    "creation_time": "created_at / 1000", "last_update_time": "updated_at / 1000",
}  # fmt: skip
_KINDS = filters.Kinds("experiments", {name: "text" if name == "name" else "number" for name in _ATTRIBUTES}, ("tag",))


def _term(kind: filters.Kind, key: str) -> Term:
    if kind == "tag":
        return Term(
            "(SELECT text FROM experiment_tag WHERE experiment_tag.experiment = experiment.id AND key = ?)", (key,)
        )
    return Term(_ATTRIBUTES[key])


_LISTING = Listing("experiment", _term, (("created_at", True), ("number", True)))


class ExperimentStore:
    """Experiments of a workspace. Methods that change one make their own transaction and give it as it is then."""

    def __init__(self, database: Database, ledger: Ledger | None = None) -> None:
        self.database = database
        self.ledger = ledger or Ledger(database)
        database.migrate("runs", MIGRATIONS)

    def create(self, name: str, tags: Mapping[str, str] | None = None) -> Experiment:
        """Make an experiment.

        Raises:
            ExistsError: there is one of that name, which may be deleted.
            InvalidError: the name or a tag can't be kept.
        """
        checked_name("experiment", name)
        with self.database.transaction() as tx:
            found = self._find(tx, "name = ?", name)
            if found is not None:
                hint = f"It is deleted; `mainspring experiments restore` brings it back (number {found.number})."
                raise ExistsError("experiment", name, hint if found.deleted_at else "")
            return self._add(tx, name, tags or {})

    def put(self, tx: Transaction, experiment: Experiment) -> None:
        """Record an experiment that was made elsewhere as it is, with its event; one of its id is replaced."""
        values = msgspec.structs.asdict(experiment)
        values.pop("tags")
        for table, column in (("experiment_tag", "experiment"), ("experiment", "id")):
            tx.execute(f"DELETE FROM {table} WHERE {column} = ?", (experiment.id,))
        tx.insert("experiment", values)
        tx.executemany(
            "INSERT INTO experiment_tag VALUES (?, ?, ?)", [(experiment.id, *tag) for tag in experiment.tags.items()]
        )
        self.ledger.append(tx, "experiment.imported", experiment.id, {"name": experiment.name})

    def named(self, tx: Transaction, name: str) -> Experiment:
        """The experiment of a name, made if there is none, for a run that goes into it.

        Raises:
            InvalidError: it is deleted.
        """
        found = self._find(tx, "name = ?", checked_name("experiment", name))
        if found is not None and found.deleted_at is not None:
            hint = f"`mainspring experiments restore {found.number}` brings it back."
            raise InvalidError("experiment", name, "one to log to: it is deleted", hint)
        return found or self._add(tx, name, {})

    def find(self, name: str) -> Experiment | None:
        """The experiment of a name, deleted or not; None if there is none."""
        return self._find(self.database, "name = ?", name)

    def get(self, ref: str | int) -> Experiment:
        """An experiment, deleted or not, by its number, or by name, id or the digits of its number, tried in this order.

        Raises:
            NotFoundError: there is none; the nearest names are given.
        """
        return self._get(self.database, ref)

    def rename(self, ref: str | int, name: str) -> Experiment:
        """Give an experiment another name.

        Raises:
            ExistsError: there is one of that name.
            InvalidError: it is Default, deleted, or the name can't be kept.
        """
        checked_name("experiment", name)
        with self.database.transaction() as tx:
            found = self._changeable(tx, ref)
            if name != found.name and self._find(tx, "name = ?", name) is not None:
                raise ExistsError("experiment", name)
            return self._write(tx, found, "renamed", {"from": found.name}, name=name)

    def set_tag(self, ref: str | int, key: str, value: str) -> Experiment:
        """Set a tag, without secrets."""
        with self.database.transaction() as tx:
            found = self._get(tx, ref)
            tags = self._put_tags(tx, found.id, {key: value})
            return self._write(tx, found, "tagged", tags)

    def delete_tag(self, ref: str | int, key: str) -> Experiment:
        """Take a tag away.

        Raises:
            NotFoundError: it has none of that key.
        """
        with self.database.transaction() as tx:
            found = self._get(tx, ref)
            if key not in found.tags:
                raise NotFoundError("tag", key, close_names(key, found.tags), owner=f"Experiment `{found.name}`")
            tx.execute("DELETE FROM experiment_tag WHERE experiment = ? AND key = ?", (found.id, key))
            return self._write(tx, found, "untagged", {"key": key})

    def delete(self, ref: str | int) -> Experiment:
        """Hide an experiment and its runs, until it is restored or a collection purges its runs.

        Raises:
            InvalidError: it is Default.
        """
        with self.database.transaction() as tx:
            found = self._changeable(tx, ref, deleted=True)
            if found.deleted_at is not None:
                return found
            now = clock.now_us()
            tx.execute("UPDATE run SET deleted_at = ? WHERE experiment = ? AND deleted_at IS NULL", (now, found.id))
            return self._write(tx, found, "deleted", {}, deleted_at=now)

    def restore(self, ref: str | int) -> Experiment:
        """Bring a deleted experiment back, with the runs that were deleted with it."""
        with self.database.transaction() as tx:
            found = self._get(tx, ref)
            if found.deleted_at is None:
                return found
            tx.execute(
                "UPDATE run SET deleted_at = NULL WHERE experiment = ? AND deleted_at = ?", (found.id, found.deleted_at)
            )
            return self._write(tx, found, "restored", {}, deleted_at=None)

    def search(
        self,
        filter: str = "",  # noqa: A002  # the word of MLflow's clients
        order_by: Sequence[str] = (),
        limit: int = 100,
        cursor: str | None = None,
        view: View = "active",
    ) -> Page[Experiment]:
        """Experiments by MLflow's grammar over names, numbers, times and tags; the newest first if no order is given.

        Raises:
            InvalidError: the filter, an order, the limit or the cursor is wrong.
        """
        conditions = filters.parse_filter(filter, _KINDS)
        orders = [filters.parse_order(each, _KINDS) for each in order_by]
        note_search("experiments", filter)
        shown = Term(seen("experiment", view))
        page = _LISTING.find(self.database, conditions, orders, limit=limit, cursor=cursor, where=[shown])
        return Page([self._get(self.database, number) for number in page], page.cursor)

    def _get(self, database: Database | Transaction, ref: str | int) -> Experiment:
        if isinstance(ref, str):
            tried = [self._find(database, f"{column} = ?", ref) for column in ("name", "id")]
            found = tried[0] or tried[1]
            ref = int(ref) if found is None and ref.isdecimal() and len(ref) < _LONGEST_NUMBER else ref
        else:
            found = None
        found = found or (self._find(database, "number = ?", ref) if isinstance(ref, int) else None)
        if found is None:
            known = [name for (name,) in database.query("SELECT name FROM experiment ORDER BY number DESC LIMIT 1000")]
            raise NotFoundError(
                "experiment", str(ref), close_names(str(ref), known), "`mainspring experiments list` lists them."
            )
        return found

    def _find(self, database: Database | Transaction, where: str, value: str | int) -> Experiment | None:
        row = database.query_one(f"{_SELECT} WHERE {where}", (value,))
        if row is None:
            return None
        statement = "SELECT key, text FROM experiment_tag WHERE experiment = ? ORDER BY key"
        tags: dict[str, str] = dict(database.query(statement, (row[0],)))
        return Experiment(**dict(zip(_FIELDS, row, strict=True)), tags=tags)

    def _add(self, tx: Transaction, name: str, tags: Mapping[str, str]) -> Experiment:
        now, new = clock.now_us(), new_id()
        tx.execute(
            "INSERT INTO experiment SELECT ?, MAX(number) + 1, ?, ?, ?, NULL FROM experiment", (new, name, now, now)
        )
        self._put_tags(tx, new, tags)
        self.ledger.append(tx, "experiment.created", new, {"name": name})
        return self._get(tx, new)

    def _put_tags(self, tx: Transaction, experiment: str, tags: Mapping[str, str]) -> dict[str, str]:
        """Set tags, and give them as they were set."""
        kept = {}
        for key, value in tags.items():
            checked_key("tag", key)
            kept[key] = redact(checked_text(f"tag `{key}`", value))
            tx.execute(
                "INSERT INTO experiment_tag VALUES (?, ?, ?) ON CONFLICT (experiment, key) DO UPDATE SET text = excluded.text",
                (experiment, key, kept[key]),
            )
        return kept

    def _write(
        self, tx: Transaction, experiment: Experiment, what: str, told: dict[str, Any], **fields: Any
    ) -> Experiment:
        """Change fields, with the event; gives the experiment as it is then."""
        values = fields | {"updated_at": clock.now_us()}
        assignments = ", ".join(f"{name} = ?" for name in values)
        tx.execute(f"UPDATE experiment SET {assignments} WHERE id = ?", [*values.values(), experiment.id])
        self.ledger.append(tx, f"experiment.{what}", experiment.id, told)
        return self._get(tx, experiment.id)

    def _changeable(self, tx: Transaction, ref: str | int, *, deleted: bool = False) -> Experiment:
        """An experiment that may be renamed or deleted."""
        found = self._get(tx, ref)
        if found.id == DEFAULT:
            raise InvalidError(
                "experiment", found.name, "one that can be renamed or deleted: runs without another go there"
            )
        if found.deleted_at is not None and not deleted:
            raise InvalidError("experiment", found.name, "one that can be changed: it is deleted")
        return found

"""The tables of runs, and every statement that changes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring import clock
from mainspring.artifacts.record import Artifact, ArtifactStore
from mainspring.errors import ConflictError, InvalidError, NotFoundError, close_names, shorten
from mainspring.ledger import Ledger, current_actor, new_id
from mainspring.runs._rows import ASIDE, SELECT, blank, param_row, stored, to_runs
from mainspring.runs._schema import MIGRATIONS
from mainspring.runs.experiment import seen
from mainspring.runs.experiments import ExperimentStore
from mainspring.runs.interrupted import as_read, state_as_read
from mainspring.runs.limits import checked_key, checked_name, checked_text
from mainspring.runs.listing import Term
from mainspring.runs.run import CLIENT_KIND, Run, RunState
from mainspring.secrets import redact
from mainspring.store import Database, Leases, Transaction, batches

if TYPE_CHECKING:
    from mainspring.runs.experiment import Experiment

_SHORTEST_PREFIX = 4


class RunStore:
    """Runs of a workspace."""

    def __init__(self, database: Database, ledger: Ledger | None = None) -> None:
        self.database = database
        self.ledger = ledger or Ledger(database)
        database.migrate("runs", MIGRATIONS)
        self.experiments = ExperimentStore(database, self.ledger)

    def create(self, tx: Transaction, *, kind: str, name: str, **fields: Any) -> Run:
        """Record a run that starts now, with its node and event; `fields` are those of `Run`.

        Its experiment is made if there is none of that name.

        Raises:
            InvalidError: the experiment is deleted, or a name or tag can't be kept.
        """
        run_id = fields.pop("id", None) or new_id()
        now = clock.now_us()
        fields = {"started_at": now, "actor": str(current_actor())} | fields
        run = msgspec.structs.replace(blank(run_id), kind=kind, name=name, updated_at=now, **fields)
        if run.note:
            run = msgspec.structs.replace(run, note=redact(run.note))
        self._insert(tx, run, self.experiments.named(tx, run.experiment).id)
        self.ledger.append(tx, "run.started", run.id, {"kind": kind, "name": name})
        return run

    def put(self, tx: Transaction, run: Run, *, source: str) -> None:
        """Record a run that was made elsewhere as it is, with its event, which names the source; one of its id is replaced.

        Its experiment must be there. What isn't a field of a run (points, files, inputs) is the caller's.
        """
        for table, column in (("run_param", "run"), ("run_tag", "run"), ("run", "id")):
            tx.execute(f"DELETE FROM {table} WHERE {column} = ?", (run.id,))
        self._insert(tx, run, self.experiments.get(run.experiment).id)
        self.ledger.append(tx, "run.imported", run.id, {"from": source})

    def update(self, tx: Transaction, run_id: str, **fields: Any) -> None:
        """Change fields of a run that are columns of its row."""
        values = {key: stored(value) for key, value in fields.items()} | {"updated_at": clock.now_us()}
        assignments = ", ".join(f"{key} = ?" for key in values)
        tx.execute(f"UPDATE run SET {assignments} WHERE id = ?", [*values.values(), run_id])

    def log_params(self, tx: Transaction, run_id: str, params: Mapping[str, Any]) -> None:
        """Add parameters, all or none. One is written once; the same value again is fine.

        Raises:
            ConflictError: a key has another value; both are named.
            InvalidError: a key or value can't be kept.
        """
        for key, value in params.items():
            checked_key("parameter", key, reserved=False)
            checked_text(f"parameter `{key}`", param_row(value)[1])
        known = self._params(tx, run_id, params)
        for key, value in params.items():
            new = param_row(value)[1]
            if known.get(key, new) != new:
                raise ConflictError(
                    f"The parameter `{shorten(key)}` of run {run_id[:12]} is `{shorten(known[key])}` and can't become"
                    f" `{shorten(new)}`: parameters are written once. Log what changes as a metric or a tag."
                )
        self._add_params(tx, run_id, {key: value for key, value in params.items() if key not in known})
        self.update(tx, run_id)

    def set_tags(self, tx: Transaction, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags, all or none; one that is there gets the new text.

        Raises:
            InvalidError: a key or text can't be kept.
        """
        for key, value in tags.items():
            checked_key("tag", key, reserved=False)
            checked_text(f"tag `{key}`", value)
        self._put_tags(tx, run_id, tags)
        self.update(tx, run_id)

    def delete_tag(self, tx: Transaction, run_id: str, key: str) -> None:
        """Take a tag away.

        Raises:
            NotFoundError: the run has none of that key.
        """
        if not tx.execute("DELETE FROM run_tag WHERE run = ? AND key = ?", (run_id, key)):
            known = [row[0] for row in tx.query("SELECT key FROM run_tag WHERE run = ?", (run_id,))]
            raise NotFoundError("tag", key, close_names(key, known), owner=f"Run {run_id[:12]}")
        self.update(tx, run_id)

    def rename(self, tx: Transaction, run_id: str, name: str) -> None:
        """Give a run another name, with its event."""
        self.update(tx, run_id, name=checked_name("name of a run", name))
        self.ledger.append(tx, "run.renamed", run_id, {"name": name})

    def set_note(self, tx: Transaction, run_id: str, note: str) -> None:
        """Replace the note of a run, without secrets, with its event."""
        text = redact(checked_text("note", note))
        self.update(tx, run_id, note=text)
        self.ledger.append(tx, "run.noted", run_id, {"note": shorten(text, 500)})

    def delete(self, tx: Transaction, run_id: str) -> bool:
        """Hide a run, and the runs of its steps, until it is restored or a collection purges it; with its event.

        False if they are deleted already, and stay as they are.
        """
        is_changed = self._mark(tx, run_id, "deleted_at IS NULL", clock.now_us()) > 0
        if is_changed:
            self.ledger.append(tx, "run.deleted", run_id)
        return is_changed

    def restore(self, tx: Transaction, run_id: str) -> bool:
        """Bring a deleted run back, with its event; False if nothing of it is deleted."""
        is_changed = self._mark(tx, run_id, "deleted_at IS NOT NULL", None) > 0
        if is_changed:
            self.ledger.append(tx, "run.restored", run_id)
        return is_changed

    def finish(self, tx: Transaction, run_id: str, state: RunState, error: str | None = None) -> None:
        """End a run, with its event."""
        self.update(tx, run_id, state=state, ended_at=clock.now_us(), error=error)
        self.ledger.append(tx, f"run.{state.value}", run_id, {"error": error} if error else {})

    def resume(self, tx: Transaction, run: Run) -> None:
        """Open a run that was stopped, failed or killed once more, with its event.

        The pause is not counted as work: what went before lasted until the run's end or, if it was killed, until the last
        thing that happened in it.
        """
        worked_s = run.duration_s
        if worked_s is None:
            last = tx.query_one(
                "SELECT MAX(event.at) FROM edge JOIN event ON event.subject = edge.src"
                " WHERE edge.dst = ? AND edge.role = 'part_of'",
                (run.id,),
            )
            began = run.resumed_at or run.started_at
            worked_s = run.worked_s + max(0, ((last and last[0]) or began) - began) / 1e6
        self.update(
            tx, run.id, state=RunState.RUNNING, ended_at=None, error=None, resumed_at=clock.now_us(), worked_s=worked_s
        )
        self.ledger.append(tx, "run.resumed", run.id)

    def keep_blobs(self, tx: Transaction, run_id: str, blobs: Iterable[str]) -> None:
        """Record blobs that are to be kept with a run, besides those that its fields name."""
        for blob in blobs:
            tx.execute("INSERT INTO run_blob VALUES (?, ?) ON CONFLICT (run, blob) DO NOTHING", (run_id, blob))

    def keep_artifacts(self, tx: Transaction, run_id: str, artifacts: Mapping[str, Artifact], *, by: str) -> None:
        """Record what was logged as outputs of a run, made by a task or by the run; the last one of a name counts."""
        for name, artifact in artifacts.items():
            ArtifactStore(self.database, self.ledger).add(tx, artifact, by_task=by)
            tx.execute(
                "INSERT INTO run_artifact VALUES (?, ?, ?) ON CONFLICT (run, name) DO UPDATE SET artifact = excluded.artifact",
                (run_id, name, artifact.id),
            )

    def artifacts(self, run_id: str) -> dict[str, Artifact]:
        """What was logged as outputs of a run, by name, in the order of logging."""
        rows = self.database.query("SELECT name, artifact FROM run_artifact WHERE run = ? ORDER BY artifact", (run_id,))
        found = ArtifactStore(self.database, self.ledger).get_many(artifact for _, artifact in rows) if rows else {}
        return {name: found[artifact] for name, artifact in rows}

    def get(self, name: str, *, deleted: bool = False) -> Run:
        """A run by its id, a unique prefix of it, or `latest`: the newest that is no replay.

        With `deleted`, `latest` is the one deleted last.

        Raises:
            NotFoundError: no such run; the nearest ids are named.
            InvalidError: the prefix fits several runs.
        """
        if name == "latest":
            order = "run.deleted_at DESC, run.id DESC" if deleted else "run.id DESC"
            among = _top(deleted) if deleted else f"{_top(deleted)} AND run.kind <> 'replay'"
            rows = self.database.query(f"{SELECT} WHERE {among} ORDER BY {order} LIMIT 1")
            if deleted and not rows:
                raise NotFoundError("deleted run", name, hint="`mainspring runs list --deleted` lists those there are.")
        else:
            rows = self.database.query(
                f"{SELECT} WHERE run.id >= ? AND run.id < ? ORDER BY run.id LIMIT 2", (name, name + "g")
            )
        if not rows or (len(name) < _SHORTEST_PREFIX and name != "latest"):
            known = [row[0] for row in self.database.query("SELECT id FROM run ORDER BY id DESC LIMIT 200")]
            near = close_names(name, [run_id[: max(len(name), 12)] for run_id in known])
            listed = [] if near else self.list(limit=1)
            newest = f"The newest is {listed[0].id[:12]}. " if listed else ""
            if listed and name == "latest":  # else one of them would be it
                newest = f"There are replays alone, which it never is. {newest}"
            raise NotFoundError("run", name, near, f"{newest}`mainspring runs` lists them.")
        if len(rows) > 1:
            raise InvalidError("run", name, "a unique prefix", f"It fits {rows[0][0]} and {rows[1][0]}.")
        return to_runs(self.database, rows)[0]

    def get_many(self, ids: Iterable[str]) -> dict[str, Run]:
        """The runs among these ids, by id."""
        found = {}
        for batch, marks in batches(ids):
            rows = self.database.query(f"{SELECT} WHERE run.id IN ({marks})", batch)
            found.update({run.id: run for run in to_runs(self.database, rows)})
        return found

    def list(
        self, *, state: str | None = None, parent: str | None = None, kind: str | None = None, limit: int = 20,
        before: str | None = None, deleted: bool = False, leases: Leases | None = None,
    ) -> list[Run]:  # fmt: skip
        """Runs that are not deleted, or those that are, newest first. `before` is the last id seen.

        They are top-level ones, of deleted runs those that were not deleted with what they are in; or a parent's. Their
        states are as they are recorded or, with `leases`, as they are.
        """
        where = [f"{seen('run', 'deleted' if deleted else 'active')} AND run.parent = ?" if parent else _top(deleted)]
        params: list[Any] = [parent] if parent else []
        if state:
            told = state_as_read(leases) if leases else Term("run.state")
            where.append(f"{told.sql} = ?")
            params += [*told.values, state]
        if kind:
            where.append("run.kind = ?")
            params.append(kind)
        if before:
            where.append("run.id < ?")
            params.append(before)
        rows = self.database.query(
            f"{SELECT} WHERE {' AND '.join(where)} ORDER BY run.id DESC LIMIT ?", [*params, limit]
        )
        found = to_runs(self.database, rows)
        return as_read(self.database, leases, found) if leases else found

    def shown_state(self, run: Run, leases: Leases) -> RunState:
        """The state as it is: a run that nobody works on any more was interrupted; a client's ends with what it is in."""
        return as_read(self.database, leases, [run])[0].state

    def goes_on(self, run: Run, leases: Leases) -> bool:
        """Whether a process works on a run; of a client of MLflow that isn't known here, and counts as no."""
        return run.kind != CLIENT_KIND and self.shown_state(run, leases) is RunState.RUNNING

    def experiment_of(self, run: Run) -> Experiment:
        """The experiment that a run belongs to."""
        return self.experiments.get(run.experiment)

    def _mark(self, tx: Transaction, run_id: str, which: str, deleted_at: int | None) -> int:
        """Mark a run and those of its steps as deleted, or as not; gives how many."""
        return tx.execute(
            f"UPDATE run SET deleted_at = ?, updated_at = ? WHERE (id = ? OR (parent = ? AND kind = 'task')) AND {which}",
            (deleted_at, clock.now_us(), run_id, run_id),
        )

    def _params(self, tx: Transaction, run_id: str, keys: Iterable[str]) -> dict[str, str]:
        """The texts of the parameters among these keys that a run has."""
        return {
            key: text
            for batch, marks in batches(keys)
            for key, text in tx.query(
                f"SELECT key, text FROM run_param WHERE run = ? AND key IN ({marks})", [run_id, *batch]
            )
        }

    def _insert(self, tx: Transaction, run: Run, experiment: str) -> None:
        """The rows of a run and its place in the lineage."""
        values = {key: stored(value) for key, value in msgspec.structs.asdict(run).items() if key not in ASIDE}
        tx.insert("run", values | {"experiment": experiment})
        self._add_params(tx, run.id, run.params)
        self._put_tags(tx, run.id, run.tags)
        self.ledger.node(tx, "run", run.id, run.name)
        if run.replay_of:
            self.ledger.edge(tx, run.id, "replays", run.replay_of)
        if run.parent:
            self.ledger.edge(tx, run.id, "part_of", run.parent)

    def _add_params(self, tx: Transaction, run_id: str, params: Mapping[str, Any]) -> None:
        if params:
            rows = [(run_id, key, *param_row(value)) for key, value in params.items()]
            tx.executemany("INSERT INTO run_param VALUES (?, ?, ?, ?)", rows)

    def _put_tags(self, tx: Transaction, run_id: str, tags: Mapping[str, str]) -> None:
        if tags:
            tx.executemany(
                "INSERT INTO run_tag VALUES (?, ?, ?) ON CONFLICT (run, key) DO UPDATE SET text = excluded.text",
                [(run_id, key, value) for key, value in tags.items()],
            )


def _top(deleted: bool) -> str:
    """The SQL condition of what is listed: what is in no run, of deleted ones also what was deleted without its run."""
    if not deleted:
        return f"{seen('run', 'active')} AND run.parent IS NULL"
    above = f"SELECT 1 FROM run AS above WHERE above.id = run.parent AND {seen('above', 'deleted')}"
    return f"{seen('run', 'deleted')} AND NOT EXISTS ({above})"


def gc_roots(database: Database) -> list[str]:
    """The blobs that runs name."""
    RunStore(database)
    rows = database.query("SELECT code, environment, git_diff, log FROM run")
    named = [digest for row in rows for digest in row if digest]
    aside = "SELECT blob FROM run_blob UNION SELECT digest FROM run_file"
    return named + [blob for (blob,) in database.query(aside)]

"""The tables of runs and experiments, and every statement over them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from mainspring import clock
from mainspring.artifacts.record import Artifact, ArtifactStore
from mainspring.errors import InvalidError, NotFoundError, close_names
from mainspring.ledger import Ledger, current_actor, new_id
from mainspring.runs.run import Run, RunState
from mainspring.secrets import redact
from mainspring.store import Database, Leases, Transaction

MIGRATIONS = [
    """
    CREATE TABLE experiment (id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE);
    CREATE TABLE run (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, experiment TEXT NOT NULL, parent TEXT,
        state TEXT NOT NULL, started_at INTEGER NOT NULL, ended_at INTEGER, actor TEXT NOT NULL, note TEXT NOT NULL,
        target TEXT NOT NULL, module TEXT NOT NULL, params TEXT NOT NULL, tags TEXT NOT NULL, seed INTEGER NOT NULL,
        threads INTEGER NOT NULL,
        hash_seed_fixed INTEGER NOT NULL, code TEXT, code_digest TEXT, environment TEXT, environment_digest TEXT,
        git_commit TEXT, git_diff TEXT, replay_of TEXT, series TEXT NOT NULL, error TEXT
    );
    CREATE INDEX run_by_parent ON run (parent, id);
    CREATE INDEX run_by_state ON run (state, id)
    """,
    """
    ALTER TABLE run ADD COLUMN resumed_at INTEGER;
    ALTER TABLE run ADD COLUMN worked_s REAL NOT NULL DEFAULT 0;
    ALTER TABLE run ADD COLUMN log TEXT;
    ALTER TABLE run ADD COLUMN cpu_s REAL;
    ALTER TABLE run ADD COLUMN peak_bytes INTEGER;
    CREATE TABLE run_blob (run TEXT NOT NULL, blob TEXT NOT NULL, PRIMARY KEY (run, blob));
    CREATE TABLE run_artifact (run TEXT NOT NULL, name TEXT NOT NULL, artifact TEXT NOT NULL, PRIMARY KEY (run, name))
    """,
]
_COLUMNS = ", ".join(Run.__struct_fields__)
_JSON = ("params", "tags")
_SHORTEST_PREFIX = 4
_BATCH = 400  # placeholders in one statement


class RunStore:
    """Runs of a workspace."""

    def __init__(self, database: Database, ledger: Ledger | None = None) -> None:
        self.database = database
        self.ledger = ledger or Ledger(database)
        database.migrate("runs", MIGRATIONS)

    def create(self, tx: Transaction, *, kind: str, name: str, **fields: Any) -> Run:
        """Record a run that starts now, with its node and event; `fields` are those of `Run`."""
        run_id = fields.pop("id", None) or new_id()
        run = msgspec.structs.replace(
            _blank(run_id), kind=kind, name=name, started_at=clock.now_us(), actor=str(current_actor()), **fields
        )
        if run.note:
            run = msgspec.structs.replace(run, note=redact(run.note))
        self._experiment(tx, run.experiment)
        tx.insert("run", _row(run))
        self.ledger.node(tx, "run", run.id, run.name)
        if run.replay_of:
            self.ledger.edge(tx, run.id, "replays", run.replay_of)
        if run.parent:
            self.ledger.edge(tx, run.id, "part_of", run.parent)
        self.ledger.append(tx, "run.started", run.id, {"kind": kind, "name": name})
        return run

    def update(self, tx: Transaction, run_id: str, **fields: Any) -> None:
        """Change fields of a run."""
        values = {key: _stored(key, value) for key, value in fields.items()}
        assignments = ", ".join(f"{key} = ?" for key in values)
        tx.execute(f"UPDATE run SET {assignments} WHERE id = ?", [*values.values(), run_id])

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

    def get(self, name: str) -> Run:
        """A run by its id, a unique prefix of it, or `latest`.

        Raises:
            NotFoundError: no such run; the nearest ids are named.
            InvalidError: the prefix fits several runs.
        """
        if name == "latest":
            rows = self.database.query(f"SELECT {_COLUMNS} FROM run WHERE parent IS NULL ORDER BY id DESC LIMIT 1")
        else:
            rows = self.database.query(
                f"SELECT {_COLUMNS} FROM run WHERE id >= ? AND id < ? ORDER BY id LIMIT 2", (name, name + "g")
            )
        if not rows or (len(name) < _SHORTEST_PREFIX and name != "latest"):
            known = [row[0] for row in self.database.query("SELECT id FROM run ORDER BY id DESC LIMIT 200")]
            near = close_names(name, [run_id[: max(len(name), 12)] for run_id in known])
            newest = f"The newest is {known[0][:12]}. " if known and not near else ""
            raise NotFoundError("run", name, near, f"{newest}`mainspring runs` lists them.")
        if len(rows) > 1:
            raise InvalidError("run", name, "a unique prefix", f"It fits {rows[0][0]} and {rows[1][0]}.")
        return _run(rows[0])

    def get_many(self, ids: Iterable[str]) -> dict[str, Run]:
        """The runs among these ids, by id."""
        wanted, found = sorted(set(ids)), {}
        for start in range(0, len(wanted), _BATCH):
            batch = wanted[start : start + _BATCH]
            marks = ", ".join("?" * len(batch))
            rows = self.database.query(f"SELECT {_COLUMNS} FROM run WHERE id IN ({marks})", batch)
            found.update({row[0]: _run(row) for row in rows})
        return found

    def list(
        self, *, state: str | None = None, parent: str | None = None, kind: str | None = None, limit: int = 20,
        before: str | None = None,
    ) -> list[Run]:  # fmt: skip
        """Runs, newest first; top-level ones unless a parent is named. `before` is the cursor: the last id seen."""
        where, params = ["parent = ?" if parent else "parent IS NULL"], [parent] if parent else []
        if state:
            where.append("state = ?")
            params.append(state)
        if kind:
            where.append("kind = ?")
            params.append(kind)
        if before:
            where.append("id < ?")
            params.append(before)
        rows = self.database.query(
            f"SELECT {_COLUMNS} FROM run WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?", [*params, limit]
        )
        return [_run(row) for row in rows]

    def shown_state(self, run: Run, leases: Leases) -> RunState:
        """The state as it is: a run that nobody works on any more was interrupted."""
        if run.state is RunState.RUNNING and not leases.held(f"run:{run.parent or run.id}"):
            return RunState.INTERRUPTED
        return run.state

    def experiment_number(self, name: str) -> int | None:
        """The decimal number of an experiment, its id for MLflow clients; 0 is Default."""
        row = self.database.query_one("SELECT number FROM experiment WHERE name = ?", (name,))
        return None if row is None else int(row[0])

    def _experiment(self, tx: Transaction, name: str) -> None:
        if tx.query_one("SELECT 1 FROM experiment WHERE name = ?", (name,)):
            return
        for each in ("Default", name):
            tx.execute(
                "INSERT INTO experiment SELECT ?, COALESCE(MAX(number), -1) + 1, ? FROM experiment WHERE true"
                " ON CONFLICT (name) DO NOTHING",
                (new_id(), each),
            )


def gc_roots(database: Database) -> list[str]:
    """The blobs that runs name."""
    RunStore(database)
    rows = database.query("SELECT code, environment, git_diff, log FROM run")
    named = [digest for row in rows for digest in row if digest]
    return named + [blob for (blob,) in database.query("SELECT DISTINCT blob FROM run_blob")]


def _blank(run_id: str) -> Run:
    return Run(
        id=run_id, kind="", name="", experiment="Default", parent=None, state=RunState.RUNNING, started_at=0,
        ended_at=None, actor="", note="", target="", module="", params={}, tags={}, seed=0, threads=0, hash_seed_fixed=False,
        code=None, code_digest=None, environment=None, environment_digest=None, git_commit=None, git_diff=None,
        replay_of=None, series=run_id, error=None,
    )  # fmt: skip


def _row(run: Run) -> dict[str, Any]:
    return {name: _stored(name, getattr(run, name)) for name in Run.__struct_fields__}


def _stored(name: str, value: Any) -> Any:
    if name in _JSON:
        return msgspec.json.encode(named_numbers(value)).decode()
    return int(value) if isinstance(value, bool) else value


def named_numbers(value: Any) -> Any:
    """A value for JSON, which has no NaN and no infinities: they become the texts `NaN`, `Infinity` and `-Infinity`.

    >>> named_numbers({"a": [1.5, float("nan"), float("-inf")]})
    {'a': [1.5, 'NaN', '-Infinity']}
    """
    if isinstance(value, float):
        return (
            value if math.isfinite(value) else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        )
    if isinstance(value, dict):
        return {key: named_numbers(item) for key, item in value.items()}
    return [named_numbers(item) for item in value] if isinstance(value, list | tuple) else value


def _run(row: tuple[Any, ...]) -> Run:
    values: Mapping[str, Any] = dict(zip(Run.__struct_fields__, row, strict=True))
    return msgspec.convert(
        {name: msgspec.json.decode(value) if name in _JSON else value for name, value in values.items()},
        Run,
        strict=False,
    )

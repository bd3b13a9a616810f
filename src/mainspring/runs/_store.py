"""The tables of runs and experiments, and every statement over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mainspring import clock
from mainspring.errors import InvalidError, NotFoundError, close_names
from mainspring.ledger import Ledger, current_actor, new_id
from mainspring.runs.run import Run, RunState
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
]
_COLUMNS = ", ".join(Run.__struct_fields__)
_JSON = ("params", "tags")
_SHORTEST_PREFIX = 4


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
            raise NotFoundError("run", name, near, "`mainspring runs` lists them.")
        if len(rows) > 1:
            raise InvalidError("run", name, "a unique prefix", f"It fits {rows[0][0]} and {rows[1][0]}.")
        return _run(rows[0])

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
    rows = database.query("SELECT code, environment, git_diff FROM run")
    return [digest for row in rows for digest in row if digest]


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
        return msgspec.json.encode(value).decode()
    return int(value) if isinstance(value, bool) else value


def _run(row: tuple[Any, ...]) -> Run:
    values: Mapping[str, Any] = dict(zip(Run.__struct_fields__, row, strict=True))
    return msgspec.convert(
        {name: msgspec.json.decode(value) if name in _JSON else value for name, value in values.items()},
        Run,
        strict=False,
    )

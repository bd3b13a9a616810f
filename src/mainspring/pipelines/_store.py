"""The tables of tasks, attempts, fingerprints and the cache, and every statement over them.

Invariant: an attempt's outputs, its task's state, the cache entry and the lineage are one transaction, which is refused
when the attempt's lease was taken over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from mainspring import clock
from mainspring.artifacts.record import Artifact, ArtifactStore
from mainspring.ledger import Ledger, new_id
from mainspring.pipelines.graph import Binding, Entries, FromTask, Items, Stored
from mainspring.pipelines.task import UNFINISHED, Attempt, RunRequest, Task, TaskState, Usage
from mainspring.store import Database, Lease, Leases, Transaction, batches

MIGRATIONS = [
    """
    CREATE TABLE task (
        id TEXT PRIMARY KEY, run TEXT NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL, module TEXT NOT NULL,
        qualname TEXT NOT NULL, seed_name TEXT NOT NULL, map_of TEXT, map_index INTEGER, mapped TEXT,
        state TEXT NOT NULL, options TEXT NOT NULL, bindings TEXT NOT NULL, arguments TEXT NOT NULL,
        tolerates TEXT NOT NULL, fingerprint TEXT, cache_key TEXT, reasons TEXT NOT NULL,
        reused_from TEXT, replay_of TEXT, outputs TEXT NOT NULL, seen TEXT NOT NULL, seed INTEGER NOT NULL,
        started_at INTEGER, ended_at INTEGER, wall_s REAL, cpu_s REAL, peak_bytes INTEGER, error TEXT, log TEXT, child_run TEXT
    );
    CREATE INDEX task_by_run ON task (run, position, map_index);
    CREATE INDEX task_by_step ON task (module, qualname, id);
    CREATE TABLE attempt (
        id TEXT PRIMARY KEY, task TEXT NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL, runner TEXT NOT NULL,
        worker TEXT NOT NULL, token INTEGER NOT NULL, started_at INTEGER NOT NULL, ended_at INTEGER, kind TEXT,
        message TEXT, log TEXT, wall_s REAL, cpu_s REAL, peak_bytes INTEGER
    );
    CREATE INDEX attempt_by_task ON attempt (task, number);
    CREATE TABLE cache_entry (key TEXT PRIMARY KEY, task TEXT NOT NULL, created_at INTEGER NOT NULL);
    CREATE TABLE fingerprint (digest TEXT PRIMARY KEY, parts TEXT NOT NULL);
    CREATE TABLE code_tree (manifest TEXT PRIMARY KEY, blobs TEXT NOT NULL);
    CREATE TABLE run_output (run TEXT NOT NULL, name TEXT NOT NULL, binding TEXT NOT NULL, PRIMARY KEY (run, name))
    """,
    "CREATE TABLE run_request (run TEXT PRIMARY KEY, request TEXT NOT NULL)",
]
_JSON = {"options", "bindings", "arguments", "tolerates", "reasons", "outputs", "seen"}
_COLUMNS = ", ".join(Task.__struct_fields__)
_GONE = "its process is gone"
INTERRUPTED = "interrupted"  # shown of what is recorded as running
_ATTEMPT_COLUMNS = ", ".join(Attempt.__struct_fields__)


class TaskStore:
    """Tasks of a workspace."""

    def __init__(self, database: Database, ledger: Ledger, leases: Leases) -> None:
        self.database = database
        self.ledger = ledger
        self.leases = leases
        self.artifacts = ArtifactStore(database, ledger)
        self._parts: dict[str, dict[str, str]] = {}
        self._parent = Task(id="", run="", position=0, name="", module="", qualname="")  # of the items read last
        database.migrate("pipelines", MIGRATIONS)

    def add(self, tx: Transaction, tasks: Iterable[Task]) -> None:
        """Record new tasks with their nodes."""
        for task in tasks:
            columns = _row(task)
            marks = ", ".join("?" * len(columns))
            tx.execute(f"INSERT INTO task ({_COLUMNS}) VALUES ({marks})", list(columns.values()))
            self.ledger.node(tx, "task", task.id, task.name)
            self.ledger.edge(tx, task.id, "part_of", task.run)
            if task.map_of:
                self.ledger.edge(tx, task.id, "part_of", task.map_of)

    def of_run(self, run_id: str) -> list[Task]:
        """The tasks of a run, in the order of the calls; mapped ones behind what they belong to."""
        rows = self.database.query(
            f"SELECT {_COLUMNS} FROM task WHERE run = ? ORDER BY position, map_index NULLS FIRST", (run_id,)
        )
        tasks = [_task(row) for row in rows]
        parents = {task.id: task for task in tasks if task.is_mapped}
        for task in tasks:
            if task.map_of in parents:
                _share(task, parents[task.map_of])
        return tasks

    def expand(self, tx: Transaction, task: Task, children: Iterable[Task]) -> None:
        """Record the items of a mapped task, and what it takes, which is theirs too."""
        self.add(tx, children)
        self.update(tx, task.id, state=TaskState.MAPPED, arguments=task.arguments)
        self._uses(tx, task)

    def get(self, task_id: str) -> Task | None:
        """A task by its id."""
        row = self.database.query_one(f"SELECT {_COLUMNS} FROM task WHERE id = ?", (task_id,))
        return None if row is None else self._whole(_task(row))

    def previous(self, module: str, qualname: str, before_run: str, name: str, *, failed: bool = False) -> Task | None:
        """The task of an earlier run that made a result by the same step, or failed, preferably under the same name.

        A replay is no earlier run: what it had in its process is never what a key is made of.
        """
        states = (TaskState.FAILED, TaskState.FAILED) if failed else (TaskState.SUCCEEDED, TaskState.REUSED)
        rows = self.database.query(
            f"SELECT {_COLUMNS} FROM task WHERE module = ? AND qualname = ? AND run < ? AND state IN (?, ?)"
            " AND NOT EXISTS (SELECT 1 FROM run WHERE run.id = task.run AND run.kind = 'replay')"
            " ORDER BY run DESC, CASE WHEN name = ? THEN 0 ELSE 1 END, map_index NULLS FIRST LIMIT 1",
            (module, qualname, before_run, *states, name),
        )
        return self._whole(_task(rows[0])) if rows else None

    def update(self, tx: Transaction, task_id: str, **fields: Any) -> None:
        """Change fields of a task."""
        values = {key: _stored(key, value) for key, value in fields.items()}
        assignments = ", ".join(f"{key} = ?" for key in values)
        tx.execute(f"UPDATE task SET {assignments} WHERE id = ?", [*values.values(), task_id])

    def attempts(self, task_id: str) -> list[Attempt]:
        """The attempts of a task, first to last."""
        rows = self.database.query(f"SELECT {_ATTEMPT_COLUMNS} FROM attempt WHERE task = ? ORDER BY number", (task_id,))
        return [Attempt(**dict(zip(Attempt.__struct_fields__, row, strict=True))) for row in rows]

    def shown_state(self, task_id: str, state: str) -> str:
        """The state, of a task or attempt of it, as it is: what runs, and nobody works on any more, was interrupted."""
        if state != TaskState.RUNNING or self.leases.held(f"task:{task_id}"):
            return str(state)
        return INTERRUPTED

    def open_attempts(self, run_id: str) -> list[Attempt]:
        """The attempts of a run that have no end yet."""
        columns = ", ".join(f"attempt.{name}" for name in Attempt.__struct_fields__)
        rows = self.database.query(
            f"SELECT {columns} FROM attempt JOIN task ON task.id = attempt.task"
            " WHERE task.run = ? AND attempt.state = 'running'",
            (run_id,),
        )
        return [Attempt(**dict(zip(Attempt.__struct_fields__, row, strict=True))) for row in rows]

    def hand_in_log(self, attempt_id: str, log: str) -> None:
        """Keep what an attempt printed, in place of what was known of that; it needs no lease, for nobody else knows more."""
        with self.database.transaction() as tx:
            tx.execute("UPDATE attempt SET log = ? WHERE id = ?", (log, attempt_id))

    def begin(self, task: Task, *, run_lease: Lease, runner: str, owner: str, ttl_s: float) -> tuple[Attempt, Lease]:
        """Start an attempt: lease, attempt and state in one transaction.

        Raises:
            LeaseLostError: somebody else drives this run now.
            ConflictError: somebody else works on this task.
        """
        with self.database.transaction() as tx:
            self.leases.check(tx, run_lease)
            lease = self.leases.claim_in(tx, f"task:{task.id}", owner, ttl_s)
            last = self._set_aside(tx, task)
            now = clock.now_us()
            attempt = Attempt(
                id=new_id(), task=task.id, number=last + 1, state="running", runner=runner,
                worker=owner, token=lease.token, started_at=now,
            )  # fmt: skip
            tx.insert("attempt", {name: getattr(attempt, name) for name in Attempt.__struct_fields__})
            self.update(
                tx, task.id, state=TaskState.RUNNING, started_at=task.started_at or now, error=None, seed=task.seed,
                reused_from=None, fingerprint=task.fingerprint, cache_key=task.cache_key, reasons=task.reasons,
                arguments=task.own_arguments,
            )  # fmt: skip
            self._uses(tx, task)
        return attempt, lease

    def succeed(
        self, task: Task, attempt: Attempt, lease: Lease, outputs: Sequence[Artifact], usage: Usage,
        *, seen: list[dict[str, Any]], log: str | None, reusable: bool, extra: Sequence[Any] = (),
    ) -> None:  # fmt: skip
        """Commit a result: artifacts, lineage, cache entry, states and event in one transaction.

        `extra` are functions of the transaction, for what was logged meanwhile.

        Raises:
            LeaseLostError: the task was taken over; nothing was committed.
        """
        now = clock.now_us()
        with self.database.transaction() as tx:
            self.leases.check(tx, lease)
            for artifact in outputs:
                self.artifacts.add(tx, artifact, by_task=task.id)
            for write in extra:
                write(tx)
            self.update(
                tx, task.id, state=TaskState.SUCCEEDED, ended_at=now, outputs={a.name: a.id for a in outputs}, seen=seen,
                wall_s=usage.wall_s, cpu_s=usage.cpu_s, peak_bytes=usage.peak_bytes, log=log, reasons=task.reasons,
            )  # fmt: skip
            self._end_attempt(tx, attempt.id, "succeeded", log=log, usage=usage)
            if reusable and task.cache_key:
                tx.execute(
                    "INSERT INTO cache_entry VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET task = excluded.task,"
                    " created_at = excluded.created_at",
                    (task.cache_key, task.id, now),
                )
            self.leases.release_in(tx, lease)
            self.ledger.append(tx, "task.succeeded", task.id, {"run": task.run, "name": task.name})

    def fail(
        self, task: Task, attempt: Attempt, lease: Lease, kind: str, message: str,
        *, usage: Usage | None = None, log: str | None = None, state: TaskState = TaskState.FAILED,
    ) -> None:  # fmt: skip
        """Record that an attempt failed or was cancelled; raises `LeaseLostError` as `succeed` does."""
        with self.database.transaction() as tx:
            self.leases.check(tx, lease)
            self._end_attempt(
                tx, attempt.id, "cancelled" if state is TaskState.CANCELLED else "failed",
                kind=kind, message=message, log=log, usage=usage,
            )  # fmt: skip
            wall_s, peak_bytes = (usage.wall_s, usage.peak_bytes) if usage else (None, None)
            self.update(
                tx,
                task.id,
                state=state,
                ended_at=clock.now_us(),
                error=message,
                log=log,
                wall_s=wall_s,
                peak_bytes=peak_bytes,
            )
            self.leases.release_in(tx, lease)
            self.ledger.append(tx, f"task.{state.value}", task.id, {"run": task.run, "name": task.name, "kind": kind})

    def reuse(self, tx: Transaction, task: Task, origin: Task) -> None:
        """Record that a task took an earlier one's result: `reused` edges, no new artifacts."""
        now = clock.now_us()
        self._set_aside(tx, task)
        self.update(
            tx, task.id, state=TaskState.REUSED, started_at=now, ended_at=now, outputs=origin.outputs,
            reused_from=origin.reused_from or origin.id, fingerprint=task.fingerprint, cache_key=task.cache_key,
            arguments=task.own_arguments, seed=task.seed, reasons=[], error=None, wall_s=None, cpu_s=None,
            peak_bytes=None, log=None,
        )  # fmt: skip
        self._uses(tx, task)
        for artifact_id in origin.outputs.values():
            self.ledger.edge(tx, task.id, "reused", artifact_id, task.id)
        self.ledger.append(tx, "task.reused", task.id, {"run": task.run, "name": task.name})

    def lose_attempts(
        self, tx: Transaction, run_id: str, logs: Mapping[str, str] = {}, elsewhere: Mapping[str, str] = {}
    ) -> int:
        """Close the attempts that a dead driver left open and put their tasks back in line; gives their number.

        `logs` are the blobs with what they printed, `elsewhere` says where that is instead, both by attempt.
        """
        rows = self._open_attempts(tx, run_id)
        for attempt_id, task_id in rows:
            place = elsewhere.get(attempt_id)
            message = f"{_GONE}, and what it printed is not here: {place}" if place else _GONE
            self._end_attempt(tx, attempt_id, "lost", kind="lost", message=message, log=logs.get(attempt_id))
            tx.execute("UPDATE lease SET expires_at = 0 WHERE name = ?", (f"task:{task_id}",))
        tx.execute(
            "UPDATE task SET state = ?, error = NULL, ended_at = NULL WHERE run = ? AND state NOT IN (?, ?, ?)",
            (TaskState.WAITING, run_id, TaskState.SUCCEEDED, TaskState.REUSED, TaskState.MAPPED),
        )
        return len(rows)

    def cancel_attempts(self, tx: Transaction, run_id: str, logs: Mapping[str, str] = {}) -> None:
        """Close what is still open when its run ends: attempts with their leases and logs, and tasks."""
        for attempt_id, task_id in self._open_attempts(tx, run_id):
            log = logs.get(attempt_id)
            self._end_attempt(tx, attempt_id, "cancelled", kind="cancelled", message="the run ended", log=log)
            tx.execute("UPDATE lease SET expires_at = 0 WHERE name = ?", (f"task:{task_id}",))
        tx.execute(
            "UPDATE task SET state = ?, error = 'the run ended before', ended_at = ? WHERE run = ? AND state IN (?, ?, ?)",
            (TaskState.CANCELLED, clock.now_us(), run_id, *UNFINISHED),
        )

    def entry(self, key: str) -> Task | None:
        """The task whose result a cache key stands for."""
        row = self.database.query_one("SELECT task FROM cache_entry WHERE key = ?", (key,))
        return None if row is None else self.get(row[0])

    def keep_code(self, tx: Transaction, manifest: str, blobs: Sequence[str]) -> None:
        """Record which blobs a code tree needs, so that they are kept with its runs."""
        tx.execute(
            "INSERT INTO code_tree VALUES (?, ?) ON CONFLICT (manifest) DO NOTHING",
            (manifest, msgspec.json.encode(blobs).decode()),
        )

    def keep_request(self, tx: Transaction, run_id: str, request: RunRequest) -> None:
        """Record how a run was asked for."""
        tx.insert("run_request", {"run": run_id, "request": msgspec.json.encode(request).decode()})

    def request(self, run_id: str) -> RunRequest:
        """How a run was asked for; the defaults if that was not recorded."""
        row = self.database.query_one("SELECT request FROM run_request WHERE run = ?", (run_id,))
        return RunRequest() if row is None else msgspec.json.decode(row[0], type=RunRequest)

    def set_outputs(self, tx: Transaction, run_id: str, outputs: dict[str, Binding]) -> None:
        """Record what a run's pipeline returns, by name."""
        for name, binding in outputs.items():
            tx.execute(
                "INSERT INTO run_output VALUES (?, ?, ?) ON CONFLICT (run, name) DO UPDATE SET binding = excluded.binding",
                (run_id, name, msgspec.json.encode(binding).decode()),
            )

    def outputs(self, run_id: str) -> dict[str, Binding]:
        """What a run's pipeline returns, by name."""
        rows = self.database.query("SELECT name, binding FROM run_output WHERE run = ?", (run_id,))
        return {name: msgspec.json.decode(text, type=Binding) for name, text in rows}

    def child_runs(self, tasks: Iterable[Task]) -> dict[str, str]:
        """The runs of the tasks that logged something, by task; a reused task has that of the task it was taken from."""
        found = {task.id: task.child_run for task in tasks if task.child_run}
        reused = {task.id: task.reused_from for task in tasks if task.reused_from}
        logged: dict[str, str] = {}
        for batch, marks in batches(reused.values()):
            sql = f"SELECT id, child_run FROM task WHERE child_run IS NOT NULL AND id IN ({marks})"
            logged |= dict(self.database.query(sql, batch))
        return found | {task: logged[origin] for task, origin in reused.items() if origin in logged}

    def drop_entry(self, key: str) -> None:
        """Forget a cache entry whose result can't be read any more."""
        with self.database.transaction() as tx:
            tx.execute("DELETE FROM cache_entry WHERE key = ?", (key,))

    def keep_fingerprint(self, digest: str, parts: dict[str, str]) -> None:
        """Keep the parts of a fingerprint for later comparisons."""
        if self.database.query_one("SELECT 1 FROM fingerprint WHERE digest = ?", (digest,)) is None:
            with self.database.transaction() as tx:
                tx.execute(
                    "INSERT INTO fingerprint VALUES (?, ?) ON CONFLICT (digest) DO NOTHING",
                    (digest, msgspec.json.encode(parts).decode()),
                )

    def fingerprint_parts(self, digest: str) -> dict[str, str]:
        """The parts of a fingerprint that was kept; empty if it wasn't."""
        parts = self._parts.get(digest)
        if parts is None:
            row = self.database.query_one("SELECT parts FROM fingerprint WHERE digest = ?", (digest,))
            if row is None:
                return {}
            parts = self._parts[digest] = msgspec.json.decode(row[0], type=dict[str, str])
        return parts

    def _open_attempts(self, tx: Transaction, run_id: str) -> list[tuple[str, str]]:
        rows = tx.query(
            "SELECT attempt.id, task.id FROM attempt JOIN task ON task.id = attempt.task"
            " WHERE task.run = ? AND attempt.state = 'running'",
            (run_id,),
        )
        return [(attempt_id, task_id) for attempt_id, task_id in rows]

    def _end_attempt(
        self, tx: Transaction, attempt_id: str, state: str, *, kind: str | None = None, message: str | None = None,
        log: str | None = None, usage: Usage | None = None,
    ) -> None:  # fmt: skip
        used = (usage.wall_s, usage.cpu_s, usage.peak_bytes) if usage else (None, None, None)
        tx.execute(
            "UPDATE attempt SET state = ?, ended_at = ?, kind = ?, message = ?, log = COALESCE(?, log), wall_s = ?, cpu_s = ?,"
            " peak_bytes = ? WHERE id = ?",
            (state, clock.now_us(), kind, message, log, *used, attempt_id),
        )

    def _whole(self, task: Task) -> Task:
        """An item with what it shares with the others of its list."""
        if task.map_of:
            if self._parent.id != task.map_of:
                row = self.database.query_one(f"SELECT {_COLUMNS} FROM task WHERE id = ?", (task.map_of,))
                if row is None:
                    return task
                self._parent = _task(row)
            _share(task, self._parent)
        return task

    def _set_aside(self, tx: Transaction, task: Task) -> int:
        """Part what was recorded of the task so far from what comes; gives the number of its last attempt."""
        last = tx.query_one("SELECT id, number FROM attempt WHERE task = ? ORDER BY number DESC LIMIT 1", (task.id,))
        attempt, number = last or ("", 0)
        self.ledger.set_aside(tx, task.id, task.run, attempt, f"{number} of {task.name}")
        return int(number)

    def _uses(self, tx: Transaction, task: Task) -> None:
        for parameter, binding in task.own_arguments.items():
            for artifact_id in stored_in(binding):
                self.ledger.edge(tx, task.id, f"uses:{parameter}", artifact_id, task.id)


def stored_in(binding: Any) -> list[str]:
    """The artifacts that a binding names."""
    return [leaf.artifact for leaf in leaves(binding) if isinstance(leaf, Stored)]


def awaited_in(binding: Any) -> list[str]:
    """The names of the tasks that a binding waits for."""
    return [leaf.task for leaf in leaves(binding) if isinstance(leaf, FromTask)]


def leaves(binding: Any) -> Iterable[Any]:
    """The bindings at the ends of a tree of lists and dicts."""
    if isinstance(binding, Items):
        for item in binding.items:
            yield from leaves(item)
    elif isinstance(binding, Entries):
        for entry in binding.entries:
            for part in entry:
                yield from leaves(part)
    else:
        yield binding


def gc_roots(database: Database) -> Iterable[str]:
    """The blobs that tasks, attempts and code trees name."""
    database.migrate("pipelines", MIGRATIONS)
    for row in database.query("SELECT log FROM attempt UNION SELECT log FROM task"):
        if row[0]:
            yield row[0]
    for (text,) in database.query("SELECT blobs FROM code_tree"):
        yield from msgspec.json.decode(text, type=list[str])


def _row(task: Task) -> dict[str, Any]:
    return {name: _stored(name, getattr(task, name)) for name in Task.__struct_fields__}


def _stored(name: str, value: Any) -> Any:
    return msgspec.json.encode(value).decode() if name in _JSON else value


def _share(task: Task, parent: Task) -> None:
    task.bindings = parent.bindings | task.bindings
    task.arguments = parent.arguments | task.arguments


def _task(row: tuple[Any, ...]) -> Task:
    values = dict(zip(Task.__struct_fields__, row, strict=True))
    for name in _JSON:
        values[name] = msgspec.json.decode(values[name])
    return msgspec.convert(values, Task)

"""The tables of studies: definitions, trials, and the journal that Optuna's state is replayed from.

Invariant: a log of the journal and what it means for the trial, its run and its lease are one transaction. So no trial
runs without a lease, and none ends twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from mainspring import clock
from mainspring.errors import ConflictError, NotFoundError, close_names
from mainspring.ledger import new_id
from mainspring.runs import RunLog, RunState, RunStore, named_numbers
from mainspring.store import Lease, Transaction
from mainspring.studies.records import Definition, StudyRecord, Trial, TrialState
from mainspring.workspace import Workspace

MIGRATIONS = [
    """
    CREATE TABLE study (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, scope TEXT NOT NULL, definition TEXT NOT NULL, created_at INTEGER NOT NULL,
        UNIQUE (name, scope)
    );
    CREATE TABLE study_log (study TEXT NOT NULL, number INTEGER NOT NULL, log TEXT NOT NULL, PRIMARY KEY (study, number));
    CREATE TABLE study_trial (
        study TEXT NOT NULL, number INTEGER NOT NULL, run TEXT, state TEXT NOT NULL, params TEXT NOT NULL,
        results TEXT NOT NULL, attempts INTEGER NOT NULL, started_at INTEGER, ended_at INTEGER, cost REAL NOT NULL,
        error TEXT, taken_from TEXT, claim TEXT NOT NULL, PRIMARY KEY (study, number)
    );
    CREATE INDEX study_trial_by_state ON study_trial (study, state);
    CREATE INDEX study_trial_by_claim ON study_trial (claim)
    """,
]
_TRIAL = "number, run, state, params, results, attempts, started_at, ended_at, cost, error, taken_from"
_STUDY = "id, name, scope, definition, created_at"
MOST_ATTEMPTS = 3  # a trial that takes its process down with it would never end


class SpentError(Exception):
    """No further trial may begin; private to the search, which ends by it."""


class TakenError(Exception):
    """Somebody else was faster; private to the search, which looks again."""


class Held(msgspec.Struct, frozen=True):
    """A trial that this process works on, with the lease that proves it."""

    number: int
    run: str
    series: str
    attempt: int
    lease: Lease


class Ending(msgspec.Struct, kw_only=True):
    """How a trial ended, beside what Optuna's log says."""

    params: dict[str, Any]
    cost: float = 0.0
    error: str | None = None
    log: RunLog | None = None


class StudyStore:
    """Studies of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.database = workspace.database
        self.leases = workspace.leases
        self.runs = RunStore(workspace.database, workspace.ledger)
        self.database.migrate("studies", MIGRATIONS)

    # Studies.

    def find(self, name: str, scope: str = "") -> StudyRecord | None:
        """The study of that name in a scope."""
        row = self.database.query_one(f"SELECT {_STUDY} FROM study WHERE name = ? AND scope = ?", (name, scope))
        return None if row is None else _study(row)

    def get(self, name: str) -> StudyRecord:
        """A study by its name or a unique beginning of its id; of several of a name that outside of steps, else the newest.

        Raises:
            NotFoundError: no such study; the nearest names are given.
        """
        rows = self.database.query(f"SELECT {_STUDY} FROM study WHERE name = ? ORDER BY scope, id DESC", (name,))
        if rows and rows[0][2]:
            rows.sort(reverse=True)
        rows = rows or self.database.query(f"SELECT {_STUDY} FROM study WHERE id >= ? AND id < ?", (name, name + "g"))
        if not rows or (rows[0][1] != name and len(rows) > 1):
            known = [row[0] for row in self.database.query("SELECT DISTINCT name FROM study")]
            raise NotFoundError("study", name, close_names(name, known), "`mainspring studies` lists them.")
        return _study(rows[0])

    def newest(self, limit: int) -> list[StudyRecord]:
        """Studies, newest first."""
        return [
            _study(row) for row in self.database.query(f"SELECT {_STUDY} FROM study ORDER BY id DESC LIMIT ?", (limit,))
        ]

    def add(self, tx: Transaction, study: StudyRecord) -> None:
        """Keep a study whose run was made in the same transaction."""
        tx.insert("study", {**msgspec.structs.asdict(study), "definition": _text(study.definition)})

    def redefine(self, tx: Transaction, study: StudyRecord) -> None:
        """Keep a changed definition."""
        tx.execute("UPDATE study SET definition = ? WHERE id = ?", (_text(study.definition), study.id))

    # The journal.

    def logs(self, study: str, since: int) -> list[str]:
        """The logs from a number on, in order."""
        rows = self.database.query(
            "SELECT log FROM study_log WHERE study = ? AND number >= ? ORDER BY number", (study, since)
        )
        return [log for (log,) in rows]

    def append(self, study: str, logs: Sequence[str], also: Callable[[Transaction], Any]) -> Any:
        """Append logs and do what they mean, all or nothing; gives what `also` gives."""
        with self.database.transaction() as tx:
            given = also(tx)
            first = (tx.query_one("SELECT MAX(number) + 1 FROM study_log WHERE study = ?", (study,)) or (0,))[0] or 0
            tx.executemany(
                "INSERT INTO study_log VALUES (?, ?, ?)", [(study, first + n, log) for n, log in enumerate(logs)]
            )
        return given

    # Trials.

    def trials(self, study: str) -> list[Trial]:
        """All trials by number, those taken over from another study too."""
        return [
            _trial(row)
            for row in self.database.query(
                f"SELECT {_TRIAL} FROM study_trial WHERE study = ? ORDER BY number", (study,)
            )
        ]

    def counts(self, studies: Sequence[str]) -> dict[str, dict[str, int]]:
        """How many own trials of each study are in each state."""
        marks = ", ".join("?" * len(studies))
        rows = self.database.query(
            f"SELECT study, state, COUNT(*) FROM study_trial WHERE study IN ({marks}) AND taken_from IS NULL"
            " GROUP BY study, state", studies,
        )  # fmt: skip
        found: dict[str, dict[str, int]] = {study: {} for study in studies}
        for study, state, number in rows:
            found[study][state] = number
        return found

    def may_begin(self, study: StudyRecord) -> bool:
        """Whether another trial fits the budget, and, in a grid, waits."""
        limits = study.definition.limits
        begun, cost = self.database.query(
            "SELECT COUNT(*), SUM(cost) FROM study_trial WHERE study = ? AND attempts > 0 AND taken_from IS NULL", (study.id,)
        )[0]  # fmt: skip
        if self.database.query_one(
            "SELECT 1 FROM study_trial WHERE study = ? AND state = 'waiting' AND attempts > 0", (study.id,)
        ):
            return True  # it was counted when it was begun first
        spent = (limits.trials is not None and begun >= limits.trials) or (
            limits.cost is not None and (cost or 0.0) >= limits.cost
        )
        return not spent and (study.definition.sampler != "grid" or self._waits(study.id))

    def begin(self, tx: Transaction, study: StudyRecord, number: int | None, claim: str, ttl_s: float) -> Held:
        """Begin a new trial, or one that waits: its row, run and lease.

        Raises:
            SpentError: the budget has no room for it.
            TakenError: it doesn't wait any more.
        """
        row = None
        if number is not None:
            row = tx.query_one(
                "SELECT state, run, attempts FROM study_trial WHERE study = ? AND number = ?", (study.id, number)
            )
            if row is None or row[0] != TrialState.WAITING:
                raise TakenError
        if not (row and row[2]) and not self.may_begin(study):
            raise SpentError
        if number is None:
            number = self._next(tx, study.id)
            self._insert(tx, study.id, number, TrialState.RUNNING)
        run, attempt = row[1] if row else None, (row[2] if row else 0) + 1
        if run is None:
            made = self.runs.create(
                tx,
                kind="trial",
                name=f"{study.name}/{number}",
                parent=study.id,
                experiment=self.runs.get(study.id).experiment,
            )
            run = series = made.id
        else:
            series = new_id()
            self.runs.resume(tx, self.runs.get(run))
            self.runs.update(tx, run, series=series)
        tx.execute(
            "UPDATE study_trial SET run = ?, state = ?, attempts = ?, started_at = ?, claim = ? WHERE study = ? AND number = ?",
            (run, TrialState.RUNNING, attempt, clock.now_us(), claim, study.id, number),
        )
        lease = self.leases.claim_in(tx, f"run:{run}", self.workspace.owner, ttl_s)
        return Held(number, run, series, attempt, lease)

    def queue(self, tx: Transaction, study: str, params: Mapping[str, Any]) -> None:
        """Keep a trial that waits with these parameters."""
        self._insert(tx, study, self._next(tx, study), TrialState.WAITING, params=params)

    def take_over(self, tx: Transaction, study: str, trial: Trial, source: str) -> None:
        """Keep a finished trial of another study."""
        self._insert(
            tx, study, self._next(tx, study), trial.state, params=trial.params, results=trial.values, run=trial.run,
            started_at=trial.started_at, ended_at=trial.ended_at, attempts=trial.attempts, taken_from=source,
        )  # fmt: skip

    def requeue(self, tx: Transaction, study: str, number: int, held: Lease | None) -> None:
        """Put a trial in line again: one's own, or one of which the lease is gone, which the old owner can't use any more.

        Raises:
            TakenError: somebody works on it.
        """
        lease = held or self._seize(tx, study, number)
        self.leases.check(tx, lease)
        self.leases.release_in(tx, lease)
        tx.execute(
            "UPDATE study_trial SET state = ? WHERE study = ? AND number = ?", (TrialState.WAITING, study, number)
        )

    def finish(
        self, tx: Transaction, study: StudyRecord, number: int, held: Held | None, state: TrialState,
        values: Sequence[float] | None, ending: Ending,
    ) -> None:  # fmt: skip
        """End a trial with its run, under its lease; one that nobody holds is seized first.

        Raises:
            LeaseLostError, TakenError: somebody else works on it.
        """
        lease = held.lease if held else self._seize(tx, study.id, number)
        self.leases.check(tx, lease)
        results = dict(zip(study.definition.metrics, values or (), strict=False))
        tx.execute(
            "UPDATE study_trial SET state = ?, params = ?, results = ?, cost = ?, error = ?, ended_at = ?"
            " WHERE study = ? AND number = ?",
            (state, _text(ending.params), _text(results), ending.cost, ending.error, clock.now_us(), study.id, number),
        )
        run, log = lease.name.removeprefix("run:"), ending.log
        self.runs.set_tags(tx, run, {"mainspring.trial": state.value})
        if log:
            log.params |= ending.params
            log.commit(tx, self.runs, run, by=run)
        else:
            self.runs.log_params(tx, run, ending.params)
        self.runs.finish(tx, run, RunState.FAILED if state is TrialState.FAILED else RunState.SUCCEEDED, ending.error)
        self.leases.release_in(tx, lease)

    def running(self, study: str) -> list[tuple[int, str, int, str]]:
        """Number, run, attempts and claim of each trial that is recorded as running."""
        return self.database.query(
            "SELECT number, run, attempts, claim FROM study_trial WHERE study = ? AND state = 'running' ORDER BY number",
            (study,),
        )

    def claimed(self, study: str, claim: str) -> Trial | None:
        """The trial that was begun for an order of a crew, if one was."""
        rows = self.database.query(f"SELECT {_TRIAL} FROM study_trial WHERE study = ? AND claim = ?", (study, claim))
        return _trial(rows[0]) if rows else None

    def left_behind(self, study: str, *, watched: Collection[str] = ()) -> list[tuple[int, int]]:
        """Number and attempts of each trial in flight of a process that is gone, but for those whose claims are watched."""
        return [
            (number, attempts)
            for number, run, attempts, claim in self.running(study)
            if claim not in watched and not self.leases.held(f"run:{run}")
        ]

    def _seize(self, tx: Transaction, study: str, number: int) -> Lease:
        row = tx.query_one("SELECT run, state FROM study_trial WHERE study = ? AND number = ?", (study, number))
        if row is None or row[1] != TrialState.RUNNING:
            raise TakenError
        try:
            return self.leases.claim_in(tx, f"run:{row[0]}", self.workspace.owner, 1.0)
        except ConflictError as error:
            raise TakenError from error

    def _waits(self, study: str) -> bool:
        row = self.database.query_one("SELECT 1 FROM study_trial WHERE study = ? AND state = 'waiting'", (study,))
        return row is not None

    def _next(self, tx: Transaction, study: str) -> int:
        return (tx.query_one("SELECT MAX(number) + 1 FROM study_trial WHERE study = ?", (study,)) or (0,))[0] or 0

    def _insert(self, tx: Transaction, study: str, number: int, state: TrialState, **fields: Any) -> None:
        blank = {
            "run": None, "attempts": 0, "started_at": None, "ended_at": None, "cost": 0.0, "error": None,
            "taken_from": None, "claim": "",
        }  # fmt: skip
        texts = {name: _text(fields.pop(name, {})) for name in ("params", "results")}
        tx.insert("study_trial", {"study": study, "number": number, "state": state.value, **blank, **texts, **fields})


def _text(value: Any) -> str:
    return msgspec.json.encode(named_numbers(value)).decode()


def _study(row: tuple[Any, ...]) -> StudyRecord:
    study, name, scope, definition, created_at = row
    decoded = msgspec.json.decode(definition, type=Definition)
    return StudyRecord(id=study, name=name, scope=scope, definition=decoded, created_at=created_at)


def _trial(row: tuple[Any, ...]) -> Trial:
    fields = dict(zip(_TRIAL.split(", "), row, strict=True))
    values = {name: float(value) for name, value in msgspec.json.decode(fields.pop("results")).items()}
    fields |= {"state": TrialState(fields["state"]), "params": msgspec.json.decode(fields["params"]), "values": values}
    return Trial(**fields)

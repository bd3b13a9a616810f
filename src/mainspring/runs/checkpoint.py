"""Checkpoints: states of training that a task or a script's run keeps, to go on from after it was stopped.

Invariant: a checkpoint is a row and an artifact of its task or run, written after its blobs and in one transaction with the
removal of those that the rules let go (their artifacts stay in the ledger, without bytes), so one that was cut off is never
seen. Only the same work sees them: the same task, or run, of the same code and inputs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from mainspring import clock
from mainspring.artifacts import Encoded, load, save
from mainspring.artifacts.codec import Preview
from mainspring.artifacts.record import Artifact, ArtifactStore
from mainspring.errors import InvalidError, RemovedError, WrongTypeError
from mainspring.ledger import Ledger, Scope, current_scope, new_id
from mainspring.runs._rows import named_numbers
from mainspring.runs.training import TrainingState
from mainspring.secrets import refuse_output
from mainspring.store import Database, Transaction
from mainspring.workspace import Workspace, current_workspace

Mode = Literal["min", "max"]
MIGRATIONS = [
    """
    CREATE TABLE checkpoint (
        id TEXT PRIMARY KEY, owner TEXT NOT NULL, work TEXT NOT NULL, name TEXT NOT NULL, step BIGINT NOT NULL,
        metrics TEXT NOT NULL, at BIGINT NOT NULL
    );
    CREATE INDEX checkpoint_by_owner ON checkpoint (owner, name, id)
    """,
]
_OF_ARTIFACT = ("content_digest", "encoded", "preview")  # stand in the row of the artifact


class Checkpoint(msgspec.Struct, frozen=True):
    """A state that was kept: of which task or run (`owner`), at which step, with which metrics, and where its bytes are.

    `id` is that of its artifact, and of its node in the ledger. `work` stands for the code and the inputs. `at` is
    microseconds since 1970.
    """

    id: str
    owner: str
    work: str
    name: str
    step: int
    metrics: dict[str, float]
    content_digest: str
    encoded: Encoded
    preview: Preview
    at: int

    @property
    def size_bytes(self) -> int:
        """The bytes of its blobs."""
        return self.encoded.size_bytes

    @property
    def label(self) -> str:
        """What lineage calls it: its name and step."""
        return f"{self.name}[{self.step}]"


class Checkpoints:
    """The checkpoints of the work at hand under a name, and the rules by which they are kept and written."""

    def __init__(
        self, scope: Scope, workspace: Workspace, name: str, *, keep_last: int, keep_best: int, metric: str | None, mode: Mode,
        every_steps: int | None, every_s: float | None,
    ) -> None:  # fmt: skip
        self._scope, self._workspace, self._name = scope, workspace, name
        self._work = scope.key or _code_here(workspace)
        self._keep_last, self._keep_best = keep_last, keep_best
        self._metric, self._mode = metric, mode
        self._every_steps, self._every_s = every_steps, every_s
        self._since = time.monotonic()
        self._store = CheckpointStore(workspace.database, workspace.ledger)
        latest = self.latest()
        self._step: int | None = None if latest is None else latest.step

    def save(self, state: Any, *, step: int | None = None, metrics: Mapping[str, float] | None = None) -> Checkpoint:
        """Keep a state; when this returns, it survives a kill.

        The state is a `TrainingState`, or any value that has a codec; its step is its own if it has one. Those that the rules
        no longer keep are removed in the same transaction: their nodes stay in the ledger, their blobs are collected later.

        Raises:
            CodecError: something in the state has no stored form.
            LeaseLostError: somebody else works on this task now.
            InvalidError: the metric that the best are chosen by is not among the metrics.
        """
        number, found = _step(state, step), _numbers(metrics or {})
        if self._metric is not None and self._metric not in found:
            raise InvalidError("metrics", sorted(found), f"metrics with `{self._metric}`, by which the best are chosen")
        value = state.capture() if isinstance(state, TrainingState) else state
        refuse_output(f"checkpoint `{self._name}`", value)
        digest, encoded, preview = save(value, self._workspace.blobs)
        made = Checkpoint(
            new_id(), self._scope.id, self._work, self._name, number, found, digest, encoded, preview, clock.now_us()
        )
        with self._workspace.database.transaction() as tx:
            self._store.add(tx, made)
            self._store.remove(tx, self._let_go(self._store.of(self._scope.id, self._name, self._work, tx)))
        self._step, self._since = number, time.monotonic()
        return made

    def save_if_due(
        self, state: Any, *, step: int | None = None, metrics: Mapping[str, float] | None = None
    ) -> Checkpoint | None:
        """Keep a state as `save` does if so many steps or seconds have passed since the last; else None, at no cost."""
        return self.save(state, step=step, metrics=metrics) if self.is_due(_step(state, step)) else None

    def is_due(self, step: int) -> bool:
        """Whether `every_steps` or `every_s` have passed since the last one; always if neither is set."""
        if self._every_steps is None and self._every_s is None:
            return True
        if self._every_steps is not None and step - (self._step or 0) >= self._every_steps:
            return True
        return self._every_s is not None and time.monotonic() - self._since >= self._every_s

    def kept(self) -> list[Checkpoint]:
        """Those that are kept, oldest first."""
        return self._store.of(self._scope.id, self._name, self._work)

    def latest(self) -> Checkpoint | None:
        """The one that was kept last, also before this attempt; None if there is none of this very work."""
        kept = self.kept()
        return kept[-1] if kept else None

    def best(self) -> Checkpoint | None:
        """The one with the best metric; None if there is none. NaN is the worst."""
        kept = self._ranked(self.kept())
        return kept[0] if kept else None

    def load(self, checkpoint: Checkpoint) -> Any:
        """The state that was kept, as a value; of a `TrainingState` what its `restore` takes.

        That the task or run at work here came from it is recorded in its lineage.

        Raises:
            RemovedError: the rules let it go.
            LeaseLostError: somebody else works on this task now.
        """
        self._store.expect_kept(checkpoint)
        value = load(checkpoint.encoded, self._workspace.blobs)
        with self._workspace.database.transaction() as tx:
            self._store.ledger.edge(tx, self._scope.id, "uses", checkpoint.id, self._scope.id)
        return value

    def resume(self, state: TrainingState, checkpoint: Checkpoint | None = None) -> bool:
        """Put a state back to a checkpoint, the latest unless one is given; False if there is none."""
        found = checkpoint or self.latest()
        if found is None:
            return False
        state.restore(self.load(found))
        return True

    def _let_go(self, kept: list[Checkpoint]) -> list[str]:
        stays = {each.id for each in kept[-self._keep_last :]} | {
            each.id for each in self._ranked(kept)[: self._keep_best]
        }
        return [each.id for each in kept if each.id not in stays]

    def _ranked(self, kept: list[Checkpoint]) -> list[Checkpoint]:
        """Best first; of equal ones the earlier."""
        if self._metric is None:
            return []
        sign, name = (1 if self._mode == "min" else -1), self._metric

        def rank(each: Checkpoint) -> float:
            value = each.metrics.get(name, math.nan)
            return math.inf if math.isnan(value) else sign * value

        return sorted(kept, key=rank)


class CheckpointStore:
    """The table of the checkpoints that are kept, each the artifact of its id."""

    def __init__(self, database: Database, ledger: Ledger | None = None) -> None:
        self.database = database
        self.ledger = ledger or Ledger(database)
        self.artifacts = ArtifactStore(database, self.ledger)
        database.migrate("checkpoints", MIGRATIONS)

    def add(self, tx: Transaction, checkpoint: Checkpoint) -> None:
        """Record one, whose blobs are there, with its node."""
        artifact = Artifact(
            checkpoint.id, checkpoint.label, checkpoint.content_digest, checkpoint.encoded, checkpoint.preview
        )
        self.artifacts.add(tx, artifact, by_task=checkpoint.owner, role="checkpoint_of")
        own = [name for name in Checkpoint.__struct_fields__ if name not in _OF_ARTIFACT]
        tx.insert("checkpoint", {name: _stored(getattr(checkpoint, name)) for name in own})

    def remove(self, tx: Transaction, ids: Iterable[str]) -> None:
        """Keep some no longer: their artifacts stay in the ledger, and say so."""
        gone = list(ids)
        self.artifacts.remove(tx, gone)
        for each in gone:
            tx.execute("DELETE FROM checkpoint WHERE id = ?", (each,))

    def expect_kept(self, checkpoint: Checkpoint) -> None:
        """Raises `RemovedError` if a checkpoint is kept no longer."""
        removed_at = self.artifacts.removed([checkpoint.id]).get(checkpoint.id)
        if removed_at is not None:
            raise RemovedError("checkpoint", checkpoint.label, clock.from_us(removed_at).isoformat(timespec="seconds"))

    def of(
        self, owner: str, name: str | None = None, work: str | None = None, tx: Transaction | None = None
    ) -> list[Checkpoint]:
        """The checkpoints of a task or run, oldest first; of a name and work, if they are given."""
        where, values = ["checkpoint.owner = ?"], [owner]
        for column, value in (("name", name), ("work", work)):
            if value is not None:
                where.append(f"checkpoint.{column} = ?")
                values.append(value)
        columns = ", ".join(
            f"{'artifact' if name in _OF_ARTIFACT else 'checkpoint'}.{name}" for name in Checkpoint.__struct_fields__
        )
        rows = (tx or self.database).query(
            f"SELECT {columns} FROM checkpoint JOIN artifact ON artifact.id = checkpoint.id"
            f" WHERE {' AND '.join(where)} ORDER BY checkpoint.id",
            values,
        )
        return [_read(row) for row in rows]


def checkpoints(
    name: str = "state",
    *,
    keep_last: int = 3,
    keep_best: int = 0,
    metric: str | None = None,
    mode: Mode = "min",
    every_steps: int | None = None,
    every_s: float | None = None,
) -> Checkpoints:
    """The checkpoints of the step or the script's run at work here.

    The last `keep_last` stay, and the `keep_best` best by a metric that is smallest (`mode="min"`) or largest. After a kill,
    `mainspring resume RUN` and retries give a new attempt those of the one before, if code and inputs are the same; for a
    script `start_run(resume=RUN)` does. A `name` tells several apart.

    Raises:
        InvalidError: nothing is at work here, or a rule makes no sense.
    """
    scope = current_scope()
    if scope is None:
        raise InvalidError("checkpoints", name, "a run at work", "Call it in a step, or after `run = ms.start_run()`.")
    if keep_last < 1:
        raise InvalidError("keep_last", keep_last, "at least 1: the last is what a new attempt goes on from")
    if keep_best < 0 or (keep_best and metric is None):
        raise InvalidError("keep_best", keep_best, "a number, and the `metric` by which the best are chosen")
    if mode not in ("min", "max"):
        raise InvalidError("mode", mode, "`min` or `max`")
    for rule, value in (("every_steps", every_steps), ("every_s", every_s)):
        if value is not None and value <= 0:
            raise InvalidError(rule, value, "a number above 0")
    return Checkpoints(
        scope, current_workspace(), name, keep_last=keep_last, keep_best=keep_best, metric=metric, mode=mode,
        every_steps=every_steps, every_s=every_s,
    )  # fmt: skip


def _code_here(workspace: Workspace) -> str:
    """What a script consists of; the cells of a notebook come and go, so they don't count."""
    from blake3 import blake3

    from mainspring.runs.code import script_sources

    hasher = blake3(b"checkpoints 1")
    for path, data in sorted(script_sources(workspace.project.root).items()):
        if path != "notebook.py":
            hasher.update(f"{path}\n{len(data)}\n".encode() + data)
    return hasher.hexdigest()


def _step(state: Any, step: int | None) -> int:
    found = step if step is not None else getattr(state, "step", None)
    if not isinstance(found, int):
        raise WrongTypeError(
            "step", found, "a whole number: give `step=…`, or a `TrainingState`, which counts its steps"
        )
    return found


def _numbers(metrics: Mapping[str, float]) -> dict[str, float]:
    return {str(key): float(value) for key, value in metrics.items()}


def _stored(value: Any) -> Any:
    return msgspec.json.encode(named_numbers(value)).decode() if isinstance(value, dict | msgspec.Struct) else value


def _read(row: tuple[Any, ...]) -> Checkpoint:
    values = dict(zip(Checkpoint.__struct_fields__, row, strict=True))
    values["metrics"] = {key: float(value) for key, value in msgspec.json.decode(values["metrics"]).items()}
    values["encoded"] = msgspec.json.decode(values["encoded"], type=Encoded)
    values["preview"] = msgspec.json.decode(values["preview"], type=Preview)
    return Checkpoint(**values)

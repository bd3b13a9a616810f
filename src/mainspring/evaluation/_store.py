"""The table of decisions on model versions: of each person one stands on a version, the others are history."""

from __future__ import annotations

from typing import Literal

import msgspec

from mainspring import clock
from mainspring.evaluation.policy import Decision
from mainspring.ledger import Actor
from mainspring.store import Database, Transaction

MIGRATIONS = [
    """
    CREATE TABLE evaluation_decision (
        id TEXT PRIMARY KEY, version TEXT NOT NULL, verdict TEXT NOT NULL, role TEXT NOT NULL, comment TEXT NOT NULL,
        actor TEXT NOT NULL, verified INTEGER NOT NULL, at INTEGER NOT NULL, run TEXT, evidence TEXT NOT NULL,
        ended TEXT NOT NULL, ended_at INTEGER
    );
    CREATE INDEX evaluation_decision_by_version ON evaluation_decision (version, at, id);
    CREATE UNIQUE INDEX evaluation_decision_standing ON evaluation_decision (version, actor) WHERE ended = ''
    """,
]
_COLUMNS = (
    "id", "version", "verdict", "role", "comment", "actor", "verified", "at", "run", "evidence", "ended", "ended_at",
)  # fmt: skip


class DecisionStore:
    """Decisions on the versions of a workspace; writes go into the caller's transaction.

    `within` is a transaction that is open already.
    """

    def __init__(self, database: Database, within: Transaction | None = None) -> None:
        self.database = database
        database.migrate("evaluation", MIGRATIONS, within=within)

    def of(self, version: str) -> list[Decision]:
        """Every decision on a version, newest first."""
        rows = self.database.query(
            f"SELECT {', '.join(_COLUMNS)} FROM evaluation_decision WHERE version = ? ORDER BY at DESC, id DESC",
            (version,),
        )
        found = []
        for row in rows:
            values = dict(zip(_COLUMNS, row, strict=True))
            values |= {"verified": bool(values["verified"]), "evidence": msgspec.json.decode(values["evidence"])}
            found.append(msgspec.convert(values, Decision))
        return found

    def standing(self, version: str, actor: Actor) -> Decision | None:
        """The decision that stands under somebody's name, or None."""
        return next((each for each in self.of(version) if not each.ended and each.actor == actor.name), None)

    def add(self, tx: Transaction, decision: Decision) -> None:
        """Write a new decision."""
        values = msgspec.structs.asdict(decision)
        values |= {
            "verified": int(decision.verified),
            "evidence": msgspec.json.encode(decision.evidence, order="deterministic").decode(),
        }
        tx.insert("evaluation_decision", {name: values[name] for name in _COLUMNS})

    def end(self, tx: Transaction, decision: Decision, why: Literal["withdrawn", "replaced"]) -> None:
        """Let a decision stand no longer."""
        tx.execute(
            "UPDATE evaluation_decision SET ended = ?, ended_at = ? WHERE id = ?", (why, clock.now_us(), decision.id)
        )

"""Optuna's journal storage on our database: appended numbered logs, each with what it means for the trial's record.

Optuna keeps its state in memory and replays what others appended since (`JournalStorage`). There are no snapshots:
Optuna's are pickles, and what is replayed is the journal of one study.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from optuna.storages.journal import BaseJournalBackend
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState as OptunaState

from mainspring.errors import LeaseLostError
from mainspring.store import Transaction
from mainspring.studies._store import Ending, Held, StudyStore
from mainspring.studies.records import StudyRecord, Trial, TrialState

STATES = {
    OptunaState.WAITING: TrialState.WAITING,
    OptunaState.RUNNING: TrialState.RUNNING,
    OptunaState.COMPLETE: TrialState.COMPLETE,
    OptunaState.PRUNED: TrialState.PRUNED,
    OptunaState.FAIL: TrialState.FAILED,
}


class Journal(BaseJournalBackend):
    """One study's logs, as one process writes them.

    `held` is the trial that this process works on: its logs are refused once its lease was taken over. `ending` and
    `source` are what a log of an end, or of a trial taken over, can't say by itself.
    """

    def __init__(self, store: StudyStore, study: StudyRecord, lease_s: float) -> None:
        self.store = store
        self.study = study
        self.lease_s = lease_s
        self.claim = ""
        self.held: Held | None = None
        self.ending = Ending(params={})
        self.source: tuple[Trial, str] | None = None

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """The logs from a number on."""
        return [json.loads(log) for log in self.store.logs(self.study.id, log_number_from)]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append logs, and what they mean, in one transaction."""

        def also(tx: Transaction) -> Held | None:
            held = self.held
            for log in logs:
                held = self._meaning(log)(tx, log, held)
            return held

        self.held = self.store.append(self.study.id, [json.dumps(log) for log in logs], also)

    def _meaning(self, log: dict[str, Any]) -> Callable[[Transaction, dict[str, Any], Held | None], Held | None]:
        if log["op_code"] == JournalOperation.CREATE_TRIAL:
            return self._created
        if log["op_code"] == JournalOperation.SET_TRIAL_STATE_VALUES:
            return self._moved
        return self._checked

    def _created(self, tx: Transaction, log: dict[str, Any], held: Held | None) -> Held | None:
        state = OptunaState(log.get("state", OptunaState.RUNNING))
        if state is OptunaState.RUNNING:
            return self.store.begin(tx, self.study, None, self.claim, self.lease_s)
        if state is OptunaState.WAITING:
            self.store.queue(tx, self.study.id, log["system_attrs"].get("fixed_params", {}))
        elif self.source:
            self.store.take_over(tx, self.study.id, *self.source)
        return held

    def _moved(self, tx: Transaction, log: dict[str, Any], held: Held | None) -> Held | None:
        number, state = log["trial_id"], OptunaState(log["state"])  # one study in a journal: a trial's id is its number
        ours = held if held is not None and held.number == number else None
        if state is OptunaState.RUNNING:
            return self.store.begin(tx, self.study, number, self.claim, self.lease_s)
        if state is OptunaState.WAITING:
            self.store.requeue(tx, self.study.id, number, ours.lease if ours else None)
        else:
            self.store.finish(tx, self.study, number, ours, STATES[state], log["values"], self.ending)
        return None if ours else held

    def _checked(self, tx: Transaction, log: dict[str, Any], held: Held | None) -> Held | None:
        if held is not None and log.get("trial_id") == held.number:
            self.store.leases.check(tx, held.lease)
        elif "trial_id" in log:
            raise LeaseLostError(f"trial {log['trial_id']}", 0, None)
        return held

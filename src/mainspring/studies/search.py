"""The search: ask for a trial, call the objective as that trial's run, tell how it ended; in this process, one at a time.

Invariant: whatever ends a process, each of its trials is either told, or found by its lease and put in line again with
the same parameters.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.trial import TrialState as OptunaState

from mainspring.errors import ConflictError, LeaseLostError
from mainspring.ledger import current_scope, within_task
from mainspring.pipelines.seeds import seed_everything, task_seed
from mainspring.runs import RunLog, RunState, mirror_soon
from mainspring.secrets import redact
from mainspring.store import Lease
from mainspring.store.heartbeat import Heartbeat
from mainspring.studies._store import MOST_ATTEMPTS, Ending, Held, SpentError, StudyStore, TakenError
from mainspring.studies.algorithms import pruner_named, sampler_named
from mainspring.studies.inputs import Inputs
from mainspring.studies.journal import Journal
from mainspring.studies.live import LiveTrial
from mainspring.studies.objective import Objective, results_of, takes_trial
from mainspring.studies.records import StudyRecord, Trial
from mainspring.workspace import Workspace, using

OnTrial = Callable[[Trial], None]


def opened(workspace: Workspace, study: StudyRecord) -> tuple[optuna.Study, Journal]:
    """Optuna's study over our journal."""
    journal = Journal(StudyStore(workspace), study, float(workspace.project.settings.lease_s))
    definition = study.definition
    directions = [optuna.study.StudyDirection[each.upper()] for each in definition.directions]
    with quiet_optuna():
        found = optuna.create_study(
            storage=JournalStorage(journal), study_name=study.name, directions=directions,
            sampler=sampler_named(definition.sampler, definition.seed), pruner=pruner_named(definition.pruner),
            load_if_exists=True,
        )  # fmt: skip
    return found, journal


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's own log and its warnings on what is experimental off the user's screen for the block."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


class Search:
    """One process's part in a study. Use as a context manager: it keeps the leases of what it works on."""

    def __init__(
        self, workspace: Workspace, study: StudyRecord, objective: Objective | None, on_trial: OnTrial | None = None
    ) -> None:
        self.workspace = workspace
        self.study = study
        self.store = StudyStore(workspace)
        self.optuna, self.journal = opened(workspace, study)
        self._objective = objective
        self._inputs = Inputs(workspace, study.definition.inputs)
        self._on_trial = on_trial
        self._heartbeat = Heartbeat(workspace.leases, self.journal.lease_s)
        self._inside = ExitStack()
        self._lease: Lease | None = None

    def __enter__(self) -> Search:
        self._inside.enter_context(self._heartbeat)
        self._inside.enter_context(self._inputs)
        return self

    def __exit__(self, *_: object) -> None:
        self._inside.close()

    # The study as a whole.

    def keep_alive(self) -> None:
        """Show the study as being worked on, for as long as this process is the first that does."""
        name = f"run:{self.study.id}"
        if (self._lease is None or name in self._heartbeat.lost) and not self.store.leases.held(name):
            with suppress(ConflictError):  # another process was first
                self._lease = self.store.leases.claim(name, self.workspace.owner, self.journal.lease_s)
                self._heartbeat.hold(self._lease)

    def close(self, state: RunState = RunState.SUCCEEDED) -> None:
        """End this process's part; the last one ends the study's run."""
        name = f"run:{self.study.id}"
        with self.workspace.database.transaction() as tx:
            others = any(self.store.leases.held(f"run:{run}") for _, run, _, _ in self.store.running(self.study.id))
            is_ours = self._lease is not None and name not in self._heartbeat.lost
            is_last = not others and (is_ours or not self.store.leases.held(name))
            if is_last and self.store.runs.get(self.study.id).state is RunState.RUNNING:
                self.store.runs.finish(tx, self.study.id, state)
            if self._lease:
                self.store.leases.release_in(tx, self._lease)
        if self._lease:
            self._heartbeat.let_go(self._lease)
        if is_last and current_scope() is None:
            mirror_soon(self.workspace, self.study.id)

    def recover(self, *, watched: Collection[str] = ()) -> None:
        """Put the trials of processes that are gone in line again, or fail those that took too many with them.

        Of the orders that are watched, whoever supervises them tells.
        """
        for number, attempts in self.store.left_behind(self.study.id, watched=watched):
            with suppress(TakenError, LeaseLostError, optuna.exceptions.UpdateFinishedTrialError):
                if attempts < MOST_ATTEMPTS:
                    self._tell(number, OptunaState.WAITING)
                else:
                    self.fail(number, f"its process ended {attempts} times while it ran")

    def fail(self, number: int, error: str, cost: float = 0.0) -> None:
        """Fail a trial whose process is gone."""
        params = self.optuna._storage.get_trial(number).params
        self.journal.ending = Ending(params=params, error=error, cost=cost)
        self._tell(number, OptunaState.FAIL)
        self.told(number)

    def _tell(self, number: int, state: OptunaState) -> None:
        self.optuna._storage.set_trial_state_values(number, state)

    def told(self, number: int) -> None:
        """Tell whoever listens that a trial has ended."""
        if self._on_trial:
            self._on_trial(self.store.trials(self.study.id)[number])

    # One trial.

    def run(self, deadline: float | None) -> None:
        """Make trials until the budget is spent or the time has come."""
        while deadline is None or time.monotonic() < deadline:
            self.keep_alive()
            self.recover()
            if not self.one():
                return

    def one(self, claim: str = "") -> bool:
        """Make one trial; False if none may begin. What the objective raises is the trial's failure.

        Raises:
            KeyboardInterrupt: a person stopped it; the trial waits again.
        """
        self.journal.claim = claim
        asked = self._asked()
        if asked is None:
            return False
        held = self.journal.held
        assert held is not None, "a trial was asked for, and its log was written by this process"
        self._heartbeat.hold(held.lease)
        try:
            with self._inputs.given(held.run) as inputs:
                self._made(asked, held, inputs)
        except LeaseLostError:  # another process has it; nothing of ours was committed
            self.journal.held = None
        except BaseException:
            self.give_back(held.number)
            raise
        finally:
            self._heartbeat.let_go(held.lease)
        return True

    def _asked(self) -> optuna.Trial | None:
        while True:
            if not self.store.may_begin(self.study):
                return None
            try:
                return self.optuna.ask()
            except SpentError:
                return None
            except TakenError:
                continue

    def _made(self, asked: optuna.Trial, held: Held, inputs: Mapping[str, Any]) -> None:
        log = RunLog(held.series, self.workspace)
        seed = task_seed(self.study.definition.seed, f"objective {held.number}")
        began, state, error, results = time.monotonic(), OptunaState.COMPLETE, None, dict[str, float]()
        live = LiveTrial(asked, self.study.definition, log, held.run, seed)
        try:
            with using(self.workspace), within_task(held.run, log=log):
                seed_everything(seed)
                returned = self._called(live, inputs)
            found, rest = results_of(returned, self.study.definition.metrics)
            _log(log, found | rest, step=_last_step(asked))
            results = found
        except optuna.TrialPruned:
            state = OptunaState.PRUNED
        except LeaseLostError:
            raise
        except (Exception, SystemExit) as raised:  # noqa: BLE001  # whatever an objective raises is its trial's failure alone
            state, error = OptunaState.FAIL, redact(f"{type(raised).__name__}: {raised}").replace("\0", "\ufffd")
        log.write_points()
        cost = live.cost if live.cost is not None else time.monotonic() - began
        self.journal.ending = Ending(params=live.params, cost=cost, error=error, log=log)
        with quiet_optuna():
            self.optuna.tell(asked, list(results.values()) or None, state)
        self.told(held.number)

    def give_back(self, number: int) -> None:
        """Put a trial in line again that was stopped; a no-op if it ended, or somebody else has it."""
        with suppress(LeaseLostError, TakenError, optuna.exceptions.UpdateFinishedTrialError):
            self._tell(number, OptunaState.WAITING)

    def _called(self, live: LiveTrial, inputs: Mapping[str, Any]) -> Any:
        space = self.study.definition.space
        given = {name: allowed.suggest(live, name) for name, allowed in (space or {}).items()}
        assert self._objective is not None
        if space is None:
            return self._objective(live, **inputs)
        if takes_trial(self._objective, space):
            given["trial"] = live
        return self._objective(**given, **inputs)


def _log(log: RunLog, results: Mapping[str, Any], *, step: int) -> None:
    """Keep what an objective returned: numbers as metrics, all else as tags."""
    for name, value in results.items():
        if isinstance(value, float):
            log.log_metric(name, value, step=step)
        else:
            log.log_tag(name, value)


def _last_step(asked: optuna.Trial) -> int:
    """The step of the last report: the final value comes behind it."""
    return asked.study._storage.get_trial(asked._trial_id).last_step or 0

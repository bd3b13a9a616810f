"""The journal keeps Optuna's storage contract, also between processes, and what was killed is made again, once."""

from __future__ import annotations

import collections
import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress

import optuna
import pytest

import mainspring as ms
from mainspring import clock
from mainspring.errors import LeaseLostError
from mainspring.ledger import new_id
from mainspring.runs import RunStore
from mainspring.studies import Study, get_study, study
from mainspring.studies._store import SpentError, StudyStore, TakenError
from mainspring.studies.records import Definition, Limits, StudyRecord, Target
from mainspring.studies.search import Search, opened
from mainspring.testing.workspaces import Lab
from tests.studies.projects import OBJECTIVES

PATIENCE_S = 60.0
NURSERY = """
import os, signal, sys, traceback
import mainspring.studies.search
from objectives import main

signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # what ends is gone at once
for line in sys.stdin:
    pid = os.fork()  # a process that has its imports begins at once
    if not pid:
        try:
            main(trials={trials})
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(0)
    print(pid, flush=True)
"""


def recorded(lab: Lab, trials: int = 100) -> StudyRecord:
    """A study without trials."""
    store = StudyStore(lab.workspace)
    definition = Definition(
        metrics=("value",), directions=("minimize",), objective=Target("objectives", "parabola"), sampler="random",
        limits=Limits(trials=trials),
    )  # fmt: skip
    with lab.workspace.database.transaction() as tx:
        run = store.runs.create(tx, kind="study", name="late", id=new_id())
        record = StudyRecord(id=run.id, name="late", scope="", definition=definition, created_at=clock.now_us())
        store.add(tx, record)
    return record


def test_two_views_share_one_study(lab: Lab) -> None:
    record = recorded(lab)
    ours, _ = opened(lab.workspace, record)
    theirs, _ = opened(lab.workspace, record)
    asked = [(ours if number % 2 else theirs).ask() for number in range(6)]
    assert [trial.number for trial in asked] == list(range(6))
    with pytest.raises(LeaseLostError):  # each view holds the trial that it asked for last
        asked[0].suggest_float("x", 0, 1)
    value = asked[5].suggest_float("x", 0, 1)
    asked[5].report(float("inf"), 3)
    ours.tell(asked[5], value)
    seen = theirs.trials[5]
    assert (seen.params, seen.value, seen.intermediate_values) == ({"x": value}, value, {3: float("inf")})
    with pytest.raises(ValueError, match="COMPLETE"):
        theirs.tell(5, 0.0)


def test_the_last_trial_is_begun_once(lab: Lab) -> None:
    record = recorded(lab, trials=1)
    ours, _ = opened(lab.workspace, record)
    theirs, _ = opened(lab.workspace, record)
    ours.ask()
    with pytest.raises(SpentError):
        theirs.ask()
    assert len(theirs.trials) == 1


def test_a_trial_that_was_taken_over_refuses_its_old_owner(lab: Lab) -> None:
    record = recorded(lab)
    ours, journal = opened(lab.workspace, record)
    asked = ours.ask()
    value = asked.suggest_float("x", 0, 1)
    assert journal.held is not None
    lease = journal.held.lease
    with Search(lab.workspace, record, None) as search:
        search.recover()
        assert StudyStore(lab.workspace).trials(record.id)[0].state == "running"  # it is held
        with lab.workspace.database.transaction() as tx:
            tx.execute("UPDATE lease SET expires_at = 1 WHERE name = ?", (lease.name,))
        search.recover()
        search.recover()
        again = search.optuna.ask()
        assert (again.number, again.suggest_float("x", 0, 1)) == (0, value)
        with pytest.raises(LeaseLostError):
            ours.tell(asked, value)
        search.optuna.tell(again, value)
    (trial,) = StudyStore(lab.workspace).trials(record.id)
    assert (trial.state, trial.attempts, trial.value) == ("complete", 2, value)
    with pytest.raises(TakenError), lab.workspace.database.transaction() as tx:
        StudyStore(lab.workspace).requeue(tx, record.id, 0, None)


def test_a_trial_that_takes_its_process_down_is_failed_in_the_end(lab: Lab) -> None:
    record = recorded(lab)
    with Search(lab.workspace, record, None) as search:
        for _ in range(3):
            search.optuna.ask()
            with lab.workspace.database.transaction() as tx:
                tx.execute("UPDATE lease SET expires_at = 1 WHERE name LIKE 'run:%' ESCAPE '#'")
            search.recover()
    (trial,) = StudyStore(lab.workspace).trials(record.id)
    assert (trial.state, trial.attempts, trial.error) == ("failed", 3, "its process ended 3 times while it ran")
    assert RunStore(lab.workspace.database).get(trial.run or "").state == "failed"


def test_no_trial_is_lost_or_repeated_under_kills(lab: Lab) -> None:
    kills = campaign(lab, trials=20, kills=4, seed=5)
    assert kills >= 3


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_two_hundred_trials_survive_kills(lab: Lab) -> None:
    print(f"{campaign(lab, trials=200, kills=40, seed=11)} kills")


def campaign(lab: Lab, *, trials: int, kills: int, seed: int) -> int:
    """Two processes that make trials, killed at random instants; gives how many were killed with the study unfinished."""
    lab.write(OBJECTIVES.replace("    return (x", "    time.sleep(0.02)\n    return (x"), "objectives")
    chance, done, database = random.Random(seed), 0, lab.workspace.database
    StudyStore(lab.workspace)
    with lab.start(NURSERY.format(trials=trials)) as nursery:
        assert nursery.stdin is not None
        running, until = [born(nursery), born(nursery)], time.monotonic() + PATIENCE_S + trials
        while running:
            assert time.monotonic() < until
            begun = database.query("SELECT COUNT(*) FROM study_trial")[0][0]
            running = [pid for pid in running if is_alive(pid)]
            if running and done < kills and begun > trials * (done + 1) / (kills + 2):
                instant = time.monotonic() + chance.uniform(0, 0.05)
                while time.monotonic() < instant:
                    pass
                victim = chance.choice(running)
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    done += 1
                running = [*(pid for pid in running if pid != victim), born(nursery)]
        _, error = nursery.communicate()
        assert error == ""
    check(lab, get_study("late", workspace=lab.workspace), trials)
    return done


def born(nursery: subprocess.Popen[str]) -> int:
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write("\n")
    nursery.stdin.flush()
    return int(nursery.stdout.readline())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def check(lab: Lab, found: Study, trials: int) -> None:
    made = found.trials()
    assert [trial.number for trial in made] == list(range(trials))
    assert {trial.state.value for trial in made} == {"complete"}
    assert [trial.value for trial in made] == [
        pytest.approx((trial.params["x"] - 0.3) ** 2 + trial.params["depth"]) for trial in made
    ]
    replayed = found.optuna.trials
    assert [(each.number, each.params, each.value) for each in replayed] == [
        (trial.number, trial.params, trial.value) for trial in made
    ]
    logs = [json.loads(log) for log in StudyStore(lab.workspace).logs(found.id, 0)]
    ends = collections.Counter(log["trial_id"] for log in logs if log["op_code"] == 6 and log["state"] == 1)
    assert ends == dict.fromkeys(range(trials), 1)
    runs = RunStore(lab.workspace.database).list(parent=found.id, limit=1000)
    assert sorted(run.id for run in runs) == sorted(trial.run or "" for trial in made)
    assert {run.state.value for run in runs} == {"succeeded"}


def test_params_do_not_change_when_made_again_and_optuna_reads_the_same(lab: Lab) -> None:
    found = study(
        "same", lambda x: x, space={"x": ms.floats(0, 1)}, direction="maximize", trials=4, workspace=lab.workspace
    )
    assert [trial.state for trial in found.optuna.trials] == [optuna.trial.TrialState.COMPLETE] * 4
    assert found.optuna.best_params == found.best.params

"""Every reader tells a run that nobody works on any more as interrupted: what is shown, found, ordered and counted agree."""

from __future__ import annotations

import random

import pytest

from mainspring.runs import Run, RunState, RunStore, search_runs, start_run
from mainspring.runs.run import CLIENT_KIND
from mainspring.runs.search import STATUS
from mainspring.store import Leases
from mainspring.testing.workspaces import Lab
from mainspring.workspace import Workspace

ELSEWHERE = "another-host:boot:1:1"
KINDS = ("script", "trial", "task", CLIENT_KIND, CLIENT_KIND)
STATES = (RunState.RUNNING, RunState.RUNNING, RunState.RUNNING, RunState.SUCCEEDED, RunState.CANCELLED)


def made(workspace: Workspace, runs: RunStore, seed: int, count: int = 60) -> list[Run]:
    """Runs of all kinds, some inside others, whose owners live, are dead, gave their lease back, or never had one."""
    chosen, found = random.Random(seed), list[Run]()
    with workspace.database.transaction() as tx:
        for number in range(count):
            parent = chosen.choice(found).id if found and chosen.random() < 0.6 else None
            run = runs.create(tx, kind=chosen.choice(KINDS), name=f"run {number}", parent=parent, started_at=number)
            state = chosen.choice(STATES)
            if state is not RunState.RUNNING:
                runs.finish(tx, run.id, state)
            found.append(runs.get_many([run.id])[run.id])
    for run in found:
        fate = chosen.choice(["live", "lapsed", "dead", "given back", "never"])
        if fate != "never":
            owner = f"{workspace.owner.rpartition(':')[0]}:0" if fate == "dead" else ELSEWHERE
            lease = workspace.leases.claim(f"run:{run.id}", owner, -1.0 if fate == "lapsed" else 600.0)
            if fate == "given back":
                workspace.leases.release(lease)
    return list(runs.get_many([run.id for run in found]).values())


def oracle(run: Run, known: dict[str, Run], leases: Leases) -> RunState:
    if run.state is not RunState.RUNNING:
        return run.state
    if run.kind == CLIENT_KIND:
        above = known.get(run.parent or "")
        cut = above is not None and oracle(above, known, leases) is RunState.INTERRUPTED
    else:
        cut = not leases.held(f"run:{run.id}") and not leases.held(f"run:{run.parent or run.id}")
    return RunState.INTERRUPTED if cut else RunState.RUNNING


def walked(workspace: Workspace, text: str = "", *order_by: str) -> list[Run]:
    found, cursor = list[Run](), None
    while True:
        page = search_runs(text, order_by=order_by, limit=7, cursor=cursor, workspace=workspace)
        found += page
        cursor = page.cursor
        if cursor is None:
            return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_is_shown_found_and_ordered_is_one_state(workspace: Workspace, runs: RunStore, seed: int) -> None:
    known = {run.id: run for run in made(workspace, runs, seed)}
    expected = {run_id: oracle(run, known, workspace.leases) for run_id, run in known.items()}
    assert set(expected.values()) >= {RunState.INTERRUPTED, RunState.RUNNING, RunState.SUCCEEDED}
    everything = walked(workspace)
    assert {run.id: run.state for run in everything} == expected
    assert {run_id: runs.shown_state(run, workspace.leases) for run_id, run in known.items()} == expected
    for state in RunState:
        wanted = {run_id for run_id, each in expected.items() if each is state}
        assert {run.id for run in walked(workspace, f"attributes.state = '{state}'")} == wanted
        top = {run_id for run_id in wanted if known[run_id].parent is None}
        listed = runs.list(state=state, limit=100, leases=workspace.leases)
        assert {run.id for run in listed} == top
        assert {run.state for run in listed} <= {state}
    for status in set(STATUS.values()):
        wanted = {run_id for run_id, each in expected.items() if STATUS[each] == status}
        assert {run.id for run in walked(workspace, f"status = '{status}'")} == wanted
        assert {run.id for run in walked(workspace, f"status != '{status}'")} == expected.keys() - wanted
    ordered = [run.state.value for run in walked(workspace, "", "attributes.state DESC")]
    assert ordered == sorted(ordered, reverse=True)


def test_the_newest_of_a_state_are_listed_behind_any_number_of_others(workspace: Workspace, runs: RunStore) -> None:
    with workspace.database.transaction() as tx:
        cut = runs.create(tx, kind="script", name="cut")
        for number in range(5):
            run = runs.create(tx, kind="script", name=f"live {number}")
            workspace.leases.claim_in(tx, f"run:{run.id}", ELSEWHERE, 600.0)
    assert [run.id for run in runs.list(state="interrupted", limit=1, leases=workspace.leases)] == [cut.id]


def test_a_killed_script_is_interrupted_for_every_reader(lab: Lab) -> None:
    process = lab.start(
        """
        import os, signal
        from mainspring.runs import start_run
        run = start_run("killed")
        run.log_metric("loss", 2.5)
        run.flush()
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    process.communicate()
    workspace = lab.workspace
    (found,) = search_runs("attributes.run_name = 'killed'", workspace=workspace)
    assert found.state is RunState.INTERRUPTED
    for text in ("status = 'KILLED'", "state = 'interrupted'", "status = 'KILLED' AND metrics.loss > 1"):
        assert [run.id for run in search_runs(text, workspace=workspace)] == [found.id], text
    for text in ("status = 'RUNNING'", "state = 'running'", "status = 'RUNNING' AND metrics.loss > 1"):
        assert not list(search_runs(text, workspace=workspace)), text


def test_a_script_at_work_is_running_for_every_reader(workspace: Workspace) -> None:
    with start_run("live", workspace=workspace):
        for text in ("", "status = 'RUNNING'", "state = 'running'"):
            assert [each.state for each in search_runs(text, workspace=workspace)] == [RunState.RUNNING], text
        assert not list(search_runs("status = 'KILLED'", workspace=workspace))

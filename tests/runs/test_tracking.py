"""Runs: what a script logs is kept, whatever ends it, and is found again."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mainspring as ms
from mainspring.errors import InvalidError, NotFoundError, WrongTypeError
from mainspring.runs import Metrics, RunFiles, RunState, RunStore, git_state, start_run
from mainspring.testing.workspaces import Lab
from mainspring.workspace import Workspace


def test_a_script_logs_to_its_run(workspace: Workspace, runs: RunStore) -> None:
    with start_run("trial", params={"depth": 3, "api_key": "abcdef"}, workspace=workspace) as active:
        active.log_metric("auc", 0.5, step=1)
        ms.log_metric("auc", 0.75, step=2)
        ms.log_param("extra", [1, 2])
        ms.log_tag("note", "password = hunter22")
    run = runs.get(active.id)
    assert run.state is RunState.SUCCEEDED
    assert run.params == {"depth": 3, "api_key": "[redacted]", "extra": [1, 2]}
    assert run.tags == {"note": "password = [redacted]"}
    metrics = Metrics(workspace.metrics)
    assert metrics.latest_values(run.series) == {"auc": 0.75}
    assert [(point.step, point.value) for point in metrics.history(run.series, "auc")] == [(1, 0.5), (2, 0.75)]


def test_what_was_logged_survives_an_exception(workspace: Workspace, runs: RunStore) -> None:
    def script() -> None:
        with start_run("trial", workspace=workspace) as active:
            active.log_metric("loss", 1.5)
            active.log_param("seen", 1)
            raise KeyError("no password = hunter22")

    with pytest.raises(KeyError):
        script()
    run = runs.get("latest")
    assert run.state is RunState.FAILED
    assert "hunter22" not in (run.error or "")
    assert run.params == {"seen": 1}
    assert Metrics(workspace.metrics).latest_values(run.series) == {"loss": 1.5}


def test_an_interrupted_script_is_cancelled(workspace: Workspace, runs: RunStore) -> None:
    with pytest.raises(KeyboardInterrupt), start_run("trial", workspace=workspace) as active:
        raise KeyboardInterrupt
    assert runs.get(active.id).state is RunState.CANCELLED


def test_what_was_flushed_survives_a_kill(lab: Lab) -> None:
    process = lab.start(
        """
        import os, signal
        from mainspring.runs import start_run
        run = start_run("trial")
        run.log_metric("loss", 2.5)
        run.log_param("depth", 4)
        run.flush()
        run.log_metric("loss", 9)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    process.communicate()
    store = RunStore(lab.workspace.database)
    run = store.get("latest")
    assert store.shown_state(run, lab.workspace.leases) is RunState.INTERRUPTED
    assert run.params == {"depth": 4}
    assert Metrics(lab.workspace.metrics).latest_values(run.series) == {"loss": 2.5}


def test_ending_twice_is_ending_once(workspace: Workspace, runs: RunStore) -> None:
    active = start_run("trial", workspace=workspace)
    active.end()
    active.end(RunState.FAILED)
    assert runs.get(active.id).state is RunState.SUCCEEDED


def test_a_run_may_be_ended_from_another_context(workspace: Workspace, runs: RunStore) -> None:
    import contextvars

    active = contextvars.copy_context().run(lambda: start_run("trial", workspace=workspace))
    active.log_metric("auc", 1.0)
    active.end()
    assert runs.get(active.id).state is RunState.SUCCEEDED


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.1 + 0.2, 1e308, 5e-324, 2**60])
def test_any_number_is_a_metric(workspace: Workspace, value: float) -> None:
    with start_run("trial", workspace=workspace) as active:
        active.log_metric("m", value)
    (point,) = Metrics(workspace.metrics).history(RunStore(workspace.database).get(active.id).series, "m")
    assert repr(point.value) == repr(float(value))


def test_what_is_no_number_is_refused_by_name(workspace: Workspace) -> None:
    with start_run("trial", workspace=workspace) as active, pytest.raises(WrongTypeError, match="metric `m`"):
        active.log_metric("m", "high")  # type: ignore[arg-type]  # that is the mistake


@pytest.mark.parametrize("fields", [{"name": 5}, {"experiment": 5}, {"note": 5}])
def test_a_run_that_is_called_no_text_is_refused_by_the_place(workspace: Workspace, fields: dict[str, Any]) -> None:
    (place,) = fields
    with pytest.raises(WrongTypeError, match=f"{place}.*: `5` is an int, expected text"):
        start_run(workspace=workspace, **fields)


def test_a_parameter_that_holds_itself_is_refused_by_name(workspace: Workspace) -> None:
    deep: list[Any] = []
    deep.append(deep)
    with pytest.raises(InvalidError, match="parameter `layers`"):
        start_run("trial", params={"layers": deep}, workspace=workspace)
    with start_run("trial", workspace=workspace) as active, pytest.raises(InvalidError, match="parameter `layers`"):
        active.log_param("layers", deep)


@pytest.mark.one_backend("what is refused comes to no store")
@pytest.mark.parametrize(
    ("log", "given", "told"),
    [
        ("log_text", (5, "a.txt"), "text `a.txt`: `5` is an int"),
        ("log_text", ("a", 5), "path of a file: `5`"),
        ("log_note", (5,), "note: `5`"),
        ("log_metrics", (None,), "metrics: `None`"),
        ("log_metrics", ([("a", 1)],), "metrics: .* a dict"),
        ("log_metrics", ({"good": 1, "bad": "x"},), "metric `bad`: `x`"),
        ("log_metrics", ({"good": 1, "b\nad": 1},), "name of a metric"),
        ("log_file", (5,), "file: `5` is an int"),
        ("log_table", ({"a": [1, 2], "b": [1]}, "t.csv"), "table: `t.csv` .*equally long.*ShapeError"),
        ("log_table", ({"a": [1, "x"]}, "t.csv"), "table: `t.csv` .*a type each"),
        ("log_table", ({"a": [1], "b": [[1]]}, "t.csv"), "table `t.csv`: `b` .*`.parquet` take it"),
        ("log_table", ({"a": [object()]}, "t.parquet"), "table: `t.parquet` .*a `.parquet` holds"),
        ("log_dataset", ([1], 5), "name of a dataset: `5`"),
        ("log_artifact", ("", 1), "name of an artifact"),
    ],
)
def test_what_can_not_be_logged_is_refused_whole_and_the_run_goes_on(
    workspace: Workspace, runs: RunStore, log: str, given: tuple[Any, ...], told: str
) -> None:
    with start_run("trial", workspace=workspace) as active, pytest.raises((WrongTypeError, InvalidError), match=told):
        getattr(ms, log)(*given)
    assert runs.get(active.id).state is RunState.SUCCEEDED
    assert Metrics(workspace.metrics).latest_values(active.series) == {}


def test_a_file_is_logged_under_a_path_as_under_its_text(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with start_run("trial", workspace=workspace) as active:
        ms.log_text("x", Path("notes/x.txt"))
        ms.log_file(tmp_path / "a.txt", Path("notes/a.txt"))
        ms.log_table({"a": [[1]]}, Path("notes/rows.json"))
    assert list(RunFiles(workspace).walk(active.id)) == ["notes/a.txt", "notes/rows.json", "notes/x.txt"]


def test_logging_outside_a_run_is_refused_and_says_how() -> None:
    with pytest.raises(InvalidError, match="start_run"):
        ms.log_metric("m", 1)


def test_points_are_written_in_groups_and_none_is_lost(workspace: Workspace) -> None:
    with start_run("trial", workspace=workspace) as active:
        for step in range(1234):
            active.log_metric("m", step, step=step)
    series = RunStore(workspace.database).get(active.id).series
    assert [point.step for point in Metrics(workspace.metrics).history(series, "m")] == list(range(1234))


def test_a_run_is_found_by_id_prefix_and_latest(workspace: Workspace, runs: RunStore) -> None:
    with start_run("one", workspace=workspace) as first, start_run("two", workspace=workspace) as second:
        pass
    assert runs.get(first.id).name == "one"
    assert runs.get(first.id[:20]).name == "one"
    assert runs.get("latest").name == "two"
    with pytest.raises(InvalidError, match="a unique prefix"):
        runs.get(second.id[:5])


def test_that_replays_alone_are_left_is_said_of_the_latest_run(workspace: Workspace, runs: RunStore) -> None:
    with workspace.database.transaction() as tx:
        runs.create(tx, kind="replay", name="p")
    with pytest.raises(NotFoundError, match="There are replays alone"):
        runs.get("latest")


def test_the_latest_run_is_no_replay_and_the_newest_that_is_told_is_listed(
    workspace: Workspace, runs: RunStore
) -> None:
    with pytest.raises(NotFoundError, match="No run `latest`"):
        runs.get("latest")
    with workspace.database.transaction() as tx:
        first = runs.create(tx, kind="pipeline", name="p")
        replay = runs.create(tx, kind="replay", name="p", replay_of=first.id)
    assert runs.get("latest").id == first.id
    with workspace.database.transaction() as tx:
        runs.create(tx, kind="task", name="inner", parent=first.id)
        runs.delete(tx, runs.create(tx, kind="script", name="deleted").id)
    with pytest.raises(NotFoundError, match=f"The newest is {replay.id[:12]}"):
        runs.get("zzz")


@pytest.mark.parametrize("name", ["ffff0000", "", "abc", "not an id", "%", "0660_"])
def test_an_unknown_run_is_named(runs: RunStore, workspace: Workspace, name: str) -> None:
    with start_run("one", workspace=workspace):
        pass
    with pytest.raises(NotFoundError, match="mainspring runs"):
        runs.get(name)


def test_a_misspelt_id_names_the_nearest(runs: RunStore, workspace: Workspace) -> None:
    with start_run("one", workspace=workspace) as active:
        pass
    with pytest.raises(NotFoundError, match=f"Nearest: {active.id[:12]}"):
        runs.get(active.id[:11] + "x")


def test_runs_are_listed_newest_first_by_state_and_from_a_cursor(workspace: Workspace, runs: RunStore) -> None:
    ids = []
    for number in range(5):
        with start_run(f"run {number}", workspace=workspace) as active:
            ids.append(active.id)
    failed = start_run("failed", workspace=workspace)
    failed.end(RunState.FAILED)
    assert [run.id for run in runs.list()] == [failed.id, *reversed(ids)]
    assert [run.id for run in runs.list(state="failed")] == [failed.id]
    assert [run.id for run in runs.list(limit=2, before=ids[3])] == [ids[2], ids[1]]


def test_a_long_script_is_not_taken_for_dead(
    workspace: Workspace, runs: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mainspring.runs import active as active_runs

    monkeypatch.setattr(active_runs, "_LEASE_S", 0.3)
    with start_run("long", workspace=workspace) as active:
        import time

        until = time.monotonic() + 0.9
        while time.monotonic() < until:
            assert runs.shown_state(runs.get(active.id), workspace.leases) is RunState.RUNNING
            time.sleep(0.05)


def test_the_log_of_a_script_holds_no_private_key(workspace: Workspace, runs: RunStore) -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nU2Vjb25k\n-----END PRIVATE KEY-----"
    with start_run("trial", workspace=workspace) as active:
        print(f"begin\n{key}\nend")
    log = workspace.blobs.read(runs.get(active.id).log or "").decode()
    assert log.splitlines() == ["begin", *["[redacted]"] * 4, "end"]


def test_experiments_are_numbered_and_default_is_zero(workspace: Workspace, runs: RunStore) -> None:
    for experiment in ("other", "Default", "third", "other"):
        with start_run("one", experiment=experiment, workspace=workspace):
            pass
    assert [runs.experiments.get(name).number for name in ("Default", "other", "third")] == [0, 1, 2]
    assert runs.experiments.find("none") is None


def git(folder: Path, *arguments: str) -> None:
    author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", *author, *arguments], cwd=folder, check=True, capture_output=True)


def test_outside_a_repository_there_is_no_commit(tmp_path: Path) -> None:
    assert (git_state(tmp_path).commit, git_state(tmp_path).diff) == (None, "")


def test_before_the_first_commit_there_is_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", ".")
    (tmp_path / "a.py").write_text("x = 1\n")
    assert git_state(tmp_path).commit is None


def test_a_clean_tree_has_a_commit_and_no_diff_and_a_dirty_one_its_redacted_diff(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", ".")
    (tmp_path / "a.py").write_text("x = 1\ntoken =\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "One")
    clean = git_state(tmp_path)
    assert clean.commit is not None
    assert (len(clean.commit), clean.diff) == (40, "")
    (tmp_path / "a.py").write_text("x = 2\ntoken = 'q8Xw3-Lm5_Pz7Rt2Kd'\n")
    dirty = git_state(tmp_path)
    assert dirty.commit == clean.commit
    assert "+x = 2" in dirty.diff
    assert "q8Xw3" not in dirty.diff


def test_a_machine_without_git_runs_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q", ".")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path).commit is None


@pytest.mark.parametrize(
    ("ending", "state", "error"),
    [("", RunState.SUCCEEDED, None), ("raise ValueError('no')", RunState.FAILED, "ValueError: no")],
    ids=["end", "raise"],
)
def test_a_run_left_open_ends_with_its_script(tmp_path: Path, ending: str, state: RunState, error: str | None) -> None:
    script = f"import mainspring as ms\nrun = ms.start_run('left')\nrun.log_metric('auc', 0.5)\n{ending}\n"
    (tmp_path / "mainspring.toml").write_text('name = "left"\n')
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=False)
    with Workspace.open(tmp_path) as workspace:
        run = RunStore(workspace.database, workspace.ledger).get("latest")
        assert (run.state, run.error) == (state, error)
        assert Metrics(workspace.metrics).latest_values(run.series) == {"auc": 0.5}

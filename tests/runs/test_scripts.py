"""The run of a script or notebook records what a pipeline's does: code, environment, data, output, usage, artifacts."""

from __future__ import annotations

import contextvars
import logging
import sys
import threading
from functools import partial
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

import mainspring as ms
from mainspring.errors import CodecError, InvalidError, SecretError
from mainspring.ledger import Ledger, current_task
from mainspring.pipelines.code.tree import read_tree
from mainspring.runs import Run, RunState, RunStore, start_run
from mainspring.runs._store import gc_roots
from mainspring.runs.environment import Environment
from mainspring.testing.threads import at_once
from mainspring.testing.workspaces import Lab
from mainspring.workspace import Workspace

SCRIPT = """
import sys
import mainspring as ms
import polars as pl
import helper

with ms.start_run("exp", params={"rate": float("nan")}) as run:
    ms.dataset("raw").commit(pl.DataFrame({"a": [1, 2]}))
    frame = ms.dataset("raw").to_polars()
    ms.dataset("clean").commit(frame.filter(pl.col("a") > 1))
    print("hello")
    print("password = hunter22", file=sys.stderr)
    ms.log_metric("rows", frame.height)
    ms.log_artifact("table", frame)
"""


@pytest.fixture
def ran(lab: Lab) -> Run:
    """The run of a script that does a bit of everything."""
    lab.write("VALUE = 1", "helper")
    (lab.root / "train.py").write_text(SCRIPT)
    process = lab.start("import subprocess, sys; subprocess.run([sys.executable, 'train.py'], check=True)")
    printed, complaints = process.communicate()
    assert (process.returncode, printed) == (0, "hello\n"), complaints
    return RunStore(lab.workspace.database).get("latest")


def sources(workspace: Workspace, run: Run) -> dict[str, str]:
    tree = read_tree(run.code or "", workspace.blobs)
    return {entry.path: workspace.blobs.read(entry.blob).decode() for entry in tree.entries}


def log_of(workspace: Workspace, run: Run) -> str:
    return workspace.blobs.read(run.log).decode() if run.log else ""


@pytest.mark.one_backend("what is recorded of a process is the same wherever it goes")
def test_a_script_records_its_code_and_the_modules_it_loaded(lab: Lab, ran: Run) -> None:
    assert sources(lab.workspace, ran) == {"train.py": SCRIPT, "helper.py": "import mainspring as ms\nVALUE = 1"}
    assert ran.target == "train.py"
    assert set(read_tree(ran.code or "", lab.workspace.blobs).blobs) <= set(gc_roots(lab.workspace.database))


@pytest.mark.one_backend("what is recorded of a process is the same wherever it goes")
def test_a_script_records_its_environment_usage_output_and_numbers_that_json_lacks(lab: Lab, ran: Run) -> None:
    environment = msgspec.json.decode(lab.workspace.blobs.read(ran.environment or ""), type=Environment)
    assert (environment.digest, "polars" in environment.distributions) == (ran.environment_digest, True)
    assert (ran.cpu_s or 0) > 0
    assert (ran.peak_bytes or 0) > 1_000_000
    assert log_of(lab.workspace, ran).splitlines() == ["hello", "password = [redacted]"]
    assert ran.log in gc_roots(lab.workspace.database)
    assert ran.params == {"rate": "NaN"}


def test_what_a_script_reads_and_makes_is_its_lineage_and_an_artifact_is_kept_by_its_codec(lab: Lab, ran: Run) -> None:
    ledger = Ledger(lab.workspace.database)
    labels = {id_: node.label for id_, node in ledger.nodes(edge.dst for edge in ledger.edges([ran.id])).items()}
    assert {(edge.role, labels[edge.dst]) for edge in ledger.edges([ran.id])} == {
        ("ran", "code of exp"), ("reads", "raw/1"),
    }  # fmt: skip
    made = ledger.nodes(edge.src for edge in ledger.edges([ran.id], "down") if edge.role == "made_by")
    assert sorted(node.label for node in made.values()) == ["clean/1", "raw/1", "table"]
    clean = next(node.id for node in made.values() if node.label == "clean/1")
    assert {"ran", "reads"} <= {edge.role for edge in ledger.walk(clean)}
    ((name, artifact),) = RunStore(lab.workspace.database).artifacts(ran.id).items()
    assert (name, artifact.encoded.codec, artifact.preview.summary) == ("table", "polars.frame", "2 rows × 1 column")


def test_the_last_artifact_of_a_name_counts_and_survives_a_kill(workspace: Workspace, runs: RunStore) -> None:
    active = start_run("trial", workspace=workspace)
    active.log_artifact("best", 1)
    active.log_artifact("best", {"depth": 3})
    assert runs.artifacts(active.id)["best"].preview.detail["text"] == "{'depth': 3}"
    active.end()


def test_an_artifact_without_a_codec_or_run_and_a_secret_are_refused(workspace: Workspace) -> None:
    with pytest.raises(InvalidError, match="start_run"):
        ms.log_artifact("x", 1)
    with start_run("trial", workspace=workspace):
        with pytest.raises(CodecError):
            ms.log_artifact("x", object())
        with pytest.raises(SecretError, match="artifact `api_key`"):
            ms.log_artifact("api_key", "abcdef")


def test_of_open_runs_the_last_is_active_and_they_end_in_any_order(workspace: Workspace, runs: RunStore) -> None:
    one, two = (start_run(name, workspace=workspace) for name in ("one", "two"))
    one.end()
    ms.log_param("where", "two")
    assert current_task() == two.id
    two.end()
    assert current_task() is None
    with pytest.raises(InvalidError):
        ms.log_param("where", "nowhere")
    assert [runs.get(run.id).params for run in (one, two)] == [{}, {"where": "two"}]
    assert [runs.get(run.id).state for run in (one, two)] == [RunState.SUCCEEDED] * 2


def test_the_outer_run_is_active_again_when_the_inner_one_ended(workspace: Workspace, runs: RunStore) -> None:
    with start_run("outer", workspace=workspace) as outer:
        with start_run("inner", workspace=workspace):
            ms.log_tag("in", "inner")
        ms.log_tag("in", "outer")
    assert runs.get(outer.id).tags == {"in": "outer"}


def test_a_run_opened_in_one_cell_is_active_in_the_next(workspace: Workspace, runs: RunStore) -> None:
    active = contextvars.Context().run(lambda: start_run("cells", workspace=workspace))
    contextvars.Context().run(lambda: ms.log_metric("auc", 0.5))
    contextvars.Context().run(active.end)
    assert runs.get(active.id).state is RunState.SUCCEEDED
    assert active.metric_names == {"auc"}
    assert current_task() is None


def test_runs_in_threads_are_kept_apart(workspace: Workspace, runs: RunStore) -> None:
    barrier = threading.Barrier(4)
    ids: dict[str, str] = {}

    def work(name: str) -> None:
        with start_run(name, workspace=workspace) as active:
            barrier.wait()
            ms.log_tag("name", name)
            ids[name] = active.id
            barrier.wait()

    at_once(*(partial(work, name) for name in "abcd"))
    assert {name: runs.get(id_).tags for name, id_ in ids.items()} == {name: {"name": name} for name in "abcd"}


def test_streams_are_given_back_in_any_order_and_each_run_has_its_log(workspace: Workspace, runs: RunStore) -> None:
    before = sys.stdout, sys.stderr
    one = start_run("one", workspace=workspace)
    print("to one")
    two = start_run("two", workspace=workspace)
    print("to both")
    one.end()
    print("to two")
    sys.stderr.write("10%\r50%\r100%\nrest")
    two.end()
    assert (sys.stdout, sys.stderr) == before
    assert log_of(workspace, runs.get(one.id)) == "to one\nto both\n"
    assert log_of(workspace, runs.get(two.id)) == "to both\nto two\n100%\nrest\n"


def test_what_is_logged_by_a_handler_that_was_there_before_is_kept(workspace: Workspace, runs: RunStore) -> None:
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(handler)
    try:
        with start_run("trial", workspace=workspace) as active:
            logging.getLogger("any").warning("careful")
        assert handler.stream is sys.stderr
    finally:
        logging.getLogger().removeHandler(handler)
    assert log_of(workspace, runs.get(active.id)) == "careful\n"


def test_the_log_of_a_failed_run_ends_with_the_traceback(workspace: Workspace, runs: RunStore) -> None:
    def script() -> None:
        with start_run("trial", workspace=workspace):
            print("before")
            raise KeyError("no password = hunter22")

    with pytest.raises(KeyError):
        script()
    lines = log_of(workspace, runs.get("latest")).splitlines()
    assert lines[0] == "before"
    assert lines[-1].startswith("KeyError: ")
    assert "hunter22" not in lines[-1]


def test_the_cells_of_a_notebook_are_its_code(
    workspace: Workspace, runs: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = ModuleType("__main__")
    cells = ["", "run = ms.start_run('cells')", "token = 'q8Xw3-Lm5_Pz7Rt2Kd'"]
    vars(notebook).update({"In": cells, "get_ipython": lambda: None})
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    active = start_run("cells", workspace=workspace)
    cells.append("run.end()")
    active.end()
    text = sources(workspace, runs.get(active.id))["notebook.py"]
    assert "# In [1]\nrun = ms.start_run('cells')" in text
    assert text.endswith("# In [3]\nrun.end()")
    assert "q8Xw3" not in text


def test_a_source_that_is_edited_while_the_run_is_open_is_recorded_as_it_ran(
    workspace: Workspace, runs: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "local_part.py").write_text("X = 1\n")
    module = ModuleType("local_part")
    module.__file__ = str(tmp_path / "local_part.py")
    monkeypatch.setitem(sys.modules, "local_part", module)
    with start_run("trial", workspace=workspace) as active:
        (tmp_path / "local_part.py").write_text("X = 2\n")
    assert sources(workspace, runs.get(active.id))["local_part.py"] == "X = 1\n"


def test_a_run_is_readable(workspace: Workspace) -> None:
    active = start_run("a <b>", params={"depth": 3}, workspace=workspace)
    active.log_metric("auc", 0.8125)
    assert repr(active) == f"<run a <b> {active.id[:12]} running>"
    assert all(part in active._repr_html_() for part in ("run a &lt;b&gt;", "depth =", "0.8125"))
    active.end()
    assert repr(active).endswith("ended>")
    assert bool(active) is True


def test_a_pause_before_a_resume_is_no_work(workspace: Workspace, runs: RunStore) -> None:
    run = Run(**msgspec.structs.asdict(_created(workspace, runs)))
    with workspace.database.transaction() as tx:
        runs.update(tx, run.id, started_at=0, ended_at=900_000, state=RunState.FAILED)
    failed = runs.get(run.id)
    with workspace.database.transaction() as tx:
        runs.resume(tx, failed)
    assert runs.get(run.id).duration_s is None
    with workspace.database.transaction() as tx:
        resumed_at = runs.get(run.id).resumed_at or 0
        runs.update(tx, run.id, ended_at=resumed_at + 6_100_000)
    assert runs.get(run.id).duration_s == pytest.approx(7.0)


def _created(workspace: Workspace, runs: RunStore) -> Run:
    with workspace.database.transaction() as tx:
        return runs.create(tx, kind="pipeline", name="main")


def test_a_killed_runs_work_lasted_until_the_last_thing_that_happened(workspace: Workspace, runs: RunStore) -> None:
    run = _created(workspace, runs)
    with workspace.database.transaction() as tx:
        workspace.ledger.node(tx, "task", "t1", "load")
        workspace.ledger.edge(tx, "t1", "part_of", run.id)
        workspace.ledger.append(tx, "task.succeeded", "t1")
        tx.execute("UPDATE event SET at = ? WHERE subject = 't1'", (run.started_at + 2_000_000,))
    with workspace.database.transaction() as tx:
        runs.resume(tx, run)
    assert runs.get(run.id).worked_s == pytest.approx(2.0)

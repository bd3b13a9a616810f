"""`start_run`: nested, resumed, with what the machine does."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import numpy as np
import pytest

import mainspring as ms
from mainspring.errors import ConflictError, InvalidError, WrongTypeError
from mainspring.runs import Metrics, RunFiles, RunState, RunStore, start_run
from mainspring.workspace import Workspace


def test_a_nested_run_belongs_to_the_active_one_and_its_experiment(workspace: Workspace, runs: RunStore) -> None:
    with start_run("outer", experiment="delays", tags={"a": "b"}, note="why", workspace=workspace) as outer:
        with start_run("inner", nested=True, kind="trial", workspace=workspace) as inner:
            ms.log_metric("loss", 1)
    with start_run("later", parent=outer.id, workspace=workspace) as later:
        pass
    assert [(run.name, run.kind, run.experiment) for run in runs.list(parent=outer.id)] == [
        ("later", "script", "delays"), ("inner", "trial", "delays"),
    ]  # fmt: skip
    assert (runs.get(outer.id).tags, runs.get(outer.id).note) == ({"a": "b"}, "why")
    assert later.id != inner.id
    with pytest.raises(InvalidError, match="inside a run or step"):
        start_run(nested=True, workspace=workspace)


def test_a_run_that_ended_goes_on(workspace: Workspace, runs: RunStore) -> None:
    with start_run("long", params={"depth": 3}, workspace=workspace) as first:
        first.log_metric("loss", 2.0, step=0)
        print("first part")
    with start_run(resume=first.id, params={"depth": 3, "rate": 0.1}, workspace=workspace) as again:
        assert runs.get(first.id).state is RunState.RUNNING
        with pytest.raises(ConflictError):
            start_run(resume=first.id, workspace=workspace)
        again.log_metric("loss", 1.0, step=1)
        with pytest.raises(ConflictError, match="`depth` is `3` and can't become `4`"):
            again.log_param("depth", 4)
        print("second part")
    run = runs.get(first.id)
    assert (run.state, run.params) == (RunState.SUCCEEDED, {"depth": 3, "rate": 0.1})
    assert workspace.blobs.read(run.log or "") == b"first part\nsecond part\n"
    assert len(Metrics(workspace.metrics).history(run.series, "loss")) == 2


def test_a_file_where_a_folder_is_loses_nothing_else(workspace: Workspace, runs: RunStore) -> None:
    with start_run("clash", workspace=workspace) as run:
        run.log_tag("team", "x")
        ms.log_text("a", "report/index.txt")
        with pytest.raises(InvalidError, match=r"`report` is not free.* There is `report/index.txt`"):
            ms.log_text("b", "report")
        run.flush()
        with pytest.raises(InvalidError, match=r"`report/index.txt/deep` is not free"):
            ms.log_text("b", "report/index.txt/deep")
        run.log_artifact("final", [1, 2, 3])
    assert (runs.get(run.id).state, runs.get(run.id).tags) == (RunState.SUCCEEDED, {"team": "x"})
    assert [*RunFiles(workspace).walk(run.id)] == ["report/index.txt"]


@pytest.mark.parametrize("own", [None, "the true error"])
def test_what_another_process_made_impossible_fails_the_run_and_keeps_the_rest(
    workspace: Workspace, runs: RunStore, own: str | None
) -> None:
    def script() -> None:
        with start_run("late", workspace=workspace) as run:
            run.log_tag("team", "x")
            run.log_param("depth", 3)
            ms.log_text("b", "report")
            RunFiles(workspace).put(run.id, "report/index.txt", b"of another process")
            if own:
                raise RuntimeError(own)

    with pytest.raises((InvalidError, RuntimeError)) as raised:
        script()
    (found,) = runs.list()
    assert (found.state, found.tags, found.params) == (RunState.FAILED, {"team": "x"}, {"depth": 3})
    assert str(raised.value) in str(found.error)
    assert (own or "`report` is not free") in str(found.error)


def test_a_run_that_can_not_begin_is_left_as_it_was(workspace: Workspace, runs: RunStore) -> None:
    with start_run("first", params={"a": 1}, workspace=workspace) as run:
        pass
    for _ in range(2):
        with pytest.raises(ConflictError, match="`a` is `1`"):
            start_run(resume=run.id, params={"a": 2}, workspace=workspace)
        assert runs.get(run.id).state is RunState.SUCCEEDED
    with pytest.raises(WrongTypeError, match=r"tag `t`: .* expected text"):
        start_run("second", tags={"t": [1]}, workspace=workspace)  # type: ignore[dict-item]  # what is tested
    assert {each.name: each.state for each in runs.list()} == {"first": RunState.SUCCEEDED, "second": RunState.FAILED}
    with pytest.raises(InvalidError, match="inside a run"):
        ms.log_metric("auc", 1.0)
    with start_run(resume=run.id, params={"b": 2}, workspace=workspace):
        pass
    assert runs.get(run.id).params == {"a": 1, "b": 2}
    for name in ("two\nlines", "x" * 300):
        with pytest.raises(InvalidError, match="name of a run"):
            start_run(name, workspace=workspace)


def test_any_value_is_a_parameter(workspace: Workspace, runs: RunStore) -> None:
    given = {
        "rate": np.float64(0.5), "n": np.int64(3), "is": np.bool_(True), "sizes": np.arange(3), "out": Path("a/b"),
        "kind": dict, "deep": {"x": [np.float32(0.25)]}, "worst": float("nan"), "day": date(2026, 1, 2), "set": {"b", "a"},
        "other": Thing(),
    }  # fmt: skip
    with start_run("np", params=given, workspace=workspace) as run:
        run.log_param("rate", 0.5)
        run.log_tag("n", 5)
        with pytest.raises(InvalidError, match="half of a character"):
            run.log_param("bad", "\ud800")
        with pytest.raises(WrongTypeError, match="metric `k`"):
            run.log_metric("k", np.array([0.1, 0.2]))  # type: ignore[arg-type]  # what is tested
    assert runs.get(run.id).tags == {"n": "5"}
    assert runs.get(run.id).params == {
        "rate": 0.5, "n": 3, "is": True, "sizes": [0, 1, 2], "out": "a/b", "kind": "builtins.dict", "deep": {"x": [0.25]},
        "worst": "NaN", "day": "2026-01-02", "set": ["a", "b"], "other": "a thing",
    }  # fmt: skip


class Thing:
    def __str__(self) -> str:
        return "a thing"


def test_a_script_that_exits_well_succeeds(workspace: Workspace, runs: RunStore) -> None:
    for code, state in ((0, RunState.SUCCEEDED), (3, RunState.FAILED)):
        with pytest.raises(SystemExit), start_run("exits", workspace=workspace) as run:
            raise SystemExit(code)
        assert runs.get(run.id).state is state


def test_a_deleted_run_does_not_go_on(workspace: Workspace, runs: RunStore) -> None:
    with start_run("gone", workspace=workspace) as run:
        pass
    with workspace.database.transaction() as tx:
        runs.delete(tx, run.id)
    with pytest.raises(InvalidError, match="it is deleted"):
        start_run(resume=run.id, workspace=workspace)


def test_what_the_machine_does_is_logged(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho '42, 1000, 16000, 71.5'\necho '7, 10, 16000, [N/A]'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    with start_run("watched", system_metrics=600, workspace=workspace) as run:
        pass
    found = Metrics(workspace.metrics).latest(run.series)
    assert found["system/cpu_utilization_percentage"].step >= 1
    assert found["system/gpu_0_power_usage_watts"].value == 71.5
    assert found["system/gpu_1_utilization_percentage"].value == 7
    assert {"system/system_memory_usage_megabytes", "system/network_receive_megabytes"} <= set(found)
    assert "system/gpu_1_power_usage_watts" not in found


def test_figures_are_kept_as_images_and_pages(workspace: Workspace) -> None:
    import plotly.graph_objects
    from matplotlib.figure import Figure

    from mainspring.errors import CodecError, WrongTypeError
    from mainspring.runs import RunFiles

    figure = Figure()
    figure.subplots().plot([1, 2])
    with start_run("drawn", workspace=workspace) as run:
        ms.log_figure(figure, "plots/line.png")
        ms.log_figure(plotly.graph_objects.Figure(), "plots/line.json")
        with pytest.raises(InvalidError, match=r"ends in one of \.png"):
            ms.log_figure(figure, "line.html")
        with pytest.raises(WrongTypeError, match="Matplotlib or Plotly"):
            ms.log_figure("line", "line.png")
        inside: dict[str, object] = {"deep": [figure]}
        for each in (figure, plotly.graph_objects.Figure(), figure.axes[0], figure.axes, {"f": figure}, inside):
            with pytest.raises(CodecError, match=r"figure `line`.*`log_figure\(figure, path\)`"):
                ms.log_artifact("line", each)
    files = RunFiles(workspace)
    with files.open(run.id, "plots/line.png") as image:
        assert image.read(4) == b"\x89PNG"
    assert files.get(run.id, "plots/line.json").size_bytes

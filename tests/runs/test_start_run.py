"""`start_run`: nested, resumed, with what the machine does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import mainspring as ms
from mainspring.errors import ConflictError, InvalidError
from mainspring.runs import Metrics, RunState, RunStore, start_run
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

    from mainspring.errors import WrongTypeError
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
    files = RunFiles(workspace)
    with files.open(run.id, "plots/line.png") as image:
        assert image.read(4) == b"\x89PNG"
    assert files.get(run.id, "plots/line.json").size_bytes

"""What a run prints is shown whatever becomes of its log, which has all of it once it can be written."""

from __future__ import annotations

import warnings
from contextlib import suppress
from pathlib import Path

import pytest

from mainspring.errors import StorageError
from mainspring.runs import Metrics, RunState, RunStore, start_run
from mainspring.runs.active import ActiveRun
from mainspring.runs.printed import LogWaits
from mainspring.workspace import Workspace


def fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (4096, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return ballast


def log_of(workspace: Workspace, run_id: str) -> str:
    log = RunStore(workspace.database).get(run_id).log
    return workspace.blobs.read(log).decode() if log else ""


def _print_all(lines: list[str]) -> None:
    for line in lines:
        print(line)


def _fail(run: ActiveRun) -> None:
    with run:
        print("y" * 300_000)
        raise KeyError("own")


@pytest.mark.one_backend("the disk of a local workspace")
def test_on_a_full_disk_print_goes_on_and_the_run_ends_when_there_is_room(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Workspace.open(small_disk) as workspace:
        run = start_run("full", workspace=workspace)
        print("before")
        run.log_metric("loss", 1.0)
        ballast = fill(small_disk)
        run.log_metric("loss", 0.5, step=1)
        lines = [f"epoch {epoch} {'.' * 80}" for epoch in range(200)]  # what is left of the last block takes a part
        with pytest.warns(LogWaits, match=f"`{small_disk}.*: No space left on device") as told:
            _print_all(lines)
        assert len(told) == 1
        for _ in range(2):
            with pytest.raises(StorageError, match=f"{small_disk}.*full"):
                run.end()
        ballast.unlink()
        run.end()
        shown = capsys.readouterr().out
        found = RunStore(workspace.database).get(run.id)
        assert found.state is RunState.SUCCEEDED
        assert len(Metrics(workspace.metrics).history(run.series, "loss")) == 2
        assert [line for line in log_of(workspace, run.id).splitlines() if "LogWaits" not in line] == shown.splitlines()
        assert not (workspace.scratch / run.id).exists()


@pytest.mark.one_backend("the disk of a local workspace")
@pytest.mark.filterwarnings("ignore::mainspring.runs.printed.LogWaits")
def test_on_a_full_disk_the_exception_that_failed_a_run_is_kept(small_disk: Path) -> None:
    with Workspace.open(small_disk) as workspace:
        run = start_run("full", workspace=workspace)
        run.log_metric("loss", 1.0)
        ballast = fill(small_disk)
        with pytest.raises(StorageError, match=f"{small_disk}.*full"):
            _fail(run)
        ballast.unlink()
        run._end_with_the_process()
        found = RunStore(workspace.database).get(run.id)
        assert (found.state, found.error) == (RunState.FAILED, "KeyError: 'own'")
        assert log_of(workspace, run.id).endswith("KeyError: 'own'\n")


def test_what_waits_is_bounded_and_the_log_says_what_it_lacks(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start_run("blocked", workspace=workspace)
    workspace.scratch.mkdir(parents=True, exist_ok=True)
    in_the_way = workspace.scratch / run.id
    in_the_way.touch()
    line = "x" * 999
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LogWaits)
        _print_all([line] * 2_000)
    in_the_way.unlink()
    print("free")
    run.end()
    lines = log_of(workspace, run.id).splitlines()
    kept = lines.count(line)
    assert 1_000 < kept < 2_000
    left_out = (2_000 - kept) * 1_000 + len("free\n")
    assert lines[kept:] == [f"[{left_out:,} bytes that were printed here could not be kept]"]
    assert capsys.readouterr().out == f"{line}\n" * 2_000 + "free\n"

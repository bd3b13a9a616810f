"""Killed at any instant, an ingest goes on behind what it had staged, and each row is there once."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from mainspring import clock
from mainspring.data import dataset
from mainspring.data.ingestion import Limits, Progress, ingest, list_cursors, streams
from mainspring.errors import ConflictError
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace
from mainspring.workspace.gc import collect
from tests.data.ingestion import killed

FILES, ROWS = 5, 40


@pytest.fixture
def months(tmp_path: Path, raw: Path) -> list[int]:
    (tmp_path / "warm").mkdir()
    (tmp_path / "warm" / "w.csv").write_text("n\n1\n")
    for number in range(FILES):
        lines = "".join(f"{number * ROWS + row}\n" for row in range(ROWS))
        (raw / f"{number}.csv").write_text(f"n\n{lines}")
    return list(range(FILES * ROWS))


def run(backend: Backend, root: Path, name: str, at: int) -> int | None:
    """How many calls an ingest took; None if it was killed."""
    command = [sys.executable, killed.__file__, str(root), backend.database_url, backend.blob_url]
    ran = subprocess.run([*command, name, str(at)], capture_output=True, text=True, check=False)
    assert ran.returncode in (0, -9), ran.stderr
    return int(ran.stdout) if ran.returncode == 0 else None


@pytest.mark.slow
@pytest.mark.parametrize("times", [2, pytest.param(50, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_a_killed_ingest_neither_loses_nor_repeats_rows(
    backend: Backend, workspace: Workspace, tmp_path: Path, raw: Path, months: list[int], times: int
) -> None:
    calls = run(backend, tmp_path, "whole", 0)
    assert calls is not None
    chance = random.Random(20130101)
    kills = 0
    for number in range(times):
        name = f"flights{number}"
        for at in (chance.randrange(calls // 3, calls), chance.randrange(calls // 2, calls)):
            kills += run(backend, tmp_path, name, at) is None
        assert run(backend, tmp_path, name, 0) is not None
        flights = dataset(name)
        assert flights.to_polars()["n"].to_list() == months
        assert [version.number for version in flights.versions()] == [1]
        assert flights.latest() == dataset("whole").latest()
    assert kills >= times
    assert workspace.database.query("SELECT dataset FROM dataset_staged") == []


def test_what_was_staged_is_not_read_again(
    workspace: Workspace, raw: Path, months: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BLOCK_BYTES", 50)
    monkeypatch.setattr(streams, "_READ_BYTES", 50)

    def stop(progress: Progress) -> None:
        if progress.rows >= 90:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(raw, to="flights", limits=Limits(rows=20), progress=stop)
    assert list_cursors("flights") == []
    collect(workspace, grace_s=0)  # what is staged is no garbage
    collect(workspace, grace_s=0)
    told: list[Progress] = []
    done = ingest(raw, to="flights", limits=Limits(rows=20), progress=told.append)
    assert (done.rows, done.resumed_rows > 60, told[0].rows) == (200, True, done.resumed_rows)
    assert dataset("flights").to_polars()["n"].to_list() == months
    assert done.version is not None
    assert len(done.version.source) == FILES


def test_columns_keep_their_types_over_an_interruption(workspace: Workspace, raw: Path) -> None:
    """A column of texts goes on as such where a file has only numbers in it."""
    for number, code in enumerate(["UA", "17", "18"]):
        (raw / f"{number}.csv").write_text(f"carrier\n{code}\n")

    def stop(progress: Progress) -> None:
        if progress.rows == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(raw, to="carriers", limits=Limits(rows=1), progress=stop)
    assert ingest(raw, to="carriers", limits=Limits(rows=1)).resumed_rows >= 1
    assert dataset("carriers").to_polars()["carrier"].to_list() == ["UA", "17", "18"]


@pytest.mark.parametrize("change", ["type", "file", "mode"])
def test_what_was_staged_for_another_reading_is_let_go(
    workspace: Workspace, raw: Path, months: list[int], change: str
) -> None:
    def stop(progress: Progress) -> None:
        if progress.rows >= 90:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(raw, to="flights", limits=Limits(rows=20), progress=stop)
    if change == "type":
        done = ingest(raw, to="flights", types={"n": "f64"})
    elif change == "mode":
        done = ingest(raw, to="flights", mode="upsert", key="n")
    else:
        (raw / "0.csv").write_text("n\n-1\n" + "".join(f"{row}\n" for row in range(1, ROWS)))
        done = ingest(raw, to="flights")
        months[0] = -1
    assert (done.rows, done.resumed_rows) == (200, 0)
    assert sorted(dataset("flights").to_polars()["n"].to_list()) == months


@pytest.mark.parametrize("change", ["deleted", "edited", "nothing"])
def test_a_replacing_ingest_goes_on_only_behind_files_that_are_as_they_were(
    workspace: Workspace, raw: Path, months: list[int], change: str
) -> None:
    ingest(raw, to="flights")

    def stop(progress: Progress) -> None:
        if progress.rows >= 90:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(raw, to="flights", mode="replace", limits=Limits(rows=20), progress=stop)
    if change == "deleted":
        (raw / "0.csv").unlink()
        months = months[ROWS:]
    elif change == "edited":
        (raw / "0.csv").write_text("n\n-1\n")
        months = [-1, *months[ROWS:]]
    done = ingest(raw, to="flights", mode="replace", limits=Limits(rows=20))
    assert dataset("flights").to_polars()["n"].to_list() == months
    assert (done.resumed_rows > 0) == (change == "nothing")


def test_what_was_told_and_when_reading_began_outlive_an_interruption(workspace: Workspace, raw: Path) -> None:
    for name in ("a", "b", "c"):
        (raw / f"{name}.csv").write_text("n;m\n1;2\n")
    times: list[int] = []

    def stop(progress: Progress) -> None:
        times.append(clock.now_us())
        if progress.rows == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(raw, to="flights", limits=Limits(rows=1), progress=stop)
    done = ingest(raw, to="flights", limits=Limits(rows=1))
    assert done.version is not None
    assert (done.resumed_rows, done.version.extracted_at <= times[0]) == (2, True)
    assert ["a.csv was read as one column" in done.warnings[0], len(done.warnings)] == [True, 3]


def test_one_source_is_read_by_one_process_at_a_time(workspace: Workspace, raw: Path, months: list[int]) -> None:
    def again(progress: Progress) -> None:
        if progress.rows:
            with pytest.raises(ConflictError, match="is being worked on by"):
                ingest(raw, to="flights")

    assert ingest(raw, to="flights", progress=again).rows == 200

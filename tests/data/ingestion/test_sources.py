"""What holds for every source: those of one's own, checks, replays, and what an ingest leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from mainspring.data import check, dataset
from mainspring.data.ingestion import Batch, Interrupted, Reading, Retry, ingest, list_cursors
from mainspring.errors import InvalidError, NotAllowedError, UnavailableError, WrongTypeError
from mainspring.ledger import Replay, within_task
from mainspring.workspace import Workspace


class Numbers:
    """Counts up, two at a time, and breaks off as often as it is told."""

    identity = "numbers"

    def __init__(self, end: int, failures: int = 0, *, has_states: bool = True) -> None:
        self.end, self.failures, self.has_states = end, failures, has_states

    def batches(self, state: dict[str, int] | None, reading: Reading) -> Iterator[Batch]:
        start = state["next"] if state else 0
        for number in range(start, self.end, 2):
            if number == start + 4 and self.failures:
                self.failures -= 1
                raise Interrupted(UnavailableError("numbers", "the line is dead"), 3.0)
            is_last = number + 2 >= self.end
            state = {"next": number + 2} if self.has_states or is_last else None
            yield Batch(frame=pl.DataFrame({"n": [number, number + 1]}), state=state)


@pytest.mark.parametrize("has_states", [True, False])
def test_a_source_that_breaks_off_is_asked_again(workspace: Workspace, has_states: bool) -> None:
    waits: list[float] = []
    done = ingest(Numbers(20, 3, has_states=has_states), to="numbers", retry=Retry(attempts=4, sleep=waits.append))
    assert (done.rows, done.retries, waits) == (20, 3, [3.0, 3.0, 3.0])
    assert dataset("numbers").to_polars()["n"].to_list() == list(range(20))
    assert ingest(Numbers(24, has_states=has_states), to="numbers").rows == 4


def test_what_fails_too_often_is_raised_and_what_was_read_is_kept(workspace: Workspace) -> None:
    with pytest.raises(UnavailableError, match="the line is dead"):
        ingest(Numbers(20, 1), to="numbers", retry=Retry(attempts=1))
    assert dataset("numbers").versions() == []
    assert ingest(Numbers(20), to="numbers").rows == 20


def test_rows_that_fail_a_check_are_not_committed_and_read_again(workspace: Workspace) -> None:
    with pytest.raises(InvalidError, match="n between 0 and 5"):
        ingest(Numbers(8), to="numbers", checks=[check.between("n", 0, 5)])
    assert (dataset("numbers").versions(), list_cursors("numbers")) == ([], [])
    done = ingest(Numbers(8), to="numbers", checks=[check.between("n", 0, 7)])
    assert (done.rows, done.resumed_rows, done.report is not None and done.report.passed) == (8, 0, True)


def test_a_replay_ingests_nothing(workspace: Workspace) -> None:
    ingest(Numbers(4), to="numbers")
    with (
        within_task("0" * 32, replay=Replay("then")),
        pytest.raises(NotAllowedError, match="doesn't read `numbers` again"),
    ):
        ingest(Numbers(8), to="numbers")
    assert dataset("numbers").latest().rows == 4


def test_a_tree_takes_no_rows(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("a")
    dataset("numbers").add(tmp_path / "folder")
    with pytest.raises(InvalidError, match="`numbers` is not a table"):
        ingest(Numbers(4), to="numbers")


def test_concurrent_appends_of_others_are_kept(workspace: Workspace) -> None:
    ingest(Numbers(2), to="numbers")

    class Slow(Numbers):
        """Another writer commits while it is read."""

        identity = "slow"

        def batches(self, state: dict[str, int] | None, reading: Reading) -> Iterator[Batch]:
            yield from super().batches(state, reading)
            dataset("numbers").append(pl.DataFrame({"n": [100]}))

    ingest(Slow(4), to="numbers")
    assert dataset("numbers").to_polars()["n"].to_list() == [0, 1, 100, 0, 1, 2, 3]


def test_what_is_no_source_is_refused(workspace: Workspace) -> None:
    with pytest.raises(WrongTypeError, match="a path, an address, or a source"):
        ingest(7, to="numbers")
    with pytest.raises(InvalidError, match="`upsrt` is not"):
        ingest(Numbers(2), to="numbers", mode="upsrt")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(InvalidError, match="said where the source is made"):
        ingest(Numbers(2), to="numbers", format="csv")

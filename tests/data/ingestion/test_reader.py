"""Reading ends: with all rows, or, of a source that goes on failing or changing, after so many attempts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from mainspring.data import dataset
from mainspring.data.ingestion import Batch, Interrupted, Limits, Reading, Retry, StaleState, ingest
from mainspring.errors import StorageError, UnavailableError
from mainspring.workspace import Workspace

FOUR_AT_ONCE = Retry(attempts=4, sleep=lambda _: None)


def batch(number: int, state: dict[str, Any] | None) -> Batch:
    return Batch(frame=pl.DataFrame({"n": [number]}), state=state, size_bytes=8)


class Breaking:
    """Its first batches come, then it breaks off, from `healed` times on at the next one; no state lies between."""

    identity = "breaking"

    def __init__(self, *, moves_on: bool) -> None:
        self.moves_on, self.asked = moves_on, 0

    def batches(self, state: dict[str, Any] | None, reading: Reading) -> Iterator[Batch]:
        self.asked += 1
        for number in range(10):
            if number == (self.asked if self.moves_on else 1):
                raise Interrupted(UnavailableError("source", "the line is dead"))
            yield batch(number, {"end": 10} if number == 9 else None)


def test_a_source_that_always_fails_behind_its_first_batch_is_given_up(workspace: Workspace) -> None:
    source = Breaking(moves_on=False)
    with pytest.raises(UnavailableError, match="the line is dead"):
        ingest(source, to="numbers", retry=FOUR_AT_ONCE)
    assert source.asked == 4


def test_a_failure_is_forgiven_when_reading_comes_further(workspace: Workspace) -> None:
    done = ingest(Breaking(moves_on=True), to="numbers", retry=FOUR_AT_ONCE)
    assert (done.rows, done.retries) == (10, 9)
    assert dataset("numbers").to_polars()["n"].to_list() == list(range(10))


class Changing:
    """What was read has changed whenever it is gone on with, so often, and has grown meanwhile."""

    identity = "changing"

    def __init__(self, changes: int) -> None:
        self.changes, self.asked = changes, 0

    def batches(self, state: dict[str, Any] | None, reading: Reading) -> Iterator[Batch]:
        self.asked += 1
        for number in range(self.asked):
            yield batch(number, {"at": number})
        if self.asked <= self.changes:
            raise StaleState


def test_a_source_that_changes_while_it_is_read_is_read_anew_and_in_the_end_given_up(workspace: Workspace) -> None:
    waits: list[float] = []
    done = ingest(Changing(3), to="numbers", retry=Retry(attempts=4, sleep=waits.append))
    assert (done.rows, waits) == (4, [0.5, 1.0])  # the first time is what an interrupted ingest finds
    source = Changing(10**6)
    with pytest.raises(StorageError, match="changed each of 5 times"):
        ingest(source, to="others", retry=FOUR_AT_ONCE, limits=Limits(rows=1))
    assert (source.asked, dataset("others").versions()) == (5, [])

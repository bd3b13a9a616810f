"""The engine: what an ingest keeps of its sources, lets go of, and holds to checks, whatever it reads from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from mainspring import clock
from mainspring.data import check, dataset, find_report, remove_dataset
from mainspring.data.ingestion import Batch, Limits, Reading, Retry, forget_cursor, ingest, list_cursors
from mainspring.data.ingestion._store import gc_roots
from mainspring.data.validation import rows
from mainspring.errors import ConflictError, InvalidError, UnavailableError
from mainspring.workspace import Workspace

ONCE = Retry(attempts=1)


class Rows:
    """Rows at hand, two at a time; `fails_at` says before which row it breaks off."""

    identity = "rows"

    def __init__(self, frame: pl.DataFrame, fails_at: int | None = None) -> None:
        self.frame, self.fails_at = frame, fails_at

    def __repr__(self) -> str:
        return "Rows()"  # what staged rows are known by: the same with other rows behind

    def batches(self, state: dict[str, Any] | None, reading: Reading) -> Iterator[Batch]:
        for at in range(state["end"] if state else 0, self.frame.height, 2):
            if self.fails_at is not None and at >= self.fails_at:
                raise UnavailableError("rows", "the line is dead")
            yield Batch(frame=self.frame[at : at + 2], state={"end": at + 2})


def numbers(*values: int | None) -> pl.DataFrame:
    return pl.DataFrame({"n": values, "v": range(len(values))}, schema={"n": pl.Int64, "v": pl.Int64})


def staged(workspace: Workspace) -> int:
    return len(workspace.database.query("SELECT position FROM dataset_staged"))


def broken_off(workspace: Workspace, name: str = "numbers") -> None:
    """An ingest that failed behind its second part."""
    with pytest.raises(UnavailableError):
        ingest(Rows(numbers(1, 2, 3, 4, 5, 6), 4), to=name, retry=ONCE, limits=Limits(rows=2))
    assert staged(workspace) == 2


def test_a_removed_dataset_is_ingested_from_the_beginning(workspace: Workspace) -> None:
    assert ingest(Rows(numbers(1, 2)), to="numbers").rows == 2
    ingest(Rows(numbers(1, 2)), to="others")
    remove_dataset("numbers")
    assert (list_cursors("numbers"), len(list_cursors("others"))) == ([], 1)
    again = ingest(Rows(numbers(1, 2)), to="numbers")
    assert (str(again.version), again.rows) == ("numbers/2", 2)


def test_what_is_staged_goes_with_its_dataset(workspace: Workspace) -> None:
    dataset("numbers").commit(numbers(0))
    broken_off(workspace)
    assert len(gc_roots(workspace.database)) == 2
    remove_dataset("numbers")
    assert (staged(workspace), gc_roots(workspace.database)) == (0, [])


def test_a_dataset_that_is_removed_while_rows_are_read_for_it_is_not_begun_in_the_middle(workspace: Workspace) -> None:
    ingest(Rows(numbers(1, 2)), to="numbers")

    class Removing(Rows):
        """Somebody removes the dataset meanwhile."""

        def batches(self, state: dict[str, Any] | None, reading: Reading) -> Iterator[Batch]:
            yield from super().batches(state, reading)
            remove_dataset("numbers")

    with pytest.raises(ConflictError, match="`numbers` was removed or replaced while new rows were read"):
        ingest(Removing(numbers(1, 2, 3, 4)), to="numbers")
    assert ingest(Rows(numbers(1, 2, 3, 4)), to="numbers").rows == 4


def test_a_commit_by_hand_leaves_how_far_a_source_was_read(workspace: Workspace) -> None:
    ingest(Rows(numbers(1, 1)), to="numbers")
    dataset("numbers").commit(numbers(1))  # mended by hand, which must not bring the rows back
    assert ingest(Rows(numbers(1, 1)), to="numbers").rows == 0
    assert ingest(Rows(numbers(1, 1)), to="numbers", mode="replace").rows == 2


def test_rows_that_cannot_be_committed_are_read_again_once_the_source_is_mended(workspace: Workspace) -> None:
    with pytest.raises(InvalidError, match="holds nulls"):
        ingest(Rows(numbers(1, None)), to="numbers", mode="upsert", key="n", limits=Limits(rows=1))
    assert staged(workspace) == 0
    assert ingest(Rows(numbers(1, 2)), to="numbers", mode="upsert", key="n").rows == 2


def test_what_a_failed_ingest_staged_is_kept_for_a_week(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_off(workspace)
    assert len(gc_roots(workspace.database)) == 2
    now = clock.now_us() + 8 * 86_400_000_000
    with monkeypatch.context() as later:
        later.setattr(clock, "now_us", lambda: now)
        assert gc_roots(workspace.database) == []
    assert ingest(Rows(numbers(1, 2, 3, 4, 5, 6)), to="numbers").resumed_rows == 4


def test_a_source_is_not_forgotten_while_it_is_read(workspace: Workspace) -> None:
    class Forgetting(Rows):
        """Somebody wants it forgotten meanwhile."""

        def batches(self, state: dict[str, Any] | None, reading: Reading) -> Iterator[Batch]:
            for busy in (lambda: forget_cursor("numbers", self), lambda: ingest(self, to="numbers")):
                with pytest.raises(
                    ConflictError, match=r"Another ingest of `.*` into `numbers` still runs; start this one"
                ):
                    busy()
            yield from super().batches(state, reading)

    ingest(Forgetting(numbers(1, 2)), to="numbers")
    forget_cursor("numbers", Rows(numbers()))
    assert ingest(Rows(numbers(1, 2)), to="numbers").rows == 2


SMALL = check.between("n", 0, 99, severity="quarantine")


@pytest.mark.parametrize("whole_bytes", [0, 1 << 20])
def test_a_broken_month_is_stopped_or_quarantined_as_declared(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, whole_bytes: int
) -> None:
    monkeypatch.setattr(rows, "_WHOLE_BYTES", whole_bytes)
    year = numbers(1, 900, 2, 3, 4, 901)
    with pytest.raises(InvalidError, match="quarantine='numbers-quarantine'"):
        ingest(Rows(year), to="numbers", checks=[SMALL], limits=Limits(rows=2))
    done = ingest(Rows(year), to="numbers", checks=[SMALL], quarantine="apart", limits=Limits(rows=2))
    assert done.version is not None
    assert (done.rows, done.version.to_polars()["n"].to_list()) == (6, [1, 2, 3, 4])
    assert done.report == find_report(done.version)
    assert done.report is not None
    assert (done.report.verdict, done.report.rows, done.report.subject) == ("quarantined", 6, "numbers, rows of rows")
    assert dataset("apart").to_polars().select("n", "quarantine_reasons").rows() == [
        (900, ["n between 0 and 99"]), (901, ["n between 0 and 99"])
    ]  # fmt: skip
    later = pl.concat([year, numbers(5, 902)])
    assert ingest(Rows(later), to="numbers", checks=[SMALL], quarantine="apart").rows == 2
    assert (dataset("numbers").latest().rows, dataset("apart").latest().rows) == (5, 3)


def test_columns_that_widened_are_checked_as_they_ended(workspace: Workspace) -> None:
    class Widening(Rows):
        """Whole numbers first, then others."""

        def batches(self, state: dict[str, Any] | None, reading: Reading) -> Iterator[Batch]:
            yield Batch(frame=pl.DataFrame({"n": [1, 2]}), state={"end": 2})
            yield Batch(frame=pl.DataFrame({"n": [0.5, 900.0]}), state={"end": 4})

    done = ingest(Widening(numbers()), to="numbers", checks=[SMALL], quarantine="apart", limits=Limits(rows=1))
    assert done.version is not None
    assert done.version.to_polars()["n"].to_list() == [1.0, 2.0, 0.5]
    assert (done.version.schema, done.widened) == ((("n", "f64"),), {"n": "i64 became f64"})


def test_rows_that_were_delivered_before_are_stopped(workspace: Workspace) -> None:
    class Renamed(Rows):
        """The same month under another name."""

        identity = "renamed"

    keys = [check.unique("n")]
    ingest(Rows(numbers(1, 2)), to="numbers", checks=keys)
    with pytest.raises(InvalidError, match=r"n unique: 2 rows fail .*\[numbers/1\]"):
        ingest(Renamed(numbers(1, 2, 3)), to="numbers", checks=keys)
    assert ingest(Renamed(numbers(1, 2, 3)), to="numbers", checks=keys, mode="replace").rows == 3


def test_an_ingest_is_compared_with_the_version_before(workspace: Workspace) -> None:
    checks = [check.compare_previous("rows", change=0.5), check.row_count(at_least=1)]
    assert ingest(Rows(numbers(1, 2)), to="numbers", checks=checks).rows == 2
    assert ingest(Rows(numbers(1, 2)), to="numbers", checks=checks).report is None  # nothing was new
    with pytest.raises(InvalidError, match=r"4 rows, 2 before \[numbers/1\]"):
        ingest(Rows(numbers(1, 2, 3, 4, 5, 6)), to="numbers", checks=checks)
    with pytest.raises(InvalidError, match=r"6 rows, 2 before \[numbers/1\]"):
        ingest(Rows(numbers(1, 2, 3, 4, 5, 6)), to="numbers", checks=checks, mode="replace")


def test_an_upsert_sets_rows_without_a_key_apart(workspace: Workspace) -> None:
    checks = [check.not_null("n", severity="quarantine"), check.unique("n")]
    ingest(Rows(numbers(1, 2)), to="numbers", mode="upsert", key="n")
    given = numbers(1, 2, None, 3, 3)
    done = ingest(Rows(given), to="numbers", mode="upsert", key="n", checks=checks, quarantine="apart")
    assert done.version is not None
    assert done.version.to_polars()["n"].to_list() == [1, 2, 3]
    assert dataset("apart").to_polars()["n"].to_list() == [None]


def test_rows_that_give_way_to_one_that_is_set_apart_are_told_of(workspace: Workspace) -> None:
    given = pl.DataFrame({"n": [1, 1, 2], "v": [1, 99, 3]})
    ingest(Rows(pl.DataFrame({"n": [1], "v": [0]})), to="numbers", mode="upsert", key="n")
    forget_cursor("numbers", Rows(given))
    checks = [check.between("v", 0, 5, severity="quarantine")]
    done = ingest(Rows(given), to="numbers", mode="upsert", key="n", checks=checks, quarantine="apart")
    assert dataset("numbers").to_polars().rows() == [(1, 0), (2, 3)]
    assert dataset("apart").to_polars()["v"].to_list() == [99]
    assert ["1 row of rows gave way to later ones" in told for told in done.warnings] == [True]

"""Compaction changes the layout and nothing else, whoever writes meanwhile."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import polars as pl
import pytest

from mainspring.artifacts import table_digest
from mainspring.data import DatasetVersion, dataset, query, remove_version
from mainspring.data.differences import TableDiff
from mainspring.data.profiles import TableProfile
from mainspring.data.tables import compaction, layout
from mainspring.data.tables.compaction import compact
from mainspring.data.tables.manifest import Part, read_listing, write_snapshot
from mainspring.data.tables.parts import write_parts
from mainspring.errors import ConflictError, InvalidError, NotFoundError, RemovedError, StorageError
from mainspring.testing.threads import at_once
from mainspring.workspace import Workspace, collect, using

pytestmark = pytest.mark.usefixtures("unfolded")


def numbers(start: int, end: int) -> pl.DataFrame:
    return pl.DataFrame({"n": range(start, end), "even": [n % 2 == 0 for n in range(start, end)]})


def test_the_newest_version_gets_few_parts_and_the_older_keep_theirs(workspace: Workspace) -> None:
    table = dataset("t")
    versions = [table.append(numbers(n * 10, n * 10 + 10)) for n in range(20)]
    edited = table.delete([5, 7], key="n")
    done = table.compact()
    assert (done.id, done.parts, done.content_digest) == (edited.id, 1, edited.content_digest)
    assert table.latest().manifest == done.manifest != edited.manifest
    assert done.size_bytes < edited.size_bytes
    listing = read_listing(workspace.blobs, done.manifest)
    assert listing.leaves == read_listing(workspace.blobs, edited.manifest).leaves
    assert not listing.parts[0].dropped
    assert done.to_polars().equals(edited.to_polars())
    assert [version.parts for version in table.versions()[1:]] == list(range(20, 0, -1))
    for _ in range(2):
        collect(workspace, grace_s=-1)
    assert [version.to_polars().height for version in versions] == list(range(10, 210, 10))
    assert workspace.ledger.events()[-1].payload == {"dataset": "t", "number": 21, "before": 20, "parts": 1}


def test_it_is_done_once(workspace: Workspace) -> None:
    table = dataset("t")
    table.append(numbers(0, 5))
    events = len(workspace.ledger.events())
    assert table.compact().manifest == table.latest().manifest
    table.append(numbers(5, 9))
    first = table.compact()
    assert table.compact().manifest == first.manifest
    assert len(workspace.ledger.events()) == events + 2


def test_appends_go_on_over_a_compaction_also_in_a_handle_that_knows_the_old_layout(workspace: Workspace) -> None:
    table = dataset("t")
    for n in range(5):
        table.append(numbers(n, n + 1))
    dataset("t").compact()
    version = table.append(numbers(5, 6))
    assert version.parts == 2
    assert version.to_polars().equals(numbers(0, 6))
    assert version.content_digest == table_digest(numbers(0, 6)).digest


def test_a_deleted_row_is_gone_when_the_only_version_left_is_compacted(workspace: Workspace) -> None:
    table = dataset("t")
    table.commit(numbers(0, 10))
    edited = table.delete([5], key="n")
    (part,) = read_listing(workspace.blobs, edited.manifest).parts
    remove_version("t/1")
    table.compact()
    for _ in range(2):
        collect(workspace, grace_s=-1)
    assert not workspace.blobs.exists(part.blob)
    assert table.latest().to_polars()["n"].to_list() == [0, 1, 2, 3, 4, 6, 7, 8, 9]


def test_parts_are_large_and_large_ones_stay(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.data.tables.parts.PART_ROWS", 100)
    table = dataset("t")
    table.commit(numbers(0, 130))
    for n in range(130, 330, 10):
        table.append(numbers(n, n + 10))
    before = read_listing(workspace.blobs, table.latest().manifest).parts
    done = table.compact()
    parts = read_listing(workspace.blobs, done.manifest).parts
    assert [part.rows for part in parts] == [100, 100, 100, 30]
    assert parts[0] == before[0]
    assert done.to_polars().equals(numbers(0, 330))


def test_many_rows_are_written_as_they_are_read(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.data.tables.parts.CHUNK_ROWS", 50)
    table = dataset("t")
    table.commit(numbers(0, 100))
    table.append(numbers(100, 200))
    table.delete(list(range(0, 200, 7)), key="n")
    done = table.compact()
    assert done.parts == 1
    assert done.to_polars()["n"].to_list() == [n for n in range(200) if n % 7]


def test_writers_that_are_faster_are_kept(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    table = dataset("t")
    for n in range(5):
        table.append(numbers(n, n + 1))
    write, late = (
        write_snapshot,
        [lambda: dataset("t").append(numbers(5, 6)), lambda: table.delete([5], key="n")],
    )

    def overtaken(*args: Any) -> Any:
        written = write(*args)
        if late:
            late.pop(0)()
        return written

    monkeypatch.setattr("mainspring.data.tables.compaction.write_snapshot", overtaken)
    done = table.compact()
    assert (done.number, done.parts, late) == (7, 1, [])
    assert done.to_polars().equals(numbers(0, 5))


def test_what_a_writer_replaced_is_left(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    table = dataset("t")
    for n in range(3):
        table.append(numbers(n, n + 1))
    verify = compaction._verify

    def overtaken(*args: Any) -> None:
        verify(*args)
        dataset("t").commit(numbers(50, 60))

    monkeypatch.setattr(compaction, "_verify", overtaken)
    assert table.compact().number == 4
    assert table.latest().to_polars().equals(numbers(50, 60))


def test_rows_that_would_differ_are_refused(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    table = dataset("t")
    table.commit(numbers(0, 3))
    head = table.append(numbers(3, 4))

    def wrong(frame: pl.LazyFrame, rows: int, blobs: Any) -> Part:
        return write_parts(frame.collect()[::-1], blobs)[0]

    monkeypatch.setattr(compaction, "_sunk", wrong)
    with pytest.raises(StorageError, match="differ from those before, so nothing was changed"):
        table.compact()
    assert table.latest().manifest == head.manifest
    assert not workspace.leases.held("compact:t")


def test_one_at_a_time_and_only_tables(workspace: Workspace) -> None:
    dataset("t").append(numbers(0, 1))
    workspace.leases.claim("compact:t", workspace.owner, 60)
    with pytest.raises(ConflictError, match="being worked on"):
        dataset("t").compact()
    with pytest.raises(NotFoundError, match="Nearest: t"):
        compact("tt", workspace)


def _compactors() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("compact ")]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few small parts are many."""
    monkeypatch.setattr(layout, "COMPACT_ABOVE", 12)
    monkeypatch.setattr(layout, "_MOST_IN_FRONT", 6)


def settled(name: str = "t") -> DatasetVersion:
    """The newest version when nobody compacts any more."""
    for thread in _compactors():
        thread.join()
    return dataset(name).latest()


@pytest.mark.usefixtures("eager")
def test_many_small_appends_are_compacted_behind_the_callers_back(workspace: Workspace) -> None:
    table = dataset("t")
    for n in range(60):
        table.append(numbers(n, n + 1))
        if n % 13 == 0:
            settled()
    version = settled()
    compactions = [event for event in workspace.ledger.events() if event.kind == "dataset.compacted"]
    assert 1 <= len(compactions) <= 9
    assert version.parts <= 13
    assert version.to_polars().equals(numbers(0, 60))
    assert [each.to_polars().height for each in table.versions()] == list(range(60, 0, -1))


@pytest.mark.usefixtures("eager")
def test_the_background_leaves_a_large_part_until_enough_has_come_behind_it(workspace: Workspace) -> None:
    table = dataset("t")
    table.commit(numbers(0, 1000))
    for n in range(1000, 1012):
        table.append(numbers(n, n + 1))
    assert settled().parts == 2
    for n in range(1012, 1022):
        table.append(numbers(n, n + 1))
    table.append(numbers(1022, 1700))
    assert settled().parts == 1


def test_a_part_that_lost_most_of_its_rows_is_rewritten_behind_the_callers_back(workspace: Workspace) -> None:
    table = dataset("t")
    whole = table.commit(numbers(0, 20_000))
    table.delete(where=pl.col("n") >= 9_999)
    version = settled()
    assert (version.rows, version.parts) == (9_999, 1)
    assert version.size_bytes < whole.size_bytes / 2 + 1_000
    assert not read_listing(workspace.blobs, version.manifest).parts[0].dropped
    assert version.to_polars().equals(numbers(0, 9_999))


def test_parts_with_many_deletion_vectors_are_rewritten_behind_the_callers_back(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "MOST_VECTORS", 2)
    table = dataset("t")
    for n in range(3):
        table.append(numbers(n * 10, n * 10 + 10))
    table.delete([0, 10], key="n")
    assert settled().parts == 3
    table.delete([20], key="n")
    assert settled().parts == 1
    assert table.to_polars()["n"].to_list() == [n for n in range(30) if n % 10]


def test_a_compaction_in_the_background_that_fails_says_so_and_harms_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    table = dataset("t")
    table.commit(numbers(0, 9))

    def broken(*_: Any) -> None:
        raise StorageError("/disk", "it is full")

    monkeypatch.setattr(compaction, "_verify", broken)
    table.delete(where=pl.col("n") > 2)
    settled()
    assert "t was not compacted: /disk: it is full" in caplog.text
    assert table.append(numbers(3, 4)).to_polars().equals(numbers(0, 4))


def test_a_tree_is_refused(workspace: Workspace, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("one")
    dataset("tree").add(tmp_path / "file")
    with pytest.raises(InvalidError, match="It is a tree"):
        compact("tree", workspace)


def test_appends_edits_and_compactions_of_many_threads_are_all_kept(workspace: Workspace) -> None:
    dataset("t").commit(numbers(0, 40))

    def work(worker: int) -> None:
        with using(workspace):
            for n in range(5):
                start = 1000 * (worker + 1) + n
                if worker == 0:
                    try:
                        dataset("t").compact()
                    except ConflictError:
                        continue
                elif worker == 1:
                    dataset("t").upsert(pl.DataFrame({"n": [n, start], "even": [None, True]}), key="n")
                elif worker == 2:
                    dataset("t").delete([20 + n], key="n")
                else:
                    dataset("t").append(numbers(start, start + 1))

    at_once(*(partial(work, worker) for worker in range(5)))
    version = dataset("t").latest()
    frame = version.to_polars()
    expected = [*range(20), *range(25, 40), *(1000 * w + n for w in (2, 4, 5) for n in range(5))]
    assert sorted(frame["n"].to_list()) == expected
    assert frame.filter(pl.col("even").is_null())["n"].sort().to_list() == [0, 1, 2, 3, 4]
    assert version.content_digest == table_digest(frame).digest
    assert version.number == 21


def test_a_record_from_before_a_compaction_is_read_in_every_way(workspace: Workspace) -> None:
    table = dataset("t")
    first = table.commit(numbers(0, 3))
    record = table.append(numbers(3, 6))
    table.compact()
    table.append(numbers(6, 7))
    remove_version("t/1")
    for _ in range(2):
        collect(workspace, grace_s=-1)
    assert not workspace.blobs.exists(record.manifest)
    assert [batch["n"].to_list() for batch in record.batches(4)] == [[0, 1, 2, 3], [4, 5]]
    assert query("SELECT count(*) AS n FROM t", {"t": record}).item() == 6
    profile, difference = record.profile(), record.diff(table.latest())
    assert isinstance(profile, TableProfile)
    assert profile.columns[0].max == 5
    assert isinstance(difference, TableDiff)
    assert difference.added == 1
    assert record.scan().collect().equals(record.to_polars())
    with pytest.raises(RemovedError):
        next(first.batches())

"""Compaction moves small files out of packs that hold other bytes too, and changes nothing else, whoever writes meanwhile."""

from __future__ import annotations

import random
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data import DatasetVersion, dataset, expire_versions, remove_version
from mainspring.data.trees import archiver, compaction
from mainspring.data.trees.compaction import compact
from mainspring.data.trees.entries import PACKED
from mainspring.data.trees.filesystem import MainspringFileSystem
from mainspring.data.trees.manifest import _remembered, read_listing, write_listing
from mainspring.data.trees.status import tree_status
from mainspring.errors import ConflictError, CorruptBlobError, InvalidError, NotFoundError
from mainspring.testing.threads import at_once
from mainspring.workspace import Workspace, collect, using
from tests.data.trees.folders import content, rewrite, spoil, tree_of

FILES = {f"{number % 3}/{number:02}": f"bytes of number {number:02}".encode() * 9 for number in range(20)}


def read(version: DatasetVersion) -> dict[str, bytes]:
    return {file.path: version.read_bytes(file.path) for file in version.list_files()}


def all_stored(workspace: Workspace) -> bytes:
    """Every byte in the store, after what nothing names was collected."""
    for _ in range(2):
        collect(workspace, grace_s=-1)
    return b"\0".join(workspace.blobs.read(info.digest) for info in workspace.blobs.list())


def test_the_content_stays_and_the_version_before_keeps_its_packs(workspace: Workspace, tmp_path: Path) -> None:
    cards = dataset("cards")
    first = cards.add(content(tmp_path / "x", FILES | {"middle": b"m" * 300_000}))
    second = cards.delete_files(["0/03", "1/*"])
    done = cards.compact()
    assert (done.id, done.content_digest, done.number) == (second.id, second.content_digest, 2)
    assert cards.latest().manifest == done.manifest != second.manifest
    assert (done.files, done.parts, done.size_bytes) == (second.files, second.parts, second.size_bytes)
    assert read(first) == FILES | {"middle": b"m" * 300_000}
    kept = {path for path in FILES if path != "0/03" and not path.startswith("1/")} | {"middle"}
    assert read(done) == {path: data for path, data in read(first).items() if path in kept}
    old, new = (read_listing(workspace.blobs, version.manifest).entries for version in (first, done))
    assert {new[path].home for path in kept if new[path].form == PACKED}.isdisjoint(old[path].home for path in old)
    assert workspace.ledger.events()[-1].payload == {"dataset": "cards", "number": 2, "before": 2, "parts": 2}


@pytest.mark.parametrize("is_compacted_first", [True, False])
def test_removed_files_are_gone_when_no_version_has_them(
    workspace: Workspace, tmp_path: Path, is_compacted_first: bool
) -> None:
    cards = dataset("cards")
    root = content(tmp_path / "x", FILES)
    cards.add(root)
    (root / "0/03").unlink()
    rewrite(root / "1/04", b"changed")
    stale = cards.add(root)
    files = MainspringFileSystem(workspace=workspace)
    assert files.cat("cards/0/00") == FILES["0/00"]
    if is_compacted_first:
        cards.compact()
    remove_version("cards/1")
    if not is_compacted_first:
        assert FILES["0/03"] in all_stored(workspace)
        cards.compact()
    left = all_stored(workspace)
    assert not [gone for gone in (FILES["0/03"], FILES["1/04"], b"0/03") if gone in left]
    assert all(data in left for path, data in FILES.items() if path not in ("0/03", "1/04"))
    assert read(cards.latest()) == tree_of(root)
    assert not workspace.blobs.exists(stale.manifest)
    assert read(stale) == tree_of(root)
    _remembered.cache_clear()
    assert stale.diff(cards.latest()).is_empty
    _remembered.cache_clear()
    assert tree_status(root, stale).is_clean
    assert files.cat("cards/0/00") == FILES["0/00"]
    assert files.info("cards/1/01")["size"] == len(FILES["1/01"])
    stale.checkout(tmp_path / "out")
    assert tree_of(tmp_path / "out") == tree_of(root)


def test_where_nothing_is_to_be_done_nothing_is(workspace: Workspace, tmp_path: Path) -> None:
    cards = dataset("cards")
    head = cards.add(content(tmp_path / "x", FILES | {"alike": FILES["0/00"], "empty": b"", "none": b""}))
    events = len(workspace.ledger.events())
    assert cards.compact().manifest == head.manifest
    cards.delete_files("0/00")  # another file has its bytes, so all of the pack is needed
    first = cards.compact()
    entries = read_listing(workspace.blobs, head.manifest).entries
    assert read_listing(workspace.blobs, first.manifest).entries["alike"] == entries["alike"]
    cards.delete_files("1/01")
    second = cards.compact()
    assert cards.compact().manifest == second.manifest
    assert len(cards.versions()) == 3
    kinds = [event.kind for event in workspace.ledger.events()[events:]]
    assert kinds == ["dataset.committed", "dataset.compacted"] * 2


def test_only_packs_with_other_bytes_are_written_anew(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiver, "SMALL_BYTES", 300)
    monkeypatch.setattr(archiver, "PACK_BYTES", 1_000)
    cards = dataset("cards")
    first = cards.add(content(tmp_path / "x", FILES))
    before = read_listing(workspace.blobs, first.manifest).entries
    assert len({entry.home for entry in before.values()}) > 3
    cards.delete_files("2/05")
    now = read_listing(workspace.blobs, cards.compact().manifest).entries
    hit = before["2/05"].home
    assert {path for path in now if now[path].home != before[path].home} == {
        path for path in now if before[path].home == hit
    }
    assert read(cards.latest()) == {path: data for path, data in FILES.items() if path != "2/05"}


def test_writers_that_are_faster_are_kept(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = dataset("cards")
    root = content(tmp_path / "x", FILES)
    cards.add(root)
    cards.delete_files("0/03")
    write = write_listing
    late = [lambda: dataset("cards").add(root), lambda: dataset("cards").delete_files(["0/06", "1/04"])]

    def overtaken(*args: Any) -> Any:
        written = write(*args)
        if late:
            late.pop(0)()
        return written

    monkeypatch.setattr(compaction, "write_listing", overtaken)
    done = cards.compact()
    assert (done.number, late) == (4, [])
    assert read(done) == {path: data for path, data in FILES.items() if path not in ("0/06", "1/04")}
    expire_versions("cards", keep_last=1)
    left = all_stored(workspace)
    assert FILES["0/06"] not in left
    assert FILES["1/04"] not in left
    assert read(cards.latest()) == read(done)


def test_updates_deletions_and_compactions_of_many_threads_are_all_kept(workspace: Workspace, tmp_path: Path) -> None:
    dataset("cards").add(content(tmp_path / "x", FILES))

    def work(worker: int) -> None:
        with using(workspace):
            for n in range(4):
                if worker == 0:
                    try:
                        dataset("cards").compact()
                    except ConflictError:
                        continue
                elif worker == 1:
                    dataset("cards").delete_files(f"{n % 3}/{n:02}")
                else:
                    folder = content(tmp_path / f"{worker}-{n}", {f"new/{worker}-{n}": b"%d %d" % (worker, n)})
                    dataset("cards").add(folder, mode="update")

    at_once(*(partial(work, worker) for worker in range(4)))
    dataset("cards").compact()
    expire_versions("cards", keep_last=1)
    left = all_stored(workspace)
    expected = {path: data for path, data in FILES.items() if int(path[-2:]) > 3}
    expected |= {f"new/{worker}-{n}": b"%d %d" % (worker, n) for worker in (2, 3) for n in range(4)}
    assert read(dataset("cards").latest()) == expected
    assert not [path for path, data in FILES.items() if path not in expected and data in left]


def test_what_was_added_before_a_compaction_is_committed_after_it(workspace: Workspace, tmp_path: Path) -> None:
    """A writer that took files in on the old layout names their packs, also if no version did meanwhile."""
    from mainspring.data.commit import commit_draft
    from mainspring.data.trees.staging import StagedFiles

    cards = dataset("cards")
    root = content(tmp_path / "x", FILES)
    cards.add(root)
    rewrite(root / "0/03", b"other")
    staged = StagedFiles(workspace, "cards", root, cards.latest())
    cards.delete_files("1/*")
    cards.compact()
    remove_version("cards/1")
    version = commit_draft(workspace, "cards", staged.draft("replace"), behind=False, extracted_us=0)
    all_stored(workspace)
    assert read(version) == tree_of(root)


@pytest.mark.one_backend("a file of the local store is spoilt")
def test_a_spoilt_file_stops_it_and_nothing_is_changed(workspace: Workspace, tmp_path: Path) -> None:
    cards = dataset("cards")
    cards.add(content(tmp_path / "x", FILES))
    head = cards.delete_files("0/03")
    entry = read_listing(workspace.blobs, head.manifest).entries["1/04"]
    spoil(workspace, entry.home.hex(), entry.offset + 1)
    with pytest.raises(CorruptBlobError, match="1/04"):
        cards.compact()
    assert cards.latest().manifest == head.manifest
    assert not workspace.leases.held("compact:cards")


def test_one_at_a_time_and_only_trees(workspace: Workspace, tmp_path: Path) -> None:
    import polars as pl

    dataset("cards").add(content(tmp_path / "x", FILES))
    dataset("table").commit(pl.DataFrame({"n": [1]}))
    workspace.leases.claim("compact:cards", workspace.owner, 60)
    with pytest.raises(ConflictError, match="being worked on"):
        dataset("cards").compact()
    with pytest.raises(NotFoundError, match="Nearest: cards"):
        compact("card", workspace)
    with pytest.raises(InvalidError, match="It is a table"):
        compact("table", workspace)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_whatever_was_added_and_removed_only_the_newest_files_are_left(seed: int) -> None:
    """Held against a dictionary; no two files that ever were have the same bytes."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, Workspace.open(Path(folder) / "ws") as workspace, using(workspace):
        cards = dataset("cards")
        state = {f"{number}": rng.randbytes(rng.randrange(20, 60)) for number in range(12)}
        ever = set(state.values())
        cards.add(content(Path(folder) / "0", state))
        for step in range(1, 5):
            if rng.random() < 0.5:
                gone = rng.sample(sorted(state), 2)
                cards.delete_files(gone)
                state = {path: data for path, data in state.items() if path not in gone}
            else:
                news = {f"{rng.randrange(12)}": rng.randbytes(rng.randrange(20, 60)) for _ in range(3)}
                cards.add(content(Path(folder) / str(step), news), mode="update")
                state |= news
                ever |= set(news.values())
            if rng.random() < 0.4:
                cards.compact()
        cards.compact()
        expire_versions("cards", keep_last=1)
        left = all_stored(workspace)
        assert read(cards.latest()) == state
        assert {data for data in ever if data in left} == set(state.values())

"""A copy in another workspace is the same content, checked there, and knows where it came from; a killed copy goes on."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake

from mainspring.data import dataset
from mainspring.data.interchange.copies import copy_version
from mainspring.data.interchange.pinned import pin_delta
from mainspring.errors import CorruptBlobError, InvalidError, RemovedError, StorageError, WrongTypeError
from mainspring.store import BlobInfo, BlobStore
from mainspring.testing.plugin import Backend
from mainspring.workspace import Workspace, collect, using
from tests.data.trees.folders import content, tree_of


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace on SQLite and files, so that the tests copy from both pairs, and back."""
    where = {"database": f"sqlite://{tmp_path}/other/state.db", "blobs": f"file://{tmp_path}/other/blobs"}
    with Workspace.open(tmp_path / "other", overrides=where) as opened:
        yield opened


def test_a_table_is_copied_with_its_layout_and_its_origin(
    workspace: Workspace, other: Workspace, tmp_path: Path
) -> None:
    source = content(tmp_path / "raw", {"flights.csv": b"n\n1\n"}) / "flights.csv"
    flights = dataset("flights")
    flights.commit(pl.DataFrame({"n": range(1_000), "text": ["x"] * 1_000}))
    flights.append(pl.DataFrame({"n": [-1], "text": ["y"]}))
    version = flights.commit(
        flights.delete(where="n % 3 = 0").to_polars(), source=source, note="thirds"
    )  # fmt: skip
    version = flights.upsert(pl.DataFrame({"n": [1], "text": ["z"]}), key="n", source=source, note="thirds")
    copied = copy_version(version, other)
    assert copied == version
    assert (copied.number, copied.note, copied.schema, copied.rows) == (1, "thirds", version.schema, version.rows)
    assert copied.extracted_at == version.extracted_at
    with using(other):
        there = copied.to_polars()
    assert there.equals(version.to_polars())
    (origin,) = copied.source
    assert (origin.kind, origin.uri, origin.node) == ("copied_version", str(version), version.id)
    up = [edge.dst for edge in other.ledger.edges([version.id]) if edge.role == "read_from"]
    assert [other.ledger.get_node(node).label for node in up] == [source.as_uri()]
    with using(other):
        assert dataset("flights", other).append(pl.DataFrame({"n": [7], "text": ["w"]})).rows == version.rows + 1


def test_a_tree_is_copied_byte_for_byte(workspace: Workspace, other: Workspace, tmp_path: Path) -> None:
    rng = random.Random(1)
    folder = content(
        tmp_path / "cards",
        {"a/one.txt": b"1", "two": b"", "middle": rng.randbytes(1 << 20), "large": rng.randbytes(17 << 20)},
    )
    (folder / "link").symlink_to("a/one.txt")
    dataset("cards").add(folder)
    (folder / "a" / "one.txt").write_bytes(b"other")
    version = dataset("cards").add(folder)
    told: list[tuple[int, int, int]] = []
    copied = copy_version(version, other, name="photos", progress=lambda *now: told.append(now))
    assert (copied, str(copied), copied.files) == (version, "photos/1", 5)
    assert told == sorted(told)
    assert told[-1][1] <= told[-1][2]
    with using(other):
        copied.checkout(tmp_path / "there")
    assert tree_of(tmp_path / "there") == tree_of(folder)
    assert (tmp_path / "there" / "link").is_symlink()


@pytest.mark.one_backend("what an error says")
def test_a_copy_to_no_workspace_is_refused(workspace: Workspace) -> None:
    with pytest.raises(WrongTypeError, match=r"to: `pw` is a str, expected a workspace. `Workspace.open"):
        copy_version(dataset("t").commit(pl.DataFrame({"n": [1]})), "pw")  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("frame", [pl.DataFrame({"n": []}, schema={"n": pl.Int8}), pl.DataFrame()])
def test_empty_tables_are_copied(workspace: Workspace, other: Workspace, frame: pl.DataFrame) -> None:
    assert copy_version(dataset("none").commit(frame), other).rows == 0


def test_a_copy_made_twice_is_one_and_sends_nothing_again(workspace: Workspace, other: Workspace) -> None:
    first = dataset("flights").commit(pl.DataFrame({"n": range(1_000)}))
    second = dataset("flights").append(pl.DataFrame({"n": [1]}))
    copies = [copy_version(version, other) for version in (first, second, first, second)]
    assert [copied.number for copied in copies] == [1, 2, 1, 2]
    back = copy_version(copies[0], workspace, name="back", workspace=other)
    assert back == first
    assert [source.node for source in back.source] == [copies[0].id]


def test_copying_to_the_same_workspace_is_refused(workspace: Workspace) -> None:
    version = dataset("flights").commit(pl.DataFrame({"n": [1]}))
    again = Workspace.open(project=workspace.project)
    with again, pytest.raises(InvalidError, match="another workspace"):
        copy_version(version, again)


class Failing:
    """A blob store that stops taking blobs after some."""

    def __init__(self, blobs: BlobStore, puts: int) -> None:
        self.blobs, self.left = blobs, puts

    def __getattr__(self, name: str) -> object:
        return getattr(self.blobs, name)

    def put(self, data: bytes | Path) -> str:
        if not self.left:
            raise StorageError("there", "the server went away")
        self.left -= 1
        return self.blobs.put(data)


@pytest.mark.usefixtures("unfolded")
def test_a_copy_that_failed_midway_commits_nothing_and_goes_on(workspace: Workspace, other: Workspace) -> None:
    flights = dataset("flights")
    for number in range(5):
        version = flights.append(pl.DataFrame({"n": [number]}))
    blobs = other.blobs
    other.blobs = Failing(blobs, 3)  # type: ignore[assignment]  # it passes all else on
    with pytest.raises(StorageError, match="went away"):
        copy_version(version, other)
    other.blobs = blobs
    assert dataset("flights", other).versions() == []
    assert len(list(blobs.list())) == 3
    before: dict[str, BlobInfo] = {info.digest: info for info in blobs.list()}
    assert copy_version(version, other) == version
    assert before.keys() <= {info.digest for info in blobs.list()}
    collect(other, grace_s=0)
    collect(other, grace_s=0)
    with using(other):
        assert dataset("flights", other).latest().to_polars()["n"].to_list() == [0, 1, 2, 3, 4]


@pytest.mark.one_backend("it damages a file of the store")
def test_what_is_damaged_here_is_not_copied(workspace: Workspace, other: Workspace, tmp_path: Path) -> None:
    version = dataset("cards").add(content(tmp_path / "cards", {"a": b"x" * 300_000}))
    (file,) = (
        path
        for path in (tmp_path / "workspace" / "blobs").rglob("*")
        if path.is_file() and path.stat().st_size == 300_000
    )
    file.chmod(0o644)
    file.write_bytes(b"y" * 300_000)
    with pytest.raises(CorruptBlobError):
        copy_version(version, other)
    assert dataset("cards", other).versions() == []


def test_a_record_that_says_another_content_is_not_copied(workspace: Workspace, other: Workspace) -> None:
    version = dataset("flights").commit(pl.DataFrame({"n": [1]}))
    with workspace.database.transaction() as tx:
        tx.execute("UPDATE dataset_version SET content_digest = ?", ("0" * 64,))
    with pytest.raises(StorageError, match="what arrived of flights/1 has the content"):
        copy_version(version, other)
    assert dataset("flights", other).versions() == []


def test_a_pinned_version_stays_pinned(workspace: Workspace, other: Workspace, tmp_path: Path) -> None:
    write_deltalake(str(tmp_path / "outside"), pl.DataFrame({"n": [1, 2]}))
    copied = copy_version(pin_delta("outside", tmp_path / "outside"), other)
    with using(other):
        assert copied.to_polars()["n"].to_list() == [1, 2]
    assert copied.pinned is not None


def test_what_was_removed_is_not_copied(workspace: Workspace, other: Workspace) -> None:
    version = dataset("flights").commit(pl.DataFrame({"n": [1]}))
    with workspace.database.transaction() as tx:
        tx.execute("UPDATE dataset_version SET removed_at = 1")
    with pytest.raises(RemovedError):
        copy_version(version, other)


KILLED = """
    import os, signal
    from mainspring.data import copy_version, dataset
    from mainspring.workspace import Workspace

    here = Workspace.open({here!r}, overrides={here_urls!r})
    there = Workspace.open({there!r}, overrides={there_urls!r})
    version = dataset("cards", here).latest()
    left = {instant}

    def told(*_):
        global left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    copy_version(version, there, workspace=here, progress=told)
"""


@pytest.mark.parametrize("instant", [1, 7, 19])
def test_a_copy_that_is_killed_goes_on_where_it_was(
    backend: Backend, other: Workspace, tmp_path: Path, instant: int
) -> None:
    here = {"database": backend.database_url, "blobs": backend.blob_url}
    there = {name: str(getattr(other.project.settings, name)) for name in here}
    with Workspace.open(tmp_path, overrides=here) as opened, using(opened):
        files = {f"{number}.bin": random.Random(number).randbytes(300_000) for number in range(20)}
        version = dataset("cards").add(content(tmp_path / "cards", files))
        code = KILLED.format(
            here=str(tmp_path), here_urls=here, there=str(tmp_path / "other"), there_urls=there, instant=instant
        )
        killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert dataset("cards", other).versions() == []
        arrived = len(list(other.blobs.list()))
        assert arrived == instant
        assert copy_version(version, other) == version
    with using(other):
        assert {file.path for file in dataset("cards", other).latest().list_files()} == files.keys()

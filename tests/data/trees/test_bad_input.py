"""What can't be kept is named, and nothing is lost by it; what is damaged is found when it is read."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3

from mainspring.data import dataset
from mainspring.data.trees.archiver import LARGE_BYTES
from mainspring.data.trees.entries import CHUNKED, LINK, PACKED, WHOLE, Entry
from mainspring.data.trees.manifest import Chunk, Manifest, read_chunks, read_listing
from mainspring.data.trees.reading import TreeReader
from mainspring.data.trees.status import tree_status
from mainspring.errors import CorruptBlobError, InvalidError, MainspringError, NotFoundError, StorageError
from mainspring.workspace import Workspace, using
from tests.data.trees.folders import content, spoil, tree_of

pytestmark = pytest.mark.one_backend(
    "names and kinds of files are of the disk; what is damaged in either store is of the stores"
)

HOSTILE = ["../evil", "/etc/evil", "a/../../evil", "a//b", "", ".", "a/.", "a\0b", "a/"]


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "sub/../../outside", "hop/../../outside"])
def test_links_that_leave_the_tree_are_refused_by_name(workspace: Workspace, tmp_path: Path, target: str) -> None:
    root = content(tmp_path / "x", {"a": b"1", "sub/deep/b": b"2"})
    (root / "hop").symlink_to("sub/deep")
    (root / "bad").symlink_to(target)
    with pytest.raises(InvalidError, match=r"x/bad.*The link `bad` (leads out|goes through)"):
        dataset("cards").add(root)
    with pytest.raises(NotFoundError):
        dataset("cards").latest()
    (root / "bad").unlink()
    assert dataset("cards").add(root).files == 3


def test_links_inside_are_kept_as_links_and_followed_when_read(workspace: Workspace, tmp_path: Path) -> None:
    root = content(tmp_path / "x", {"d/a": b"1"})
    (root / "to").symlink_to("d/a")
    (root / "twice").symlink_to("to")
    (root / "dangling").symlink_to("d/none")
    version = dataset("cards").add(root)
    assert version.read_bytes("twice") == b"1"
    with pytest.raises(InvalidError, match="`dangling` is not a file"):
        version.read_bytes("dangling")
    version.checkout(tmp_path / "out")
    assert os.readlink(tmp_path / "out" / "twice") == "to"


def test_many_links_cost_as_much_each_as_few(workspace: Workspace, tmp_path: Path) -> None:
    """All links were gathered again for each one: 3,000 took three seconds."""
    calls = []
    for count in (40, 80):
        root = content(tmp_path / str(count), {"a": b"1"})
        for number in range(count):
            (root / f"link{number}").symlink_to("a")
        calls.append(calls_of(lambda root=root: dataset(root.name).add(root)))  # type: ignore[misc]  # bound at once
    assert calls[1] < 2.5 * calls[0]


def calls_of(call: Callable[[], object]) -> int:
    """How many functions were called in the modules of trees, by what a call does here."""
    counts = Counter[str]()
    sys.setprofile(lambda frame, event, _: counts.update([event] if "/trees/" in frame.f_code.co_filename else []))
    try:
        call()
    finally:
        sys.setprofile(None)
    return counts["call"] + counts["c_call"]


def test_sockets_and_pipes_are_refused_by_name(workspace: Workspace, tmp_path: Path) -> None:
    root = content(tmp_path / "x", {"a": b"1"})
    os.mkfifo(root / "pipe")
    with pytest.raises(InvalidError, match=r"x/pipe: `a pipe` is not a file, folder or link"):
        dataset("cards").add(root)
    with pytest.raises(InvalidError, match=r"x/pipe: .* is not a file or folder"):
        dataset("cards").add(root / "pipe")
    (root / "pipe").unlink()
    here = os.getcwd()
    os.chdir(root)  # the path of a socket may be no longer than 100 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")
            with pytest.raises(InvalidError, match=r"x/socket: `a socket` is not a file, folder or link"):
                dataset("cards").add(root)
    finally:
        os.chdir(here)


@pytest.mark.parametrize("name", [b"\xff.txt", b"sub\xff/a.txt"])
def test_names_that_are_not_utf8_are_refused_by_name(workspace: Workspace, tmp_path: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"x", name)
    os.makedirs(os.path.dirname(path))
    try:
        with open(path, "wb"):
            pass
    except OSError:  # a disk as macOS has it takes none
        return
    with pytest.raises(InvalidError, match=r"/x.*udcff.*is not a name in UTF-8"):
        dataset("cards").add(tmp_path / "x")


@pytest.mark.parametrize("elsewhere", [{}, {"database": "sqlite://{root}/state.db", "blobs": "file://{root}/b"}])
def test_a_workspace_is_not_added_to_itself(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    root = content(tmp_path / "x", {"a": b"1", "sub/state.db": b"2"})
    settings = {name: url.format(root=root) for name, url in elsewhere.items()}
    with Workspace.open(root, overrides=settings) as own, using(own):
        own.blobs.put(b"something")
        version = dataset("cards").add(root)
        assert [file.path for file in version.list_files()] == ["a", "sub/state.db"]
        assert tree_status(root, version).is_clean
        for part in (own.blobs.place, own.database.place):
            with pytest.raises(InvalidError, match=f"{part}: `a workspace's own state` is not data"):
                dataset("cards").add(part)


def test_a_file_that_cant_be_read_is_named(workspace: Workspace, tmp_path: Path) -> None:
    root = content(tmp_path / "x", {"a": b"1", "closed": b"2"})
    (root / "closed").chmod(0)
    if os.geteuid():
        with pytest.raises(StorageError, match=r"x/closed: it can't be read.*Permission denied"):
            dataset("cards").add(root)
        return
    if os.path.exists("/proc/self/mem"):  # what even root can't read from its start
        with pytest.raises(StorageError, match="/mem: it can't be read"):
            dataset("cards").add("/proc/self/mem")


@pytest.mark.parametrize("size", [1_000, 100_000, LARGE_BYTES // 16 + 1], ids=["small", "middle", "large"])
@pytest.mark.usefixtures("small_limits")
def test_a_file_that_changes_while_it_is_read_is_read_again_or_named(
    workspace: Workspace, tmp_path: Path, size: int
) -> None:
    root = content(tmp_path / "x", {"calm": b"1", "log": b"x" * size})
    stop, turns = threading.Event(), 0

    def write() -> None:
        nonlocal turns
        while not stop.is_set():
            with (root / "log").open("r+b") as file:
                file.write(b"%d" % turns)
            turns += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(5):
            said = ""
            try:
                version = dataset("cards").add(root)
            except StorageError as error:
                said = str(error)
            else:
                file = next(each for each in version.list_files() if each.path == "log")
                assert blake3(version.read_bytes("log")).hexdigest() == file.digest
            assert not said or said.startswith(f"{root / 'log'}: it changes while it is read")
    finally:
        stop.set()
        thread.join()
    assert turns
    version = dataset("cards").add(root)
    assert {name: version.read_bytes(name) for name in ("calm", "log")} == tree_of(root)


@pytest.mark.parametrize("path", HOSTILE)
def test_a_manifest_that_leaves_its_folder_is_refused(workspace: Workspace, tmp_path: Path, path: str) -> None:
    digest = bytes.fromhex(workspace.blobs.put(b"evil"))
    entries = [Entry("fine", digest, 4, False, WHOLE), Entry(path, digest, 4, False, WHOLE)]
    with pytest.raises(StorageError, match="would leave its folder"):
        read_listing(workspace.blobs, stored(workspace, entries))


def test_a_manifest_with_a_link_out_or_a_file_below_a_file_is_refused(workspace: Workspace) -> None:
    digest = bytes.fromhex(workspace.blobs.put(b"evil"))
    out = Entry("d", digest, 3, False, LINK, b"../..")
    with pytest.raises(StorageError, match="the link `d` leads out"):
        read_listing(workspace.blobs, stored(workspace, [out]))
    file = Entry("d/x", digest, 4, False, WHOLE)
    for above in (Entry("d", digest, 4, False, WHOLE), Entry("d", digest, 1, False, LINK, b"e")):
        with pytest.raises(StorageError, match="`d/x` lies below `d`"):
            read_listing(workspace.blobs, stored(workspace, [above, file]))


def test_what_is_no_manifest_is_named(workspace: Workspace) -> None:
    blob = workspace.blobs.put(b"\xc1 nothing")
    with pytest.raises(StorageError, match=r"blob .* not a manifest of a tree"):
        read_listing(workspace.blobs, blob)
    segment = workspace.blobs.put(msgspec.msgpack.encode(Manifest("", 0, 0, (blob,))))
    with pytest.raises(StorageError, match="not a part of a manifest"):
        read_listing(workspace.blobs, segment)
    entry = Entry("a", b"\0" * 32, 4, False, CHUNKED, bytes.fromhex(blob))
    with pytest.raises(StorageError, match="not a list of chunks"):
        TreeReader(workspace.blobs, stored(workspace, [entry]), "x/1").read_bytes("a")


@pytest.mark.one_backend("a file of the local store is spoilt")
def test_of_a_corrupt_pack_the_files_are_read_that_are_intact(workspace: Workspace, tmp_path: Path) -> None:
    root = content(tmp_path / "x", {"a": b"1" * 100, "b": b"2" * 100, "alone": b"3" * 300_000})
    version = dataset("cards").add(root)
    pack = read_listing(workspace.blobs, version.manifest).entries["a"].home.hex()
    spoil(workspace, pack, 150)
    with Workspace.open(tmp_path, overrides=dict(workspace_urls(workspace))) as fresh:
        with pytest.raises(CorruptBlobError, match="cards/1, file `b` in the pack") as found:
            TreeReader(fresh.blobs, version.manifest, "cards/1").read_bytes("b")
    assert found.value.digest == pack
    assert (version.read_bytes("a"), version.read_bytes("alone")) == (b"1" * 100, b"3" * 300_000)


@pytest.mark.one_backend("a file of the local store is spoilt")
def test_a_pack_that_is_spoilt_while_it_is_open_is_noticed(workspace: Workspace, tmp_path: Path) -> None:
    version = dataset("cards").add(content(tmp_path / "x", {"a": b"1" * 100, "b": b"2" * 100}))
    entries = read_listing(workspace.blobs, version.manifest).entries
    with TreeReader(workspace.blobs, version.manifest, "cards/1") as reader:
        assert reader.read_bytes("a") == b"1" * 100
        spoil(workspace, entries["a"].home.hex(), entries["b"].offset)
        with pytest.raises(CorruptBlobError, match="cards/1, file `b` in the pack"):
            reader.read_bytes("b")
        assert reader.read_bytes("a") == b"1" * 100


@pytest.mark.one_backend("a file of the local store is spoilt")
def test_a_corrupt_chunk_stops_the_read_and_the_checkout(workspace: Workspace, tmp_path: Path) -> None:
    version = dataset("big").add(content(tmp_path / "x", {"big": os.urandom(LARGE_BYTES + 1)}))
    chunks = read_chunks(workspace.blobs, read_listing(workspace.blobs, version.manifest).entries["big"].home)
    spoil(workspace, chunks[1].digest.hex(), 5)
    with version.open("big") as file, pytest.raises(CorruptBlobError):
        file.read()
    with pytest.raises(CorruptBlobError):
        version.checkout(tmp_path / "out")
    assert tree_of(tmp_path / "out") == {}


@pytest.mark.one_backend("the disk of a local store is filled")
def test_a_full_store_is_named_and_the_next_add_works(tmp_path: Path, small_disk: Path) -> None:
    root = content(tmp_path / "x", {f"{n}": os.urandom(100_000) for n in range(20)})
    where = {"database": f"sqlite://{tmp_path}/state.db", "blobs": f"file://{small_disk}/blobs"}
    with Workspace.open(tmp_path, overrides=where) as workspace:
        with pytest.raises(StorageError, match="the disk is full"):
            dataset("cards", workspace).add(root)
        with pytest.raises(NotFoundError):
            dataset("cards", workspace).latest()
        for number in range(15):
            (root / f"{number}").unlink()
        for left in (small_disk / "blobs").rglob("*"):
            if left.is_file():
                left.unlink()
        version = dataset("cards", workspace).add(root)
        with TreeReader(workspace.blobs, version.manifest, "cards/1") as reader:
            assert {file.path: reader.read_bytes(file.path) for file in reader.files()} == tree_of(root)


def test_places_in_packs_and_chunks_that_cant_be_are_refused(workspace: Workspace) -> None:
    home = bytes.fromhex(workspace.blobs.put(b"a pack"))
    wrong = Entry("a", home, 4, False, PACKED, home, -3)
    with pytest.raises(StorageError, match=r"`a` in its pack can't be"):
        with TreeReader(workspace.blobs, stored(workspace, [wrong]), "x/1") as reader:
            reader.read_bytes("a")
    chunks = bytes.fromhex(workspace.blobs.put(msgspec.msgpack.encode([Chunk(home, 7)])))
    wrong = Entry("a", home, 7, False, CHUNKED, chunks)
    with pytest.raises(StorageError, match="it has 6 bytes, not 7"):
        TreeReader(workspace.blobs, stored(workspace, [wrong]), "x/1").read_bytes("a")


def test_a_checkout_to_a_file_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    root = content(tmp_path / "x", {"a": b"1"})
    with pytest.raises(InvalidError, match=r"x/a: .* is not a folder"):
        dataset("cards").add(root).checkout(root / "a")


def test_half_written_state_of_a_reader_is_no_file(workspace: Workspace, tmp_path: Path) -> None:
    root = content(tmp_path / "x", {"a": b"1"})
    version = dataset("cards").add(root)
    for wrong in ("b", "a/b", "../a", "/a"):
        with pytest.raises(MainspringError, match="is not a file of"):
            version.open(wrong)


def stored(workspace: Workspace, entries: list[Entry]) -> str:
    """A manifest as somebody hostile would write it."""
    segment = workspace.blobs.put(msgspec.msgpack.encode(entries))
    return workspace.blobs.put(msgspec.msgpack.encode(Manifest("", 0, 0, (segment,))))


def workspace_urls(workspace: Workspace) -> dict[str, str]:
    """Where a workspace lies."""
    settings = workspace.project.settings
    return {"database": settings.database, "blobs": settings.blobs}

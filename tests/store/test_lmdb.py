"""What only LMDB has: a map that grows, readers that were killed, one environment for each process, disks that are full."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import lmdb
import pytest

from mainspring.errors import StorageError
from mainspring.store import open_keyvalue
from mainspring.store.lmdb import LmdbKeyValue
from mainspring.testing.processes import Child
from mainspring.testing.threads import at_once
from tests.store.test_faults import fill, in_a_second

_WRITERS = "mainspring.testing._writers"
_SMALL = 1 << 16


def test_the_map_grows_by_itself_beside_readers(tmp_path: Path) -> None:
    store = LmdbKeyValue(tmp_path, map_size_bytes=_SMALL)
    store.write([(b"first", b"x" * 10)])
    with Child(f"{_WRITERS}:echo_sizes", str(tmp_path), _SMALL) as reader:
        reader.tell("first")
        assert reader.read() == "10"
        for number in range(8):
            store.put_newest([(b"%d/%d" % (number, each), b"x" * 5_000) for each in range(40)])
            reader.tell(f"{number}/39")
            assert reader.read() == "5000"
        other = LmdbKeyValue(tmp_path)
        other.write([(b"other", b"y" * 2_000_000)])
        other.close()
        assert store.get(b"other") == b"y" * 2_000_000
        reader.tell("other")
        assert reader.read() == "2000000"
    store.close()


def test_the_map_grows_while_threads_read(tmp_path: Path) -> None:
    store = LmdbKeyValue(tmp_path, map_size_bytes=_SMALL)
    store.write([(b"kept", b"x" * 100)])
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            assert store.get(b"kept") == b"x" * 100
            assert len(list(store.scan(b"k"))) == 1

    def write() -> None:
        try:
            for number in range(60):
                store.write([(b"%d" % number, b"y" * 40_000)])
        finally:
            done.set()

    at_once(read, read, write)
    assert len(list(store.scan(b""))) == 61
    store.close()


def test_readers_that_were_killed_take_no_places(tmp_path: Path) -> None:
    store = LmdbKeyValue(tmp_path)
    store.write([(b"a", b"1")])
    with Child(f"{_WRITERS}:hold_read_transactions", str(tmp_path)) as child:
        assert int(child.read()) > 1_000
        with pytest.raises(StorageError, match=f"{tmp_path}.*read transactions are open"):
            store.get(b"a")
        store.write([(b"a", b"2")])
        child.signal(signal.SIGKILL)
        assert store.get(b"a") == b"2"
    store.close()


def test_looking_makes_nothing(tmp_path: Path) -> None:
    store = open_keyvalue(str(tmp_path / "none"))
    assert store.get(b"a") is None
    assert list(store.scan(b"")) == []
    assert list(tmp_path.iterdir()) == []
    store.write([(b"a", b"1")])
    assert store.get(b"a") == b"1"
    assert open_keyvalue(f"lmdb://{tmp_path}/none").get(b"a") == b"1"
    store.close()


def test_a_full_disk_is_named_and_damages_nothing(small_disk: Path) -> None:
    store = LmdbKeyValue(small_disk / "online")
    store.write([(b"kept", b"1")])
    fill(small_disk)
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(StorageError, match=f"{small_disk}/online.*full"):
            store.put_newest([(b"more", b"x" * 300_000)])
        assert store.get_many([b"kept", b"more"]) == [b"1", None]
    with pytest.raises(StorageError, match=f"{small_disk}/new.*full"):
        LmdbKeyValue(small_disk / "new").write([(b"a", b"1")])
    assert in_a_second(started)
    store.close()
    again = LmdbKeyValue(small_disk / "online")
    assert again.get(b"kept") == b"1"
    (small_disk / "ballast").unlink()
    again.write([(b"more", b"x" * 300_000)])
    assert len(again.get(b"more") or b"") == 300_000
    again.close()


def test_a_disk_with_room_for_a_part_of_a_write_is_full(small_disk: Path) -> None:
    store = LmdbKeyValue(small_disk / "online")
    store.write([(b"kept", b"1")])
    with pytest.raises(StorageError, match=f"{small_disk}/online: the disk is full"):
        store.write([(b"%d" % number, b"x" * 300) for number in range(9_000)])
    assert list(store.scan(b"")) == [(b"kept", b"1")]
    store.close()


def test_a_read_only_disk_is_read(small_disk: Path) -> None:
    store = LmdbKeyValue(small_disk / "online")
    store.write([(b"kept", b"1")])
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    store = LmdbKeyValue(small_disk / "online")
    assert store.get(b"kept") == b"1"
    assert list(store.scan(b"")) == [(b"kept", b"1")]
    for place in ("online", "new"):
        with pytest.raises(StorageError, match=f"{small_disk}/{place}: the directory is not writable"):
            LmdbKeyValue(small_disk / place).write([(b"kept", b"2")])
    assert store.get(b"kept") == b"1"
    store.close()


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not a store, by any means" * 1000)
    store = LmdbKeyValue(tmp_path)
    with pytest.raises(StorageError, match=f"{tmp_path}: the store is damaged"):
        store.get(b"a")
    with pytest.raises(StorageError, match="damaged"):
        store.write([(b"a", b"1")])


def test_the_files_are_closed_with_the_last_store_however_many_threads_began(tmp_path: Path) -> None:
    LmdbKeyValue(tmp_path).write([(b"a", b"1")])
    for _ in range(20):
        store = LmdbKeyValue(tmp_path)
        start = threading.Barrier(4)
        at_once(*[lambda store=store, start=start: (start.wait(), store.get(b"a"))] * 4)
        store.close()
        lmdb.open(str(tmp_path)).close()  # which LMDB refuses where it is open


def test_a_fork_beside_a_thread_that_writes(tmp_path: Path) -> None:
    store = LmdbKeyValue(tmp_path)
    store.write([(b"a", b"1")])
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            store.write([(b"b", b"x" * 100)])

    def fork() -> None:
        try:
            for _ in range(10):
                pid = os.fork()
                if not pid:
                    os._exit(0 if store.get(b"a") == b"1" and store.get(b"b") == b"x" * 100 else 1)
                assert os.waitpid(pid, 0)[1] == 0
                assert store.get(b"a") == b"1"
        finally:
            done.set()

    store.write([(b"b", b"x" * 100)])
    at_once(write, fork)
    store.close()


def test_every_error_of_lmdb_becomes_ours(tmp_path: Path) -> None:
    store = LmdbKeyValue(tmp_path)
    kinds = [kind for kind in vars(lmdb).values() if isinstance(kind, type) and issubclass(kind, lmdb.Error)]
    assert len(kinds) > 20
    errors: list[lmdb.Error | OSError] = [kind("told") for kind in kinds]
    for error in [*errors, *(OSError(number, "told") for number in errno.errorcode)]:
        found = store._mapped(error)
        assert isinstance(found, StorageError)
        assert str(tmp_path) in str(found)
    for number, told in ((errno.EROFS, "not writable"), (errno.ENOSPC, "full"), (errno.EDQUOT, "full")):
        assert told in str(store._mapped(lmdb.Error(f"{tmp_path}: {os.strerror(number)}")))

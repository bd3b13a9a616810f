"""A disk that is full or read-only, and damage: an error within a second that names the place."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from mainspring.errors import ConflictError, MainspringError, StorageError
from mainspring.store import Database, open_blobs, open_database
from mainspring.testing import _actors


def fill(folder: Path) -> None:
    with (folder / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def in_a_second(started: float) -> bool:
    return time.monotonic() - started < 1


def test_a_full_disk_is_named_and_damages_nothing(small_disk: Path) -> None:
    database = _actors.opened(f"sqlite://{small_disk}/state.db")
    blobs = open_blobs(f"file://{small_disk}/blobs")
    kept = blobs.put(b"kept")
    with database.transaction() as tx:
        tx.execute("INSERT INTO note (text) VALUES (?)", ("kept",))
    fill(small_disk)
    started = time.monotonic()
    with pytest.raises(StorageError, match=f"{small_disk}.*full"), database.transaction() as tx:
        tx.execute("INSERT INTO note (text) VALUES (?)", ("x" * 200_000,))
    with pytest.raises(StorageError, match=f"{small_disk}/blobs.*full"):
        blobs.put(b"y" * 200_000)
    with pytest.raises(StorageError, match=f"{small_disk}/new.*full"):
        open_database(f"sqlite://{small_disk}/new/state.db").migrate("demo", _actors.SCHEMA)
    assert in_a_second(started)
    assert database.query("SELECT text FROM note") == [("kept",)]
    assert blobs.read(kept) == b"kept"
    (small_disk / "ballast").unlink()
    with database.transaction() as tx:
        tx.execute("INSERT INTO note (text) VALUES (?)", ("again",))
    assert blobs.read(blobs.put(b"y" * 200_000))
    database.close()


@pytest.mark.parametrize("log", ["gone", "empty", "left"])
def test_a_full_disk_can_be_read_and_written_again_once_it_has_space(small_disk: Path, log: str) -> None:
    first = _actors.opened(f"sqlite://{small_disk}/state.db")
    with first.transaction() as tx:
        tx.execute("INSERT INTO note (text) VALUES (?)", ("kept",))
    if log == "left":
        copies = {file: file.read_bytes() for file in small_disk.glob("state.db*")}
    first.close()
    if log == "left":  # as a killed process leaves it
        for file, data in copies.items():
            file.write_bytes(data)
    if log == "empty":
        (small_disk / "state.db-wal").touch()
    if log != "left":
        (small_disk / "state.db.queue").unlink()
    fill(small_disk)
    started = time.monotonic()
    database = _actors.opened(f"sqlite://{small_disk}/state.db")
    assert database.query("SELECT text FROM note") == [("kept",)]
    with pytest.raises(StorageError, match=f"{small_disk}.*full"), database.transaction() as tx:
        tx.execute("INSERT INTO note (text) VALUES (?)", ("x" * 200_000,))
    assert database.query("SELECT text FROM note") == [("kept",)]
    assert in_a_second(started)
    (small_disk / "ballast").unlink()
    with database.transaction() as tx:
        tx.execute("INSERT INTO note (text) VALUES (?)", ("again",))
    assert database.query("SELECT text FROM note ORDER BY text") == [("again",), ("kept",)]
    database.close()


def test_a_read_only_directory_is_named(small_disk: Path) -> None:
    database = _actors.opened(f"sqlite://{small_disk}/state.db")
    blobs = open_blobs(f"file://{small_disk}/blobs")
    kept = blobs.put(b"kept")
    with database.transaction() as tx:
        tx.execute("INSERT INTO note (text) VALUES (?)", ("kept",))
    database.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    started = time.monotonic()
    for place in (small_disk, small_disk / "new"):
        with pytest.raises(StorageError, match=f"{place}: the directory is not writable"):
            open_database(f"sqlite://{place}/state.db").migrate(
                "demo", [*_actors.SCHEMA, "CREATE TABLE more (id TEXT)"]
            )
    with pytest.raises(StorageError, match=f"{small_disk}/blobs: the directory is not writable"):
        blobs.put(b"new")
    assert in_a_second(started)
    assert blobs.read(kept) == b"kept"
    reader = _actors.opened(f"sqlite://{small_disk}/state.db")
    assert reader.query("SELECT text FROM note") == [("kept",)]
    with pytest.raises(StorageError, match="not writable"), reader.transaction():
        pass
    assert reader.query("SELECT text FROM note") == [("kept",)]
    reader.close()


@pytest.mark.parametrize("why", ["full", "read-only"])
def test_what_was_never_used_is_empty_where_nothing_can_be_written(small_disk: Path, why: str) -> None:
    address = f"sqlite://{small_disk}/state.db"
    _actors.opened(address).close()
    if why == "full":
        (small_disk / "state.db.queue").unlink()
        fill(small_disk)
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    database = open_database(address)
    later = ["CREATE TABLE later (id TEXT PRIMARY KEY);\nCREATE INDEX later_by ON later (id)"]
    for _ in range(2):
        database.migrate("later", [*later, "ALTER TABLE later ADD COLUMN note TEXT"])
        assert database.query("SELECT id, note FROM later") == []
    with pytest.raises(StorageError, match=str(small_disk)), database.transaction() as tx:
        tx.execute("INSERT INTO later VALUES ('a')")
    database.close()


def test_a_log_left_beside_a_read_only_database_is_read(small_disk: Path) -> None:
    writer = _actors.opened(f"sqlite://{small_disk}/state.db")
    with writer.transaction() as tx:
        tx.execute("INSERT INTO note (text) VALUES (?)", ("in the log",))
    copy = small_disk / "copy"
    copy.mkdir()
    for file in small_disk.glob("state.db*"):
        (copy / file.name).write_bytes(file.read_bytes())
    writer.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    reader = open_database(f"sqlite://{copy}/state.db")
    assert reader.query("SELECT text FROM note") == [("in the log",)]
    reader.close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database, by any means" * 100)
    with pytest.raises(StorageError, match=f"{tmp_path}/state.db: the database is damaged"):
        _actors.opened(f"sqlite://{tmp_path}/state.db")


def test_every_error_of_sqlite_becomes_ours(tmp_path: Path) -> None:
    from mainspring.store.sqlite import SqliteDriver

    driver = SqliteDriver(tmp_path / "state.db")
    names = [name for name in dir(sqlite3) if name.startswith("SQLITE_")]
    assert len(names) > 50
    for kind in [sqlite3.Error, *_all_below(sqlite3.Error)]:
        for name in names:
            error = kind("told")
            error.sqlite_errorname = name
            assert isinstance(driver._mapped(error), MainspringError)
        assert str(tmp_path) in str(driver._mapped(kind("told")))


def _is_refused_in_a_child(database: Database) -> bool:
    """Whether a forked child is told that it can't use a database; it answers, else."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            database.query("SELECT 1")
            status = 0
        except StorageError:
            status = 7
        finally:
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 7)
    return code == 7


def test_a_transaction_open_at_the_fork_is_refused_in_the_child(tmp_path: Path) -> None:
    database = _actors.opened(f"sqlite://{tmp_path}/state.db")
    with database.transaction() as tx:
        tx.execute("INSERT INTO note (text) VALUES ('parent')")
        assert _is_refused_in_a_child(database)
    assert database.query("SELECT text FROM note") == [("parent",)]
    database.close()


def test_a_child_that_leaves_a_large_transaction_undoes_nothing_of_its_parents(tmp_path: Path) -> None:
    database = _actors.opened(f"sqlite://{tmp_path}/state.db")
    with database.transaction() as tx:  # more than SQLite keeps in memory
        tx.executemany("INSERT INTO note (text) VALUES (?)", [("x" * 1_000,)] * 20_000)
        pid = os.fork()
        if not pid:
            try:
                with suppress(MainspringError), database.transaction():
                    os._exit(3)
                database._driver.rollback()
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert tx.query("SELECT COUNT(*) FROM note") == [(20_000,)]
    database.close()
    with closing(sqlite3.connect(tmp_path / "state.db")) as after:
        assert after.execute("SELECT COUNT(*) FROM note").fetchall() == [(20_000,)]
        assert after.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("ends", [False, True], ids=["that lives on", "that ends"])
def test_a_fork_beside_a_thread_that_writes_has_connections_of_its_own(tmp_path: Path, ends: bool) -> None:
    database = _actors.opened(f"sqlite://{tmp_path}/state.db")
    done = threading.Event()

    def write(text: str) -> None:
        with database.transaction() as tx:
            tx.execute("INSERT INTO note (text) VALUES (?)", (text,))

    def write_on() -> None:
        while not done.is_set():
            if ends:  # its connection is closed with it, which may take as long as a checkpoint
                thread = threading.Thread(target=write, args=("beside",))
                thread.start()
                thread.join()
            else:
                write("beside")

    threads = [threading.Thread(target=write_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    codes = []
    for _ in range(30):
        pid = os.fork()
        if not pid:
            status = 1
            try:
                write("child")
                status = 0
            finally:
                os._exit(status)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    done.set()
    for thread in threads:
        thread.join()
    assert codes == [0] * 30
    assert database.query("SELECT COUNT(*) FROM note WHERE text = 'child'") == [(30,)]
    database.close()


def test_a_signals_handler_is_told_that_its_thread_is_at_work(tmp_path: Path) -> None:
    database = _actors.opened(f"sqlite://{tmp_path}/state.db")
    told: list[str] = []

    def handler(*_: object) -> None:
        began = time.monotonic()
        is_refused = _is_refused_in_a_child(database)
        took_s = time.monotonic() - began
        try:
            database.query("SELECT 1")
        except ConflictError as error:
            told.append(f"{is_refused}, {error}")
        else:
            told.append(f"{is_refused}, answered")
        assert took_s < 0.9  # nobody waits for what can't end meanwhile
        signal.setitimer(signal.ITIMER_REAL, 0.005)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.005)
    try:
        while len(told) < 30:
            database.query("SELECT COUNT(*) FROM note")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert any(each.startswith("True") and "a signal's handler" in each for each in told)
    database.close()


def test_connections_end_with_their_threads(tmp_path: Path) -> None:
    database = _actors.opened(f"sqlite://{tmp_path}/state.db")
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for _ in range(20):
        thread = threading.Thread(target=database.query, args=("SELECT 1",))
        thread.start()
        thread.join()
    after = len(os.listdir("/proc/self/fd")) if before else 0
    assert after <= before + 3
    database.close()


def _all_below(kind: Any) -> list[Any]:
    return [found for below in kind.__subclasses__() for found in (below, *_all_below(below))]

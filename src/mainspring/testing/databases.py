"""The contract of a database backend. A backend's own test subclasses it and gives a URL.

class TestMine(DatabaseContract):
    @pytest.fixture
    def url(self, tmp_path):
        return f"sqlite://{tmp_path}/state.db"
"""

from __future__ import annotations

import enum
import math
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from mainspring.clock import now_us
from mainspring.errors import ConfigError, ConflictError, InvalidError, StorageError, WrongTypeError
from mainspring.ledger import Ledger
from mainspring.store import Database, open_database
from mainspring.testing import _actors
from mainspring.testing.processes import Child, crowd

_ACTORS = "mainspring.testing._actors"


class OnDatabase:
    """What every contract of something that stands on a database is given."""

    @pytest.fixture
    def url(self) -> str:
        """A database that nobody uses, and whose place need not exist yet."""
        pytest.fail("a subclass gives this")

    @pytest.fixture
    def database(self, url: str) -> Iterator[Database]:
        """That database with a few tables."""
        database = _actors.opened(url)
        yield database
        database.close()


class DatabaseContract(OnDatabase):
    """Every law that a database behind `Database` obeys."""

    writers = 100
    """How many processes write at once."""

    # ------------------------------------------------------------ values

    @pytest.mark.parametrize(
        "value", [0, -(2**63), 2**63 - 1, "", "ä😀\n'\"?%s", b"", b"\0\xff", 0.1, 1e308, math.inf, -math.inf, None]
    )
    def test_a_value_comes_back_as_it_was(self, database: Database, value: object) -> None:
        kind = {int: "INTEGER", str: "TEXT", bytes: "BLOB", float: "REAL"}.get(type(value), "TEXT")
        with database.transaction() as tx:
            tx.execute(f"CREATE TABLE v (x {kind})")
            tx.insert("v", {"x": value})  # type: ignore[dict-item]  # what must be refused
        found = database.query("SELECT x FROM v")
        assert found == [(value,)]
        assert type(found[0][0]) is type(value)

    @pytest.mark.parametrize("value", [math.nan, "a\0b", 2**63, -(2**63) - 1, "\ud800"])
    def test_a_value_that_a_backend_would_change_is_refused(self, database: Database, value: float | str) -> None:
        with pytest.raises(InvalidError), database.transaction() as tx:
            tx.execute("INSERT INTO note (text) VALUES (?)", (value,))
        assert database.query("SELECT * FROM note") == []

    def test_nan_hidden_in_a_subclass_of_float_is_refused(self, database: Database) -> None:
        hidden = type("Hidden", (float,), {})(math.nan)
        with pytest.raises(InvalidError), database.transaction() as tx:
            tx.execute("INSERT INTO note (text) VALUES (?)", (hidden,))

    def test_bools_and_enums_become_plain(self, database: Database) -> None:
        colour = enum.StrEnum("colour", {"RED": "red"})
        with database.transaction() as tx:
            tx.execute("INSERT INTO note (id, text) VALUES (?, ?)", (True, colour.RED))
        assert database.query("SELECT id, text FROM note") == [(1, "red")]

    def test_any_other_type_is_refused(self, database: Database) -> None:
        with pytest.raises(WrongTypeError), database.transaction() as tx:
            tx.execute("INSERT INTO note (text) VALUES (?)", ([1],))  # type: ignore[arg-type]  # what must be refused

    def test_sums_are_numbers_of_python(self, database: Database) -> None:
        self._note(database, *"abc")
        total, mean = database.query("SELECT SUM(id), AVG(id) FROM note")[0]
        assert (type(total), total, mean) == (int, 6, 2)

    # ------------------------------------------------------------ portable SQL

    def test_marks_and_percent_signs_in_literals_are_text(self, database: Database) -> None:
        sql = "SELECT '?', 'it''s 100%s', \"text\" /* ? % */ FROM note WHERE text = ? -- what? 5 %"
        self._note(database, "x")
        assert database.query(sql, ("x",)) == [("?", "it's 100%s", "x")]
        assert database.query("SELECT 7 % 4") == [(3,)]

    def test_like_minds_the_case(self, database: Database) -> None:
        self._note(database, "Abc", "abc", "a_c", "axc")
        assert database.query("SELECT text FROM note WHERE text LIKE ?", ("A%",)) == [("Abc",)]
        sql = "SELECT text FROM note WHERE text LIKE ? ESCAPE '!'"
        assert database.query(sql, ("a!_%",)) == [("a_c",)]

    def test_text_is_ordered_by_code_point_and_null_where_it_is_told(self, database: Database) -> None:
        words = ["b", "B", "a", "ä", "Z", "_", "a b", "ab", "😀", "\uffff"]
        self._note(database, *words, None)
        found = database.query("SELECT text FROM note ORDER BY text NULLS LAST, id")
        assert [row[0] for row in found] == [*sorted(words), None]
        found = database.query("SELECT text FROM note ORDER BY text DESC NULLS FIRST, id")
        assert [row[0] for row in found] == [None, *sorted(words, reverse=True)]

    def test_pages_by_a_cursor_give_each_row_once(self, database: Database) -> None:
        chance = random.Random(7)
        words = ["".join(chance.choices("aAbBäÄ_ zZ", k=3)) for _ in range(60)]
        self._note(database, *words)
        seen: list[tuple[str, int]] = []
        last = ("", 0)
        while page := database.query(
            "SELECT text, id FROM note WHERE (text, id) > (?, ?) ORDER BY text, id LIMIT 7", last
        ):
            seen += page
            last = page[-1]
        assert [text for text, _ in seen] == sorted(words)
        assert len({number for _, number in seen}) == len(words)

    def test_numbers_of_rows_touched(self, database: Database) -> None:
        self._note(database, "a", "a", "b")
        with database.transaction() as tx:
            assert tx.execute("UPDATE note SET text = ? WHERE text = ?", ("c", "a")) == 2
            assert tx.execute("DELETE FROM note WHERE text = ?", ("none",)) == 0
            assert tx.query("INSERT INTO note (text) VALUES (?) RETURNING text", ("d",)) == [("d",)]

    def test_upserts(self, database: Database) -> None:
        sql = (
            "INSERT INTO counter VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = counter.value + excluded.value"
        )
        with database.transaction() as tx:
            tx.executemany(sql, [("a", 1), ("a", 2), ("b", 2**40)])
        assert database.query("SELECT name, value FROM counter ORDER BY name") == [("a", 3), ("b", 2**40)]

    # ------------------------------------------------------------ transactions

    def test_an_exception_undoes_everything(self, database: Database) -> None:
        def fail() -> None:
            with database.transaction() as tx:
                tx.execute("INSERT INTO note (text) VALUES (?)", ("gone",))
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert database.query("SELECT * FROM note") == []
        self._note(database, "next")

    def test_a_violated_constraint_is_a_conflict_and_undoes_everything(self, database: Database) -> None:
        with pytest.raises(ConflictError), database.transaction() as tx:
            tx.executemany("INSERT INTO counter VALUES (?, ?)", [("b", 1), ("a", 1), ("a", 2)])
        assert database.query("SELECT * FROM counter") == []

    def test_wrong_sql_is_an_error_of_storage(self, database: Database) -> None:
        with pytest.raises(StorageError, match="nowhere"):
            database.query("SELECT * FROM nowhere")
        assert database.query("SELECT 1") == [(1,)]

    def test_transactions_do_not_nest(self, database: Database) -> None:
        with database.transaction() as tx:
            tx.execute("INSERT INTO note (text) VALUES (?)", ("kept",))
            with pytest.raises(ConflictError, match="open"), database.transaction():
                pass
        assert database.query("SELECT text FROM note") == [("kept",)]

    def test_a_transaction_is_of_no_use_after_its_end_or_elsewhere(self, database: Database) -> None:
        caught: list[Exception] = []

        def elsewhere() -> None:
            with pytest.raises(ConflictError, match="thread") as found:
                tx.execute("INSERT INTO note (text) VALUES ('x')")
            caught.append(found.value)

        with database.transaction() as tx:
            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()
        assert caught
        with pytest.raises(ConflictError, match="ended"):
            tx.execute("INSERT INTO note (text) VALUES ('x')")
        assert database.query("SELECT * FROM note") == []

    def test_only_a_transaction_writes(self, database: Database) -> None:
        with pytest.raises(ConflictError, match="transaction"):
            database.query("DELETE FROM note")

    def test_a_reader_sees_the_last_commit_while_somebody_writes(self, database: Database, url: str) -> None:
        self._note(database, "before")
        reader = open_database(url)
        with database.transaction() as tx:
            tx.execute("DELETE FROM note")
            assert reader.query("SELECT text FROM note") == [("before",)]
            assert database.query("SELECT text FROM note") == []
        assert reader.query("SELECT text FROM note") == []
        reader.close()

    def test_the_clock_moves_inside_a_transaction(self, database: Database) -> None:
        with database.transaction() as tx:
            first = tx.now_us()
            time.sleep(0.002)
            assert tx.now_us() >= first + 1_000
        assert abs(database.now_us() - now_us()) < 5_000_000

    # ------------------------------------------------------------ migrations

    def test_migrations_are_applied_once_and_in_order(self, database: Database, url: str) -> None:
        self._note(database, "kept")
        again = open_database(url)
        again.migrate("demo", _actors.SCHEMA)
        again.migrate("demo", [*_actors.SCHEMA, "ALTER TABLE note ADD COLUMN stars INTEGER"])
        assert again.query("SELECT text, stars FROM note") == [("kept", None)]
        again.close()

    @pytest.mark.usefixtures("database")
    def test_a_newer_schema_is_refused(self, url: str) -> None:
        older = open_database(url)
        with pytest.raises(ConfigError, match="Upgrade"):
            older.migrate("demo", _actors.SCHEMA[:1])
        older.close()

    def test_a_failed_statement_that_was_caught_does_not_commit_half(self, database: Database) -> None:
        # PostgreSQL ends the transaction with the first error, SQLite goes on: neither may commit half in silence.
        def swallow() -> None:
            with database.transaction() as tx:
                tx.execute("INSERT INTO counter VALUES (?, ?)", ("a", 1))
                with pytest.raises(ConflictError):
                    tx.execute("INSERT INTO counter VALUES (?, ?)", ("a", 2))

        with pytest.raises(ConflictError):
            swallow()
        assert database.query("SELECT * FROM counter") == []

    def test_a_migration_that_fails_leaves_nothing(self, database: Database) -> None:
        with pytest.raises(StorageError):
            database.migrate("other", ["CREATE TABLE fine (id TEXT)", "CREATE TABLE broken ("])
        with pytest.raises(StorageError):
            database.query("SELECT * FROM fine")
        database.migrate("other", ["CREATE TABLE fine (id TEXT)"])

    def test_a_migration_within_a_transaction_stands_or_falls_with_it(self, database: Database) -> None:
        schema = ["CREATE TABLE fine (id TEXT)"]
        for undone in (True, False):
            with suppress(LookupError), database.transaction() as tx:
                database.migrate("other", schema, within=tx)
                tx.execute("INSERT INTO fine VALUES ('a')")
                if undone:
                    raise LookupError
        database.migrate("other", schema)
        assert database.query("SELECT * FROM fine") == [("a",)]

    def test_many_processes_open_a_new_database_at_one_instant(self, url: str) -> None:
        crowd(12, f"{_ACTORS}:open_new", url)
        database = open_database(url)
        assert database.query("SELECT COUNT(*) FROM note") == [(12,)]
        assert database.query("SELECT COUNT(*) FROM migration") == [(len(_actors.SCHEMA),)]
        database.close()

    # ------------------------------------------------------------ many at once

    def test_a_crowd_of_writers_loses_no_update_and_sees_no_lock(self, database: Database, url: str) -> None:
        with database.transaction() as tx:
            tx.insert("counter", {"name": "all", "value": 0})
        crowd(self.writers, f"{_ACTORS}:count_up", url, 10)
        assert database.query("SELECT value FROM counter") == [(self.writers * 10,)]
        assert database.query("SELECT COUNT(*) FROM note") == [(self.writers * 10,)]

    def test_threads_share_a_database(self, database: Database) -> None:
        with database.transaction() as tx:
            tx.insert("counter", {"name": "all", "value": 0})

        def work() -> None:
            for _ in range(20):
                with database.transaction() as tx:
                    (value,) = tx.query("SELECT value FROM counter")[0]
                    tx.execute("UPDATE counter SET value = ?", (value + 1,))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert database.query("SELECT value FROM counter") == [(160,)]

    def test_a_forked_child_and_its_parent_both_go_on(self, database: Database) -> None:
        self._note(database, "parent")
        pid = os.fork()
        if not pid:
            code = 1
            try:
                self._note(database, "child")
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        self._note(database, "parent again")
        found = database.query("SELECT text FROM note ORDER BY id")
        assert found == [("parent",), ("child",), ("parent again",)]

    def test_events_reach_a_reader_exactly_once(self, database: Database, url: str) -> None:
        writers, times, seed = 8, 15, random.randrange(2**32)
        ledger = Ledger(database)
        crowding = threading.Thread(target=crowd, args=(writers, f"{_ACTORS}:append_events", url, times, seed))
        crowding.start()
        seen: list[str] = []
        cursor = 0
        while True:
            ended = not crowding.is_alive()
            found = ledger.events(cursor, limit=7)
            seen += [event.subject for event in found]
            cursor = found[-1].seq if found else cursor
            if ended and not found:
                break
        expected = [f"{index}/{number}" for index in range(writers) for number in range(times)]
        assert sorted(seen) == sorted(expected), f"seed {seed}"
        for index in range(writers):  # and in the order in which each was written
            assert [s for s in seen if s.startswith(f"{index}/")] == expected[index * times :][:times]

    # ------------------------------------------------------------ kills

    def test_a_killed_writer_leaves_nothing_and_nobody_waits(self, database: Database, url: str) -> None:
        with Child(f"{_ACTORS}:hold_transaction", url) as child:
            assert child.read() == "inside"
            child.signal(signal.SIGKILL)
            started = time.monotonic()
            self._note(database, "next")
            assert time.monotonic() - started < 5
        assert database.query("SELECT text FROM note") == [("next",)]

    def test_transactions_are_whole_whenever_the_writer_is_killed(self, database: Database, url: str) -> None:
        chance = random.Random(3)
        for _ in range(4):
            with Child(f"{_ACTORS}:write_twins", url) as child:
                assert child.read() == "writing"
                time.sleep(chance.random() * 0.03)
                child.signal(signal.SIGKILL)
        with database.transaction() as tx:  # on PostgreSQL the last commit may be under way still
            assert tx.query("SELECT COUNT(*) FROM note") == tx.query("SELECT COUNT(*) FROM twin")

    def _note(self, database: Database, *texts: str | None) -> None:
        with database.transaction() as tx:
            tx.executemany("INSERT INTO note (text) VALUES (?)", [(text,) for text in texts])

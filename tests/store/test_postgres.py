"""What only PostgreSQL has: addresses with secrets, lost connections, its own errors."""

from __future__ import annotations

import socket
import time

import psycopg
import pytest

from mainspring.errors import (
    ConfigError,
    ConflictError,
    InvalidError,
    MainspringError,
    SecretError,
    StorageError,
    UnavailableError,
)
from mainspring.store import Database, open_database
from mainspring.store._dialect import to_postgres
from mainspring.store.address import Address
from mainspring.store.postgres import PostgresDriver
from mainspring.testing import _actors
from mainspring.testing.services import Postgres


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@db/work?schema=dev",
        "postgresql://me:secret:env/PGPW@db/work?schema=dev",
        "postgresql://me:secret%3Aenv%2FPGPW@db/work?schema=dev&password=hunter2",
    ],
)
def test_a_place_never_shows_a_password(url: str) -> None:
    assert open_database(url).place == "postgresql://me@db/work?schema=dev"


def test_a_password_is_resolved_when_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    address = Address("postgresql://me:secret:env/PGPW@db:1/work?schema=dev&sslmode=disable")
    with pytest.raises(SecretError, match="PGPW"):
        address.connection_settings(drop=("schema",))
    monkeypatch.setenv("PGPW", "p@ss/word")
    expected = {"host": "db", "port": 1, "user": "me", "password": "p@ss/word", "dbname": "work", "sslmode": "disable"}
    assert address.connection_settings(drop=("schema",)) == expected


@pytest.mark.parametrize("schema", ["", "A", "a b", 'a"; DROP', "1a", "x" * 64])
def test_a_schema_is_a_plain_name(schema: str) -> None:
    with pytest.raises(ConfigError, match="schema"):
        open_database(f"postgresql://db/work?schema={schema}")


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        database = open_database(f"postgresql://me@127.0.0.1:{taken.getsockname()[1]}/work")
        started = time.monotonic()
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1"):
            database.query("SELECT 1")
        assert time.monotonic() - started < 1


def test_a_lost_connection_is_opened_again_between_transactions(postgres: Postgres) -> None:
    url = f"{postgres.url()}&application_name=between"
    database, other = _actors.opened(url), open_database(url)
    _end_others(other, "between")
    assert database.query("SELECT COUNT(*) FROM note") == [(0,)]
    _end_others(other, "between")
    with database.transaction() as tx:
        tx.execute("INSERT INTO note (text) VALUES ('kept')")
    database.close()
    other.close()


def test_a_connection_lost_in_a_transaction_is_an_error_and_nothing_is_kept(postgres: Postgres) -> None:
    url = f"{postgres.url()}&application_name=within"
    database, other = _actors.opened(url), open_database(url)

    def lose(*, before_commit: bool) -> None:
        with database.transaction() as tx:
            tx.execute("INSERT INTO note (text) VALUES ('gone')")
            _end_others(other, "within")
            if not before_commit:
                tx.execute("INSERT INTO note (text) VALUES ('gone, too')")

    for before_commit in (True, False):
        with pytest.raises(UnavailableError):
            lose(before_commit=before_commit)
    assert database.query("SELECT * FROM note") == []
    database.close()
    other.close()


def test_every_error_of_psycopg_becomes_ours() -> None:
    driver = PostgresDriver("postgresql://db/work")
    kinds = [
        kind for kind in vars(psycopg.errors).values() if isinstance(kind, type) and issubclass(kind, psycopg.Error)
    ]
    assert len(kinds) > 200
    for kind in kinds:
        assert isinstance(driver._mapped(kind("told")), MainspringError), kind
    expected = {
        psycopg.errors.UniqueViolation: ConflictError,
        psycopg.errors.DeadlockDetected: ConflictError,
        psycopg.errors.SerializationFailure: ConflictError,
        psycopg.errors.NumericValueOutOfRange: InvalidError,
        psycopg.errors.AdminShutdown: UnavailableError,
        psycopg.errors.ConnectionFailure: UnavailableError,
        psycopg.errors.DiskFull: StorageError,
        psycopg.errors.ReadOnlySqlTransaction: StorageError,
        psycopg.errors.SyntaxError: StorageError,
    }
    assert {kind: type(driver._mapped(kind("told"))) for kind in expected} == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 'a?%', \"b?%\", ? -- c?%", "SELECT 'a?%%', \"b?%%\", %s -- c?%%"),
        ("SELECT 'it''s ?' /* ?\n? */ || ?", "SELECT 'it''s ?' /* ?\n? */ || %s"),
        ("SELECT CAST(? AS INTEGER), text FROM note", "SELECT CAST(%s AS BIGINT), text FROM note"),
        ("SELECT 'INTEGER'", "SELECT 'INTEGER'"),
        (
            "CREATE TABLE t (seq INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT DEFAULT 'TEXT') WITHOUT ROWID",
            "CREATE TABLE t (seq BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, t TEXT COLLATE \"C\" DEFAULT 'TEXT')",
        ),
        ("ALTER TABLE t ADD COLUMN x REAL", "ALTER TABLE t ADD COLUMN x DOUBLE PRECISION"),
    ],
)
def test_portable_sql_is_translated(sql: str, expected: str) -> None:
    assert to_postgres(sql) == expected


def _end_others(other: Database, application: str) -> None:
    ended = other.query(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = ?"
        " AND pid <> pg_backend_pid()",
        (application,),
    )
    assert ended

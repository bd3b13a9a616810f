"""SQLite as a source, opened to be read only."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import polars as pl

from mainspring.data.ingestion.source import name_from
from mainspring.data.ingestion.sql import Located
from mainspring.errors import InvalidError, NotFoundError, StorageError, UnavailableError

_TABLE = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name = ? COLLATE NOCASE"
_KEY = "SELECT name, upper(type) FROM pragma_table_info(?) WHERE pk > 0"
_COUNTS = "SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'"  # made with the first AUTOINCREMENT, then kept
_COUNTED = "SELECT 1 FROM sqlite_sequence WHERE name = ? COLLATE NOCASE"
_FOR_ANOTHER = ("locked", "busy")
# What SQLite keeps in columns declared so, whatever else it lets in; other declared types are inferred from values.
_AFFINITIES = (
    (re.compile(r"(?i)INT"), pl.Int64()),
    (re.compile(r"(?i)CHAR|CLOB|TEXT"), pl.String()),
    (re.compile(r"(?i)REAL|FLOA|DOUB|NUMERIC|DECIMAL"), pl.Float64()),
)


class Driver:
    """A database file, by SQLAlchemy's forms of an address, `sqlite:///app.db` and `sqlite:////srv/app.db`, or by a path."""

    mark = "?"

    def __init__(self, url: str) -> None:
        if url.startswith("sqlite:") and not url.startswith("sqlite:///"):
            raise InvalidError("source", url, "sqlite:/// and a path, or a path alone")
        self.is_address = url.startswith("sqlite:")
        self.path = Path(unquote(url.removeprefix("sqlite:///")) if self.is_address else url).expanduser()
        self.place = f"sqlite:///{self.path.resolve().as_posix()}"

    def located(self, root: Path | None, table: str) -> Located:
        """The file as it is named from there, or absolute, and the table as it was created: names go by letters of any case."""
        name = name_from(root, self.path) if root else self.path.resolve().as_posix()
        schema, _, bare = table.rpartition(".")
        place = f"sqlite:///{name}" if name.startswith("/") else name
        if not bare or schema.lower() not in ("", "main"):
            return Located(place, "")
        with self.query(_TABLE, (bare,)) as answer:
            found = answer.fetch(1)
        return Located(place, found[0][0] if found else "")

    def quoted(self, name: str) -> str:
        """In double quotes."""
        return '"' + name.replace('"', '""') + '"'

    def expected(self, sql: str, params: tuple[Any, ...], *, is_table: bool) -> int | None:
        """Counted for a table, which takes a small part of the time that reading does."""
        if not is_table:
            return None
        with self.query(f"SELECT COUNT(*) FROM ({sql})", params) as answer:
            return int(answer.fetch(1)[0][0])

    def is_key(self, table: str, column: str) -> bool:
        """As the table was created. The greatest `INTEGER PRIMARY KEY` is given out again when its row was deleted, without
        `AUTOINCREMENT`.
        """
        name = table.rpartition(".")[2]
        found = self._all(_KEY, name)
        if [each[0] for each in found] != [column]:
            return False
        return found[0][1] != "INTEGER" or bool(self._all(_COUNTS) and self._all(_COUNTED, name))

    def _all(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        with self.query(sql, params) as answer:
            return answer.fetch(2)

    @contextmanager
    def query(self, sql: str, params: tuple[Any, ...]) -> Iterator[_Answer]:
        """Run a query; what others write meanwhile is not seen."""
        if not self.path.exists():
            absolute = Path("/", self.path)
            is_short = self.is_address and absolute.exists()
            hint = f"An absolute path has four slashes: sqlite:///{absolute}." if is_short else ""
            raise NotFoundError("database", str(self.path), hint=hint)
        try:
            uri = f"file:{quote(str(self.path.absolute()))}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
                yield _Answer(connection, connection.execute(sql, params), sql)
        except sqlite3.OperationalError as error:
            if any(word in str(error) for word in _FOR_ANOTHER):
                raise UnavailableError(self.place, str(error)) from error
            raise InvalidError(self.place, str(error), "a query that can be run") from error
        except sqlite3.DatabaseError as error:
            raise StorageError(self.place, str(error)) from error


class _Answer:
    is_typed = False

    def __init__(self, connection: sqlite3.Connection, cursor: sqlite3.Cursor, sql: str) -> None:
        self._cursor, self._connection = cursor, connection
        self.columns = [column[0] for column in cursor.description]
        self.types = self._declared(connection, sql)

    def fetch(self, count: int) -> list[tuple[Any, ...]]:
        """Rows."""
        return self._cursor.fetchmany(count)

    def ask(self, sql: str, params: tuple[Any, ...]) -> Any:
        """One value."""
        row = self._connection.execute(sql, params).fetchone()
        return None if row is None else row[0]

    def _declared(self, connection: sqlite3.Connection, sql: str) -> dict[str, pl.DataType]:
        """The types of a table's columns; those of a query's are inferred."""
        table = re.match(r'SELECT \* FROM (?:"(?i:main)"\.)?"([^"]+)"(?: |$)', sql)
        if table is None:
            return {}
        found: dict[str, pl.DataType] = {}
        for _, name, declared, *_ in connection.execute(f'PRAGMA table_info("{table[1]}")'):
            dtype = next((dtype for pattern, dtype in _AFFINITIES if pattern.search(declared)), None)
            if dtype is not None:
                found[name] = dtype
        return found

"""PostgreSQL as a source, by psycopg: one snapshot, read through a cursor on the server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from os.path import normpath
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from mainspring.data.ingestion.conversion import MOST_DIGITS
from mainspring.data.ingestion.sql import Located
from mainspring.errors import InvalidError, MissingExtraError, StorageError, UnavailableError
from mainspring.store.address import Address

try:
    import psycopg
    from psycopg.adapt import Transformer
    from psycopg.pq import Format
    from psycopg.types import TypeInfo
    from psycopg.types.datetime import IntervalLoader
    from psycopg.types.string import TextLoader
except ImportError as error:
    raise MissingExtraError("psycopg", "postgres", "Reading from PostgreSQL") from error

_DEFAULTS: dict[str, Any] = {"connect_timeout": 10, "client_encoding": "UTF8"}
_ENCODING_HINT = (
    "If its text is in another encoding than UTF-8, the address says which, as in `?client_encoding=LATIN1`."
)
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_TABLE = """
SELECT nspname, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = to_regclass(%s)
"""
_KEY = """
SELECT attname FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey)
WHERE indrelid = to_regclass(%s) AND indisprimary AND (relkind = 'p' OR NOT relhassubclass)
"""
# Arrays of types that a database has of its own: their elements, and the type that is behind a domain.
_ARRAYS = """
WITH RECURSIVE behind AS (
    SELECT typarray AS array_oid, oid AS element, typdelim, oid, typname, typtype, typbasetype FROM pg_type
    WHERE typarray <> 0 AND typarray = ANY(%s)
    UNION ALL
    SELECT array_oid, element, behind.typdelim, base.oid, base.typname, base.typtype, base.typbasetype
    FROM behind JOIN pg_type base ON base.oid = behind.typbasetype WHERE behind.typtype = 'd'
) SELECT array_oid, element, typdelim, oid, typname FROM behind WHERE typtype <> 'd'
"""
_AS_TEXT = ("uuid", "json", "jsonb", "inet", "cidr", "xml", "record")
_TYPES: dict[str, pl.DataType] = {
    "bool": pl.Boolean(), "int2": pl.Int16(), "int4": pl.Int32(), "int8": pl.Int64(), "oid": pl.Int64(),
    "float4": pl.Float32(), "float8": pl.Float64(), "text": pl.String(), "varchar": pl.String(), "bpchar": pl.String(),
    "name": pl.String(), "bytea": pl.Binary(), "date": pl.Date(), "time": pl.Time(), "timestamp": pl.Datetime("us"),
    "timestamptz": pl.Datetime("us", "UTC"), "interval": pl.Duration("us"), **dict.fromkeys(_AS_TEXT, pl.String()),
}  # fmt: skip


class Driver:
    """A database: `postgresql://user:secret:env/NAME@host:port/database?schema=name`, other options being libpq's."""

    mark = "%s"

    def __init__(self, url: str) -> None:
        self._address = Address(url, default_port=5432)
        self.place = self._address.place

    def located(self, root: Path | None, table: str) -> Located:  # noqa: ARG002  # a server is nowhere in the project
        """Host, port and database, and the table with its schema; the scope is the schemas in which names are looked up."""
        with self._connected() as connection:
            name = ".".join(map(self.quoted, table.split(".")))
            found = connection.execute(_TABLE, (name,)).fetchone()
            ((schemas,),) = connection.execute("SELECT current_schemas(false)").fetchall()
            told = connection.info
            host = str(self._address.options.get("host") or self._address.host or told.host)
            host = normpath(host) if host.startswith("/") else host.lower()
            host = "localhost" if host in _LOOPBACK else f"[{host}]" if ":" in host else quote(host, safe=",")
            place = f"postgresql://{host}:{told.port}/{told.dbname}"
        if not found and table and "." not in table and schemas:  # it was dropped, or never there
            found = (schemas[0], table)
        return Located(place, ".".join(found) if found else "", "" if schemas == ["public"] else f" in {schemas}")

    def quoted(self, name: str) -> str:
        """In double quotes."""
        return '"' + name.replace('"', '""') + '"'

    def expected(self, sql: str, params: tuple[Any, ...], *, is_table: bool) -> int | None:  # noqa: ARG002  # planned alike
        """As the server's planner estimates them."""
        with self._connected() as connection:
            ((plan,),) = connection.execute(f"EXPLAIN (FORMAT JSON) {sql}", params or None).fetchall()
        return int((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]["Plan Rows"])

    def is_key(self, table: str, column: str) -> bool:
        """As the server says; of a table that others inherit from, whose rows its key doesn't bind, none is."""
        with self._connected() as connection:
            name = ".".join(map(self.quoted, table.split(".")))
            return connection.execute(_KEY, (name,)).fetchall() == [(column,)]

    @contextmanager
    def query(self, sql: str, params: tuple[Any, ...]) -> Iterator[_Answer]:
        """Run a query in a snapshot that only reads."""
        with self._connected() as connection, _opened(connection, sql, params) as cursor:
            if not _learn_arrays(cursor.description or (), connection):
                yield _Answer(cursor, connection, self.place)
                return
            cursor.close()  # nothing was read yet; what it knows of types it had from the beginning
            with _opened(connection, sql, params) as knowing:
                yield _Answer(knowing, connection, self.place)

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:
        settings: dict[str, Any] = self._address.connection_settings(drop=("schema",))
        schema = self._address.options.get("schema")
        try:
            with psycopg.connect(**{**_DEFAULTS, **settings}) as connection:
                self._expect_encoding(connection.info.parameter_status("client_encoding") != "SQL_ASCII")
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.read_only = True
                connection.execute("SET TIME ZONE 'UTC'")
                connection.execute("SET IntervalStyle = 'postgres'")
                if schema:
                    connection.execute("SELECT set_config('search_path', %s, false)", (schema,))
                connection.adapters.register_loader("interval", _SpanLoader)
                for kind in _AS_TEXT:
                    connection.adapters.register_loader(kind, TextLoader)
                yield connection
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            self._expect_encoding('"client_encoding"' not in str(error))
            raise UnavailableError(self.place, f"the database can't be reached ({_first_line(error)})") from error
        except psycopg.errors.CharacterNotInRepertoire as error:
            raise InvalidError(self.place, _first_line(error), "text in UTF-8", _ENCODING_HINT) from error
        except (psycopg.ProgrammingError, psycopg.DataError) as error:
            raise InvalidError(self.place, _first_line(error), "a query that can be run") from error
        except psycopg.Error as error:
            raise StorageError(self.place, _first_line(error)) from error

    def _expect_encoding(self, is_known: bool) -> None:
        """Without an encoding text would be bytes."""
        if not is_known:
            given = self._address.options.get("client_encoding", "SQL_ASCII")
            raise InvalidError(
                f"{self.place}: client_encoding", given, "an encoding that text has on this server", _ENCODING_HINT
            )


class _SpanLoader(IntervalLoader):
    """Spans of time; psycopg takes a month for thirty days, and a year for twelve of them."""

    def load(self, data: Any) -> timedelta:
        """One of days and less."""
        if b"mon" in bytes(data) or b"year" in bytes(data):
            raise psycopg.DataError("months are of no one length")
        return super().load(data)


class _Answer:
    is_typed = True

    def __init__(self, cursor: Any, connection: psycopg.Connection[Any], place: str) -> None:
        self._cursor, self._connection, self._place = cursor, connection, place
        self._fetched = 0
        columns = cursor.description or ()
        self.columns = [column.name for column in columns]
        self.types = {column.name: dtype for column in columns if (dtype := _type_of(column, connection)) is not None}

    def fetch(self, count: int) -> list[tuple[Any, ...]]:
        """Rows."""
        try:
            rows: list[tuple[Any, ...]] = self._cursor.fetchmany(count)
        except psycopg.DataError as error:
            raise self._unloadable(self._cursor.pgresult) or error from error
        self._fetched += len(rows)
        return rows

    def _unloadable(self, result: Any) -> InvalidError | None:
        """The first value of what was fetched that Python has nothing for, such as the time `infinity`."""
        loading = Transformer.from_context(self._connection)
        for row in range(result.ntuples):
            for number, name in enumerate(self.columns):
                value = result.get_value(row, number)
                try:
                    if value is not None:
                        loading.get_loader(result.ftype(number), Format(result.fformat(number))).load(value)
                except psycopg.DataError as error:
                    return InvalidError(
                        f"{self._place}, row {self._fetched + row + 1}, column `{name}`", value.decode(),
                        f"a value that a column holds ({_first_line(error).partition(': ')[0]})",
                        "Make it null or text in the query.",
                    )  # fmt: skip
        return None

    def ask(self, sql: str, params: tuple[Any, ...]) -> Any:
        """One value."""
        row = self._connection.execute(sql, params).fetchone()
        return None if row is None else row[0]


@contextmanager
def _opened(
    connection: psycopg.Connection[Any], sql: str, params: tuple[Any, ...]
) -> Iterator[psycopg.ServerCursor[Any]]:
    with connection.cursor(name="mainspring") as cursor:
        yield cursor.execute(sql, params or None)  # without parameters a percent sign stands for itself


def _learn_arrays(columns: Sequence[Any], connection: psycopg.Connection[Any]) -> bool:
    """Have arrays of enums, domains and the like read as lists of what their elements are read as; whether there are any."""
    adapters = connection.adapters
    unknown = [column.type_code for column in columns if adapters.types.get(column.type_code) is None]
    found = connection.execute(_ARRAYS, (unknown,)).fetchall() if unknown else []
    for array, element, delimiter, base, name in found:
        TypeInfo(name, element, array, delimiter=delimiter).register(connection)
        if loader := adapters.get_loader(base, Format.TEXT):
            adapters.register_loader(element, loader)
    return bool(found)


def _type_of(column: Any, connection: psycopg.Connection[Any]) -> pl.DataType | None:
    """The type of a column; None if values must say it."""
    known = connection.adapters.types.get(column.type_code)
    if known is None:
        return None
    dtype = _TYPES.get(known.name)
    if known.name == "numeric":
        is_held = column.precision and 0 <= column.scale <= column.precision <= MOST_DIGITS
        dtype = pl.Decimal(column.precision, column.scale) if is_held else None
    is_array = known.array_oid == column.type_code
    return pl.List(dtype) if is_array and dtype is not None else dtype


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]

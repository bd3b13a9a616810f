"""SQL on DuckDB, straight over the Parquet parts of dataset versions and over frames in memory. Nothing is copied.

A query sees its tables and nothing else: no file, address or variable. Its rows come in one order each time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from mainspring.artifacts.spool import Spool
from mainspring.data.etl.statement import Statement, read_statement
from mainspring.data.etl.thread_count import called_functions, order_sensitive
from mainspring.data.tables.frames import as_polars
from mainspring.data.tables.manifest import Part, read_listing
from mainspring.data.tables.positions import read_dropped
from mainspring.data.version import DatasetVersion
from mainspring.errors import InvalidError, MissingExtraError, NotAllowedError, WrongTypeError, shorten
from mainspring.store import BlobStore
from mainspring.store.space import naming_full_disk
from mainspring.workspace import current_workspace

try:
    import duckdb
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as missing:
    raise MissingExtraError(missing.name or "duckdb", "duckdb", "SQL over tables") from missing

_BATCH_ROWS = 65_536
_SHAPES = "shapes"  # empty tables of the same types, because plans over files and frames can't be shown
_ROW = "file_row_number"
_CHANGING = frozenset(
    """current_date current_time current_timestamp current_localtime current_localtimestamp localtime localtimestamp now
    today random uuid sample""".split()
)
_SHOWN = "skip_null := true, skip_empty := true, skip_default := true"


class Threads(msgspec.Struct, frozen=True):
    """How many threads a query ran on, and why it was one, if it had to be."""

    count: int
    reason: str = ""


class Query:
    """A query over open tables; `threads` are decided, nothing is computed yet.

    `exact=False` lets several threads sum floats.
    """

    def __init__(
        self, statement: Statement, connection: Any, parameters: Mapping[str, Any], *, most_threads: int, exact: bool
    ) -> None:
        self._connection = connection
        self._parameters = dict(parameters) or None
        columns = self._relation(statement.text).columns
        self._text = statement.fully_ordered(len(columns))
        self.threads = self._decided(most_threads, exact=exact)
        connection.execute(f"SET threads = {self.threads.count}")
        connection.execute("SET lock_configuration = true")

    def collect(self) -> pl.DataFrame:
        """The rows in memory."""
        relation = self._relation(self._text)
        with _errors_of_duckdb():
            reader = relation.to_arrow_reader(_BATCH_ROWS)
            table = pa.Table.from_batches(list(reader), reader.schema)
        return _as_polars_types(table, relation)

    def write(self, path: Path) -> None:
        """The rows as a Parquet file, a batch at a time."""
        relation = self._relation(self._text)
        with _errors_of_duckdb(path):
            reader = relation.to_arrow_reader(_BATCH_ROWS)
            empty = _as_polars_types(reader.schema.empty_table(), relation).to_arrow()
            with pq.ParquetWriter(path, empty.schema, compression="zstd", compression_level=1) as writer:
                for batch in reader:
                    frame = _as_polars_types(pa.Table.from_batches([batch]), relation)
                    writer.write_table(frame.to_arrow().cast(empty.schema))

    def _relation(self, text: str) -> Any:
        with _errors_of_duckdb():
            relation = self._connection.sql(text, params=self._parameters)
        if relation is None:
            raise InvalidError("SQL", text, "a query", "A step reads its tables and changes nothing.")
        return relation

    def _decided(self, most: int, *, exact: bool) -> Threads:
        self._connection.execute(f"SET schema = '{_SHAPES}'")
        plan, tree = self._shown("plan", self._text), self._shown("sql", self._text)
        self._connection.execute("SET schema = 'main'")
        self._connection.execute(f"DROP SCHEMA {_SHAPES} CASCADE")
        called = sorted(called_functions(plan) | called_functions(tree))
        volatile = self._volatile(called)
        for name in called:
            if name in _CHANGING or name in volatile:
                hint = "Pass a value as a parameter, `$name`, or take rows by a hash of their key."
                raise InvalidError("SQL", name, "something that gives the same each time", hint)
        found = [each for each in order_sensitive(plan) if exact or not each.only_floats]
        return Threads(1, found[0].what) if found else Threads(most)

    def _shown(self, what: str, text: str) -> str:
        try:
            row = self._connection.execute(f"SELECT json_serialize_{what}(?::VARCHAR, {_SHOWN})", [text]).fetchone()
        except duckdb.Error:
            return ""
        return str(row[0])

    def _volatile(self, names: list[str]) -> set[str]:
        """Those that DuckDB calls volatile; asked at once, as it lists all its functions (30 ms) for each question."""
        if not names:
            return set()
        sql = "SELECT function_name FROM duckdb_functions() WHERE stability = 'VOLATILE' AND list_contains(?, function_name)"
        return {name for (name,) in self._connection.execute(sql, [names]).fetchall()} - {"error"}


@contextmanager
def opened(
    text: str, tables: Mapping[str, Any], parameters: Mapping[str, Any], *, threads: int | None, memory_mb: int | None,
    exact: bool,
) -> Iterator[Query]:  # fmt: skip
    """A query over tables, closed with everything that was written for it.

    Raises:
        InvalidError: DuckDB can't run it, or it would not give the same each time.
        NotAllowedError: it reaches for something other than its tables.
    """
    statement = read_statement(text)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mainspring-sql-"))
        settings: dict[str, Any] = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
        connection = duckdb.connect(":memory:", config=settings)
        stack.callback(connection.close)
        with _errors_of_duckdb():
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"SET temp_directory = {_quoted(f'{folder}/spilled')}")
            if memory_mb is not None:
                connection.execute(f"SET memory_limit = '{memory_mb} MiB'")
            views = {name: _view(connection, name, value, stack) for name, value in tables.items()}
            paths = [path for _, read in views.values() for path in read]
            if paths:
                connection.execute(f"SET allowed_paths = [{', '.join(map(_quoted, paths))}]")
            connection.execute("SET enable_external_access = false")
            for name, (view, _) in views.items():
                connection.execute(f"CREATE VIEW {_name(name)} AS {view}")
            _make_shapes(connection, views)
        yield Query(statement, connection, parameters, most_threads=threads or pl.thread_pool_size(), exact=exact)


def _make_shapes(connection: Any, names: Iterable[str]) -> None:
    connection.execute(f"CREATE SCHEMA {_SHAPES}")
    for name in names:
        connection.execute(f"CREATE TABLE {_SHAPES}.{_name(name)} AS SELECT * FROM main.{_name(name)} LIMIT 0")


def is_table(value: Any) -> bool:
    """Whether a value is a table that SQL can read."""
    if isinstance(value, DatasetVersion | pl.DataFrame | pl.LazyFrame):
        return True
    origin = type(value).__module__.partition(".")[0]
    return origin in ("pandas", "pyarrow") and (hasattr(value, "columns") or hasattr(value, "schema"))


def _view(connection: Any, name: str, value: Any, stack: ExitStack) -> tuple[str, list[str]]:
    """What a table is in SQL, and the files that it reads."""
    if isinstance(value, DatasetVersion) and value.pinned is not None:
        value = value.scan()  # its rows are in no blob
    if isinstance(value, DatasetVersion):
        value.expect("table")
        blobs = current_workspace().blobs
        if not value.schema:
            raise InvalidError(f"table `{name}`", str(value), "a table with columns")
        return value.as_stored(
            lambda present: _parts_view(connection, name, read_listing(blobs, present.manifest).parts, blobs)
        )
    if isinstance(value, pl.LazyFrame):
        path = str(stack.enter_context(Spool(value)).path)
        return f"SELECT * FROM read_parquet({_quoted(path)})", [path]
    if not is_table(value):
        raise WrongTypeError(f"table `{name}`", value, "a dataset version, or a Polars, pandas or Arrow table")
    frame = as_polars(value)
    if not frame.columns:
        raise InvalidError(f"table `{name}`", "a table", "a table with columns")
    registered = f"frame of {name}"
    connection.register(registered, frame.with_columns(_plain_columns(frame)).to_arrow())
    return f"SELECT * FROM {_name(registered)}", []


def _plain_columns(frame: pl.DataFrame) -> list[pl.Expr]:
    """Columns as their Parquet gives them to DuckDB, so that a frame and a version of it answer alike."""
    found = []
    for name, dtype in frame.schema.items():
        if isinstance(dtype, pl.Categorical | pl.Enum):
            found.append(pl.col(name).cast(pl.String))
        elif isinstance(dtype, pl.Duration):
            found.append(pl.col(name).to_physical())
    return found


def _parts_view(
    connection: Any, name: str, parts: tuple[Part, ...], blobs: BlobStore
) -> tuple[str, list[str]]:  # fmt: skip
    paths = [str(blobs.path(part.blob)) for part in parts]
    selects: list[str] = []
    whole: list[str] = []
    for at, (part, path) in enumerate(zip(parts, paths, strict=True)):
        if not part.dropped:
            whole.append(path)
            continue
        selects += _whole_parts(whole)
        whole = []
        registered = f"dropped of {name} {at}"
        connection.register(registered, pa.table({"position": pa.array(read_dropped(blobs, part))}))
        selects.append(
            f"SELECT * EXCLUDE ({_ROW}) FROM read_parquet({_quoted(path)}, {_ROW} = true) "
            f"WHERE {_ROW} NOT IN (SELECT position FROM {_name(registered)})"
        )
    return " UNION ALL ".join([*selects, *_whole_parts(whole)]), paths


def _whole_parts(paths: list[str]) -> list[str]:
    return [f"SELECT * FROM read_parquet([{', '.join(map(_quoted, paths))}])"] if paths else []


def _as_polars_types(table: Any, relation: Any) -> pl.DataFrame:
    """A result as Polars; sums of integers, which DuckDB makes 128 bits wide, as 64-bit integers.

    Raises:
        InvalidError: a column is of a type that Polars lacks, or doesn't fit; it is named.
    """
    widths = {"hugeint": pl.Int64, "uhugeint": pl.UInt64}
    for name, kind in zip(relation.columns, relation.types, strict=True):
        if "INTERVAL" in str(kind):
            raise InvalidError(f"column `{name}`", str(kind), "a type of Polars", f"Cast it: epoch_us({name}).")
    try:
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        return frame.with_columns(
            pl.col(name).cast(widths[kind.id])
            for name, kind in zip(relation.columns, relation.types, strict=True)
            if kind.id in widths
        )
    except (pl.exceptions.PolarsError, pa.ArrowException) as error:
        raise InvalidError("SQL", shorten(str(error)), "a result that Polars holds", "Cast the column.") from error


@contextmanager
def _errors_of_duckdb(place: object = "the temporary folder") -> Iterator[None]:
    try:
        with naming_full_disk(place):
            yield
    except duckdb.PermissionException as error:
        raise NotAllowedError(f"SQL reads only the tables that it is given: {shorten(str(error), 300)}") from error
    except duckdb.OutOfMemoryException as error:
        hint = f"Raise `memory_mb`, or free space in {tempfile.gettempdir()}, where it spills."
        raise InvalidError("SQL", shorten(str(error)), "a query within its memory", hint) from error
    except duckdb.Error as error:
        raise InvalidError("SQL", shorten(str(error), 300), "a query that DuckDB can run") from error


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'

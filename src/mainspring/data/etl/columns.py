"""Which columns of its table a column of a SQL query is computed from, as DuckDB's own plan says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring.data.etl.statement import read_statement
from mainspring.errors import InvalidError, MissingExtraError, shorten

if TYPE_CHECKING:
    import polars as pl

try:
    import duckdb
except ImportError as missing:
    raise MissingExtraError("duckdb", "duckdb", "SQL over tables") from missing

# These would hide a column that only a condition reads, or the whole scan of a table without rows.
_DISABLED = "filter_pushdown,statistics_propagation,empty_result_pullup"


def columns_read(text: str, column: str, table: str, schema: pl.Schema) -> tuple[str, ...]:
    """The columns of `table` that the query needs for one of its columns, those that choose and order rows included.

    Raises:
        InvalidError: it is no query over this table, or has no such column.

    >>> import polars as pl
    >>> schema = pl.Schema({"a": pl.Int64, "b": pl.Int64, "c": pl.String})
    >>> columns_read("SELECT a + 1 AS n, b FROM t WHERE c = 'x'", "n", "t", schema)
    ('a', 'c')
    """
    quoted = '"' + column.replace('"', '""') + '"'
    query = f"SELECT {quoted} FROM (\n{read_statement(text).text}\n)"
    import polars as pl

    connection = duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"})
    try:
        connection.register("empty", pl.DataFrame(schema=schema).to_arrow())
        name = '"' + table.replace('"', '""') + '"'
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM empty")
        connection.execute(f"SET disabled_optimizers = '{_DISABLED}'")
        row = connection.execute(f"EXPLAIN (FORMAT JSON) {query}").fetchone()
    except duckdb.Error as error:
        raise InvalidError("SQL", shorten(text), f"a query over {table}", shorten(str(error))) from error
    finally:
        connection.close()
    assert row is not None  # EXPLAIN gives one
    read = set(_scanned(msgspec.json.decode(row[1])))
    return tuple(name for name in schema.names() if name in read)


def _scanned(nodes: list[dict[str, Any]]) -> Iterator[str]:
    for node in nodes:
        if node["name"].strip() == "SEQ_SCAN":
            found = node["extra_info"].get("Projections", [])
            yield from [found] if isinstance(found, str) else found
        yield from _scanned(node["children"])

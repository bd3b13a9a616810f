"""What a notebook keeps in DuckDB's default connection, which `duckdb.sql` and its like share in one process.

Looking makes that connection, if nobody did, and leaves it as it was.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from functools import lru_cache
from typing import Any, NamedTuple

from mainspring.pipelines.code.facts import NOT_REUSABLE

_COUNTS = {
    "tables": "duckdb_tables()",
    "views": "duckdb_views() where not internal",
    "types": "duckdb_types() where not internal",
    "sequences": "duckdb_sequences()",
    "schemas": "duckdb_schemas() where not internal",
    "variables": "duckdb_variables()",
    "databases": "duckdb_databases() where not internal",
    "files": "duckdb_databases() where not internal and path is not null",
}
_COUNT = "select " + ", ".join(f"(select count(*) from {source})" for source in _COUNTS.values())
# Apart, for there are thousands of them. A release without that column takes the null from the outer query.
_FUNCTIONS = (
    "select (select count(*) filter (not internal) from duckdb_functions()), "
    "(select count(*) filter (extension_name is null) from duckdb_functions()) from (select null as extension_name)"
)
_TRANSACTION = "select txid_current()"
_SETTINGS = "select name, value from duckdb_settings()"
# Of the machine, and of what is shown.
_NO_MATTER = ("memory", "temp_directory", "progress", "profil")


class _Held(NamedTuple):
    counts: dict[str, int]
    settings: dict[str, str]


def shared_connection(reached: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """The parts of a fingerprint for settings of DuckDB's default connection, and what it holds that can't be recorded.

    Nothing of a step that reaches none of DuckDB, by the top modules in `reached`.
    """
    duckdb: Any = sys.modules.get("duckdb")
    if duckdb is None or "duckdb" not in reached:
        return {}, []
    untouched = _untouched(duckdb)
    connection = duckdb.default_connection()
    in_use = f"{NOT_REUSABLE}DuckDB's default connection has a result of `execute`, and what it holds can't be recorded"
    if duckdb.__version__.startswith("1.") and connection.description is not None:  # another query would end it
        return {}, [in_use]
    try:
        held = _looks().at(connection)
    except duckdb.Error:
        return {}, [in_use]
    kinds = [kind for kind, count in held.counts.items() if count != untouched.counts[kind]]
    parts = {
        f"setting duckdb.{name}": value
        for name, value in held.settings.items()
        if value != untouched.settings.get(name, value) and not any(each in name for each in _NO_MATTER)
    }
    what = f"{NOT_REUSABLE}DuckDB's default connection holds {' and '.join(kinds)}, which can't be recorded"
    return parts, [what] if kinds else []


class _Looks:
    """The last look at a connection, which holds as long as nobody began a transaction; a whole one takes 20 ms."""

    def __init__(self) -> None:
        self._connection: Any = None
        self._held: _Held | None = None
        self._next, self._step = -1, 0

    def at(self, connection: Any) -> _Held:
        """What it holds now."""
        number = _transaction(connection)
        held = self._held if connection is self._connection and number == self._next else None
        if held is None:
            held, before = _held(connection), _transaction(connection)
            number = _transaction(connection)
            self._step = number - before  # by what a question for the number raises it; nothing within a transaction
        self._connection, self._held, self._next = connection, held, number + self._step if self._step else -1
        return held


@lru_cache(maxsize=1)
def _looks() -> _Looks:
    return _Looks()


def _transaction(connection: Any) -> int:
    return int(connection.sql(_TRANSACTION).fetchall()[0][0])


@lru_cache(maxsize=1)
def _untouched(duckdb: Any) -> _Held:
    """What a connection holds that was made this moment."""
    with duckdb.connect() as connection:
        return _held(connection)


def _held(connection: Any) -> _Held:
    """What a connection holds, by number, and its settings."""
    counts = dict(zip(_COUNTS, connection.sql(_COUNT).fetchall()[0], strict=True))
    counts |= dict(zip(("macros", "functions"), connection.sql(_FUNCTIONS).fetchall()[0], strict=True))
    settings = {name: str(value) for name, value in connection.sql(_SETTINGS).fetchall()}
    return _Held(counts, settings)

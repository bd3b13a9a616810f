"""SQL as functions: a query over tables by name, and the decorator that makes a function, and so a step, of one."""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec

from mainspring.data.etl.statement import read_statement
from mainspring.errors import GraphError, InvalidError
from mainspring.ledger import current_task
from mainspring.workspace import current_workspace

if TYPE_CHECKING:
    import polars as pl

    from mainspring.data.etl.duckdb import Threads

P = ParamSpec("P")
Result = Literal["frame", "lazy"]
_VARIADIC = 0x04 | 0x08  # CO_VARARGS | CO_VARKEYWORDS


def query(
    text: str, tables: Mapping[str, Any], *, parameters: Mapping[str, Any] | None = None, threads: int | None = None,
    memory_mb: int | None = None, exact: bool = True,
) -> pl.DataFrame:  # fmt: skip
    """The rows of a SQL query (DuckDB's dialect) over dataset versions and Polars, pandas or Arrow tables, by name.

    Rows that its ORDER BY leaves tied are ordered by all columns, as are those of a query without one. It runs on one
    thread if several would not give the same each time: sums of floats (unless `exact=False`), windows, LIMIT inside.
    `parameters` are the values of `$name`. Beyond `memory_mb` (MiB; 80 % of the machine's) DuckDB spills to disk.

    Raises:
        InvalidError: DuckDB can't run it, or it uses what changes by itself (`now()`, `random()`).
        NotAllowedError: it reaches for something other than its tables.
        MissingExtraError: duckdb or pyarrow is not installed.

    >>> import polars as pl
    >>> query("SELECT n FROM t WHERE n > $low ORDER BY n", {"t": pl.DataFrame({"n": [3, 1, 2]})},
    ...       parameters={"low": 1})["n"].to_list()
    [2, 3]
    """
    from mainspring.data.etl.duckdb import opened

    with opened(text, tables, parameters or {}, threads=threads, memory_mb=memory_mb, exact=exact) as found:
        _tell(found.threads)
        return found.collect()


def scan_query(
    text: str, tables: Mapping[str, Any], *, parameters: Mapping[str, Any] | None = None, threads: int | None = None,
    memory_mb: int | None = None, exact: bool = True,
) -> pl.LazyFrame:  # fmt: skip
    """As `query`, for results larger than memory: written batch by batch to the blob store, given as a lazy frame.

    Raises:
        InvalidError, NotAllowedError, MissingExtraError: as `query`.
    """
    import polars as pl

    from mainspring.data.etl.duckdb import opened

    blobs = current_workspace().blobs
    with tempfile.TemporaryDirectory(prefix="mainspring-sql-") as folder:
        path = Path(folder) / "rows.parquet"
        with opened(text, tables, parameters or {}, threads=threads, memory_mb=memory_mb, exact=exact) as found:
            _tell(found.threads)
            found.write(path)
        return pl.scan_parquet(blobs.path(blobs.put(path)), glob=False, hive_partitioning=False)


def sql(
    text: str, *, ordered: bool = True, exact: bool = True, threads: int | None = None, memory_mb: int | None = None,
    result: Result = "frame",
) -> Callable[[Callable[P, Any]], Callable[P, Any]]:  # fmt: skip
    """Make a function of a SQL query. Its parameters are the tables by name; those that are no tables are `$name`.

    Put `@ms.step` above it, and it is a step whose code is the query. The body of the function is not run.

    Args:
        text: one query with an ORDER BY at its outermost level.
        ordered: False for a query without an ORDER BY; its rows are ordered by all columns.
        exact: False lets several threads sum floats; declare the step's tolerance with it, `@ms.step(rtol=1e-9)`.
        threads: at most so many; else as many as each step may use.
        memory_mb: what DuckDB may hold in memory, in MiB, before it spills; less than the step's own limit.
        result: `lazy` for rows that don't fit into memory: the function gives a lazy frame over a file.

    Raises:
        GraphError: the query has no order, or is not one query.

    >>> import polars as pl
    >>> @sql("SELECT carrier, count(*) AS flights FROM departures GROUP BY carrier ORDER BY carrier")
    ... def busiest(departures): ...
    >>> busiest(pl.DataFrame({"carrier": ["UA", "AA", "UA"]})).rows()
    [('AA', 1), ('UA', 2)]
    """
    statement = read_statement(text)
    if ordered and not statement.is_ordered:
        raise GraphError(
            "the SQL has no ORDER BY at its outermost level, so its rows come in any order: "
            "add one over a key, or declare `ordered=False`"
        )
    if result not in ("frame", "lazy"):
        raise InvalidError("result", result, "`frame` or `lazy`")
    run = query if result == "frame" else scan_query
    options: dict[str, Any] = {"threads": threads, "memory_mb": memory_mb, "exact": exact}

    def decorate(function: Callable[P, Any]) -> Callable[P, Any]:
        names = _parameters(function)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            from mainspring.data.etl.duckdb import is_table

            given = dict(zip(names, args, strict=False)) | kwargs
            values = (function.__kwdefaults__ or {}) | _defaults(function, names) | given
            if missing := [name for name in names if name not in values]:
                raise TypeError(f"{function.__qualname__}() misses a value for `{missing[0]}`")
            tables = {name: value for name, value in values.items() if is_table(value)}
            parameters = {name: value for name, value in values.items() if name not in tables}
            return run(text, tables, parameters=parameters, **options)

        return call

    return decorate


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    code = function.__code__
    if code.co_flags & _VARIADIC:
        raise GraphError("a function of SQL names each of its tables", function.__qualname__)
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _defaults(function: Callable[..., Any], names: tuple[str, ...]) -> dict[str, Any]:
    given = function.__defaults__ or ()
    count = function.__code__.co_argcount
    return dict(zip(names[count - len(given) : count], given, strict=True))


def _tell(threads: Threads) -> None:
    """Leave the thread count in the log of the step that is running."""
    if current_task() is not None:
        count = "1 thread" if threads.count == 1 else f"{threads.count} threads"
        sys.stdout.write(f"SQL on {count}{f' ({threads.reason})' if threads.reason else ''}\n")

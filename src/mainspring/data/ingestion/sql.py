"""Tables and queries of SQLite and PostgreSQL, read through a server-side cursor; incremental by a column that only grows.

Rows with the last value seen may still be joined by others with the same, so reading goes on at that value. Those that were
taken are known by their digests and how often each was there, so equal rows are as many as in the database, which is asked
whether values that differ are the same to it, as texts of a collation may be.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import msgspec
import polars as pl
from blake3 import blake3

from mainspring.data._sources import source_of_address
from mainspring.data.ingestion.columns import Column, Value
from mainspring.data.ingestion.conversion import Naming
from mainspring.data.ingestion.source import Batch, IngestMode, Reading, State, behind_cursor
from mainspring.errors import InvalidError, close_names, counted, listed

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_ROWS = 50_000
_NAME = re.compile(r"[^\W\d][\w $-]*(\.[^\W\d][\w $-]*)?")
_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgres", "postgres": "postgres"}


class Answer(Protocol):
    """What a query gives: the names of its columns, their types where the database says them, and rows."""

    columns: list[str]
    types: dict[str, pl.DataType]
    is_typed: bool
    """Whether a column holds values of its type alone."""

    def fetch(self, count: int) -> list[tuple[Value, ...]]:
        """At most so many rows; none at the end."""
        ...

    def ask(self, sql: str, params: tuple[Value, ...]) -> Value:
        """The one value that another query gives, on the same connection."""
        ...


class Located(NamedTuple):
    """A database without what says nothing of it (user, options), and a table by its own name; `scope` tells where names of
    a query are looked up, if not where they are for everybody. `table` is empty if there is none of that name, nor was one.
    """

    place: str
    table: str
    scope: str = ""


class SqlDriver(Protocol):
    """One database. Errors of the third party leave it as errors of ours."""

    place: str
    mark: str
    """The placeholder of a parameter."""

    def located(self, root: Path | None, table: str) -> Located:
        """Where it is, seen from a project's root, and which table a name means there, as the database says."""
        ...

    def quoted(self, name: str) -> str:
        """A name as SQL has it."""
        ...

    def expected(self, sql: str, params: tuple[Value, ...], *, is_table: bool) -> int | None:
        """About how many rows a query will give; None if only running it would tell."""
        ...

    def is_key(self, table: str, column: str) -> bool:
        """Whether a column alone is the table's primary key, none of whose values is given out twice."""
        ...

    def query(self, sql: str, params: tuple[Value, ...]) -> AbstractContextManager[Answer]:
        """Run a query in a transaction that only reads."""
        ...


class Sql(msgspec.Struct, frozen=True):
    """A table, or the rows of a `query`, of a path, `sqlite:///path` (`sqlite:////srv/app.db` is absolute), or `postgresql://user:secret:env/NAME@host/database`.

    With `cursor`, a column that only grows (a number, a time, a sortable text), only rows behind the last value are read;
    without it all of them, each time.
    """

    url: str
    table: str = ""
    query: str = ""
    cursor: str = ""
    batch_rows: int = _ROWS

    @property
    def identity(self) -> str:
        """The address without its secrets, and the table or the query's text, as they are given."""
        return f"{self._driver().place} {self._what('')}"

    def identity_from(self, root: Path) -> str:
        """Database and table by the names that they have there, however they are named here; a file from a project's root."""
        driver = self._driver()
        self._inner(driver)  # raises if there is no saying what is meant
        found = driver.located(root, self.table)
        return f"{found.place} {found.table or self._what(found.scope)}"

    def total_rows(self, state: State | None, reading: Reading) -> int | None:
        """About how many rows there are behind the state, as the database counts or estimates them."""
        driver = self._driver()
        state = behind_cursor(state, self.cursor, self._origin, reading.mode) if self.cursor else None
        last = _Last.of(state) if state and "last" in state else None
        return driver.expected(*self._statement(driver, last, reading.mode), is_table=bool(self.table))

    def batches(self, state: State | None, reading: Reading) -> Iterator[Batch]:
        """The rows behind the last value of the cursor; all of them if there is no cursor."""
        if reading.is_resumed and not self.cursor:
            return  # all of it was read
        driver = self._driver()
        state = behind_cursor(state, self.cursor, self._origin, reading.mode) if self.cursor else None
        last = _Last.of(state) if state and "last" in state else None
        if last and reading.mode == "upsert":  # a row may have changed back to what it was when it was taken
            last.taken.clear()
        sql, params = self._statement(driver, last, reading.mode)
        warning = self._told_of_nulls(driver) if last else ""
        with driver.query(sql, params) as answer:
            if self.cursor and self.cursor not in answer.columns:
                hint = ", ".join(close_names(self.cursor, answer.columns)) or listed(answer.columns)
                raise InvalidError("cursor", self.cursor, f"a column of `{self._origin}`", f"There is: {hint}.")
            yield from self._read(answer, last, reading, warning, self._equality(driver, answer))

    def _read(
        self, answer: Answer, last: _Last | None, reading: Reading, warning: str, same: _Equality
    ) -> Iterator[Batch]:
        place = answer.columns.index(self.cursor) if self.cursor else -1
        is_whole = not self.cursor or reading.mode == "replace"  # of one snapshot, so that nothing is gone on with
        taken = (
            Counter(last.taken) if last else Counter[str]()
        )  # by earlier readings, at the value where this one begins
        done, first = False, 0
        while rows := answer.fetch(self.batch_rows):
            fetched = len(rows)
            size_bytes = sum(map(_size, rows[:100])) * len(rows) // min(len(rows), 100)
            if self.cursor:
                rows, last = self._new(rows, answer.columns, last, taken, same)
            named = partial(self._named, rows, place, first)
            state = last.state(self.cursor) if last and not is_whole else None
            yield Batch(
                frame=self._frame(rows, answer, reading, named), state=state, origin=self._origin, named=named,
                size_bytes=size_bytes, sources=() if done else (self._lineage,), warning="" if done else warning,
            )  # fmt: skip
            done, first = True, first + fetched
        if not done:
            state = last.state(self.cursor) if last else {"cursor": self.cursor} if self.cursor else {}
            yield Batch(
                frame=self._frame([], answer, reading, str), state=state, origin=self._origin, sources=(self._lineage,),
                warning=warning,
            )  # fmt: skip
        elif is_whole:
            yield Batch(frame=None, state=last.state(self.cursor) if last else {}, origin=self._origin)

    def _told_of_nulls(self, driver: SqlDriver) -> str:
        """What is behind no value of the cursor, and so never read."""
        sql = f"SELECT COUNT(*) FROM {self._inner(driver)} WHERE {driver.quoted(self.cursor)} IS NULL"
        with driver.query(sql, ()) as answer:
            ((count,),) = answer.fetch(1)
        told = f"{counted(count, 'row')} of {self._origin} {'lacks' if count == 1 else 'lack'} the cursor"
        return f"{told} `{self.cursor}`: no ingest by it reads what has none." if count else ""

    def _equality(self, driver: SqlDriver, answer: Answer) -> _Equality:
        inner, column = self._inner(driver), driver.quoted(self.cursor)
        inner = inner.replace("%", "%%") if driver.mark == "%s" else inner
        # No row is read: the first half gives the second one's value the type and the collation of the column.
        found = f"SELECT {column} AS x FROM {inner} WHERE 1 = 0 UNION ALL SELECT {driver.mark}"
        return _Equality(answer, f"SELECT x = {driver.mark} FROM ({found}) AS of_cursor")

    def _new(
        self,
        rows: list[tuple[Value, ...]],
        columns: list[str],
        last: _Last | None,
        taken: Counter[str],
        same: _Equality,
    ) -> tuple[list[tuple[Value, ...]], _Last]:
        """The rows that were not taken before, and the last value behind them; what is met of `taken` goes from it."""
        place = columns.index(self.cursor)
        values = [row[place] for row in rows]
        if any(value is None for value in values):
            raise InvalidError(f"{self._origin}, column `{self.cursor}`", None, "a cursor without nulls")
        known = same.run(values, last.value) if last is not None and taken.total() else 0
        ending = len(values) - same.run(reversed(values), values[-1])
        kept, fresh = [], Counter[str]()
        for number, row in enumerate(rows):
            is_met, ends = number < known, number >= ending
            digest = _digest(columns, row) if is_met or ends else ""
            if is_met and taken[digest]:
                taken[digest] -= 1
                continue
            kept.append(row)
            if ends:
                fresh[digest] += 1
        if last is not None and ending == 0 and same(values[-1], last.value):
            last.taken.update(fresh)
            return kept, last
        taken.clear()
        return kept, _Last(values[-1], fresh)

    def _named(self, rows: list[tuple[Value, ...]], place: int, first: int, row: int) -> str:
        return f"{self._origin}, row {f'{self.cursor}={rows[row][place]}' if self.cursor else first + row + 1}"

    def _frame(self, rows: list[tuple[Value, ...]], answer: Answer, reading: Reading, named: Naming) -> pl.DataFrame:
        if len(set(answer.columns)) < len(answer.columns):
            twice = next(name for name in answer.columns if answer.columns.count(name) > 1)
            raise InvalidError(self._origin, twice, "the name of one column alone")
        columns = []
        for number, name in enumerate(answer.columns):
            wanted, told = reading.types.get(name), answer.types.get(name)
            told = told if answer.is_typed or wanted is None else None
            columns.append(Column(name, [row[number] for row in rows], told, named).series(wanted))
        return pl.DataFrame(columns)

    def _statement(self, driver: SqlDriver, last: _Last | None, mode: IngestMode) -> tuple[str, tuple[Value, ...]]:
        inner = self._inner(driver)
        if not self.cursor:
            return f"SELECT * FROM {inner}", ()
        column = driver.quoted(self.cursor)
        if last is None:
            return f"SELECT * FROM {inner} ORDER BY {column}", ()
        inner = inner.replace("%", "%%") if driver.mark == "%s" else inner
        is_behind = mode == "append" and self.table and driver.is_key(self.table, self.cursor)
        sign = ">" if is_behind else ">="
        return f"SELECT * FROM {inner} WHERE {column} {sign} {driver.mark} ORDER BY {column}", (last.value,)

    def _inner(self, driver: SqlDriver) -> str:
        """The table, or the query as one."""
        if bool(self.table) == bool(self.query):
            hint = "Give a table, table='…', or else a query, query='…'."
            raise InvalidError("source", driver.place, "one table or query that is to be read", hint)
        if self.table and not _NAME.fullmatch(self.table):
            raise InvalidError("table", self.table, "the name of a table", "Anything else goes into `query`.")
        query = f"({self.query.rstrip().rstrip(';')}\n) AS rows_of_query"  # it may end with a comment
        return ".".join(map(driver.quoted, self.table.split("."))) if self.table else query

    def _driver(self) -> SqlDriver:
        scheme = self.url.partition("://")[0] if "://" in self.url else "sqlite"
        if scheme not in _DRIVERS:
            raise InvalidError("source", f"{scheme}://…", "sqlite:/// or postgresql://")
        module = import_module(f"mainspring.data.ingestion.{_DRIVERS[scheme]}")
        return cast("SqlDriver", module.Driver(self.url))

    def _what(self, scope: str) -> str:
        text = " ".join(self.query.rstrip().rstrip(";").split())
        return self.table or f"query {blake3(f'{text}{scope}'.encode()).hexdigest()[:12]}"

    @property
    def _origin(self) -> str:
        return f"{self._driver().place} {self.table or 'query'}"

    @property
    def _lineage(self) -> Any:
        place = self._driver().place
        return source_of_address(f"{place}#{self.table}" if self.table else place)


class _Equality:
    """Whether values of a cursor are the same to the database. Only texts that differ may be, and are asked about."""

    def __init__(self, answer: Answer, sql: str) -> None:
        self._answer, self._sql = answer, sql
        self._known: dict[tuple[str, str], bool] = {}

    def __call__(self, one: Value, other: Value) -> bool:
        """Whether they are."""
        if one == other or (one != one and other != other):  # to a database NaN is itself
            return True
        if not (isinstance(one, str) and isinstance(other, str)):
            return False
        if (one, other) not in self._known:
            self._known[one, other] = bool(self._answer.ask(self._sql, (other, one)))
        return self._known[one, other]

    def run(self, values: Iterable[Value], value: Value) -> int:
        """How many of the first values are the same as this one."""
        return sum(1 for _ in takewhile(lambda each: self(each, value), values))


class _Last(msgspec.Struct, frozen=True):
    """The last value of a cursor, and how many rows of each digest were taken that have it."""

    value: Value
    taken: Counter[str]

    @classmethod
    def of(cls, state: State) -> _Last:
        """From its JSON."""
        kinds: dict[str, Callable[[Any], Value]] = {
            "int": int, "float": float, "str": str, "Decimal": Decimal, "datetime": datetime.fromisoformat,
            "date": date.fromisoformat,
        }  # fmt: skip
        return cls(kinds[state["kind"]](state["last"]), Counter(state["taken"]))

    def state(self, cursor: str) -> State:
        """As JSON; raises `InvalidError` if the cursor has another type."""
        kind = type(self.value).__name__
        if kind not in ("int", "float", "str", "datetime", "date", "Decimal"):
            raise InvalidError("cursor", self.value, "a number, a time or a text")
        is_plain = kind in ("int", "str") or (kind == "float" and math.isfinite(self.value))
        last = self.value if is_plain else self.value.isoformat() if kind in ("date", "datetime") else str(self.value)
        return {"cursor": cursor, "last": last, "kind": kind, "taken": dict(self.taken)}


def _digest(columns: list[str], row: tuple[Value, ...]) -> str:
    """Of what a row says: it is as before where its numbers have another type, or a column without a value was added."""
    said = sorted((name, _plain(value)) for name, value in zip(columns, row, strict=True) if value is not None)
    return blake3(repr(said).encode()).hexdigest()[:32]


def _plain(value: Value) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not math.isfinite(value):
        return repr(value)
    return "{}/{}".format(*value.as_integer_ratio())


def _size(row: tuple[Value, ...]) -> int:
    return sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)
